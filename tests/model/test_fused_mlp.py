"""A block's second branch as one piece of native code: its numbers and gradients, threads, and where it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from branches import assert_learns, assert_near, numbers_of, results
from torch import Tensor

from escriba import _native
from escriba.model import fused, fused_mlp, plain

pytestmark = pytest.mark.skipif(_native.library() is None, reason="there is no native code")

SHAPES = {
    "ordinary": (4, 50, 64, 128), "one place": (1, 1, 64, 64), "more than a unit": (3, 200, 128, 64), "whole chunks": (2, 64, 64, 192),
}  # fmt: skip
"""B, T, H, M."""


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def numbers(request: pytest.FixtureRequest) -> list[Tensor]:
    """Stream, branch, norm, both weights; and the gradients of what comes out."""
    B, T, H, M = request.param
    return numbers_of([(B, T, H), (B, T, H), (H,), (2 * M, H), (H, M), (B, T, H), (B, T, H)], norms=(2,), matrices=(3, 4))


Branch = Callable[..., tuple[Tensor, Tensor]]


def in_pieces(
    x: Tensor, branch: Tensor, norm: Tensor, up: Tensor, down: Tensor, dropout: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The same by the pieces of `fused`, or in float64 by the plain ones."""
    forms = plain if x.dtype == torch.float64 else fused
    sums, u = forms.add_norm(x, branch, norm, dropout, seed)
    return sums, torch.nn.functional.linear(forms.gated(torch.nn.functional.linear(u, up)), down)


def all_of(function: Branch, numbers: list[Tensor], *options: Any, wanted: Sequence[int] = (0, 1)) -> list[Tensor]:
    """What comes out, and the gradients of what goes in."""
    stored = numbers[1] if numbers[1].dtype == torch.float64 else numbers[1].bfloat16()
    return results(lambda *given: function(*given, *options), [numbers[0], stored, *numbers[2:5]], numbers[5:], wanted)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_numbers_of_its_pieces(level: str, numbers: list[Tensor], dropout: float) -> None:
    """Sum, branch and every gradient; the same places are dropped; only gradients of weights are finer, which the pieces round."""
    met = all_of(fused_mlp.add_norm_mlp, numbers, dropout, 9)
    assert_near(met, all_of(in_pieces, numbers, dropout, 9), 0.012)
    assert torch.equal(met[0], all_of(in_pieces, numbers, dropout, 9)[0])


@pytest.mark.parametrize("wanted", [(0, 1), (0,), (1,)], ids=["both", "only the sum", "only the branch"])
def test_the_numbers_of_float64(level: str, numbers: list[Tensor], wanted: Sequence[int]) -> None:
    """As near as bfloat16 is, whichever gradient comes back; exactly none where nothing comes back."""
    exact = all_of(in_pieces, [one.double() for one in numbers], wanted=wanted)
    assert_near(all_of(fused_mlp.add_norm_mlp, numbers, wanted=wanted), exact, 0.03)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_threads_change_no_bit(numbers: list[Tensor], count: int, threads: Callable[[int], None]) -> None:
    """Whoever makes a part, it is made in one order."""
    alone = all_of(fused_mlp.add_norm_mlp, numbers, 0.2, 5)
    threads(count)
    for one, other in zip(alone, all_of(fused_mlp.add_norm_mlp, numbers, 0.2, 5), strict=True):
        assert torch.equal(one, other)


def test_a_number_that_is_none_is_passed_on(numbers: list[Tensor]) -> None:
    """In its own row, and nowhere else going forward."""
    numbers[0][0, 0, 3] = float("nan")
    sums, out, *_ = all_of(fused_mlp.add_norm_mlp, numbers)
    assert out[0, 0].isnan().all()
    assert not out.flatten(0, 1)[1:].isnan().any()
    assert int(sums.isnan().sum()) == 1


def test_arrays_may_lie_in_any_way(numbers: list[Tensor]) -> None:
    """Turned weights and a stream within a larger one give what they give alone."""
    x, branch, norm, up, down = numbers[:5]
    apart = torch.cat([x, x], -1)[..., : x.shape[-1]]
    with torch.autocast("cpu", torch.bfloat16):
        expected = fused_mlp.add_norm_mlp(x, branch, norm, up, down)
        met = fused_mlp.add_norm_mlp(apart, branch, norm, up.T.contiguous().T, down.T.contiguous().T)
    assert all(torch.equal(one, other) for one, other in zip(met, expected, strict=True))


def test_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under autocast to bfloat16, with whole sizes, on the level whose products are fast."""
    x, down = torch.zeros(2, 3, 64), torch.zeros(64, 128)
    monkeypatch.setattr(fused_mlp, "LEVEL", _native.level())
    assert not fused_mlp.suits(x, down)
    with torch.autocast("cpu", torch.bfloat16):
        assert fused_mlp.suits(x, down)
        assert not fused_mlp.suits(x[..., :32], torch.zeros(32, 128))
        assert not fused_mlp.suits(x, torch.zeros(64, 100))
        assert not fused_mlp.suits(x.double(), down)
        assert not fused_mlp.suits(x, down.double())
        assert not fused_mlp.suits(x[:0], down)
        monkeypatch.setattr(fused_mlp, "LEVEL", "another")
        assert not fused_mlp.suits(x, down)
        monkeypatch.setenv("ESCRIBA_NATIVE", "off")
        assert not fused_mlp.suits(x, down)


def test_a_network_learns_as_with_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty equal steps of a stack with dropout, the state carried, end in the same losses, to one in fifty."""
    assert_learns(monkeypatch, fused_mlp, "add_norm_mlp", 40, cell="gru")
