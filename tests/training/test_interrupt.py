"""Signals while a network learns: asked once, insisted twice; and a watcher whose stream goes away."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from typing import Any

import pytest

from escriba.training.interrupt import SIGNALS, StopRequest, dropping_a_broken_stream, quiet_if_broken

HERE = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]


@pytest.mark.parametrize("number", HERE)
def test_the_first_asks_the_second_stops(number: signal.Signals) -> None:
    """The first is only noted, whichever it is; the second is a KeyboardInterrupt; afterwards all are what they were."""
    before = [signal.getsignal(one) for one in HERE]
    with StopRequest() as stop:
        assert not stop.requested
        assert stop.signal is None
        signal.raise_signal(number)
        assert stop.requested
        assert stop.signal == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.signal == number
    assert [signal.getsignal(one) for one in HERE] == before


def test_it_is_put_back_after_an_error() -> None:
    """An error inside leaves Ctrl-C as it was, too."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="inside"), StopRequest():
        raise RuntimeError("inside")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal here")
def test_what_is_ignored_stays_ignored() -> None:
    """`nohup escriba train ...` goes on after the terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_one_inside_another() -> None:
    """A training inside a training's watcher gives the signals back to the outer one."""
    with StopRequest() as outer:
        with StopRequest() as inner:
            signal.raise_signal(signal.SIGINT)
        assert (outer.requested, inner.requested) == (False, True)
        signal.raise_signal(signal.SIGINT)
        assert outer.requested


def test_another_thread_has_no_signals() -> None:
    """In another thread nothing is changed, and nothing fails."""
    before, met = signal.getsignal(signal.SIGINT), []

    def inside() -> None:
        with StopRequest() as stop:
            met.append((signal.getsignal(signal.SIGINT), stop.requested))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert met == [(before, False)]


def a_broken_pipe() -> io.TextIOWrapper:
    """A stream whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return io.TextIOWrapper(os.fdopen(writer, "wb", buffering=0), write_through=True)


def a_closed_file() -> io.StringIO:
    """A stream that was closed."""
    stream = io.StringIO()
    stream.close()
    return stream


def a_closed_terminal() -> io.TextIOWrapper:
    """A terminal whose window is gone."""
    if sys.platform == "win32":
        pytest.skip("there is no such terminal here")
    master, slave = os.openpty()
    os.close(master)
    return io.TextIOWrapper(os.fdopen(slave, "wb", buffering=0), write_through=True)


@pytest.mark.parametrize("make", [a_broken_pipe, a_closed_file, a_closed_terminal])
def test_a_watcher_whose_stream_is_gone(make: Any) -> None:
    """It is called until then, and no more afterwards; who calls it notices nothing."""
    stream, seen = io.StringIO(), []

    def watch(event: Any) -> None:
        seen.append(event)
        stream.write(f"{event}\n")
        stream.flush()

    quiet = quiet_if_broken(watch)
    quiet(1)
    stream = make()
    quiet(2)
    quiet(3)
    assert seen == [1, 2]
    with dropping_a_broken_stream():
        watch(4)
    with pytest.raises((OSError, ValueError)):
        watch(5)
    with contextlib.suppress(OSError):
        stream.close()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("a mistake"), KeyboardInterrupt(), RuntimeError("x")])
def test_other_errors_of_a_watcher(error: BaseException) -> None:
    """What is no broken stream comes through: a full disk, a mistake, a second Ctrl-C."""

    def watch(event: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        quiet_if_broken(watch)(1)
