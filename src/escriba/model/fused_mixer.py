"""The first branch of a residual block with mingru on a processor in bfloat16, and the second after it, as one piece of native code.

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
from escriba.model.fused_mlp import MlpWeights
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
    x_BTH: Tensor,
    branch_BTH: Grad,
    weights: MixerWeights,
    tail_BKH: Tensor,
    h_BH: Tensor,
    dropout: float = 0.0,
    seeds: tuple[int, int] = (0, 0),
    mlp: MlpWeights | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x' = x + dropped(branch); u = rms(x') norm; v, g = W_in u; h = mingru(conv(v)); y = W_out (h silu(g)); then `fused_mlp.add_norm_mlp`.

    Source: De et al. 2024 (the branch); Feng et al. 2024 (the recurrence).

    Args:
        x_BTH: the stream, float32.
        branch_BTH: what is added to it, or None.
        weights: of the branch.
        tail_BKH: the K - 1 values v before the first time.
        h_BH: the state before the first time.
        dropout: share of a branch's numbers that are dropped.
        seeds: of which are, of the branch that is given and of y before the MLP; they alone say which, as in `fused.add_norm`.
        mlp: the weights of the second branch; None: only the first is done.

    Returns:
        The stream; what is still to be added to it, in bfloat16; the last state; and the last K - 1 values v.
    """
    branch_BTH = None if branch_BTH is None else branch_BTH.to(torch.bfloat16)
    outputs: tuple[Tensor, Tensor, Tensor, Tensor] = AddNormMixer.apply(  # type: ignore[no-untyped-call]
        x_BTH, branch_BTH, *weights, *(mlp or (None,) * 3), tail_BKH, h_BH, dropout, seeds
    )
    return outputs


class AddNormMixer(torch.autograd.Function):
    """`add_norm_mixer`. It keeps what its products are made of, and makes the norms, the gate and most states anew."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Grad, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The sum, the branch, the last state and the last values."""
        *arrays, share, seeds = others
        x, branch = x.contiguous(), None if branch is None else branch.contiguous()
        found: list[Any] = [None if one is None else one.float().contiguous() for one in arrays]
        norm, weight_in, conv, conv_bias, ih, bias, weight_out, mlp_norm, up, down, tail, h = found
        conv = conv.T.contiguous()
        B, T, H = x.shape
        sums = x if branch is None else torch.empty_like(x)
        vg, p = (x.new_empty(B, T, 2 * H, dtype=torch.bfloat16) for _ in range(2))
        c, y, out = (x.new_empty(B, T, H, dtype=torch.bfloat16) for _ in range(3))
        marks, last = x.new_empty(B, -(-T // block.TIMES_A_MARK), H), torch.empty_like(h)
        kept = sums, norm, weight_in, conv, conv_bias, tail, ih, bias, h, weight_out, vg, c, p, y, marks, last
        of_mlp: tuple[Tensor, ...] = ()
        mixer, mlp = mixer_record(kept, share, seeds[0]), None
        mixer.x, mixer.branch, mixer.out = address(x), address(branch), address(out)
        if up is not None:
            of_mlp = torch.empty_like(x), x.new_empty(B, T, len(up), dtype=torch.bfloat16), mlp_norm, up, down
            mlp = fused_mlp.mlp_record((B, T), of_mlp, share, seeds[1])
            mlp.out, mixer.out = mixer.out, None
        tail_after = torch.empty_like(tail)
        mixer.tail_after = address(tail_after)
        fused_mlp.work(mixer, mlp, backward=False)
        ctx.save_for_backward(*kept, *of_mlp)
        ctx.dropped, ctx.has_branch = (share, seeds), branch is not None
        ctx.set_materialize_grads(False)
        return of_mlp[0] if of_mlp else sums, out, last, tail_after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_sums: Grad, d_out: Grad, d_last: Grad, d_tail_after: Grad) -> tuple[Grad, ...]:
        """The gradients of stream, branch, weights, tail and state."""
        kept, of_mlp, (share, seeds) = ctx.saved_tensors[:16], ctx.saved_tensors[16:], ctx.dropped
        sums, _, weight_in, conv, _, tail, ih, _, h, weight_out, *_ = kept
        B, T, H = sums.shape
        d_sums, d_last, d_tail_after = (None if one is None else one.contiguous() for one in (d_sums, d_last, d_tail_after))
        d_out = torch.zeros_like(sums, dtype=torch.bfloat16) if d_out is None else d_out.contiguous()
        d_x, d_branch = torch.empty_like(sums), torch.empty_like(d_out) if ctx.has_branch else None
        parts = B * -(-T // block.ROWS_A_TASK)
        d_norm, d_conv, d_bias = sums.new_empty(parts, H), sums.new_empty(B, len(conv) + 1, H), sums.new_empty(B, 2 * H)
        d_in, d_ih, d_weight_out, d_tail, d_h = (torch.empty_like(one) for one in (weight_in, ih, weight_out, tail, h))
        mixer, mlp = mixer_record(kept, share, seeds[0]), None
        d_mlp: list[Any] = [None, None, None]
        mixer.d_sum, mixer.d_out, mixer.d_x, mixer.d_branch = address(d_sums), address(d_out), address(d_x), address(d_branch)
        mixer.d_last, mixer.d_tail_after, mixer.d_norm = address(d_last), address(d_tail_after), address(d_norm)
        mixer.d_in, mixer.d_conv, mixer.d_tail, mixer.d_ih = address(d_in), address(d_conv), address(d_tail), address(d_ih)
        mixer.d_bias, mixer.d_start, mixer.d_out_weight = address(d_bias), address(d_h), address(d_weight_out)
        if of_mlp:
            d_mlp = [sums.new_empty(parts, H), torch.empty_like(of_mlp[3]), torch.empty_like(of_mlp[4])]
            mlp = fused_mlp.mlp_record((B, T), of_mlp, share, seeds[1])
            mlp.d_sum, mlp.d_out, mixer.d_sum, mixer.d_out = mixer.d_sum, mixer.d_out, mixer.d_x, None
            mlp.d_norm, mlp.d_up, mlp.d_down = (address(one) for one in d_mlp)
        fused_mlp.work(mixer, mlp, backward=True)
        d_mlp[0] = None if mlp is None else d_mlp[0][0]
        of_weights = d_norm[0], d_in, d_conv[0, :-1].T, d_conv[0, -1], d_ih, d_bias[0], d_weight_out
        return d_x, d_branch, *of_weights, *d_mlp, d_tail, d_h, None, None


def mixer_record(kept: tuple[Tensor, ...], share: float, seed: int) -> block.Mixer:
    """What both directions are given."""
    sums, norm, weight_in, conv, conv_bias, tail, ih, bias, h, weight_out, vg, c, p, y, marks, last = kept
    rows, times, width = sums.shape
    record = block.Mixer(rows=rows, times=times, width=width, taps=len(conv), seed=seed, share=share)
    record.norm, record.in_, record.conv, record.conv_bias, record.tail = (address(one) for one in (norm, weight_in, conv, conv_bias, tail))
    record.ih, record.bias, record.start, record.out_weight = (address(one) for one in (ih, bias, h, weight_out))
    record.sum, record.vg, record.c, record.p, record.y = (address(one) for one in (sums, vg, c, p, y))
    record.marks, record.last = address(marks), address(last)
    return record
