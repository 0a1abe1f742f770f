"""The training that is killed, in a process of its own; lets the tests of this folder import `equal`, however pytest imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from equal import SETTINGS, Train

DRIVER = Path(__file__).with_name("driver.py")


@pytest.fixture(scope="session")
def driver() -> Iterator[Callable[[dict[str, Any]], int]]:
    """Does a job in a process of its own, and gives its exit status, negative for a signal."""
    if not hasattr(os, "fork"):
        pytest.skip("processes cannot be forked here")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        [sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def do(job: dict[str, Any]) -> int:
            stdin.write(json.dumps(job) + "\n")
            stdin.flush()
            return int(stdout.readline())

        yield do


@pytest.fixture(scope="session")
def texts(story: str, names: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A text for each mode of examples: a stream, or one document a line."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "story.txt").write_text(story, encoding="utf-8")
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return {"windows": folder / "story.txt", "streams": folder / "story.txt", "documents": folder / "names.txt"}


@pytest.fixture(scope="session")
def train(driver: Callable[[dict[str, Any]], int], texts: dict[str, Path]) -> Train:
    """Trains in a mode into a folder: ``train(mode, out, resume=..., at=...)``."""

    def go(mode: str, out: Path, **job: Any) -> int:
        lines = {"documents": "line", "batch_size": 64} if mode == "documents" else {"documents": "stream"}
        settings = {**SETTINGS, "examples": mode, **lines, **job.pop("settings", {})}
        return driver({"text": str(texts[mode]), "out": str(out), "settings": settings, **job})

    return go


@pytest.fixture(scope="session")
def never_stopped(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, list[str]]]:
    """For a mode the folder of a training that was never stopped, and the names of its events; trained once."""
    made: dict[str, tuple[Path, list[str]]] = {}

    def find(mode: str) -> tuple[Path, list[str]]:
        if mode not in made:
            folder = tmp_path_factory.mktemp(mode)
            assert train(mode, folder / "whole", tell=str(folder / "events.json")) == 0
            made[mode] = folder / "whole", json.loads((folder / "events.json").read_text(encoding="utf-8"))
        return made[mode]

    return find
