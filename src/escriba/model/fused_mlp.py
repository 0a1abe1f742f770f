"""The second branch of a residual block on a processor in bfloat16, as one piece of native code: norm, product, gate, product.

`fused` does the same in four pieces, between which everything goes through memory. It knows nothing of layers or settings: tensors in,
tensors out. The stream and all sums are float32.

Shapes: B batch, T time, H hidden, M numbers inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from escriba._native import block, level
from escriba.model.fused import usable
from escriba.model.memory import address, lend_workers, scratch

__all__ = ["MlpWeights", "add_norm_mlp", "mlp_record", "suits", "work"]

LEVEL = "avx512_bf16"
"""The level whose products of bfloat16 are as fast as PyTorch's; with AMX, PyTorch's use it for gradients too, and ours do not."""
WHOLE = 64
"""H and M are multiples of it."""


class MlpWeights(NamedTuple):
    """The weights of the branch: float32, in the shapes of `weights.py`."""

    norm: Tensor
    up: Tensor
    down: Tensor


def suits(x_BTH: Tensor, weight_down_HM: Tensor) -> bool:
    """Whether the native code does it: under autocast to bfloat16, on a processor whose level is `LEVEL`, the sizes whole."""
    sizes = all(size % WHOLE == 0 for size in weight_down_HM.shape)
    real = x_BTH.dtype == weight_down_HM.dtype == torch.float32
    return sizes and real and usable(x_BTH) and torch.is_autocast_enabled("cpu") and level() == LEVEL


def add_norm_mlp(
    x_BTH: Tensor, branch_BTH: Tensor, norm_H: Tensor, weight_up: Tensor, weight_down: Tensor, dropout: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """x' = x + dropped(branch); u = rms(x') norm; m, q = W_up u; y = W_down (m silu(q)).

    Source: Shazeer 2020 (the gate); Zhang and Sennrich 2019 (the norm).

    Args:
        x_BTH: the stream, float32.
        branch_BTH: what is added to it.
        norm_H: the norm's weight.
        weight_up: (2 M, H).
        weight_down: (H, M).
        dropout: share of the branch's numbers that are dropped.
        seed: of which are; it alone says which, as in `fused.add_norm`.

    Returns:
        x', and y in bfloat16, which is still to be added to it.
    """
    outputs: tuple[Tensor, Tensor] = AddNormMlp.apply(  # type: ignore[no-untyped-call]
        x_BTH, branch_BTH.to(torch.bfloat16), norm_H, weight_up, weight_down, dropout, seed
    )
    return outputs


class AddNormMlp(torch.autograd.Function):
    """`add_norm_mlp`. It keeps the sum and what comes out of the first product, and makes all else anew."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, branch: Tensor, norm: Tensor, up: Tensor, down: Tensor, share: float, seed: int
    ) -> tuple[Tensor, Tensor]:
        """The sum and the branch."""
        x, branch, norm, up, down = (one.contiguous() for one in (x, branch, norm, up, down))
        m = branch.new_empty(*x.shape[:-1], len(up))
        sums, out = torch.empty_like(x), torch.empty_like(branch)
        record = mlp_record((1, sums.numel() // len(norm)), (sums, m, norm, up, down), share, seed)
        record.x, record.branch, record.out = address(x), address(branch), address(out)
        work(None, record, backward=False)
        ctx.save_for_backward(sums, m, norm, up, down)
        ctx.dropped = share, seed
        ctx.set_materialize_grads(False)
        return sums, out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_sums: Tensor | None, d_out: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of x, branch and the weights."""
        sums, _, norm, up, down = ctx.saved_tensors
        d_sums = None if d_sums is None else d_sums.contiguous()
        d_out = torch.zeros_like(sums, dtype=torch.bfloat16) if d_out is None else d_out.contiguous()
        d_x, d_branch, d_up, d_down = torch.empty_like(sums), torch.empty_like(d_out), torch.empty_like(up), torch.empty_like(down)
        record = mlp_record((1, sums.numel() // len(norm)), ctx.saved_tensors, *ctx.dropped)
        d_norm = sums.new_empty(-(-record.times // block.ROWS_A_TASK), len(norm))
        record.d_sum, record.d_out, record.d_x, record.d_branch = address(d_sums), address(d_out), address(d_x), address(d_branch)
        record.d_norm, record.d_up, record.d_down = address(d_norm), address(d_up), address(d_down)
        work(None, record, backward=True)
        return d_x, d_branch, d_norm[0], d_up, d_down, None, None


def mlp_record(places: tuple[int, int], kept: Sequence[Tensor], share: float, seed: int) -> block.Mlp:
    """What both directions are given: places, as rows of times; the sum, what comes out of the first product, and the weights."""
    sums, m, norm, up, down = kept
    (rows, times), (width, inner) = places, down.shape
    record = block.Mlp(rows=rows, times=times, width=width, inner=inner, seed=seed, share=share)
    record.norm, record.up, record.down, record.sum, record.m = (address(one) for one in (norm, up, down, sums, m))
    return record


def work(mixer: block.Mixer | None, mlp: block.Mlp | None, *, backward: bool) -> None:
    """Does one or both branches, with room for what only the work itself needs."""
    lend_workers()
    threads = torch.get_num_threads()
    room = scratch(block.branches_room(mixer, mlp, threads, backward=backward))
    block.branches(mixer, mlp, threads, room, backward=backward)
