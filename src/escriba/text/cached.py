"""Keeps fetched texts in a cache, and gives for a known text's name or an address the file that is read.

It knows nothing of reading: what it gives is a file like any other.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from escriba.errors import TextError
from escriba.language import tr
from escriba.text.address import checked_address
from escriba.text.download import Progress, fetch, hash_of
from escriba.text.known import PREFIX, KnownText, known, lines_of_poems
from escriba.text.opening import PACKED

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["cache_folder", "cached_file", "local_copy", "texts_folder"]

LONGEST_NAME = 60
PATIENCE_S = 120.0  # how long another process may hold a file without a byte coming


def cache_folder() -> Path:
    """The folder of what can be fetched again: ESCRIBA_CACHE, or where the system keeps such things."""
    if named := os.environ.get("ESCRIBA_CACHE"):
        try:
            return Path(named).expanduser()
        except RuntimeError as error:  # of ~ where no home is known, or of ~name where nobody has that name
            raise TextError(tr("ESCRIBA_CACHE is {folder!r}, and that home is not known", folder=named), expected=tr("a folder")) from error
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "escriba" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "escriba"
        named = os.environ.get("XDG_CACHE_HOME")
        # the convention: a path that is not absolute is as good as none
        return (Path(named) if named and Path(named).is_absolute() else Path.home() / ".cache") / "escriba"
    except RuntimeError as error:  # no home is known
        raise TextError(
            tr("there is no place for fetched texts: {reason}", reason=error), hint=tr("set ESCRIBA_CACHE to a folder")
        ) from error


def local_copy(source: str, progress: Progress | None = None) -> Path:
    """The file for a known text or an address, fetched once. A file in the cache that was changed is fetched anew, with a warning.

    Args:
        source: ``text:quijote``, or an address of http or https.
        progress: called with the bytes that have come, and how many there will be, where that is known.

    Raises:
        TextError: there is no such text, or it cannot be fetched or kept.
    """
    return _known_copy(known(source), progress) if source.startswith(PREFIX) else _address_copy(source, progress)


def cached_file(text: KnownText) -> Path | None:
    """The file of a known text as it was fetched, if it is in the cache, whole."""
    target = texts_folder() / f"{text.name}{text.suffix}"
    return target if _is_whole(target, {"bytes": text.bytes, "sha256": text.sha256}) else None


def texts_folder() -> Path:
    """Where fetched texts lie."""
    return cache_folder() / "texts"


def _is_whole(target: Path, record: dict[str, Any]) -> bool:
    """Whether a file is the one that a record tells of, by its size and its hash."""
    try:
        return bool(target.stat().st_size == record["bytes"] and hash_of(target) == record["sha256"])
    except (OSError, KeyError, TypeError):
        return False


def _known_copy(text: KnownText, progress: Progress | None) -> Path:
    target = cached_file(text)
    if target is None:
        target = texts_folder() / f"{text.name}{text.suffix}"
        with _alone(target):
            if cached_file(text) is None:  # another process may just have fetched it
                _say_if_changed(target)
                fetch(text.address, target, sha256=text.sha256, size=text.bytes, progress=progress)
    if not text.poems:
        return target
    lines = lines_of_poems(target.read_bytes())
    made = target.with_suffix(".jsonl")
    if not _is_whole(made, {"bytes": len(lines), "sha256": hashlib.sha256(lines).hexdigest()}):
        with _alone(made):
            sibling = made.with_name(f"{made.name}.part")
            sibling.write_bytes(lines)
            sibling.replace(made)
    return made


def _address_copy(address: str, progress: Progress | None) -> Path:
    address = checked_address(address)
    target = texts_folder() / _name_for(address)
    about = target.with_name(f"{target.name}.json")
    if _is_whole(target, _record(about)):
        return target
    with _alone(target):
        record = _record(about)
        if not _is_whole(target, record):
            if record:
                _say_if_changed(target)
            fetch(address, target, progress=progress)
            found = {"address": address, "sha256": hash_of(target), "bytes": target.stat().st_size}
            if record.get("sha256", found["sha256"]) != found["sha256"]:
                warnings.warn(tr("what {address} gives is another text than before", address=address), UserWarning, stacklevel=2)
            today = dt.datetime.now(dt.UTC).date().isoformat()
            # last: without it the file counts for nothing
            about.write_text(json.dumps({**found, "date": today}, indent=1) + "\n", encoding="utf-8")
    return target


def _say_if_changed(target: Path) -> None:
    if target.exists():
        warnings.warn(tr("{file} is not as it was fetched any more, and is fetched anew", file=target), UserWarning, stacklevel=2)


def _record(about: Path) -> dict[str, Any]:
    """What was noted of a fetched file; empty where nothing was."""
    try:
        found = json.loads(about.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _name_for(address: str) -> str:
    """A file's name that people recognise and no two addresses share: host, last part of the path, a hash; the suffix as it was."""
    parts = urlsplit(address)
    last = unquote(parts.path).rstrip("/").rpartition("/")[2]
    first = Path(last)
    suffixes = "".join(first.suffixes[-2:] if first.suffix.lower() in PACKED else first.suffixes[-1:])
    stem = last.removesuffix(suffixes)
    named = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(filter(None, (parts.hostname, stem))))[:LONGEST_NAME].strip(".-")
    suffix = suffixes if re.fullmatch(r"(\.[A-Za-z0-9_-]{1,12}){0,2}", suffixes) else ""
    return f"{named}-{hashlib.sha256(address.encode()).hexdigest()[:10]}{suffix}"


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Holds a file in the cache for this process, and waits while another one fetches it; the system lets go when a process dies.

    Raises:
        TextError: the cache cannot be written to, or the other process does not get on.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_name(f".{target.name}.lock").open("ab") as file:
            _wait_for(file, target)
            yield
    except OSError as error:
        raise TextError(
            tr("the cache {folder} cannot be written to: {reason}", folder=target.parent, reason=error.strerror or error),
            hint=tr("free some space, or set ESCRIBA_CACHE to a folder that can be written to"),
        ) from error


def _wait_for(file: IO[bytes], target: Path) -> None:
    """Waits until the lock is ours, as long as what another process fetches grows."""
    part, seen, since = target.with_name(f"{target.name}.part"), -1, time.monotonic()
    while not _locked(file):
        try:
            come = part.stat().st_size
        except OSError:  # nothing has come yet, or all has
            come = 0
        if come != seen:
            seen, since = come, time.monotonic()
        if time.monotonic() - since > PATIENCE_S:
            raise TextError(
                tr("another process is fetching {file} and does not get on", file=target.name), hint=tr("end it, and try again")
            )
        time.sleep(0.1)


def _locked(file: IO[bytes]) -> bool:
    """Whether the lock on an open file is ours now. Closing the file gives it back."""
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks: then without
        return True
    return True
