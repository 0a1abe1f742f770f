"""A training as one block of a notebook that updates in place: what is learnt, how far it is, the curve, the latest samples.

It knows nothing of training: it is called with events and draws them; IPython is used only where it is already running.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any

from escriba.language import tr
from escriba.outputs.curve import Curve, Line, svg
from escriba.outputs.page import table
from escriba.outputs.wording import (
    begun_rows,
    closed_rows,
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

__all__ = ["NotebookDisplay", "in_notebook"]

SHORTEST_S = 0.25
"""Between two updates: a page that is drawn more often is no easier to read, and a slow connection would lag behind."""

# Colours that can be read on a light and on a dark page; the text has the page's own.
LEARNT, UNLEARNT, WARNING = "#4c8bf5", "#e8710a", "#d93025"


def in_notebook() -> bool:
    """Whether this is a notebook's kernel, whose page shows HTML and updates it: Jupyter, VS Code, Colab and their like.

    IPython in a terminal is none, nor is Spyder's console: that is a kernel too, but shows plain text and updates nothing.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    shells = _classes(shell)
    return "ZMQInteractiveShell" in shells and not any(
        name.startswith("Spyder") for name in shells | _classes(getattr(shell, "kernel", None))
    )


def _classes(thing: object) -> set[str]:
    """The names of a thing's class and of its bases: Colab's shell, and others, are derived from Jupyter's."""
    return {kind.__name__ for kind in type(thing).__mro__}


