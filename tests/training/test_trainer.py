"""`fit`: its events, its lengths, what it keeps, how it stops, and that it goes on as if it had never stopped."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from escriba.engine.torch import TorchEngine
from escriba.errors import SettingsError, TrainingError
from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.text.batches import Batches, streams
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import CharTokenizer
from escriba.training import trainer
from escriba.training.evaluation import evaluate_part
from escriba.training.events import CheckpointDue, EpochEnded, Evaluated, Event, Finished, Progress, SampleDue
from escriba.training.state import TrainingState
from escriba.training.step import TensorBatch, chosen_precision, training_step
from escriba.training.trainer import Fit, fit

MakeNet = Callable[..., LanguageModel]
Weights = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same precision on every machine."""
    monkeypatch.setattr(trainer, "chosen_precision", lambda settings, device: "float32")


def equal(one: Weights, other: Weights) -> bool:
    """Whether all weights are the same, bit for bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def progress(events: list[Event]) -> list[Progress]:
    """The steps among the events."""
    return [event for event in events if isinstance(event, Progress)]


def names(events: list[Event]) -> list[str]:
    """The events' kinds and steps, as words."""
    return [f"{type(event).__name__} {event.step}" for event in events]


def test_events_in_order(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """An evaluation at step 0; then each step, and after it the end of its epoch, evaluation, sample, checkpoint; at last Finished."""
    assert len(data) == 4
    events = list(fit(make_net(), data, steps=6, eval_every=2, sample_every=4, choosing=choosing))
    assert names(events) == [
        "Evaluated 0",
        *["Progress 1", "Progress 2", "Evaluated 2", "CheckpointDue 2"],
        *["Progress 3", "Progress 4", "EpochEnded 4", "Evaluated 4", "SampleDue 4", "CheckpointDue 4"],
        *["Progress 5", "Progress 6", "Evaluated 6", "SampleDue 6", "CheckpointDue 6"],
        "Finished 6",
    ]
    for event in events:
        assert event.epoch == event.step / 4
        assert event.done == event.step / 6
    assert all(one.elapsed_s <= other.elapsed_s for one, other in itertools.pairwise(events))
    assert [event.symbols_seen for event in progress(events)] == [256 * step for step in range(1, 7)]


def test_events_are_frozen(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """No event of any kind can be changed."""
    seen = set()
    for event in fit(make_net(), data, steps=4, eval_every=2, choosing=choosing):
        seen.add(type(event))
        for field in dataclasses.fields(event):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(event, field.name, 0)
    assert seen == {Progress, EpochEnded, Evaluated, SampleDue, CheckpointDue, Finished}


@pytest.mark.parametrize(
    ("length", "steps"), [({"steps": 5}, 5), ({"steps": 0}, 0), ({"epochs": 0.5}, 2), ({"epochs": 1.1}, 5), ({"epochs": 1e-3}, 1), ({}, 4)]
)
def test_lengths(length: dict[str, float], steps: int, make_net: MakeNet, data: Batches) -> None:
    """So many steps; or epochs, rounded up to steps; without a length one epoch."""
    events = list(fit(make_net(), data, **length))
    assert [event.step for event in progress(events)] == list(range(1, steps + 1))
    assert isinstance(events[-1], Finished)
    assert (events[-1].step, events[-1].reason, events[-1].kept, events[-1].done) == (steps, "length", "last", 1.0)


@pytest.mark.parametrize("length", [{"minutes": 1 / 60}, {"budget_s": 1.0, "minutes": 99}, {"budget_s": 1.0}], ids=str)
def test_a_time_is_the_length(length: dict[str, float], make_net: MakeNet, data: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training ends with the step in which its time is over; a budget in seconds takes the place of minutes."""
    clock = SimpleNamespace(now=100.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(trainer, "time", clock)

    def slow_step(net: Any, batch: TensorBatch) -> Any:
        clock.now += 0.3
        return training_step(net, batch)

    if "minutes" not in length:
        length["minutes"] = 1.0  # without a length at all it would be an epoch
    events = list(fit(make_net(), data, step=slow_step, schedule="linear", **length))
    assert [event.done for event in progress(events)] == pytest.approx([0.3, 0.6, 0.9, 1.0])
    assert [event.learning_rate for event in progress(events)] == pytest.approx([1e-3, 7e-4, 4e-4, 1e-4])
    assert events[-1].elapsed_s == pytest.approx(1.2)


def test_the_evaluations(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """The one at step 0 measures the untrained network; each after it that is better than all before is the best."""
    net = make_net(dropout=0.5)
    untrained = evaluate_part(net, choosing)
    events = [
        event for event in fit(net, data, steps=20, eval_every=2, choosing=choosing, learning_rate=0.01) if isinstance(event, Evaluated)
    ]
    assert (events[0].loss_nats, events[0].symbols, events[0].best) == (untrained.loss_nats, len(choosing) - 1, True)
    assert [event.step for event in events] == list(range(0, 21, 2))
    assert events[-1].best
    best = math.inf
    for event in events:
        assert event.best == (event.loss_nats < best)
        best = min(best, event.loss_nats)
        assert event.bits_per_symbol == pytest.approx(event.loss_nats / math.log(2))
        assert event.perplexity == pytest.approx(math.exp(event.loss_nats))


def test_without_a_choosing_part_nothing_is_evaluated(make_net: MakeNet, data: Batches) -> None:
    """There is nothing to measure on, and all else goes its way."""
    events = list(fit(make_net(), data, steps=5))
    assert not any(isinstance(event, Evaluated) for event in events)
    assert sum(isinstance(event, CheckpointDue) for event in events) > 0


def test_the_loss_of_an_epoch(make_net: MakeNet, make_data: Callable[[str], Batches]) -> None:
    """Its mean weighs each step by its symbols, padding not counted; the second mean is of its last ten steps."""
    data = make_data("documents")
    events = list(fit(make_net(), data, epochs=2))
    steps, ends = progress(events), [event for event in events if isinstance(event, EpochEnded)]
    assert [end.number for end in ends] == [1, 2]
    counts = [int(data.batch(step).mask.sum()) for step in range(2 * len(data))]
    assert len(set(counts)) > 1, "equal weights would not show"
    for end, begin in zip(ends, (0, len(data)), strict=True):
        losses = [event.loss_nats for event in steps[begin : begin + len(data)]]
        weights = counts[begin : begin + len(data)]
        assert end.loss_nats == pytest.approx(np.average(losses, weights=weights))
        assert end.last_loss_nats == pytest.approx(np.mean(losses[-10:]))
    assert steps[-1].symbols_seen == sum(counts)


def test_samples_due(make_net: MakeNet, data: Batches) -> None:
    """Five in all unless it is said otherwise or the steps are few, the last at the end; none where they would have no length."""

    def due(kind: type[Event], **settings: Any) -> list[int]:
        return [event.step for event in fit(make_net(), data, **settings) if isinstance(event, kind)]

    assert due(SampleDue, steps=30) == [20, 30]
    assert due(SampleDue, steps=10) == [10]
    assert due(SampleDue, steps=7, sample_every=3) == [3, 6, 7]
    assert due(SampleDue, steps=10, sample_length=0) == []
    assert due(CheckpointDue, steps=30) == [10, 20, 30]


def test_a_sample_is_written_by_the_weights_to_keep(make_net: MakeNet, data: Batches) -> None:
    """At SampleDue the network holds the averaged weights, and afterwards its own again: averaging changes no step."""
    net = make_net()
    training = fit(net, data, steps=6, sample_every=3, averaging=0.9)
    steps = []
    for event in training:
        if isinstance(event, SampleDue):
            assert equal(net.get_weights(), training.kept_weights())
            raw = {name.removeprefix("weights/"): tensor.numpy() for name, tensor in training.state().tensors.items() if "weights" in name}
            assert not np.array_equal(raw["output.weight"], net.get_weights()["output.weight"])
        elif isinstance(event, Progress):
            steps.append(event.loss_nats)
    assert steps == [event.loss_nats for event in progress(list(fit(make_net(), data, steps=6)))]


@pytest.mark.parametrize(
    ("every", "expected"), [("epoch", {4: "epoch-1", 8: "epoch-2"}), ("3", {3: "step-3", 6: "step-6", 9: "step-9"}), (None, {})]
)
def test_checkpoints_due(every: str | None, expected: dict[int, str], make_net: MakeNet, data: Batches) -> None:
    """One with every evaluation, and one for each moment that the user keeps, under its name."""
    events = [event for event in fit(make_net(), data, steps=9, eval_every=5, keep_every=every) if isinstance(event, CheckpointDue)]
    assert {event.step: event.keep for event in events if event.keep} == expected
    assert {event.step for event in events} == {5, 9, *expected}


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.5, [8, 117, 226, 250]), (3.0, [2, 20, 38, 56]), (30.0, [1, 2, 3, 4])], ids=["quick", "middling", "slow"]
)
def test_checkpoints_by_the_clock(
    seconds: float, expected: list[int], make_net: MakeNet, data: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is due within 5 seconds of the first step, then one a minute, before it is too late after a resume as well."""
    clock = SimpleNamespace(now=1000.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(trainer, "time", clock)

    def slow_step(net: Any, batch: TensorBatch) -> Any:
        clock.now += seconds
        return training_step(net, batch)

    settings = TrainSettings(steps=250, eval_every=1000)
    times, steps, state = {}, [], None
    training = fit(make_net(), data, settings, step=slow_step)
    clock.now += 100.0  # whatever passes before the first step does not count
    for event in training:
        times.setdefault(event.step, clock.now)
        if isinstance(event, CheckpointDue):
            steps.append(event.step)
            state = state or training.state()
        if len(steps) == 4:
            break
    assert steps == expected
    assert times[steps[0]] - times[1] <= 5.0
    assert all(times[later] - times[earlier] <= 60.0 for earlier, later in itertools.pairwise(steps))
    rest = fit(make_net(), data, settings, step=slow_step, resume=state)
    resumed = list(itertools.islice((event.step for event in rest if isinstance(event, CheckpointDue)), 3))
    assert [step - steps[0] for step in resumed] == expected[:3]


def test_a_step_of_ones_own(make_net: MakeNet, make_data: Callable[[str], Batches]) -> None:
    """It is given the network and the batch; what it returns is what goes down, and the state it returns is carried."""
    seen = []

    def own(net: LanguageModel, batch: TensorBatch) -> Any:
        seen.append(batch)
        return training_step(net, batch)

    net, plain, data = make_net(), make_net(), make_data("streams")
    list(fit(net, data, steps=6, step=own))
    list(fit(plain, data, steps=6))
    assert equal(net.get_weights(), plain.get_weights())
    assert [batch.state is None for batch in seen] == [True, False, False, False, True, False]
    assert all(not one.requires_grad for batch in seen if batch.state for layer in batch.state for one in layer)
    np.testing.assert_array_equal(seen[2].inputs.numpy(), data.batch(2).inputs)
    assert seen[0].mask is None


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "rnn"},
        {"cell": "rnn", "activation": "relu"},
        {"cell": "gru"},
        {"cell": "gru", "reset": "before"},
        {"cell": "lstm"},
        {"cell": "lstm", "embedding_dim": None},
        {"cell": "gru", "num_layers": 2, "dropout": 0.2},
        {"cell": "mingru"},
        {"cell": "mingru", "residual": True, "hidden_size": 16, "num_layers": 2, "dropout": 0.2},
        {"cell": "lstm", "residual": True, "embedding_dim": None},
    ],
    ids=str,
)
def test_every_cell_learns_in_bf16(settings: dict[str, Any], make_net: MakeNet, data: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """With products in bfloat16, the state carried in float32, the loss of every cell goes down and stays near float32's."""
    monkeypatch.setattr(trainer, "chosen_precision", chosen_precision)
    losses = {}
    for precision in ("bf16", "float32"):
        events = progress(list(fit(make_net(**settings), data, steps=12, learning_rate=0.02, precision=precision)))
        losses[precision] = [event.loss_nats for event in events]
    assert losses["bf16"][-1] < losses["bf16"][0]
    assert losses["bf16"] != losses["float32"]
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.05)


def test_a_step_may_return_the_loss_alone(make_net: MakeNet, data: Batches) -> None:
    """Then no state is carried; and the loss reported is the step's own."""
    states = []

    def own(net: LanguageModel, batch: TensorBatch) -> torch.Tensor:
        states.append(batch.state)
        return training_step(net, batch)[0] * 0 + net.output.bias.square().sum() + 7.0

    net = make_net()
    with torch.no_grad():
        net.output.bias += 1
    events = progress(list(fit(net, data, steps=5, step=own, learning_rate=0.1)))
    assert states == [None] * 5
    assert events[0].loss_nats == pytest.approx(7.0 + net.vocab_size)
    assert events[-1].loss_nats < events[0].loss_nats - 1
    assert events[0].gradient_norm == pytest.approx(2 * math.sqrt(net.vocab_size), rel=1e-5)


def test_clipping(make_net: MakeNet, data: Batches) -> None:
    """A gradient longer than the limit is shortened to it; the length reported is the one before."""
    net = make_net()
    before = net.get_weights()
    events = progress(list(fit(net, data, steps=1, optimizer="sgd", beta1=0.0, learning_rate=1.0, clip_norm=1e-3)))
    moved = math.sqrt(sum(float(((array - before[name]) ** 2).sum()) for name, array in net.get_weights().items()))
    assert moved == pytest.approx(1e-3, rel=1e-2)
    assert events[0].gradient_norm > 0.1


def test_the_plateau_halves_the_rate(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """When evaluations bring no gain, the rate of the next steps is half."""

    def nothing_learnt(net: LanguageModel, batch: TensorBatch) -> torch.Tensor:
        return 0.0 * training_step(net, batch)[0]

    settings = {"schedule": "plateau", "plateau_patience": 2, "eval_every": 1, "learning_rate": 0.5}
    events = progress(list(fit(make_net(), data, steps=8, step=nothing_learnt, choosing=choosing, **settings)))
    assert [event.learning_rate for event in events] == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]


def test_closing_leaves_usable_weights(make_net: MakeNet, data: Batches, choosing: EncodedText, tokenizer: CharTokenizer) -> None:
    """After a close in the middle the network is ready for use, holds the best weights, and is the same that `kept_weights` gives."""
    net = make_net(dropout=0.3)
    training = fit(net, data, steps=20, choosing=choosing, learning_rate=0.02)
    for event in training:
        if event.step == 7:
            break
    training.close()
    assert list(training) == []
    assert not any(module.training for module in net.modules())
    assert equal(net.get_weights(), training.kept_weights())
    assert evaluate_part(net, choosing).loss_nats < training.best_loss < math.log(net.vocab_size), "the present weights were the best"
    logits, _ = TorchEngine(net).step([1], TorchEngine(net).initial_state(1))
    assert np.isfinite(logits).all()
    assert tokenizer.vocab_size == logits.shape[1]


def test_stop_ends_after_what_is_due(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """`stop` lets the end of the epoch, the evaluation and the kept moment come, then says that it was interrupted."""
    training = fit(make_net(), data, steps=20, choosing=choosing, eval_every=4, keep_every="4", sample_length=0)
    after = []
    for event in training:
        if isinstance(event, Progress) and event.step == 4:
            training.stop()
        if event.step == 4:
            after.append(type(event).__name__)
    assert after == ["Progress", "EpochEnded", "Evaluated", "CheckpointDue", "Finished"]
    assert (event.reason, training.step) == ("interrupted", 4)


def test_stopping_leaves_no_trace_in_what_is_resumed(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """A stop between two evaluations measures the present weights; the state to resume from is as if it had not."""
    settings: dict[str, Any] = {"steps": 24, "choosing": choosing, "schedule": "plateau", "plateau_patience": 1, "eval_every": 5}
    whole = make_net()
    rates = [event.learning_rate for event in progress(list(fit(whole, data, learning_rate=0.3, **settings)))]
    net = make_net()
    stopped = fit(net, data, learning_rate=0.3, **settings)
    for event in stopped:
        if event.step == 12:
            stopped.stop()
    again = make_net()
    rest = fit(again, data, learning_rate=0.3, resume=stopped.state(), **settings)
    assert [event.learning_rate for event in progress(list(rest))] == rates[12:]
    assert equal(again.get_weights(), whole.get_weights())


def test_a_loop_that_is_left_needs_no_close(make_net: MakeNet, data: Batches) -> None:
    """Whoever just stops asking has a network with the weights of the last step, and can close later or never."""
    net = make_net()
    training = fit(net, data, steps=20)
    weights = {}
    for event in training:
        if event.step == 3:
            weights = net.get_weights()
            break
    training.close()
    assert equal(net.get_weights(), weights)


def test_patience(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """After so many evaluations without gain training stops, and says why."""

    def nothing_learnt(net: LanguageModel, batch: TensorBatch) -> torch.Tensor:
        return 0.0 * training_step(net, batch)[0]

    events = list(fit(make_net(), data, steps=100, step=nothing_learnt, choosing=choosing, patience=3, eval_every=2))
    assert isinstance(events[-1], Finished)
    assert (events[-1].step, events[-1].reason, events[-1].kept) == (6, "patience", "best")
    assert isinstance(events[-2], CheckpointDue)


@pytest.mark.parametrize("averaging", [None, 0.8])
def test_the_best_weights_are_kept(averaging: float | None, make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """When training makes the network worse, the weights of the best evaluation come back."""

    def own(net: LanguageModel, batch: TensorBatch) -> torch.Tensor:
        loss = training_step(net, batch)[0]
        return loss if training.step < 6 else -loss

    net = make_net()
    training: Fit = fit(net, data, steps=16, step=own, choosing=choosing, eval_every=2, learning_rate=0.05, averaging=averaging)
    at_best: Weights = {}
    losses = []
    for event in training:
        if isinstance(event, Evaluated):
            losses.append(event.loss_nats)
            if event.best:
                at_best = training.kept_weights()
    assert training.kept == "best"
    assert losses[-1] > min(losses) + 0.05
    assert equal(net.get_weights(), at_best)
    assert evaluate_part(net, choosing).loss_nats == min(losses)


def test_the_averaged_weights_are_kept(make_net: MakeNet, data: Batches) -> None:
    """Without a choosing part, and with averaging, the averages are kept."""
    net = make_net()
    training = fit(net, data, steps=5, averaging=0.5, learning_rate=0.05)
    events = list(training)
    assert events[-1].kept == "averaged"
    tensors = training.state().tensors
    for name, array in net.get_weights().items():
        np.testing.assert_array_equal(array, tensors[f"averages/{name}"].numpy())
    assert not torch.equal(tensors["averages/output.bias"], tensors["weights/output.bias"])


def test_the_last_weights_are_kept(make_net: MakeNet, data: Batches) -> None:
    """Without either, the last weights are."""
    net = make_net()
    training = fit(net, data, steps=5)
    last: Weights = {}
    for event in training:
        if isinstance(event, Progress):
            last = net.get_weights()
    assert training.kept == "last"
    assert equal(net.get_weights(), last)


def test_an_evaluation_measures_what_would_be_kept(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """With averaging the averages are measured, not the weights of the step."""
    net = make_net()
    training = fit(net, data, steps=6, averaging=0.9, choosing=choosing, eval_every=3, learning_rate=0.05)
    for event in training:
        if isinstance(event, Evaluated) and event.step:
            averages = {name.removeprefix("averages/"): t.numpy() for name, t in training.state().tensors.items() if "averages/" in name}
            other = make_net()
            other.set_weights(averages)
            assert event.loss_nats == evaluate_part(other, choosing).loss_nats
            assert event.loss_nats != evaluate_part(net, choosing).loss_nats


@pytest.mark.parametrize("averaging", [None, 0.5])
def test_the_present_weights(averaging: float | None, make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """A moment that is kept by name has the weights of that moment, not the best so far; averaged where averages are made."""

    def worse(net: LanguageModel, batch: TensorBatch) -> torch.Tensor:
        return -training_step(net, batch)[0]

    net, first = make_net(), make_net().get_weights()
    training = fit(net, data, steps=4, step=worse, choosing=choosing, keep_every="2", learning_rate=0.05, averaging=averaging)
    for event in training:
        if isinstance(event, CheckpointDue) and event.keep:
            assert equal(training.kept_weights(), first)
            group = "weights/" if averaging is None else "averages/"
            tensors = training.state().tensors
            now = {name.removeprefix(group): tensor.numpy() for name, tensor in tensors.items() if name.startswith(group)}
            assert equal(training.present_weights(), now)
            assert not equal(now, first)


def train_and_collect(
    net: LanguageModel, data: Batches, choosing: EncodedText | None, settings: TrainSettings, stops: tuple[int, ...]
) -> tuple[list[Event], dict[int, TrainingState]]:
    """An uninterrupted training: its events, and its states right after some steps."""
    training = fit(net, data, settings, choosing=choosing)
    events, states = [], {}
    for event in training:
        events.append(event)
        if event.step in stops:  # the last event of a step wins
            states[event.step] = training.state()
    return events, states


@pytest.mark.parametrize("mode", ["streams", "windows", "documents"])
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"optimizer": "adamw", "schedule": "cosine", "averaging": 0.7, "clip_norm": 0.5, "warmup_steps": 2}, id="adamw"),
        pytest.param({"optimizer": "rmsprop", "schedule": "plateau", "plateau_patience": 1}, id="rmsprop"),
        pytest.param({"optimizer": "sgd", "learning_rate": 0.5, "schedule": "linear"}, id="sgd"),
    ],
)
def test_resumed_is_as_uninterrupted(
    mode: str, settings: dict[str, Any], make_net: MakeNet, make_data: Callable[[str], Batches], choosing: EncodedText
) -> None:
    """From a state at any step, in a new network, with dropout: the same events and the same weights, bit for bit."""
    data, shape = make_data(mode), {"cell": "lstm", "num_layers": 2, "dropout": 0.4}
    chosen = TrainSettings(**{"learning_rate": 0.02, "steps": 14, "eval_every": 3, "seed": 9, **settings})
    net = make_net(**shape)
    events, states = train_and_collect(net, data, choosing, chosen, (1, 4, 5, 9, 14))
    for stop, state in states.items():
        other = make_net(seed=77, **shape)
        training = fit(other, make_data(mode), chosen, choosing=choosing, resume=state)
        rest = list(training)
        assert equal(other.get_weights(), net.get_weights()), f"after {stop} steps"
        for met, wanted in zip(rest, [event for event in events if event.step > stop or isinstance(event, Finished)], strict=True):
            assert dataclasses.replace(met, elapsed_s=0.0) == dataclasses.replace(wanted, elapsed_s=0.0)


def test_resumed_after_a_close(make_net: MakeNet, data: Batches) -> None:
    """The state that is asked for after a close goes on as well, with averages that the network then held."""
    settings = TrainSettings(steps=11, averaging=0.9, learning_rate=0.02)
    net, stopped, other = make_net(), make_net(), make_net(seed=5)
    list(fit(net, data, settings))
    training = fit(stopped, data, settings)
    for event in training:
        if event.step == 6:
            break
    training.close()
    list(fit(other, data, settings, resume=training.state()))
    assert equal(other.get_weights(), net.get_weights())


def test_a_state_is_a_value(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """Neither the training that gave it nor one that goes on from it changes a state: it can be gone on from twice."""
    settings = TrainSettings(steps=9, averaging=0.9, learning_rate=0.02, eval_every=3)
    _, states = train_and_collect(make_net(), data, choosing, settings, (4,))
    copied = {name: tensor.clone() for name, tensor in states[4].tensors.items()}
    values = repr(states[4].values)
    one, other = make_net(), make_net()
    list(fit(one, data, settings, choosing=choosing, resume=states[4]))
    assert [name for name, tensor in states[4].tensors.items() if not torch.equal(tensor, copied[name])] == []
    assert repr(states[4].values) == values
    list(fit(other, data, settings, choosing=choosing, resume=states[4]))
    assert equal(one.get_weights(), other.get_weights())


def test_a_state_of_another_network_is_refused(make_net: MakeNet, data: Batches) -> None:
    """Weights of other shapes, or only some of them, are an error in words."""
    _, states = train_and_collect(make_net(), data, None, TrainSettings(steps=2), (2,))
    with pytest.raises(TrainingError, match="another network"):
        fit(make_net(hidden_size=9), data, steps=4, resume=states[2])
    torn = TrainingState({name: t for name, t in states[2].tensors.items() if name != "weights/output.bias"}, states[2].values)
    with pytest.raises(TrainingError, match="tensors of weights"):
        fit(make_net(), data, steps=4, resume=torn)


def test_settings_are_checked(make_net: MakeNet, data: Batches) -> None:
    """A wrong setting is refused at the call, before the first event."""
    with pytest.raises(SettingsError, match="learning_rate is -1"):
        fit(make_net(), data, learning_rate=-1)
    with pytest.raises(SettingsError, match="leaning_rate"):
        fit(make_net(), data, leaning_rate=1)
    with pytest.raises(SettingsError, match="one of steps, epochs and minutes"):
        fit(make_net(), data, steps=1, epochs=1)


def test_two_trainings_alike(make_net: MakeNet, make_data: Callable[[str], Batches]) -> None:
    """The same seeds give the same weights, whatever was drawn from PyTorch's own generator between."""
    nets = [make_net(dropout=0.3) for _ in range(3)]
    for net, seed in zip(nets, (4, 4, 5), strict=True):
        list(fit(net, make_data("windows"), steps=4, seed=seed))
        torch.rand(3)
    assert equal(nets[0].get_weights(), nets[1].get_weights())
    assert not equal(nets[0].get_weights(), nets[2].get_weights())


def test_bfloat16_trains(make_net: MakeNet, data: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 products the weights, the carried state and the loss stay float32, and the loss is nearly the same."""
    expected = progress(list(fit(make_net(), data, steps=3)))
    monkeypatch.setattr(trainer, "chosen_precision", lambda settings, device: "bf16")
    net = make_net()
    training = fit(net, data, steps=3)
    losses = [event.loss_nats for event in progress(list(training))]
    assert losses == pytest.approx([event.loss_nats for event in expected], abs=0.02)
    assert {tensor.dtype for name, tensor in training.state().tensors.items() if "carried" in name or "weights" in name} == {torch.float32}


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_it_learns(cell: str) -> None:
    """On a text that repeats itself every cell's loss falls from ln 5 to nearly nothing."""
    ids = np.tile(np.arange(5), 200)
    net = LanguageModel(5, cell=cell, embedding_dim=8, hidden_size=16)
    events = progress(list(fit(net, streams(ids, batch_size=4, seq_len=25), steps=100, learning_rate=0.02)))
    assert events[0].loss_nats == pytest.approx(math.log(5), rel=0.02)
    assert events[-1].loss_nats < 0.05
