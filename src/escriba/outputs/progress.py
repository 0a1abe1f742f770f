"""A training as a person watches it: a live bar in a terminal, elsewhere a plain line at least every ten seconds.

It knows nothing of training: it is called with events and draws them, on standard error.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

__all__ = ["ProgressDisplay", "duration"]

LINE_EVERY_S = 10.0


def duration(seconds: float) -> str:
    """A time for people: 42 s, 3:05 min, 2:10 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
    return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d} h"


class ProgressDisplay:
    """Draws a training; an instance is a watcher.

    Args:
        stream: where to draw; None: standard error.
        samples: whether to show what the model writes while it learns.
        live: a bar that moves in place; None: if the stream is a terminal.
    """

    def __init__(self, stream: TextIO | None = None, *, samples: bool = True, live: bool | None = None) -> None:
        self.console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self.live = self.console.is_terminal if live is None else live
        self.samples = samples
        self.loss: float | None = None
        self.characters_per_symbol = 1.0
        self._last_line_at = time.monotonic()
        self._bar: Progress | None = None
        self._draw: dict[str, Callable[[Any], None]] = {
            "Begun": self._begun,
            "Progress": self._progress,
            "EpochEnded": self._epoch_ended,
            "Evaluated": self._evaluated,
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
            self._print(Text.assemble((f"{name:<9} ", "bold"), value))

    def _print(self, what: str | Text) -> None:
        self.console.print(what, markup=False)
        self._last_line_at = time.monotonic()

    def _begun(self, begun: Any) -> None:
        self.characters_per_symbol = begun.characters_per_symbol
        rows = [("restored", begun.restored)] if begun.restored else []
        rows += [
            ("text", begun.source),
            *(("note", note) for note in begun.notes),
            ("network", f"{begun.network}: {begun.parameters:,} parameters, {begun.megabytes:.1f} MB"),
            ("examples", begun.examples),
            ("time", f"about {duration(begun.estimated_s)} at {begun.symbols_per_s:,.0f} symbols a second ({begun.precision})"),
        ]
        if begun.folder:
            rows.append(("model", f"{begun.folder}   (Ctrl-C stops and keeps it)"))
        self._rows(rows)
        if self.live:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[left]}"))
            self._bar = Progress(*columns, console=self.console, transient=True, expand=True)
            self._task = self._bar.add_task("learning", total=1.0, left="")
            self._bar.start()

    def _progress(self, event: Any) -> None:
        self.loss = event.loss_nats if self.loss is None else 0.95 * self.loss + 0.05 * event.loss_nats
        left = event.elapsed_s * (1.0 / event.done - 1.0) if event.done > 0 else math.inf
        described = f"step {event.step:,}  epoch {event.epoch:.2f}  loss {self.loss:.3f}"
        remaining = f"{duration(left)} left" if math.isfinite(left) else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=event.done, description=described, left=remaining)
        elif time.monotonic() - self._last_line_at > LINE_EVERY_S:
            self._print(f"{event.done:4.0%}  {described}  {remaining}")

    def _epoch_ended(self, event: Any) -> None:
        self._print(f"epoch {event.number} over: mean loss {event.loss_nats:.4f}")

    def _evaluated(self, event: Any) -> None:
        bits = event.bits_per_symbol / self.characters_per_symbol
        mark = "  best so far" if event.best and event.step else ""
        self._print(
            f"step {event.step:,}: unlearnt part {event.loss_nats:.3f} nats, {bits:.3f} bits per character, "
            f"perplexity {event.perplexity:,.2f}{mark}"
        )

    def _sampled(self, sampled: Any) -> None:
        if self.samples:
            heading = f"-- it writes, after {sampled.step:,} steps, at temperature {sampled.temperature:g} --"
            self._print(Text(heading, style="dim"))
            self._print(Text(sampled.text, style="italic"))

    def _closed(self, closed: Any) -> None:
        self.close()
        words = {"length": "as long as asked", "patience": "no gain any more", "interrupted": "interrupted"}
        rows = [
            ("ended", f"{words[closed.reason]}: {closed.steps:,} steps, {closed.epochs:.2f} epochs, {duration(closed.elapsed_s)}"),
        ]
        if closed.reason == "length":
            rows.append(("again", f"the same length on any machine: --steps {closed.steps}"))
        if closed.loss_nats is not None:
            figures = f"{closed.loss_nats:.4f} nats, {closed.bits_per_char:.4f} bits per character, perplexity {closed.perplexity:,.2f}"
            rows.append(("held out", f"{figures} over {closed.held_out_symbols:,} symbols never learnt from ({closed.kept} weights)"))
        if closed.folder:
            rows.append(("model", closed.folder))
        self._rows(rows)
