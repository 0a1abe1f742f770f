"""Training, going on, overwriting and loading where open files cannot be replaced and folders are not renamed onto: as on Windows."""

from __future__ import annotations

import json
import mmap
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors

import escriba.api
from escriba.checkpoint import kept_weights
from escriba.errors import CheckpointError
from escriba.tensorfile import replace_file, tensor_bytes

SHORT: dict[str, Any] = {
    "hidden_size": 8,
    "embedding_dim": 6,
    "batch_size": 8,
    "seq_len": 20,
    "precision": "float32",
    "sample_length": 20,
    "eval_every": 2,
    "quiet": True,
}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """All tests of this module."""


def files(folder: Path) -> list[str]:
    """Every file and folder below a folder, by its path in it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# The layer itself: on Windows these are tests of the system, on Linux of its imitation.


def test_an_open_file_is_neither_replaced_nor_renamed_nor_deleted(windows_files: Path) -> None:
    """What is open keeps its name and its content; once it is closed all of it may be done."""
    old, new = windows_files / "old", windows_files / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    with old.open("rb"):
        for refused in (lambda: new.replace(old), lambda: old.replace(windows_files / "x"), old.unlink):
            with pytest.raises(PermissionError):
                refused()
    new.replace(old)
    assert old.read_bytes() == b"new"
    old.unlink()
    assert files(windows_files) == []


def test_a_mapped_file_is_not_replaced(windows_files: Path) -> None:
    """A map holds the file as an open one does: one of Python's, and one of safetensors, which keeps nothing but the map."""
    old, new = windows_files / "old", windows_files / "new"
    content = tensor_bytes({"a": np.arange(5000.0)}, {})
    old.write_bytes(content)
    new.write_bytes(content)
    with old.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with pytest.raises(PermissionError):
        new.replace(old)
    mapped.close()
    with safetensors.safe_open(old, framework="numpy"), pytest.raises(PermissionError):
        new.replace(old)
    new.replace(old)
    assert not new.exists()


def test_a_folder_is_not_renamed_onto_another(windows_files: Path) -> None:
    """Not onto an empty one, not by replacing either; a file neither, and rename replaces no file."""
    a, b, file = windows_files / "a", windows_files / "b", windows_files / "file"
    a.mkdir()
    b.mkdir()
    file.write_bytes(b"")
    for refused in (lambda: a.rename(b), lambda: a.replace(b), lambda: file.replace(b), lambda: file.rename(b)):
        with pytest.raises((PermissionError, FileExistsError)):
            refused()
    other = windows_files / "other"
    other.write_bytes(b"")
    with pytest.raises(FileExistsError):
        file.rename(other)
    b.rmdir()
    a.rename(b)
    assert files(windows_files) == ["b", "file", "other"]


def test_a_folder_with_an_open_file_stays(windows_files: Path) -> None:
    """It is neither renamed nor removed; what shutil.rmtree could not remove is still there."""
    folder = windows_files / "a"
    (folder / "in").mkdir(parents=True)
    with (folder / "in" / "file").open("wb"):
        with pytest.raises(PermissionError):
            folder.rename(windows_files / "b")
        with pytest.raises(PermissionError):
            shutil.rmtree(folder)
    assert files(windows_files) == ["a", "a/in", "a/in/file"]
    shutil.rmtree(folder)
    assert files(windows_files) == []


# What Escriba does there.


def test_a_reader_that_is_soon_done_is_waited_for(windows_files: Path) -> None:
    """A virus scanner that looks at the file for a moment does not stop the replacement."""
    path = windows_files / "x"
    path.write_bytes(b"old")
    reading = path.open("rb")
    done = threading.Timer(0.15, reading.close)
    done.start()
    replace_file(path, b"new")
    assert reading.closed
    done.join()
    assert path.read_bytes() == b"new"
    assert files(windows_files) == ["x"]


