"""Cases of `tools/fuzz.py`: the native forms that learn, forward and backward, of arrays that lie in any way, beside the plain ones.

Shapes: B batch, T time, V vocabulary, E input, H hidden, K symbols that a convolution sees.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from escriba import _native
from escriba.model import fused, fused_mixer, fused_mlp, plain
from escriba.model.kernels import classic_scan
from fuzz_engine import Wrong, hold, random_size

Dice = np.random.Generator
Outputs = Sequence[Tensor]

GATES = {"tanh": 1, "relu": 1, "sigmoid": 1, "gru": 3, "lstm": 4}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5, torch.bfloat16: 0.06}
"""The largest difference, as a share of the largest number."""


def leaf(dice: Dice, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers from -1 to 1 in float64 that float32 has too, or bfloat16; of which a view with any strides may be made."""
    return torch.from_numpy(dice.uniform(-1, 1, shape)).to(torch.float32 if dtype == torch.float64 else dtype).double()


def strided(dice: Dice, array: Tensor) -> Tensor:
    """The same numbers, lying in another way: turned, within a larger array, or as they were."""
    way = int(dice.integers(4)) if array.numel() else 0
    if way == 1 and array.ndim > 1:
        order = [int(at) for at in dice.permutation(array.ndim)]
        back = [order.index(at) for at in range(array.ndim)]
        return array.permute(order).contiguous().permute(back)
    if way in {2, 3} and array.ndim:
        axis = int(dice.integers(array.ndim)) if way == 2 else array.ndim - 1
        shape = [size * 2 + 1 if at == axis else size for at, size in enumerate(array.shape)]
        larger = torch.full(shape, 7.0, dtype=torch.float64).to(array.dtype)
        begin = int(dice.integers(2))
        view = (
            larger.narrow(axis, begin, array.shape[axis])
            if way == 3
            else larger.narrow(axis, begin, 2 * array.shape[axis]).unfold(axis, 1, 2)[..., 0]
        )
        view.copy_(array)
        return view
    return array


def taken(array: Tensor, dtype: torch.dtype, dice: Dice | None) -> Tensor:
    """A leaf of the numbers, which wants a gradient, in a precision; with dice, lying in any way."""
    array = array.to(dtype)
    array = array.clone() if dice is None else strided(dice, array).detach()
    return array.requires_grad_()


def everything(outputs: Outputs, leaves: Sequence[Tensor], dice: Dice) -> list[Tensor | None]:
    """Outputs and the gradients of a sum that weighs them differently; the gradients of outputs lie in any way."""
    weights = [strided(dice, leaf(dice, *one.shape).to(one.dtype)) for one in outputs]
    learnt = [(one, weight) for one, weight in zip(outputs, weights, strict=True) if one.requires_grad]
    gradients = torch.autograd.grad([one for one, _ in learnt], leaves, [weight for _, weight in learnt], allow_unused=True)
    return [*(one.detach() for one in outputs), *gradients]


def hold_near(met: Sequence[Tensor | None], wanted: Sequence[Tensor | None], tolerance: float) -> None:
    """All arrays, to a share of the largest number."""
    for at, (one, other) in enumerate(zip(met, wanted, strict=True)):
        if other is None or other.numel() == 0:
            hold(one is None or one.numel() == 0 or not one.any(), "array", at, "is there")
            continue
        if one is None:
            raise Wrong(f"array {at} is none")
        hold(one.shape == other.shape, "array", at, "is of the shape", one.shape)
        away, most = float((one.double() - other).abs().max()), float(other.abs().max())
        hold(away <= tolerance * max(most, 0.1), "array", at, "is", away, "away, of", most)


