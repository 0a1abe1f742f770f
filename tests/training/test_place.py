"""Where a model folder may stand, and how a new one takes the place of an old one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from escriba.errors import CheckpointError
from escriba.training.place import mend, model_place, new_place, saying_what_failed, sibling, take_place


def model(path: Path, mark: str) -> Path:
    """A folder that looks like a model."""
    path.mkdir()
    for name in ("config.json", "model.safetensors"):
        (path / name).write_text(mark, encoding="utf-8")
    return path


def mark(path: Path) -> str:
    """Which model a folder holds."""
    return (path / "config.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "../here", ""])
def test_the_current_folder_is_no_place(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model cannot replace the folder in which one is, nor one around it, however it is written."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(CheckpointError, match="the current folder") as caught:
        new_place(Path(target))
    assert "-o NAME" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["x" * 250, "ñ" * 121])
def test_a_name_that_is_too_long(name: str, tmp_path: Path) -> None:
    """There must be room for the hidden siblings' names."""
    with pytest.raises(CheckpointError, match="bytes"):
        new_place(tmp_path / name)
    assert new_place(tmp_path / ("x" * 240)).name == "x" * 240


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    """Too many folders in one another are refused in words."""
    with pytest.raises(CheckpointError, match=r"could not be made|is no path"):
        new_place(tmp_path.joinpath(*["x" * 200] * 50))


@pytest.mark.parametrize("name", ["con", "NUL", "Aux.model", "com1", "lpt9.tar.gz", "con "])
def test_devices_of_windows(name: str, tmp_path: Path) -> None:
    """On Windows such a name opens a device; elsewhere it is a name like any other."""
    with pytest.raises(CheckpointError, match="device"):
        new_place(tmp_path / name, windows=True)
    assert new_place(tmp_path / name, windows=False) == tmp_path / name
    assert new_place(tmp_path / "console", windows=True) == tmp_path / "console"


def test_no_path_at_all(tmp_path: Path) -> None:
    """A null character is no part of a path."""
    with pytest.raises(CheckpointError, match="is no path"):
        model_place(tmp_path / "a\0b")


def test_a_loop_of_links(tmp_path: Path) -> None:
    """Links that lead to one another lead nowhere."""
    try:
        (tmp_path / "a").symlink_to(tmp_path / "b")
        (tmp_path / "b").symlink_to(tmp_path / "a")
    except OSError:
        pytest.skip("links cannot be made here")
    with pytest.raises(CheckpointError):
        take_place(model(tmp_path / "new", "new"), new_place(tmp_path / "a" / "fox"), replaces=False)


def test_a_link_is_followed(tmp_path: Path) -> None:
    """A link to a folder is that folder."""
    (tmp_path / "real").mkdir()
    try:
        (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    assert new_place(tmp_path / "link") == model_place(tmp_path / "real")


def test_under_a_file(tmp_path: Path) -> None:
    """No folder can be made where a file is in the way."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CheckpointError, match="could not be made"):
        new_place(tmp_path / "file" / "models" / "fox")


def test_the_parents_are_made(tmp_path: Path) -> None:
    """A folder in folders that are not there yet is a place."""
    assert new_place(tmp_path / "a" / "b" / "fox") == tmp_path / "a" / "b" / "fox"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == []


@pytest.mark.parametrize("there", [None, "a model", "an empty folder"])
def test_taking_a_place(there: str | None, tmp_path: Path) -> None:
    """The new one is in its place, and neither the old nor a trace of the move is left."""
    place = tmp_path / "fox"
    if there:
        model(place, "old") if there == "a model" else place.mkdir()
    model(sibling(place, "old"), "older")
    take_place(model(sibling(place, "partial"), "new"), place, replaces=there is not None)
    assert mark(place) == "new"
    if there:
        assert [path.name for path in tmp_path.iterdir()] == ["fox"]


def test_a_crash_at_every_point(tmp_path: Path) -> None:
    """Wherever the move was cut short, mending leaves a whole model, of which nothing can be lost."""
    place = tmp_path / "fox"
    old, new = sibling(place, "old"), sibling(place, "partial")
    mend(place)
    assert list(tmp_path.iterdir()) == []

    model(place, "old")  # before anything
    model(new, "new")
    mend(place)
    assert (mark(place), new.is_dir()) == ("old", True)

    place.rename(old)  # between the two renames
    mend(place)
    assert (mark(place), new.is_dir(), old.exists()) == ("old", True, False)

    place.rename(old)  # before the old one is deleted
    new.rename(place)
    mend(place)
    assert (mark(place), old.exists()) == ("new", False)

    model(old, "old")  # while it was deleted
    (old / "config.json").unlink()
    mend(place)
    assert (mark(place), old.exists()) == ("new", False)


def test_something_of_ones_own_in_the_place(tmp_path: Path) -> None:
    """A folder that a person made meanwhile is not taken for the new model; nothing is deleted for its sake."""
    place = tmp_path / "fox"
    model(sibling(place, "old"), "old")
    place.mkdir()
    (place / "thesis.txt").write_text("precious", encoding="utf-8")
    mend(place)
    assert mark(sibling(place, "old")) == "old"
    new = model(sibling(place, "partial"), "new")
    with pytest.raises(CheckpointError, match="there is something now") as caught:
        take_place(new, place, replaces=False)
    assert str(new) in caught.value.met
    assert mark(new) == "new"
    assert [path.name for path in place.iterdir()] == ["thesis.txt"]


def test_a_move_that_fails(tmp_path: Path) -> None:
    """If the new one cannot come, the old one comes back."""
    place = model(tmp_path / "fox", "old")
    with pytest.raises(CheckpointError, match="could not be moved"):
        take_place(tmp_path / "nothing", place, replaces=True)
    assert mark(place) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["fox"]


@pytest.mark.skipif(os.name != "nt", reason="elsewhere an open file can be moved")
def test_an_open_file_on_windows(tmp_path: Path) -> None:
    """A file of the old model that is open keeps it where it is; the message says where the new one is."""
    place = model(tmp_path / "fox", "old")
    new = model(sibling(place, "partial"), "new")
    with (place / "model.safetensors").open("rb"), pytest.raises(CheckpointError, match="could not be moved") as caught:
        take_place(new, place, replaces=True)
    assert str(new) in caught.value.met
    assert (mark(place), mark(new)) == ("old", "new")


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "may write to"),
        (errno.EACCES, "may write to"),
        (errno.ENOENT, "put it back"),
        (errno.ENAMETOOLONG, "-o"),
    ],
)
def test_what_to_do(number: int, hint: str) -> None:
    """What the disk says comes with what to do; other errors come through."""
    with (
        pytest.raises(CheckpointError, match="the log could not be written: ") as caught,
        saying_what_failed("the log could not be written"),
    ):
        raise OSError(number, os.strerror(number))
    assert hint in (caught.value.hint or "")
    with pytest.raises(ZeroDivisionError), saying_what_failed("nothing"):
        raise ZeroDivisionError
