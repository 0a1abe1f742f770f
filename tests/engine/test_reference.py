"""The reference engine against the equations written out number by number, and what it says about weights that do not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from implementations import ARCHITECTURES, VOCAB_SIZE, random_state, tiny_weights

from escriba.engine import reference
from escriba.engine.reference import ReferenceEngine
from escriba.engine.sampling import log_softmax
from escriba.errors import EscribaError, SettingsError
from escriba.settings import ModelSettings

Vector = list[float]
ACTIVATIONS = {"tanh": math.tanh, "relu": lambda x: max(x, 0.0), "sigmoid": lambda x: 1 / (1 + math.exp(-x))}


def times(matrix: np.ndarray, vector: Vector) -> Vector:
    """A matrix by a vector, in plain Python."""
    return [math.fsum(float(m) * v for m, v in zip(row, vector, strict=True)) for row in matrix]


def plain_norm(x: Vector, weight: np.ndarray) -> Vector:
    """A vector brought to the length of its weights."""
    length = math.sqrt(math.fsum(v * v for v in x) / len(x) + 1e-6)
    return [v / length * float(w) for v, w in zip(x, weight, strict=True)]


def plain_gated(values: Vector, gates: Vector) -> Vector:
    """Values, each times silu of its gate."""
    return [v * g / (1 + math.exp(-g)) for v, g in zip(values, gates, strict=True)]


def added(x: Vector, y: Vector) -> Vector:
    """Two vectors added."""
    return [one + other for one, other in zip(x, y, strict=True)]


def plain_cell(model: ModelSettings, named: dict[str, np.ndarray], x: Vector, before: list[Vector]) -> tuple[Vector, list[Vector]]:
    """One step of one cell."""
    sigmoid, size = ACTIVATIONS["sigmoid"], model.hidden_size
    h = before[0]
    if model.cell == "ngram":
        seen, act = h + x, ACTIVATIONS[model.hidden_activation]
        return [act(i + float(b)) for i, b in zip(times(named["weight_ih"], seen), named["bias"], strict=True)], [seen[len(x) :]]
    i = times(named["weight_ih"], x)
    if model.cell == "mingru":
        z, n = ([i[k] + float(named["bias"][k]) for k in range(at, at + size)] for at in (0, size))
        h = [(1 - sigmoid(z[k])) * h[k] + sigmoid(z[k]) * n[k] for k in range(size)]
        return h, [h]
    r = times(named["weight_hh"], h)
    if model.cell == "rnn":
        act = ACTIVATIONS[model.hidden_activation]
        new = [[act(i[k] + r[k] + float(named["bias"][k])) for k in range(size)]]
    elif model.cell == "lstm":
        a = [i[k] + r[k] + float(named["bias"][k]) for k in range(4 * size)]
        c = [sigmoid(a[size + k]) * before[1][k] + sigmoid(a[k]) * math.tanh(a[2 * size + k]) for k in range(size)]
        new = [[sigmoid(a[3 * size + k]) * math.tanh(c[k]) for k in range(size)], c]
    else:
        bias = named["bias_ih"] if model.reset == "after" else named["bias"]
        i = [i[k] + float(bias[k]) for k in range(3 * size)]
        if model.reset == "after":
            r = [r[k] + float(named["bias_hh"][k]) for k in range(3 * size)]
        reset = [sigmoid(i[k] + r[k]) for k in range(size)]
        keep = [sigmoid(i[size + k] + r[size + k]) for k in range(size)]
        if model.reset == "after":
            inner = [reset[k] * r[2 * size + k] for k in range(size)]
        else:
            inner = times(named["weight_hh"][2 * size :], [reset[k] * h[k] for k in range(size)])
        n = [math.tanh(i[2 * size + k] + inner[k]) for k in range(size)]
        new = [[(1 - keep[k]) * n[k] + keep[k] * h[k] for k in range(size)]]
    return new[0], new


def plain_block(model: ModelSettings, named: dict[str, np.ndarray], x: Vector, before: list[Vector]) -> tuple[Vector, list[Vector]]:
    """One step of one block of a residual stack."""
    size, tail = model.hidden_size, []
    both = times(named["weight_in"], plain_norm(x, named["norm"]))
    value, gates = both[:size], both[size:]
    if model.conv is not None:
        seen = list(value)
        if model.conv > 1:
            seen, before = before[-1] + seen, before[:-1]
            tail = [seen[size:]]
        value = [
            float(named["conv_bias"][k]) + math.fsum(float(named["conv_weight"][k, j]) * seen[j * size + k] for j in range(model.conv))
            for k in range(size)
        ]
    h, after = plain_cell(model, named, value, before)
    x = added(x, times(named["weight_out"], plain_gated(h, gates)))
    if model.mlp is not None:
        up = times(named["weight_up"], plain_norm(x, named["mlp_norm"]))
        x = added(x, times(named["weight_down"], plain_gated(up[: len(up) // 2], up[len(up) // 2 :])))
    return x, after + tail


def plain_step(
    model: ModelSettings, weights: dict[str, np.ndarray], token: int, state: list[list[Vector]]
) -> tuple[Vector, list[list[Vector]]]:
    """One step of one row in plain Python, number by number."""
    one_hot = [float(at == token) for at in range(VOCAB_SIZE)]
    x = [float(token)] if model.codes else one_hot
    if "embedding.weight" in weights:
        x = [float(e) for e in weights["embedding.weight"][token]]
    if "entry.weight" in weights:
        x = times(weights["entry.weight"], x)
    after = []
    for at, before in enumerate(state):
        named = {name.rpartition(".")[2]: array for name, array in weights.items() if name.startswith(f"layers.{at}.")}
        x, new = (plain_block if model.residual else plain_cell)(model, named, x, before)
        after.append(new)
    if model.residual:
        x = plain_norm(x, weights["norm.weight"])
    out = weights["embedding.weight"] if model.tied else weights["output.weight"]
    return [y + float(b) for y, b in zip(times(out, x), weights["output.bias"], strict=True)], after


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equations(architecture: str) -> None:
    """Three steps from a state that is not zero give the numbers of the equations in plain Python, logits and states."""
    model = ARCHITECTURES[architecture]
    weights = tiny_weights(model)
    engine = ReferenceEngine(model, weights, dtype=np.float64)
    state = random_state(engine, model, 1)
    plain = [[array[0].tolist() for array in layer] for layer in state]
    for token in (4, 0, VOCAB_SIZE - 1):
        logits, state = engine.step([token], state)
        wanted, plain = plain_step(model, weights, token, plain)
        np.testing.assert_allclose(logits[0], wanted, rtol=0, atol=1e-12)
        for layer, plain_layer in zip(state, plain, strict=True):
            for array, vector in zip(layer, plain_layer, strict=True):
                np.testing.assert_allclose(array[0], vector, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", ["gru-after", "ngram", "ngram-codes"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_vocabulary_without_table(dtype: type, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the table of input products would be too large it is not made, and the logits are the same bit for bit."""
    model = ARCHITECTURES[architecture]
    weights = tiny_weights(model)
    ids = np.arange(VOCAB_SIZE)[None, :]
    with_table = ReferenceEngine(model, weights, dtype=dtype)
    monkeypatch.setattr(reference, "_TABLE_BYTES", 0)
    without = ReferenceEngine(model, weights, dtype=dtype)
    assert with_table._table_VG is not None
    assert without._table_VG is None
    np.testing.assert_array_equal(
        with_table.advance(ids, with_table.initial_state(1))[0], without.advance(ids, without.initial_state(1))[0]
    )


