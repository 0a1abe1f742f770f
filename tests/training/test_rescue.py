"""A step that gives no finite number: back to the last good weights with a smaller rate; the third time an error; never saved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest
import torch

from escriba.errors import TrainingError
from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.text.batches import Batches
from escriba.text.encoded import EncodedText
from escriba.training import trainer
from escriba.training.events import CheckpointDue, Evaluated, Event, Finished, Progress, SampleDue, SteppedBack
from escriba.training.state import TrainingState
from escriba.training.step import TensorBatch, training_step
from escriba.training.trainer import Fit, fit

MakeNet = Callable[..., LanguageModel]


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same precision on every machine."""
    monkeypatch.setattr(trainer, "chosen_precision", lambda settings, device: "float32")


class Failing:
    """An ordinary step, but at some steps the loss, or its gradient, is no finite number."""

    def __init__(self, steps: Collection[int], wrong: float = math.nan, gradient: bool = False) -> None:
        self.steps, self.wrong, self.gradient, self.states = steps, wrong, gradient, dict[int, bool]()
        self.training: Fit | None = None

    def __call__(self, net: LanguageModel, batch: TensorBatch) -> Any:
        """The loss and the state."""
        assert self.training is not None
        loss, state = training_step(net, batch)
        number = self.training.step + 1
        self.states[number] = batch.state is not None
        if number in self.steps:
            loss = loss + (net.output.bias * 0).sqrt().sum() if self.gradient else loss * self.wrong
        return loss, state


def failing(
    net: LanguageModel, data: Batches, at: Collection[int], *, wrong: float = math.nan, gradient: bool = False, **given: Any
) -> Fit:
    """A training that fails at these steps."""
    step = Failing(at, wrong, gradient)
    step.training = fit(net, data, step=step, **given)
    return step.training


def raw(state: TrainingState) -> dict[str, bytes]:
    """Weights, averages and moments of a state."""
    names = ("weights/", "averages/", "moments/")
    return {name: tensor.numpy().tobytes() for name, tensor in state.tensors.items() if name.startswith(names)}


def assert_finite(training: Fit) -> None:
    """Nothing that could be saved now is anything but finite."""
    for name, tensor in training.state().tensors.items():
        assert bool(torch.isfinite(tensor.double()).all()), name
    for weights in (training.kept_weights(), training.present_weights(), training.net.get_weights()):
        assert all(np.isfinite(array).all() for array in weights.values())


