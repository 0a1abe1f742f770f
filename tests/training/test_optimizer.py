"""Schedules, the plateau, averages of weights and weight decay, against values by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from escriba.settings import TrainSettings
from escriba.training.optimizer import Averager, Plateau, build_optimizer, copy_into, learning_rate


def small_net() -> nn.Linear:
    """A matrix and a bias, all ones."""
    net = nn.Linear(3, 2)
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    return net


@pytest.mark.parametrize(
    ("schedule", "done", "expected"),
    [
        ("constant", 0.0, 0.2),
        ("constant", 1.0, 0.2),
        ("plateau", 0.7, 0.2),
        ("linear", 0.0, 0.2),
        ("linear", 0.25, 0.02 + 0.18 * 0.75),
        ("linear", 1.0, 0.02),
        ("cosine", 0.0, 0.2),
        ("cosine", 0.5, 0.11),
        ("cosine", 1 / 3, 0.02 + 0.18 * 0.75),
        ("cosine", 1.0, 0.02),
        ("cosine", 1.5, 0.02),
    ],
)
def test_schedules(schedule: str, done: float, expected: float) -> None:
    """From the highest rate, 0.2, to the final share of it, 0.1, along a line or half a cosine; or level."""
    settings = TrainSettings(learning_rate=0.2, final_rate=0.1, schedule=schedule)
    assert learning_rate(settings, 50, done) == pytest.approx(expected, abs=1e-12)


def test_warm_up() -> None:
    """The rate rises in equal steps and is never zero; then the schedule has its say."""
    settings = TrainSettings(learning_rate=0.5, warmup_steps=4, schedule="linear")
    assert [learning_rate(settings, step, 0.0) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert learning_rate(settings, 4, 0.5) == pytest.approx(0.25)


def test_plateau() -> None:
    """The rate is halved when more evaluations than the patience have brought no gain, and a gain begins the count anew."""
    plateau = Plateau(2)
    factors = []
    for gained in (True, False, False, True, False, False, False, False, False, False):
        plateau.evaluated(gained)
        factors.append(plateau.factor)
    assert factors == [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_averages_are_those_of_a_slow_computation() -> None:
    """Each average is decay times itself and the rest of the new weights, with the decay of its age at first."""
    net = small_net()
    decay, random = 0.6, torch.Generator().manual_seed(1)
    averager = Averager(list(net.parameters()), decay)
    expected = [parameter.detach().double().clone() for parameter in net.parameters()]
    for step in range(1, 12):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += torch.randn(parameter.shape, generator=random)
        averager.update(step)
        d = min(decay, (1 + step) / (10 + step))
        expected = [d * old + (1 - d) * new.detach().double() for old, new in zip(expected, net.parameters(), strict=True)]
        for met, wanted in zip(averager.averages, expected, strict=True):
            torch.testing.assert_close(met.double(), wanted, rtol=0, atol=1e-5)
    assert min((1 + step) / (10 + step) for step in range(1, 12)) < decay < 12 / 21 + 0.05, "both kinds of decay were seen"


def test_averages_do_not_touch_the_weights() -> None:
    """Averaging reads the weights and leaves them."""
    net = small_net()
    averager = Averager(list(net.parameters()), 0.9)
    with torch.no_grad():
        net.weight *= 3
    averager.update(1)
    assert (net.weight == 3).all()
    assert (averager.averages[0] > 1).all()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weight_decay_is_not_for_biases(optimizer: str) -> None:
    """With gradients of zero a step makes matrices smaller by rate times decay, and leaves biases as they are."""
    net = small_net()
    made = build_optimizer(net, TrainSettings(optimizer=optimizer, learning_rate=0.1, weight_decay=0.5))
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    torch.testing.assert_close(net.weight.detach(), torch.full((2, 3), 0.95), rtol=0, atol=1e-6)
    assert (net.bias == 1).all()


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("rmsprop", torch.optim.RMSprop), ("sgd", torch.optim.SGD)],
)
def test_every_optimizer_gets_its_settings(optimizer: str, kind: type[torch.optim.Optimizer]) -> None:
    """The settings arrive under the names that each optimizer has for them, and a step goes down."""
    settings = TrainSettings(optimizer=optimizer, learning_rate=0.01, beta1=0.8, beta2=0.95, epsilon=1e-7)
    net = small_net()
    made = build_optimizer(net, settings)
    assert type(made) is kind
    expected = {
        "adam": {"betas": (0.8, 0.95), "eps": 1e-7},
        "adamw": {"betas": (0.8, 0.95), "eps": 1e-7},
        "rmsprop": {"alpha": 0.95, "eps": 1e-7},
        "sgd": {"momentum": 0.8},
    }[optimizer]
    for group in made.param_groups:
        assert group["lr"] == 0.01
        assert {name: group[name] for name in expected} == expected
    before = net(torch.ones(3)).sum()
    before.backward()
    made.step()
    assert net(torch.ones(3)).sum() < before


def test_copy_into() -> None:
    """Values go over parameters one by one, and copies share nothing with them."""
    net = small_net()
    values = [torch.full((2, 3), 7.0), torch.full((2,), 8.0)]
    copy_into(list(net.parameters()), values)
    values[0] += 1
    assert (net.weight == 7).all()
    assert (net.bias == 8).all()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_one_pass_over_memory(optimizer: str) -> None:
    """On a processor the update is PyTorch's fused one, and gives what the ordinary one gives."""
    nets = [small_net(), small_net()]
    settings = TrainSettings(optimizer=optimizer, learning_rate=0.1, weight_decay=0.1)  # type: ignore[arg-type]
    optimizers = [build_optimizer(net, settings) for net in nets]
    assert all(group["fused"] for group in optimizers[0].param_groups)
    for group in optimizers[1].param_groups:
        group["fused"] = False
    random = torch.Generator().manual_seed(1)
    for _ in range(5):
        gradients = [torch.randn(parameter.shape, generator=random) for parameter in nets[0].parameters()]
        for net, one in zip(nets, optimizers, strict=True):
            for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                parameter.grad = gradient.clone()
            one.step()
    for met, wanted in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(met, wanted, rtol=1e-5, atol=1e-6)
    assert not torch.equal(nets[0].weight, torch.ones(2, 3))
