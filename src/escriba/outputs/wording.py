"""A training's events in words: the same in a terminal, in a notebook and in a file.

It knows nothing of where the words are shown.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "begun_rows",
    "closed_rows",
    "duration",
    "epoch_line",
    "evaluated_line",
    "followed",
    "sample_heading",
    "stepped_back_line",
    "time_left",
    "visible",
]

Row = tuple[str, str]
"""A name and what is told under it."""

REASONS = {"length": "as long as asked", "patience": "no gain any more", "interrupted": "interrupted"}
IN_MEMORY = 'in memory alone: model.save("models/NAME") keeps it in a folder'

_PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"} | {127: "\u2421"}
_PICTURES |= dict.fromkeys(range(128, 160), "\ufffd")


def visible(text: str) -> str:
    """A text with its control characters as pictures (a model of bytes may write any), so that no terminal obeys them."""
    return text.translate(_PICTURES)


def duration(seconds: float) -> str:
    """A time for people: 42 s, 3:05 min, 2:10 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
    return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d} h"


def followed(before: float | None, loss: float) -> float | None:
    """The loss as it is shown: it follows the steps' losses slowly; one that is no number is left out."""
    if not math.isfinite(loss):
        return before
    return loss if before is None else 0.95 * before + 0.05 * loss


def time_left(event: Any, spent_s: float = 0.0) -> str:
    """What is left by the pace so far, or nothing where that is not known; `spent_s` went into earlier training of the model."""
    left = (event.elapsed_s - spent_s) * (1.0 / event.done - 1.0) if event.done > 0 else math.inf
    return f"{duration(left)} left" if math.isfinite(left) else ""


def begun_rows(begun: Any, stop: str) -> list[Row]:
    """What is known before the first step.

    Args:
        begun: the event.
        stop: what stops a training here, such as "Ctrl-C".
    """
    place = f"{begun.threads} thread{'s' * (begun.threads != 1)}" if begun.device == "cpu" else begun.device
    rows = [("restored", begun.restored)] if begun.restored else []
    rows += [
        ("text", begun.source),
        *begun.lines,
        *(("note", note) for note in begun.notes),
        ("network", f"{begun.network}: {begun.parameters:,} {begun.learns}, {begun.megabytes:.1f} MB"),
        ("examples", begun.examples),
        ("time", f"about {duration(begun.estimated_s)} at {begun.symbols_per_s:,.0f} symbols a second ({begun.precision}, {place})"),
    ]
    if begun.folder:
        rows.append(("model", f"{begun.folder}   ({stop} stops and keeps it)" if begun.learns == "parameters" else begun.folder))
    return [(name, visible(value)) for name, value in rows]


def epoch_line(event: Any) -> str:
    """The end of an epoch."""
    return f"epoch {event.number} over: mean loss {event.loss_nats:.4f}"


def evaluated_line(event: Any, characters_per_symbol: float) -> str:
    """A measurement of the unlearnt part."""
    bits = event.bits_per_symbol / characters_per_symbol
    mark = "  best so far" if event.best and event.step else ""
    figures = f"{event.loss_nats:.3f} nats, {bits:.3f} bits per character, perplexity {event.perplexity:,.2f}"
    return f"step {event.step:,}: unlearnt part {figures}{mark}"


def stepped_back_line(event: Any) -> str:
    """A step that gave no number, and what was done about it."""
    what = "the gradient was not finite" if math.isfinite(event.loss_nats) else f"the loss was {event.loss_nats:g}"
    return f"step {event.step:,}: {what}; back to the last good weights, rate now {event.learning_rate:.3g}"


def sample_heading(sampled: Any) -> str:
    """Of what the model writes while it learns."""
    return f"it writes, after {sampled.step:,} steps, at temperature {sampled.temperature:g}"


def closed_rows(closed: Any, *, in_python: bool = False) -> list[Row]:
    """The closing figures.

    Args:
        closed: the event.
        in_python: the training was called from Python: what can be done next is told in Python; the command line tells it itself.
    """
    reason = REASONS.get(closed.reason, closed.reason)
    how_much = f"{reason}: {closed.steps:,} steps, {closed.epochs:.2f} epochs" if closed.kept != "counts" else "counted"
    rows = [("ended", f"{how_much}, {duration(closed.elapsed_s)}")]
    if closed.reason == "length" and closed.again:
        flags = {"embedding_dim": "--set model.embedding_dim="}
        options = (f"{flags.get(name, f'--{name} '.replace('_', '-'))}{value}" for name, value in closed.again.items())
        words = ", ".join(f"{name}={value}" for name, value in closed.again.items()) if in_python else " ".join(options)
        rows.append(("again", f"the same on any machine: {words}"))
    if closed.loss_nats is not None:
        figures = f"{closed.loss_nats:.4f} nats, {closed.bits_per_char:.4f} bits per character, perplexity {closed.perplexity:,.2f}"
        rows.append(("held out", f"{figures} over {closed.held_out_symbols:,} symbols never learnt from ({closed.kept} weights)"))
    if closed.compared:
        rows.append(("compared", closed.compared))
    if closed.folder:
        rows.append(("kept in" if closed.reason == "interrupted" else "model", closed.folder))
    if in_python and closed.reason == "interrupted":
        again = f"escriba.train(THE SAME TEXT, out={closed.folder!r}, resume=True)"
        rows.append(("go on", again) if closed.folder else ("kept", IN_MEMORY))
    return [(name, visible(value)) for name, value in rows]