@pytest.mark.parametrize("how", [{"wrong": math.nan}, {"wrong": math.inf}, {"wrong": -math.inf}, {"gradient": True}], ids=str)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_back_to_the_last_evaluation(how: dict[str, Any], optimizer: str, make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """Weights, averages and moments are those of the last evaluation; steps and data go on, with three tenths of the rate."""
    settings = TrainSettings(steps=12, eval_every=4, averaging=0.8, optimizer=optimizer, learning_rate=0.01, sample_length=0)
    training = failing(make_net(), data, [7], settings=settings, choosing=choosing, **how)
    good, events = {}, []
    for event in training:
        events.append(event)
        assert_finite(training)
        if isinstance(event, Evaluated) and event.step == 4:
            good = raw(training.state())
        if isinstance(event, SteppedBack):
            assert raw(training.state()) == good
            assert training.symbols_seen == 6 * 256
    (back,) = [event for event in events if isinstance(event, SteppedBack)]
    assert (back.step, back.epoch, back.done, back.times) == (7, 7 / 4, 7 / 12, 1)
    assert back.learning_rate == pytest.approx(0.003)
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    rates = [event.learning_rate for event in events if isinstance(event, Progress)]
    assert rates == pytest.approx([0.01] * 6 + [0.003] * 5)
    assert all(math.isfinite(event.loss_nats) for event in events if isinstance(event, Progress))
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"
    assert math.isfinite(training.smoothed_loss or math.nan)


def test_what_is_due_at_such_a_step_comes(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """The end of the epoch, the evaluation, the sample and the checkpoint; and a state carried by bad weights is not carried on."""
    step = Failing([4, 6])
    step.training = training = fit(make_net(), data, step=step, choosing=choosing, steps=8, eval_every=4, sample_every=4)
    names = [type(event).__name__ for event in training if event.step == 4]
    assert names == ["SteppedBack", "EpochEnded", "Evaluated", "SampleDue", "CheckpointDue"]
    assert step.states == {1: False, 2: True, 3: True, 4: True, 5: False, 6: True, 7: False, 8: True}


def test_before_any_evaluation(make_net: MakeNet, data: Batches) -> None:
    """With nothing measured training goes back to the first weights, and the optimizer is as new."""
    net = make_net()
    first = {name: array.tobytes() for name, array in net.get_weights().items()}
    for event in failing(net, data, [3], steps=4, eval_every=100):
        if isinstance(event, SteppedBack):
            assert {name: array.tobytes() for name, array in net.get_weights().items()} == first
    assert {name: array.tobytes() for name, array in net.get_weights().items()} != first


def test_a_long_way_without_an_evaluation(make_net: MakeNet, data: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every so many steps the weights are remembered too, so that no more than those are lost."""
    monkeypatch.setattr(trainer, "GOOD_EVERY", 5)
    training, good = failing(make_net(), data, [8], steps=9, eval_every=100), {}
    for event in training:
        if event.step == 5:
            good = raw(training.state())
        if isinstance(event, SteppedBack):
            assert raw(training.state()) == good
    assert good


def test_a_leap_is_not_remembered(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """An evaluation right after the loss has leapt up does not make those weights the good ones: they may be about to overflow."""

    def leaping(net: LanguageModel, batch: TensorBatch) -> Any:
        loss = training_step(net, batch)[0]
        return loss * {4: 1e6, 5: math.nan}.get(training.step + 1, 1.0)

    net = make_net()
    training = fit(net, data, steps=6, eval_every=2, choosing=choosing, step=leaping, learning_rate=0.01)
    states = {}
    for event in training:
        if not isinstance(event, Finished):
            states[event.step] = raw(training.state())
    assert states[5] == states[2]
    assert states[4] != states[2]


@pytest.mark.parametrize("averaging", [None, 0.9])
def test_the_third_time_is_an_error(averaging: float | None, make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """It says what was met, what was tried and what to type; what can be saved then are the last good weights."""
    net = make_net()
    training = failing(net, data, [3, 5, 6], steps=10, learning_rate=0.1, choosing=choosing, eval_every=4, averaging=averaging)
    events, good = [], {}
    with pytest.raises(TrainingError) as caught:  # noqa: PT012 - what comes before the error is looked at too
        for event in training:
            events.append(event)
            if event.step == 4:
                good = raw(training.state())
    assert [event.times for event in events if isinstance(event, SteppedBack)] == [1, 2]
    error = caught.value
    assert error.met == "the loss is nan, the gradient's length nan at step 6, rate 0.009: no sound step for the third time"
    assert "last good weights, with 0.3 of the rate" in (error.expected or "")
    assert "train.learning_rate=0.001" in (error.hint or "")
    assert "train.clip_norm=1" in (error.hint or "")
    assert raw(training.state()) == good
    assert_finite(training)
    assert list(training) == []


@pytest.mark.parametrize("shape", [{"cell": "rnn", "activation": "relu"}, {"cell": "gru"}, {"cell": "lstm"}], ids=str)
@pytest.mark.parametrize("settings", [{"optimizer": "sgd", "weight_decay": 10.0}, {"optimizer": "adam"}, {"optimizer": "rmsprop"}], ids=str)
def test_a_real_explosion(
    shape: dict[str, Any],
    settings: dict[str, Any],
    make_net: MakeNet,
    data: Batches,
    choosing: EncodedText,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an absurd rate training ends in time, or in words; at no moment can anything be saved that is not finite."""
    monkeypatch.setattr(trainer, "learning_rate", lambda settings, step, done: 1e30)
    training = fit(make_net(**shape), data, TrainSettings(steps=40, eval_every=3, averaging=0.9, **settings), choosing=choosing)
    events: list[Event] = []
    with pytest.raises(TrainingError, match="third time"):  # noqa: PT012 - what comes before the error is looked at too
        for event in training:
            events.append(event)
            assert_finite(training)
    assert sum(isinstance(event, SteppedBack) for event in events) == 2
    assert_finite(training)
    assert training.best_loss <= events[0].loss_nats  # type: ignore[attr-defined]


def test_an_explosion_is_survived(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """A rate that is too large by less than two steps back: training ends well, and better than it began."""
    net = make_net(cell="rnn", activation="relu", hidden_size=64)
    training = fit(net, data, steps=60, eval_every=5, choosing=choosing, optimizer="sgd", beta1=0.0, learning_rate=10.0)
    events = list(training)
    assert 1 <= sum(isinstance(event, SteppedBack) for event in events) <= 2
    losses = [event.loss_nats for event in events if isinstance(event, Evaluated)]
    assert training.best_loss < losses[0]
    assert_finite(training)


def test_an_evaluation_that_is_no_number(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """Weights that are finite, but whose logits overflow, are neither the best nor the good ones."""

    def own(net: LanguageModel, batch: TensorBatch) -> torch.Tensor:
        if training.step + 1 == 4:
            with torch.no_grad():
                net.layers[0].get_parameter("weight_hh").fill_(1e9)  # the state grows a thousand million times a symbol
                net.layers[0].get_parameter("bias").fill_(1.0)
        return net.output.bias.square().sum() * (math.nan if training.step + 1 == 5 else 1.0)

    net = make_net(cell="rnn", activation="relu")
    training = fit(net, data, steps=6, eval_every=2, choosing=choosing, step=own, learning_rate=1e-4)
    losses, states = {}, {}
    for event in training:
        if isinstance(event, Evaluated):
            losses[event.step] = event
        if not isinstance(event, Finished):
            states[event.step] = raw(training.state())
    assert not math.isfinite(losses[4].loss_nats)
    assert not losses[4].best
    assert training.best_loss == min(event.loss_nats for step, event in losses.items() if step != 4)
    assert states[5] == states[2]
    assert_finite(training)


def test_a_network_that_is_not_finite_from_the_first(make_net: MakeNet, data: Batches) -> None:
    """There is nothing to go back to: it is refused before the first step."""
    net = make_net()
    with torch.no_grad():
        net.output.bias[2] = math.nan
    with pytest.raises(TrainingError, match="not all finite before the first step"):
        next(fit(net, data, steps=3))


@pytest.mark.parametrize("mode", ["streams", "windows", "documents"])
def test_resumed_around_a_step_back(mode: str, make_net: MakeNet, make_data: Callable[[str], Batches], choosing: EncodedText) -> None:
    """From any moment before, at or after a step back a resumed training goes on as the one that never stopped, bit for bit."""
    settings = TrainSettings(steps=14, eval_every=4, averaging=0.8, learning_rate=0.02, sample_every=3)
    shape: dict[str, Any] = {"cell": "lstm", "dropout": 0.3}

    def shown(events: list[Event]) -> list[str]:
        return [repr(dataclasses.replace(event, elapsed_s=0.0)) for event in events]

    whole = failing(make_net(**shape), make_data(mode), [6, 11], settings=settings, choosing=choosing)
    events, states = [], []
    for event in whole:
        events.append(event)
        states.append(whole.state())
    assert {SteppedBack, SampleDue, CheckpointDue} <= {type(event) for event in events}
    for place, state in enumerate(states[:-1]):
        rest = failing(make_net(seed=3, **shape), make_data(mode), [6, 11], settings=settings, choosing=choosing, resume=state)
        assert shown(list(rest)) == shown(events[place + 1 :]), f"after {events[place]}"
        assert raw(rest.state()) == raw(whole.state())
