"""The command line when it is asked to stop: by Ctrl-C, by the system, by a closed terminal or pipe; and a second process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from equal import sittings

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="its signals are others")]

OPTIONS = [
    "--hidden-size",
    "8",
    "--set",
    "model.embedding_dim=6",
    "--set",
    "train.batch_size=4",
    "--threads",
    "1",
    "--precision",
    "float32",
]
ENDLESS = ["--steps", "1000000", "--set", "train.sample_length=0"]


def command(text: Path, out: Path, *more: str) -> list[str]:
    """The command line that trains a tiny network."""
    return [sys.executable, "-m", "escriba", "train", str(text), "-o", str(out), *OPTIONS, *more]


@contextmanager
def training(text: Path, out: Path, *before: str, stderr: int | IO[Any] = subprocess.PIPE, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A training that would never end, once it has saved something."""
    with subprocess.Popen([*before, *command(text, out, *ENDLESS)], stdout=subprocess.DEVNULL, stderr=stderr, text=True, **how) as process:
        try:
            wait_for(out / "training" / "last.json", process)
            yield process
        finally:
            process.kill()


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Waits until a file is there."""
    while not path.exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)


def assert_goes_on(text: Path, out: Path) -> None:
    """What was stopped was saved, unlocked, and can be trained to an end: here it has no more than a moment left."""
    assert sittings(out)[-1] == "interrupted"
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")] == []
    with subprocess.Popen([*command(text, out, *ENDLESS), "--resume"], stderr=subprocess.PIPE, text=True) as process:
        try:
            while sittings(out)[-1] != "resumed":
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=200)
    assert process.returncode == 130, said
    assert sittings(out)[-2:] == ["resumed", "interrupted"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_asked_to_stop(name: str, texts: dict[str, Path], tmp_path: Path) -> None:
    """It saves, tells the line that goes on, and its exit status says why it ended."""
    number = getattr(signal, name)
    with training(texts["streams"], tmp_path / "fox") as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=200)
    assert process.returncode in (130, 128 + number)
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("go on:")]
    assert line.split(None, 2)[2] == f"escriba train {texts['streams']} -o {tmp_path / 'fox'} --resume"
    assert_goes_on(texts["streams"], tmp_path / "fox")


def test_a_closed_terminal(texts: dict[str, Path], tmp_path: Path) -> None:
    """Its window is closed while it draws its bar: the system sends SIGHUP, nothing can be drawn any more, and it saves all the same."""
    out = tmp_path / "fox"
    master, slave = os.openpty()
    with training(texts["streams"], out, sys.executable, "-c", TERMINAL, stderr=slave, stdin=slave, start_new_session=True) as process:
        os.close(slave)
        os.close(master)
        process.wait(timeout=200)
    assert process.returncode in (1, 120, 129, 130)
    assert_goes_on(texts["streams"], out)


TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""Makes standard input the terminal of a new session, as a window does, and becomes another program."""


def test_no_reader(texts: dict[str, Path], tmp_path: Path) -> None:
    """``escriba train book.txt 2>&1 | head -1``: nobody reads on, and the training goes on to its end."""
    out = tmp_path / "fox"
    with subprocess.Popen(
        command(texts["streams"], out, "--steps", "60", "--set", "train.eval_every=2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=200)
    assert process.returncode == 0
    assert '"event":"finished"' in (out / "metrics.jsonl").read_text(encoding="utf-8")


def test_without_hang_up(texts: dict[str, Path], tmp_path: Path) -> None:
    """``nohup escriba train ...`` does not hear of a closed terminal."""
    out = tmp_path / "fox"
    with training(texts["streams"], out, "nohup", stdin=subprocess.DEVNULL) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=200)
    assert_goes_on(texts["streams"], out)


def test_a_second_process_is_refused(texts: dict[str, Path], tmp_path: Path) -> None:
    """While one process trains, a second one on the same folder is refused and harms nothing."""
    out = tmp_path / "fox"
    with training(texts["streams"], out) as first:
        for way in ("--overwrite", "--resume"):
            second = subprocess.run(command(texts["streams"], out, *ENDLESS, way), capture_output=True, text=True, check=False)
            assert second.returncode == 1, second.stderr
            assert f"is being trained by process {first.pid} on" in second.stderr
            assert "hint: wait for its end" in second.stderr
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=200)
    assert first.returncode == 130
    assert_goes_on(texts["streams"], out)