def training(dice: Dice) -> str:
    """One of the native forms."""
    B, T, H = random_size(dice, 40), random_size(dice, 40), 16 * random_size(dice, 7)
    if B * T > 600:
        T = max(1, 600 // B)
    levels = _native.levels()
    level, dtype = levels[dice.integers(len(levels))], [torch.float64, torch.float32, torch.bfloat16][dice.integers(3)]
    threads, forms = int(dice.integers(1, 5)), [classic, classic, add_norm, mlp, mixer, causal_conv, gated_scan, gates]
    form = forms[dice.integers(len(forms))]
    before, threads_before = os.environ.get("ESCRIBA_NATIVE"), torch.get_num_threads()
    words = f"{form.__name__} {level} {dtype} B {B} T {T} H {H} threads {threads}"
    try:
        os.environ["ESCRIBA_NATIVE"] = level
        torch.set_num_threads(threads)
        words += form(dice, dtype, B, T, H)
    except Wrong as wrong:
        raise Wrong(f"{wrong}: {words}") from None
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}: {words}") from error
    finally:
        torch.set_num_threads(threads_before)
        os.environ.pop("ESCRIBA_NATIVE")
        if before is not None:
            os.environ["ESCRIBA_NATIVE"] = before
    return words


def classic(dice: Dice, dtype: torch.dtype, B: int, T: int, H: int) -> str:
    """The loops of rnn, gru and lstm, of vectors and of ids."""
    cell = list(GATES)[dice.integers(len(GATES))]
    G, E, V = GATES[cell] * H, random_size(dice, 20), random_size(dice, 30)
    ids = torch.from_numpy(dice.integers(0, V, (B, T))) if dice.random() < 0.5 else None
    numbers = [leaf(dice, V, E) if ids is not None else leaf(dice, B, T, E), leaf(dice, G, E) / 2, leaf(dice, G, H) / H**0.5, leaf(dice, G)]
    biases = [leaf(dice, G)] if cell == "gru" or dice.random() < 0.3 else []
    states = [leaf(dice, B, H) for _ in range(2 if cell == "lstm" else 1)]
    narrow = dtype == torch.bfloat16
    real = torch.float32 if narrow else dtype
    given = [taken(one, real, dice) for one in [*numbers, *biases, *states]]
    its_ids = None if ids is None else strided(dice, ids)
    known = 4 + len(biases)
    words = f" {cell} E {E} V {V} ids {ids is not None} biases {1 + len(biases)} strides {[one.stride() for one in given]}"
    gradients = int(dice.integers(2**31))
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        outputs, last = classic_scan(cell, given[0], its_ids, tuple(given[known:]), *given[1:known])
    met = everything([outputs, *last], given, np.random.default_rng(gradients))
    plain_given = [taken(one, torch.float64, None) for one in [*numbers, *biases, *states]]
    x = plain_given[0] if ids is None else plain_given[0][ids]
    wanted = everything(stepwise(cell, x, plain_given[known:], plain_given[1:known]), plain_given, np.random.default_rng(gradients))
    compared = 2 if narrow and cell == "relu" else len(wanted)  # rounded, a relu may open or shut
    try:
        hold_near(met[:compared], wanted[:compared], TOLERANCE[dtype])
    except Wrong as wrong:
        raise Wrong(f"{wrong}:{words}") from None
    return words


def stepwise(cell: str, x_BTE: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """The equations step by step: the outputs, and the last state."""
    weight_ih, weight_hh, bias, *bias_hh = weights
    outputs, (h, *others) = [], list(state)
    for x in x_BTE.unbind(1):
        gates_BG, product = x @ weight_ih.T + bias, h @ weight_hh.T + (bias_hh[0] if bias_hh else 0)
        if cell == "gru":
            (x_r, x_z, x_n), (h_r, h_z, h_n) = gates_BG.chunk(3, 1), product.chunk(3, 1)
            r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
            h = (1 - z) * torch.tanh(x_n + r * h_n) + z * h
        elif cell == "lstm":
            i, f, g, o = (gates_BG + product).chunk(4, 1)
            others = [torch.sigmoid(f) * others[0] + torch.sigmoid(i) * torch.tanh(g)]
            h = torch.sigmoid(o) * torch.tanh(others[0])
        else:
            h = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}[cell](gates_BG + product)
        outputs.append(h)
    return [torch.stack(outputs, 1), h, *others]


