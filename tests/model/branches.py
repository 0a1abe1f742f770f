"""What the tests of a block's branches share: numbers, what a branch makes of them with its gradients, and a small network that learns.

A branch gets its leaves, and gives tensors; whatever is in float64 is the plain form's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from escriba import _native
from escriba.model import fused_mlp
from escriba.model.language_model import LanguageModel, ModelState

__all__ = ["assert_learns", "assert_near", "descend", "numbers_of", "results"]


def numbers_of(sizes: Sequence[tuple[int, ...]], norms: Sequence[int], matrices: Sequence[int]) -> list[Tensor]:
    """Numbers that bfloat16 has; those of norms near one, those of matrices such that products are as large as what they are of."""
    random = torch.Generator().manual_seed(4)
    found = [torch.randn(size, generator=random) for size in sizes]
    for at in norms:
        found[at] = 1.0 + 0.2 * found[at]
    for at in matrices:
        found[at] = found[at] / sizes[at][1] ** 0.5
    return [one.bfloat16().float() for one in found]


def results(
    function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor | None], gradients: Sequence[Tensor], wanted: Sequence[int]
) -> list[Tensor]:
    """What comes out, and the gradients of what goes in by those of the outputs that are wanted; zeros of what gets none."""
    given = [None if one is None else one.detach().clone().requires_grad_() for one in inputs]
    leaves = [one for one in given if one is not None]
    with torch.autocast("cpu", torch.bfloat16, enabled=leaves[0].dtype != torch.float64):
        outputs = function(*given)
    chosen = [(outputs[at], gradients[at].to(outputs[at].dtype)) for at in wanted if outputs[at].requires_grad]
    found = torch.autograd.grad([one for one, _ in chosen], leaves, [d for _, d in chosen], allow_unused=True)
    back = [torch.zeros_like(leaf) if one is None else one for leaf, one in zip(leaves, found, strict=True)]
    return [*(one.detach() for one in outputs), *back]


def assert_near(met: Sequence[Tensor], expected: Sequence[Tensor], share: float) -> None:
    """Every difference is a small share of the largest number."""
    for number, (one, other) in enumerate(zip(met, expected, strict=True)):
        if other.numel():
            assert float((one.double() - other.double()).abs().max()) <= share * float(other.abs().max()), number


def assert_learns(patch: pytest.MonkeyPatch, module: ModuleType, name: str, uses: int, **options: Any) -> None:
    """A network ends in the losses that it has with the pieces, to one in fifty; `name` is called so often, and with the pieces never."""
    called: list[bool] = []
    real = getattr(module, name)

    def counted(*given: Any) -> Any:
        called.append(True)
        return real(*given)

    patch.setattr(module, name, counted)
    patch.setattr(fused_mlp, "LEVEL", _native.level())
    met = learn(**options)
    assert len(called) == uses
    patch.setattr(fused_mlp, "LEVEL", "another")
    assert met == pytest.approx(learn(**options), rel=0.02)
    assert len(called) == uses
    assert met[-1] < 0.9 * met[0]


def learn(cell: str = "mingru", **options: Any) -> list[float]:
    """The losses of twenty steps of a small stack with dropout."""
    ids = torch.arange(33) % 9 * torch.arange(1, 5)[:, None] % 9
    net = LanguageModel(9, cell=cell, residual=True, embedding_dim=64, hidden_size=64, num_layers=2, dropout=0.1, **options)
    net.dropout.generator = torch.Generator().manual_seed(3)
    return descend(net, [ids] * 20, rate=0.03)


def descend(net: LanguageModel, batches: Sequence[Tensor], *, rate: float, bf16: bool = True) -> list[float]:
    """The losses of plain gradient descent, a step a batch of (B, T + 1) ids, the state carried."""
    state: ModelState | None = None
    losses = []
    for ids in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits, state = net(ids[:, :-1], state)
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        net.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= rate * parameter.grad
        state = tuple(tuple(one.detach().float() for one in layer) for layer in state)
        losses.append(loss.item())
    return losses
