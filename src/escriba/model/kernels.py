"""The GRU's loop over time for training on a processor, with a backward pass of its own.

It knows nothing of layers, settings or networks: arrays in, arrays out.

Shapes: B batch, T time, V vocabulary, E input, H hidden, G the three gates (3 H), N the columns of the input's product (T B, or V).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["gru_scan"]


def gru_scan(
    x: Tensor, ids_BT: Tensor | None, h_BH: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, Tensor]:
    """The GRU over T symbols, by the equations of `GruLayer` with reset "after". Its gradients have none of their own.

    Args:
        x: what goes in: (B, T, E), or, with ids, every symbol's vector once, (V, E).
        ids_BT: the symbol at each place, 0 to V - 1; None: x has a vector for each place.
        h_BH: the state before the first symbol.
        weight_ih: (G, E), the gates in the order r, z, n; so the other weights.
        weight_hh: (G, H).
        bias_ih: (G,).
        bias_hh: (G,).

    Returns:
        The outputs (B, T, H) and the last of them, (B, H).
    """
    H = h_BH.shape[1]
    # What the recurrence adds to r and z whatever the state is goes with the input; n's stands inside the reset and goes apart.
    bias = torch.cat([bias_ih[2 * H :], bias_ih[: 2 * H] + bias_hh[: 2 * H]])
    ids_TB, x_NE = (None, x.transpose(0, 1).flatten(0, 1)) if ids_BT is None else (ids_BT.T.contiguous(), x)
    gates_GN = torch.addmm(bias[:, None], weight_ih.roll(H, 0), x_NE.T)
    h_THB: Tensor = GruScan.apply(gates_GN, ids_TB, h_BH.T, weight_hh, bias_hh[2 * H :])  # type: ignore[no-untyped-call]
    return h_THB.permute(2, 0, 1).contiguous(), h_THB[-1].T.contiguous()


class GruScan(torch.autograd.Function):
    """The loop and its gradient, with features along the rows and the batch along the columns.

    Source: the equations are Cho et al. 2014 with cuDNN's reset after the product; the gradient is theirs by hand. It is faster than
    PyTorch's own loop on a processor for three reasons: the gradient of the weight is one product over all of time and not the sum
    of T small ones; weight times state is quicker than state times weight; and with ids the input's product is made once a symbol of
    the vocabulary and not once a symbol of the text. The gates of the input go n, r, z and those of the recurrence r, z, n: so the
    gradients of both are rows that lie together in one array: n of the input, r, z, n of the recurrence.
    """

    @staticmethod
    def forward(ctx: Any, gates_GN: Tensor, ids_TB: Tensor | None, h_HB: Tensor, weight_hh: Tensor, bias_n: Tensor) -> Tensor:
        """The outputs (T, H, B).

        gates_GN has a column for each place, time first (column t B + b), or, with ids, one for each symbol.
        """
        H, B = h_HB.shape
        T = gates_GN.shape[1] // B if ids_TB is None else len(ids_TB)
        h = gates_GN.new_empty(T + 1, H, B)
        kept = gates_GN.new_empty(T, 4 * H, B)  # r, z, the recurrent product of n, n
        h[0] = h_HB
        x_n = gates_GN.new_empty(H, B)
        for t in range(T):
            product, rz, n_product, n = kept[t, : 3 * H], kept[t, : 2 * H], kept[t, 2 * H : 3 * H], kept[t, 3 * H :]
            if ids_TB is None:
                x = gates_GN[:, t * B : (t + 1) * B]
                x_n = x[:H]
                rz.copy_(x[H:])
            else:
                torch.index_select(gates_GN[:H], 1, ids_TB[t], out=x_n)
                torch.index_select(gates_GN[H:], 1, ids_TB[t], out=rz)
            n_product.copy_(bias_n[:, None])
            product.addmm_(weight_hh, h[t])
            rz.sigmoid_()
            torch.addcmul(x_n, rz[:H], n_product, out=n).tanh_()
            torch.lerp(n, h[t], rz[H:], out=h[t + 1])
        ctx.save_for_backward(h, kept, weight_hh, ids_TB)
        ctx.columns = gates_GN.shape[1]
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_THB: Tensor) -> tuple[Tensor, None, Tensor, Tensor, Tensor]:
        """The gradients of gates_GN, h_HB, weight_hh and bias_n."""
        h, kept, weight_hh, ids_TB = ctx.saved_tensors
        T, H, B = d_THB.shape
        weight_HG = weight_hh.T.contiguous()
        gathered = kept.new_empty(4 * H, T, B)
        step, carried, some = kept.new_empty(4 * H, B), kept.new_empty(H, B), kept.new_empty(H, B)
        d_n, d_r, d_z, d_product = step.split(H)
        d = kept.new_zeros(H, B)
        for t in range(T - 1, -1, -1):
            r, z, n_product, n = kept[t].split(H)
            d += d_THB[t]
            torch.mul(d, z, out=carried)
            torch.sub(d, carried, out=some)
            torch.ops.aten.tanh_backward.grad_input(some, n, grad_input=d_n)
            torch.mul(d_n, n_product, out=some)
            torch.ops.aten.sigmoid_backward.grad_input(some, r, grad_input=d_r)
            torch.sub(h[t], n, out=some).mul_(d)
            torch.ops.aten.sigmoid_backward.grad_input(some, z, grad_input=d_z)
            torch.mul(d_n, r, out=d_product)
            torch.addmm(carried, weight_HG, step[H:], out=d)
            gathered[:, t] = step
        flat = gathered.view(4 * H, T * B)
        d_weight = flat[H:] @ h[:-1].transpose(0, 1).reshape(H, T * B).T
        d_gates = flat[: 3 * H]
        if ids_TB is not None:
            d_gates = d_gates @ torch.nn.functional.one_hot(ids_TB.flatten(), ctx.columns).to(flat.dtype)
        return d_gates, None, d, d_weight, flat[3 * H :].sum(1)
