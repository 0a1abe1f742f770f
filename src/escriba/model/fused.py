"""The residual block's elementwise work on a processor, in the package's native code: each piece forward, and backward by hand.

It knows nothing of layers or settings: tensors in, tensors out. The stream, states and all sums are float32 (float64 where gradients are
checked); under autocast what goes into products and comes out of them is bfloat16.

Shapes: B batch, T time, H hidden, K symbols that a convolution sees, N rows of any kind, X the width of one half.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from escriba._native import block, library
from escriba.model.memory import address, lend_workers, lying

__all__ = ["add_norm", "causal_conv", "dropped", "gate", "gated", "gated_scan", "usable"]

Grad = Tensor | None


def usable(x: Tensor) -> bool:
    """Whether the native code computes with x here: on a processor, in float32 or under autocast to bfloat16, H a multiple of 16."""
    if x.device.type != "cpu" or x.shape[-1] % 16 or x.numel() == 0 or torch.compiler.is_compiling():
        return False
    if torch.is_autocast_enabled("cpu"):
        return x.dtype in (torch.float32, torch.bfloat16) and torch.get_autocast_dtype("cpu") == torch.bfloat16 and library() is not None
    return x.dtype == torch.float32 and library() is not None


def add_norm(x_BTH: Tensor, branch_BTH: Grad, weight_H: Tensor, dropout: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A branch added to the stream, and the norm of the sum: x' = x + dropped(branch), and x' / sqrt(mean(x'^2) + 1e-6) * weight.

    Source: Zhang and Sennrich 2019 (the norm); Srivastava et al. 2014 (dropout).

    Args:
        x_BTH: the stream.
        branch_BTH: what is added; None: nothing.
        weight_H: of the norm.
        dropout: share of the branch's numbers that are dropped.
        seed: of which are; it alone says which, so that going backward drops the same.
    """
    outputs: tuple[Tensor, Tensor] = AddNorm.apply(real(x_BTH), branch_BTH, weight_H, dropout, seed)  # type: ignore[no-untyped-call]
    return outputs


def causal_conv(v_BTH: Tensor, tail_BKH: Tensor, weight_HK: Tensor, bias_H: Tensor) -> Tensor:
    """Each unit's own convolution over time: c_t = bias + sum_j weight_j v_(t - K + 1 + j); the tail stands before the first time."""
    c_BTH: Tensor = CausalConv.apply(v_BTH, real(tail_BKH), weight_HK, bias_H)  # type: ignore[no-untyped-call]
    return c_BTH


