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
from escriba.language import tr
from escriba.settings import ModelSettings
from escriba.weights import checked_tensors, has_entry, state_specs

__all__ = ["ReferenceEngine"]

_TABLE_BYTES = 2**24
"""Largest table of input products that is made beforehand; a larger vocabulary's products are made when they are needed."""

_LONGEST_DOT = 8192
"""Longest dot product that is left to BLAS at once: OpenBLAS gives those over 10,000 to several threads."""

_NORM_EPSILON = 1e-6
"""Added to the mean square by which a residual stack's vectors are divided."""

_RowState = tuple[Array, ...]
"""The state of one layer for one row: vectors as long as `weights.state_specs` says."""


class _Layer(NamedTuple):
    """The weights of one cell."""

    weight_ih: Array  # (G, width of what enters)
    bias_ih: Array  # (G,): the only bias, unless the cell has two
    weight_hh: Array  # (G, H); ngram: (G, numbers of the state), the columns that meet what entered before; none: (G, 0)
    bias_hh: Array | None  # (G,)


class _Block(NamedTuple):
    """The weights of one block of a residual stack, but for its cell's."""

    norm: Array  # (H,)
    weight_in: Array  # (2 H, H): values, then gates
    conv_weight: Array | None  # (H, symbols seen)
    conv_bias: Array | None  # (H,)
    weight_out: Array  # (H, H)
    mlp_norm: Array | None  # (H,)
    weight_up: Array | None  # (2 M, H): values, then gates
    weight_down: Array | None  # (H, M)


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


def _named(arrays: Mapping[str, Array], at: int) -> dict[str, Array]:
    """The tensors of the layer with this number, by the last part of their names."""
    return {name.rpartition(".")[2]: array for name, array in arrays.items() if name.startswith(f"layers.{at}.")}


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


def _mingru(x_G: Array, state: _RowState, layer: _Layer, model: ModelSettings) -> _RowState:
    """h' = h + z (n - h); n is not squashed. Source: Feng et al. 2024, in linear space."""
    (h,) = state
    z, n = _sigmoid(x_G[: len(h)]), x_G[len(h) :]
    return (h + z * (n - h),)


_CELLS: Mapping[str, Callable[[Array, _RowState, _Layer, ModelSettings], _RowState]] = {
    "rnn": _rnn, "gru": _gru, "lstm": _lstm, "mingru": _mingru, "ngram": _rnn,
}  # fmt: skip
"""Each cell: (W_ih x + bias, state, weights, shape) -> new state, of which the first vector is the output.

An ngram has the equation of the rnn, but its state is what entered before, not what it gave. Source: Bengio et al. 2003.
"""


def _normed(x: Array, weight: Array) -> Array:
    """x / sqrt(mean(x^2) + epsilon), number by number times the weight. Source: Zhang and Sennrich 2019."""
    normed: Array = x / np.sqrt(np.mean(x * x) + x.dtype.type(_NORM_EPSILON)) * weight
    return normed


