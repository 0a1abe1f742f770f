"""Runs a model with NumPy, by the textbook equations: the engine that defines what the others must give.

It does not know where the weights came from, nor how they were learnt.

Shapes: B batch, T time, V vocabulary, E embedding, H hidden, G gates x H (the gates of a cell stacked, in the order of weights.GATES).

Rows are run one at a time, and every number of a product is one dot product of two vectors. So a row cannot depend on its batch, and
its logits are the same bit for bit in every batch size and with any number of threads. A product of matrices would not give that, nor
would a matrix by a vector: a BLAS library parts the work among its threads, and where it parts it, it sums in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from escriba.engine.protocol import Array, Engine, State
from escriba.errors import SettingsError
from escriba.language import later, tr
from escriba.settings import ModelSettings
from escriba.weights import state_specs, tensor_specs

__all__ = ["ReferenceEngine"]

_TABLE_BYTES = 2**24
"""Largest table of input products that is made beforehand; a larger vocabulary's products are made when they are needed."""

_LONGEST_DOT = 8192
"""Longest dot product that is left to BLAS at once: OpenBLAS gives those over 10,000 to several threads."""

_RowState = tuple[Array, ...]
"""The state of one layer for one row: vectors as long as `weights.state_specs` says."""


class _Layer(NamedTuple):
    """The weights of one layer."""

    weight_ih: Array  # (G, width of what enters)
    weight_hh: Array  # (G, H); ngram: (G, numbers of the state), the columns that meet what entered before
    bias_ih: Array  # (G,): the only bias, unless the cell has two
    bias_hh: Array | None  # (G,)


def _astray_later() -> np.errstate:
    """No warning for numbers that overflow on the way: weights gone astray are an error in words where the logits are used."""
    return np.errstate(over="ignore", invalid="ignore")


def _product(matrix: Array, vector: Array) -> Array:
    """A matrix by a vector, one dot product a row."""
    if len(vector) <= _LONGEST_DOT:
        whole: Array = np.vecdot(matrix, vector)
        return whole
    parts = range(0, len(vector), _LONGEST_DOT)
    pieces = (_product(matrix[:, at : at + _LONGEST_DOT], vector[at : at + _LONGEST_DOT]) for at in parts)
    return sum(pieces, start=np.zeros_like(matrix[:, 0]))


def _sigmoid(x: Array) -> Array:
    half: Array = np.tanh(0.5 * x)  # the logistic function, in a form that cannot overflow
    return 0.5 * half + 0.5


_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "sigmoid": _sigmoid}


def _rnn(x_G: Array, state: _RowState, layer: _Layer, model: ModelSettings) -> _RowState:
    """h' = act(W_ih x + b + W_hh h). Source: Elman 1990."""
    return (_ACTIVATIONS[model.hidden_activation](x_G + _product(layer.weight_hh, state[0])),)


def _gru(x_G: Array, state: _RowState, layer: _Layer, model: ModelSettings) -> _RowState:
    """h' = (1 - z) n + z h. Source: Cho et al. 2014 (reset before the product); PyTorch and cuDNN (reset after it)."""
    (h,) = state
    size = len(h)
    if layer.bias_hh is not None:  # reset "after"
        h_G = _product(layer.weight_hh, h) + layer.bias_hh
        rz = _sigmoid(x_G[: 2 * size] + h_G[: 2 * size])
        r, z = rz[:size], rz[size:]
        n = np.tanh(x_G[2 * size :] + r * h_G[2 * size :])
    else:  # reset "before"
        rz = _sigmoid(x_G[: 2 * size] + _product(layer.weight_hh[: 2 * size], h))
        r, z = rz[:size], rz[size:]
        n = np.tanh(x_G[2 * size :] + _product(layer.weight_hh[2 * size :], r * h))
    return ((1 - z) * n + z * h,)


