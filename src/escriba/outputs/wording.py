"""A training's events in words: the same in a terminal, in a notebook and in a file.

It knows nothing of where the words are shown.
"""

from __future__ import annotations

import math
from typing import Any

from rich.cells import cell_len

from escriba.language import later, tr, trn

__all__ = [
    "begun_rows",
    "closed_rows",
    "duration",
    "epoch_line",
    "evaluated_line",
    "followed",
    "joined_line",
    "padded",
    "sample_heading",
    "step_parts",
    "stepped_back_line",
    "time_left",
    "visible",
]

Row = tuple[str, str]
"""A name and what is told under it."""

NAMES = (
    later("restored"), later("text"), later("note"), later("network"), later("examples"), later("time"), later("model"),
    later("warning"), later("ended"), later("again"), later("held out"), later("compared"), later("kept in"), later("go on"), later("kept"),
)  # fmt: skip
"""What rows are called here; the longest says how wide their column is."""

LEARNS = {
    "parameters": later("{network}: {count:,} parameters, {megabytes:.1f} MB"),
    "n-grams": later("{network}: {count:,} n-grams, {megabytes:.1f} MB"),
}
REASONS = {"length": later("as long as asked"), "patience": later("no gain any more"), "interrupted": later("interrupted")}
KEPT = {
    "last": later("last weights"),
    "averaged": later("averaged weights"),
    "best": later("best weights"),
    "counts": later("counts weights"),
}
IN_MEMORY = later('in memory alone: model.save("models/NAME") keeps it in a folder')

_PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"} | {127: "\u2421"}
_PICTURES |= dict.fromkeys(range(128, 160), "\ufffd")


def visible(text: str) -> str:
    """A text with its control characters as pictures (a model of bytes may write any), so that no terminal obeys them."""
    return text.translate(_PICTURES)


def padded(name: str) -> str:
    """The name of a row, as wide as the column of names."""
    return name + " " * (1 + max(cell_len(tr(one)) for one in NAMES) - cell_len(name))


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
    return tr("{duration} left", duration=duration(left)) if math.isfinite(left) else ""


def step_parts(event: Any, loss: float | None) -> list[str]:
    """Where a training is: the step, the epoch, and the loss where it is known."""
    parts = [tr("step {step:,}", step=event.step), tr("epoch {epoch:.2f}", epoch=event.epoch)]
    return parts if loss is None else [*parts, tr("loss {loss:.3f}", loss=loss)]


def begun_rows(begun: Any, stop: str) -> list[Row]:
    """What is known before the first step.

    Args:
        begun: the event.
        stop: what stops a training here, such as "Ctrl-C".
    """
    place = trn("{n} thread", "{n} threads", begun.threads) if begun.device == "cpu" else begun.device
    rows = [(tr("restored"), begun.restored)] if begun.restored else []
    rows += [
        (tr("text"), begun.source),
        *begun.lines,
        *((tr("note"), note) for note in begun.notes),
        (tr("network"), tr(LEARNS[begun.learns], network=begun.network, count=begun.parameters, megabytes=begun.megabytes)),
        (tr("examples"), begun.examples),
    ]
    pace = {"duration": duration(begun.estimated_s), "per_s": begun.symbols_per_s, "precision": begun.precision, "place": place}
    rows.append((tr("time"), tr("about {duration} at {per_s:,.0f} symbols a second ({precision}, {place})", **pace)))
    if begun.folder:
        kept = tr("{folder}   ({stop} stops and keeps it)", folder=begun.folder, stop=stop)
        rows.append((tr("model"), kept if begun.learns == "parameters" else begun.folder))
    return [(name, visible(value)) for name, value in rows]


def epoch_line(event: Any) -> str:
    """The end of an epoch."""
    line = later("epoch {epoch} over: mean loss {loss:.4f}, of its last ten steps {last:.4f}")
    return tr(line, epoch=event.number, loss=event.loss_nats, last=event.last_loss_nats)


