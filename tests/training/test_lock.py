"""One process a folder: the second is refused, and a dead one refuses nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from escriba.errors import CheckpointError
from escriba.training.lock import FolderLock

HOLDER = """
import sys, pathlib
from escriba.training.lock import FolderLock
lock = FolderLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
"""


@contextmanager
def another_process(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is told a line."""
    command = [sys.executable, "-c", HOLDER, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_second_training_of_a_program(tmp_path: Path) -> None:
    """In one program, too, a folder has one training at a time; when that is over the next may."""
    first = FolderLock(tmp_path / "fox")
    with pytest.raises(CheckpointError, match="fox is being trained by this same program, since 20"):
        FolderLock(tmp_path / "fox")
    FolderLock(tmp_path / "wolf").release()
    first.release()
    first.release()
    FolderLock(tmp_path / "fox").release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_second_process(tmp_path: Path) -> None:
    """It is told which folder, by which process, since when, and what to do; it changes nothing; later it is let in."""
    with another_process(tmp_path / "fox") as process:
        for _ in range(3):
            with pytest.raises(CheckpointError, match=f"fox is being trained by process {process.pid} on .+, since 20") as caught:
                FolderLock(tmp_path / "fox")
        assert "wait" in (caught.value.hint or "")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "released\n"
        assert list(tmp_path.iterdir()) == []
        FolderLock(tmp_path / "fox").release()


@pytest.mark.slow
def test_a_process_that_was_killed(tmp_path: Path) -> None:
    """Its file is still there, and refuses nobody; the message of the next refusal is of the new holder."""
    with another_process(tmp_path / "fox") as process:
        process.kill()
        process.wait()
    assert (tmp_path / ".fox.lock").is_file()
    mine = FolderLock(tmp_path / "fox")
    with pytest.raises(CheckpointError, match="by this same program"):
        FolderLock(tmp_path / "fox")
    mine.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\0{", b"\0[1]\n", b"\0\xff\xfe\n", b"x" * 20_000])
def test_a_lock_file_of_nonsense(content: bytes, tmp_path: Path) -> None:
    """What stands in the file decides nothing."""
    (tmp_path / ".fox.lock").write_bytes(content)
    lock = FolderLock(tmp_path / "fox")
    if os.name != "nt":
        (tmp_path / ".fox.lock").write_bytes(content)
        with pytest.raises(CheckpointError, match="is being trained by another process"):
            FolderLock(tmp_path / "fox")
    lock.release()


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
def test_a_lock_file_deleted_by_hand(tmp_path: Path) -> None:
    """Whoever deletes the file lets a second one in; the first one's end does not take the second one's file away."""
    first = FolderLock(tmp_path / "fox")
    (tmp_path / ".fox.lock").unlink()
    second = FolderLock(tmp_path / "fox")
    (tmp_path / ".fox.lock").write_bytes(b'\0{"pid": 1, "host": "elsewhere", "date": "2026-01-01T00:00:00"}\n')
    first.release()
    with pytest.raises(CheckpointError, match="by process 1 on elsewhere, since 2026-01-01 00:00:00"):
        FolderLock(tmp_path / "fox")
    second.release()


def test_where_nothing_can_be_locked(tmp_path: Path) -> None:
    """Where the file cannot be made there is no lock, and no error: whoever cannot write there will hear of it soon enough."""
    lock = FolderLock(tmp_path / "nowhere" / "fox")
    lock.release()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("", encoding="utf-8")
    FolderLock(tmp_path / "file" / "fox").release()


CONTENDER = """
import sys, pathlib, time
from escriba.errors import CheckpointError
from escriba.training.lock import FolderLock
place, end, got = pathlib.Path(sys.argv[1]), time.monotonic() + 3, 0
while time.monotonic() < end:
    try:
        lock = FolderLock(place)
    except CheckpointError:
        continue
    alone = place.with_name("inside")
    alone.mkdir()  # fails if anybody else is inside
    alone.rmdir()
    lock.release()
    got += 1
print(got)
"""


@pytest.mark.slow
def test_a_crowd(tmp_path: Path) -> None:
    """Processes that take and release the lock as fast as they can are never two inside, though the file comes and goes."""
    command = [sys.executable, "-c", CONTENDER, str(tmp_path / "fox")]
    crowd = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate() for process in crowd]
    assert [error for _, error in said] == [""] * 4
    assert sum(int(out) for out, _ in said) > 10
