"""A training run on disk: the folder it grows in, its logs, its samples, its weights, and what resuming needs.

It knows nothing of how a network learns; it is told what happened and writes it down.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from escriba.checkpoint import Config, save_head, save_weights
from escriba.errors import CheckpointError
from escriba.tensorfile import canonical_json, read_json, read_tensors, replace_file, tensor_bytes
from escriba.text.tokenizer import Tokenizer
from escriba.training.state import TrainingState

__all__ = ["RunFolder", "is_finished"]

LOGS = ("metrics.jsonl", "samples.txt")
STATES_KEPT = 2


def is_finished(folder: Path) -> bool:
    """Whether the training of a model folder came to its end."""
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return True
    return any('"event":"finished"' in line for line in lines[-5:]) or not (folder / "training" / "last.json").is_file()


@dataclass
class RunFolder:
    """The folder of one run. A new one grows beside its place, as `.NAME.partial`, until it first holds weights.

    Attributes:
        target: where the model will be.
        path: where it is now.
    """

    target: Path
    path: Path
    replaces: bool = False

    @classmethod
    def create(cls, target: Path, config: Config, tokenizer: Tokenizer, *, overwrite: bool = False) -> RunFolder:
        """Begins a new folder.

        Raises:
            CheckpointError: a model is there already and may not be overwritten, or the place cannot be written to.
        """
        if target.exists() and not overwrite:
            raise CheckpointError(f"{target} is there already", hint="choose another folder with -o, or --overwrite")
        if target.exists() and not (target / "config.json").is_file() and any(target.iterdir() if target.is_dir() else [target]):
            raise CheckpointError(f"{target} is not a model folder, so it is not overwritten", hint="choose another folder with -o")
        path = target.with_name(f".{target.name}.partial")
        try:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
            (path / "training").mkdir()
        except OSError as error:
            raise CheckpointError(f"{path} could not be made: {error.strerror or error}", hint="choose another folder with -o") from error
        save_head(path, config, tokenizer)
        return cls(target, path, replaces=target.exists())

    @classmethod
    def reopen(cls, target: Path) -> tuple[RunFolder, TrainingState]:
        """Opens an unfinished run to go on with it; its logs are cut to where they stood at its last state.

        Raises:
            CheckpointError: there is nothing to go on with.
        """
        pointer = target / "training" / "last.json"
        if not pointer.is_file():
            raise CheckpointError(f"{target} holds no training to go on with", hint="train it anew, with --overwrite")
        last = read_json(pointer)
        name = str(last.get("state")) if isinstance(last, dict) else ""
        if Path(name).name != name or not name.startswith("step-"):
            raise CheckpointError(f"{pointer} points to {name!r}", expected="step-NUMBER.safetensors beside it")
        arrays, values = read_tensors(target / "training" / name)
        lengths = values.pop("log_lengths", {})
        for log in LOGS:
            length = lengths.get(log)
            if isinstance(length, int) and (target / log).is_file():
                with (target / log).open("r+b") as file:
                    file.truncate(min(length, (target / log).stat().st_size))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(target, target), TrainingState(tensors, values)

    def record(self, event: str, **values: Any) -> None:
        """Appends one line to metrics.jsonl."""
        clean = {name: (None if isinstance(value, float) and not math.isfinite(value) else value) for name, value in values.items()}
        self._append("metrics.jsonl", json.dumps({"event": event, **clean}, separators=(",", ":"), ensure_ascii=False) + "\n")

    def sample(self, heading: str, text: str) -> None:
        """Appends what the model wrote to samples.txt."""
        self._append("samples.txt", f"=== {heading}\n{text}\n\n")

    def _append(self, name: str, content: str) -> None:
        try:
            with (self.path / name).open("a", encoding="utf-8", newline="\n", errors="surrogatepass") as file:
                file.write(content)
        except OSError as error:
            raise CheckpointError(f"{self.path / name} could not be written: {error.strerror or error}", hint="free some space") from error

    def checkpoint(self, weights: Mapping[str, np.ndarray], state: TrainingState) -> None:
        """Saves the weights to use, and all that resuming needs: first the state, then the weights, last the pointer."""
        training = self.path / "training"
        training.mkdir(exist_ok=True)
        name = f"step-{state.values['step']:08d}.safetensors"
        lengths = {log: (self.path / log).stat().st_size if (self.path / log).is_file() else 0 for log in LOGS}
        arrays = {key: tensor.numpy() for key, tensor in state.tensors.items()}
        replace_file(training / name, tensor_bytes(arrays, {**state.values, "log_lengths": lengths}, sealed=True))
        save_weights(self.path, weights)
        replace_file(training / "last.json", canonical_json({"state": name}).encode())
        for old in sorted(training.glob("step-*.safetensors"))[:-STATES_KEPT]:
            old.unlink(missing_ok=True)
        self._settle()

    def keep(self, name: str, weights: Mapping[str, np.ndarray]) -> None:
        """Keeps the weights of this moment under a name of their own, such as "epoch-3"."""
        (self.path / "kept").mkdir(exist_ok=True)
        save_weights(self.path, weights, f"kept/{name}.safetensors")

    def _settle(self) -> None:
        """Moves a new folder to its place, now that it holds weights."""
        if self.path == self.target:
            return
        if self.replaces:
            shutil.rmtree(self.target)
        try:
            self.path.rename(self.target)
        except OSError as error:
            raise CheckpointError(f"{self.target} could not be made: {error.strerror or error}; the model is in {self.path}") from error
        self.path = self.target
