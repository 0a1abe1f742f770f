"""The block of a residual stack, into which every cell fits: what it computes is added to what came in.

It knows nothing of symbols, of other blocks or of training; the arithmetic between its products is in `plain.py`.

Shapes: B batch, T time, H hidden, K symbols that a convolution sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from escriba.model import fused, fused_mixer, fused_mlp, plain
from escriba.model.cells import CELLS, Layer, LayerState, MingruLayer, glorot_
from escriba.settings import ModelSettings

__all__ = ["Block", "Norm"]


class Norm(nn.Module):
    """The norm at the end of a stack: its weight."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))


class Block(Layer):
    """One block: norm, values and gates, convolution, cell, gate; then norm and gated MLP. Each of the two is a branch.

    u = rms(x) norm; v, g = W_in u; c = conv(v); h = cell(c); x = x + W_out (h silu(g)).
    u = rms(x) mlp_norm; m, q = W_up u; x = x + W_down (m silu(q)).

    Its state is the cell's, then the last K - 1 values v, the oldest first, where the convolution sees any before the present.

    Source: De et al. 2024 (Griffin); the MLP is Shazeer's, 2020.

    Args:
        settings: the network's shape.
    """

    def __init__(self, settings: ModelSettings) -> None:
        size = settings.hidden_size
        cell = CELLS[settings.cell](settings, size)
        self.seen = settings.conv or 1
        super().__init__(size, cell.state_sizes + ((self.seen - 1) * size,) * (self.seen > 1))
        self.shrink = 1.0 / math.sqrt(2.0 * settings.num_layers)
        self.has_conv, self.has_mlp = settings.conv is not None, settings.mlp is not None
        self.norm = nn.Parameter(torch.empty(size))
        self.weight_in = nn.Parameter(torch.empty(2 * size, size))
        if settings.conv is not None:
            self.conv_weight = nn.Parameter(torch.empty(size, settings.conv))
            self.conv_bias = nn.Parameter(torch.empty(size))
        self.cell = cell
        self.weight_out = nn.Parameter(torch.empty(size, size))
        if settings.mlp is not None:
            self.mlp_norm = nn.Parameter(torch.empty(size))
            self.weight_up = nn.Parameter(torch.empty(2 * settings.mlp * size, size))
            self.weight_down = nn.Parameter(torch.empty(size, settings.mlp * size))

    def step(self, x_BE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One symbol of each row: a scan of it."""
        x_B1H, state = self.scan(x_BE[:, None], state)
        return x_B1H[:, 0], state

    def scan(self, x_BTE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """T symbols of each row: the stream after the block, and the new state."""
        x_BTH, branch_BTH, state = self.open_scan(x_BTE, None, state)
        return x_BTH + branch_BTH, state

    def open_scan(
        self, x_BTH: Tensor, branch_BTH: Tensor | None, state: LayerState, dropout: float = 0.0, seeds: Sequence[int] = (0, 0)
    ) -> tuple[Tensor, Tensor, LayerState]:
        """A scan between two sums: the last branch of the block before is added here, and the last of this one is left to the next.

        Args:
            x_BTH: the stream.
            branch_BTH: what is still to be added to it, or None.
            state: of the block.
            dropout: the share that is dropped of a branch where it is added.
            seeds: of what is dropped, for each branch that is added here.

        Returns:
            The stream, what is still to be added to it, and the state after the last symbol.
        """
        mlp = None
        if self.has_mlp and fused_mlp.suits(x_BTH, self.weight_down):
            mlp = fused_mlp.MlpWeights(self.mlp_norm, self.weight_up, self.weight_down)
        if isinstance(self.cell, MingruLayer) and self.has_conv and fused_mixer.suits(x_BTH, self.weight_out):
            x_BTH, branch_BTH, state = self.mix(x_BTH, branch_BTH, self.cell, state, dropout, seeds, mlp)
            if mlp is not None:
                return x_BTH, branch_BTH, state
        else:
            x_BTH, branch_BTH, state = self.mix_in_pieces(x_BTH, branch_BTH, state, dropout, seeds[0])
        if mlp is not None:
            x_BTH, branch_BTH = fused_mlp.add_norm_mlp(x_BTH, branch_BTH, *mlp, dropout, seeds[1])
        elif self.has_mlp:
            forms = fused if fused.usable(x_BTH) else plain
            x_BTH, u_BTH = forms.add_norm(x_BTH, branch_BTH, self.mlp_norm, dropout, seeds[1])
            branch_BTH = nn.functional.linear(forms.gated(nn.functional.linear(u_BTH, self.weight_up)), self.weight_down)
        return x_BTH, branch_BTH, state

    def mix(
        self,
        x_BTH: Tensor,
        branch_BTH: Tensor | None,
        cell: MingruLayer,
        state: LayerState,
        dropout: float,
        seeds: Sequence[int],
        mlp: fused_mlp.MlpWeights | None,
    ) -> tuple[Tensor, Tensor, LayerState]:
        """The first branch, and with weights the second, in one piece of native code: the stream, what is still to be added, the state."""
        weights = fused_mixer.MixerWeights(
            self.norm, self.weight_in, self.conv_weight, self.conv_bias, cell.weight_ih, cell.input_bias(), self.weight_out
        )
        tail_BK = state[-1] if self.seen > 1 else x_BTH.new_empty(len(x_BTH), 0)
        tail_BKH = tail_BK.reshape(len(x_BTH), self.seen - 1, self.hidden_size)
        x_BTH, branch_BTH, h_BH, tail_BKH = fused_mixer.add_norm_mixer(
            x_BTH, branch_BTH, weights, tail_BKH, state[0], dropout, (seeds[0], seeds[1]), mlp
        )
        return x_BTH, branch_BTH, (h_BH, tail_BKH.flatten(1))[: len(state)]

    def mix_in_pieces(
        self, x_BTH: Tensor, branch_BTH: Tensor | None, state: LayerState, dropout: float, seed: int
    ) -> tuple[Tensor, Tensor, LayerState]:
        """The first branch, of any cell: the stream, what is still to be added to it, and the state."""
        forms = fused if fused.usable(x_BTH) else plain
        x_BTH, u_BTH = forms.add_norm(x_BTH, branch_BTH, self.norm, dropout, seed)
        v_BTH, g_BTH = nn.functional.linear(u_BTH, self.weight_in).chunk(2, -1)
        tail: LayerState = ()
        if self.has_conv:
            *of_cell, tail_BK = state if self.seen > 1 else (*state, v_BTH.new_empty(len(v_BTH), 0, dtype=x_BTH.dtype))
            tail_BKH, state = tail_BK.reshape(len(v_BTH), self.seen - 1, self.hidden_size), tuple(of_cell)
            if self.seen > 1:
                T = v_BTH.shape[1]
                tail = (torch.cat([tail_BKH[:, T:], v_BTH[:, max(0, T - self.seen + 1) :].to(tail_BKH.dtype)], 1).flatten(1),)
            v_BTH = forms.causal_conv(v_BTH, tail_BKH, self.conv_weight, self.conv_bias)
        if isinstance(self.cell, MingruLayer):
            products = nn.functional.linear(v_BTH, self.cell.weight_ih)
            y_BTH, h_BH = forms.gated_scan(products, self.cell.input_bias(), state[0], g_BTH)
            state = (h_BH,)
        else:
            h_BTH, state = self.cell.scan(v_BTH, state)
            y_BTH = forms.gate(h_BTH, g_BTH)
        return x_BTH, nn.functional.linear(y_BTH, self.weight_out), state + tail

    def reset_parameters(self, generator: torch.Generator) -> None:
        """New weights: matrices Glorot-uniform, those that end a branch smaller by the root of the number of branches, so that the
        stream of a deep stack is no wider at first than that of a shallow one; the cell's its own.

        Source: Glorot and Bengio 2010; Radford et al. 2019 (the smaller ends).
        """
        self.cell.reset_parameters(generator)
        with torch.no_grad():
            self.norm.fill_(1.0)
            glorot_(self.weight_in, generator)
            if self.has_conv:
                bound = 1.0 / math.sqrt(self.seen)
                self.conv_weight.uniform_(-bound, bound, generator=generator)
                self.conv_bias.zero_()
            glorot_(self.weight_out, generator, self.shrink)
            if self.has_mlp:
                self.mlp_norm.fill_(1.0)
                glorot_(self.weight_up, generator)
                glorot_(self.weight_down, generator, self.shrink)