def evaluated_line(event: Any, characters_per_symbol: float) -> str:
    """A measurement of the choosing part."""
    bits = event.bits_per_symbol / characters_per_symbol
    mark = f"  {tr('best so far')}" if event.best and event.step else ""
    line = later("step {step:,}: choosing part {nats:.3f} nats, {bits:.3f} bits per character, perplexity {perplexity:,.2f}")
    return tr(line, step=event.step, nats=event.loss_nats, bits=bits, perplexity=event.perplexity) + mark


def joined_line(event: Any) -> str:
    """The choosing part has done its work."""
    return tr("step {step:,}: from here on the choosing part is learnt too", step=event.step)


def stepped_back_line(event: Any) -> str:
    """A step that gave no number, and what was done about it."""
    if math.isfinite(event.loss_nats):
        line = later("step {step:,}: the gradient was not finite; back to the last good weights, rate now {rate:.3g}")
        return tr(line, step=event.step, rate=event.learning_rate)
    line = later("step {step:,}: the loss was {loss:g}; back to the last good weights, rate now {rate:.3g}")
    return tr(line, step=event.step, loss=event.loss_nats, rate=event.learning_rate)


def sample_heading(sampled: Any) -> str:
    """Of what the model writes while it learns."""
    line = later("it writes, after {step:,} steps, at temperature {temperature:g}")
    return tr(line, step=sampled.step, temperature=sampled.temperature)


def closed_rows(closed: Any, *, in_python: bool = False) -> list[Row]:
    """The closing figures.

    Args:
        closed: the event.
        in_python: the training was called from Python: what can be done next is told in Python; the command line tells it itself.
    """
    took = duration(closed.elapsed_s)
    if closed.kept == "counts":
        ended = tr("counted, {duration}", duration=took)
    else:
        line = later("{reason}: {steps:,} steps, {epochs:.2f} epochs, {duration}")
        ended = tr(line, reason=tr(REASONS.get(closed.reason, closed.reason)), steps=closed.steps, epochs=closed.epochs, duration=took)
    rows = [(tr("ended"), ended)]
    if closed.steps == 0 and closed.kept != "counts":
        rows.append((tr("note"), tr("the time was over before the first step, so nothing was learnt: give it more minutes")))
    elif closed.reason == "length" and closed.again:
        set_only = {
            "embedding_dim": "model",
            "symbol_dropout": "model",
            "weight_decay": "train",
            "batch_size": "train",
            "learning_rate": "train",
        }
        flags = {name: f"--set {section}.{name}=" for name, section in set_only.items()}
        options = (f"{flags.get(name, f'--{name} '.replace('_', '-'))}{value}" for name, value in closed.again.items())
        words = ", ".join(f"{name}={value}" for name, value in closed.again.items()) if in_python else " ".join(options)
        rows.append((tr("again"), tr("as much training on any machine: {settings}", settings=words)))
    if closed.loss_nats is not None:
        figures = {"nats": closed.loss_nats, "bits": closed.bits_per_char, "perplexity": closed.perplexity}
        told = tr(
            "{nats:.4f} nats, {bits:.4f} bits per character, perplexity {perplexity:,.2f}"
            " over {symbols:,} symbols never learnt from ({weights})",
            **figures, symbols=closed.held_out_symbols, weights=tr(KEPT[closed.kept]),
        )  # fmt: skip
        rows.append((tr("held out"), told))
    if closed.compared:
        rows.append((tr("compared"), closed.compared))
    if closed.folder:
        rows.append((tr("kept in") if closed.reason == "interrupted" else tr("model"), closed.folder))
    if in_python and closed.reason == "interrupted":
        again = tr("escriba.train(THE SAME TEXT, out={folder!r}, resume=True)", folder=closed.folder)
        rows.append((tr("go on"), again) if closed.folder else (tr("kept"), tr(IN_MEMORY)))
    return [(name, visible(value)) for name, value in rows]
