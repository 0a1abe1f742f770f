"""The network: embedding, one-hot or codes, layers or a residual stack of blocks, logits.

It knows of text only how many symbols there are.

Shapes: B batch, T time, V vocabulary, E embedding, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from escriba.errors import SettingsError
from escriba.language import later, tr
from escriba.model import fused, plain
from escriba.model.blocks import Block, Norm
from escriba.model.cells import CELLS, Layer, LayerState, RecurrentLayer, glorot_
from escriba.settings import ModelSettings
from escriba.weights import count_parameters, has_entry, input_size, layer_sizes, parameters_by_part, tensor_specs

__all__ = ["LanguageModel", "ModelState"]

ModelState = tuple[LayerState, ...]
"""The state of every layer, the first layer first."""

NAMED = {"embedding": later("embedding"), "entry": later("entry"), "norm": later("norm"), "output": later("output")}
"""The parts of a network whose names are words."""
MOST_ONE_HOT = 4096
STACK_OUTPUT = 0.1
"""The share of Glorot's bounds within which the output begins after a norm: what enters it is as wide as 1, and within the whole bounds
so would the logits be, and the first loss far above ln V."""
MOST_TABULATED = 1024
"""Symbols of which a step looks up the input's product, where its batch holds four times as many: for more, making it costs more."""