def gated_scan(p_BTG: Tensor, bias_G: Tensor, h_BH: Tensor, g_BTH: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence of mingru and the gate after it: z, n = sigmoid(p_z + b_z), p_n + b_n; h' = h + z (n - h); y = h' silu(g).

    Source: Feng et al. 2024, in linear space.

    Args:
        p_BTG: the input's products, (B, T, 2 H), z's then n's, without the bias.
        bias_G: (2 H).
        h_BH: the state before the first symbol.
        g_BTH: the gate.

    Returns:
        y (B, T, H), and the last state.
    """
    outputs: tuple[Tensor, Tensor] = GatedScan.apply(p_BTG, bias_G, real(h_BH), g_BTH.to(p_BTG.dtype))  # type: ignore[no-untyped-call]
    return outputs


def gated(m_BTX: Tensor) -> Tensor:
    """The first half of each vector times silu of the second: (B, T, 2 X) to (B, T, X). Source: Shazeer 2020."""
    y_BTX: Tensor = Gated.apply(m_BTX)  # type: ignore[no-untyped-call]
    return y_BTX


def gate(h_BTH: Tensor, g_BTH: Tensor) -> Tensor:
    """h * silu(g)."""
    y_BTH: Tensor = Gate.apply(h_BTH.to(g_BTH.dtype), g_BTH)  # type: ignore[no-untyped-call]
    return y_BTH


def dropped(x_BTH: Tensor, share: float, seed: int) -> Tensor:
    """x with a share of its numbers zero and the others larger by as much; the seed alone says which."""
    if share == 0.0:
        return x_BTH
    y_BTH: Tensor = Dropped.apply(x_BTH, share, seed)  # type: ignore[no-untyped-call]
    return y_BTH


def real(x: Tensor) -> Tensor:
    """x in the precision of the stream: float32, or float64."""
    return x.float() if x.element_size() < 4 else x


def branch_type(x: Tensor) -> torch.dtype:
    """What products of x are made in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") and x.dtype == torch.float32 else x.dtype


def run(name: str, record: block.Record, like: Tensor) -> None:
    """Does a piece of work; `like` has the type of its real numbers."""
    lend_workers()
    block.work(name, record, doubles=like.dtype == torch.float64, threads=torch.get_num_threads())


def summed(parts: Tensor) -> Tensor:
    """The sum over the first dimension, in its order whatever the threads."""
    total = parts.new_empty(parts.shape[1:])
    block.add_up(parts.data_ptr(), len(parts), total.numel(), total.data_ptr(), doubles=parts.dtype == torch.float64)
    return total


class AddNorm(torch.autograd.Function):
    """`add_norm`. It keeps the sum, and of the norm one number a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Grad, weight: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """The sum and its norm."""
        x, branch, weight = x.contiguous(), None if branch is None else branch.contiguous(), weight.contiguous()
        sums = x if branch is None else torch.empty_like(x)
        normed = torch.empty_like(x, dtype=branch_type(x) if branch is None else branch.dtype)
        inverse = x.new_empty(x.shape[:-1])
        record = block.AddNorm(bf16=normed.dtype != x.dtype, rows=inverse.numel(), width=x.shape[-1], seed=seed, share=share)
        record.x, record.branch, record.weight = address(x), address(branch), address(weight)
        record.sum, record.normed, record.inverse = address(sums), address(normed), address(inverse)
        run("add_norm", record, x)
        ctx.save_for_backward(sums, inverse, weight)
        ctx.branch_type, ctx.dropped, ctx.normed_type = None if branch is None else branch.dtype, (share, seed), normed.dtype
        ctx.set_materialize_grads(False)
        return sums, normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_sums: Grad, d_normed: Grad) -> tuple[Grad, Grad, Grad, None, None]:
        """The gradients of x, branch and weight."""
        sums, inverse, weight = ctx.saved_tensors
        share, seed = ctx.dropped
        d_sums = None if d_sums is None else d_sums.contiguous()
        d_normed = torch.zeros_like(sums, dtype=ctx.normed_type) if d_normed is None else d_normed.contiguous()
        d_x = torch.empty_like(sums)
        same = share == 0.0 and ctx.branch_type == sums.dtype
        d_branch = None if ctx.branch_type is None or same else torch.empty_like(sums, dtype=ctx.branch_type)
        d_parts = sums.new_empty(-(-inverse.numel() // block.ROWS_A_TASK), sums.shape[-1])
        record = block.AddNorm(bf16=d_normed.dtype != sums.dtype, rows=inverse.numel(), width=sums.shape[-1], seed=seed, share=share)
        record.weight, record.sum, record.inverse = address(weight), address(sums), address(inverse)
        record.d_sum, record.d_normed = address(d_sums), address(d_normed)
        record.d_x, record.d_branch, record.d_parts = address(d_x), address(d_branch), address(d_parts)
        run("add_norm_back", record, sums)
        return d_x, d_x if same and ctx.branch_type else d_branch, summed(d_parts), None, None


class CausalConv(torch.autograd.Function):
    """`causal_conv`. It keeps nothing but what it was given."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, tail: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The convolution."""
        v, tail, taps, bias = lying(v), tail.contiguous(), weight.T.contiguous(), bias.contiguous()
        c = v.new_empty(v.shape)
        record = conv_record(v, tail, taps)
        record.bias, record.c = address(bias), address(c)
        run("causal_conv", record, tail)
        ctx.save_for_backward(v, tail, taps)
        return c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gradients of v, tail, weight and bias."""
        v, tail, taps = ctx.saved_tensors
        d_c, d_v, d_tail = d_c.contiguous(), v.new_empty(v.shape), torch.empty_like(tail)
        d_parts = tail.new_empty(len(v), len(taps) + 1, v.shape[-1])
        record = conv_record(v, tail, taps)
        record.d_c, record.d_v, record.d_tail, record.d_parts = address(d_c), address(d_v), address(d_tail), address(d_parts)
        record.d_v_row, record.d_v_time, _ = d_v.stride()
        run("causal_conv_back", record, tail)
        total = summed(d_parts)
        return d_v, d_tail, total[:-1].T, total[-1]


def conv_record(v: Tensor, tail: Tensor, taps: Tensor) -> block.CausalConv:
    """What both directions are given."""
    rows, times, width = v.shape
    record = block.CausalConv(bf16=v.dtype != tail.dtype, rows=rows, times=times, width=width, taps=len(taps))
    record.v, record.tail, record.weight = address(v), address(tail), address(taps)
    record.v_row, record.v_time, _ = v.stride()
    return record


class GatedScan(torch.autograd.Function):
    """`gated_scan`. Of the states it keeps one in 16, and makes the others anew."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, bias: Tensor, h: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """The gated outputs and the last state."""
        p, bias, h, g = lying(p), bias.contiguous(), h.contiguous(), lying(g)
        y, last = p.new_empty(g.shape), torch.empty_like(h)
        marks = h.new_empty(len(h), -(-g.shape[1] // block.TIMES_A_MARK), h.shape[1]) if any(ctx.needs_input_grad) else None
        record = scan_record(p, bias, g)
        record.start, record.y, record.last, record.marks = address(h), address(y), address(last), address(marks)
        run("gated_scan", record, h)
        ctx.save_for_backward(p, bias, g, marks)
        ctx.set_materialize_grads(False)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Grad, d_last: Grad) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gradients of p, bias, h and g."""
        p, bias, g, marks = ctx.saved_tensors
        d_y = p.new_zeros(g.shape) if d_y is None else d_y.contiguous()
        d_last = None if d_last is None else d_last.contiguous()
        d_p, d_g = p.new_empty(p.shape), g.new_empty(g.shape)
        d_h, d_parts = marks.new_empty(len(g), g.shape[-1]), marks.new_empty(len(g), p.shape[-1])
        record = scan_record(p, bias, g)
        record.marks, record.d_y, record.d_last = address(marks), address(d_y), address(d_last)
        record.d_p, record.d_start, record.d_g, record.d_parts = address(d_p), address(d_h), address(d_g), address(d_parts)
        record.d_g_row, record.d_g_time, _ = d_g.stride()
        run("gated_scan_back", record, marks)
        return d_p, summed(d_parts), d_h, d_g


def scan_record(p: Tensor, bias: Tensor, g: Tensor) -> block.GatedScan:
    """What both directions are given."""
    rows, times, width = g.shape
    record = block.GatedScan(
        bf16=p.dtype != bias.dtype, rows=rows, times=times, width=width, p=address(p), bias=address(bias), g=address(g)
    )
    record.p_row, record.p_time, _ = p.stride()
    record.g_row, record.g_time, _ = g.stride()
    return record


class Gate(torch.autograd.Function):
    """`gate`."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, g: Tensor) -> Tensor:
        """h * silu(g)."""
        h, g = h.contiguous(), g.contiguous()
        ctx.save_for_backward(h, g)
        return gate_forward(h, g)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of h and g."""
        h, g = ctx.saved_tensors
        d_h, d_g = torch.empty_like(h), torch.empty_like(g)
        gate_backward(h, g, d_y, d_h, d_g)
        return d_h, d_g


class Gated(torch.autograd.Function):
    """`gated`: both gradients are written into the two halves of one array."""

    @staticmethod
    def forward(ctx: Any, m: Tensor) -> Tensor:
        """The gated half."""
        m = m.contiguous()
        ctx.save_for_backward(m)
        return gate_forward(*m.chunk(2, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> Tensor:
        """The gradient of both halves."""
        (m,) = ctx.saved_tensors
        d_m = torch.empty_like(m)
        (value, g), (d_value, d_g) = m.chunk(2, -1), d_m.chunk(2, -1)
        gate_backward(value, g, d_y, d_value, d_g)
        return d_m


def gate_forward(a: Tensor, g: Tensor) -> Tensor:
    """a * silu(g), of arrays whose rows are as far apart as those of one array."""
    y = a.new_empty(a.shape)
    run("gate", gate_record(a, g, y=y), a)
    return y


def gate_backward(a: Tensor, g: Tensor, d_y: Tensor, d_a: Tensor, d_g: Tensor) -> None:
    """Writes the gradients of a and g."""
    d_y = d_y.contiguous()
    record = gate_record(a, g, d_y=d_y, d_a=d_a, d_g=d_g)
    record.d_a_row, record.d_g_row = d_a.stride(-2), d_g.stride(-2)
    run("gate_back", record, a)


def gate_record(a: Tensor, g: Tensor, **others: Tensor) -> block.Gate:
    """What both directions are given."""
    addresses = {name: address(other) for name, other in others.items()}
    record = block.Gate(bf16=a.dtype == torch.bfloat16, rows=a.numel() // a.shape[-1], width=a.shape[-1], **addresses)
    record.a, record.a_row, record.g, record.g_row = address(a), a.stride(-2), address(g), g.stride(-2)
    return record


class Dropped(torch.autograd.Function):
    """`dropped`: backward, the gradient is dropped at the same places."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float, seed: int) -> Tensor:
        """x where it is kept."""
        ctx.dropped = share, seed
        return drop(x.contiguous(), share, seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of x."""
        return drop(d_y.contiguous(), *ctx.dropped), None, None


def drop(x: Tensor, share: float, seed: int) -> Tensor:
    """The numbers of x that are kept, larger; the others zero."""
    y, width = torch.empty_like(x), x.shape[-1]
    record = block.Drop(bf16=x.dtype == torch.bfloat16, rows=x.numel() // width, width=width, seed=seed, share=share)
    record.x, record.y = address(x), address(y)
    run("drop", record, x)
    return y