def _gated(product: Array) -> Array:
    """The first half of a product times silu of the second. Source: Shazeer 2020."""
    value, gate = np.split(product, 2)
    return value * (gate * _sigmoid(gate))


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
        arrays = checked_tensors(model, self.vocab_size, weights, self.dtype)
        self._layers = [self._layer(_named(arrays, at)) for at in range(model.num_layers)]
        self._blocks = [self._block(_named(arrays, at)) for at in range(model.num_layers)] if model.residual else []
        self._embedding_VE = np.arange(self.vocab_size, dtype=self.dtype)[:, None] if model.codes else arrays.get("embedding.weight")
        self._entry_HE = arrays["entry.weight"] if has_entry(model) else None
        self._norm_H = arrays["norm.weight"] if model.residual else None
        self._output_VH = arrays["embedding.weight" if model.tied else "output.weight"]
        self._output_bias_V = arrays["output.bias"]
        self._table_VG = self._input_table()

    def _layer(self, named: Mapping[str, Array]) -> _Layer:
        """The weights of a cell; an ngram's matrix is parted into what meets the state and what meets the input."""
        now, before = named["weight_ih"], named.get("weight_hh", np.empty((len(named["weight_ih"]), 0), self.dtype))
        if self.model.cell == "ngram":
            before, now = np.hsplit(now, [now.shape[1] - now.shape[1] // self.model.window])
        bias = named["bias_ih" if "bias_ih" in named else "bias"]
        return _Layer(np.ascontiguousarray(now), bias, np.ascontiguousarray(before), named.get("bias_hh"))

    def _block(self, named: Mapping[str, Array]) -> _Block:
        """The weights around a cell."""
        return _Block(**{name: named.get(name) for name in _Block._fields})  # type: ignore[arg-type]  # what must be there is there

    def _input_table(self) -> Array | None:
        """The first product of every symbol, the first layer's or the entry's, (V, G); None where there is none, or it would be large."""
        if not self.model.residual:
            matrix, bias = self._layers[0].weight_ih, self._layers[0].bias_ih
        elif self._entry_HE is not None:
            matrix, bias = self._entry_HE, np.zeros(1, self.dtype)
        else:
            return None
        if self._embedding_VE is None:  # one-hot: the product is a column of the matrix
            return np.ascontiguousarray(matrix.T + bias)
        if self.vocab_size * len(matrix) * self.dtype.itemsize > _TABLE_BYTES:
            return None
        with _astray_later():
            return np.stack([_product(matrix, e) + bias for e in self._embedding_VE])

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
        """One symbol through all layers of one row: what the output meets, and the new state."""
        new: list[_RowState] = []
        x = self._input(token)
        if self._norm_H is not None:
            if self._entry_HE is not None:
                x = _product(self._entry_HE, x) if self._table_VG is None else self._table_VG[token]
            for layer, block, before in zip(self._layers, self._blocks, row, strict=True):
                x, after = self._block_step(layer, block, x, before)
                new.append(after)
            return _normed(x, self._norm_H), new
        for layer, before in zip(self._layers, row, strict=True):
            x_G = None if new or self._table_VG is None else self._table_VG[token]
            x, after = self._cell_step(layer, x, x_G, before)
            new.append(after)
        return x, new

    def _cell_step(self, layer: _Layer, x: Array, x_G: Array | None, before: _RowState) -> tuple[Array, _RowState]:
        """One symbol through one cell: its output, and its new state; W_ih x + b may be known already."""
        x_G = _product(layer.weight_ih, x) + layer.bias_ih if x_G is None else x_G
        after = _CELLS[self.model.cell](x_G, before, layer, self.model)
        if self.model.cell == "ngram":
            return after[0], (np.concatenate([before[0], x])[len(x) :],)
        return after[0], after

    def _block_step(self, layer: _Layer, block: _Block, x: Array, before: _RowState) -> tuple[Array, _RowState]:
        """One symbol through one block of a residual stack: x with the block's branches added, and its new state.

        Source: the order of norm, convolution, cell, gate and MLP is Griffin's, De et al. 2024.
        """
        value, gate = np.split(_product(block.weight_in, _normed(x, block.norm)), 2)
        tail: _RowState = ()
        if block.conv_weight is not None:
            assert block.conv_bias is not None
            if block.conv_weight.shape[1] > 1:
                *of_cell, seen = before
                before, seen = tuple(of_cell), np.concatenate([seen, value])
                tail = (seen[len(value) :],)
            else:
                seen = value
            value = block.conv_bias + np.vecdot(block.conv_weight, np.ascontiguousarray(seen.reshape(-1, len(value)).T))
        h, after = self._cell_step(layer, value, None, before)
        x = x + _product(block.weight_out, h * (gate * _sigmoid(gate)))
        if block.mlp_norm is not None:
            assert block.weight_up is not None
            assert block.weight_down is not None
            x = x + _product(block.weight_down, _gated(_product(block.weight_up, _normed(x, block.mlp_norm))))
        return x, after + tail

    def _input(self, token: int) -> Array:
        """What enters the first layer."""
        if self._embedding_VE is None:
            one_hot = np.zeros(self.vocab_size, self.dtype)
            one_hot[token] = 1
            return one_hot
        entering: Array = self._embedding_VE[token]
        return entering
