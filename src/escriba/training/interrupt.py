"""Ctrl-C, a closed console, the system's wish to end: the first asks a training to stop after the step, the second stops it at once.

It knows nothing of what is stopped.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["NO_READER", "StopRequest", "dropping_a_broken_stream", "quiet_if_broken"]

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C or a notebook's stop button; `kill` and the system's end; a closed terminal; Ctrl-Break on Windows. No system has all of them."""

NO_READER = (errno.EPIPE, errno.EIO, errno.EBADF, *([errno.EINVAL] if os.name == "nt" else []))
"""What systems say of a stream that nobody reads: a pipe, a terminal that was closed, a closed descriptor; of a pipe on Windows."""


class StopRequest:
    """A context in which the first signal only sets `requested`; a second one is a KeyboardInterrupt.

    What was ignored stays ignored, as `nohup` and a shell's background jobs want it. Signals reach the main thread alone; in another
    thread nothing changes. Windows ends a program soon after its console is closed, whatever it does; then its last saved state counts.

    Attributes:
        requested: whether it was asked to stop.
        signal: the number of the first signal, or None.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: not set from Python, so Python cannot put it back
                    self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested, self.signal = True, number


@contextlib.contextmanager
def dropping_a_broken_stream() -> Iterator[None]:
    """A context in which writing to a stream that is gone (a closed terminal, ``| head``) is no error; what follows in it is left out."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_READER:
            raise
    except ValueError as error:
        if "closed file" not in str(error):
            raise


def quiet_if_broken(watcher: Callable[[Any], None]) -> Callable[[Any], None]:
    """A watcher that is called no more once its stream is gone: the training goes on, unseen, rather than being lost.

    Args:
        watcher: called with every event; other errors of it come through.
    """
    gone = False

    def watched(event: Any) -> None:
        nonlocal gone
        if gone:
            return
        with dropping_a_broken_stream():
            watcher(event)
            return
        gone = True

    return watched
