"""One process a folder: whoever trains a model holds a lock beside its folder, and a second one is refused.

It knows nothing of what is in the folder.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import platform
from pathlib import Path

from filelock import FileLock, Timeout

from escriba.errors import CheckpointError
from escriba.language import tr

__all__ = ["FolderLock"]

TRIES = 5
INFORMATION_AT = 1
"""Where the holder stands in the lock file: after its first byte, which Windows lets nobody read while it is locked."""


class FolderLock:
    """The right to write to a model folder, until it is released or the process dies, however it dies.

    The lock is the system's own, on the file `.NAME.lock` beside the folder NAME; the file tells who holds it, and goes with it.

    Args:
        place: the model folder, which need not be there yet.

    Raises:
        CheckpointError: another process, or another training of this one, holds it.
    """

    def __init__(self, place: Path) -> None:
        self.path = place.with_name(f".{place.name}.lock")
        self._lock: FileLock | None = None
        self._holder: dict[str, object] = {}
        for _ in range(TRIES if place.parent.is_dir() else 0):
            lock = FileLock(self.path, thread_local=False)
            before = self._read()  # old versions of filelock empty the file when they ask for it
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                if self.path.exists():
                    raise _refused(place, before or self._read()) from error
            except (OSError, NotImplementedError):
                return  # a file system that cannot lock, or a folder in which no file can be made: it goes on without
            else:
                if self.path.exists():
                    self._lock = lock
                    self._write()
                    return
                lock.release()  # its holder deleted it in the moment between opening and locking: this lock would keep nobody out

    def _write(self) -> None:
        date = dt.datetime.now().astimezone().isoformat(timespec="seconds")
        holder: dict[str, object] = {"pid": os.getpid(), "host": platform.node(), "date": date}
        with contextlib.suppress(OSError):  # on a full disk the lock holds as well
            with self.path.open("r+b") as file:
                file.seek(INFORMATION_AT)
                file.write(json.dumps(holder).encode() + b"\n")
            self._holder = holder

    def _read(self) -> dict[str, object]:
        """Who holds the lock; empty where that cannot be read."""
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(INFORMATION_AT)
                found = json.loads(file.read(10_000).split(b"\n")[0])
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def release(self) -> None:
        """Lets others in; a second call does nothing."""
        if self._lock is None:
            return
        with contextlib.suppress(OSError):
            # Deleted while it is held, so that nobody else can hold this very file; who has it open already sees that it is gone.
            if self._read() == self._holder:
                self.path.unlink()
        self._lock.release()
        self._lock = None
        if os.name == "nt":  # where a file cannot be deleted while it is open
            with contextlib.suppress(OSError):
                self.path.unlink()


def _refused(place: Path, holder: dict[str, object]) -> CheckpointError:
    if holder.get("pid") == os.getpid() and holder.get("host") == platform.node():
        by = tr("this same program")
    elif holder:
        by = tr("process {pid} on {host}", pid=holder.get("pid"), host=holder.get("host"))
    else:
        by = tr("another process")
    met = tr("{folder} is being trained by {who}", folder=place, who=by)
    if "date" in holder:
        since = str(holder["date"]).replace("T", " ")
        met = tr("{folder} is being trained by {who}, since {date}", folder=place, who=by, date=since)
    return CheckpointError(
        met,
        expected=tr("one training a folder"),
        hint=tr("wait for its end, or stop it (Ctrl-C there saves it), or choose another folder with -o"),
    )
