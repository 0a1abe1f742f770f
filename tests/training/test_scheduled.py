"""Scheduled sampling: which inputs become the network's own symbols, what it had read before them, and how the share rises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from escriba.model.language_model import LanguageModel, ModelState
from escriba.model.loss import cross_entropy
from escriba.text.batches import Batches
from escriba.training.scheduled import with_own_symbols
from escriba.training.step import TensorBatch, training_step
from escriba.training.trainer import fit

SYMBOLS = 20


class Successor(LanguageModel):
    """A network that is sure of the symbol after the one it read: id + 1, after the last the first."""

    def step(self, ids_B: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Logits that leave no doubt."""
        return 100.0 * torch.nn.functional.one_hot((ids_B + 1) % SYMBOLS, SYMBOLS).float(), state


@pytest.fixture
def net() -> LanguageModel:
    """The sure network."""
    return Successor(SYMBOLS, hidden_size=4, embedding_dim=3)


@pytest.fixture
def batch() -> TensorBatch:
    """Inputs that are never the successor of the one before: 5 everywhere; their targets."""
    inputs = torch.full((40, 50), 5)
    return TensorBatch(inputs, inputs + 1, None, None)


def generator() -> torch.Generator:
    """Chance that can be repeated."""
    return torch.Generator().manual_seed(4)


def test_nothing_of_its_own(net: LanguageModel, batch: TensorBatch) -> None:
    """With a share of 0 the batch is the batch, and nothing is drawn."""
    chance = generator()
    before = chance.get_state()
    assert with_own_symbols(net, batch, 0.0, chance) is batch
    assert torch.equal(chance.get_state(), before)


def test_all_but_the_first_are_its_own(net: LanguageModel, batch: TensorBatch) -> None:
    """With a share of 1 each row is what the network writes after the row's first symbol: it has read its own symbols."""
    mixed = with_own_symbols(net, batch, 1.0, generator())
    assert torch.equal(mixed.inputs, ((5 + torch.arange(50)) % SYMBOLS).expand(40, 50))
    assert torch.equal(mixed.targets, batch.targets)
    assert torch.equal(batch.inputs, torch.full((40, 50), 5))


def test_the_share_of_its_own(net: LanguageModel, batch: TensorBatch) -> None:
    """A replaced symbol is one more than the input before it, true or its own; so many are replaced as the share says.

    Of 1,960 places the number is within 5 standard deviations of the expected: a false alarm in a million seeds.
    """
    mixed = with_own_symbols(net, batch, 0.3, generator()).inputs
    own = mixed[:, 1:] != 5
    assert torch.equal(mixed[:, 1:][own], ((mixed[:, :-1] + 1) % SYMBOLS)[own])
    assert abs(int(own.sum()) - 0.3 * own.numel()) < 5 * (own.numel() * 0.3 * 0.7) ** 0.5


def test_what_is_never_drawn_and_never_replaced(net: LanguageModel, batch: TensorBatch) -> None:
    """The ids named are not drawn, however likely; where one of them is the true input it stays."""
    batch.inputs[:, 10] = 0
    mixed = with_own_symbols(net, batch, 1.0, generator(), never=(0, 8)).inputs
    assert not (mixed == 8).any()
    assert ((mixed == 0) == (batch.inputs == 0)).all()


def test_it_goes_on_from_the_state(make_net: Callable[..., LanguageModel], data: Batches) -> None:
    """The network reads from the batch's state, as in the step itself; its mode and its dropout's draws are left alone."""
    net = make_net(dropout=0.5).train()
    net.dropout.generator = torch.Generator().manual_seed(1)
    before = net.dropout.generator.get_state()
    first = TensorBatch.of(data.batch(0), torch.device("cpu"))
    far = tuple(tuple(3.0 * torch.ones_like(one) for one in layer) for layer in net.initial_state(len(first.inputs)))
    from_nothing = with_own_symbols(net, first, 1.0, generator())
    from_far = with_own_symbols(net, first._replace(state=far), 1.0, generator())
    assert not torch.equal(from_nothing.inputs, from_far.inputs)
    assert net.training
    assert torch.equal(net.dropout.generator.get_state(), before)


@pytest.mark.parametrize("mode", ["windows", "streams", "documents"])
def test_the_share_rises_in_training(mode: str, make_net: Callable[..., LanguageModel], make_data: Callable[[str], Batches]) -> None:
    """`fit` begins with the true inputs alone; in the end about the share that was asked for is the network's own, in every mode.

    Of untrained draws from some 40 symbols nearly all differ from the truth.
    """
    data, shares = make_data(mode), []

    def step(net: Any, batch: TensorBatch) -> Any:
        true = torch.from_numpy(data.batch(len(shares)).inputs)
        here = torch.ones_like(true, dtype=torch.bool) if batch.mask is None else batch.mask
        shares.append(float((batch.inputs != true)[here].float().mean()))
        logits, state = net(batch.inputs, batch.state)
        return cross_entropy(logits, batch.targets, batch.mask), state

    for _ in fit(make_net(), data, steps=40, scheduled_sampling=0.9, step=step, device="cpu", precision="float32"):
        pass
    assert shares[0] == 0.0
    assert 0.1 < sum(shares[15:25]) / 10 < 0.6
    assert sum(shares[-4:]) / 4 > 0.65
    assert not any(one > 0 for one in plain_shares(make_net(), data))


def plain_shares(net: LanguageModel, data: Batches) -> list[float]:
    """The same of a training without scheduled sampling."""
    shares: list[float] = []

    def step(net: Any, batch: TensorBatch) -> Any:
        shares.append(float((batch.inputs != torch.from_numpy(data.batch(len(shares)).inputs)).float().mean()))
        return training_step(net, batch)

    for _ in fit(net, data, steps=5, step=step, device="cpu", precision="float32"):
        pass
    return shares