def _lstm(x_G: Array, state: _RowState, layer: _Layer, model: ModelSettings) -> _RowState:
    """c' = f c + i g, h' = o tanh(c'). Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000."""
    h, c = state
    size = len(h)
    gates_G = x_G + _product(layer.weight_hh, h)
    i, f = _sigmoid(gates_G[:size]), _sigmoid(gates_G[size : 2 * size])
    g, o = np.tanh(gates_G[2 * size : 3 * size]), _sigmoid(gates_G[3 * size :])
    c = f * c + i * g
    return o * np.tanh(c), c


_CELLS: Mapping[str, Callable[[Array, _RowState, _Layer, ModelSettings], _RowState]] = {
    "rnn": _rnn, "gru": _gru, "lstm": _lstm, "ngram": _rnn,
}  # fmt: skip
"""Each cell: (W_ih x + bias, state, weights, shape) -> new state, of which the first vector is the output.

An ngram has the equation of the rnn, but its state is what entered before, not what it gave. Source: Bengio et al. 2003.
"""


class ReferenceEngine(Engine):
    """The textbook engine.

    Args:
        model: the shape of the network.
        weights: its tensors, named and shaped as `weights.tensor_specs` says; they are copied where they must be converted.
        dtype: precision of the arithmetic, float32 or float64.

    Raises:
        SettingsError: a tensor is missing, superfluous or of another shape.
    """

    def __init__(self, model: ModelSettings, weights: Mapping[str, npt.NDArray[np.generic]], *, dtype: npt.DTypeLike = np.float32) -> None:
        self.model = model
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise SettingsError(tr("dtype is {dtype}", dtype=self.dtype), expected=tr("float32 or float64"))
        if "output.bias" not in weights or np.ndim(weights["output.bias"]) != 1:
            raise SettingsError(tr("the weights hold no vector 'output.bias'"), expected=tr("the tensors of {cell}", cell=model.cell))
        self.vocab_size = len(weights["output.bias"])
        arrays = self._checked(weights)
        self._layers = [self._layer(arrays, at) for at in range(model.num_layers)]
        self._embedding_VE = np.arange(self.vocab_size, dtype=self.dtype)[:, None] if model.codes else arrays.get("embedding.weight")
        self._output_VH = arrays["embedding.weight" if model.tied else "output.weight"]
        self._output_bias_V = arrays["output.bias"]
        self._table_VG = self._input_table()

    def _checked(self, weights: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, Array]:
        """The weights in the engine's precision, rows contiguous, once names and shapes are seen to be right."""
        specs = tensor_specs(self.model, self.vocab_size)
        unknown = sorted(set(weights) - {spec.name for spec in specs})
        if unknown:
            raise SettingsError(tr("there is a tensor {name!r}", name=unknown[0]), expected=", ".join(spec.name for spec in specs))
        for spec in specs:
            shape = np.shape(weights[spec.name]) if spec.name in weights else None
            if shape != spec.shape:
                missing = shape is None
                met = later("the tensor {name!r} is missing") if missing else later("the tensor {name!r} has the shape {shape}")
                raise SettingsError(tr(met, name=spec.name, shape=shape), expected=tr("the shape {shape}", shape=spec.shape))
        return {spec.name: np.ascontiguousarray(weights[spec.name], dtype=self.dtype) for spec in specs}

    def _layer(self, arrays: Mapping[str, Array], at: int) -> _Layer:
        """The weights of the layer with this number; an ngram's matrix is parted into what meets the state and what meets the input."""
        named = {name.rpartition(".")[2]: array for name, array in arrays.items() if name.startswith(f"layers.{at}.")}
        if self.model.cell == "ngram":
            width = named["weight_ih"].shape[1] // self.model.window
            before, now = np.hsplit(named["weight_ih"], [named["weight_ih"].shape[1] - width])
            return _Layer(np.ascontiguousarray(now), np.ascontiguousarray(before), named["bias"], None)
        return _Layer(named["weight_ih"], named["weight_hh"], named["bias_ih" if "bias_ih" in named else "bias"], named.get("bias_hh"))

    def _input_table(self) -> Array | None:
        """The first layer's input product of every symbol, (V, G), or None where the table would be large."""
        layer = self._layers[0]
        if self._embedding_VE is None:  # one-hot: the product is a column of the matrix
            return np.ascontiguousarray(layer.weight_ih.T + layer.bias_ih)
        if self.vocab_size * len(layer.weight_ih) * self.dtype.itemsize > _TABLE_BYTES:
            return None
        with _astray_later():
            return np.stack([_product(layer.weight_ih, e) + layer.bias_ih for e in self._embedding_VE])

    def initial_state(self, batch_size: int) -> State:
        """Zeros. See `Engine.initial_state`."""
        if batch_size < 1:
            raise SettingsError(tr("batch_size is {batch_size}", batch_size=batch_size), expected=tr("1 or more"))
        return tuple(
            tuple(np.zeros((batch_size, spec.size), self.dtype) for spec in layer) for layer in state_specs(self.model, self.vocab_size)
        )

    def step(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """One symbol a row. See `Engine.step`."""
        logits_BTV, state = self.advance(self.checked_ids(ids, state, axes=1)[:, None], state)
        return logits_BTV[:, 0], state

    def advance(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """T symbols a row. See `Engine.advance`."""
        ids_BT = self.checked_ids(ids, state, axes=2)
        logits_BTV = np.empty((*ids_BT.shape, self.vocab_size), self.dtype)
        return logits_BTV, self._run(ids_BT, state, logits_BTV)

    def feed(self, ids: npt.ArrayLike, state: State) -> State:
        """The state after T symbols a row, without the output's products. See `Engine.feed`."""
        return self._run(self.checked_ids(ids, state, axes=2, least=0), state, None)

    def _run(self, ids_BT: npt.NDArray[np.int64], state: State, logits_BTV: Array | None) -> State:
        """Reads the ids row by row; the logits are written into `logits_BTV`, if given."""
        after = tuple(tuple(np.empty((len(ids_BT), array.shape[1]), self.dtype) for array in layer) for layer in state)
        with _astray_later():
            for b, ids_T in enumerate(ids_BT):
                row = [tuple(array[b].astype(self.dtype, copy=False) for array in layer) for layer in state]
                for t, token in enumerate(ids_T.tolist()):
                    output_H, row = self._row_step(token, row)
                    if logits_BTV is not None:
                        logits_BTV[b, t] = _product(self._output_VH, output_H) + self._output_bias_V
                for layer_after, layer_row in zip(after, row, strict=True):
                    for array, vector in zip(layer_after, layer_row, strict=True):
                        array[b] = vector
        return after

    def _row_step(self, token: int, row: list[_RowState]) -> tuple[Array, list[_RowState]]:
        """One symbol through all layers of one row: the last layer's output, and the new state."""
        cell = _CELLS[self.model.cell]
        new: list[_RowState] = []
        x: Array | None = None
        for layer, before in zip(self._layers, row, strict=True):
            if x is None and self._table_VG is not None:
                x_G = self._table_VG[token]
            else:
                x_G = _product(layer.weight_ih, self._input(token) if x is None else x) + layer.bias_ih
            after = cell(x_G, before, layer, self.model)
            if self.model.cell == "ngram":
                entered = self._input(token) if x is None else x
                new.append((np.concatenate([before[0], entered])[len(entered) :],))
            else:
                new.append(after)
            x = after[0]
        assert x is not None  # there is a layer
        return x, new

    def _input(self, token: int) -> Array:
        """What enters the first layer."""
        if self._embedding_VE is None:
            one_hot = np.zeros(self.vocab_size, self.dtype)
            one_hot[token] = 1
            return one_hot
        entering: Array = self._embedding_VE[token]
        return entering
