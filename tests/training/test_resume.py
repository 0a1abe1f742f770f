"""A training that is interrupted anywhere and resumed gives what one that never stopped gives: every event and every bit."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from escriba.errors import TrainingError
from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.tensorfile import canonical_json, read_tensors, tensor_bytes
from escriba.text.batches import Batches, streams, windows
from escriba.text.encoded import EncodedText
from escriba.training import trainer
from escriba.training.events import CheckpointDue, Evaluated, Event, Finished, Progress, SampleDue, SteppedBack
from escriba.training.state import Tally, TrainingState
from escriba.training.step import TensorBatch, training_step
from escriba.training.trainer import Fit, fit

MakeNet = Callable[..., LanguageModel]
SHAPE = {"cell": "lstm", "num_layers": 2, "dropout": 0.3}
COMMON = {"steps": 12, "learning_rate": 0.02, "eval_every": 3, "sample_every": 4, "keep_every": "5", "seed": 9}
SETTINGS = [
    pytest.param({"optimizer": "adamw", "schedule": "cosine", "averaging": 0.7, "clip_norm": 0.5, "warmup_steps": 2}, id="adamw"),
    pytest.param({"optimizer": "adam", "keep_every": "epoch", "eval_every": None, "sample_every": None}, id="adam"),
    pytest.param({"optimizer": "rmsprop", "schedule": "plateau", "plateau_patience": 1, "averaging": 0.9}, id="rmsprop"),
    pytest.param({"optimizer": "sgd", "learning_rate": 0.5, "schedule": "linear"}, id="sgd"),
    pytest.param({"optimizer": "adam", "scheduled_sampling": 0.8}, id="scheduled"),
    pytest.param({"optimizer": "adam", "learning_rate": 1.0, "eval_every": 1, "patience": 2, "steps": 30}, id="patience"),
]


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same precision on every machine."""
    monkeypatch.setattr(trainer, "chosen_precision", lambda settings, device: "float32")


def timeless(events: list[Event]) -> list[str]:
    """The events without their times, every digit shown; as words, so that a loss that is no number equals itself."""
    return [repr(dataclasses.replace(event, elapsed_s=0.0)) for event in events]


def through_a_file(state: TrainingState, folder: Path) -> TrainingState:
    """The state as a file gives it back."""
    path = folder / "state.safetensors"
    path.write_bytes(tensor_bytes({name: tensor.numpy() for name, tensor in state.tensors.items()}, state.values, sealed=True))
    arrays, values = read_tensors(path)
    return TrainingState({name: torch.from_numpy(array) for name, array in arrays.items()}, values)


def everything(training: Fit) -> dict[str, Any]:
    """All that a training ends with, times left out: what it would save, what the network holds, and the figures."""
    state = training.state()
    values = {name: value for name, value in state.values.items() if name not in ("elapsed_s", "origin_s")}
    tensors = {name: tensor.numpy().tobytes() for name, tensor in state.tensors.items()}
    kept = {name: array.tobytes() for name, array in training.kept_weights().items()}
    held = {name: array.tobytes() for name, array in training.net.get_weights().items()}
    return {
        "values": values,
        "tensors": tensors,
        "kept": kept,
        "held": held,
        "figures": (training.smoothed_loss, training.best_loss, training.kept),
    }