def test_products_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product too long for one call is summed from parts, to the same value."""
    random = np.random.default_rng(0)
    matrix, vector = random.normal(size=(3, 50)), random.normal(size=50)
    monkeypatch.setattr(reference, "_LONGEST_DOT", 7)
    np.testing.assert_allclose(reference._product(matrix, vector), matrix @ vector, rtol=0, atol=1e-12)


def test_weights_are_checked() -> None:
    """A tensor that is missing, superfluous or of another shape is named, with the shape that was expected."""
    model = ARCHITECTURES["lstm"]
    weights = tiny_weights(model)
    with pytest.raises(SettingsError, match=r"'layers.0.bias' is missing"):
        ReferenceEngine(model, {name: array for name, array in weights.items() if name != "layers.0.bias"})
    with pytest.raises(SettingsError, match=r"'extra'"):
        ReferenceEngine(model, {**weights, "extra": np.zeros(1)})
    with pytest.raises(SettingsError, match=r"shape \(2, 2\)") as caught:
        ReferenceEngine(model, {**weights, "layers.0.weight_hh": np.zeros((2, 2))})
    assert "(36, 9)" in str(caught.value)
    with pytest.raises(SettingsError, match=r"output\.bias"):
        ReferenceEngine(model, {})
    with pytest.raises(SettingsError, match="float16"):
        ReferenceEngine(model, weights, dtype=np.float16)


def test_weights_are_read_only_and_of_any_precision() -> None:
    """Weights in half precision, not contiguous or read-only are taken as they are, and never changed."""
    model = ARCHITECTURES["gru-before"]
    weights = {name: np.asfortranarray(array.astype(np.float16)) for name, array in tiny_weights(model).items()}
    kept = {name: array.copy() for name, array in weights.items()}
    for array in weights.values():
        array.flags.writeable = False
    engine = ReferenceEngine(model, weights)
    logits, _ = engine.advance([[1, 2, 3]], engine.initial_state(1))
    same = ReferenceEngine(model, {name: array.astype(np.float32) for name, array in kept.items()})
    np.testing.assert_array_equal(logits, same.advance([[1, 2, 3]], same.initial_state(1))[0])
    for name, array in weights.items():
        np.testing.assert_array_equal(array, kept[name])


def test_weights_gone_astray_are_an_error_where_they_are_used() -> None:
    """Weights that overflow give no warning on the way and a clear error when probabilities are asked for."""
    model = ARCHITECTURES["rnn-relu-2"]
    weights = {name: np.full_like(array, 1e30) for name, array in tiny_weights(model).items()}
    engine = ReferenceEngine(model, weights)
    logits, _ = engine.advance([[1, 2, 3, 4]], engine.initial_state(1))
    with pytest.raises(EscribaError, match="not finite"):
        log_softmax(logits)


def test_a_state_of_a_window_is_what_was_read() -> None:
    """The state of an ngram holds the inputs before the next, the oldest first; what fell out of the window is gone."""
    model = ARCHITECTURES["ngram-codes"]
    engine = ReferenceEngine(model, tiny_weights(model))
    np.testing.assert_array_equal(engine.feed([[3]], engine.initial_state(1))[0][0], [[0, 3]])
    after = engine.feed([[3, 11, 7]], engine.initial_state(1))
    np.testing.assert_array_equal(after[0][0], [[11, 7]])
    one, _ = engine.step([2], after)
    other, _ = engine.step([2], engine.feed([[12, 0, 11, 7]], engine.initial_state(1)))
    np.testing.assert_array_equal(one, other)


def test_initial_state_is_zero() -> None:
    """The state before anything was read is zeros, in the engine's precision: h, and c for an lstm."""
    engine = ReferenceEngine(ARCHITECTURES["lstm-onehot-2"], tiny_weights(ARCHITECTURES["lstm-onehot-2"]), dtype=np.float64)
    state = engine.initial_state(4)
    assert [len(layer) for layer in state] == [2, 2]
    assert all(array.shape == (4, 9) and array.dtype == np.float64 and not array.any() for layer in state for array in layer)
