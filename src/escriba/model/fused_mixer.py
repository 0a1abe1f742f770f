"""The first branch of a residual block with mingru on a processor in bfloat16, as one piece of native code.

`fused` does the same in pieces, between which everything goes through memory. It knows nothing of layers or settings: tensors in, tensors
out. The stream, states and all sums are float32.

Shapes: B batch, T time, H hidden, K symbols that the convolution sees.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from escriba._native import block
from escriba.model import fused_mlp
from escriba.model.fused import summed
from escriba.model.memory import address

__all__ = ["MixerWeights", "add_norm_mixer", "suits"]

Grad = Tensor | None


class MixerWeights(NamedTuple):
    """The weights of the branch: float32, in the shapes of `weights.py`."""

    norm: Tensor
    weight_in: Tensor
    conv_weight: Tensor
    conv_bias: Tensor
    weight_ih: Tensor
    bias: Tensor
    weight_out: Tensor


def suits(x_BTH: Tensor, weight_out_HH: Tensor) -> bool:
    """Whether the native code does it: where it does the other branch, and there is a row for every thread."""
    return fused_mlp.suits(x_BTH, weight_out_HH) and len(x_BTH) >= torch.get_num_threads()


def add_norm_mixer(
    x_BTH: Tensor, branch_BTH: Grad, weights: MixerWeights, tail_BKH: Tensor, h_BH: Tensor, dropout: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x' = x + dropped(branch); u = rms(x') norm; v, g = W_in u; h = mingru(conv(v)); y = W_out (h silu(g)).

    Source: De et al. 2024 (the branch); Feng et al. 2024 (the recurrence).

    Args:
        x_BTH: the stream, float32.
        branch_BTH: what is added to it, or None.
        weights: of the branch.
        tail_BKH: the K - 1 values v before the first time.
        h_BH: the state before the first time.
        dropout: share of the branch's numbers that are dropped.
        seed: of which are; it alone says which, as in `fused.add_norm`.

    Returns:
        x'; y in bfloat16, which is still to be added to it; the last state; and the last K - 1 values v.
    """
    branch_BTH = None if branch_BTH is None else branch_BTH.to(torch.bfloat16)
    outputs: tuple[Tensor, Tensor, Tensor, Tensor] = AddNormMixer.apply(  # type: ignore[no-untyped-call]
        x_BTH, branch_BTH, *weights, tail_BKH, h_BH, dropout, seed
    )
    return outputs


class AddNormMixer(torch.autograd.Function):
    """`add_norm_mixer`. It keeps what its products are made of, and makes the norm and most states anew."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Grad, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The sum, the branch, the last state and the last values."""
        *arrays, share, seed = others
        x, branch = x.contiguous(), None if branch is None else branch.contiguous()
        norm, weight_in, conv, conv_bias, ih, bias, weight_out, tail, h = (one.float().contiguous() for one in arrays)
        conv = conv.T.contiguous()
        B, T, H = x.shape
        sums = x if branch is None else torch.empty_like(x)
        vg, p = (x.new_empty(B, T, 2 * H, dtype=torch.bfloat16) for _ in range(2))
        c, y, out = (x.new_empty(B, T, H, dtype=torch.bfloat16) for _ in range(3))
        marks, last = x.new_empty(B, -(-T // block.TIMES_A_MARK), H), torch.empty_like(h)
        kept = sums, norm, weight_in, conv, conv_bias, tail, ih, bias, h, weight_out, vg, c, p, y, marks, last
        record = mixer_record(kept, share, seed)
        record.x, record.branch, record.out = address(x), address(branch), address(out)
        fused_mlp.work(record, backward=False)
        ctx.save_for_backward(*kept)
        ctx.dropped, ctx.has_branch = (share, seed), branch is not None
        ctx.set_materialize_grads(False)
        return sums, out, last, torch.cat([tail[:, T:], vg[:, max(0, T - len(conv) + 1) :, :H].float()], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_sums: Grad, d_out: Grad, d_last: Grad, d_tail_after: Grad) -> tuple[Grad, ...]:
        """The gradients of stream, branch, weights, tail and state."""
        kept = ctx.saved_tensors
        sums, _, weight_in, conv, _, tail, ih, _, h, weight_out, *_ = kept
        B, T, H = sums.shape
        d_sums, d_last, d_tail_after = (None if one is None else one.contiguous() for one in (d_sums, d_last, d_tail_after))
        d_out = torch.zeros_like(sums, dtype=torch.bfloat16) if d_out is None else d_out.contiguous()
        d_x, d_branch = torch.empty_like(sums), torch.empty_like(d_out) if ctx.has_branch else None
        d_norm, d_conv, d_bias = (
            sums.new_empty(B * -(-T // block.ROWS_A_TASK), H),
            sums.new_empty(B, len(conv) + 1, H),
            sums.new_empty(B, 2 * H),
        )
        d_in, d_ih, d_weight_out, d_tail, d_h = (torch.empty_like(one) for one in (weight_in, ih, weight_out, tail, h))
        record = mixer_record(kept, *ctx.dropped)
        record.d_sum, record.d_last, record.d_tail_after, record.d_out = (
            address(d_sums),
            address(d_last),
            address(d_tail_after),
            address(d_out),
        )
        record.d_x, record.d_branch, record.d_norm = address(d_x), address(d_branch), address(d_norm)
        record.d_in, record.d_conv, record.d_tail, record.d_ih = address(d_in), address(d_conv), address(d_tail), address(d_ih)
        record.d_bias, record.d_start, record.d_out_weight = address(d_bias), address(d_h), address(d_weight_out)
        fused_mlp.work(record, backward=True)
        d_taps = summed(d_conv)
        return d_x, d_branch, summed(d_norm), d_in, d_taps[:-1].T, d_taps[-1], d_ih, summed(d_bias), d_weight_out, d_tail, d_h, None, None


def mixer_record(kept: tuple[Tensor, ...], share: float, seed: int) -> block.Mixer:
    """What both directions are given."""
    sums, norm, weight_in, conv, conv_bias, tail, ih, bias, h, weight_out, vg, c, p, y, marks, last = kept
    rows, times, width = sums.shape
    record = block.Mixer(threads=torch.get_num_threads(), rows=rows, times=times, width=width, taps=len(conv), seed=seed, share=share)
    record.norm, record.in_, record.conv, record.conv_bias, record.tail = (address(one) for one in (norm, weight_in, conv, conv_bias, tail))
    record.ih, record.bias, record.start, record.out_weight = (address(one) for one in (ih, bias, h, weight_out))
    record.sum, record.vg, record.c, record.p, record.y = (address(one) for one in (sums, vg, c, p, y))
    record.marks, record.last = address(marks), address(last)
    return record