def test_a_reader_that_stays_is_named_as_the_reason(windows_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a second it is an error in words; the old file is whole and nothing lies beside it."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    path = windows_files / "x"
    path.write_bytes(b"old")
    with path.open("rb"), pytest.raises(CheckpointError, match="could not be written") as caught:
        replace_file(path, b"new")
    assert "close the program that has it open" in str(caught.value.hint)
    assert 0.8 < sum(waited) < 1.2
    assert path.read_bytes() == b"old"
    assert files(windows_files) == ["x"]


@pytest.fixture
def story_file(windows_files: Path, story: str) -> Path:
    """The text as a file."""
    path = windows_files / "story.txt"
    path.write_text(story, encoding="utf-8", newline="\n")
    return path


class Looker:
    """A watcher that loads the model at every event once there is one, holds what it loaded, and interrupts the training if asked."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        self.folder = folder
        self.stop_at = stop_at
        self.held: list[escriba.api.Model] = []

    def __call__(self, event: Any) -> None:
        """Looks, and stops at the step."""
        if (self.folder / "model.safetensors").is_file():
            self.held.append(escriba.api.load(self.folder))
        if type(event).__name__ == "Progress" and event.step == self.stop_at:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_training_stopping_going_on_and_overwriting(windows_files: Path, story_file: Path) -> None:
    """A training that keeps moments, and is loaded from at every step, is stopped, goes on, and is overwritten while that is still held."""
    folder = windows_files / "my model"
    looker = Looker(folder, stop_at=5)
    escriba.api.train(story_file, out=folder, steps=9, keep_every="3", watcher=looker, **SHORT)
    assert looker.held
    assert not escriba.api.load(folder).run.finished
    again = Looker(folder)
    model = escriba.api.train(story_file, out=folder, resume=True, watcher=again, quiet=True)
    events = [json.loads(line)["event"] for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (events[0], events[-1]) == ("begun", "finished")
    assert kept_weights(folder) == ["step:3", "step:6", "step:9"]
    assert escriba.api.load(folder).generate("the", 10, seed=1) == model.generate("the", 10, seed=1)
    held = [*looker.held, *again.held, escriba.api.load(folder, at="step:3")]
    new = escriba.api.train(story_file, out=folder, overwrite=True, steps=2, **{**SHORT, "hidden_size": 4})
    assert escriba.api.load(folder).parameters == new.parameters != held[0].parameters
    assert kept_weights(folder) == []
    assert held[-1].generate("the", 5, seed=1)
    new.save(windows_files / "copy")
    new.save(windows_files / "copy", overwrite=True)
    assert [path for path in windows_files.iterdir() if path.name.endswith((".partial", ".tmp"))] == []


@pytest.mark.slow
def test_overwriting_a_model_that_is_open_loses_nothing(windows_files: Path, story_file: Path) -> None:
    """While another program has a file of the old model open, the new one ends in an error in words, and one whole model is still there."""
    folder = windows_files / "fox"
    escriba.api.train(story_file, out=folder, steps=1, **SHORT)
    with (folder / "model.safetensors").open("rb"), pytest.raises(CheckpointError):
        escriba.api.train(story_file, out=folder, overwrite=True, steps=2, **SHORT)
    whole = [path.parent for path in windows_files.rglob("model.safetensors")]
    assert whole
    for one in whole:
        assert escriba.api.load(one).generate("the", 5, seed=1)
    escriba.api.train(story_file, out=folder, overwrite=True, steps=2, **SHORT)
    assert escriba.api.load(folder).run.finished


@pytest.mark.slow
def test_a_log_that_is_being_read_does_not_stop_a_training(windows_files: Path, story_file: Path) -> None:
    """Whoever follows metrics.jsonl in an editor while the model learns and goes on learning is no hindrance."""
    folder = windows_files / "fox"
    escriba.api.train(story_file, out=folder, steps=9, watcher=Looker(folder, stop_at=5), **SHORT)
    assert not escriba.api.load(folder).run.finished
    with (folder / "metrics.jsonl").open("rb"):
        escriba.api.train(story_file, out=folder, resume=True, quiet=True)
    assert escriba.api.load(folder).run.finished
