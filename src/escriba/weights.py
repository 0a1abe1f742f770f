"""For every architecture the names, shapes and counts of its tensors, and of its state: the one list that all engines share.

It knows no framework: the PyTorch model is built from it, a model folder and the weights of an engine are checked by it, `show` prints it.

Names follow PyTorch where PyTorch has one; gates are stacked in PyTorch's order (rnn: one; gru: r, z, n; lstm: i, f, g, o);
those of a cell that PyTorch lacks in the order of its equations (mingru: z, n).

In a residual stack every layer is a block: `layers.N.` is then the prefix of the block's own tensors and of its cell's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from escriba.errors import SettingsError
from escriba.language import later, tr
from escriba.settings import ModelSettings

__all__ = [
    "COUNTED",
    "GATES",
    "StateSpec",
    "TensorSpec",
    "checked_tensors",
    "count_parameters",
    "input_size",
    "layer_sizes",
    "parameters_by_part",
    "state_specs",
    "tensor_specs",
]

GATES: Mapping[str, tuple[str, ...]] = {
    "rnn": ("h",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o"), "mingru": ("z", "n"), "ngram": ("h",),
}  # fmt: skip
"""The gates of each network's cell, in the order in which their rows are stacked."""

RECURRENT = ("rnn", "gru", "lstm")
"""The cells whose gates see the state: those with `weight_hh`."""

COUNTED: Mapping[str, str] = {"ngrams.keys": "I64", "ngrams.counts": "I32", "ngrams.discounts": "F64"}
"""The tensors of an n-gram that counts, with their types; how many n-grams there are, the file says."""


class TensorSpec(NamedTuple):
    """One tensor of a model: its name in the file, its shape, its part in words (in English; `tr` says it), and its type in the file.

    A size of -1 is as many as the file says.
    """

    name: str
    shape: tuple[int, ...]
    part: str
    dtype: str = "F32"

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class StateSpec(NamedTuple):
    """One array of a layer's state: its name and its length a row."""

    name: str
    size: int


def input_size(model: ModelSettings, vocab_size: int) -> int:
    """How many numbers a symbol brings into the first layer: the embedding's, one per symbol for one-hot input, or its code."""
    if model.codes:
        return 1
    return vocab_size if model.embedding_dim is None else model.embedding_dim


def has_entry(model: ModelSettings) -> bool:
    """Whether a matrix brings what enters to the width of a residual stack: always but where an embedding has that width already."""
    return model.residual and model.embedding_dim != model.hidden_size


def layer_sizes(model: ModelSettings, vocab_size: int) -> list[int]:
    """How many numbers a symbol brings into each layer."""
    first = model.hidden_size if model.residual else input_size(model, vocab_size)
    return [first] + [model.hidden_size] * (model.num_layers - 1)


def biases(model: ModelSettings) -> tuple[str, ...]:
    """The bias tensors of one layer: two for a gru that resets after the product, else one."""
    return ("bias_ih", "bias_hh") if model.cell == "gru" and model.reset == "after" else ("bias",)


def tensor_specs(model: ModelSettings, vocab_size: int) -> list[TensorSpec]:
    """Every tensor of the model, in the order in which data flow through them.

    Args:
        model: the shape of the network.
        vocab_size: symbols in the vocabulary, 1 or more.
    """
    if model.cell == "counts":
        shapes = {"ngrams.keys": (-1,), "ngrams.counts": (-1,), "ngrams.discounts": (model.order, 3)}
        return [TensorSpec(name, shapes[name], later("n-grams"), dtype) for name, dtype in COUNTED.items()]
    specs = []
    if model.embedding_dim is not None and not model.codes:
        specs.append(TensorSpec("embedding.weight", (vocab_size, model.embedding_dim), later("embedding")))
    if has_entry(model):
        specs.append(TensorSpec("entry.weight", (model.hidden_size, input_size(model, vocab_size)), later("entry")))
    for layer, width in enumerate(layer_sizes(model, vocab_size)):
        shapes = _block_shapes(model) if model.residual else _cell_shapes(model, width)
        specs.extend(TensorSpec(f"layers.{layer}.{name}", shape, f"{model.cell} {layer + 1}") for name, shape in shapes.items())
    if model.residual:
        specs.append(TensorSpec("norm.weight", (model.hidden_size,), later("norm")))
    if not model.tied:
        specs.append(TensorSpec("output.weight", (vocab_size, model.hidden_size), later("output")))
    specs.append(TensorSpec("output.bias", (vocab_size,), later("output")))
    return specs