class NotebookDisplay:
    """Draws a training in one block of a notebook; an instance is a watcher of one training.

    A block that cannot be drawn never harms the training.

    Args:
        samples: whether to show what the model writes while it learns.
        instead: a watcher that draws from then on if the block cannot be drawn; None: nothing does.
    """

    def __init__(self, *, samples: bool = True, instead: Callable[[Any], None] | None = None) -> None:
        self.samples = samples
        self.loss: float | None = None
        self.characters_per_symbol, self._spent_s = 1.0, 0.0
        self._instead = instead
        self._failed = False
        self._begun_with: Any = None
        self._handle: Any = None
        self._drawn_at = -1.0
        self._behind = False
        self._head: list[tuple[str, str]] = []
        self._closing: list[tuple[str, str]] = []
        self._done, self._now = 0.0, tr("learning")
        self._learnt, self._unlearnt = Curve(), Curve()
        self._measured = ""
        self._warnings: list[str] = []
        self._sampled: list[Any] = []
        self._take: dict[str, Callable[[Any], None]] = {
            "Begun": self._begun,
            "Progress": self._progress,
            "EpochEnded": self._epoch_ended,
            "Evaluated": self._evaluated,
            "Joined": self._joined,
            "SteppedBack": self._stepped_back,
            "Sampled": self._sample,
            "Closed": self._closed,
        }

    def __call__(self, event: Any) -> None:
        """Draws one event; those it does not know it leaves."""
        name = type(event).__name__
        if self._failed:
            self._hand_on(event)
        elif take := self._take.get(name):
            try:
                take(event)
                self._draw(at_once=name in ("Begun", "Closed"))
            except Exception:  # noqa: BLE001 - whatever a page's front end may raise, it is no reason to lose a training
                self._failed = True
                if self._begun_with is not None and event is not self._begun_with:
                    self._hand_on(self._begun_with)
                self._hand_on(event)

    def close(self) -> None:
        """Draws what is not yet drawn; a training that broke off is shown as such."""
        if self._failed or self._handle is None:
            return
        if not self._closing:
            self._now, self._behind = tr("broke off: {where}", where=self._now), True
        if self._behind:
            try:
                self._draw(at_once=True)
            except Exception:  # noqa: BLE001 - as above
                self._failed = True

    def _hand_on(self, event: Any) -> None:
        if self._instead is not None:
            self._instead(event)

    def _draw(self, *, at_once: bool) -> None:
        """Puts the block on the page, or brings it up to date, unless that was done a moment ago."""
        self._behind = True
        if not at_once and time.monotonic() - self._drawn_at < SHORTEST_S:
            return
        block = {"text/plain": self.plain(), "text/html": self.html()}
        if self._handle is None:
            from IPython.display import display

            self._handle = display(block, raw=True, display_id=True)  # type: ignore[no-untyped-call]
            if self._handle is None:
                raise RuntimeError("this front end shows nothing")
        else:
            self._handle.update(block, raw=True)
        self._drawn_at, self._behind = time.monotonic(), False

    # What the events leave.

    def _begun(self, begun: Any) -> None:
        self._begun_with = begun
        self.characters_per_symbol, self._spent_s = begun.characters_per_symbol, begun.spent_s
        self._head = begun_rows(begun, tr("the stop button"))

    def _progress(self, event: Any) -> None:
        self.loss = followed(self.loss, event.loss_nats)
        self._learnt.add(event.step, self.loss)
        self._done = min(1.0, max(0.0, event.done))
        self._now = "  ".join(filter(None, [*step_parts(event, self.loss), time_left(event, self._spent_s)]))

    def _epoch_ended(self, event: Any) -> None:
        self._measured = epoch_line(event)

    def _evaluated(self, event: Any) -> None:
        self._unlearnt.add(event.step, event.loss_nats)
        self._measured = evaluated_line(event, self.characters_per_symbol)

    def _joined(self, event: Any) -> None:
        self._measured = joined_line(event)

    def _stepped_back(self, event: Any) -> None:
        self._warnings = [*self._warnings, stepped_back_line(event)][-3:]

    def _sample(self, sampled: Any) -> None:
        if self.samples:
            self._sampled = [*(one for one in self._sampled if one.step == sampled.step), sampled]

    def _closed(self, closed: Any) -> None:
        self._closing = closed_rows(closed, in_python=True)

    # The block.

    def plain(self) -> str:
        """The block as lines of text, for what shows no HTML."""
        lines = [f"{padded(name)} {value}" for name, value in self._head]
        if not self._closing:
            lines.append(f"{self._done:4.0%}  {self._now}")
        lines += [self._measured] if self._measured else []
        lines += [f"{padded(tr('warning'))} {warning}" for warning in self._warnings]
        for sampled in self._sampled:
            lines += [f"-- {sample_heading(sampled)} --", visible(sampled.text)]
        return "\n".join([*lines, *(f"{padded(name)} {value}" for name, value in self._closing)])

    def html(self) -> str:
        """The block as HTML: inline styles and an inline picture, no script, nothing from elsewhere."""
        curves = [Line(tr("learnt"), LEARNT, self._learnt.points), Line(tr("choosing part"), UNLEARNT, self._unlearnt.points)]
        parts = [table(self._head), "" if self._closing else _share_done(self._done, self._now), svg(curves)]
        if self._measured:
            parts.append(f'<div style="opacity:0.75">{escape(self._measured)}</div>')
        warned = [tr("warning: {warning}", warning=warning) for warning in self._warnings]
        parts += [f'<div style="color:{WARNING}">{escape(warning)}</div>' for warning in warned]
        for sampled in self._sampled:
            parts.append(f'<div style="opacity:0.75;margin-top:0.5em">{escape(sample_heading(sampled))}</div>')
            parts.append(
                '<div dir="auto" style="white-space:pre-wrap;overflow-wrap:anywhere;max-height:20em;overflow:auto;padding-left:0.8em;'
                f'border-left:3px solid {LEARNT}">{escape(visible(sampled.text))}</div>'
            )
        parts.append(table(self._closing))
        return f'<div style="max-width:60em;line-height:1.4">{"".join(parts)}</div>'


def _share_done(done: float, said: str) -> str:
    """A bar as long as what is done, with what is said of it."""
    return (
        f'<div role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{done:.0%}" '.replace("%", "")
        + 'style="background:rgba(127,127,127,0.25);border-radius:3px;margin:0.5em 0 0.2em">'
        f'<div style="width:{done:.1%};height:6px;border-radius:3px;background:{LEARNT}"></div></div>'
        f'<div style="white-space:pre-wrap">{done:.0%}  {escape(said)}</div>'
    )
