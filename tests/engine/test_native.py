"""The compiled engine beside the laws: every way to part its work, every level of this processor, its precisions, and what it refuses."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from implementations import ARCHITECTURES, VOCAB_SIZE, random_state, tiny_weights

from escriba import _native
from escriba.engine import native as module
from escriba.engine.protocol import Engine, State, reading_of, state_rows
from escriba.engine.reference import ReferenceEngine
from escriba.engine.sampling import Sampling, log_softmax
from escriba.errors import EscribaError, SettingsError
from escriba.settings import ModelSettings
from escriba.weights import state_specs, tensor_specs

if _native.library() is None:
    pytest.skip("there is no native code here", allow_module_level=True)

from escriba.engine.native import NativeEngine

V = 67
WIDE = {
    "rnn": ModelSettings(cell="rnn", embedding_dim=37, hidden_size=80),
    "gru-after-2": ModelSettings(cell="gru", embedding_dim=37, hidden_size=83, num_layers=2),
    "gru-before": ModelSettings(cell="gru", reset="before", embedding_dim=None, hidden_size=80),
    "lstm-2": ModelSettings(cell="lstm", embedding_dim=33, hidden_size=70, num_layers=2),
    "mingru-2": ModelSettings(cell="mingru", embedding_dim=33, hidden_size=70, num_layers=2),
    "ngram-2": ModelSettings(cell="ngram", window=4, embedding_dim=33, hidden_size=70, num_layers=2),
    "ngram-onehot": ModelSettings(cell="ngram", embedding_dim=None, hidden_size=70),
    "stack-mingru-3": ModelSettings(cell="mingru", residual=True, embedding_dim=37, hidden_size=80, num_layers=3),
    "stack-gru-2": ModelSettings(cell="gru", residual=True, embedding_dim=80, hidden_size=80, num_layers=2),
    "stack-before-noconv": ModelSettings(cell="gru", reset="before", residual=True, conv=None, embedding_dim=None, hidden_size=67),
    "stack-ngram": ModelSettings(cell="ngram", residual=True, embedding_dim=37, hidden_size=80),
}
"""Wide enough for several threads to have units of their own, and of no round size."""


def wide_weights(model: ModelSettings, vocab_size: int = V) -> dict[str, np.ndarray]:
    """Random weights of a useful size whatever the width."""
    random = np.random.default_rng(0)
    return {
        spec.name: (random.normal(size=spec.shape) / np.sqrt(spec.shape[-1] if len(spec.shape) == 2 else 4)).astype(np.float32)
        for spec in tensor_specs(model, vocab_size)
    }


def parted(engine: NativeEngine, parting: int) -> NativeEngine:
    """The engine, made to part its work in this way."""
    engine._held.parting = parting
    return engine


def some_state(model: ModelSettings, rows: int) -> State:
    """A state that is not zero."""
    random = np.random.default_rng(1)
    return tuple(
        tuple(random.uniform(-0.9, 0.9, (rows, spec.size)).astype(np.float32) for spec in layer) for layer in state_specs(model, V)
    )


def some_ids(*shape: int, seed: int = 2, vocab_size: int = V) -> np.ndarray:
    """Random ids."""
    return np.random.default_rng(seed).integers(0, vocab_size, shape)


def assert_same(one: State, other: State) -> None:
    """All arrays equal, bit for bit."""
    for first, second in zip(sum(one, ()), sum(other, ()), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.fixture(params=WIDE)
def wide(request: pytest.FixtureRequest) -> ModelSettings:
    """Each of the wide architectures in turn."""
    return WIDE[request.param]


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_threads_and_their_parting_do_not_matter(wide: ModelSettings, precision: str) -> None:
    """Logits, states, readings and texts are the same bit for bit on 1, 2 and 3 threads, by units and by rows, for few rows and many."""
    weights = wide_weights(wide)
    one = NativeEngine(wide, V, weights, precision=precision, threads=1)
    for rows, steps in ((1, 150), (3, 20), (9, 40), (70, 3)):
        state, ids, targets = some_state(wide, rows), some_ids(rows, steps), some_ids(rows, steps, seed=3)
        uniforms = np.random.default_rng(4).random((rows, 12))
        logits, after = one.advance(ids, state)
        reading, _ = one.read(ids, targets, state, ranks=True)
        written, log_probs, end = one.write(ids[:, 0], state, [Sampling(0.9)] * rows, uniforms)
        assert len(np.unique(written)) > 3
        for threads, parting in ((2, 1), (3, 1), (2, 2), (3, 2), (2, 0)):
            other = parted(NativeEngine(wide, V, weights, precision=precision, threads=threads), parting)
            its_logits, its_after = other.advance(ids, state)
            np.testing.assert_array_equal(its_logits, logits)
            assert_same(its_after, after)
            assert_same(other.feed(ids, state), after)
            its_reading, _ = other.read(ids, targets, state, ranks=True)
            np.testing.assert_array_equal(its_reading.log_probs, reading.log_probs)
            np.testing.assert_array_equal(its_reading.ranks, reading.ranks)
            its_written, its_log_probs, its_end = other.write(ids[:, 0], state, [Sampling(0.9)] * rows, uniforms)
            np.testing.assert_array_equal(its_written, written)
            np.testing.assert_array_equal(its_log_probs, log_probs)
            assert_same(its_end, end)


@pytest.mark.parametrize("level", _native.levels())
def test_every_level_gives_the_references_numbers(wide: ModelSettings, level: str) -> None:
    """In float32 to 1e-4 a symbol after 100 steps; a row alone as in a batch, bit for bit."""
    weights = wide_weights(wide)
    judge = ReferenceEngine(wide, weights, dtype=np.float64)
    ids, state = some_ids(6, 100), some_state(wide, 6)
    wanted, wanted_after = judge.advance(ids, state)
    engine = NativeEngine(wide, V, weights, level=level, threads=2)
    given, after = engine.advance(ids, state)
    assert np.abs(log_softmax(given) - log_softmax(wanted)).max() < 1e-4
    for one, other in zip(sum(after, ()), sum(wanted_after, ()), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)
    for row in (0, 5):
        alone, after_alone = engine.advance(ids[row : row + 1], state_rows(state, [row]))
        np.testing.assert_array_equal(alone[0], given[row])
        assert_same(after_alone, state_rows(after, [row]))


@pytest.mark.parametrize("level", _native.levels())
@pytest.mark.parametrize("architecture", ["gru-after", "ngram-5-onehot-relu-2"])
def test_int8_is_what_it_says(architecture: str, level: str) -> None:
    """A scale a row of a matrix and one for each vector that enters, sums exact, all else in float32: as written out in NumPy."""
    model = ARCHITECTURES[architecture]
    weights = tiny_weights(model)
    engine = NativeEngine(model, VOCAB_SIZE, weights, precision="int8", level=level)
    state, tokens = random_state(engine, model, 1), (4, 0, VOCAB_SIZE - 1)

    def rounded(rows: np.ndarray) -> np.ndarray:
        scale = np.abs(rows).max(-1, keepdims=True) / 127
        return np.rint(rows / np.where(scale == 0, 1, scale)) * scale

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    def layer(at: int) -> dict[str, np.ndarray]:
        return {name.rpartition(".")[2]: array.astype(np.float64) for name, array in weights.items() if name.startswith(f"layers.{at}.")}

    seen = [array[0].astype(np.float64) for one in state for array in one]
    for token in tokens:
        logits, state = engine.step([token], state)
        if model.cell == "gru":
            own = layer(0)
            x = own["weight_ih"] @ weights["embedding.weight"][token] + own["bias_ih"]  # from the table: not rounded
            r = rounded(own["weight_hh"]) @ rounded(seen[0]) + own["bias_hh"]
            gates = sigmoid(x[:18] + r[:18])
            n = np.tanh(x[18:] + gates[:9] * r[18:])
            seen[0] = out = (1 - gates[9:]) * n + gates[9:] * seen[0]
        else:
            out = np.eye(VOCAB_SIZE)[token]
            for at in range(2):
                own, whole = layer(at), np.concatenate([seen[at], out])
                entered = np.concatenate([rounded(one) for one in np.split(whole, 5)])
                seen[at] = whole[len(out) :]
                out = np.maximum(rounded(own["weight_ih"]) @ entered + own["bias"], 0)
        wanted = rounded(weights["output.weight"].astype(np.float64)) @ rounded(out) + weights["output.bias"]
        np.testing.assert_allclose(logits[0], wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("precision", "mean", "most"), [("bf16", 0.006, 0.04), ("int8", 0.025, 0.2)])
@pytest.mark.parametrize("level", _native.levels())
def test_shorter_precisions_stay_near(wide: ModelSettings, level: str, precision: str, mean: float, most: float) -> None:
    """Twice what was measured on every level (bf16: 0.003 on the mean and 0.02 at most; int8: 0.013 and 0.1); a wrong scale gives more."""
    weights = wide_weights(wide)
    ids, state = some_ids(4, 60), some_state(wide, 4)
    wanted = log_softmax(ReferenceEngine(wide, weights, dtype=np.float64).advance(ids, state)[0])
    given = log_softmax(NativeEngine(wide, V, weights, precision=precision, level=level).advance(ids, state)[0])
    assert np.ptp(wanted) > 1
    assert 0 < np.abs(given - wanted).mean() < mean
    assert np.abs(given - wanted).max() < most


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_large_vocabulary_without_table(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the table of input products would be too large it is not made, and the logits are the same bit for bit; int8 stays near."""
    model = ARCHITECTURES[architecture]
    weights, ids = tiny_weights(model), some_ids(3, 30, vocab_size=VOCAB_SIZE)
    precisions = ("float32", "int8")
    with_table = [NativeEngine(model, VOCAB_SIZE, weights, precision=precision) for precision in precisions]
    monkeypatch.setattr(module, "_TABLE_BYTES", 0)
    without = [NativeEngine(model, VOCAB_SIZE, weights, precision=precision) for precision in precisions]
    state = random_state(with_table[0], model, 3)
    (exact, near), (same, nearly) = ([engine.advance(ids, state)[0] for engine in engines] for engines in (with_table, without))
    np.testing.assert_array_equal(exact, same)
    assert np.abs(log_softmax(near) - log_softmax(nearly)).mean() < 0.05


