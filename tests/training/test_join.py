"""In the end the choosing part is learnt too: when, by which weights then, not where the network overfits, and exactly after a stop."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import escriba
from escriba.errors import TrainingError
from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.text.batches import Batches, streams
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import CharTokenizer
from escriba.training import trainer
from escriba.training.events import Evaluated, Finished, Joined
from escriba.training.state import TrainingState
from escriba.training.step import TensorBatch
from escriba.training.trainer import Fit, fit

MakeNet = Callable[..., LanguageModel]


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same precision on every machine."""
    monkeypatch.setattr(trainer, "chosen_precision", lambda settings, device: "float32")


@pytest.fixture
def whole(text: str, tokenizer: CharTokenizer) -> Batches:
    """The training and the choosing part together."""
    return streams(tokenizer.encode(text), batch_size=4, seq_len=16)


SETTINGS = TrainSettings(steps=20, eval_every=2, join=0.5, averaging=0.9, schedule="cosine", sample_length=0)


def test_it_joins_at_its_share(make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches) -> None:
    """From step 10 of 20 on: nothing is measured any more, the batches are those of the whole up to its end, the average is kept."""
    seen: list[np.ndarray] = []

    def step(net: LanguageModel, batch: TensorBatch) -> Any:
        seen.append(batch.inputs.numpy().copy())
        return trainer.training_step(net, batch)

    events = list(fit(make_net(), data, SETTINGS, choosing=choosing, whole=whole, step=step))
    assert [event.step for event in events if isinstance(event, Joined)] == [10]
    assert max(event.step for event in events if isinstance(event, Evaluated)) == 10
    assert isinstance(events[-1], Finished)
    assert events[-1].kept == "averaged"
    for number, inputs in enumerate(seen):
        wanted = data.batch(number) if number < 10 else whole.batch(len(whole) - 20 + number)
        np.testing.assert_array_equal(inputs, wanted.inputs)


def test_it_joins_by_the_clock(
    make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a minute of steps of three seconds: from the tenth on, and the last batch is the text's end."""
    clock = SimpleNamespace(now=0.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(trainer, "time", clock)
    seen: list[np.ndarray] = []

    def step(net: LanguageModel, batch: TensorBatch) -> Any:
        clock.now += 3.0
        seen.append(batch.inputs.numpy().copy())
        return trainer.training_step(net, batch)

    settings = SETTINGS.but(steps=None, minutes=1.0)
    events = list(fit(make_net(), data, settings, choosing=choosing, whole=whole, step=step))
    assert [event.step for event in events if isinstance(event, Joined)] == [10]
    assert len(seen) == 20
    assert len(whole) > 10
    np.testing.assert_array_equal(seen[-1], whole.batch(len(whole) - 1).inputs)


def test_where_there_is_time_it_goes_on_where_it_was(make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches) -> None:
    """With an epoch or more to go the batches of the whole go on at the step's own place."""
    training = fit(make_net(), data, SETTINGS, choosing=choosing, whole=whole, steps=50)
    list(training)
    assert len(whole) <= 25
    assert training.state().values["join_shift"] == 0


def test_a_state_that_joined_needs_the_whole(make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches) -> None:
    """Without it the order would be another one."""
    training = fit(make_net(), data, SETTINGS, choosing=choosing, whole=whole)
    list(training)
    with pytest.raises(TrainingError, match="whole is None"):
        fit(make_net(), data, SETTINGS, choosing=choosing, resume=training.state())


def test_an_older_state_goes_on(make_net: MakeNet, data: Batches, choosing: EncodedText) -> None:
    """One that does not know of joining."""
    training = fit(make_net(), data, SETTINGS, choosing=choosing)
    list(training)
    state = training.state()
    old = TrainingState(state.tensors, {name: value for name, value in state.values.items() if name != "join_shift"})
    assert fit(make_net(), data, SETTINGS, choosing=choosing, resume=old).step == 20


@pytest.mark.parametrize("changes", [{"join": None}, {"averaging": None}])
def test_without_it(make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches, changes: dict[str, Any]) -> None:
    """Without a share the best weights are chosen to the end; without an average the last are kept."""
    events = list(fit(make_net(), data, SETTINGS, choosing=choosing, whole=whole, **changes))
    assert any(isinstance(event, Joined) for event in events) == ("join" not in changes)
    assert events[-1].kept == ("best" if "join" in changes else "last")


def test_who_overfits_does_not_join(make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches) -> None:
    """With a rate at which the loss on the choosing part only grows, the best weights are chosen to the end."""
    worse = iter(range(100))

    def step(net: LanguageModel, batch: TensorBatch) -> Any:  # what it learns makes every other text unlikelier, more and more
        loss, state = trainer.training_step(net, batch)
        return -loss * (1 + next(worse)), state

    events = list(fit(make_net(), data, SETTINGS, choosing=choosing, whole=whole, step=step, learning_rate=0.01))
    assert not any(isinstance(event, Joined) for event in events)
    assert events[-1].kept == "best"


def test_who_joined_does_not_run_out_of_patience(make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches) -> None:
    """No gain for less than an epoch, then joining, and more than an epoch to go: nothing is measured any more, so nothing ends it."""
    calls = itertools.count()

    def little_learnt(net: LanguageModel, batch: TensorBatch) -> Any:
        return (1.0 if next(calls) == 0 else 0.0) * trainer.training_step(net, batch)[0]

    settings = SETTINGS.but(steps=3 * len(data), join=0.25, eval_every=1, patience=2, optimizer="sgd", beta1=0.0, averaging=None)
    events = list(fit(make_net(), data, settings, choosing=choosing, whole=whole, step=little_learnt))
    assert any(isinstance(event, Joined) for event in events)
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].step) == ("length", 3 * len(data))


