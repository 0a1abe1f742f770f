"""The parts of a block in plain PyTorch: against sums by hand, and their gradients against differences, in float64."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor

from escriba.model import plain
from escriba.model.plain import add_norm, causal_conv, doubling, gate, gated, gated_scan, linear_scan, scan_values, sequential

B, T, H = 3, 11, 5


def some(*shape: int, seed: int = 1) -> Tensor:
    """Random numbers that ask for a gradient."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 100])
def test_every_way_to_scan_is_the_recurrence(length: int) -> None:
    """Step by step and by doubling, h_t = a_t h_(t-1) + b_t, at every length; also where a is 0 or 1."""
    a, b, h = some(B, length, H).detach().sigmoid(), some(B, length, H, seed=2).detach(), some(B, H, seed=3).detach()
    a[:, ::3, 0], a[:, 1::3, 1] = 0.0, 1.0
    wanted, now = [], h
    for t in range(length):
        now = a[:, t] * now + b[:, t]
        wanted.append(now)
    for way in (sequential, doubling, linear_scan):
        torch.testing.assert_close(way(a, b, h), torch.stack(wanted, 1), rtol=0, atol=1e-12)


def test_gradients_against_differences() -> None:
    """Of the scan, the convolution, the norm and the gates."""
    check = torch.autograd.gradcheck
    assert check(linear_scan, (some(B, T, H), some(B, T, H, seed=2), some(B, H, seed=3)))
    assert check(linear_scan, (some(B, 1, H), some(B, 1, H, seed=2), some(B, H, seed=3)))
    assert check(gated_scan, (some(B, T, 2 * H), some(2 * H, seed=2), some(B, H, seed=3), some(B, T, H, seed=4)))
    for seen in (1, 2, 4, T + 3):
        assert check(causal_conv, (some(B, T, H), some(B, seen - 1, H, seed=2), some(H, seen, seed=3), some(H, seed=4)))
    assert check(add_norm, (some(B, T, H), some(B, T, H, seed=2), some(H, seed=3)))
    assert check(lambda x, weight: add_norm(x, None, weight), (some(B, T, H), some(H, seed=3)))
    assert check(lambda *given: add_norm(*given, 0.4, 7), (some(B, T, H), some(B, T, H, seed=2), some(H, seed=3)))
    assert check(gated, (some(B, T, 2 * H),))
    assert check(gate, (some(B, T, H), some(B, T, H, seed=2)))


def test_gradients_of_the_scan_by_doubling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on a processor the gradient is a scan by doubling that runs backward: the same numbers."""
    leaves = (some(B, T, H), some(B, T, H, seed=2), some(B, H, seed=3))
    weights = some(B, T, H, seed=4).detach()
    wanted = torch.autograd.grad((linear_scan(*leaves) * weights).sum(), leaves)
    monkeypatch.setattr(plain, "is_processor", lambda array: False)
    monkeypatch.setattr(plain, "scan_values", doubling)
    found = torch.autograd.grad((linear_scan(*leaves) * weights).sum(), leaves)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_convolution_by_hand() -> None:
    """The last weight is of the present; what came before the beginning is the tail, whose last entered last."""
    v = torch.tensor([[[10.0], [100.0]]])
    tail = torch.tensor([[[1.0], [2.0]]])
    found = causal_conv(v, tail, torch.tensor([[0.5, 3.0, 7.0]]), torch.tensor([0.25]))
    assert found.flatten().tolist() == [0.25 + 0.5 * 1 + 3 * 2 + 7 * 10, 0.25 + 0.5 * 2 + 3 * 10 + 7 * 100]


def test_the_norm_by_hand() -> None:
    """The mean square of what comes out is 1 before the weights; a vector of zeros stays one; the stream itself is not normed."""
    x, weight = torch.tensor([[[3.0, -4.0]], [[0.0, 0.0]]]), torch.tensor([1.0, 10.0])
    stream, normed = add_norm(x, torch.ones(2, 1, 2), weight)
    torch.testing.assert_close(stream, x + 1.0, rtol=0, atol=0)
    assert normed.flatten().tolist() == pytest.approx([4 / 12.5**0.5, -30 / 12.5**0.5, 1.0, 10.0], rel=1e-5)
    assert add_norm(x, None, weight)[1][1].abs().max() == 0


def test_dropout_of_a_branch() -> None:
    """A share of it is dropped and the rest larger by as much, the same for the same seed; the stream is not touched."""
    x, branch, weight = torch.zeros(20, 50, 40), torch.ones(20, 50, 40), torch.ones(40)
    stream, _ = add_norm(x, branch, weight, 0.25, 9)
    assert stream.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    # 40,000 draws: four standard deviations of the share are 0.0087, a false alarm in 15,000
    assert (stream == 0).float().mean() == pytest.approx(0.25, abs=0.0087)
    assert torch.equal(add_norm(x, branch, weight, 0.25, 9)[0], stream)
    assert not torch.equal(add_norm(x, branch, weight, 0.25, 10)[0], stream)
    assert torch.equal(add_norm(branch, branch, weight, 0.25, 9)[0], stream + 1.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's compiler warns of what PyTorch itself does
def test_the_compiled_scan() -> None:
    """Compiled, here for the processor, it gives the same numbers forward and back; at another length too."""
    if shutil.which("c++") is None:
        pytest.skip("there is no compiler")
    way = torch.compile(doubling)
    for length in (5, 9):
        a, b, h = some(B, length, H).detach().sigmoid(), some(B, length, H, seed=2).detach(), some(B, H, seed=3).detach()
        torch.testing.assert_close(way(a, b, h), sequential(a, b, h), rtol=0, atol=1e-12)


def test_a_compiler_that_fails_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the scan is compiled; where that fails, it is made without, then and ever after."""
    asked: list[int] = []

    def broken(*given: Tensor) -> Tensor:
        asked.append(1)
        raise RuntimeError("no compiler")

    ways = [broken, doubling]
    monkeypatch.setattr(plain, "compiled", lambda: ways)
    monkeypatch.setattr(plain, "is_processor", lambda array: False)
    monkeypatch.setattr(plain, "can_compile", lambda array: True)
    a, b, h = some(B, T, H).detach().sigmoid(), some(B, T, H, seed=2).detach(), some(B, H, seed=3).detach()
    for _ in range(3):
        torch.testing.assert_close(scan_values(a, b, h), sequential(a, b, h), rtol=0, atol=1e-12)
    assert len(asked) == 1
