"""A block's first branch, and both, as one piece of native code: their numbers and gradients, threads, and where it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from branches import assert_learns, assert_near, numbers_of, results
from torch import Tensor

from escriba import _native
from escriba.model import fused, fused_mixer, fused_mlp, plain
from escriba.model.fused_mixer import MixerWeights
from escriba.model.fused_mlp import MlpWeights

pytestmark = pytest.mark.skipif(_native.library() is None, reason="there is no native code")

SHAPES = {
    "ordinary": (4, 50, 64, 4), "one place": (1, 1, 64, 4), "more than a unit": (3, 200, 64, 4), "shorter than seen": (2, 3, 128, 7),
    "sees the present": (2, 65, 64, 1), "whole chunks": (2, 128, 64, 2),
    "several short rows together": (50, 45, 64, 4), "the last ones fewer": (70, 9, 128, 2), "short rows, shorter than seen": (40, 2, 64, 7),
}  # fmt: skip
"""B, T, H, K."""
Mix = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def numbers(request: pytest.FixtureRequest) -> list[Tensor]:
    """Stream, branch, the weights, tail and state; the weights of the second branch; then the gradients of the four that come out."""
    B, T, H, K = request.param
    sizes = [(B, T, H), (B, T, H), (H,), (2 * H, H), (H, K), (H,), (2 * H, H), (2 * H,), (H, H), (B, K - 1, H), (B, H)]
    of_mlp = [(H,), (4 * H, H), (H, 2 * H)]
    return numbers_of([*sizes, *of_mlp, (B, T, H), (B, T, H), (B, H), (B, K - 1, H)], norms=(2, 11), matrices=(3, 6, 8, 12, 13))


def in_pieces(
    x: Tensor,
    branch: Tensor | None,
    weights: MixerWeights,
    tail: Tensor,
    h: Tensor,
    dropout: float = 0.0,
    seeds: tuple[int, int] = (0, 0),
    mlp: MlpWeights | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same by the pieces of `fused`, or in float64 by the plain ones."""
    forms, linear = plain if x.dtype == torch.float64 else fused, torch.nn.functional.linear
    sums, u = forms.add_norm(x, branch, weights.norm, dropout, seeds[0])
    v, g = linear(u, weights.weight_in).chunk(2, -1)
    before, T = weights.conv_weight.shape[1] - 1, x.shape[1]
    after = torch.cat([tail[:, T:], v[:, max(0, T - before) :].to(tail.dtype)], 1) if before else tail
    products = linear(forms.causal_conv(v, tail, weights.conv_weight, weights.conv_bias), weights.weight_ih)
    y, last = forms.gated_scan(products, weights.bias, h, g)
    out = linear(y, weights.weight_out)
    if mlp is not None:
        sums, u = forms.add_norm(sums, out, mlp.norm, dropout, seeds[1])
        out = linear(forms.gated(linear(u, mlp.up)), mlp.down)
    return sums, out, last, after


def all_of(
    function: Mix,
    numbers: list[Tensor],
    *options: Any,
    wanted: Sequence[int] = range(4),
    branch: bool = True,
    mlp: bool = False,
) -> list[Tensor]:
    """What comes out, and the gradients of what goes in."""
    stored = numbers[1] if numbers[1].dtype == torch.float64 else numbers[1].bfloat16()
    of_mlp = numbers[11:14] if mlp else []

    def form(x: Tensor, branch: Tensor | None, *others: Tensor) -> Sequence[Tensor]:
        settings = options or (0.0, (0, 0))
        return function(x, branch, MixerWeights(*others[:7]), *others[7:9], *settings, MlpWeights(*others[9:]) if mlp else None)

    return results(form, [numbers[0], stored if branch else None, *numbers[2:11], *of_mlp], numbers[14:], wanted)


@pytest.mark.parametrize("mlp", [False, True], ids=["alone", "and the second"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_numbers_of_its_pieces(level: str, numbers: list[Tensor], dropout: float, mlp: bool) -> None:
    """Whatever comes out, and every gradient; the same places are dropped; with a branch and with none."""
    for branch in (True, False):
        expected = all_of(in_pieces, numbers, dropout, (9, 5), branch=branch, mlp=mlp)
        met = all_of(fused_mixer.add_norm_mixer, numbers, dropout, (9, 5), branch=branch, mlp=mlp)
        assert_near(met, expected, 0.02)
        assert mlp or torch.equal(met[0], expected[0])


@pytest.mark.parametrize("wanted", [range(4), [0], [1], [2], [3]], ids=["all", "sum", "branch", "state", "tail"])
@pytest.mark.parametrize("mlp", [False, True], ids=["alone", "and the second"])
def test_the_numbers_of_float64(level: str, numbers: list[Tensor], wanted: Sequence[int], mlp: bool) -> None:
    """As near as bfloat16 is, whichever gradient comes back; exactly none where nothing comes back."""
    exact = all_of(in_pieces, [one.double() for one in numbers], wanted=wanted, mlp=mlp)
    assert_near(all_of(fused_mixer.add_norm_mixer, numbers, wanted=wanted, mlp=mlp), exact, 0.03)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_threads_change_no_bit(numbers: list[Tensor], count: int, threads: Callable[[int], None]) -> None:
    """Whoever makes a part, it is made in one order."""
    alone = all_of(fused_mixer.add_norm_mixer, numbers, 0.2, (5, 6), mlp=True)
    threads(count)
    for one, other in zip(alone, all_of(fused_mixer.add_norm_mixer, numbers, 0.2, (5, 6), mlp=True), strict=True):
        assert torch.equal(one, other)


def test_a_row_knows_no_other(numbers: list[Tensor]) -> None:
    """A number that is none stays in its row, and before it nothing is touched."""
    time = min(1, numbers[0].shape[1] - 1)
    numbers[0][0, time, 3] = float("nan")
    _, out, last, _ = all_of(fused_mixer.add_norm_mixer, numbers, mlp=True)[:4]
    assert not out[1:].isnan().any()
    assert not out[0, :time].isnan().any()
    assert out[0, time].isnan().all()
    assert last[0].isnan().all()


def test_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the other branch is, with a row at least for every thread."""
    monkeypatch.setattr(fused_mlp, "LEVEL", _native.level())
    x, weight = torch.zeros(2, 3, 64), torch.zeros(64, 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not fused_mixer.suits(x, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert fused_mixer.suits(x, weight)
        assert not fused_mixer.suits(x[:1], weight)
        assert not fused_mixer.suits(x[..., :32], weight[:32, :32])


@pytest.mark.parametrize(("options", "whole"), [({}, 40), ({"conv": 1}, 40), ({"mlp": None}, 40), ({"conv": None}, 0)], ids=str)
def test_a_network_learns_as_with_the_pieces(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], whole: int) -> None:
    """Twenty equal steps of a stack with dropout, the state carried, end in the same losses, to one in fifty."""
    assert_learns(monkeypatch, fused_mixer, "add_norm_mixer", whole, **options)