def whole(name: str, value: object, least: int, below: int, what: str) -> int:
    """An argument that must be a whole number, from `least` on and below `below`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value < below:
        raise SettingsError(
            tr("{name} is {value!r}", name=name, value=value),
            expected=tr("a whole number, {least} or more: {meaning}", least=least, meaning=what),
        )
    return int(value)


class Dropout(nn.Module):
    """Drops a share of the activations in training, drawing from a generator of its own, so that a run can be repeated and resumed.

    Source: Srivastava et al. 2014.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x unchanged, or in training with some numbers zero and the others larger by as much."""
        if not self.training or self.share == 0.0:
            return x
        kept = 1.0 - self.share
        mask = torch.empty(x.shape, dtype=x.dtype, device=x.device)  # the draws do not depend on how x lies in memory, as empty_like's do
        return x * mask.bernoulli_(kept, generator=self.generator).div_(kept)

    def of_symbols(self, x: Tensor, share: float) -> Tensor:
        """Vectors of symbols (..., E), in training a share of them all zero: what came there must be guessed from what stands around.

        Source: Bowman et al. 2016, who call it word dropout.
        """
        if not self.training or share == 0.0:
            return x
        kept = torch.empty(x.shape[:-1], dtype=x.dtype, device=x.device).bernoulli_(1.0 - share, generator=self.generator)
        return x * kept[..., None]

    def seeds(self, count: int) -> tuple[float, list[int]]:
        """The share, and so many seeds, for what drops by itself; nothing is drawn where nothing is dropped."""
        if not self.training or self.share == 0.0:
            return 0.0, [0] * count
        device = None if self.generator is None else self.generator.device
        return self.share, torch.randint(2**62, (count,), generator=self.generator, device=device).tolist()


class LanguageModel(nn.Module):
    """A neural language model: ids in, logits of the next symbol out.

    Args:
        vocab_size: V, symbols in the vocabulary, 1 or more.
        settings: the shape of the network.
        seed: of the first weights, 0 or more.
        **overrides: single settings by name, for example ``cell="gru"``, ``hidden_size=1024``.

    Raises:
        SettingsError: an argument is out of its range or of another kind, or one-hot input of too many symbols is asked for.
    """

    def __init__(self, vocab_size: int, settings: ModelSettings | None = None, *, seed: int = 1, **overrides: Any) -> None:
        super().__init__()
        if settings is not None and not isinstance(settings, ModelSettings):
            raise SettingsError(
                tr("settings is {settings!r}", settings=settings),
                expected="ModelSettings",
                hint=tr('single settings go by name: cell="gru", hidden_size=256'),
            )
        self.settings = (settings or ModelSettings()).but(**overrides)
        vocab_size = whole("vocab_size", vocab_size, 1, 2**31, tr("symbols, as the tokenizer's vocab_size"))
        seed = whole("seed", seed, 0, 2**63, tr("the seed of the first weights"))
        if self.settings.cell not in CELLS:
            raise SettingsError(
                tr("cell {cell!r} is no network", cell=self.settings.cell),
                expected=tr("one of {names}", names=", ".join(CELLS)),
                hint=tr('escriba.train(..., cell="counts") counts it'),
            )
        self.one_hot = self.settings.embedding_dim is None and not self.settings.codes
        if self.one_hot and vocab_size > MOST_ONE_HOT:
            raise SettingsError(
                tr("one-hot input of {vocab_size:,} symbols", vocab_size=vocab_size),
                expected=tr("at most {most:,}", most=MOST_ONE_HOT),
                hint=tr("use an embedding: embedding_dim=256"),
            )
        self.vocab_size = vocab_size
        embedding_dim = None if self.settings.codes else self.settings.embedding_dim
        self.embedding = None if embedding_dim is None else nn.Embedding(vocab_size, embedding_dim)
        self.dropout = Dropout(self.settings.dropout)
        size = self.settings.hidden_size
        self.entry = nn.Linear(input_size(self.settings, vocab_size), size, bias=False) if has_entry(self.settings) else None
        self.layers = nn.ModuleList(self._layer(width) for width in layer_sizes(self.settings, vocab_size))
        self.norm = Norm(size) if self.settings.residual else None
        self.output = nn.Linear(self.settings.hidden_size, vocab_size)
        if self.settings.tied and self.embedding is not None:
            self.output.weight = self.embedding.weight
        self.reset_parameters(seed)

    def _layer(self, width: int) -> Layer:
        return Block(self.settings) if self.settings.residual else CELLS[self.settings.cell](self.settings, width)

    def named_parameters(self, *args: Any, **named: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """As PyTorch's, by the names in `weights.py`: there a block's cell is no level of its own."""
        for name, parameter in super().named_parameters(*args, **named):
            yield name.replace(".cell.", "."), parameter

    def reset_parameters(self, seed: int) -> None:
        """New first weights, as the lessons' (Keras): embedding uniform, output Glorot-uniform, zero biases.

        The layers as `Layer.reset_parameters` says. Sigmoid layers rest at 1/2, not at 0: there the output's biases take that
        away, so that the first loss is ln V for them too.
        """
        generator = torch.Generator().manual_seed(seed)
        scale = self.settings.embedding_scale
        with torch.no_grad():
            if self.embedding is not None:
                self.embedding.weight.uniform_(-scale, scale, generator=generator)
            if self.entry is not None:
                glorot_(self.entry.weight, generator)
            for layer in self.stack():
                layer.reset_parameters(generator)
            if self.norm is not None:
                self.norm.weight.fill_(1.0)
            if not self.settings.tied:
                glorot_(self.output.weight, generator, STACK_OUTPUT if self.settings.residual else 1.0)
            self.output.bias.zero_()
            if self.settings.hidden_activation == "sigmoid" and not self.settings.residual:
                self.output.bias.sub_(0.5 * self.output.weight.sum(1))

    def stack(self) -> list[Layer]:
        """The layers, the first that data meet first."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def inner_matrices(self) -> list[nn.Parameter]:
        """The matrices between vectors of the network's own: not those that meet symbols, nor convolutions, whose rows are apart."""
        outer = {"layers.0.weight_ih"} if not self.settings.residual and self.embedding is None else set()
        named = self.named_parameters()
        return [one for name, one in named if name.startswith("layers.") and ".weight_" in name and one.ndim == 2 and name not in outer]

    def initial_state(self, batch_size: int) -> ModelState:
        """The state before anything was read."""
        return tuple(layer.initial_state(batch_size) for layer in self.stack())

    def embed(self, ids: Tensor) -> Tensor:
        """Ids of any shape as vectors: (...) to (..., E)."""
        if self.embedding is not None:
            embedded: Tensor = self.embedding(ids)
            return embedded
        vectors = nn.functional.one_hot(ids, self.vocab_size) if self.one_hot else ids[..., None]
        return vectors.to(self.output.weight.dtype)

    def step(self, ids_B: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """One symbol of each row: logits (B, V) of the next, and the new state."""
        if self.norm is not None:
            logits_B1V, state = self._through_blocks(ids_B[:, None], state, self.norm)
            return logits_B1V[:, 0], state
        x, states = self.dropout.of_symbols(self.embed(ids_B), self.settings.symbol_dropout), []
        for layer, before in zip(self.stack(), state, strict=True):
            x, after = layer.step(self.dropout(x), before)
            states.append(after)
        return self.output(self.dropout(x)), tuple(states)

    def forward(self, ids_BT: Tensor, state: ModelState | None = None) -> tuple[Tensor, ModelState]:
        """T symbols of each row: logits (B, T, V) of each next one, and the state after the last.

        Without a state the rows begin at the beginning.
        """
        state = self.initial_state(len(ids_BT)) if state is None else state
        if self.norm is not None:
            return self._through_blocks(ids_BT, state, self.norm)
        first, *others = self.stack()
        x, after = self.read(first, ids_BT, state[0])
        states = [after]
        for layer, before in zip(others, state[1:], strict=True):
            x, after = layer.scan(self.dropout(x), before)
            states.append(after)
        return self.output(self.dropout(x)), tuple(states)

    def _through_blocks(self, ids_BT: Tensor, state: ModelState, norm: Norm) -> tuple[Tensor, ModelState]:
        """`forward` of a residual stack: what a block's last branch gives is added by the next block, or by the norm at the end."""
        states: list[LayerState] = []
        share, seeds = self.dropout.seeds(2 * len(self.layers) + 3)
        x_BTH, branch_BTH = self.dropout.of_symbols(self.enter(ids_BT), self.settings.symbol_dropout), None
        forms = fused if fused.usable(x_BTH) else plain
        x_BTH = forms.dropped(x_BTH, share, seeds[-1])
        for at, (block, before) in enumerate(zip(self.layers, state, strict=True)):
            assert isinstance(block, Block)
            x_BTH, branch_BTH, after = block.open_scan(x_BTH, branch_BTH, before, share, seeds[2 * at : 2 * at + 2])
            states.append(after)
        _, u_BTH = forms.add_norm(x_BTH, branch_BTH, norm.weight, share, seeds[-3])
        return self.output(forms.dropped(u_BTH, share, seeds[-2])), tuple(states)

    def enter(self, ids_BT: Tensor) -> Tensor:
        """The stream of a residual stack before its first block, (B, T, H), in the precision of the weights."""
        if self.entry is None:
            return self.embed(ids_BT)
        dtype = self.entry.weight.dtype
        if not self.tabulated(ids_BT):
            entered: Tensor = self.entry(self.embed(ids_BT)).to(dtype)
            return entered
        every_VH = self.entry(self.embed(torch.arange(self.vocab_size, device=ids_BT.device))).to(dtype)
        return nn.functional.embedding(ids_BT, every_VH)  # each symbol's vector meets the matrix once, and not at each of its places

    def tabulated(self, ids_BT: Tensor) -> bool:
        """Whether a product is made once for every symbol and looked up, and not made at each place."""
        return self.vocab_size <= MOST_TABULATED and 4 * self.vocab_size <= ids_BT.numel()

    def read(self, layer: Layer, ids_BT: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """The first layer's scan; where it can, of ids: each symbol's vector then meets the layer once, and not at each of its places."""
        dropped = self.training and (self.dropout.share > 0.0 or self.settings.symbol_dropout > 0.0)
        if isinstance(layer, RecurrentLayer) and layer.uses_our_scan(len(ids_BT)) and self.tabulated(ids_BT) and not dropped:
            return layer.scan_ids(self.embed(torch.arange(self.vocab_size, device=ids_BT.device)), ids_BT, state)
        x_BTE = self.dropout.of_symbols(self.embed(ids_BT), self.settings.symbol_dropout)
        return layer.scan(self.dropout(x_BTE), state)

    def get_weights(self) -> dict[str, np.ndarray]:
        """Every tensor by its name in `weights.py`, as a NumPy array of its own."""
        parameters = dict(self.named_parameters())
        return {spec.name: parameters[spec.name].detach().cpu().numpy().copy() for spec in tensor_specs(self.settings, self.vocab_size)}

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Replaces every tensor.

        Raises:
            SettingsError: a name or a shape is not this network's.
        """
        parameters = dict(self.named_parameters())
        wanted = {spec.name: spec.shape for spec in tensor_specs(self.settings, self.vocab_size)}
        met = {name: tuple(array.shape) for name, array in weights.items()}
        if met != wanted:
            odd = min(set(met.items()) ^ set(wanted.items()))
            raise SettingsError(
                tr("these weights are not this network's: {name} {shape} stands on one side only", name=odd[0], shape=odd[1])
            )
        with torch.no_grad():
            for name, array in weights.items():
                parameters[name].copy_(torch.from_numpy(np.array(array)))

    def summary(self) -> str:
        """The parts, their parameters, and the sum, as a table."""
        parts = parameters_by_part(self.settings, self.vocab_size)
        rows = [(tr(NAMED[name]) if name in NAMED else name, count) for name, count in parts.items()]
        if self.embedding is None:
            rows.insert(0, (tr("one-hot {symbols}", symbols=self.vocab_size) if self.one_hot else tr("codes"), 0))
        rows.append((tr("all"), count_parameters(self.settings, self.vocab_size)))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {count:>12,}" for name, count in rows)