def both(
    dice: Dice,
    dtype: torch.dtype,
    native: Callable[..., object],
    known: Callable[..., object],
    stream: Sequence[Tensor],
    branch: Sequence[Tensor],
) -> str:
    """A fused form beside the plain one in float64. What is of the stream is float32 where the branch is bfloat16."""
    real = torch.float32 if dtype == torch.bfloat16 else dtype
    numbers = [*stream, *(one.to(dtype).double() for one in branch)]
    given = [*(taken(one, real, dice) for one in stream), *(taken(one, dtype, dice) for one in branch)]
    words = f" strides {[one.stride() for one in given]}"
    seed, results = int(dice.integers(2**31)), []
    for form, leaves in ((native, given), (known, [taken(one, torch.float64, None) for one in numbers])):
        outputs = form(*leaves)
        results.append(everything(outputs if isinstance(outputs, tuple) else (outputs,), leaves, np.random.default_rng(seed)))
    try:
        hold_near(results[0], results[1], TOLERANCE[dtype])
    except Wrong as wrong:
        raise Wrong(f"{wrong}:{words}") from None
    return words


def add_norm(dice: Dice, dtype: torch.dtype, B: int, T: int, H: int) -> str:
    """The sum and its norm, with a branch or none, some of it dropped."""
    x, weight, branch = leaf(dice, B, T, H), leaf(dice, H), leaf(dice, B, T, H)
    share, seed = float(dice.choice([0.0, 0.0, 0.3, 0.95])), int(dice.integers(2**62))
    if dice.random() < 0.3:
        dtype = torch.float32 if dtype == torch.bfloat16 else dtype
        return " alone" + both(
            dice, dtype, lambda x, w: fused.add_norm(x, None, w), lambda x, w: plain.add_norm(x, None, w), [x, weight], []
        )

    def known(x: Tensor, weight: Tensor, branch: Tensor) -> object:
        kept = fused.dropped(torch.ones_like(branch), share, seed).detach()
        return plain.add_norm(x, branch * kept, weight)

    return f" dropped {share} seed {seed}" + both(
        dice, dtype, lambda x, weight, branch: fused.add_norm(x, branch, weight, share, seed), known, [x, weight], [branch]
    )


def mlp(dice: Dice, _dtype: torch.dtype, B: int, T: int, _H: int) -> str:
    """The second branch, whole, which there is in bfloat16 alone."""
    H, M = 64 * int(dice.integers(1, 4)), 64 * int(dice.integers(1, 4))
    weights = [leaf(dice, H), leaf(dice, 2 * M, H) / H**0.5, leaf(dice, H, M) / M**0.5]
    share, seed = float(dice.choice([0.0, 0.0, 0.3, 0.95])), int(dice.integers(2**62))

    def known(x: Tensor, weight: Tensor, up: Tensor, down: Tensor, branch: Tensor) -> object:
        kept = fused.dropped(torch.ones_like(branch), share, seed).detach()
        sums, u = plain.add_norm(x, branch * kept, weight)
        return sums, plain.gated(u @ up.T) @ down.T

    def native(x: Tensor, weight: Tensor, up: Tensor, down: Tensor, branch: Tensor) -> object:
        return fused_mlp.add_norm_mlp(x, branch, weight, up, down, share, seed)

    return f" H {H} M {M} dropped {share} seed {seed}" + both(
        dice, torch.bfloat16, native, known, [leaf(dice, B, T, H), *weights], [leaf(dice, B, T, H)]
    )


