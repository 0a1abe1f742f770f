"""Runs the command line in this process, and gives it small texts and models. Without PyTorch these tests are skipped."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import escriba.api  # noqa: E402
from escriba.cli.main import main  # noqa: E402

TINY = {"hidden_size": 8, "embedding_dim": 6, "batch_size": 8, "seq_len": 20, "learning_rate": 0.02, "precision": "float32"}


class Done(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread: None) -> None:
    """All tests of this folder."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("generate", model, stdin=b"...")``: the command in this process, up to its exit."""

    def run(*words: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return Done(int(end.value.code or 0), said.out, said.err)

    return run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which every command runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained(story: str, names: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the text story.txt, and the models fox (a stream) and saints (documents)."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "story.txt").write_text(story, encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # this fixture is made before that of one thread, which lives for a module
    escriba.api.train(folder / "story.txt", out=folder / "fox", steps=40, keep_every="20", **TINY)
    escriba.api.train(documents=names, out=folder / "saints", steps=60, **TINY)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def fox(trained: Path) -> Path:
    """The model of a stream."""
    return trained / "fox"


@pytest.fixture
def saints(trained: Path) -> Path:
    """The model of documents."""
    return trained / "saints"


@pytest.fixture
def text(trained: Path, here: Path) -> str:
    """The text, as story.txt in the folder where the command runs."""
    shutil.copy(trained / "story.txt", here)
    return "story.txt"
