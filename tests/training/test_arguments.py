"""What `fit` is given, and what a user's own step gives back, is looked at: mistakes are met in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from escriba.errors import SettingsError, TrainingError
from escriba.model.language_model import LanguageModel
from escriba.text.batches import Batches, streams
from escriba.text.encoded import EncodedText
from escriba.training.step import TensorBatch, training_step
from escriba.training.trainer import fit

MakeNet = Callable[..., LanguageModel]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"net": torch.nn.Linear(2, 2)}, "net is Linear"),
        ({"net": None}, "net is None"),
        ({"data": [1, 2, 3]}, r"data is \[1, 2, 3\]"),
        ({"data": "a.txt"}, "data is 'a.txt'"),
        ({"choosing": "the end"}, "choosing is 'the end'"),
        ({"choosing": np.arange(3)}, "choosing is array"),
        ({"step": 5}, "step is 5"),
        ({"budget_s": -1.0}, "budget_s is -1"),
        ({"budget_s": math.nan}, "budget_s is nan"),
        ({"budget_s": math.inf}, "budget_s is inf"),
        ({"budget_s": "60"}, "budget_s is '60'"),
        ({"budget_s": True}, "budget_s is True"),
        ({"resume": {}}, r"resume is \{\}"),
        ({"more": "models/quijote"}, "more is 'models/quijote'"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_arguments_of_another_kind(wrong: dict[str, Any], message: str, make_net: MakeNet, data: Batches) -> None:
    """Each is refused at the call, by its name and value, with what was expected."""
    given = {"net": make_net(), "data": data, **wrong}
    with pytest.raises(SettingsError, match=f"^{message}") as caught:
        fit(given.pop("net"), given.pop("data"), **given)
    assert caught.value.expected


def test_a_network_with_too_few_symbols(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """Whether the data know their vocabulary or only their numbers; a network with more symbols is welcome."""
    ids = np.array([0, 1, 2, 9] * 50)
    with pytest.raises(SettingsError, match="data has 10 symbols, the network 9"):
        fit(LanguageModel(9, hidden_size=4), streams(ids, batch_size=2, seq_len=5))
    list(fit(LanguageModel(11, hidden_size=4), streams(ids, batch_size=2, seq_len=5), steps=1))
    size = make_net().vocab_size
    with pytest.raises(SettingsError, match=f"data has {size} symbols, the network {size - 1}"):
        fit(LanguageModel(size - 1, hidden_size=4), data)
    with pytest.raises(SettingsError, match=f"choosing has {size} symbols, the network 10"):
        fit(LanguageModel(10, hidden_size=4), streams(ids, batch_size=2, seq_len=5), choosing=choosing)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (lambda loss, state: loss.item(), "the step gave back 3."),
        (lambda loss, state: None, "the step gave back None"),
        (lambda loss, state: loss.detach(), "a tensor of shape () without a gradient"),
        (lambda loss, state: torch.stack([loss, loss]), "a tensor of shape (2,)"),
        (lambda loss, state: (loss, state, 3), "a tuple of 3"),
        (lambda loss, state: (state, loss), "a tuple of 2"),
        (lambda loss, state: (loss, 3), "as the state, 3"),
        (lambda loss, state: (loss, ()), "as the state, a tuple of 0"),
        (lambda loss, state: (loss, state[0]), "as the state, a tuple of 1: (a tensor of shape (16, 8))"),
        (lambda loss, state: {"loss": loss}, "the step gave back {'loss': tensor("),
    ],
)
def test_a_step_that_gives_back_something_else(outcome: Callable[..., Any], message: str, make_net: MakeNet, data: Batches) -> None:
    """It is an error that says what came and what was expected."""
    with pytest.raises(TrainingError) as caught:
        list(fit(make_net(), data, steps=2, step=lambda net, batch: outcome(*training_step(net, batch))))
    assert message in caught.value.met
    assert caught.value.expected
    assert caught.value.hint


def test_a_loss_in_one_dimension_and_a_state_in_lists(make_net: MakeNet, data: Batches) -> None:
    """One number is one number, whatever its shape; layers may be lists; None is no state."""
    seen = []

    def own(net: LanguageModel, batch: TensorBatch) -> Any:
        loss, state = training_step(net, batch)
        seen.append(batch.state is not None)
        return loss.reshape(1, 1), [list(layer) for layer in state] if len(seen) < 3 else None

    assert len([event for event in fit(make_net(), data, steps=4, step=own) if type(event).__name__ == "Progress"]) == 4
    assert seen == [False, True, True, False]
