"""Curves of a loss over the steps, as inline SVG or as a row of bars: no script, no style sheet, no plotting library.

It knows nothing of whose loss it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from escriba.language import tr

__all__ = ["Curve", "Line", "sparkline", "svg", "ticks"]

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 28, 22, 24
"""The margins around the curves, where the numbers stand, in the units of the picture."""

Points = Sequence[tuple[float, float]]


class Line(NamedTuple):
    """One line of a picture: its name, its colour and its points."""

    name: str
    colour: str
    points: Points


class Curve:
    """Points (step, loss), as many as a picture can show: where they are too many, every second one goes.

    Args:
        most: how many points are kept, 4 or more.
    """

    def __init__(self, most: int = 400) -> None:
        self.points: list[tuple[int, float]] = []
        self._most = most
        self._gap = 0.0

    def add(self, step: int, loss: float | None) -> None:
        """Adds a point at the end; a loss that is no number is left out; a step that comes again takes the place of what followed it."""
        if loss is None or not math.isfinite(loss):
            return
        while self.points and self.points[-1][0] >= step:
            self.points.pop()
        if len(self.points) > 1 and self.points[-1][0] - self.points[-2][0] < self._gap:
            # the newest point is always there; it stays when it is far enough from the one before
            self.points.pop()
        self.points.append((step, loss))
        if len(self.points) > self._most:
            self.points = [*self.points[:-1:2], self.points[-1]]
            self._gap = 2.0 * (step - self.points[0][0]) / self._most


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high, about so many: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1.0, 2.0, 5.0, 10.0)), key=lambda near: abs(math.log(near / rough)))
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def sparkline(values: Sequence[float], most: int) -> str:
    """Numbers as a row of bars, the greatest highest; where there are more than `most`, each bar is the mean of its share of them.

    Args:
        values: in order; what is no finite number is left out.
        most: bars at most; a row of fewer than 8 would tell nothing, so as many are drawn in any case.
    """
    values = [value for value in values if math.isfinite(value)]
    count = min(len(values), max(most, 8))
    edges = [len(values) * at // count for at in range(count + 1)] if count else []
    means = [math.fsum(values[begin:end]) / (end - begin) for begin, end in pairwise(edges)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    return "".join("▁▂▃▄▅▆▇█"[int(7 * (mean - low) / ((high - low) or 1.0))] for mean in means)


def svg(lines: Sequence[Line]) -> str:
    """A picture of the lines, with numbers on both axes; nothing where there is no point.

    The text has the colour of the page around it, so that it can be read on a light and on a dark one.
    """
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    first, last = _range([x for x, _ in points], 1.0)
    low, high = _range([y for _, y in points], 0.1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        return across, TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)

    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(_described(lines))}" style="max-width:100%;height:auto;display:block" fill="none" '
        'font-size="11" font-family="sans-serif">'
    )
    parts = [opening]
    losses = ticks(low, high)
    digits = max(0, -math.floor(math.log10(losses[1] - losses[0]) + 1e-9)) if len(losses) > 1 else 2
    for loss in losses:
        _, y = place(first, loss)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity="0.15"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{loss:.{digits}f}", "end"))
    for step in ticks(first, last):
        if step == int(step):
            x, _ = place(step, low)
            parts.append(_text(x, HEIGHT - 8, f"{int(step):,}", "middle"))
    unit = tr("nats a symbol")
    parts.append(_text(4, 12, unit, "start"))
    parts.append(_text(WIDTH - RIGHT, 12, tr("over the steps"), "end"))
    across = max(LEFT + 90, 20 + 6 * len(unit))
    for line in lines:
        if not line.points:
            continue
        places = [place(x, y) for x, y in line.points]
        if len(places) == 1:
            parts.append(f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3" fill="{line.colour}"/>')
        else:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            parts.append(f'<path d="M{path}" stroke="{line.colour}" stroke-width="2" stroke-linejoin="round"/>')
        parts.append(f'<path d="M{across} 8h16" stroke="{line.colour}" stroke-width="3"/>')
        parts.append(_text(across + 22, 12, line.name, "start"))
        across += 50 + 6 * len(line.name)
    return "".join([*parts, "</svg>"])


def _range(values: Sequence[float], least: float) -> tuple[float, float]:
    """From the smallest to the largest value, but never nothing."""
    low, high = min(values), max(values)
    return (low, high) if high - low >= least else ((low + high - least) / 2.0, (low + high + least) / 2.0)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" fill-opacity="0.75">{escape(text)}</text>'


def _described(lines: Sequence[Line]) -> str:
    """The picture for those who hear it."""
    ends = [(line.name, *line.points[-1]) for line in lines if line.points]
    told = ", ".join(tr("{line} {loss:.3f} at step {step:,.0f}", line=name, loss=loss, step=step) for name, step, loss in ends)
    return tr("loss in nats a symbol: {lines}", lines=told)
