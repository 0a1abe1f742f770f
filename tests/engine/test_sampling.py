"""Filters and draws: what is kept, in which order, what happens at the edges, and how often each symbol comes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escriba.engine.sampling import Sampling, choose, draw, filtered, log_softmax
from escriba.errors import EscribaError, SettingsError
from escriba.settings import SampleSettings

PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.25, 0.2])
LOGITS = np.log(PROBABILITIES) + 3.7


def kept(sampling: Sampling, logits: np.ndarray = LOGITS) -> list[int]:
    """The ids that may be drawn."""
    return np.flatnonzero(filtered(logits, sampling)).tolist()


def test_log_softmax() -> None:
    """Logarithms of probabilities that sum to one, for logits of any size, and for any leading axes."""
    np.testing.assert_allclose(log_softmax(LOGITS), np.log(PROBABILITIES), atol=1e-12)
    np.testing.assert_allclose(log_softmax(np.float32([1e4, 0, -1e4])), [0, -1e4, -2e4])
    rows = log_softmax(np.stack([LOGITS, LOGITS[::-1]])[None])
    assert rows.shape == (1, 2, 5)
    np.testing.assert_allclose(rows[0, 1], np.log(PROBABILITIES[::-1]), atol=1e-12)
    assert log_softmax(np.zeros(3, dtype=np.float32)).dtype == np.float64


@pytest.mark.parametrize("wrong", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_logits_that_are_not_finite(wrong: list[float]) -> None:
    """They are an error in words, not a symbol."""
    with pytest.raises(EscribaError, match="not finite"):
        filtered(wrong, Sampling())


def test_temperature() -> None:
    """Probabilities to the power of 1/T, made to sum to one; 1 leaves them as they are."""
    np.testing.assert_allclose(filtered(LOGITS, Sampling(1.0)), PROBABILITIES, atol=1e-12)
    squared = PROBABILITIES**2
    np.testing.assert_allclose(filtered(LOGITS, Sampling(0.5)), squared / squared.sum(), atol=1e-12)
    np.testing.assert_allclose(filtered(LOGITS, Sampling(100.0)), 0.2, atol=0.01)


@pytest.mark.parametrize("temperature", [0.0, 1e-3, 1e-12, 1e-300, 5e-324])
def test_cold(temperature: float) -> None:
    """Near 0 as at 0 the likeliest symbol alone is left, without a warning."""
    np.testing.assert_allclose(filtered(LOGITS, Sampling(temperature)), [0, 1, 0, 0, 0], rtol=0, atol=1e-100)


def test_greedy_takes_the_lowest_of_equals() -> None:
    """At temperature 0 equals are settled by the lowest id, and bans count."""
    assert kept(Sampling(0.0), np.array([1.0, 2.0, 2.0])) == [1]
    assert kept(Sampling(0.0, banned=(1,)), np.array([1.0, 2.0, 2.0])) == [2]


def test_top_k() -> None:
    """The k likeliest are kept, exactly k also among equals (the lower ids), all when k is larger than the vocabulary."""
    assert kept(Sampling(top_k=1)) == [1]
    assert kept(Sampling(top_k=3)) == [1, 3, 4]
    assert kept(Sampling(top_k=99)) == [0, 1, 2, 3, 4]
    assert kept(Sampling(top_k=2), np.zeros(6)) == [0, 1]
    assert kept(Sampling(top_k=3), np.array([0.0, 0.0, 5.0, 0.0, 0.0])) == [0, 1, 2]
    np.testing.assert_allclose(filtered(LOGITS, Sampling(top_k=2)), [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0])


def test_top_p() -> None:
    """The fewest whose probabilities reach p are kept: the one that reaches it too, and always one."""
    assert kept(Sampling(top_p=1e-9)) == [1]
    assert kept(Sampling(top_p=0.4)) == [1]
    assert kept(Sampling(top_p=0.41)) == [1, 3]
    assert kept(Sampling(top_p=0.85)) == [1, 3, 4]
    assert kept(Sampling(top_p=1.0)) == [0, 1, 2, 3, 4]
    assert kept(Sampling(top_p=0.5), np.zeros(4)) == [0, 1]
    assert kept(Sampling(top_p=0.5), np.tile([0.0, 1.0], 500)) == list(range(1, 2 * 342, 2))
    assert len(kept(Sampling(top_p=np.nextafter(1.0, 0)), np.zeros(5000))) == 5000


def test_min_p() -> None:
    """What is less likely than the share of the likeliest goes; at 1 the likeliest and its equals stay."""
    assert kept(Sampling(min_p=0.0)) == [0, 1, 2, 3, 4]
    assert kept(Sampling(min_p=0.3)) == [1, 3, 4]
    assert kept(Sampling(min_p=1.0)) == [1]
    assert kept(Sampling(min_p=1.0), np.zeros(3)) == [0, 1, 2]


def test_the_order_of_filters() -> None:
    """Bans before temperature before top_k before top_p before min_p: each case comes out otherwise in another order."""
    # The ban first: top_k then finds two others.
    assert kept(Sampling(top_k=2, banned=(1,))) == [3, 4]
    # Temperature before top_p: 0.4 and 0.25 squared are over 0.8 of the sum of squares.
    assert kept(Sampling(0.5, top_p=0.8)) == [1, 3]
    # top_k before top_p: of 0.4 and 0.25 alone the first is over 0.6.
    assert kept(Sampling(top_k=2, top_p=0.6)) == [1]
    # Temperature before min_p: (0.25 / 0.4) squared is under 0.5.
    assert kept(Sampling(0.5, min_p=0.5)) == [1]


def test_bans() -> None:
    """What is banned has probability zero; with all but one banned that one is certain; with all banned it is an error."""
    assert filtered(LOGITS, Sampling(banned=(0, 1, 3, 4))).tolist() == [0, 0, 1, 0, 0]
    assert filtered(LOGITS, Sampling(0.3, top_k=1, top_p=0.1, min_p=1.0, banned=(0, 1, 3, 4))).tolist() == [0, 0, 1, 0, 0]
    with pytest.raises(SettingsError, match="every symbol"):
        filtered(LOGITS, Sampling(banned=(0, 1, 2, 3, 4)))
    with pytest.raises(SettingsError, match="id 5 is banned"):
        filtered(LOGITS, Sampling(banned=(5,)))
    # Certain symbols elsewhere do not make what is left impossible.
    assert kept(Sampling(banned=(0,)), np.array([1e5, 0.0, 0.0])) == [1, 2]


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}, {"min_p": -0.1}, {"temperature": math.nan}]
)
def test_ranges(wrong: dict[str, float]) -> None:
    """A value out of its range is an error that names it."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Sampling(**wrong)


