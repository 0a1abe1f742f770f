"""A training run on disk: the folder it grows in, its logs, its samples, its weights, and what resuming needs.

It knows nothing of how a network learns; it is told what happened and writes it down.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from escriba.checkpoint import Config, save_head, save_weights
from escriba.errors import CheckpointError
from escriba.language import tr
from escriba.tensorfile import canonical_json, read_json, read_tensors, replace_file, tensor_bytes
from escriba.text.tokenizer import Tokenizer
from escriba.training.lock import FolderLock
from escriba.training.place import mend, model_place, new_place, saying_what_failed, sibling, take_place
from escriba.training.state import TrainingState
from escriba.training.unfinished import has_state, is_finished, states

__all__ = ["RunFolder", "has_state", "is_finished", "recover"]

LOGS = ("metrics.jsonl", "samples.txt")
"""What a resumed training must have the same of as one that never stopped, but for times."""
SESSIONS = "training/sessions.jsonl"
"""When, where and how the training ran: every beginning, going on and interruption."""
STATES_KEPT = 2


def recover(target: Path) -> None:
    """Brings an old model back whose replacement a crash cut short; to be called before looking whether there is one.

    Raises:
        CheckpointError: a process is just replacing it, or the disk does not let it.
    """
    place = model_place(target)
    if place.name and sibling(place, "old").is_dir():
        lock = FolderLock(place)
        try:
            mend(place)
        finally:
            lock.release()


@dataclass
class RunFolder:
    """The folder of one run, locked until it is closed. A new one grows beside its place, as `.NAME.partial`, until it holds weights.

    Attributes:
        target: where the model will be, as it was asked for.
        place: the same, absolute.
        path: where it is now.
        replaces: whether there is an old model in its place.
        notes: what to tell of the reopening.
    """

    target: Path
    place: Path
    path: Path
    lock: FolderLock = field(repr=False)
    replaces: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def create(
        cls, target: Path, config: Config, tokenizer: Tokenizer, *, overwrite: bool = False, continues: Path | None = None
    ) -> RunFolder:
        """Begins a new folder.

        Args:
            target: where the model will be.
            config: its settings.
            tokenizer: its tokenizer.
            overwrite: lets it replace a model that is there.
            continues: the folder of a finished model, whose history, samples and kept moments the new one begins with.

        Raises:
            CheckpointError: a model is there already and may not be overwritten, another process trains it, or the place cannot
                be written to.
        """
        place = new_place(target)
        with contextlib.ExitStack() as undo:
            lock = FolderLock(place)
            undo.callback(lock.release)
            mend(place)
            if place.exists() and not overwrite:
                raise CheckpointError(
                    tr("{target} is there already", target=target), hint=tr("choose another folder with -o, or --overwrite")
                )
            path = sibling(place, "partial")
            with saying_what_failed(tr("{path} could not be made", path=path)):
                if place.exists() and not (place / "config.json").is_file() and any(place.iterdir() if place.is_dir() else [place]):
                    raise CheckpointError(
                        tr("{target} is not a model folder, so it is not overwritten", target=target),
                        hint=tr("choose another folder with -o"),
                    )
                shutil.rmtree(path, ignore_errors=True)
                (path / "training").mkdir(parents=True)
            run = cls(target, place, path, lock, replaces=place.exists())
            undo.callback(run.close)
            save_head(path, config, tokenizer)
            if continues is not None:
                run._take_over(continues)
            undo.pop_all()
        return run

    def _take_over(self, before: Path) -> None:
        """Copies the history of a finished model; its kept weights are bound anew, to the new config.json."""
        with saying_what_failed(tr("{path} could not be copied to {target}", path=before, target=self.path)):
            for name in (*LOGS, SESSIONS):
                if (before / name).is_file():
                    shutil.copyfile(before / name, self.path / name)
        for kept in sorted((before / "kept").glob("*.safetensors")):
            self.keep(kept.stem, read_tensors(kept)[0])

    @classmethod
    def reopen(cls, target: Path) -> tuple[RunFolder, TrainingState]:
        """Opens a run to go on with it; the logs of an unfinished one are cut to where they stood at its last state.

        If that state is missing or damaged, the next whole one is taken, and `notes` say so.

        Raises:
            CheckpointError: there is nothing to go on with, or another process trains it.
        """
        place = model_place(target)
        with contextlib.ExitStack() as undo:
            lock = FolderLock(place)
            undo.callback(lock.release)
            mend(place)
            state, lengths, notes = _last_whole_state(target)
            with saying_what_failed(tr("{path} could not be opened for writing", path=target)):
                for leftover in (*place.glob(".*.tmp"), *place.glob("*/.*.tmp")):  # of a process that was killed while it wrote
                    leftover.unlink(missing_ok=True)
                for log in LOGS if not is_finished(place) else ():
                    notes += _cut(place / log, lengths.get(log))
            undo.pop_all()
        return cls(target, place, place, lock, notes=notes), state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets other processes in; a new folder that never held weights goes."""
        if self.path != self.place and not (self.path / "training" / "last.json").is_file():
            shutil.rmtree(self.path, ignore_errors=True)
        self.lock.release()

    def record(self, event: str, **values: Any) -> None:
        """Appends one line to metrics.jsonl: what also stands in the history of a training that never stopped."""
        self._append("metrics.jsonl", _line(event, values))

    def session(self, event: str, **values: Any) -> None:
        """Appends one line to training/sessions.jsonl: what only this sitting had, such as a resuming or an interruption."""
        with saying_what_failed(tr("{path} could not be written", path=self.path / SESSIONS)):
            (self.path / SESSIONS).parent.mkdir(exist_ok=True)  # it may be deleted at any time
        self._append(SESSIONS, _line(event, values))

    def sample(self, heading: str, text: str) -> None:
        """Appends what the model wrote to samples.txt."""
        self._append("samples.txt", f"=== {heading}\n{text}\n\n")

    def _append(self, name: str, content: str) -> None:
        path = self.path / name
        with (
            saying_what_failed(tr("{path} could not be written", path=path)),
            path.open("a", encoding="utf-8", newline="\n", errors="surrogatepass") as log,
        ):
            log.write(content)

    def checkpoint(self, weights: Mapping[str, np.ndarray], state: TrainingState) -> None:
        """Saves the weights to use, and all that resuming needs: first the state, then the weights, last the pointer."""
        training, name = self.path / "training", f"step-{state.values['step']:08d}.safetensors"
        with saying_what_failed(tr("{path} could not be written to", path=self.path)):
            training.mkdir(exist_ok=True)
            lengths = {log: _flushed_length(self.path / log) for log in LOGS}
        arrays = {key: tensor.numpy() for key, tensor in state.tensors.items()}
        replace_file(training / name, tensor_bytes(arrays, {**state.values, "log_lengths": lengths}, sealed=True))
        save_weights(self.path, weights)
        replace_file(training / "last.json", canonical_json({"state": name}).encode())
        for old in [one for one in states(self.path) if one != name][STATES_KEPT - 1 :]:
            with contextlib.suppress(OSError):  # it is in nobody's way
                (training / old).unlink(missing_ok=True)
        if self.path != self.place:
            take_place(self.path, self.place, replaces=self.replaces)
            self.path = self.place

    def keep(self, name: str, weights: Mapping[str, np.ndarray]) -> None:
        """Keeps the weights of this moment under a name of their own, such as "epoch-3"."""
        with saying_what_failed(tr("{path} could not be made", path=self.path / "kept")):
            (self.path / "kept").mkdir(exist_ok=True)
        save_weights(self.path, weights, f"kept/{name}.safetensors")


