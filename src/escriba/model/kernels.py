"""The loops over time of rnn, gru and lstm for training on a processor, with backward passes of their own.

`classic_scan` does them in the package's native code; `gru_scan` the GRU in PyTorch, where there is none. It knows nothing of layers,
settings or networks: arrays in, arrays out.

Shapes: B batch, T time, V vocabulary, E input, H hidden, G all gates (1, 3 or 4 H), N the columns of the input's product (T B, or V),
K and L: H and G padded to whole steps of the products.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from escriba._native import classic, level, library
from escriba.language import tr
from escriba.model.memory import address, lend_workers, lying, room

__all__ = ["classic_scan", "computes_in_bf16", "fused_lstm_does_bf16", "gru_scan", "has_classic_scan"]

Grad = Tensor | None


def has_classic_scan(weight_hh: Tensor) -> bool:
    """Whether `classic_scan` is for these weights: float32 on a processor, H a multiple of 16, products in float32 or bfloat16.

    There must be native code, of a level above the plain one, which PyTorch's own products surpass.
    """
    if weight_hh.device.type != "cpu" or weight_hh.dtype != torch.float32 or weight_hh.shape[1] % classic.LANES:
        return False
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return False
    return not torch.compiler.is_compiling() and library() is not None and level() != "plain"


def classic_scan(
    cell: str,
    x: Tensor,
    ids_BT: Grad,
    state: tuple[Tensor, ...],
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Grad = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The equations of `RnnLayer`, `GruLayer` with reset "after" or `LstmLayer` over T symbols. Its gradients have none of their own.

    Under autocast the products are made in bfloat16, and the outputs are; states and sums are float32 all the same. The numbers do not
    depend on the count of threads, but for the last digits of gradients that are summed over the batch.

    Args:
        cell: "gru", "lstm", or an rnn by its activation: "tanh", "relu", "sigmoid".
        x: what goes in: (B, T, E), or, with ids, every symbol's vector once, (V, E).
        ids_BT: the symbol at each place, 0 to V - 1; None: x has a vector for each place.
        state: h before the first symbol, (B, H); of lstm c too.
        weight_ih: (G, E), the gates in PyTorch's order.
        weight_hh: (G, H); H is a multiple of 16.
        bias_ih: (G,).
        bias_hh: (G,), added to the recurrent product.

    Returns:
        The outputs (B, T, H), and the state after the last.

    Raises:
        IndexError: an id is not that of a symbol.
    """
    if ids_BT is None:
        gates = torch.nn.functional.linear(x, weight_ih, bias_ih)
    else:
        ids_BT = checked(ids_BT, len(x))
        with torch.autocast("cpu", enabled=False):  # it is small, and each of its numbers is used many times
            gates = torch.addmm(bias_ih, x.to(weight_ih.dtype), weight_ih.T)
    state = tuple(one.to(weight_hh.dtype) for one in state)
    learns = any(one is not None and one.requires_grad for one in (gates, weight_hh, bias_hh, *state))
    if torch.is_grad_enabled() and learns:
        outputs, *last = ClassicScan.apply(cell, ids_BT, gates, weight_hh, bias_hh, *state)  # type: ignore[no-untyped-call]
    else:
        (outputs, *last), _ = scan_forward(cell, ids_BT, gates, weight_hh, bias_hh, *state, keep=False)
    return outputs, tuple(last)


def checked(ids_BT: Tensor, symbols: int) -> Tensor:
    """Ids as 64-bit numbers, once it is known that there is a symbol of each: native code looks them up unseen."""
    if ids_BT.numel():
        least, most = (int(one) for one in ids_BT.aminmax())
        if least < 0 or most >= symbols:
            raise IndexError(tr("there are ids from {least} to {most}, and {symbols} symbols", least=least, most=most, symbols=symbols))
    return ids_BT.long()


class ClassicScan(torch.autograd.Function):
    """The loop over time in native code. The gradient of the recurrent weights is one product over all of time, after the way back."""

    @staticmethod
    def forward(ctx: Any, cell: str, ids_BT: Grad, gates: Tensor, weight_hh: Tensor, bias_hh: Grad, *state: Tensor) -> tuple[Tensor, ...]:
        """The outputs (B, T, H) and the last state. `gates` is the input's product: (B, T, G), or (V, G) with ids."""
        outputs, kept = scan_forward(cell, ids_BT, gates, weight_hh, bias_hh, *state, keep=True)
        ctx.save_for_backward(ids_BT, weight_hh, *kept)
        ctx.cell, ctx.symbols, ctx.like = cell, None if ids_BT is None else len(gates), gates.dtype
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_BTH: Grad, *d_last: Grad) -> tuple[Grad, ...]:
        """The gradients of gates, weight_hh, bias_hh and the state."""
        ids_BT, weight_hh, states_TBK, kept = ctx.saved_tensors
        weight_hh, real, stored = weight_hh.contiguous(), weight_hh.dtype, states_TBK.dtype
        G, H = weight_hh.shape
        T, B = len(states_TBK) - 1, states_TBK.shape[1]
        d_gates_TBL = room(T, B, classic.padded(G), dtype=stored)
        d_gates_TBL[..., G:] = 0
        wants_gates, wants_weight, wants_bias, *wants_state = ctx.needs_input_grad[2:]
        d_table = weight_hh.new_empty(ctx.symbols, G) if wants_gates and ids_BT is not None else None
        d_x = room(B, T, G, dtype=stored) if wants_gates and ids_BT is None else None
        d_bias = weight_hh.new_empty(G)
        d_state = [weight_hh.new_empty(B, H) if wanted else None for wanted in wants_state]
        d_BTH = None if d_BTH is None else lying(d_BTH.to(stored))
        d_last = tuple(None if one is None else one.to(real).contiguous() for one in d_last)
        call = record(ctx.cell, ids_BT, weight_hh, states_TBK, B, T)
        set_array(call, "d_output", d_BTH, "d_outputs")
        set_array(call, "d_x", d_x)
        for name, one in zip(("d_last", "d_last_c", "d_first", "d_first_c"), (*pair(d_last), *pair(d_state)), strict=True):
            setattr(call, name, address(one))
        call.kept, call.d_gates, call.d_table, call.d_bias = address(kept), address(d_gates_TBL), address(d_table), address(d_bias)
        call.symbols = ctx.symbols or 0
        classic.backward(call)
        d_weight = None
        if wants_weight:
            with torch.autocast("cpu", enabled=False):
                d_weight = (d_gates_TBL.flatten(0, 1)[:, :G].T @ states_TBK[:T].flatten(0, 1)[:, :H]).to(real)
        d_gates = d_x if d_table is None else d_table
        return None, None, None if d_gates is None else d_gates.to(ctx.like), d_weight, d_bias if wants_bias else None, *d_state


