"""A finished training that is trained further: a new phase upon it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from escriba.errors import SettingsError, TrainingError
from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.text.batches import Batches, streams
from escriba.text.encoded import EncodedText
from escriba.training import trainer
from escriba.training.evaluation import evaluate_part
from escriba.training.events import CheckpointDue, EpochEnded, Evaluated, Event, Progress, SampleDue
from escriba.training.state import TrainingState
from escriba.training.step import TensorBatch, training_step
from escriba.training.trainer import Fit, fit

MakeNet = Callable[..., LanguageModel]


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same precision on every machine."""
    monkeypatch.setattr(trainer, "chosen_precision", lambda settings, device: "float32")


def finished(net: LanguageModel, data: Batches, **given: Any) -> Fit:
    """A training that ran to its end."""
    training = fit(net, data, **given)
    list(training)
    return training


def weights(state: TrainingState, group: str = "weights") -> dict[str, bytes]:
    """One group of a state's weights."""
    return {name.split("/")[1]: tensor.numpy().tobytes() for name, tensor in state.tensors.items() if name.startswith(f"{group}/")}


def as_bytes(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    """Weights, comparable."""
    return {name: array.tobytes() for name, array in arrays.items()}


def test_what_goes_on_and_what_begins_anew(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """Steps, epochs, symbols and batches go on; the length, the schedule, the warm-up and the share done begin anew."""
    settings = TrainSettings(steps=10, schedule="linear", learning_rate=0.01, eval_every=5)
    first = finished(make_net(), data, settings=settings, choosing=choosing)
    seen: list[np.ndarray] = []

    def own(net: LanguageModel, batch: TensorBatch) -> Any:
        seen.append(batch.inputs.numpy())
        return training_step(net, batch)

    more = fit(make_net(seed=5), data, settings, steps=40, choosing=choosing, step=own, more=first.state())
    assert (more.step, more.origin_step, more.symbols_seen, more.done) == (10, 10, 2560, 0.0)
    assert more.smoothed_loss == first.smoothed_loss
    events = list(more)
    steps = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in steps] == list(range(11, 51))
    assert [event.done for event in steps] == pytest.approx([count / 40 for count in range(1, 41)])
    assert steps[-1].symbols_seen == 50 * 256
    assert [event.number for event in events if isinstance(event, EpochEnded)] == list(range(3, 13))
    np.testing.assert_array_equal(seen[0], data.batch(10).inputs)
    rates = [event.learning_rate for event in steps]
    assert rates[:2] == pytest.approx([0.01 / 3, 0.02 / 3]), "a twentieth of the phase, 2 steps, to warm up"
    assert rates[2:] == pytest.approx([0.01 * (1 - done / 40) for done in range(2, 40)])
    assert [event.step for event in events if isinstance(event, Evaluated)] == list(range(10, 51, 5))
    assert [event.step for event in events if isinstance(event, SampleDue)] == [30, 50]
    assert isinstance(events[-2], CheckpointDue)


def test_the_warm_up(make_net: MakeNet, data: Batches) -> None:
    """Ten steps at the least where the phase is long or a time is its length, the settings' own where they are more."""

    def rises(**settings: Any) -> int:
        training = fit(make_net(), data, learning_rate=0.5, eval_every=1000, more=state, **settings)
        rates = []
        for event in training:
            if isinstance(event, Progress):
                rates.append(event.learning_rate)
            if len(rates) == 30:
                break
        return sum(rate < 0.5 for rate in rates)

    state = finished(make_net(), data, steps=3).state()
    assert rises(steps=1000) == 10
    assert rises(steps=1000, warmup_steps=15) == 15
    assert rises(steps=60, warmup_steps=15) == 3
    assert rises(minutes=100) == 10


@pytest.mark.parametrize("averaging", [None, 0.9])
def test_it_begins_with_the_kept_weights_and_the_moments(
    averaging: float | None, make_net: MakeNet, data: Batches, choosing: EncodedText
) -> None:
    """Where the last weights were worse, training goes on from the best; the first measurement is theirs; the moments are kept."""

    def worse(net: LanguageModel, batch: TensorBatch) -> torch.Tensor:
        loss = training_step(net, batch)[0]
        return loss if first.step < 6 else -loss

    first = fit(make_net(), data, steps=14, step=worse, choosing=choosing, eval_every=2, learning_rate=0.05, averaging=averaging)
    list(first)
    state = first.state()
    assert weights(state) != weights(state, "best")
    net = make_net(seed=8)
    more = fit(net, data, steps=4, choosing=choosing, learning_rate=0.05, averaging=averaging, more=state)
    begun = more.state()
    assert weights(begun) == weights(state, "best") == as_bytes(first.kept_weights())
    if averaging is not None:
        assert weights(begun, "averages") == weights(state, "best")
    moments = [name for name in state.tensors if name.startswith("moments/")]
    assert moments
    assert all(torch.equal(begun.tensors[name], state.tensors[name]) for name in moments)
    evaluated = next(more)
    assert isinstance(evaluated, Evaluated)
    assert (evaluated.step, evaluated.loss_nats, evaluated.best) == (14, first.best_loss, True)
    assert (more.best_loss, more.kept) == (first.best_loss, "best")
    list(more)
    assert evaluate_part(net, choosing).loss_nats == more.best_loss <= first.best_loss


def test_what_is_not_the_best_is_not_kept(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """A phase that only makes the network worse leaves it as it was."""

    def worse(net: LanguageModel, batch: TensorBatch) -> torch.Tensor:
        return -training_step(net, batch)[0]

    settings = TrainSettings(steps=8, eval_every=2, optimizer="sgd", beta1=0.0, learning_rate=0.5)
    first = finished(make_net(), data, settings=settings, choosing=choosing)
    net = make_net()
    more = finished(net, data, settings=settings, choosing=choosing, step=worse, more=first.state())
    assert as_bytes(net.get_weights()) == as_bytes(first.kept_weights())
    assert more.state().values["stale"] == 4


def test_without_a_choosing_part(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """Then the new weights are kept, not the best of the phase before."""
    first = finished(make_net(), data, steps=6, choosing=choosing)
    more = finished(make_net(), data, steps=6, more=first.state())
    assert more.kept == "last"
    assert as_bytes(more.net.get_weights()) != as_bytes(first.kept_weights())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["streams", "windows", "documents"])
def test_a_new_phase_is_resumed_exactly(mode: str, make_net: MakeNet, make_data: Callable[[str], Batches], choosing: EncodedText) -> None:
    """From any moment of the second phase, and of a third upon it."""
    settings = TrainSettings(steps=7, eval_every=3, averaging=0.8, learning_rate=0.02, schedule="cosine", sample_every=4, patience=5)
    shape: dict[str, Any] = {"cell": "lstm", "dropout": 0.3}

    def shown(events: list[Event]) -> list[str]:
        return [repr(dataclasses.replace(event, elapsed_s=0.0)) for event in events]

    state = finished(make_net(**shape), make_data(mode), settings=settings, choosing=choosing).state()
    for phase in (2, 3):
        whole = fit(make_net(**shape), make_data(mode), settings, choosing=choosing, more=state)
        assert whole.origin_step == 7 * (phase - 1)
        events, states = [], [whole.state()]
        for event in whole:
            events.append(event)
            states.append(whole.state())
        for place, before in enumerate(states[:-1]):
            rest = fit(make_net(seed=3, **shape), make_data(mode), settings, choosing=choosing, resume=before)
            assert shown(list(rest)) == shown(events[place:])
            assert weights(rest.state()) == weights(whole.state())
            assert as_bytes(rest.net.get_weights()) == as_bytes(whole.net.get_weights())
        state = whole.state()


def test_minutes_count_from_there(make_net: MakeNet, data: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new phase has all its minutes, also when it is interrupted and resumed; the seconds of training go on."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(trainer, "time", clock)

    def slow(net: LanguageModel, batch: TensorBatch) -> Any:
        clock.now += 10.0
        return training_step(net, batch)

    first = finished(make_net(), data, minutes=1, step=slow)
    state = first.state()
    clock.now += 1e6
    more = fit(make_net(), data, minutes=0.5, step=slow, more=state)
    events = []
    for event in more:
        events.append(event)
        if event.step == 8:
            more.stop()
    clock.now += 1e6
    events += list(fit(make_net(), data, minutes=0.5, step=slow, resume=more.state()))
    assert [event.step for event in events if isinstance(event, Progress)] == [7, 8, 9]
    assert [event.done for event in events if isinstance(event, Progress)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert events[-1].elapsed_s == 90.0


def test_another_optimizer_and_other_streams(make_net: MakeNet, data: Batches, encoded: EncodedText) -> None:
    """Moments of another optimizer are left out, and so is a state carried in streams of another number."""
    state = finished(make_net(), data, steps=3).state()
    more = fit(make_net(), streams(encoded, batch_size=8, seq_len=16), steps=4, optimizer="sgd", more=state)
    begun = more.state()
    assert not any("moments/" in name or "carried/" in name for name in begun.tensors)
    assert weights(begun) == weights(state)
    assert math.isfinite([event.loss_nats for event in more if isinstance(event, Progress)][-1])


def test_what_is_refused(make_net: MakeNet, data: Batches) -> None:
    """Another network; and both ways of going on at once."""
    state = finished(make_net(), data, steps=2).state()
    with pytest.raises(TrainingError, match="another network"):
        fit(make_net(hidden_size=9), data, steps=4, more=state)
    with pytest.raises(SettingsError, match="resume and more at once"):
        fit(make_net(), data, steps=4, more=state, resume=state)
