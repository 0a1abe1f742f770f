"""One draw in native code against the reference: the same id for the same uniform, wherever that is not at a boundary."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from escriba import _native
from escriba.engine.sampling import Sampling, draw, filtered, log_softmax

pytestmark = pytest.mark.skipif(_native.library() is None, reason=f"needs the native code: {_native.why_missing()}")

NOT_FINITE, ALL_BANNED = -1, -2


class Draw(ctypes.Structure):
    """As in native/sampling.h."""

    _fields_ = [
        ("temperature", ctypes.c_double),
        ("top_k", ctypes.c_int32),
        ("top_p", ctypes.c_double),
        ("min_p", ctypes.c_double),
        ("banned", ctypes.c_void_p),
        ("banned_count", ctypes.c_int32),
    ]


def native_draw(logits: np.ndarray, how: Sampling, uniform: float) -> tuple[int, float]:
    """The id, or what is wrong, and its log-probability."""
    library = _native.library()
    assert library is not None
    library.escriba_draw.restype = ctypes.c_int64
    banned = np.array(how.banned, dtype=np.int32)
    asked = Draw(
        how.temperature, how.top_k or 0, how.top_p or 0.0, -1.0 if how.min_p is None else how.min_p, banned.ctypes.data, len(banned)
    )
    log_prob = ctypes.c_double()
    found = library.escriba_draw(
        int(logits.dtype == np.float64),
        ctypes.c_void_p(logits.ctypes.data),
        ctypes.c_int64(len(logits)),
        ctypes.byref(asked),
        ctypes.c_double(uniform),
        ctypes.byref(log_prob),
    )
    return found, log_prob.value


samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 1e-3, 0.5, 0.8, 1.0, 2.0, 50.0]),
    top_k=st.none() | st.integers(1, 90),
    top_p=st.none() | st.sampled_from([1e-9, 0.1, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.none() | st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    banned=st.lists(st.integers(0, 79), max_size=4, unique=True).map(tuple),
)


@given(
    seed=st.integers(0, 2**32 - 1),
    vocab=st.integers(1, 80),
    spread=st.sampled_from([0.0, 0.3, 3.0, 40.0]),
    ties=st.booleans(),
    wide=st.booleans(),
    how=samplings,
    uniform=st.floats(0, 1, exclude_max=True),
)
@example(seed=1, vocab=66, spread=3.0, ties=True, wide=False, how=Sampling(0.8, 10, 0.9, 0.02, (3, 5)), uniform=0.5)
def test_a_draw_is_the_references(seed: int, vocab: int, spread: float, ties: bool, wide: bool, how: Sampling, uniform: float) -> None:
    """Every mix of filters, ties and bans: what can be drawn, and what is drawn."""
    dice = np.random.default_rng(seed)
    logits = dice.normal(0, spread, vocab).astype(np.float64 if wide else np.float32)
    if ties:
        logits = np.round(logits)
    how = Sampling(how.temperature, how.top_k, how.top_p, how.min_p, tuple(one for one in how.banned if one < vocab))
    if len(how.banned) == vocab:
        assert native_draw(logits, how, uniform)[0] == ALL_BANNED
        return
    met, log_prob = native_draw(logits, how, uniform)
    probs = filtered(logits, how)
    assert probs[met] > 0
    assert log_prob == pytest.approx(log_softmax(logits)[met], abs=1e-6)
    edges = np.cumsum(probs)
    if np.abs(edges - uniform).min() > 1e-6:
        assert met == draw(probs, uniform)


@pytest.mark.parametrize("how", [Sampling(), Sampling(0.7, 40), Sampling(0.9, None, 0.95), Sampling(1.0, 300, 0.8, 0.01, (0, 7))])
def test_what_is_drawn_often_is_likely(how: Sampling) -> None:
    """Uniforms that run through [0, 1) draw each id as often as the reference's probabilities say."""
    logits = np.random.default_rng(5).normal(0, 2, 1000).astype(np.float32)
    uniforms = (np.arange(4000) + 0.5) / 4000
    drawn = np.bincount([native_draw(logits, how, float(one))[0] for one in uniforms], minlength=1000) / 4000
    assert np.abs(drawn - filtered(logits, how)).max() <= 1.001 / 4000


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("at", [0, 1, 17, 65])
def test_logits_that_are_not_finite(bad: float, at: int) -> None:
    """They are told wherever they stand; minus infinity is a probability of zero, unless there is nothing else."""
    logits = np.linspace(-2, 2, 66, dtype=np.float32)
    logits[at] = bad
    assert native_draw(logits, Sampling(), 0.5)[0] == NOT_FINITE
    logits[at] = -np.inf
    assert native_draw(logits, Sampling(), 0.5)[0] == draw(filtered(logits, Sampling()), 0.5)
    assert native_draw(np.full(66, -np.inf, dtype=np.float32), Sampling(), 0.5)[0] == NOT_FINITE


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(1.0, 0.0)])
def test_the_ends_of_the_uniforms(uniform: float) -> None:
    """The first and the last symbol that can be drawn; never one that cannot."""
    logits = np.array([-np.inf, 0.0, 1.0, -np.inf, 2.0, -np.inf], dtype=np.float32)
    assert native_draw(logits, Sampling(), uniform)[0] == (1 if uniform == 0.0 else 4)
    assert native_draw(logits, Sampling(banned=(1, 4)), uniform)[0] == 2


def test_an_extreme_temperature() -> None:
    """The smallest temperature takes the likeliest, however near the next."""
    logits = np.array([1.0, 1.0 + 1e-6, 0.5], dtype=np.float32)
    assert native_draw(logits, Sampling(5e-324), 0.5)[0] == 1


def test_equals_at_temperature_zero() -> None:
    """The lowest id among equals, which is not banned."""
    logits = np.array([0.0, 3.0, 3.0, 3.0, -np.inf], dtype=np.float32)
    assert native_draw(logits, Sampling(0.0), 0.9)[0] == 1
    assert native_draw(logits, Sampling(0.0, banned=(1,)), 0.9)[0] == 2
    assert native_draw(logits, Sampling(0.0, banned=(0, 1, 2, 3)), 0.9)[0] == ALL_BANNED
