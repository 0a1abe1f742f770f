"""The n-gram that counts in native code: the numbers of the reference, from any state, and what is drawn."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from escriba import _native
from escriba.engine.counts import CountsEngine
from escriba.engine.protocol import join_states, state_rows
from escriba.engine.sampling import Sampling
from escriba.errors import SettingsError
from escriba.settings import ModelSettings
from escriba.training.counting import count_ngrams

if _native.library() is None:
    pytest.skip(f"needs the native code: {_native.why_missing()}", allow_module_level=True)

from escriba.engine.native_counts import NativeCounts

V = 14


def engines(order: int, seed: int = 3, length: int = 2000, threads: int | None = None) -> tuple[CountsEngine, NativeCounts]:
    """The reference and the native engine of a text of 12 symbols with words that come again; symbols 0 and 13 never occur."""
    dice = random.Random(seed)
    words = [[dice.randrange(1, 13) for _ in range(dice.randint(1, 5))] for _ in range(60)]
    ids = [symbol for _ in range(length) for symbol in dice.choice(words)][:length]
    weights = count_ngrams(np.array(ids, np.uint8), V, order)
    settings = ModelSettings(cell="counts", order=order)
    return CountsEngine(settings, V, weights), NativeCounts(settings, V, weights, threads=threads)


orders = st.integers(1, 8)
seeds = st.integers(0, 2**32 - 1)


@given(order=orders, seed=seeds, rows=st.integers(1, 5), steps=st.integers(1, 30), length=st.sampled_from([1, 7, 300]))
@hypothesis_settings(max_examples=60)
def test_the_numbers_of_the_reference(order: int, seed: int, rows: int, steps: int, length: int) -> None:
    """`advance`, `step`, `read` and `feed` from a state that is not the first; the nodes themselves are equal."""
    reference, native = engines(order, seed % 7, length)
    dice = np.random.default_rng(seed)
    ids, targets = dice.integers(0, V, (2, rows, steps))
    state = reference.feed(dice.integers(0, V, (rows, 9)), reference.initial_state(rows))
    before = [array.copy() for layer in state for array in layer]

    expected, expected_state = reference.advance(ids, state)
    met, met_state = native.advance(ids, state)
    np.testing.assert_allclose(met, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(met_state[0][0], expected_state[0][0])
    np.testing.assert_array_equal(native.feed(ids, state)[0][0], expected_state[0][0])

    reading, read_state = native.read(ids, targets, state)
    np.testing.assert_allclose(reading.log_probs, reference.read(ids, targets, state)[0].log_probs, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(read_state[0][0], expected_state[0][0])

    logits, stepped = native.step(ids[:, 0], state)
    np.testing.assert_array_equal(logits, met[:, 0])
    np.testing.assert_array_equal(stepped[0][0], reference.step(ids[:, 0], state)[1][0][0])
    assert all((one == other).all() for one, other in zip(before, (array for layer in state for array in layer), strict=True))


@pytest.mark.parametrize(
    "how",
    [Sampling(), Sampling(0.0), Sampling(0.7, 5), Sampling(1.2, None, 0.9), Sampling(1.0, 6, 0.95, 0.02, (1, 2)), Sampling(banned=(0, 13))],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_it_writes_what_the_reference_writes(how: Sampling, threads: int) -> None:
    """The same uniforms draw the same ids, in every row, in one call or in several, in one thread or in three."""
    reference, native = engines(5, threads=threads)
    rows, steps = 4, 500
    uniforms = np.random.default_rng(2).random((rows, steps))
    hows = [how, Sampling(), how, Sampling(0.5)]
    state = reference.initial_state(rows)
    expected, expected_log_probs, expected_state = reference.write([1, 2, 3, 0], state, hows, uniforms)
    met, log_probs, met_state = native.write([1, 2, 3, 0], state, hows, uniforms)
    np.testing.assert_array_equal(met, expected)
    np.testing.assert_allclose(log_probs, expected_log_probs, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(met_state[0][0], expected_state[0][0])

    first, _, between = native.write([1, 2, 3, 0], state, hows, uniforms[:, :7])
    second, _, _ = native.write(first[:, -1], between, hows, uniforms[:, 7:])
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), expected)
    none, _, same = native.write([1, 2, 3, 0], between, hows, uniforms[:, :0])
    assert none.shape == (rows, 0)
    np.testing.assert_array_equal(same[0][0], between[0][0])


def test_rows_do_not_know_each_other() -> None:
    """A row alone gives the bits that it gives among others."""
    _, native = engines(6, threads=2)
    ids = np.random.default_rng(1).integers(0, V, (7, 300))
    state = native.initial_state(7)
    logits, after = native.advance(ids, state)
    alone, alone_after = native.advance(ids[4:5], state_rows(state, [4]))
    assert alone.tobytes() == logits[4:5].tobytes()
    both = join_states([alone_after, state_rows(after, [0])])
    assert both[0][0].tolist() == [after[0][0][4], after[0][0][0]]


def test_what_is_wrong_is_told_in_python() -> None:
    """Ids, states, bans and shapes that do not fit never reach the library."""
    reference, native = engines(3)
    state = native.initial_state(2)
    uniforms = np.full((2, 3), 0.5)
    with pytest.raises(SettingsError, match="id 14 is not in the vocabulary"):
        native.step([1, V], state)
    for odd in ([0, -1], [0, len(native.ngrams.suffix)]):
        for wrong in (
            lambda odd=odd: native.step([1, 1], ((np.array(odd),),)),
            lambda odd=odd: native.read([[1], [1]], [[1], [1]], ((np.array(odd),),)),
        ):
            with pytest.raises(SettingsError, match="the state is not of this model"):
                wrong()
    nodes = state[0][0]
    for odd_state in (((nodes, nodes),), (*state, *state), ((nodes.astype(float),),), ((nodes[:, None],),)):
        for engine in (reference, native):
            with pytest.raises(SettingsError, match="the state is not of this model"):
                engine.feed([[1], [1]], odd_state)
    for value in (1.0, -0.1, np.nan):
        with pytest.raises(SettingsError, match="uniform"):
            native.write([1, 1], state, [Sampling()] * 2, np.full((2, 3), value))
    with pytest.raises(SettingsError, match="ids have the shape"):
        native.read([[1, 2], [3, 4]], [[1], [2]], state)
    for bad in ((V,), (-1,), tuple(range(V))):
        with pytest.raises(SettingsError) as caught:
            native.write([1, 1], state, [Sampling(), Sampling(banned=bad)], uniforms)
        with pytest.raises(SettingsError) as expected:
            reference.write([1, 1], state, [Sampling(), Sampling(banned=bad)], uniforms)
        assert str(caught.value) == str(expected.value)


def test_many_threads_use_one_engine() -> None:
    """The library changes nothing of a model, so every caller gets the numbers that it would get alone."""
    _, native = engines(6, threads=2)
    uniforms = np.random.default_rng(3).random((3, 400))
    expected = native.write([1, 2, 3], native.initial_state(3), [Sampling()] * 3, uniforms)[0]
    met: list[np.ndarray] = []
    callers = [
        threading.Thread(target=lambda: met.append(native.write([1, 2, 3], native.initial_state(3), [Sampling()] * 3, uniforms)[0]))
        for _ in range(6)
    ]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert len(met) == 6
    assert all((one == expected).all() for one in met)
