"""The parts of a block in plain PyTorch: norm, convolution, scan, gates; what they compute defines what faster forms must give.

It knows nothing of layers, settings or networks: arrays in, arrays out. Sums over time and the stream are in the precision of the state
and of the stream, whatever that of the products is.

Shapes: B batch, T time, H hidden, K symbols that a convolution sees, M numbers inside the MLP.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["EPSILON", "add_norm", "causal_conv", "dropped", "gate", "gated", "gated_scan", "linear_scan"]

EPSILON = 1e-6
"""Added to the mean square by which a norm divides."""


def add_norm(x_BTH: Tensor, branch_BTH: Tensor | None, weight_H: Tensor, dropout: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """x' = x + dropout(branch), and x' / sqrt(mean(x'^2) + epsilon) times the weight. Source: Zhang and Sennrich 2019.

    Args:
        x_BTH: the stream.
        branch_BTH: what is added to it, or None.
        weight_H: the norm's.
        dropout: the share of the branch's numbers that are dropped.
        seed: of what is dropped.
    """
    if branch_BTH is not None:
        x_BTH = x_BTH + dropped(branch_BTH.to(x_BTH.dtype) if dropout > 0.0 else branch_BTH, dropout, seed)
    normed: Tensor = RmsNorm.apply(x_BTH, weight_H)  # type: ignore[no-untyped-call]
    return x_BTH, normed


def dropped(x: Tensor, share: float, seed: int) -> Tensor:
    """x with a share of its numbers zero and the others larger by as much; the seed alone says which. Source: Srivastava et al. 2014."""
    if share == 0.0:
        return x
    mask = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    return x * mask.bernoulli_(1.0 - share, generator=torch.Generator(x.device).manual_seed(seed)).div_(1.0 - share)


def causal_conv(v_BTH: Tensor, tail_BKH: Tensor, weight_HK: Tensor, bias_H: Tensor) -> Tensor:
    """c_t = bias + the sum over j of weight[:, j] v_(t - K + 1 + j), each of the H numbers for itself.

    Args:
        v_BTH: what enters.
        tail_BKH: the K - 1 that entered before, the oldest first.
        weight_HK: the weights, of the present symbol last.
        bias_H: the bias.
    """
    seen = torch.cat([tail_BKH, v_BTH.to(tail_BKH.dtype)], 1)
    convolved: Tensor = CausalConv.apply(seen, weight_HK, bias_H)  # type: ignore[no-untyped-call]
    return convolved


def gated_scan(p_BT2H: Tensor, bias_2H: Tensor, h_BH: Tensor, g_BTH: Tensor) -> tuple[Tensor, Tensor]:
    """The mingru from its products on, and the gate after it: z = sigmoid(p_z + b_z), n = p_n + b_n, h' = h + z (n - h).

    Returns:
        h times silu(g), and the last h.
    """
    z, n = (p_BT2H.to(h_BH.dtype) + bias_2H).chunk(2, -1)
    z = torch.sigmoid(z)
    h_BTH = linear_scan(1.0 - z, z * n, h_BH)
    return gate(h_BTH, g_BTH), h_BTH[:, -1]


def gate(h: Tensor, g: Tensor) -> Tensor:
    """h times silu(g)."""
    return h * torch.nn.functional.silu(g)


def gated(m: Tensor) -> Tensor:
    """The first half times silu of the second, (..., 2 M) to (..., M). Source: Shazeer 2020."""
    value, g = m.chunk(2, -1)
    return gate(value, g)


def linear_scan(a_BTH: Tensor, b_BTH: Tensor, h_BH: Tensor) -> Tensor:
    """h_t = a_t h_(t-1) + b_t for all t, from h_BH on: the outputs (B, T, H).

    On a processor step by step, which there is faster than any parallel form; elsewhere by doubling.
    """
    outputs: Tensor = LinearScan.apply(a_BTH, b_BTH, h_BH)  # type: ignore[no-untyped-call]
    return outputs


def sequential(a_BTH: Tensor, b_BTH: Tensor, h_BH: Tensor) -> Tensor:
    """`linear_scan` as a loop over time; nothing for autograd."""
    outputs = torch.empty_like(b_BTH)
    for a_BH, step_BH, out_BH in zip(a_BTH.unbind(1), b_BTH.unbind(1), outputs.unbind(1), strict=True):
        h_BH = torch.addcmul(step_BH, a_BH, h_BH, out=out_BH)
    return outputs


def doubling(a_BTH: Tensor, b_BTH: Tensor, h_BH: Tensor) -> Tensor:
    """`linear_scan` in log2(T) rounds, each of which joins pieces of time twice as long. Source: Hillis and Steele 1986."""
    first = torch.addcmul(b_BTH[:, :1], a_BTH[:, :1], h_BH[:, None])
    a, b, reach, T = a_BTH, torch.cat([first, b_BTH[:, 1:]], 1), 1, a_BTH.shape[1]
    while reach < T:
        b = torch.cat([b[:, :reach], torch.addcmul(b[:, reach:], a[:, reach:], b[:, :-reach])], 1)
        a = torch.cat([a[:, :reach], a[:, reach:] * a[:, :-reach]], 1)
        reach *= 2
    return b


Scan = Callable[[Tensor, Tensor, Tensor], Tensor]


@functools.cache
def compiled() -> list[Scan]:
    """The ways to scan on a GPU, the best first: `doubling` compiled, and as it is; a way that fails is taken away."""
    return [torch.compile(doubling, dynamic=True), doubling]


def is_processor(array: Tensor) -> bool:
    """Whether it lies in a processor's memory."""
    return array.device.type == "cpu"


def can_compile(array: Tensor) -> bool:
    """Whether PyTorch compiles for its device."""
    return array.device.type == "cuda"


def scan_values(a_BTH: Tensor, b_BTH: Tensor, h_BH: Tensor) -> Tensor:
    """The numbers of `linear_scan`, by the way that suits the device; nothing for autograd."""
    if is_processor(a_BTH):
        return sequential(a_BTH, b_BTH, h_BH)
    if not can_compile(a_BTH):
        return doubling(a_BTH, b_BTH, h_BH)
    ways = compiled()
    a_BTH, b_BTH, h_BH = a_BTH.detach(), b_BTH.detach(), h_BH.detach()  # forward and backward are then one compilation
    while len(ways) > 1:
        try:
            return ways[0](a_BTH, b_BTH, h_BH)
        except Exception:  # noqa: BLE001 - the compiler may be missing, old or broken in many ways: what it would give is computed without it
            ways.pop(0)
    return ways[0](a_BTH, b_BTH, h_BH)


class LinearScan(torch.autograd.Function):
    """`linear_scan` and its gradient, which is a scan that runs backward."""

    @staticmethod
    def forward(ctx: Any, a_BTH: Tensor, b_BTH: Tensor, h_BH: Tensor) -> Tensor:
        """The outputs (B, T, H)."""
        outputs = scan_values(a_BTH, b_BTH, h_BH)
        ctx.save_for_backward(a_BTH, h_BH, outputs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_BTH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of a_BTH, b_BTH and h_BH."""
        a_BTH, h_BH, outputs = ctx.saved_tensors
        if is_processor(a_BTH):
            summed = torch.empty_like(outputs)
            before_BH = d_BTH.new_zeros(d_BTH[:, 0].shape)
            later = [torch.zeros_like(before_BH), *reversed(a_BTH.unbind(1)[1:])]
            for a_BH, one_BH, out_BH in zip(later, reversed(d_BTH.unbind(1)), reversed(summed.unbind(1)), strict=True):
                before_BH = torch.addcmul(one_BH, a_BH, before_BH, out=out_BH)
        else:
            later_BTH = torch.cat([a_BTH[:, 1:], torch.zeros_like(a_BTH[:, :1])], 1).flip(1)
            summed = scan_values(later_BTH, d_BTH.flip(1), torch.zeros_like(h_BH)).flip(1)
        d_a = torch.empty_like(summed)
        torch.mul(summed[:, 1:], outputs[:, :-1], out=d_a[:, 1:])
        torch.mul(summed[:, 0], h_BH, out=d_a[:, 0])
        return d_a, summed, summed[:, 0] * a_BTH[:, 0]


class CausalConv(torch.autograd.Function):
    """`causal_conv` of what was seen, tail and all, and its gradient: sums of shifted arrays, in place."""

    @staticmethod
    def forward(ctx: Any, seen_BSH: Tensor, weight_HK: Tensor, bias_H: Tensor) -> Tensor:
        """The outputs (B, T, H); S is T + K - 1."""
        ctx.save_for_backward(seen_BSH, weight_HK)
        K = weight_HK.shape[1]
        T = seen_BSH.shape[1] - K + 1
        outputs = torch.addcmul(bias_H, seen_BSH[:, :T], weight_HK[:, 0])
        for j in range(1, K):
            outputs.addcmul_(seen_BSH[:, j : j + T], weight_HK[:, j])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_BTH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of seen_BSH, weight_HK and bias_H."""
        seen_BSH, weight_HK = ctx.saved_tensors
        T, K = d_BTH.shape[1], weight_HK.shape[1]
        d_seen = torch.zeros_like(seen_BSH)
        for j in range(K):
            d_seen[:, j : j + T].addcmul_(d_BTH, weight_HK[:, j])
        d_weight = torch.stack([(d_BTH * seen_BSH[:, j : j + T]).sum((0, 1)) for j in range(K)], 1)
        return d_seen, d_weight, d_BTH.sum((0, 1))


class RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + epsilon) times a weight, and its gradient, in fewer passes over memory than autograd would make."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_H: Tensor) -> Tensor:
        """The normed numbers, in the precision of x."""
        size = x.shape[-1]
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(size).add_(EPSILON).rsqrt_()
        ctx.save_for_backward(x, scale, weight_H)
        normed: Tensor = (x * scale).mul_(weight_H)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of x and of the weight."""
        x, scale, weight_H = ctx.saved_tensors
        normed = x * scale
        product = d * normed
        d_weight = product.flatten(0, -2).sum(0)
        share = (product @ weight_H).div_(x.shape[-1]).unsqueeze(-1)
        d_x = torch.mul(d, weight_H, out=product).sub_(normed.mul_(share)).mul_(scale)
        return d_x, d_weight
