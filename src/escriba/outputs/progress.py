"""A training as a person watches it: a live bar in a terminal, elsewhere a plain line at least every ten seconds.

It knows nothing of training: it is called with events and draws them, on standard error.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from escriba.language import tr
from escriba.outputs.notebook import NotebookDisplay, in_notebook
from escriba.outputs.wording import (
    begun_rows,
    closed_rows,
    duration,
    epoch_line,
    evaluated_line,
    followed,
    joined_line,
    padded,
    sample_heading,
    step_parts,
    stepped_back_line,
    time_left,
    visible,
)

__all__ = ["ProgressDisplay", "display_for", "duration"]

LINE_EVERY_S = 10.0
NARROW = 64
"""Columns below which the bar and the epoch are left out, so that step, loss and time left are whole."""


def display_for(stream: TextIO | None = None, *, samples: bool = True) -> NotebookDisplay | ProgressDisplay:
    """A watcher for a training that is called from Python: one block in a notebook, else a bar or lines.

    Args:
        stream: where lines and a bar are drawn; None: standard error.
        samples: whether to show what the model writes while it learns.
    """
    lines = ProgressDisplay(stream, samples=samples, in_python=True)
    return NotebookDisplay(samples=samples, instead=lines) if in_notebook() else lines


class _Console(Console):
    """A console whose broken pipe is an error to catch; rich would end the program, and the training with it."""

    def on_broken_pipe(self) -> None:
        """Nobody reads any more."""
        raise BrokenPipeError(errno.EPIPE, "nobody reads any more")


class ProgressDisplay:
    """Draws a training; an instance is a watcher.

    Args:
        stream: where to draw; None: standard error.
        samples: whether to show what the model writes while it learns.
        live: a bar that moves in place; None: if the stream is a terminal that can do so.
        in_python: the training was called from Python: what can be done at its end is told in Python.
    """

    def __init__(self, stream: TextIO | None = None, *, samples: bool = True, live: bool | None = None, in_python: bool = False) -> None:
        # without force_jupyter=False rich would make an output of its own of every line in a notebook
        self.console = _Console(file=stream or sys.stderr, highlight=False, soft_wrap=True, force_jupyter=False)
        # a terminal that cannot move its cursor (TERM=dumb) gets lines
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal if live is None else live
        self.samples = samples
        self.in_python = in_python
        self.loss: float | None = None
        self.characters_per_symbol, self.spent_s = 1.0, 0.0
        self._last_line_at = time.monotonic()
        self._bar: Progress | None = None
        self._draw: dict[str, Callable[[Any], None]] = {
            "Begun": self._begun,
            "Progress": self._progress,
            "EpochEnded": self._epoch_ended,
            "Evaluated": self._evaluated,
            "Joined": self._joined,
            "SteppedBack": self._stepped_back,
            "Sampled": self._sampled,
            "Closed": self._closed,
        }

    def __call__(self, event: Any) -> None:
        """Draws one event; those it does not know it leaves."""
        if draw := self._draw.get(type(event).__name__):
            draw(event)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _rows(self, rows: list[tuple[str, str]]) -> None:
        for name, value in rows:
            self._print(Text.assemble((f"{padded(name)} ", "bold"), value))

    def _print(self, what: str | Text) -> None:
        self.console.print(what, markup=False)
        self._last_line_at = time.monotonic()

    def _begun(self, begun: Any) -> None:
        self.characters_per_symbol, self.spent_s = begun.characters_per_symbol, begun.spent_s
        self._rows(begun_rows(begun, "Ctrl-C"))
        if self.live:
            bar = () if self.console.width < NARROW else (BarColumn(bar_width=None),)
            columns = (TextColumn("{task.description}"), *bar, TextColumn("{task.fields[left]}"))
            self._bar = Progress(*columns, console=self.console, transient=True, expand=True)
            self._task = self._bar.add_task(tr("learning"), total=1.0, left="")
            self._bar.start()

    def _progress(self, event: Any) -> None:
        self.loss = followed(self.loss, event.loss_nats)
        step, epoch, *loss = step_parts(event, self.loss)
        described = "  ".join([step, epoch, *loss])
        if self._bar is not None:
            if self.console.width < NARROW:
                described = "  ".join([f"{event.step:,}", *loss])
            self._bar.update(self._task, completed=event.done, description=described, left=time_left(event, self.spent_s))
        elif time.monotonic() - self._last_line_at > LINE_EVERY_S:
            self._print(f"{event.done:4.0%}  {described}  {time_left(event, self.spent_s)}")

    def _epoch_ended(self, event: Any) -> None:
        self._print(epoch_line(event))

    def _evaluated(self, event: Any) -> None:
        self._print(evaluated_line(event, self.characters_per_symbol))

    def _joined(self, event: Any) -> None:
        self._print(joined_line(event))

    def _stepped_back(self, event: Any) -> None:
        self._print(Text.assemble((f"{padded(tr('warning'))} ", "bold red"), stepped_back_line(event)))

    def _sampled(self, sampled: Any) -> None:
        if self.samples:
            self._print(Text(f"-- {sample_heading(sampled)} --", style="dim"))
            self._print(Text(visible(sampled.text), style="italic"))

    def _closed(self, closed: Any) -> None:
        self.close()
        self._rows(closed_rows(closed, in_python=self.in_python))