def _line(event: str, values: Mapping[str, Any]) -> str:
    """A line of JSON; a number that is none is null."""
    clean = {name: (None if isinstance(value, float) and not math.isfinite(value) else value) for name, value in values.items()}
    return json.dumps({"event": event, **clean}, separators=(",", ":"), ensure_ascii=False) + "\n"


def _flushed_length(log: Path) -> int:
    """The length of a log, all of which has reached the disk; 0 if there is none."""
    if not log.is_file():
        return 0
    with log.open("r+b") as file:
        os.fsync(file.fileno())
        return file.seek(0, os.SEEK_END)


def _cut(log: Path, length: Any) -> tuple[str, ...]:
    """Takes back what a log holds beyond a length; a note if it holds less."""
    there = log.stat().st_size if log.is_file() else 0
    if not isinstance(length, int) or there < length:
        return (tr("{file} has lost its end", file=log.name),)
    if there > length:
        with log.open("r+b") as file:
            file.truncate(length)
    return ()


def _last_whole_state(folder: Path) -> tuple[TrainingState, dict[str, Any], tuple[str, ...]]:
    """The state to which the pointer points, or else the newest that is whole; the lengths of the logs then; what was wrong.

    Raises:
        CheckpointError: there is none.
    """
    names, faults = states(folder), []
    try:
        last = read_json(folder / "training" / "last.json")
        pointed = last.get("state") if isinstance(last, dict) else None
        if pointed not in names:
            raise CheckpointError(
                tr("{file} points to {state!r}, which is not there", file=folder / "training" / "last.json", state=pointed)
            )
        names.insert(0, names.pop(names.index(pointed)))
    except CheckpointError as error:
        faults.append(error)
    for name in names:
        try:
            arrays, values = read_tensors(folder / "training" / name)
            lengths = values.pop("log_lengths", None)
            if not isinstance(values.get("step"), int) or not isinstance(lengths, dict):
                raise CheckpointError(tr("{file} is no state of a training", file=folder / "training" / name))
        except CheckpointError as error:
            faults.append(error)
            continue
        notes = (*(fault.met for fault in faults), tr("so it goes on from step {step:,}", step=values["step"])) if faults else ()
        return TrainingState({key: torch.from_numpy(array) for key, array in arrays.items()}, values), lengths, notes
    met = tr("{folder} holds no training to go on with", folder=folder)
    if names:
        met = tr("{folder} holds no training to go on with: {reason}", folder=folder, reason=faults[-1].met)
    raise CheckpointError(met, hint=tr("train it anew, with --overwrite"))