@pytest.mark.parametrize("architecture", ["gru-after", "stack-mingru-3", "ngram"])
def test_read_in_pieces(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log-probabilities and ranks are those of `advance`, also where rows and time are parted into many calls."""
    model = ARCHITECTURES[architecture]
    engine = NativeEngine(model, VOCAB_SIZE, tiny_weights(model), threads=2)
    ids, targets = some_ids(5, 40, vocab_size=VOCAB_SIZE), some_ids(5, 40, seed=3, vocab_size=VOCAB_SIZE)
    state = random_state(engine, model, 5)
    logits, after = engine.advance(ids, state)
    wanted = reading_of(logits, targets, ranks=True)
    start, uniforms, samplings = ids[:, 0], np.random.default_rng(0).random((5, 9)), [Sampling()] * 5
    written = engine.write(start, state, samplings, uniforms)
    for rows, work in ((module._ROWS_PER_CALL, module._WORK_PER_CALL), (2, 1.0)):
        monkeypatch.setattr(module, "_ROWS_PER_CALL", rows)
        monkeypatch.setattr(module, "_WORK_PER_CALL", work)
        found, then = engine.read(ids, targets, state, ranks=True)
        np.testing.assert_allclose(found.log_probs, wanted.log_probs, rtol=0, atol=2e-6)
        np.testing.assert_array_equal(found.ranks, wanted.ranks)
        assert_same(then, after)
        assert_same(engine.feed(ids, state), after)
        again = engine.write(start, state, samplings, uniforms)
        np.testing.assert_array_equal(again[0], written[0])
        assert_same(again[2], written[2])
    plain, _ = engine.read(ids, targets, state)
    assert plain[1:] == (None, None, None)
    top, _ = engine.read(ids, targets, state, top=3)
    assert top.top_ids is not None
    assert top.top_ids.shape == (5, 40, 3)


def test_equals_are_ranked_by_id() -> None:
    """Where all symbols are as likely, the lower id comes first."""
    model = ARCHITECTURES["gru-after"]
    weights = tiny_weights(model) | {"output.weight": np.zeros((VOCAB_SIZE, 9)), "output.bias": np.zeros(VOCAB_SIZE)}
    engine = NativeEngine(model, VOCAB_SIZE, weights)
    ids = some_ids(2, 30, vocab_size=VOCAB_SIZE)
    found, _ = engine.read(ids, ids, engine.initial_state(2), ranks=True)
    np.testing.assert_array_equal(found.ranks, ids + 1)
    np.testing.assert_allclose(found.log_probs, -np.log(VOCAB_SIZE), rtol=0, atol=1e-12)


def test_large_vocabularies_and_windows() -> None:
    """A word model: thousands of symbols, one-hot windows, an output that threads part by its rows."""
    for model in (
        ModelSettings(cell="ngram", embedding_dim=None, hidden_size=20, window=4),
        ModelSettings(cell="gru", embedding_dim=None, hidden_size=40),
        ModelSettings(cell="ngram", codes=True, hidden_size=33),
    ):
        weights = wide_weights(model, 5000)
        judge = ReferenceEngine(model, weights, dtype=np.float64)
        ids = some_ids(2, 7, vocab_size=5000)
        wanted, _ = judge.advance(ids, judge.initial_state(2))
        for threads, parting in ((1, 0), (2, 1), (2, 2)):
            engine = parted(NativeEngine(model, 5000, weights, threads=threads), parting)
            given, _ = engine.advance(ids, engine.initial_state(2))
            assert np.abs(log_softmax(given) - log_softmax(wanted)).max() < (2e-3 if model.codes else 1e-4)
            uniforms = np.random.default_rng(0).random((2, 5))
            samplings = [Sampling(0.8, top_k=20), Sampling(1.0, top_p=0.9, banned=(3,))]
            written, _, _ = engine.write(ids[:, 0], engine.initial_state(2), samplings, uniforms)
            default, _, _ = Engine.write(engine, ids[:, 0], engine.initial_state(2), samplings, uniforms)
            np.testing.assert_array_equal(written, default)


def test_many_threads_may_use_one_engine() -> None:
    """Calls at the same time from several threads do not know each other."""
    model = WIDE["stack-mingru-3"]
    engine = parted(NativeEngine(model, V, wide_weights(model), threads=2), 1)
    texts = [some_ids(1, 60, seed=seed) for seed in range(8)]
    wanted = [engine.advance(ids, engine.initial_state(1))[0] for ids in texts]
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda ids: engine.advance(ids, engine.initial_state(1))[0], texts * 4))
    for at, logits in enumerate(given):
        np.testing.assert_array_equal(logits, wanted[at % 8])


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_engine_works_after_a_fork() -> None:
    """Nothing of a call outlives it, so a forked process has all it needs."""
    model = WIDE["gru-after-2"]
    engine = parted(NativeEngine(model, V, wide_weights(model), threads=2), 1)
    ids = some_ids(1, 20)
    wanted, _ = engine.advance(ids, engine.initial_state(1))
    child = os.fork()
    if child == 0:
        same = np.array_equal(engine.advance(ids, engine.initial_state(1))[0], wanted)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_weights_are_checked() -> None:
    """A tensor that is missing, superfluous, of another shape or not finite is named."""
    model = ARCHITECTURES["lstm"]
    weights = tiny_weights(model)

    def refused(met: str, **changed: np.ndarray | None) -> None:
        given = {**weights, **{name.replace("__", "."): array for name, array in changed.items()}}
        with pytest.raises(SettingsError, match=met):
            NativeEngine(model, VOCAB_SIZE, {name: array for name, array in given.items() if array is not None})

    refused(r"'layers.0.bias' is missing", layers__0__bias=None)
    refused(r"'extra'", extra=np.zeros(1))
    refused(r"shape \(2, 2\)", layers__0__weight_hh=np.zeros((2, 2)))
    for value in (np.nan, np.inf):
        broken = weights["layers.0.weight_hh"].copy()
        broken[3, 4] = value
        refused(r"'layers\.0\.weight_hh' holds numbers that are not finite", layers__0__weight_hh=broken)
    refused(r"'output\.bias' holds numbers", output__bias=np.full(VOCAB_SIZE, 1e300))


def test_weights_are_read_only_and_of_any_precision() -> None:
    """Weights in half precision, not contiguous or read-only are taken as they are, never changed, and not needed afterwards."""
    model = ARCHITECTURES["gru-before"]
    weights = {name: np.asfortranarray(array.astype(np.float16)) for name, array in tiny_weights(model).items()}
    same = NativeEngine(model, VOCAB_SIZE, {name: array.astype(np.float32) for name, array in weights.items()})
    for array in weights.values():
        array.flags.writeable = False
    engine = NativeEngine(model, VOCAB_SIZE, weights)
    logits, _ = engine.advance([[1, 2, 3]], engine.initial_state(1))
    for array in weights.values():
        array.flags.writeable = True
        array[...] = 0
    np.testing.assert_array_equal(logits, same.advance([[1, 2, 3]], same.initial_state(1))[0])
    np.testing.assert_array_equal(logits, engine.advance([[1, 2, 3]], engine.initial_state(1))[0])


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_weights_gone_astray_are_an_error_where_they_are_used(precision: str) -> None:
    """Weights that overflow are a clear error when probabilities are asked for, or a symbol is drawn."""
    model = ARCHITECTURES["rnn-relu-2"]
    weights = {name: np.full_like(array, 1e30) for name, array in tiny_weights(model).items()}
    engine = NativeEngine(model, VOCAB_SIZE, weights, precision=precision)
    ids, state = np.array([[1, 2, 3, 4]]), engine.initial_state(1)
    with pytest.raises(EscribaError, match="not finite"):
        engine.read(ids, ids, state)
    with pytest.raises(EscribaError, match="not finite"):
        engine.write([1], state, [Sampling()], np.full((1, 4), 0.5))


@pytest.mark.parametrize("level", _native.levels())
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_overflows_while_it_is_fed_is_not_forgotten(precision: str, level: str) -> None:
    """Infinities that cancel leave no number; a relu does not make a zero of that, and the state tells it later."""
    model = ModelSettings(cell="rnn", activation="relu", embedding_dim=3, hidden_size=2)
    weights = {spec.name: np.zeros(spec.shape, np.float32) for spec in tensor_specs(model, 5)}
    weights["layers.0.bias"][:] = 1e30
    weights["layers.0.weight_hh"][:] = [[1e30, 1e30], [1e30, -1e30]]
    engine = NativeEngine(model, 5, weights, precision=precision, level=level)
    state = engine.initial_state(1)
    assert not np.isfinite(engine.feed([[1, 2, 3]], state)[0][0]).any()
    for ids in ([[1, 2, 3]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 1]]):
        with pytest.raises(EscribaError, match="not finite"):
            engine.read([[1]], [[1]], engine.feed(ids, state))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_state_of_what_is_no_number_is_refused(small: NativeEngine, value: float) -> None:
    """It is told before a precision or an activation can make of it what looks like a number."""
    state = small.initial_state(2)
    state[1][0][1, 3] = value
    for call in (lambda: small.step([1, 2], state), lambda: small.write([1, 2], state, [Sampling()] * 2, np.full((2, 3), 0.5))):
        with pytest.raises(EscribaError, match="not finite"):
            call()


def test_an_empty_batch_is_refused(small: NativeEngine) -> None:
    """A state without rows, or without arrays, never reaches the library, whatever is asked for."""
    none, ids = state_rows(small.initial_state(1), []), np.zeros((0, 3), np.int64)
    for call in (
        lambda: small.step(ids[:, 0], none),
        lambda: small.advance(ids, none),
        lambda: small.feed(ids, none),
        lambda: small.read(ids, ids, none),
        lambda: small.write(ids[:, 0], none, [], np.zeros((0, 3))),
    ):
        with pytest.raises(SettingsError, match="batch_size is 0"):
            call()
    for wrong in ((), ((),)):
        with pytest.raises(SettingsError, match="not of this model"):
            small.step([1], wrong)


@pytest.fixture
def small() -> NativeEngine:
    """A small engine."""
    model = ARCHITECTURES["lstm-onehot-2"]
    return NativeEngine(model, VOCAB_SIZE, tiny_weights(model))


def test_what_does_not_fit_is_refused(small: NativeEngine) -> None:
    """States of other models, uniforms out of range, bans outside the vocabulary, unlike targets: refused before the library is called."""
    state = small.initial_state(2)
    other = NativeEngine(ARCHITECTURES["gru-after"], VOCAB_SIZE, tiny_weights(ARCHITECTURES["gru-after"]))
    for wrong in (other.initial_state(2), state[:1], (state[0], state_rows(state[1:], [0])[0]), (state[0], state[1][:1])):
        with pytest.raises(SettingsError, match="state"):
            small.step([1, 2], wrong)
    for value in (1.0, -0.1, np.nan):
        with pytest.raises(SettingsError, match="uniform"):
            small.write([1, 2], state, [Sampling()] * 2, np.full((2, 3), value))
    with pytest.raises(SettingsError, match=f"id {VOCAB_SIZE} is banned"):
        small.write([1, 2], state, [Sampling(), Sampling(banned=(VOCAB_SIZE,))], np.full((2, 3), 0.5))
    with pytest.raises(SettingsError, match="every symbol"):
        small.write([1, 2], state, [Sampling(), Sampling(banned=tuple(range(VOCAB_SIZE)))], np.full((2, 3), 0.5))
    with pytest.raises(SettingsError, match="shape"):
        small.read([[1, 2], [3, 4]], [[1], [2]], state)
    with pytest.raises(SettingsError, match="id 13"):
        small.read([[1, 2], [3, 4]], [[1, 2], [2, 13]], state)
    with pytest.raises(SettingsError, match="batch_size"):
        small.initial_state(0)
    empty, _, same = small.write([1, 2], state, [Sampling()] * 2, np.empty((2, 0)))
    assert empty.shape == (2, 0)
    assert_same(same, state)


def test_what_is_not_known_is_refused() -> None:
    """A precision, a cell, a level or a number of threads that is not known is named."""
    model, weights = ARCHITECTURES["gru-after"], tiny_weights(ARCHITECTURES["gru-after"])
    with pytest.raises(SettingsError, match="float16"):
        NativeEngine(model, VOCAB_SIZE, weights, precision="float16")
    with pytest.raises(SettingsError, match="counts"):
        NativeEngine(ModelSettings(cell="counts"), VOCAB_SIZE, {})
    with pytest.raises(SettingsError, match="threads"):
        NativeEngine(model, VOCAB_SIZE, weights, threads=0)
    with pytest.raises(EscribaError, match="sse1"):
        NativeEngine(model, VOCAB_SIZE, weights, level="sse1")
