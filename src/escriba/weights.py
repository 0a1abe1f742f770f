"""For every architecture the names, shapes and counts of its tensors, and of its state: the one list that all engines share.

It knows no framework: the PyTorch model is built from it, a model folder is checked by it, `show` prints it.

Names follow PyTorch where PyTorch has one; gates are stacked in PyTorch's order (rnn: one; gru: r, z, n; lstm: i, f, g, o).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from escriba.language import later
from escriba.settings import ModelSettings

__all__ = [
    "COUNTED",
    "GATES",
    "StateSpec",
    "TensorSpec",
    "count_parameters",
    "input_size",
    "parameters_by_part",
    "state_specs",
    "tensor_specs",
]

GATES: Mapping[str, tuple[str, ...]] = {"rnn": ("h",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o"), "ngram": ("h",)}
"""The gates of each network's cell, in the order in which their rows are stacked."""

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
    rows = len(GATES[model.cell]) * model.hidden_size
    width = input_size(model, vocab_size)
    for layer in range(model.num_layers):
        part = f"{model.cell} {layer + 1}"
        seen = model.window if model.cell == "ngram" else 1
        specs.append(TensorSpec(f"layers.{layer}.weight_ih", (rows, seen * width), part))
        if model.cell != "ngram":
            specs.append(TensorSpec(f"layers.{layer}.weight_hh", (rows, model.hidden_size), part))
        specs.extend(TensorSpec(f"layers.{layer}.{bias}", (rows,), part) for bias in biases(model))
        width = model.hidden_size
    if not model.tied:
        specs.append(TensorSpec("output.weight", (vocab_size, model.hidden_size), later("output")))
    specs.append(TensorSpec("output.bias", (vocab_size,), later("output")))
    return specs


def state_specs(model: ModelSettings, vocab_size: int) -> list[tuple[StateSpec, ...]]:
    """The arrays of the state, layer by layer: h, and for lstm also c; for ngram the inputs before the next, the oldest first."""
    if model.cell == "ngram":
        widths = [input_size(model, vocab_size)] + [model.hidden_size] * (model.num_layers - 1)
        return [(StateSpec("x", (model.window - 1) * width),) for width in widths]
    names = ("h", "c") if model.cell == "lstm" else ("h",)
    return [tuple(StateSpec(name, model.hidden_size) for name in names) for _ in range(model.num_layers)]


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
