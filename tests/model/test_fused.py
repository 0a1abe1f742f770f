"""A block's elementwise work in native code: gradients, the numbers of the plain forms, what is dropped, threads, and where it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from branches import descend
from torch import Tensor
from torch.autograd import gradcheck

from escriba import _native
from escriba.model import fused, plain
from escriba.model.language_model import LanguageModel

pytestmark = pytest.mark.skipif(_native.library() is None, reason="there is no native code")

SHAPES = {"ordinary": (2, 19), "one symbol": (3, 1), "shorter than the convolution": (2, 2), "one row": (1, 33), "one of each": (1, 1)}
SIZE = 16
"""H where gradients are checked number by number."""


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def shape(request: pytest.FixtureRequest) -> tuple[int, int]:
    """B and T."""
    B, T = request.param
    return B, T


class Numbers:
    """Leaves of random numbers, the same in each test."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        self.dtype, self.generator = dtype, torch.Generator().manual_seed(3)

    def __call__(self, *size: int, dtype: torch.dtype | None = None, wide: float = 2.0) -> Tensor:
        """Between -wide and wide."""
        values = torch.empty(size, dtype=torch.float64).uniform_(-wide, wide, generator=self.generator)
        return values.to(dtype or self.dtype).requires_grad_()


def right(function: Callable[..., Any], *inputs: Any) -> bool:
    """Whether the gradients are those that small steps show; of many numbers, of random sums of them."""
    many = sum(one.numel() for one in inputs if isinstance(one, Tensor)) > 1000
    return bool(gradcheck(function, inputs, eps=1e-6, atol=1e-6, rtol=1e-5, fast_mode=many))


def test_gradients_of_the_norm(shape: tuple[int, int]) -> None:
    """Of stream, branch and weight: with a branch, with one of which a part is dropped, and with none."""
    n, size = Numbers(), (*shape, SIZE)
    x, branch, weight = n(*size), n(*size), n(SIZE)
    assert right(fused.add_norm, x, branch, weight)
    assert right(fused.add_norm, x, branch, weight, 0.4, 7)
    assert right(lambda x, weight: fused.add_norm(x, None, weight), x, weight)
    assert right(lambda x, branch, weight: fused.add_norm(x, branch, weight)[0], x, branch, weight)
    assert right(lambda x, branch, weight: fused.add_norm(x, branch, weight, 0.4, 7)[1], x, branch, weight)


@pytest.mark.parametrize("taps", [1, 2, 4, 7])
def test_gradients_of_the_convolution(shape: tuple[int, int], taps: int) -> None:
    """Of what enters, the tail, weight and bias; what enters is half of a larger array."""
    n, (B, T) = Numbers(), shape
    inputs = (n(B, T, 2 * SIZE), n(B, taps - 1, SIZE), n(SIZE, taps), n(SIZE))
    assert right(lambda v, *others: fused.causal_conv(v.chunk(2, -1)[0], *others), *inputs)