def test_of_settings() -> None:
    """A person's settings become a sampling, with what must not be drawn."""
    asked = SampleSettings(temperature=0.3, top_k=5, top_p=0.9, min_p=0.1)
    assert Sampling.of(asked, [0]) == Sampling(0.3, 5, 0.9, 0.1, (0,))


@settings(max_examples=200, deadline=None)
@given(
    logits=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=12),
    temperature=st.floats(0, 100),
    top_k=st.none() | st.integers(1, 15),
    top_p=st.none() | st.floats(0, 1, exclude_min=True),
    min_p=st.none() | st.floats(0, 1),
    uniform=st.floats(0, 1, exclude_max=True),
    data=st.data(),
)
def test_something_possible_is_always_drawn(
    logits: list[float],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    uniform: float,
    data: st.DataObject,
) -> None:
    """Whatever the logits, settings and bans (but for a ban of all), what is drawn may be drawn, and probabilities sum to one."""
    banned = data.draw(st.lists(st.integers(0, len(logits) - 1), unique=True, max_size=len(logits) - 1))
    sampling = Sampling(temperature, top_k, top_p, min_p, tuple(banned))
    probabilities = filtered(logits, sampling)
    assert abs(probabilities.sum() - 1) < 1e-9
    assert (probabilities >= 0).all()
    drawn = draw(probabilities, uniform)
    assert probabilities[drawn] > 0
    assert drawn not in banned


def test_draw_edges() -> None:
    """0 draws the first possible id, the largest uniform the last possible one; a border belongs to the id above it."""
    just_under = float(np.nextafter(1.0, 0.0))
    probabilities = [0.0, 0.25, 0.0, 0.75, 0.0]
    assert draw(probabilities, 0.0) == 1
    assert draw(probabilities, 0.2499) == 1
    assert draw(probabilities, 0.25) == 3
    assert draw(probabilities, just_under) == 3
    assert draw([0.0, 1e-320, 0.0], just_under) == 1
    assert draw(np.full(49, 1 / 49), just_under) == 48


def test_choose_rows() -> None:
    """Each row is drawn its own way; the log-probabilities are the model's own, not those that were drawn from."""
    ids, log_probs = choose(np.stack([LOGITS, LOGITS]).astype(np.float32), [Sampling(0.0), Sampling(0.1, banned=(1,))], [0.9, 0.0])
    assert ids.tolist() == [1, 0]
    np.testing.assert_allclose(log_probs, np.log(PROBABILITIES)[ids], atol=1e-6)


def chi_square_limit(freedom: int) -> float:
    """What chi-square passes once in a million (Wilson and Hilferty 1931: the cube root is nearly normal)."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + 4.753 * math.sqrt(spread)) ** 3


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(0.7), Sampling(1.5, banned=(0,)), Sampling(top_k=3), Sampling(top_p=0.8), Sampling(0.9, min_p=0.2)]
)
def test_frequencies(sampling: Sampling) -> None:
    """Symbols come as often as their probabilities say: chi-square over 50,000 draws, one false alarm in a million seeds."""
    logits = np.random.default_rng(7).normal(0, 1.2, 12)
    probabilities = filtered(logits, sampling)
    uniforms = np.random.default_rng(8).random(50_000)
    counts = np.bincount([draw(probabilities, float(uniform)) for uniform in uniforms], minlength=12)
    possible = probabilities > 0
    assert counts[~possible].sum() == 0
    expected = probabilities[possible] * len(uniforms)
    chi_square = float(((counts[possible] - expected) ** 2 / expected).sum())
    assert chi_square < chi_square_limit(int(possible.sum()) - 1)
    # The test can fail: a distribution a little off is caught.
    off = np.roll(expected, 1)
    assert float(((counts[possible] - off) ** 2 / off).sum()) > chi_square_limit(int(possible.sum()) - 1)