def assert_alike(one: Fit, other: Fit, after: str) -> None:
    """Both trainings ended with the very same."""
    for name, wanted in everything(other).items():
        assert everything(one)[name] == wanted, f"{name}, {after}"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["streams", "windows", "documents"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_from_every_event(
    mode: str, settings: dict[str, Any], make_net: MakeNet, make_data: Callable[[str], Batches], choosing: EncodedText, tmp_path: Path
) -> None:
    """A state asked for at any event, saved to a file and read again, goes on with the very next event, and ends with the same."""
    chosen = TrainSettings(**{**COMMON, **settings})
    whole = fit(make_net(**SHAPE), make_data(mode), chosen, choosing=choosing)
    events, states = [], []
    for event in whole:
        events.append(event)
        states.append(through_a_file(whole.state(), tmp_path))
    assert {Progress, Evaluated, SampleDue, CheckpointDue, Finished} <= {type(event) for event in events}
    for place, state in enumerate(states[:-1]):
        rest = fit(make_net(seed=77, **SHAPE), make_data(mode), chosen, choosing=choosing, resume=state)
        assert timeless(list(rest)) == timeless(events[place + 1 :]), f"after {events[place]}"
        assert_alike(rest, whole, f"after {events[place]}")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["streams", "windows", "documents"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_stopped_after_every_step(
    mode: str, settings: dict[str, Any], make_net: MakeNet, make_data: Callable[[str], Batches], choosing: EncodedText, tmp_path: Path
) -> None:
    """Stopped as by Ctrl-C at any event: what came before and what comes after the resume are together the events of one training."""
    chosen = TrainSettings(**{**COMMON, **settings})
    whole = fit(make_net(**SHAPE), make_data(mode), chosen, choosing=choosing)
    events = list(whole)
    for place in range(len(events) - 1):
        stopped, before = fit(make_net(**SHAPE), make_data(mode), chosen, choosing=choosing), []
        for event in stopped:
            if len(before) == place:
                stopped.stop()
            before.append(event)
        state = through_a_file(stopped.state(), tmp_path)
        rest = fit(make_net(seed=77, **SHAPE), make_data(mode), chosen, choosing=choosing, resume=state)
        assert timeless(before[:-1] + list(rest)) == timeless(events), f"at {events[place]}"
        assert_alike(rest, whole, f"at {events[place]}")


def test_before_the_first_event(make_net: MakeNet, data: Batches, choosing: EncodedText, tmp_path: Path) -> None:
    """A state of a training that has not begun is a beginning, and one stopped before its first step does not measure twice."""
    settings = TrainSettings(**COMMON)
    whole = fit(make_net(), data, settings, choosing=choosing)
    events = list(whole)
    fresh = through_a_file(fit(make_net(), data, settings, choosing=choosing).state(), tmp_path)
    assert timeless(list(fit(make_net(seed=5), data, settings, choosing=choosing, resume=fresh))) == timeless(events)
    stopped = fit(make_net(), data, settings, choosing=choosing)
    stopped.stop()
    before = list(stopped)
    assert [type(event) for event in before] == [Evaluated, Finished]
    rest = fit(make_net(seed=5), data, settings, choosing=choosing, resume=through_a_file(stopped.state(), tmp_path))
    assert timeless(before[:1] + list(rest)) == timeless(events)
    assert_alike(rest, whole, "at step 0")


def test_a_checkpoint_by_the_clock_changes_nothing(
    make_net: MakeNet, data: Batches, choosing: EncodedText, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where a slow machine saves by the clock, between two evaluations, a kill there is as harmless; a later step back too."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(trainer, "time", clock)
    fails = {9}

    def slow(net: LanguageModel, batch: TensorBatch) -> Any:
        clock.now += 20.0
        loss, state = training_step(net, batch)
        return (loss * math.nan if training.step + 1 in fails else loss), state

    settings = TrainSettings(**{**COMMON, "eval_every": 6, "keep_every": None, "averaging": 0.8})
    training = whole = fit(make_net(**SHAPE), data, settings, choosing=choosing, step=slow)
    events, states = [], {}
    for event in whole:
        events.append(event)
        if isinstance(event, CheckpointDue):
            states[len(events)] = through_a_file(whole.state(), tmp_path)
    assert {8} <= {events[place - 1].step for place in states}
    assert [event.step for event in events if isinstance(event, SteppedBack)] == [9]
    for place, state in states.items():
        training = fit(make_net(seed=77, **SHAPE), data, settings, choosing=choosing, step=slow, resume=state)
        rest = [event for event in training if not isinstance(event, CheckpointDue)]
        wanted = [event for event in events[place:] if not isinstance(event, CheckpointDue)]
        assert timeless(rest) == timeless(wanted), f"after {events[place - 1]}"
        assert training.kept_weights().keys() == whole.kept_weights().keys()
        for name, array in training.kept_weights().items():
            np.testing.assert_array_equal(array, whole.kept_weights()[name])


def test_a_residual_stack_goes_on(make_net: MakeNet, choosing: EncodedText, make_data: Callable[[str], Batches], tmp_path: Path) -> None:
    """Its blocks, their states with the convolution's, and what its branches drop are saved, and go on as if nothing had been."""
    shape = {"cell": "mingru", "residual": True, "num_layers": 2, "hidden_size": 16, "dropout": 0.3}
    chosen = TrainSettings(**{**COMMON, "averaging": 0.7})
    whole = fit(make_net(**shape), make_data("streams"), chosen, choosing=choosing)
    events, states = [], {}
    for event in whole:
        events.append(event)
        if isinstance(event, CheckpointDue):
            states[len(events)] = through_a_file(whole.state(), tmp_path)
    assert len(states) >= 2
    for place, state in states.items():
        rest = fit(make_net(seed=77, **shape), make_data("streams"), chosen, choosing=choosing, resume=state)
        assert timeless(list(rest)) == timeless(events[place:])
        assert_alike(rest, whole, f"after event {place}")


def test_using_the_network_meanwhile_changes_nothing(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """Whoever is given an event may evaluate, draw, and leave the network in evaluation: the training goes on as before."""
    whole, other = fit(make_net(**SHAPE), data, choosing=choosing, steps=8), fit(make_net(**SHAPE), data, choosing=choosing, steps=8)
    events, met = list(whole), []
    for event in other:
        met.append(event)
        other.state(), other.kept_weights(), other.present_weights(), torch.rand(3)
        other.net.eval()
    assert timeless(met) == timeless(events)
    assert_alike(other, whole, "at the end")


def test_minutes_already_spent_count(make_net: MakeNet, data: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a time as the length the rest of it is used after a resume, however long ago the state was saved."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(trainer, "time", clock)

    def slow(net: LanguageModel, batch: TensorBatch) -> Any:
        clock.now += 7.0
        return training_step(net, batch)

    training = fit(make_net(), data, minutes=1, step=slow)
    for event in training:
        if event.step == 4:
            training.stop()
    clock.now += 1e6
    events = list(fit(make_net(), data, minutes=1, step=slow, resume=training.state()))
    assert [event.step for event in events if isinstance(event, Progress)] == [5, 6, 7, 8, 9]
    assert events[-1].elapsed_s == 63.0
    assert [event.done for event in events if isinstance(event, Progress)] == pytest.approx([35 / 60, 42 / 60, 49 / 60, 56 / 60, 1.0])


def test_a_state_stays_small(make_net: MakeNet, encoded: EncodedText) -> None:
    """However many steps an epoch has, the plain values of a state do not grow with them, and JSON gives every one back."""
    data = windows(encoded, batch_size=1, seq_len=2, seed=1)
    training = fit(make_net(), data, steps=300, eval_every=1000)
    lengths = {event.step: len(canonical_json(training.state().values)) for event in training if event.step in (40, 300)}
    assert len(data) > 300
    assert lengths[300] < lengths[40] + 50
    values = training.state().values
    assert json.loads(canonical_json(values)) == values


def test_good_weights_are_saved_twice_only_where_they_differ(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """At an evaluation the good weights are the present ones, and stand in the state once; between two they stand beside them."""
    training, there = fit(make_net(), data, steps=6, eval_every=3, choosing=choosing, averaging=0.9), {}
    for event in training:
        groups = {name.split("/")[0] for name in training.state().tensors}
        there[event.step] = "good" in groups
        assert groups - {"good"} == {"weights", "averages", "best", "random"} | ({"moments", "carried"} if event.step else set())
    assert there == {0: False, 1: True, 2: True, 3: False, 4: True, 5: True, 6: False}


def test_states_that_do_not_fit(make_net: MakeNet, data: Batches, encoded: EncodedText) -> None:
    """A state of another version, another optimizer or another number of streams is refused in words."""
    training = fit(make_net(), data, steps=2)
    list(training)
    state = training.state()
    older = TrainingState(state.tensors, {name: value for name, value in state.values.items() if name != "smoothed_loss"})
    with pytest.raises(TrainingError, match="does not say smoothed_loss"):
        fit(make_net(), data, steps=4, resume=older)
    with pytest.raises(TrainingError, match="cannot be gone on with"):
        fit(make_net(), data, steps=4, resume=TrainingState(state.tensors, {**state.values, "plateau": 3}))
    with pytest.raises(TrainingError, match="optimizer 'adam', not 'sgd'"):
        fit(make_net(), data, steps=4, optimizer="sgd", resume=state)
    with pytest.raises(TrainingError, match="16 streams side by side, these batches 8"):
        fit(make_net(), streams(encoded, batch_size=8, seq_len=16), steps=4, resume=state)


def test_the_smoothed_loss(make_net: MakeNet, data: Batches) -> None:
    """It follows the steps' losses, each new one weighing a twentieth."""
    training, wanted = fit(make_net(), data, steps=5), None
    assert training.smoothed_loss is None
    for event in training:
        if isinstance(event, Progress):
            wanted = event.loss_nats if wanted is None else 0.95 * wanted + 0.05 * event.loss_nats
            assert training.smoothed_loss == wanted


def test_a_tally_is_a_value() -> None:
    """The numbers taken out of a state share nothing with it."""
    values = dataclasses.asdict(Tally(epoch_last=[1.0]))
    tally = Tally.of(values)
    tally.epoch_last.append(2.0)
    assert values["epoch_last"] == [1.0]
