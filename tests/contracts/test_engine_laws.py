"""The laws of engines, each one test over every engine and every architecture."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from implementations import ARCHITECTURES, ENGINES, VOCAB_SIZE, random_state, tiny_weights

from escriba.engine import protocol
from escriba.engine.protocol import Engine, State, join_states, reading_of, state_rows
from escriba.engine.sampling import Sampling, log_softmax
from escriba.errors import SettingsError

BATCH_SIZE = 3
STEPS = 200


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """The name of each architecture in turn."""
    return str(request.param)


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """The name of each engine in turn."""
    return str(request.param)


@pytest.fixture
def engine(engine_name: str, architecture: str) -> Engine:
    """Each engine running each architecture."""
    model = ARCHITECTURES[architecture]
    return ENGINES[engine_name](model, tiny_weights(model))


@pytest.fixture
def state(engine: Engine, architecture: str) -> State:
    """A state that is not zero."""
    return random_state(engine, ARCHITECTURES[architecture], BATCH_SIZE)


def some_ids(*shape: int, seed: int = 2) -> np.ndarray:
    """Random ids."""
    return np.random.default_rng(seed).integers(0, VOCAB_SIZE, shape)


def assert_near(log_probs: np.ndarray, wanted: np.ndarray, engine_name: str) -> None:
    """Equal as the design asks: 1e-10 in float64; in float32 1e-4 a symbol and 1e-6 on the mean."""
    difference = log_probs - wanted
    if engine_name.endswith("float64"):
        assert np.abs(difference).max() < 1e-10
    else:
        assert np.abs(difference).max() < 1e-4
        assert abs(difference.mean()) < 1e-6


def flat(state: State) -> list[np.ndarray]:
    """All arrays of a state."""
    return [array for layer in state for array in layer]


def test_advance_is_step_folded(engine: Engine, engine_name: str, state: State) -> None:
    """From a state that is not zero, 200 steps one by one and in pieces cut anywhere give the same logits and the same state."""
    ids_BT = some_ids(BATCH_SIZE, STEPS)
    stepped, now = [], state
    for ids_B in ids_BT.T:
        logits_BV, now = engine.step(ids_B, now)
        stepped.append(logits_BV)
    cuts = np.sort(np.random.default_rng(3).choice(np.arange(1, STEPS), 5, replace=False))
    pieces, then = [], state
    for piece in np.split(ids_BT, cuts, axis=1):
        logits_BTV, then = engine.advance(piece, then)
        pieces.append(logits_BTV)
    whole = np.concatenate(pieces, axis=1)
    assert whole.shape == (BATCH_SIZE, STEPS, VOCAB_SIZE)
    assert_near(log_softmax(whole), log_softmax(np.stack(stepped, axis=1)), engine_name)
    for one, other in zip(flat(now), flat(then), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10 if engine_name.endswith("float64") else 1e-4)


def test_read_is_advance_in_pieces(engine: Engine, engine_name: str, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `read` finds is what the logits of `advance` say; where they would be many it goes row by row, a step at a time."""
    ids_BT, targets_BT = some_ids(BATCH_SIZE, 40), some_ids(BATCH_SIZE, 40, seed=3)
    logits_BTV, now = engine.advance(ids_BT, state)
    wanted = reading_of(logits_BTV, targets_BT, ranks=True, top=3)
    sizes, advance = [VOCAB_SIZE], engine.advance

    def watched(ids: np.ndarray, before: State) -> tuple[np.ndarray, State]:
        sizes.append(ids.size * VOCAB_SIZE)
        return advance(ids, before)

    monkeypatch.setattr(engine, "advance", watched)
    monkeypatch.setattr(protocol, "_LOGITS_PER_CHUNK", VOCAB_SIZE // 4)
    found, then = engine.read(ids_BT, targets_BT, state, ranks=True, top=3)
    assert max(sizes) == VOCAB_SIZE
    assert_near(found.log_probs, wanted.log_probs, engine_name)
    np.testing.assert_array_equal(found.ranks, wanted.ranks)
    np.testing.assert_array_equal(found.top_ids, wanted.top_ids)
    for one, other in zip(flat(now), flat(then), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10 if engine_name.endswith("float64") else 1e-4)


def test_engines_agree(engine: Engine, engine_name: str, architecture: str, state: State) -> None:
    """Every engine gives the log-probabilities of the reference in float64, still after 200 steps."""
    model = ARCHITECTURES[architecture]
    judge = ENGINES["reference-float64"](model, tiny_weights(model))
    ids_BT = some_ids(BATCH_SIZE, STEPS)
    wanted, _ = judge.advance(ids_BT, random_state(judge, model, BATCH_SIZE))
    given, _ = engine.advance(ids_BT, random_state(engine, model, BATCH_SIZE))
    assert np.ptp(log_softmax(wanted)) > 1  # the network says something
    assert_near(log_softmax(given), log_softmax(wanted), engine_name)


def test_state_matters(engine: Engine, state: State) -> None:
    """The same symbol after another past gives other logits, and the past is in the state alone; none, if a window is one symbol wide."""
    ids_B = some_ids(BATCH_SIZE)
    one, _ = engine.step(ids_B, state)
    other, _ = engine.step(ids_B, engine.initial_state(BATCH_SIZE))
    again, _ = engine.step(ids_B, state)
    assert (np.abs(one - other).max() > 1e-3) == any(array.size for array in flat(state))
    np.testing.assert_array_equal(one, again)


def test_a_state_is_a_value(engine: Engine, state: State) -> None:
    """No call changes the state that it was given, nor one that it gave before; a state may be read-only."""
    for array in flat(state):
        array.flags.writeable = False
    before = [array.copy() for array in flat(state)]
    _, first = engine.advance(some_ids(BATCH_SIZE, 4), state)
    kept = [array.copy() for array in flat(first)]
    engine.step(some_ids(BATCH_SIZE), first)
    engine.feed(some_ids(BATCH_SIZE, 3), first)
    engine.write(some_ids(BATCH_SIZE), first, [Sampling()] * BATCH_SIZE, np.full((BATCH_SIZE, 3), 0.5))
    for array, was in zip(flat(state) + flat(first), before + kept, strict=True):
        np.testing.assert_array_equal(array, was)


def test_feed_is_advance_without_logits(engine: Engine, engine_name: str, state: State) -> None:
    """The state after `feed` is that after `advance`; feeding nothing changes nothing."""
    ids_BT = some_ids(BATCH_SIZE, 17)
    _, wanted = engine.advance(ids_BT, state)
    for one, other in zip(flat(engine.feed(ids_BT, state)), flat(wanted), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(flat(engine.feed(ids_BT[:, :0], state)), flat(state), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_do_not_know_each_other(engine: Engine, engine_name: str, architecture: str) -> None:
    """A row gives the same alone, in a batch, and in another place of it: bit for bit, but for PyTorch, which is exempt from the bits."""
    model = ARCHITECTURES[architecture]
    state = random_state(engine, model, 7)
    ids_BT = some_ids(7, 20)
    together, after = engine.advance(ids_BT, state)
    order = np.array([5, 0, 3, 6, 1])
    fewer, _ = engine.advance(ids_BT[order], state_rows(state, order))
    for row in range(7):
        alone, after_alone = engine.advance(ids_BT[row : row + 1], state_rows(state, [row]))
        pairs = [(alone[0], together[row]), *zip(flat(after_alone), flat(state_rows(after, [row])), strict=True)]
        if row in order:
            pairs.append((fewer[list(order).index(row)], together[row]))
        for one, other in pairs:
            if engine_name.startswith(("reference", "native")):
                np.testing.assert_array_equal(one, other)
            else:
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_write_is_step_filter_draw(engine: Engine, state: State) -> None:
    """`write` gives the ids, log-probabilities and state of the default made of `step`, in one call as in pieces, each row its own way."""
    samplings = [Sampling(1.3, banned=(0,)), Sampling(0.0), Sampling(0.8, top_k=4, top_p=0.9, min_p=0.05)]
    uniforms = np.random.default_rng(4).random((BATCH_SIZE, 30))
    start = some_ids(BATCH_SIZE)
    ids, log_probs, after = engine.write(start, state, samplings, uniforms)
    default_ids, default_log_probs, _ = Engine.write(engine, start, state, samplings, uniforms)
    np.testing.assert_array_equal(ids, default_ids)
    np.testing.assert_allclose(log_probs, default_log_probs, rtol=0, atol=1e-4)
    assert ids.dtype == np.int64
    assert log_probs.dtype == np.float64
    assert 0 not in ids[0]
    first, first_log_probs, middle = engine.write(start, state, samplings, uniforms[:, :11])
    second, second_log_probs, end = engine.write(first[:, -1], middle, samplings, uniforms[:, 11:])
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), ids)
    np.testing.assert_allclose(np.concatenate([first_log_probs, second_log_probs], axis=1), log_probs, rtol=0, atol=1e-12)
    for one, other in zip(flat(end), flat(after), strict=True):
        np.testing.assert_array_equal(one, other)


def test_log_probs_of_write_are_the_models_own(engine: Engine, engine_name: str, state: State) -> None:
    """They are those of `advance` over the written ids: temperature, bans and filters do not touch them."""
    start = some_ids(BATCH_SIZE)
    sampling = Sampling(0.5, top_k=3, banned=(0, 1))
    ids, log_probs, after = engine.write(start, state, [sampling] * BATCH_SIZE, np.random.default_rng(5).random((BATCH_SIZE, 25)))
    logits, wanted_state = engine.advance(np.concatenate([start[:, None], ids[:, :-1]], axis=1), state)
    wanted = np.take_along_axis(log_softmax(logits), ids[:, :, None], axis=2)[:, :, 0]
    assert_near(log_probs, wanted, engine_name)
    for one, other in zip(flat(after), flat(wanted_state), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10 if engine_name.endswith("float64") else 1e-5)


@pytest.mark.parametrize(
    ("ids", "met"),
    [
        ([0, -1, 2], "id -1"),
        ([0, VOCAB_SIZE, 2], f"id {VOCAB_SIZE}"),
        ([0.0, 1.0, 2.0], "float64"),
        ([0, 1], "2 rows"),
        ([[0, 1, 2]], "shape"),
    ],
)
def test_wrong_ids_are_told(engine_name: str, ids: list, met: str) -> None:
    """An id outside the vocabulary, a wrong type, number of rows or shape is an error that names it, never a wrong row of a table."""
    model = ARCHITECTURES["gru-after"]
    engine = ENGINES[engine_name](model, tiny_weights(model))
    with pytest.raises(SettingsError, match=met):
        engine.step(ids, engine.initial_state(3))
    with pytest.raises(SettingsError):
        engine.advance(np.zeros((3, 0), dtype=np.int64), engine.initial_state(3))
    with pytest.raises(SettingsError, match="2 samplings"):
        engine.write([0, 1, 2], engine.initial_state(3), [Sampling()] * 2, np.zeros((3, 1)))
    with pytest.raises(SettingsError, match="batch_size"):
        engine.initial_state(0)


def test_rows_and_joins(engine: Engine, state: State) -> None:
    """Rows taken from states and joined again are the rows asked for, in the order asked for, repeats included."""
    picked = state_rows(state, [2, 0, 2])
    for one, other in zip(flat(picked), flat(state), strict=True):
        np.testing.assert_array_equal(one, other[[2, 0, 2]])
    joined = join_states([state_rows(state, [row]) for row in range(BATCH_SIZE)])
    for one, other in zip(flat(joined), flat(state), strict=True):
        np.testing.assert_array_equal(one, other)


THREADS_SCRIPT = """
import hashlib, numpy as np
from escriba.engine.reference import ReferenceEngine
from escriba.settings import ModelSettings
from escriba.weights import tensor_specs
for model, vocab_size, steps in (
    (ModelSettings(cell="gru", embedding_dim=37, hidden_size=131, num_layers=2), 67, 12),
    (ModelSettings(cell="gru", reset="before", embedding_dim=33, hidden_size=259), 101, 8),
    (ModelSettings(cell="lstm", embedding_dim=None, hidden_size=515), 66, 6),
    (ModelSettings(cell="gru", embedding_dim=256, hidden_size=1024), 66, 3),
):
    for dtype in (np.float32, np.float64):
        random = np.random.default_rng(0)
        weights = {spec.name: random.uniform(-0.2, 0.2, spec.shape) for spec in tensor_specs(model, vocab_size)}
        engine = ReferenceEngine(model, weights, dtype=dtype)
        logits, _ = engine.advance(random.integers(0, vocab_size, (3, steps)), engine.initial_state(3))
        print(hashlib.sha256(logits.tobytes()).hexdigest())
"""


def test_threads_do_not_matter_to_the_reference() -> None:
    """The reference's logits are the same bit for bit with one thread and with several."""
    source = str(Path(__file__).resolve().parents[2] / "src")

    def digests(threads: int) -> str:
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        environment: Mapping[str, str] = {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": source}
        run = subprocess.run(
            [sys.executable, "-c", THREADS_SCRIPT], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return run.stdout

    one = digests(1)
    assert one.count("\n") == 8
    assert len(set(one.split())) == 8  # a digest of something
    assert one == digests(2)
    assert one == digests(4)