def test_gradients_of_the_scan(shape: tuple[int, int]) -> None:
    """Of products, bias, state and gate, from all outputs, from the outputs alone and from the last state alone."""
    n, (B, T) = Numbers(), shape
    inputs = (n(B, T, 2 * SIZE), n(2 * SIZE), n(B, SIZE), n(B, T, 2 * SIZE))

    def scan(p: Tensor, bias: Tensor, h: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return fused.gated_scan(p, bias, h, g.chunk(2, -1)[1])

    assert right(scan, *inputs)
    assert right(lambda *inputs: scan(*inputs)[0], *inputs)
    assert right(lambda *inputs: scan(*inputs)[1], *inputs)


def test_gradients_of_the_gates(shape: tuple[int, int]) -> None:
    """Of both halves, of two arrays, and through what is dropped."""
    n, size = Numbers(), (*shape, SIZE)
    assert right(fused.gated, n(*shape, 2 * SIZE))
    assert right(fused.gate, n(*size), n(*size))
    assert right(lambda x: fused.dropped(x, 0.4, 9), n(*size))


def both(name: str, inputs: list[Tensor], *, exact: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and gradients of a form in native code, and of the plain form in float64 of the same numbers."""
    found = []
    for forms, given in ((fused, inputs), (plain, [one.detach().double().requires_grad_() for one in inputs])):
        outputs = getattr(forms, name)(*given)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        n = Numbers()
        weights = [n(*one.shape, wide=1.0).detach().to(one.dtype if exact else torch.bfloat16) for one in outputs]
        gradients = torch.autograd.grad(outputs, given, [one.to(out.dtype) for one, out in zip(weights, outputs, strict=True)])
        found.append([*outputs, *gradients])
    return found[0], found[1]


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
@pytest.mark.parametrize("size", [16, 80, 256])
@pytest.mark.parametrize("name", ["add_norm", "causal_conv", "gated_scan", "gated", "gate"])
def test_they_give_the_plain_forms_numbers(level: str, name: str, size: int, stored: torch.dtype) -> None:
    """On each level: to float32's rounding, or, of what is stored in bfloat16, to bfloat16's."""
    n, B, T, K = Numbers(torch.float32), 3, 37, 4
    branch = n(B, T, size, dtype=stored)
    inputs = {
        "add_norm": [n(B, T, size), branch, n(size)],
        "causal_conv": [branch, n(B, K - 1, size), n(size, K), n(size)],
        "gated_scan": [n(B, T, 2 * size, dtype=stored), n(2 * size), n(B, size), branch],
        "gated": [n(B, T, 2 * size, dtype=stored)],
        "gate": [n(B, T, size, dtype=stored), branch],
    }
    met, wanted = both(name, inputs[name], exact=stored == torch.float32)
    for one, other in zip(met, wanted, strict=True):
        assert one.shape == other.shape
        within = 2.0**-8 if one.dtype == torch.bfloat16 else 3e-6
        assert (one.double() - other).abs().max() <= within * other.abs().max()
        assert other.abs().max() > 1e-3


def test_extreme_gates_are_finite(level: str) -> None:
    """Products of thousands saturate the gates; nothing overflows, forward or backward."""
    n = Numbers(torch.float32)
    p, bias, h, g = n(2, 20, 64, wide=9e3), n(64), n(2, 32), n(2, 20, 32, wide=9e3)
    y, last = fused.gated_scan(p, bias, h, g)
    gradients = torch.autograd.grad(y.sum() + last.sum(), [p, bias, h, g])
    assert all(one.isfinite().all() for one in (y, last, *gradients))


def test_a_number_that_is_none_is_passed_on(level: str) -> None:
    """So that training sees that a step was not sound."""
    p = torch.zeros(1, 3, 32)
    p[0, 1, 5] = torch.nan
    y, last = fused.gated_scan(p, torch.zeros(32), torch.zeros(1, 16), torch.ones(1, 3, 16))
    assert y[0, 1:, 5].isnan().all()
    assert last[0, 5].isnan()
    assert int(y.isnan().sum()) == 2


def test_what_is_dropped(level: str) -> None:
    """The share of places that the seed says, others with another seed, the others larger; backward, the same places.

    A share that is off by 5 standard deviations has a chance of one in a million.
    """
    x, share = torch.ones(64, 50, 80, requires_grad=True), 0.3
    y = fused.dropped(x, share, 11)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, y.detach())
    assert y.detach().unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    dropped = (y == 0).double()
    assert abs(float(dropped.mean()) - share) < 5 * (share * (1 - share) / y.numel()) ** 0.5
    for dim in (0, 1, 2):  # neither rows nor columns are alike
        assert abs(float((dropped * dropped.roll(1, dim)).mean()) - share**2) < 5 * (share**2 / y.numel()) ** 0.5
    for seed in (12, 11 + 2**32, 11 + 2**61):
        other = (fused.dropped(x, share, seed) == 0).double()
        assert abs(float((dropped * other).mean()) - share**2) < 5 * (share**2 / y.numel()) ** 0.5


def test_every_level_drops_the_same(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dropped is a function of seed and place alone; the branch of a norm drops as `dropped` does."""
    x = torch.ones(5, 7, 48)
    met = fused.dropped(x, 0.5, 2**60 + 5)
    torch.testing.assert_close(fused.add_norm(torch.zeros_like(x), x, torch.ones(48), 0.5, 2**60 + 5)[0], met)
    monkeypatch.setenv("ESCRIBA_NATIVE", "plain")
    torch.testing.assert_close(fused.dropped(x, 0.5, 2**60 + 5), met, rtol=0, atol=0)


def work_of_all(dtype: torch.dtype) -> list[Tensor]:
    """Outputs and gradients of every form on one set of numbers."""
    n, B, T, size = Numbers(torch.float32), 5, 70, 80
    x, v, g, p = n(B, T, size), n(B, T, size, dtype=dtype), n(B, T, size, dtype=dtype), n(B, T, 2 * size, dtype=dtype)
    weight, taps, tail, bias, h = n(size), n(size, 4), n(B, 3, size), n(2 * size), n(B, size)
    x_1, u = fused.add_norm(x, v, weight, 0.2, 4)
    c = fused.causal_conv(v, tail, taps, weight)
    y, last = fused.gated_scan(p, bias, h, g)
    outputs = [x_1, u, c, y, last, fused.gated(p), fused.gate(v, g)]
    return [*outputs, *torch.autograd.grad(outputs, [x, v, g, p, weight, taps, tail, bias, h], [one.detach() for one in outputs])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
def test_threads_change_no_bit(dtype: torch.dtype, threads: Callable[[int], None]) -> None:
    """Sums are made in an order that does not depend on them."""
    alone = work_of_all(dtype)
    threads(2)
    for one, other in zip(alone, work_of_all(dtype), strict=True):
        assert torch.equal(one, other)


def test_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor, in float32 or under autocast to bfloat16, with a multiple of 16 units."""
    x = torch.zeros(2, 3, 32)
    assert fused.usable(x)
    assert not fused.usable(x[..., :24])
    assert not fused.usable(x.double())
    assert not fused.usable(x.bfloat16())
    assert not fused.usable(x.to("meta"))
    assert not fused.usable(x[:0])
    with torch.autocast("cpu", torch.bfloat16):
        assert fused.usable(x)
        assert fused.usable(x.bfloat16())
    with torch.autocast("cpu", torch.float16):
        assert not fused.usable(x)
    monkeypatch.setenv("ESCRIBA_NATIVE", "off")
    assert not fused.usable(x)


@pytest.mark.parametrize("cell", ["mingru", "gru", "ngram"])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_a_network_learns_as_with_the_plain_forms(cell: str, bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty equal steps of a stack end in the same losses: to 1e-4 in float32, and where products are bfloat16 to one in fifty."""
    ids = torch.arange(50 * 24 + 1) % 11 * torch.arange(1, 4)[:, None] % 11

    def run() -> list[float]:
        net = LanguageModel(11, cell=cell, residual=True, embedding_dim=32, hidden_size=32, num_layers=2, embedding_scale=1.0)
        return descend(net, [ids[:, at : at + 25] for at in range(0, 50 * 24, 24)], rate=0.3, bf16=bf16)

    met = run()
    monkeypatch.setenv("ESCRIBA_NATIVE", "off")
    wanted = run()
    assert met[-1] < 0.7 * met[0]
    assert met == pytest.approx(wanted, rel=0.02 if bf16 else 1e-4)


@pytest.mark.parametrize("options", [{}, {"conv": None}, {"conv": 1}, {"mlp": None}, {"conv": 7, "mlp": 1}], ids=str)
def test_a_network_reads_in_pieces_as_in_one(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The law of layers, with nothing to learn: logits and state do not depend on where a text is cut, and are the plain forms'."""
    net = LanguageModel(9, cell="mingru", residual=True, embedding_dim=16, hidden_size=32, num_layers=2, **options).eval()
    ids = torch.randint(9, (2, 21), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole, after = net(ids)
        pieces, state = [], None
        for piece in ids.split([1, 2, 5, 1, 12], 1):
            logits, state = net(piece, state)
            pieces.append(logits)
        monkeypatch.setenv("ESCRIBA_NATIVE", "off")
        expected, _ = net(ids)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(expected, whole, rtol=1e-5, atol=1e-6)
    assert state is not None
    torch.testing.assert_close(state, after, rtol=1e-5, atol=1e-6)


def test_dropout_repeats_with_the_generator() -> None:
    """Two runs of one seed drop the same, and another seed drops otherwise."""

    def logits(seed: int) -> Tensor:
        net = LanguageModel(9, cell="mingru", residual=True, embedding_dim=16, hidden_size=16, num_layers=2, dropout=0.3).train()
        net.dropout.generator = torch.Generator().manual_seed(seed)
        found: Tensor = net(torch.arange(9)[None])[0]
        return found

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))


def test_weights_may_lie_in_any_way() -> None:
    """A norm's weight and biases that are every second number of an array give what they give alone."""
    n, size = Numbers(torch.float32), (2, 5, SIZE)
    x, p, apart, apart_2 = n(*size), n(2, 5, 2 * SIZE), n(2 * SIZE), n(4 * SIZE)
    tail, taps, h = n(2, 2, SIZE), n(SIZE, 3), n(2, SIZE)
    for forms in (
        lambda weight, _: fused.add_norm(x, x, weight),
        lambda bias, _: (fused.causal_conv(x, tail, taps, bias),),
        lambda _, bias: fused.gated_scan(p, bias, h, x),
    ):
        met, wanted = forms(apart[::2], apart_2[::2]), forms(apart[::2].contiguous(), apart_2[::2].contiguous())
        for one, other in zip(met, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
