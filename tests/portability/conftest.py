"""Real processes with other consoles and other surroundings, a small model in three scripts, and files as Windows keeps them."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from processes import Done, Words, environment


@pytest.fixture
def python(tmp_path: Path) -> Words:
    """``python("-c", "...", env={...})``: a Python of its own in tmp_path, up to its end. What it writes must be UTF-8."""

    def run(*words: str | os.PathLike[str], env: Mapping[str, str | None] | None = None, stdin: bytes = b"", **options: Any) -> Done:
        done = subprocess.run(
            [sys.executable, *map(os.fspath, words)],
            input=stdin,
            capture_output=True,
            env=environment(env or {}),
            check=False,
            **{"cwd": tmp_path, **options},
        )
        return Done(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))

    return run


@pytest.fixture
def command(python: Words) -> Words:
    """``command("generate", model)``: the command line in a process of its own."""
    return lambda *words, **options: python("-m", "escriba", *words, **options)


@pytest.fixture(scope="session")
def scripts_text() -> str:
    """12,000 characters of Spanish, Chinese, Greek and emoji."""
    dice = random.Random(3)
    words = [
        "señor",
        "ñandú",
        "¿qué?",
        "“sí”",
        "€",
        "天地玄黃",
        "宇宙洪荒。",
        "λόγος",
        "😀",
        "👩\u200d🚀",
        "dijo",
        "que",
        "no",
        "Œuvre",
        "—",
    ]
    return "\n".join(" ".join(dice.choices(words, k=dice.randint(3, 9))) for _ in range(700))[:12_000]


@pytest.fixture(scope="session")
def taught(scripts_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the text texto.txt and the model tinta that has just begun to learn it."""
    import torch

    import escriba.api

    folder = tmp_path_factory.mktemp("taught")
    (folder / "texto.txt").write_text(scripts_text, encoding="utf-8", newline="\n")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    escriba.api.train(
        folder / "texto.txt",
        out=folder / "tinta",
        steps=4,
        hidden_size=8,
        embedding_dim=6,
        precision="float32",
        sample_length=20,
        quiet=True,
    )
    torch.set_num_threads(threads)
    return folder


# Files as Windows keeps them.


class _Refusals:
    """What Windows refuses, refused on Linux: an audit hook, which no way to a file gets round. It stays for good, mostly asleep."""

    def __init__(self) -> None:
        self.awake = False
        self.root = Path()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.awake and event in ("os.rename", "os.remove", "os.rmdir"):
            self.awake = False  # what is looked up here is not to be refused
            try:
                self._check(event, arguments)
            finally:
                self.awake = True

    def _check(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename":
            target = self._path(arguments[1], arguments[3])
            if target.is_dir():
                raise PermissionError(errno.EACCES, "Access is denied", str(target))
            self._refuse_in_use(self._path(arguments[0], arguments[2]))
            self._refuse_in_use(target)
        elif event == "os.remove":
            self._refuse_in_use(self._path(*arguments))
        elif Path.cwd().is_relative_to(folder := self._path(*arguments)):
            raise PermissionError(errno.EACCES, "The process stands in it", str(folder))

    @staticmethod
    def _path(name: Any, descriptor: int) -> Path:
        base = Path.cwd() if descriptor < 0 else Path(f"/proc/self/fd/{descriptor}").readlink()
        return (base / os.fsdecode(name)).resolve()

    def _refuse_in_use(self, path: Path) -> None:
        """A file that is open or mapped, or a folder in which one is, keeps its name and its place."""
        if path.is_relative_to(self.root) and any(one.is_relative_to(path) for one in self._in_use()):
            raise PermissionError(errno.EACCES, "The file is being used by another process", str(path))

    @staticmethod
    def _in_use() -> Iterator[Path]:
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # closed since
                if descriptor.is_file():
                    yield descriptor.readlink()
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            if "/" in line:
                yield Path(line.split(maxsplit=5)[-1])


_REFUSALS = _Refusals()


@pytest.fixture(scope="session")
def _refusals_installed() -> bool:
    if sys.platform == "linux":
        sys.addaudithook(_REFUSALS)
    return True


@pytest.fixture
def windows_files(tmp_path: Path, _refusals_installed: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """tmp_path, in which files behave as on Windows: on Windows by themselves, on Linux because what Windows refuses is refused."""
    if os.name == "nt":
        yield tmp_path
        return
    if sys.platform != "linux":
        pytest.skip("which files are open is read from /proc, which this system does not have")
    rename = os.rename

    def rename_to_nothing(source: Any, target: Any, **options: Any) -> None:
        """os.rename as Windows has it: unlike os.replace it replaces nothing."""
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", os.fspath(source))
        rename(source, target, **options)

    monkeypatch.setattr(os, "rename", rename_to_nothing)
    _REFUSALS.root, _REFUSALS.awake = tmp_path.resolve(), True
    yield tmp_path
    _REFUSALS.awake = False