def mixer(dice: Dice, _dtype: torch.dtype, B: int, T: int, _H: int) -> str:
    """The first branch, whole, which there is in bfloat16 alone; with a branch before it or none, and the second after it or none."""
    H, K = 64 * int(dice.integers(1, 4)), random_size(dice, 6)
    M = 64 * int(dice.integers(4))
    products = [leaf(dice, 2 * H, H) / H**0.5, leaf(dice, 2 * H, H) / H**0.5, leaf(dice, H, H) / H**0.5]
    of_mlp = [leaf(dice, H), leaf(dice, 2 * M, H) / H**0.5, leaf(dice, H, M) / M**0.5] if M else []
    arrays = [leaf(dice, H), products[0], leaf(dice, H, K), leaf(dice, H), products[1], leaf(dice, 2 * H), products[2]]
    states = [leaf(dice, B, K - 1, H), leaf(dice, B, H)]
    share, seed = float(dice.choice([0.0, 0.0, 0.3, 0.95])), int(dice.integers(2**62))
    before = [leaf(dice, B, T, H)] if dice.random() < 0.7 else []

    def known(x: Tensor, *others: Tensor) -> object:
        norm, up, taps, bias, ih, bias_ih, out, tail, h, *rest = others
        branch = rest[len(of_mlp) :]
        kept = fused.dropped(torch.ones_like(x), share, seed).detach()
        sums, u = plain.add_norm(x, branch[0] * kept if branch else None, norm)
        v, g = (u @ up.T).chunk(2, -1)
        y, last = plain.gated_scan(plain.causal_conv(v, tail, taps, bias) @ ih.T, bias_ih, h, g)
        result = y @ out.T
        if of_mlp:
            kept = fused.dropped(torch.ones_like(x), share, seed + 1).detach()
            sums, u = plain.add_norm(sums, result * kept, rest[0])
            result = plain.gated(u @ rest[1].T) @ rest[2].T
        return sums, result, last, torch.cat([tail, v], 1)[:, T:]

    def native(x: Tensor, *others: Tensor) -> object:
        weights, (tail, h), branch = fused_mixer.MixerWeights(*others[:7]), others[7:9], others[-1] if before else None
        mlp = fused_mlp.MlpWeights(*others[9:12]) if of_mlp else None
        return fused_mixer.add_norm_mixer(x, branch, weights, tail, h, share, (seed, seed + 1), mlp)

    return f" H {H} K {K} M {M} dropped {share} branch {bool(before)}" + both(
        dice, torch.bfloat16, native, known, [leaf(dice, B, T, H), *arrays, *states, *of_mlp], before
    )


def causal_conv(dice: Dice, dtype: torch.dtype, B: int, T: int, H: int) -> str:
    """The convolution, the time often shorter than what it sees."""
    K = random_size(dice, 9)
    arrays = [leaf(dice, B, K - 1, H), leaf(dice, H, K), leaf(dice, H)]
    return f" K {K}" + both(
        dice, dtype, lambda tail, w, b, v: fused.causal_conv(v, tail, w, b), lambda tail, w, b, v: plain.causal_conv(v, tail, w, b),
        arrays, [leaf(dice, B, T, H)],
    )  # fmt: skip


def gated_scan(dice: Dice, dtype: torch.dtype, B: int, T: int, H: int) -> str:
    """The recurrence of mingru and its gate; some times, halves of one array."""
    arrays = [leaf(dice, 2 * H), leaf(dice, B, H)]
    return both(
        dice, dtype, lambda b, h, p, g: fused.gated_scan(p, b, h, g), lambda b, h, p, g: plain.gated_scan(p, b, h, g),
        arrays, [leaf(dice, B, T, 2 * H), leaf(dice, B, T, H)],
    )  # fmt: skip


def gates(dice: Dice, dtype: torch.dtype, B: int, T: int, H: int) -> str:
    """Both gates, and what is dropped."""
    way = int(dice.integers(3))
    if way == 0:
        return " gated" + both(dice, dtype, fused.gated, plain.gated, [], [leaf(dice, B, T, 2 * H)])
    if way == 1:
        return " gate" + both(dice, dtype, fused.gate, plain.gate, [], [leaf(dice, B, T, H), leaf(dice, B, T, H)])
    share, seed = float(dice.choice([0.1, 0.5, 0.95])), int(dice.integers(2**62))

    def known(x: Tensor) -> Tensor:
        return x * fused.dropped(torch.ones(B, T, H, dtype=x.dtype), share, seed)

    return f" dropped {share}" + both(dice, dtype, lambda x: fused.dropped(x, share, seed), known, [], [leaf(dice, B, T, H)])
