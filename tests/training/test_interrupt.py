"""Ctrl-C while a network learns: asked once, insisted twice."""

from __future__ import annotations

import signal
import threading

import pytest

from escriba.training.interrupt import StopRequest


def test_the_first_asks_the_second_stops() -> None:
    """The first Ctrl-C is only noted; the second is one; afterwards Ctrl-C is what it was."""
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_it_is_put_back_after_an_error() -> None:
    """An error inside leaves Ctrl-C as it was, too."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="inside"), StopRequest():
        raise RuntimeError("inside")
    assert signal.getsignal(signal.SIGINT) is before


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
