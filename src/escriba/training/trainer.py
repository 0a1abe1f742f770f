"""`fit`: the loop that teaches a network, as an iterator of events.

It knows nothing of texts and touches no disk: whoever iterates decides what to show, to sample and to save. Stopping is
closing the iterator (or just not asking for the next event); the network then holds what can be used.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from escriba.errors import TrainingError
from escriba.language import tr
from escriba.model.language_model import LanguageModel, ModelState
from escriba.settings import TrainSettings
from escriba.text.batches import Batches
from escriba.text.encoded import EncodedText
from escriba.training.arguments import check_arguments, loss_and_state
from escriba.training.due import EVALUATIONS, SAMPLES, Due
from escriba.training.evaluation import Evaluation, evaluate_part
from escriba.training.events import CheckpointDue, EpochEnded, Evaluated, Event, Finished, Joined, Progress, SampleDue, SteppedBack
from escriba.training.keeping import Keeping, Updated, no_sound_step
from escriba.training.memory import give_back_memory, keep_memory
from escriba.training.optimizer import Plateau, learning_rate
from escriba.training.scheduled import with_own_symbols
from escriba.training.state import Tally, TrainingState
from escriba.training.step import StepFunction, TensorBatch, autocast, chosen_device, chosen_precision, symbols_of, training_step

__all__ = ["Fit", "fit"]

GOOD_EVERY = 100
"""Steps after which the weights are remembered as good ones; so they are at every evaluation."""
MOST_RESCUES = 3
RESCUED_RATE = 0.3
LEAST_WARM_UP = 10


def fit(
    net: LanguageModel,
    data: Batches,
    settings: TrainSettings | None = None,
    *,
    choosing: EncodedText | None = None,
    whole: Batches | None = None,
    step: StepFunction | None = None,
    budget_s: float | None = None,
    resume: TrainingState | None = None,
    more: TrainingState | None = None,
    **overrides: Any,
) -> Fit:
    """Teaches a network, and says what happens.

    A step whose loss, gradient or new weights are not finite is not taken: the network goes back to its last good weights (those of
    the last evaluation, or of the last hundred steps), the rate is 0.3 of what it was from then on, and the data go on behind the
    step. The third time it is an error.

    Args:
        net: the network; it learns in place.
        data: `windows`, `streams` or `documents`.
        settings: how it learns; without a length there, one epoch.
        choosing: a part of the text that is not learnt from, on which the loss is measured and the best weights are chosen.
        whole: batches of the training and the choosing part together, which are learnt from once the share `join` of the training is
            over, unless the network overfits by then: the last two evaluations on the choosing part, the last of them an epoch or
            more after the best, brought no gain, or none was better than the first (should the loss fall, it is learnt from then on).
            From there on nothing is chosen any more, and the averaged or the last weights are kept.
        step: a step of your own: ``step(net, batch) -> loss`` or ``-> (loss, state)``.
        budget_s: seconds of training, in place of the settings' minutes.
        resume: what `Fit.state` gave before: training goes on from there, and with a length in steps or epochs everything is, bit for
            bit, as if it had never stopped.
        more: what `Fit.state` gave at the end of a training, upon which this one is a new phase. It begins with the weights that were
            kept (the best, else the averaged, else the last) and with the optimizer's moments. Steps, symbols, seconds and the order of
            the batches go on; the length, the schedule with a short warm-up, and which weights are best begin anew.
        **overrides: single settings by name, for example ``epochs=5``.

    Returns:
        An iterator of events, of which every step gives at least `Progress` (or `SteppedBack`), and the last is `Finished`.

    Raises:
        SettingsError: a setting is out of its range, or an argument is of another kind.
        TrainingError: the state is of another network; while iterating, when a step gives back no loss, or no finite one again and again.
    """
    check_arguments(net, data, choosing, whole, step, budget_s, resume, more)
    chosen = (settings or TrainSettings()).but(**overrides)
    if all(length is None for length in (chosen.steps, chosen.epochs, chosen.minutes)):
        chosen = chosen.but(epochs=1)
    if budget_s is None and chosen.minutes is not None:
        budget_s = chosen.minutes * 60.0
    run = Fit(net, data, chosen, choosing=choosing, whole=whole, step=step or training_step, budget_s=budget_s)
    if resume is not None:
        run.restore(resume)
    elif more is not None:
        run.restore(more, new_phase=True)
    return run


class Fit(Iterator[Event]):
    """One training under way: iterate for its events, close it to stop, ask `state` for what resuming needs."""

    def __init__(
        self,
        net: LanguageModel,
        data: Batches,
        settings: TrainSettings,
        *,
        choosing: EncodedText | None,
        whole: Batches | None,
        step: StepFunction,
        budget_s: float | None,
    ) -> None:
        self.net, self.data, self.settings, self.choosing, self.step_function, self.budget_s = net, data, settings, choosing, step, budget_s
        self.total_steps = max(1, math.ceil(settings.epochs * len(data))) if settings.epochs is not None else settings.steps
        self.device = chosen_device(settings)
        self.precision = chosen_precision(settings, self.device)
        net.to(self.device)
        self._keeping = Keeping(net, settings)
        self._plateau, self._schedule = Plateau(settings.plateau_patience), settings
        self._rng = torch.Generator(self.device).manual_seed(settings.seed)
        net.dropout.generator = self._rng
        self._tally, self._due = Tally(), Due(settings, len(data))
        known = data.tokenizer
        self._never = () if known is None else tuple(one for one in (known.unk_id, known.eos_id) if one is not None)
        self._carried: ModelState | None = None
        self._whole, self._stopping = whole, False
        self._began = time.perf_counter()
        self._ended: float | None = None
        self._events = self._run()

    def __next__(self) -> Event:
        return next(self._events)

    def stop(self) -> None:
        """Asks for the end after the step under way: what is due at it still comes, then `Finished`."""
        self._stopping = True

    def close(self) -> None:
        """Stops; the network then holds the weights that would be kept."""
        self._events.close()

    @property
    def step(self) -> int:
        """Steps so far."""
        return self._tally.step

    @property
    def origin_step(self) -> int:
        """The step at which this training began: 0, or where the finished one ended upon which it is a new phase."""
        return self._tally.origin_step

    @property
    def symbols_seen(self) -> int:
        """Targets learnt from so far."""
        return self._tally.symbols_seen

    @property
    def best_loss(self) -> float:
        """The lowest loss on the choosing part in nats; infinity before there is one."""
        return math.inf if self._tally.best_loss is None else self._tally.best_loss

    @property
    def smoothed_loss(self) -> float | None:
        """An exponential mean of the steps' losses in nats, each new one weighing a twentieth; None before the first."""
        return self._tally.smoothed_loss

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far; they stand still when it is over."""
        return (time.perf_counter() if self._ended is None else self._ended) - self._began

    @property
    def done(self) -> float:
        """The share of the training that is over, 0 to 1: by steps, or by seconds where a time is the measure."""
        tally = self._tally
        if self.total_steps is None:
            spent, whole = self.elapsed_s - tally.origin_s, self.budget_s
        else:
            spent, whole = tally.step - tally.origin_step, self.total_steps
        return min(1.0, spent / whole) if whole and whole > 0 else 1.0

    @property
    def kept(self) -> str:
        """Which weights are kept: the "best" on the choosing part; without one the "averaged", or else the "last"."""
        return self._keeping.kind

    @property
    def _learnt_from(self) -> Batches:
        """What is learnt from now."""
        return self.data if self._whole is None or self._tally.join_shift is None else self._whole

    @property
    def _chosen_by(self) -> EncodedText | None:
        """What is chosen by now: nothing once the choosing part is learnt too."""
        return self.choosing if self._tally.join_shift is None else None

    def _where(self) -> tuple[int, float, float, float]:
        return self.step, self.step / len(self.data), self.elapsed_s, self.done

    def _run(self) -> Generator[Event]:
        self._begin()
        if self.device.type == "cpu":
            keep_memory()
        try:
            if self.step == self.origin_step and self._tally.evaluated_at < self.step:
                yield from self._evaluate()
            over = self.done >= 1.0
            if self.step > self.origin_step:  # what was due at the state's own step, as far as it had not come yet
                yield from self._what_is_due(over)
            while not over and not self._out_of_patience() and not self._stopping:
                yield self._one_step()
                over = self.done >= 1.0
                yield from self._what_is_due(over)
        finally:
            self._leave_kept_weights()
            give_back_memory()
            self._ended = time.perf_counter()
        reason = "length" if over else "interrupted" if self._stopping else "patience"
        yield Finished(*self._where(), reason=reason, kept=self.kept)

    def _begin(self) -> None:
        self._keeping.check()
        if not self._keeping.has_good:
            self._keeping.remember(self.step)
        if self.origin_step:  # the moments are those of other rates: a new phase begins gently
            warm_up = max(self.settings.warmup_steps, LEAST_WARM_UP)
            most = warm_up if self.total_steps is None else math.ceil(self.total_steps / 20)
            self._schedule = self.settings.but(warmup_steps=min(warm_up, most))

    def _what_is_due(self, over: bool) -> Iterator[Event]:
        """After a step: the end of an epoch, an evaluation, samples, a checkpoint."""
        tally, due = self._tally, self._due
        if due.epoch_end(tally):
            yield EpochEnded(*self._where(), self.step // len(self.data), *tally.close_epoch())
        if due.evaluation(tally, self.done, over):
            yield from self._evaluate()
        if due.sample(tally, self.done, over or self._out_of_patience()):
            tally.samples, tally.sampled_at = int(self.done * SAMPLES), self.step
            with self._keeping.holding(self._keeping.kept()):
                yield SampleDue(*self._where())
        if due.checkpoint(tally, self.elapsed_s):
            tally.saved_at = self.step
            yield CheckpointDue(*self._where(), keep=due.name_to_keep(self.step))
            due.saved(self.elapsed_s)
        if self._whole is not None and due.joining(tally, self.done):
            tally.join_shift = due.shift(tally, self.done, len(self._whole))
            self._keeping.best = self._carried = None
            yield Joined(*self._where())

    def _out_of_patience(self) -> bool:
        return self.settings.patience is not None and self._due.no_gain(self._tally, self.settings.patience)

    def _rate(self) -> float:
        """The rate of the next step."""
        rate = learning_rate(self._schedule, self.step - self.origin_step, self.done)
        return rate * self._plateau.factor * self._tally.rate_factor

    def _one_step(self) -> Progress | SteppedBack:
        tally, rate, began = self._tally, self._rate(), self.elapsed_s
        data = self._learnt_from.batch(self.step + (tally.join_shift or 0))
        self.net.train()  # whoever was given an event may have used the network
        batch = TensorBatch.of(data, self.device, self._carried if data.carry else None)
        with autocast(self.device, self.precision):
            batch = with_own_symbols(self.net, batch, self.settings.scheduled_sampling * self.done, self._rng, never=self._never)
            outcome = self.step_function(self.net, batch)
        loss, state = loss_and_state(outcome)
        tally.step += 1
        updated = self._keeping.update(loss, rate, self.settings.clip_norm, tally.step)
        self._due.stepped(began, self.elapsed_s)
        if not updated.is_sound:
            return self._step_back(updated, rate)
        self._carried = None if state is None else tuple(tuple(one.detach().float() for one in layer) for layer in state)
        tally.learnt(updated.loss_nats, symbols_of(data))
        if tally.step % GOOD_EVERY == 0:
            self._remember()
        return Progress(*self._where(), updated.loss_nats, rate, updated.gradient_norm, self.symbols_seen)

    def _remember(self) -> None:
        """Takes the present weights for good ones, unless the loss has just leapt up: then it may be about to overflow."""
        last, mean = self._tally.last_loss, self._tally.smoothed_loss
        if last is None or mean is None or last <= mean + abs(mean) + 1.0:
            self._keeping.remember(self.step)

    def _step_back(self, failed: Updated, rate: float) -> SteppedBack:
        """Undoes a step that is no use; the data go on, and a state carried by such weights does not."""
        tally = self._tally
        tally.rescues += 1
        self._keeping.step_back()
        self._carried = None
        if tally.rescues >= MOST_RESCUES:
            raise no_sound_step(failed, self.step, rate, RESCUED_RATE, self.settings.learning_rate)
        tally.rate_factor *= RESCUED_RATE
        return SteppedBack(*self._where(), failed.loss_nats, rate * RESCUED_RATE, tally.rescues)

    def _evaluate(self) -> Iterator[Evaluated]:
        """Measures the averaged weights, or else the present ones, and remembers them if they are the best so far."""
        tally = self._tally
        tally.evaluations, tally.evaluated_at = int(self.done * EVALUATIONS) + 1, self.step
        if self._chosen_by is None:
            self._remember()
            return
        found = self._measured(self._chosen_by)
        best = found.loss_nats < self.best_loss  # a loss that is not a number is never the best
        if best:
            tally.best_loss, self._keeping.best = found.loss_nats, self._keeping.present()
        if math.isfinite(found.loss_nats):
            self._remember()
        tally.stale, tally.best_at = (0, self.step) if best else (tally.stale + 1, tally.best_at)
        if self.settings.schedule == "plateau":
            self._plateau.evaluated(best)
        yield Evaluated(*self._where(), found.loss_nats, found.symbols, best)

    def _measured(self, part: EncodedText) -> Evaluation:
        with self._keeping.holding(self._keeping.measured()):
            return evaluate_part(self.net, part)

    def kept_weights(self) -> dict[str, np.ndarray]:
        """The weights that would be kept if training ended now, by name."""
        return self._keeping.kept_arrays()

    def present_weights(self) -> dict[str, np.ndarray]:
        """The weights of this moment by name, averaged where averages are made, whether or not they are the best so far."""
        return self._keeping.present_arrays()

    def _leave_kept_weights(self) -> None:
        """Writes the kept weights into the network for good; `state` still knows the others."""
        kept = self._keeping.kept()
        part = self._chosen_by
        if part is not None and self.step > self._tally.evaluated_at and self._measured(part).loss_nats < self.best_loss:
            kept = self._keeping.present()  # stopped between two evaluations: these are the best, but who resumes need not know
        self._keeping.leave(kept)
        self.net.eval()

    def state(self) -> TrainingState:
        """All that going on needs: whoever resumes is given the events behind the last one that was given here."""
        tensors: dict[str, Tensor] = {"random/dropout": self._rng.get_state(), **self._keeping.tensors(self.step)}
        for layer, arrays in enumerate(self._carried or ()):
            tensors.update({f"carried/{layer}/{index}": array for index, array in enumerate(arrays)})
        values = {
            **asdict(self._tally),
            "elapsed_s": self.elapsed_s,
            "plateau": [self._plateau.stale, self._plateau.factor],
            "good_step": self._keeping.good_step,
            "optimizer": self.settings.optimizer,
        }
        return TrainingState({name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, values)

    def restore(self, state: TrainingState, *, new_phase: bool = False) -> None:
        """Goes back, or on, to a state; to be called before the first event.

        Args:
            state: where to go on.
            new_phase: whether that training is finished, and this one is a new phase upon it.

        Raises:
            TrainingError: the state is of another network, another optimizer, or not whole.
        """
        try:
            self._restore(state, new_phase)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                tr("the saved training cannot be gone on with: {reason}", reason=error),
                expected=tr("what Fit.state gave"),
                hint=tr("begin anew without --resume"),
            ) from error

    def _restore(self, state: TrainingState, new_phase: bool) -> None:
        values, tally, before = state.values, Tally.of(state.values), state.values["optimizer"]
        if before != (own := self.settings.optimizer):
            if not new_phase:
                raise TrainingError(tr("the saved training is of the optimizer {saved!r}, not {optimizer!r}", saved=before, optimizer=own))
            state = TrainingState({name: tensor for name, tensor in state.tensors.items() if "moments/" not in name}, values)
        if tally.join_shift is not None and self._whole is None and not new_phase:
            raise TrainingError(tr("the saved training learns the choosing part too, and whole is None"), expected=tr("the same batches"))
        self._tally, carried = tally, state.carried(self.device)
        rows, size = None if carried is None else len(carried[0][0]), self._learnt_from.batch_size
        if rows not in (None, size) and self.data.mode == "streams":
            if not new_phase:
                met = tr("the saved training reads {rows} streams side by side, these batches {size}", rows=rows, size=size)
                raise TrainingError(met)
            carried = None
        self._keeping.restore(state, tally.step, values["good_step"])
        self._rng.set_state(state.tensors["random/dropout"])
        self._began = time.perf_counter() - values["elapsed_s"]
        self._carried = carried
        if new_phase:
            self._keeping.begin_with_kept(tally.step)
            tally.begin_phase(values["elapsed_s"])
        else:
            self._plateau.stale, self._plateau.factor = values["plateau"]
