"""`fit`: the loop that teaches a network, as an iterator of events.

It knows nothing of texts and touches no disk: whoever iterates decides what to show, to sample and to save. Stopping is
closing the iterator (or just not asking for the next event); the network then holds what can be used.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from escriba.errors import TrainingError
from escriba.model.language_model import LanguageModel, ModelState
from escriba.settings import TrainSettings
from escriba.text.batches import Batches
from escriba.text.encoded import EncodedText
from escriba.training.evaluation import Evaluation, evaluate_part
from escriba.training.events import CheckpointDue, EpochEnded, Evaluated, Event, Finished, Progress, SampleDue
from escriba.training.optimizer import Averager, Plateau, build_optimizer, copy_into, learning_rate
from escriba.training.state import TrainingState, finite_or_none, optimizer_tensors, restore_optimizer, restore_parameters
from escriba.training.step import StepFunction, TensorBatch, autocast, chosen_precision, training_step

__all__ = ["Fit", "fit"]

EVALUATIONS = 10
"""Evaluations in all, the one at step 0 included, unless the settings say every how many steps."""
SAMPLES = 5
SAVE_EVERY_S = 60.0
FIRST_SAVE_S = 4.0


def fit(
    net: LanguageModel,
    data: Batches,
    settings: TrainSettings | None = None,
    *,
    choosing: EncodedText | None = None,
    step: StepFunction | None = None,
    budget_s: float | None = None,
    resume: TrainingState | None = None,
    **overrides: Any,
) -> Fit:
    """Teaches a network, and says what happens.

    Args:
        net: the network; it learns in place.
        data: `windows`, `streams` or `documents`.
        settings: how it learns; without a length there, one epoch.
        choosing: a part of the text that is not learnt from, on which the loss is measured and the best weights are chosen.
        step: a step of your own: ``step(net, batch) -> loss`` or ``-> (loss, state)``.
        budget_s: seconds of training, in place of the settings' minutes.
        resume: what `Fit.state` gave before: training goes on from there.
        **overrides: single settings by name, for example ``epochs=5``.

    Returns:
        An iterator of events, of which every step gives at least `Progress`, and the last is `Finished`.

    Raises:
        SettingsError: a setting is out of its range.
        TrainingError: while iterating, when the loss is no longer a number.
    """
    chosen = (settings or TrainSettings()).but(**overrides)
    if all(length is None for length in (chosen.steps, chosen.epochs, chosen.minutes)):
        chosen = chosen.but(epochs=1)
    if budget_s is None and chosen.minutes is not None:
        budget_s = chosen.minutes * 60.0
    run = Fit(net, data, chosen, choosing=choosing, step=step or training_step, budget_s=budget_s)
    if resume is not None:
        run.restore(resume)
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
        step: StepFunction,
        budget_s: float | None,
    ) -> None:
        self.net, self.data, self.settings, self.choosing, self.step_function, self.budget_s = net, data, settings, choosing, step, budget_s
        self.total_steps = max(1, math.ceil(settings.epochs * len(data))) if settings.epochs is not None else settings.steps
        self.device, self.precision = torch.device(settings.device), chosen_precision(settings)
        net.to(self.device)
        self._parameters = list(net.parameters())
        self._optimizer = build_optimizer(net, settings)
        self._averager = None if settings.averaging is None else Averager(self._parameters, settings.averaging)
        self._plateau = Plateau(settings.plateau_patience)
        self._rng = torch.Generator(self.device).manual_seed(settings.seed)
        net.dropout.generator = self._rng
        self.step = self.symbols_seen = 0
        self.best_loss = math.inf
        self._best: list[Tensor] | None = None
        self._raw: list[Tensor] | None = None
        self._stale = self._evaluations = self._samples = self._evaluated_at = 0
        self._carried: ModelState | None = None
        self._stopping = False
        self._epoch_losses: list[tuple[float, int]] = []
        self._began = time.perf_counter()
        self._saved_at = -math.inf
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
    def elapsed_s(self) -> float:
        """Seconds of training so far."""
        return time.perf_counter() - self._began

    @property
    def done(self) -> float:
        """The share of the training that is over, 0 to 1: by steps, or by seconds where a time is the measure."""
        spent, whole = (self.elapsed_s, self.budget_s) if self.total_steps is None else (self.step, self.total_steps)
        return min(1.0, spent / whole) if whole and whole > 0 else 1.0

    @property
    def kept(self) -> str:
        """Which weights are kept: the "best" on the choosing part; without one the "averaged", or else the "last"."""
        if self._best is not None:
            return "best"
        return "last" if self._averager is None else "averaged"

    def _where(self) -> tuple[int, float, float, float]:
        return self.step, self.step / len(self.data), self.elapsed_s, self.done

    def _run(self) -> Generator[Event]:
        self.net.train()
        try:
            if self.step == 0:
                yield from self._evaluate()
            over = self.done >= 1.0
            while not over and not self._out_of_patience() and not self._stopping:
                yield self._one_step()
                over = self.done >= 1.0
                yield from self._what_is_due(over)
        finally:
            self._leave_kept_weights()
        reason = "length" if over else "interrupted" if self._stopping else "patience"
        yield Finished(*self._where(), reason=reason, kept=self.kept)

    def _what_is_due(self, over: bool) -> Iterator[Event]:
        """After a step: the end of an epoch, an evaluation, samples, a checkpoint; at the end all of them."""
        settings = self.settings
        epoch_over = self.step % len(self.data) == 0
        if epoch_over:
            yield self._end_of_epoch()
        evaluation_due = over or self._is_due(settings.eval_every, self._evaluations / EVALUATIONS)
        if evaluation_due:
            yield from self._evaluate()
        if settings.sample_length and (over or self._is_due(settings.sample_every, (self._samples + 1) / SAMPLES)):
            self._samples = int(self.done * SAMPLES)
            with self._holding(self._kept_tensors()):
                yield SampleDue(*self._where())
        every = settings.keep_every
        if every == "epoch" and epoch_over:
            yield CheckpointDue(*self._where(), keep=f"epoch-{self.step // len(self.data)}")
        elif every not in (None, "epoch") and self.step % int(every) == 0:
            yield CheckpointDue(*self._where(), keep=f"step-{self.step}")
        elif evaluation_due or self.elapsed_s > max(FIRST_SAVE_S, self._saved_at + SAVE_EVERY_S):
            yield CheckpointDue(*self._where())
        else:
            return
        self._saved_at = self.elapsed_s

    def _is_due(self, every: int | None, at: float) -> bool:
        """Whether something is due that happens every so many steps, or else when the share `at` of the training is over."""
        return self.step % every == 0 if every is not None else self.done >= at

    def _out_of_patience(self) -> bool:
        return self.settings.patience is not None and self._stale >= self.settings.patience

    def _one_step(self) -> Progress:
        batch = self.data.batch(self.step)
        rate = learning_rate(self.settings, self.step, self.done) * self._plateau.factor
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with autocast(self.device, self.precision):
            outcome = self.step_function(self.net, TensorBatch.of(batch, self.device, self._carried if batch.carry else None))
        loss, state = outcome if isinstance(outcome, tuple) else (outcome, None)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self.settings.clip_norm or math.inf))
        loss_nats = float(loss.detach())
        if not (math.isfinite(loss_nats) and math.isfinite(norm)):
            raise TrainingError(
                f"the loss is {loss_nats} and the gradient's length {norm} at step {self.step + 1}, rate {rate:g}",
                expected="finite numbers; this step was not taken, and nothing of it is saved",
                hint=f"train with a smaller rate: --set train.learning_rate={rate / 3:.1g}, or --set train.clip_norm=1",
            )
        self._optimizer.step()
        self._carried = None if state is None else tuple(tuple(one.detach().float() for one in layer) for layer in state)
        self.step += 1
        if self._averager is not None:
            self._averager.update(self.step)
        symbols = batch.targets.size if batch.mask is None else int(batch.mask.sum())
        self.symbols_seen += symbols
        self._epoch_losses.append((loss_nats, symbols))
        return Progress(*self._where(), loss_nats, rate, norm, self.symbols_seen)

    def _end_of_epoch(self) -> EpochEnded:
        losses, self._epoch_losses = self._epoch_losses, []
        mean = sum(loss * symbols for loss, symbols in losses) / max(1, sum(symbols for _, symbols in losses))
        last = [loss for loss, _ in losses[-10:]]
        return EpochEnded(*self._where(), self.step // len(self.data), mean, sum(last) / max(1, len(last)))

    def _evaluate(self) -> Iterator[Evaluated]:
        """Measures the averaged weights, or else the present ones, and remembers them if they are the best so far."""
        self._evaluations, self._evaluated_at = int(self.done * EVALUATIONS) + 1, self.step
        if self.choosing is None:
            return
        found = self._measured(self.choosing)
        best = found.loss_nats < self.best_loss  # a loss that is not a number is never the best
        if best:
            self.best_loss = found.loss_nats
            self._best = self._present()
        self._stale = 0 if best else self._stale + 1
        if self.settings.schedule == "plateau":
            self._plateau.evaluated(best)
        yield Evaluated(*self._where(), found.loss_nats, found.symbols, best)

    def _present(self) -> list[Tensor]:
        """Copies of the weights that are measured now: the averaged ones, or else those being trained."""
        return [tensor.detach().clone() for tensor in (self._averager.averages if self._averager else self._parameters)]

    def _measured(self, part: EncodedText) -> Evaluation:
        with self._holding(self._averager.averages if self._averager else None):
            return evaluate_part(self.net, part)

    def _kept_tensors(self) -> list[Tensor] | None:
        """The weights to keep, or None for those the network holds."""
        if self._best is not None:
            return self._best
        return self._averager.averages if self._averager is not None else None

    @contextlib.contextmanager
    def _holding(self, weights: list[Tensor] | None) -> Iterator[None]:
        """Inside, the network holds these weights; None: its own."""
        if weights is None:
            yield
            return
        self._raw = [parameter.detach().clone() for parameter in self._parameters]
        copy_into(self._parameters, weights)
        try:
            yield
        finally:
            copy_into(self._parameters, self._raw)
            self._raw = None

    def kept_weights(self) -> dict[str, np.ndarray]:
        """The weights that would be kept if training ended now, by name."""
        with self._holding(self._kept_tensors() if self._raw is None else None):
            return self.net.get_weights()

    def present_weights(self) -> dict[str, np.ndarray]:
        """The weights of this moment by name, averaged where averages are made, whether or not they are the best so far."""
        with self._holding(self._averager.averages if self._averager is not None and self._raw is None else None):
            return self.net.get_weights()

    def _leave_kept_weights(self) -> None:
        """Writes the kept weights into the network for good; `state` still knows the others."""
        kept = self._kept_tensors()
        if self.choosing is not None and self.step > self._evaluated_at and self._measured(self.choosing).loss_nats < self.best_loss:
            kept = self._present()  # stopped between two evaluations: these are the best, but who resumes need not know
        self._raw = [parameter.detach().clone() for parameter in self._parameters]
        copy_into(self._parameters, kept or self._raw)
        self.net.eval()

    def state(self) -> TrainingState:
        """All that going on needs. To be asked between events, or after a close."""
        names = [name for name, _ in self.net.named_parameters()]
        groups = {"weights": self._raw or self._parameters, "averages": self._averager and self._averager.averages, "best": self._best}
        tensors: dict[str, Tensor] = {"random/dropout": self._rng.get_state(), **optimizer_tensors(self._optimizer)}
        for group, members in groups.items():
            tensors.update({f"{group}/{name}": member for name, member in zip(names, members or (), strict=False)})
        for layer, arrays in enumerate(self._carried or ()):
            tensors.update({f"carried/{layer}/{index}": array for index, array in enumerate(arrays)})
        values = {
            "step": self.step,
            "symbols_seen": self.symbols_seen,
            "elapsed_s": self.elapsed_s,
            "best_loss": finite_or_none(self.best_loss),
            "counters": [self._stale, self._evaluations, self._samples, self._evaluated_at],
            "plateau": [self._plateau.stale, self._plateau.factor],
            "epoch_losses": list(self._epoch_losses),
        }
        return TrainingState({name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, values)

    def restore(self, state: TrainingState) -> None:
        """Goes back, or on, to a state; to be called before the first event.

        Raises:
            TrainingError: the state is of another network.
        """
        names = [name for name, _ in self.net.named_parameters()]
        restore_parameters(self._parameters, state.group("weights", names))
        if self._averager is not None and (averages := state.group("averages", names)):
            self._averager.averages = [tensor.to(self.device, copy=True) for tensor in averages]  # averaging writes into them
        best = state.group("best", names)
        self._best = None if best is None else [tensor.to(self.device) for tensor in best]
        restore_optimizer(self._optimizer, state.tensors)
        self._carried = state.carried(self.device)
        self._rng.set_state(state.tensors["random/dropout"])
        values = state.values
        self.step, self.symbols_seen = values["step"], values["symbols_seen"]
        self._began = time.perf_counter() - values["elapsed_s"]
        self._saved_at = values["elapsed_s"]
        self.best_loss = math.inf if values["best_loss"] is None else values["best_loss"]
        self._stale, self._evaluations, self._samples, self._evaluated_at = values["counters"]
        self._plateau.stale, self._plateau.factor = values["plateau"]
        self._epoch_losses = [(loss, symbols) for loss, symbols in values["epoch_losses"]]
