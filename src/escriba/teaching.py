"""A training from beginning to end: what `fit` says is recorded in the folder, told to who watches, and sampled.

It knows nothing of how a watcher shows it.
"""

from __future__ import annotations

import datetime as dt
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from escriba import __version__
from escriba.baselines import MOST_HELD_OUT, USUAL_SECONDS, compare, measured_part
from escriba.closing import keep_typical, typical_symbols
from escriba.history import Begun, Closed, Sampled, corpus_facts
from escriba.inference.generator import Generator
from escriba.inference.typical import Typicality
from escriba.language import Told, in_english, later, told, tr
from escriba.model.loss import bits, perplexity
from escriba.recalling import Before
from escriba.settings import SampleSettings
from escriba.text.batches import Batches
from escriba.text.encoded import EncodedText
from escriba.text.summary import lines_before_training
from escriba.training.evaluation import engine_now, evaluate_part
from escriba.training.events import CheckpointDue, EpochEnded, Evaluated, Finished, Joined, Progress, SampleDue, SteppedBack
from escriba.training.interrupt import StopRequest, quiet_if_broken
from escriba.training.parts import unseen_note
from escriba.training.plan import Plan, characters_per_symbol
from escriba.training.probe import running_on
from escriba.training.run import RunFolder
from escriba.training.state import TrainingState
from escriba.training.trainer import Fit, fit

__all__ = ["Teaching", "Watcher"]

Watcher = Callable[[Any], None]
"""Who watches a training: called with every event, and with `Begun`, `Sampled` and `Closed`."""

RECORD_EVERY = 10
"""Steps between two lines of progress in metrics.jsonl."""
COMPARED_SHARE = 0.05
"""The share of a time that the comparison with an n-gram and with packers may take."""
COMPARED_PER_S = 250_000
"""Characters that it goes through in a second, about."""
READING = 2.0
"""How many times as fast as learning is reading, at least."""