def scan_forward(
    cell: str, ids_BT: Grad, gates: Tensor, weight_hh: Tensor, bias_hh: Grad, *state: Tensor, keep: bool
) -> tuple[tuple[Tensor, ...], tuple[Grad, ...]]:
    """The loop forward: outputs and last state, and, to keep for the way back, the states (T + 1, B, K) and what the cell wants kept."""
    stored = torch.bfloat16 if torch.is_autocast_enabled("cpu") and weight_hh.dtype == torch.float32 else weight_hh.dtype
    (B, H), T = state[0].shape, gates.shape[1] if ids_BT is None else ids_BT.shape[1]
    states_TBK = room(T + 1 if keep else 2, B, classic.padded(H), dtype=stored)
    states_TBK[..., H:] = 0
    kept = room(T + 1, H, B, classic.KEPT.get(cell, 0), dtype=stored) if keep else None
    outputs_BTH = room(B, T, H, dtype=stored)
    last = [torch.empty_like(one, memory_format=torch.contiguous_format) for one in state]
    gates = lying(gates.to(stored if ids_BT is None else weight_hh.dtype))
    state = tuple(one.contiguous() for one in state)
    weight_hh, bias_hh = weight_hh.contiguous(), None if bias_hh is None else bias_hh.contiguous()
    call = record(cell, ids_BT, weight_hh, states_TBK, B, T)
    if ids_BT is None:
        set_array(call, "x", gates)
    else:
        call.x, call.x_row, call.symbols = gates.data_ptr(), gates.stride(0), len(gates)
    set_array(call, "output", outputs_BTH, "outputs")
    for name, one in zip(("first", "first_c", "last", "last_c"), (*pair(state), *pair(last)), strict=True):
        setattr(call, name, address(one))
    call.bias, call.kept, call.keep = address(bias_hh), address(kept), int(keep)
    classic.forward(call)
    return (outputs_BTH, *last), (states_TBK, kept)


def record(cell: str, ids_BT: Grad, weight_hh: Tensor, states_TBK: Tensor, B: int, T: int) -> classic.ClassicCall:
    """What calls forward and backward have in common."""
    lend_workers()
    call = classic.ClassicCall(cell=classic.CELLS[cell], numbers=classic.NUMBERS[str(states_TBK.dtype).removeprefix("torch.")])
    call.threads, call.rows, call.time, call.hidden = torch.get_num_threads(), B, T, weight_hh.shape[1]
    call.weight, call.states = weight_hh.data_ptr(), states_TBK.data_ptr()
    if ids_BT is not None:
        call.ids, call.ids_row, call.ids_time = ids_BT.data_ptr(), ids_BT.stride(0), ids_BT.stride(1)
    return call


def set_array(call: classic.ClassicCall, name: str, array_BT: Grad, field: str = "") -> None:
    """Tells a call where an array lies, and how its rows and times are apart."""
    if array_BT is not None:
        setattr(call, field or name, array_BT.data_ptr())
        setattr(call, f"{name}_row", array_BT.stride(0))
        setattr(call, f"{name}_time", array_BT.stride(1))


def pair(arrays: Any) -> tuple[Any, Any]:
    """h's and c's, with None for a c that is not there."""
    return arrays[0], arrays[1] if len(arrays) > 1 else None


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


def computes_in_bf16(x: Tensor) -> bool:
    """Whether products with x are made in bfloat16 on the processor."""
    if x.device.type != "cpu":
        return False
    return x.dtype == torch.bfloat16 or (torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16)


@functools.cache
def fused_lstm_does_bf16() -> bool:
    """Whether PyTorch's LSTM loop runs in bfloat16 on this processor: oneDNN has none without AVX512 or AMX. Tried once, on zeros."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", torch.bfloat16):
        weights = [torch.zeros(32, 8, requires_grad=True), torch.zeros(32, 8), torch.zeros(32), torch.zeros(32)]
        try:
            outputs, _, _ = torch.lstm(torch.zeros(1, 2, 8), [torch.zeros(1, 1, 8)] * 2, weights, True, 1, 0.0, True, False, True)
            outputs.float().sum().backward()  # type: ignore[no-untyped-call]
        except RuntimeError:
            return False
    return True