def test_what_learns_nothing_does_not_join(make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches) -> None:
    """Where every evaluation is worse than the one at the beginning, the weights of the beginning are kept, not the last."""
    settings = SETTINGS.but(learning_rate=9.0, averaging=None, schedule="constant", steps=3, eval_every=1)
    net = make_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    events = list(fit(net, data, settings, choosing=choosing, whole=whole))
    assert not any(isinstance(event, Joined) for event in events)
    assert isinstance(events[-1], Finished)
    assert (events[-1].kept, events[-1].step) == ("best", 3)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("stop", [6, 10, 13])
def test_going_on_is_exact(make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches, stop: int, optimizer: str) -> None:
    """Stopped before, at and after the joining: the weights are those of a training that never stopped, and it joins once."""
    parts: dict[str, Any] = {"choosing": choosing, "whole": whole, "optimizer": optimizer}
    through = fit(make_net(), data, SETTINGS, **parts)
    list(through)
    first = fit(make_net(), data, SETTINGS, **parts)
    joined = 0
    for event in first:
        joined += isinstance(event, Joined)
        if event.step == stop and type(event).__name__ in ("CheckpointDue", "Progress"):
            state = first.state()
            if type(event).__name__ == "CheckpointDue" or stop == 13:
                break
    second: Fit = fit(make_net(seed=9), data, SETTINGS, resume=state, **parts)
    joined += sum(isinstance(event, Joined) for event in second)
    assert joined == 1
    mine, theirs = second.kept_weights(), through.kept_weights()
    assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)


def test_a_new_phase_chooses_by_nothing_that_was_learnt(make_net: MakeNet, data: Batches, choosing: EncodedText, whole: Batches) -> None:
    """Trained further, it goes on with the whole from the first step."""
    parts: dict[str, Any] = {"choosing": choosing, "whole": whole}
    first = fit(make_net(), data, SETTINGS, **parts)
    list(first)
    events = list(fit(make_net(), data, SETTINGS, more=first.state(), **parts))
    assert not any(isinstance(event, Evaluated | Joined) for event in events)
    assert events[-1].kept == "averaged"


def test_train_joins_what_it_cut_itself(story: str, names: tuple[str, ...], tmp_path: Path) -> None:
    """A stream and documents; a choosing text of the user's own is never learnt."""
    usual = {"hidden_size": 8, "embedding_dim": 4, "batch_size": 8, "seq_len": 20, "steps": 20, "join": 0.5, "sample_length": 0}
    for source in ({"text": story}, {"documents": names}):
        events: list[object] = []
        escriba.train(**source, **usual, watcher=events.append)
        assert sum(isinstance(event, Joined) for event in events) == 1
    own = {"val": story[-1800:-900], "test": story[-900:]}
    for name, text in own.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    events = []
    escriba.train(text=story[:-1800], **{name: tmp_path / name for name in own}, **usual, watcher=events.append)
    assert not any(isinstance(event, Joined) for event in events)
