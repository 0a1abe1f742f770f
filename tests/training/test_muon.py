"""Muon: its updates are orthogonal, of the length that AdamW's rates fit, and everything else is AdamW's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.training.muon import Muon, orthogonalized
from escriba.training.optimizer import build_optimizer
from escriba.training.state import optimizer_tensors, restore_optimizer

SHAPES = [(8, 8), (24, 8), (8, 32), (1, 5), (64, 48)]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_to_one(shape: tuple[int, int], exact: bool) -> None:
    """Whatever they were, as long as they were not far smaller than the largest; and the directions stay."""
    generator = torch.Generator().manual_seed(1)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = torch.linspace(0.1, 3.0, min(shape))
    matrix = u @ torch.diag(values) @ v
    made = orthogonalized(matrix, exact=exact)
    after = torch.linalg.svdvals(made)
    assert made.dtype == torch.float32
    assert made.shape == shape
    assert after.min() > 0.6
    assert after.max() < 1.3
    inside = u.T @ made @ v.T  # the same singular vectors: nothing beside the diagonal
    assert (inside - torch.diag(inside.diagonal())).abs().max() < (1e-3 if exact else 0.08)


def test_its_length_does_not_matter() -> None:
    """A gradient a thousand times as long has the same update; one of zeros has none."""
    matrix = torch.randn(6, 9, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(orthogonalized(1000 * matrix, exact=True), orthogonalized(matrix, exact=True), rtol=1e-4, atol=1e-4)
    assert not orthogonalized(torch.zeros(3, 4), exact=False).any()


def muon(matrices: list[nn.Parameter], others: list[nn.Parameter], **changes: object) -> Muon:
    """The optimizer with the settings of most tests."""
    usual = {"rate": 0.1, "momentum": 0.9, "weight_decay": 0.5, "betas": (0.9, 0.99), "epsilon": 1e-8, "exact": True} | changes
    return Muon(matrices, [{"params": others, "weight_decay": 0.0}], **usual)  # type: ignore[arg-type]


def test_a_step_of_a_matrix() -> None:
    """Decay by rate times decay, then the orthogonal mean of the gradients, of a root mean square of 0.2 times the rate."""
    generator = torch.Generator().manual_seed(3)
    matrix, gradients = nn.Parameter(torch.randn(4, 16, generator=generator)), torch.randn(3, 4, 16, generator=generator)
    optimizer, wanted, mean = muon([matrix], []), matrix.detach().clone(), torch.zeros(4, 16)
    for gradient in gradients:
        matrix.grad = gradient.clone()
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        direction = orthogonalized(0.1 * gradient + 0.9 * mean, exact=True)
        wanted = wanted * (1 - 0.1 * 0.5) - 0.1 * 0.2 * math.sqrt(16) * direction
    torch.testing.assert_close(matrix.detach(), wanted, rtol=1e-5, atol=1e-6)
    assert 0.1 < (0.2 * math.sqrt(16) * direction).square().mean().sqrt() < 0.25


def test_the_rest_is_adamw() -> None:
    """The same numbers as PyTorch's own."""
    generator = torch.Generator().manual_seed(4)
    mine, theirs = (nn.Parameter(torch.ones(5)) for _ in range(2))
    optimizer = muon([], [mine])
    adamw = torch.optim.AdamW([theirs], 0.1, (0.9, 0.99), 1e-8, weight_decay=0.0)
    for _ in range(4):
        gradient = torch.randn(5, generator=generator)
        for parameter, one in ((mine, optimizer), (theirs, adamw)):
            parameter.grad = gradient.clone()
            one.step()
    torch.testing.assert_close(mine, theirs)
    assert not torch.equal(mine, torch.ones(5))


@pytest.mark.parametrize(
    ("settings", "orthogonal"),
    [
        ({"cell": "gru", "embedding_dim": 4}, {"layers.0.weight_ih", "layers.0.weight_hh"}),
        ({"cell": "lstm", "embedding_dim": None}, {"layers.0.weight_hh"}),
        (
            {"cell": "mingru", "residual": True, "embedding_dim": 6},
            {f"layers.0.weight_{name}" for name in ("in", "ih", "out", "up", "down")},
        ),
    ],
)
def test_which_matrices(settings: dict, orthogonal: set[str]) -> None:
    """Those between vectors; not what meets symbols, nor convolutions, nor vectors."""
    net = LanguageModel(9, hidden_size=6, **settings)
    optimizer = build_optimizer(net, TrainSettings(optimizer="muon", weight_decay=0.1))
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    groups = {group["orthogonal"]: {names[id(one)] for one in group["params"]} for group in optimizer.param_groups if group["orthogonal"]}
    assert groups == {True: orthogonal}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)
    assert {group["weight_decay"] for group in optimizer.param_groups if not group["orthogonal"]} == {0.0}


def test_going_on_is_exact() -> None:
    """Moments written down and read again go on to the same bits."""
    nets = [LanguageModel(9, cell="gru", embedding_dim=4, hidden_size=6, seed=1) for _ in range(2)]
    settings = TrainSettings(optimizer="muon", weight_decay=0.1, precision="float32")
    first, second = (build_optimizer(net, settings) for net in nets)
    generator = torch.Generator().manual_seed(5)
    gradients = [[torch.randn(one.shape, generator=generator) for one in nets[0].parameters()] for _ in range(4)]

    def step(net: LanguageModel, optimizer: torch.optim.Optimizer, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(net.parameters(), values, strict=True):
            parameter.grad = value.clone()
        optimizer.step()

    for values in gradients[:2]:
        step(nets[0], first, values)
    for mine, theirs in zip(nets[1].parameters(), nets[0].parameters(), strict=True):
        mine.data.copy_(theirs.data)
    restore_optimizer(second, {name: tensor.clone() for name, tensor in optimizer_tensors(first).items()})
    for values in gradients[2:]:
        step(nets[0], first, values)
        step(nets[1], second, values)
    assert all(torch.equal(one, other) for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True))
