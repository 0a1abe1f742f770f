"""Where a model folder may stand, how a new one takes the place of an old one, and what a disk says when it cannot.

It knows nothing of what is in the folder, but that a model folder has a config.json.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from escriba.errors import CheckpointError
from escriba.language import later, tr

__all__ = ["mend", "model_place", "new_place", "saying_what_failed", "sibling", "take_place"]

LONGEST_NAME = 240
"""Bytes of a folder's name: file systems have room for 255, and `.NAME.partial` is longer than NAME."""
PAUSES_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.2, 0.25, 0.25)
RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "123456789")}
"""Names of devices, which no file or folder of Windows can have."""


@contextlib.contextmanager
def saying_what_failed(what: str) -> Iterator[None]:
    """Inside, an error of the disk becomes a CheckpointError that begins with `what` and says why, and what to do.

    Args:
        what: half a sentence with the file or folder in it: "models/fox/metrics.jsonl could not be written".
    """
    try:
        yield
    except OSError as error:
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
                hint = tr("free some space; what was saved before is whole, and --resume goes on from there")
            case errno.ENOENT | errno.ESTALE:
                hint = tr("it was moved or deleted while it was in use: put it back and go on with --resume, or train anew")
            case errno.EACCES | errno.EPERM | errno.EROFS:
                hint = tr("choose a folder that you may write to with -o, or close the program that has it open")
            case _:
                hint = tr("choose another folder with -o")
        raise CheckpointError(f"{what}: {error.strerror or error}", hint=hint) from error


def model_place(target: Path) -> Path:
    """The absolute path of a model folder, links followed, so that one folder has one lock.

    Raises:
        CheckpointError: this can be no path at all.
    """
    try:
        return target.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an endless path, a null character
        raise CheckpointError(
            tr("{path!r:.200} is no path: {reason}", path=str(target), reason=error), hint=tr("choose another folder with -o")
        ) from error


def new_place(target: Path, *, windows: bool = os.name == "nt") -> Path:
    """The absolute path of a folder to come, or to be replaced; the folder in which it will be is made.

    Args:
        target: the model folder as it was asked for.
        windows: whether the names of devices are refused.

    Raises:
        CheckpointError: no model can stand there.
    """
    place, here = model_place(target), model_place(Path())
    choose = tr("choose another folder with -o")
    if place == here or place in here.parents:
        met = later("{folder!r} is around the current folder, which cannot become a model")
        if place == here:
            met = later("{folder!r} is the current folder, which cannot become a model")
        raise CheckpointError(tr(met, folder=str(target)), hint=tr("name a folder in it: -o NAME"))
    length = len(os.fsencode(place.name))
    if length > LONGEST_NAME:
        raise CheckpointError(
            tr("the name {beginning!r}... has {length} bytes", beginning=place.name[:40], length=length),
            expected=tr("at most {most}", most=LONGEST_NAME),
            hint=choose,
        )
    if windows and place.name.split(".")[0].strip().lower() in RESERVED:
        raise CheckpointError(tr("{name!r} is the name of a device on Windows, so no folder can have it", name=place.name), hint=choose)
    with saying_what_failed(tr("{path} could not be made", path=target)):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.exists()  # a path that is too long says so here
    return place


def sibling(place: Path, kind: str) -> Path:
    """A hidden folder beside a model: "partial", a new one that grows; "old", the one that it replaces."""
    return place.with_name(f".{place.name}.{kind}")


def take_place(new: Path, place: Path, *, replaces: bool) -> None:
    """Moves a new folder to its place. The old one is moved aside first and deleted last: one of the two is always whole.

    Raises:
        CheckpointError: something else is there now, or a file of the old one is open, on Windows; the new one stays where it is.
    """
    old = sibling(place, "old")
    with saying_what_failed(tr("{new} holds the new model, and could not be moved to {place}", new=new, place=place)):
        if replaces and place.exists():
            shutil.rmtree(old, ignore_errors=True)
            _rename(place, old)
        elif place.exists():
            raise CheckpointError(
                tr("{new} holds the new model, and could not be moved to {place}: there is something now", new=new, place=place),
                hint=tr("move it away, then rename {new} to {name}", new=new.name, name=place.name),
            )
        try:
            _rename(new, place)
        except OSError:
            mend(place)
            raise
    shutil.rmtree(old, ignore_errors=True)


def _rename(path: Path, to: Path) -> None:
    """Renames a folder, again and again for a second: Windows refuses as long as anything in it is open, such as to a virus scanner."""
    for pause_s in PAUSES_S:
        try:
            path.rename(to)
        except PermissionError:
            time.sleep(pause_s)
        else:
            return
    path.rename(to)


def mend(place: Path) -> None:
    """Ends a replacement that a crash cut short: the old folder comes back if nothing is in its place, and goes if the new one is.

    Raises:
        CheckpointError: the disk does not let it.
    """
    old = sibling(place, "old")
    if not old.is_dir():
        return
    with saying_what_failed(tr("{old}, the model that was to be replaced, could not be moved back to {place}", old=old, place=place)):
        if (place / "config.json").is_file():
            shutil.rmtree(old, ignore_errors=True)
        elif not place.exists():
            _rename(old, place)
