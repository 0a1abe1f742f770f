"""Pictures made of boxes and letters: a network with its shapes and counts, a text coloured by its surprisal.

It knows nothing of models: it is given boxes, symbols and bits. Needs matplotlib.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from escriba.language import tr
from escriba.outputs.figures import BLUE, GREY, drawing, new_figure
from escriba.outputs.heat import LEGEND, on_white
from escriba.outputs.plots import shortened
from escriba.text.printed import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Box", "architecture", "surprisal_text"]

COLUMNS = 88
"""Characters in a line of coloured text."""

MOST_SYMBOLS, MOST_LINES = 3_000, 300
"""Symbols and lines in one picture: of more nobody reads a picture, and of 2^16 pixels in height matplotlib makes none."""


class Box(NamedTuple):
    """A part of a network: its name, what it does, the shape of what comes out, and how many numbers it learns."""

    name: str
    does: str
    shape: str
    parameters: int | None


def architecture(boxes: Sequence[Box], *, title: str, below: str = "") -> Figure:
    """The parts of a network from the input down, each in a box, with what flows between them on the arrows.

    Args:
        boxes: the parts, in the order in which data flow.
        title: above the picture.
        below: a line under it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with drawing(tr("a picture of the architecture"), [title]) as lettering:
        figure = new_figure(6.4, 0.9 + 1.0 * len(boxes))
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0.0, 10.0)
        axes.set_ylim(-1.0 * len(boxes), 0.25)
        for row, box in enumerate(boxes):
            top = -1.0 * row
            _box(axes, top, box)
            axes.annotate(
                "",
                xy=(5.0, top - 1.0 + (0.0 if row + 1 < len(boxes) else 0.08)),
                xytext=(5.0, top - 0.66),
                arrowprops={"arrowstyle": "-|>", "color": GREY},
            )
            axes.text(5.2, top - 0.83, box.shape, va="center", fontsize=9, color="#333333")
        axes.set_title(lettering.shown(title))
        if below:
            figure.supxlabel(below, fontsize=9)
        return figure


def _box(axes: object, top: float, box: Box) -> None:
    """One box: name and what it does at the left, the count at the right."""
    from matplotlib.axes import Axes
    from matplotlib.patches import FancyBboxPatch

    assert isinstance(axes, Axes)
    axes.add_patch(
        FancyBboxPatch((0.3, top - 0.62), 9.4, 0.58, boxstyle="round,pad=0.02,rounding_size=0.12", facecolor="#eef4fb", edgecolor=BLUE)
    )
    axes.text(0.6, top - 0.2, box.name, va="center", fontsize=11, fontweight="bold")
    axes.text(0.6, top - 0.46, box.does, va="center", fontsize=9)
    if box.parameters is not None:
        learnt = tr("{count:,} parameters", count=box.parameters) if box.parameters else tr("nothing learnt")
        axes.text(9.4, top - 0.33, learnt, va="center", ha="right", fontsize=9)


class _Cell(NamedTuple):
    """A symbol's place in the picture: line, first column, columns, what is written, and its bits."""

    line: int
    column: int
    columns: int
    text: str
    bits: float


def surprisal_text(pieces: Sequence[str], bits: Sequence[float], *, title: str | None = None, below: str = "") -> Figure:
    """A text of which each symbol has the colour of its surprisal, and below it what the colours mean.

    Args:
        pieces: the symbols in order; of more than 3,000, or 300 lines, the first are shown, and that is said.
        bits: the surprisal of each.
        title: above the picture; None: that it is the surprisal.
        below: what is told under it: the convention.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    shown = list(pieces[:MOST_SYMBOLS])
    title = tr("Surprisal") if title is None else title
    with drawing(tr("a picture of the surprisal"), [title, below, *map(printable, shown)]) as lettering:
        from matplotlib.patches import Rectangle

        cells, drawn = _laid_out([(lettering.shown(_as_written(piece)), amount, piece) for piece, amount in zip(shown, bits, strict=False)])
        lines = max((cell.line for cell in cells), default=0) + 1
        told = textwrap.fill(lettering.shown(below), 110)
        figure = new_figure(9.0, 0.23 * lines + 1.1 + 0.15 * (told.count("\n") + bool(told)))
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0.0, COLUMNS)
        axes.set_ylim(lines + 2.2, 0.0)
        fonts = ["DejaVu Sans Mono", *lettering.families]
        for cell in cells:
            axes.add_patch(Rectangle((cell.column, cell.line), cell.columns, 0.92, facecolor=on_white(cell.bits), edgecolor="none"))
            at = cell.column
            for one in _clusters(cell.text):
                wide = cell_len(one)
                if one.strip():
                    axes.text(at + wide / 2, cell.line + 0.46, one, ha="center", va="center", fontsize=11, fontfamily=fonts)
                at += wide
        for place, amount in enumerate(LEGEND):
            axes.add_patch(Rectangle((6 * place, lines + 1.0), 6, 0.95, facecolor=on_white(amount), edgecolor=GREY, linewidth=0.4))
            last = place == len(LEGEND) - 1
            axes.text(6 * place + 3, lines + 1.47, f"{amount}{'+' * last}", ha="center", va="center", fontsize=8)
        axes.text(6 * len(LEGEND) + 1.5, lines + 1.47, tr("surprisal of a symbol, in bits"), va="center", fontsize=9)
        heading = lettering.shown(shortened(title, 100))
        if len(pieces) > drawn:
            heading = tr("{title} (the first {shown:,} of {total:,} symbols)", title=heading, shown=drawn, total=len(pieces))
        axes.set_title(heading)
        if told:
            figure.supxlabel(told, fontsize=8)
        return figure


def _as_written(piece: str) -> str:
    """A symbol in a running text: blanks stay blank, all else that leaves no ink is shown."""
    return " ".join(printable(part) if part else "" for part in piece.split(" ")) if piece else printable(piece)


def _laid_out(symbols: Sequence[tuple[str, float, str]]) -> tuple[list[_Cell], int]:
    """Symbols in lines: a new one after each newline, and where a symbol no longer fits; a long one is cut. How many there was room for."""
    cells: list[_Cell] = []
    line, column = 0, 0
    for at, (text, bits, piece) in enumerate(symbols):
        clusters = _clusters(text[: COLUMNS * MOST_LINES])
        if line >= MOST_LINES:
            return cells, at
        while clusters and line < MOST_LINES:
            taken, width = [], 0
            while clusters and (column + width + cell_len(clusters[0]) <= COLUMNS):
                width += cell_len(clusters[0])
                taken.append(clusters.pop(0))
            if taken:
                cells.append(_Cell(line, column, width, "".join(taken), bits))
                column += width
            if clusters:
                line, column = line + 1, 0
        if "\n" in piece:
            line, column = line + 1, 0
    return cells, len(symbols)


def _clusters(text: str) -> list[str]:
    """The characters of a text, each with the marks upon it."""
    found: list[str] = []
    for one in text:
        if found and cell_len(one) == 0:
            found[-1] += one
        else:
            found.append(one)
    return found
