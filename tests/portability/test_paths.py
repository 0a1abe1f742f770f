"""Paths as people have them: long, with blanks, accents, quotes and signs of every shell, for texts, models and what is written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import TINY, Words

import escriba.api

pytestmark = pytest.mark.slow

AWKWARD = [
    "my book",
    "Año Nuevo (2)",
    "it's",
    "天地 😀",
    "100% of %PATH%",
    "wow!",
    "a&b;c",
    "#1 ~x",
    "[a]",
    "{b}",
    "a,b=c",
    "-dash",
    "$HOME",
]
"""Names that every system takes."""
if os.name != "nt":
    AWKWARD += ['say "no"', "back\\slash", "a*b?", "tab\tin"]


@pytest.fixture
def place(taught: Path, tmp_path: Path) -> Callable[[Path], Path]:
    """``place(folder)``: the folder, made, with the text texto.txt and the model tinta in it."""

    def place(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(taught / "texto.txt", folder)
        shutil.copytree(taught / "tinta", folder / "tinta")
        return folder

    return place


def test_awkward_names_of_texts(command: Words, taught: Path, tmp_path: Path) -> None:
    """Every kind of name is taken as it stands, and is no pattern where there is a file of that name."""
    for name in AWKWARD:
        shutil.copy(taught / "texto.txt", tmp_path / f"{name}.txt")
    done = command("corpus", "--json", "--", *(f"{name}.txt" for name in AWKWARD))
    assert done.code == 0, done.err
    assert json.loads(done.out)["characters"] >= len(AWKWARD) * 12_000


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_of_models(command: Words, place: Callable[[Path], Path], tmp_path: Path, name: str) -> None:
    """Every kind of name is taken as it stands, for a model, its folder, a prompt and an output; a leading dash needs ``./``."""
    folder = place(tmp_path / name)
    shutil.move(folder / "tinta", folder / f"{name} m")
    (folder / f"{name} p").write_text("señor\n", encoding="utf-8")
    model = f".{os.sep}{name} m" if name.startswith("-") else f"{name} m"
    options = ["--prompt-file", f"{name} p", "-l", "3", "--seed", "1", "-o", f"{name} o"]
    made = command("generate", model, *options, cwd=folder)
    assert made.code == 0, made.err
    assert len((folder / f"{name} o").read_text(encoding="utf-8")) == len("señor") + 3 + 1


def test_training_under_awkward_names(place: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library trains on them and into them, and loads what it wrote."""
    monkeypatch.chdir(tmp_path)
    for name in AWKWARD:
        text = tmp_path / f"{name}.txt"
        shutil.copy(place(tmp_path / "from" / name) / "texto.txt", text)
        options = {"hidden_size": 4, "embedding_dim": 4, "precision": "float32", "sample_length": 0, "quiet": True}
        escriba.api.train(text, out=tmp_path / name, steps=1, **options)
        assert escriba.api.load(tmp_path / name).generate("a", 3, seed=1)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_name_with_a_leading_dash_and_nothing_before_it(command: Words, place: Callable[[Path], Path], tmp_path: Path) -> None:
    """Taken for an option, it is a mistake of usage; after ``--`` it is a name."""
    folder = place(tmp_path)
    shutil.move(folder / "texto.txt", folder / "-x.txt")
    assert command("corpus", "-x.txt", cwd=folder).code == 2
    assert command("corpus", "--", "-x.txt", cwd=folder).code == 0


def test_long_paths(command: Words, place: Callable[[Path], Path], tmp_path: Path) -> None:
    """A folder whose path is longer than the 260 characters of old Windows is a folder like any other."""
    if os.name == "nt":
        pytest.skip("whether Windows takes long paths is a setting of the system, which no program can change")
    folder = place(tmp_path.joinpath(*["a folder with a long name"] * 12))
    assert len(str(folder)) > 300
    done = command("train", folder / "texto.txt", "-o", folder / "new", *TINY)
    assert done.code == 0, done.err
    assert command("generate", folder / "new", "-l", "5", "-o", folder / "out.txt").code == 0
    assert len((folder / "out.txt").read_text(encoding="utf-8").rstrip("\n")) <= 5


def test_names_that_are_too_long(command: Words, taught: Path) -> None:
    """A name longer than the system takes is an error in words, wherever it stands."""
    name = "x" * 300
    for words in (
        ["corpus", f"{name}.txt"],
        ["generate", name],
        ["generate", taught / "tinta", "-l", "5", "-o", name],
        ["generate", taught / "tinta", "--prompt-file", name],
        ["score", taught / "tinta", name],
        ["show", name],
        ["train", taught / "texto.txt", "-o", name, *TINY],
    ):
        done = command(*words)
        assert (done.code, "Traceback" in done.err) == (1, False), (words[0], done.err[-500:])