def _cell_shapes(model: ModelSettings, width: int) -> dict[str, tuple[int, ...]]:
    """The tensors of one cell that so many numbers enter."""
    size, rows = model.hidden_size, len(GATES[model.cell]) * model.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, (model.window if model.cell == "ngram" else 1) * width)}
    if model.cell in RECURRENT:
        shapes["weight_hh"] = (rows, size)
    return shapes | dict.fromkeys(biases(model), (rows,))


def _block_shapes(model: ModelSettings) -> dict[str, tuple[int, ...]]:
    """The tensors of one block of a residual stack, its cell's among them."""
    size = model.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"norm": (size,), "weight_in": (2 * size, size)}
    if model.conv is not None:
        shapes |= {"conv_weight": (size, model.conv), "conv_bias": (size,)}
    shapes |= _cell_shapes(model, size) | {"weight_out": (size, size)}
    if model.mlp is not None:
        shapes |= {"mlp_norm": (size,), "weight_up": (2 * model.mlp * size, size), "weight_down": (size, model.mlp * size)}
    return shapes


def state_specs(model: ModelSettings, vocab_size: int) -> list[tuple[StateSpec, ...]]:
    """The arrays of the state, layer by layer: h, and for lstm also c; for ngram the inputs before the next, the oldest first.

    A block of a residual stack that has a convolution keeps what entered that before the next, the oldest first, as its last array.
    """
    tail = (StateSpec("conv", (model.conv - 1) * model.hidden_size),) if model.residual and model.conv not in (None, 1) else ()
    return [_cell_state(model, width) + tail for width in layer_sizes(model, vocab_size)]


def _cell_state(model: ModelSettings, width: int) -> tuple[StateSpec, ...]:
    """The state of one cell that so many numbers enter."""
    if model.cell == "ngram":
        return (StateSpec("x", (model.window - 1) * width),)
    return tuple(StateSpec(name, model.hidden_size) for name in (("h", "c") if model.cell == "lstm" else ("h",)))


def count_parameters(model: ModelSettings, vocab_size: int) -> int:
    """How many numbers the network learns; those of an n-gram that counts are in its file alone: there it is 0."""
    if model.cell == "counts":
        return 0
    return sum(spec.size for spec in tensor_specs(model, vocab_size))


def parameters_by_part(model: ModelSettings, vocab_size: int) -> dict[str, int]:
    """How many numbers each part learns, in the order of the data's flow."""
    counts: dict[str, int] = {}
    for spec in tensor_specs(model, vocab_size):
        counts[spec.part] = counts.get(spec.part, 0) + spec.size
    return counts


def checked_tensors(
    model: ModelSettings, vocab_size: int, weights: Mapping[str, npt.NDArray[np.generic]], dtype: npt.DTypeLike
) -> dict[str, npt.NDArray[np.floating]]:
    """The weights of a network in a precision, their rows lying together, once names and shapes are seen to be right.

    Raises:
        SettingsError: a tensor is missing, superfluous or of another shape.
    """
    specs = tensor_specs(model, vocab_size)
    unknown = sorted(set(weights) - {spec.name for spec in specs})
    if unknown:
        raise SettingsError(tr("there is a tensor {name!r}", name=unknown[0]), expected=", ".join(spec.name for spec in specs))
    for spec in specs:
        shape = np.shape(weights[spec.name]) if spec.name in weights else None
        if shape != spec.shape:
            met = later("the tensor {name!r} is missing") if shape is None else later("the tensor {name!r} has the shape {shape}")
            raise SettingsError(tr(met, name=spec.name, shape=shape), expected=tr("the shape {shape}", shape=spec.shape))
    return {spec.name: np.ascontiguousarray(weights[spec.name], dtype=dtype) for spec in specs}