@dataclass
class Teaching:
    """One training under way.

    Attributes:
        plan: what is learnt, from what, by what.
        folder: where it is kept; None: nowhere.
        watcher: who watches.
        began: the clock (``time.perf_counter``) when the whole command began.
        resume: the state to go on from.
        more: the state of a finished training, after which this one is a new phase.
        restored: what is gone on from, in a sentence.
        sources: the text's sources as they were given, by which it is found again.
        before: what models learnt with whose weights it begins.
        typicality: how surprising held-out texts of each length are, once the training is over; None: not known.
    """

    plan: Plan
    folder: RunFolder | None
    watcher: Watcher
    began: float
    resume: TrainingState | None = None
    more: TrainingState | None = None
    restored: Told | None = None
    sources: tuple[str, ...] = ()
    before: Before = field(default_factory=Before)
    typicality: Typicality | None = None

    def run(self) -> Closed:
        """Trains to the end, or until Ctrl-C; the plan's network then holds the kept weights.

        Raises:
            TrainingError: the loss is no longer a number, whatever was tried.
            CheckpointError: the folder can no longer be written to.
        """
        plan, self.watcher, reason = self.plan, quiet_if_broken(self.watcher), "length"
        with running_on(plan.compute.threads), StopRequest() as stop:
            speed = plan.speed()
            budget_s = self._budget_s(speed)
            self._begin(speed, budget_s)
            settings = plan.train.but(device=plan.compute.device, precision=plan.compute.precision)
            training = fit(
                plan.net, plan.data, settings, choosing=plan.choosing, whole=plan.whole, budget_s=budget_s,
                resume=self.resume, more=self.more,
            )  # fmt: skip
            for event in training:
                self._take(event, training)
                self.watcher(event)
                if isinstance(event, Finished):
                    reason = event.reason
                elif stop.requested:
                    training.stop()
            if self.folder is not None and (reason == "interrupted" or training.step == training.origin_step):
                self._save(training)
            closed = self._close(training, reason, speed)
        self.watcher(closed)
        return closed

    def _save(self, training: Fit) -> None:
        """The weights to use, and all that going on needs: also where and how it ran, on which the last bits depend."""
        if self.folder is not None:
            state = training.state()
            compute = {name: value for name, value in asdict(self.plan.compute).items() if name != "measured"}
            self.folder.checkpoint(training.kept_weights(), replace(state, values={**state.values, "compute": compute}))

    def _budget_s(self, speed: float) -> float | None:
        """The seconds left for training when the whole command has so many minutes."""
        if self.plan.train.minutes is None:
            return None
        seconds = 60.0 * self.plan.train.minutes
        reserve = 2.0 + 0.02 * seconds
        part, held_out = self.plan.parts.held_out, self.plan.held_out
        if part is not None and held_out is not None:
            measured = min(part.characters, self._held_out_characters(speed)) / characters_per_symbol(part, held_out)
            reserve += measured / speed
            reserve += min(self._compared_s(), self.plan.corpus.characters / COMPARED_PER_S)
            reserve += min(typical_symbols(speed * seconds), 10 * len(held_out)) / (READING * speed)
        return max(1.0, seconds - (time.perf_counter() - self.began) - reserve)

    def _compared_s(self) -> float:
        """The seconds that the comparison may take, about."""
        minutes = self.plan.train.minutes
        return USUAL_SECONDS if minutes is None else min(USUAL_SECONDS, max(1.0, COMPARED_SHARE * 60.0 * minutes))

    def _held_out_characters(self, speed: float) -> int:
        """How much of the held-out part is measured at the end: all, unless it is very long or the minutes are few."""
        part, minutes = self.plan.parts.held_out, self.plan.train.minutes
        if part is None or self.plan.held_out is None or minutes is None:
            return MOST_HELD_OUT
        symbols = max(2000.0, speed * 60.0 * minutes * 0.15)
        return int(min(MOST_HELD_OUT, symbols * characters_per_symbol(part, self.plan.held_out)))

    def _begin(self, speed: float, budget_s: float | None) -> None:
        plan, model = self.plan, self.plan.net.settings
        symbols = plan.symbols_to_learn()
        inputs = tr("codes") if model.codes else tr("one-hot")
        if model.embedding_dim is not None and not model.codes:
            inputs = tr("embedding {size}", size=model.embedding_dim)
        layers = tr("residual {cell}", cell=model.cell) if model.residual else model.cell
        layers = f"{model.num_layers} x {layers}" if model.num_layers > 1 else layers
        network = later("{inputs}, {layers} {hidden_size}, {vocab_size:,} symbols")
        if model.cell == "ngram":
            network = later("{inputs}, {layers} of {window} symbols, {hidden_size}, {vocab_size:,} symbols")
        begun = Begun(
            folder=None if self.folder is None else str(self.folder.target),
            source=plan.corpus.in_a_sentence(),
            lines=lines_before_training(plan.parts, plan.tokenizer),
            notes=(*plan.corpus.notes, *plan.parts.notes, *plan.data.notes, *plan.notes, *unseen_note(plan.held_out, plan.tokenizer)),
            network=tr(
                network,
                inputs=inputs,
                layers=layers,
                window=model.window,
                hidden_size=model.hidden_size,
                vocab_size=plan.tokenizer.vocab_size,
            ),
            parameters=plan.parameters,
            vocab_size=plan.tokenizer.vocab_size,
            examples=describe_examples(plan.data),
            precision=plan.compute.precision,
            device=plan.compute.device,
            threads=plan.compute.threads,
            symbols_per_s=speed,
            estimated_s=(budget_s if budget_s is not None else (symbols or 0.0) / speed) * (1.0 - self._done()),
            megabytes=plan.parameters * 4 / 1e6,
            characters_per_symbol=characters_per_symbol(plan.parts.train, plan.encoded),
            restored=self.restored,
            spent_s=self.more.values["elapsed_s"] if self.more else self.resume.values["origin_s"] if self.resume else 0.0,
        )
        if self.folder is not None:
            here = {
                "date": now(),
                "versions": {
                    "escriba": __version__,
                    "torch": torch.__version__,
                    "numpy": np.__version__,
                    "python": platform.python_version(),
                },
                "machine": f"{platform.system()} {platform.machine()}",
                "compute": f"{plan.compute.precision} on {plan.compute.device}, {plan.compute.threads} threads",
            }
            self.folder.session("began" if self.resume is None else "resumed", restored=in_english(self.restored), **here)
            if self.resume is None:  # the history of a resumed training is that of one that never stopped
                self.folder.record("begun" if self.more is None else "more", **here, **self._facts(begun))
        self.watcher(begun)

    def _done(self) -> float:
        """The share of this phase that was over before this sitting, 0 to 1."""
        if self.resume is None:
            return 0.0
        values, settings = self.resume.values, self.plan.train
        if settings.minutes is not None:
            return min(1.0, float(values["elapsed_s"] - values["origin_s"]) / (60.0 * settings.minutes))
        steps = settings.steps if settings.steps is not None else (settings.epochs or 1.0) * len(self.plan.data)
        return min(1.0, float(values["step"] - values["origin_step"]) / max(1.0, steps))

    def _facts(self, begun: Begun) -> dict[str, Any]:
        """What the history says of the text and the network."""
        plan, parts = self.plan, self.plan.parts
        choosing, held_out = (0 if ids is None else len(ids) for ids in (plan.choosing, plan.held_out))
        return {
            "parameters": begun.parameters,
            "precision": begun.precision,
            "examples": describe_examples(plan.data).english,
            "corpus": corpus_facts(plan.corpus, parts, self.sources, (len(plan.encoded), choosing, held_out)),
            **({"init_from": list(self.before.models)} if self.before.models else {}),
        }

    def _take(self, event: Any, training: Fit) -> None:
        """Writes an event down, and does what it asks for."""
        folder = self.folder
        match event:
            case Progress():
                if folder is not None and event.step % RECORD_EVERY == 0:
                    folder.record(
                        "progress",
                        step=event.step,
                        epoch=round(event.epoch, 6),
                        loss_nats=event.loss_nats,
                        learning_rate=event.learning_rate,
                        symbols_seen=event.symbols_seen,
                        elapsed_s=round(event.elapsed_s, 3),
                    )
            case EpochEnded() if folder is not None:
                folder.record("epoch", number=event.number, step=event.step, loss_nats=event.loss_nats, elapsed_s=round(event.elapsed_s, 3))
            case Evaluated() if folder is not None:
                folder.record(
                    "evaluated",
                    step=event.step,
                    epoch=round(event.epoch, 6),
                    part="choosing",
                    loss_nats=event.loss_nats,
                    bits_per_char=self._bits_per_char(event.loss_nats, self.plan.parts.choosing, self.plan.choosing),
                    perplexity=event.perplexity,
                    best=event.best,
                    elapsed_s=round(event.elapsed_s, 3),
                )
            case SampleDue():
                self._sample(event.step)
            case Joined() if folder is not None:
                folder.record("joined", step=event.step, epoch=round(event.epoch, 6), elapsed_s=round(event.elapsed_s, 3))
            case SteppedBack() if folder is not None:
                folder.record("stepped_back", step=event.step, loss_nats=event.loss_nats, learning_rate=event.learning_rate)
            case CheckpointDue() if folder is not None:
                if event.keep is not None:  # first: a crash between the two loses nothing that going on would not make again
                    folder.keep(event.keep, training.present_weights())
                self._save(training)

    def _sample(self, step: int) -> None:
        train = self.plan.train
        generator = Generator(engine_now(self.plan.net), self.plan.tokenizer)
        for temperature in train.sample_temperatures:
            settings = SampleSettings(temperature=temperature)
            (made,) = generator.generate(train.sample_prompt, length=train.sample_length, settings=settings, seed=train.seed)
            if self.folder is not None:
                self.folder.sample(f"step {step}, temperature {temperature:g}", made.prompt + made.text)
            self.watcher(Sampled(step, temperature, made.prompt + made.text))

    def _bits_per_char(self, loss_nats: float, part: Any, encoded: EncodedText | None) -> float | None:
        return None if encoded is None or part is None else bits(loss_nats) / characters_per_symbol(part, encoded)

    def _close(self, training: Fit, reason: str, speed: float) -> Closed:
        """Measures the held-out part and writes the closing figures down."""
        plan, loss, scored, of_model, beside = self.plan, None, 0, None, None
        if plan.held_out is not None and plan.parts.held_out is not None and reason != "interrupted":
            measured = measured_part(plan.parts.held_out, plan.held_out, self._held_out_characters(speed))
            found = evaluate_part(plan.net, measured.encoded)
            loss, scored, of_model = found.loss_nats, found.symbols, measured.bits_per_char(found.loss_nats)
            beside = compare(plan.parts.whole_train, measured, share=self._compared_s() / USUAL_SECONDS)
            place = None if self.folder is None else self.folder.path
            self.typicality = keep_typical(
                place, engine_now(plan.net), plan.tokenizer, plan.held_out, seed=plan.train.seed, learnt=training.symbols_seen
            )
        closed = Closed(
            folder=None if self.folder is None else str(self.folder.target),
            reason=reason,
            kept=training.kept,
            steps=training.step,
            epochs=training.step / len(plan.data),
            symbols_seen=training.symbols_seen,
            elapsed_s=training.elapsed_s,
            train_loss_nats=training.smoothed_loss,
            loss_nats=loss,
            bits_per_char=of_model,
            perplexity=None if loss is None else perplexity(loss),
            held_out_symbols=scored,
            again=self._again(training),
            baselines=None if beside is None else dict(beside.bits_per_char),
            compared=None if beside is None else beside.line(of_model),
        )
        if self.folder is not None:
            figures = {name: value for name, value in closed.as_dict().items() if name not in ("folder", "again")}
            if reason == "interrupted":
                self.folder.session("interrupted", date=now(), **figures)
            else:
                self.folder.record("finished", date=now(), **figures)
        return closed

    def _again(self, training: Fit) -> dict[str, float] | None:
        """What trains as long without a clock, and what was, or may have been, chosen by this machine's speed."""
        if not self.plan.by_time or training.origin_step:
            return None
        model, train = self.plan.net.settings, self.plan.train
        chosen: dict[str, float] = {"steps": training.step}
        if model.residual:
            chosen |= {"num_layers": model.num_layers, "hidden_size": model.hidden_size}
            chosen |= {"symbol_dropout": model.symbol_dropout, "weight_decay": train.weight_decay}
            chosen |= {"batch_size": train.batch_size, "learning_rate": train.learning_rate}
        elif self.plan.notes or self.resume is not None:
            chosen |= {"hidden_size": model.hidden_size, "embedding_dim": model.embedding_dim or 0}
        return chosen


def describe_examples(data: Batches) -> Told:
    """How examples are cut, in a line."""
    message = later("{mode}, {batch_size} x {seq_len}, {steps:,} steps an epoch")
    return told(message, mode=data.mode, batch_size=data.batch_size, seq_len=data.seq_len, steps=len(data))


def now() -> str:
    """The date and time, with the offset of this place, to the second."""
    return dt.datetime.now().astimezone().isoformat(timespec="seconds")
