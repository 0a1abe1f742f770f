"""What a terminal can show of probabilities: bars of a distribution, a text coloured by its surprisal.

It knows nothing of models: it is given symbols, probabilities and bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from escriba.outputs.heat import LEGEND, mark, on_white
from escriba.text.printed import printable

__all__ = ["Row", "bars", "coloured", "marked", "print_surprisal"]

EIGHTHS = " ▏▎▍▌▋▊▉"
"""Nothing to seven eighths of a block."""

LONGEST_NAME = 24


class Row(NamedTuple):
    """One symbol of a distribution.

    Attributes:
        symbol: as it stands in the vocabulary.
        probability: 0 to 1.
        logit: nats, up to a constant; None: not shown.
    """

    symbol: str
    probability: float
    logit: float | None = None


def bars(rows: Sequence[Row], width: int = 80) -> str:
    """A line for each symbol: the symbol, a bar, the probability, the logit; the longest bar fills what is left of the width.

    Args:
        rows: in the order in which they are shown.
        width: columns of the terminal; wide characters take two.
    """
    names = [_cut(printable(row.symbol), min(LONGEST_NAME, max(2, width // 4))) for row in rows]
    widest = max(map(cell_len, names), default=0)
    figures = [f"{row.probability:8.2%}" + ("" if row.logit is None else f"  {row.logit:8.3f}") for row in rows]
    left = max(4, width - widest - max(map(len, figures), default=0) - 2)
    most = max((row.probability for row in rows), default=0.0) or 1.0
    lines = []
    for name, row, figure in zip(names, rows, figures, strict=True):
        bar = _bar(row.probability / most, left)
        lines.append(f"{name}{' ' * (widest - cell_len(name))}  {bar:<{left}}{figure}")
    return "\n".join(lines)


def coloured(pieces: Sequence[str], bits: Sequence[float]) -> Text:
    """A text on backgrounds the stronger the more surprising each symbol is, and what the colours mean."""
    text = Text()
    for piece, amount in zip(pieces, bits, strict=True):
        shown = _on_lines(piece)
        text.append(shown, style=f"black on {on_white(amount)}")
    text.append("\n\nbits ")
    for amount in LEGEND:
        text.append(f" {amount}{'+' * (amount == LEGEND[-1])} ", style=f"black on {on_white(amount)}")
    return text


def marked(pieces: Sequence[str], bits: Sequence[float], width: int = 80) -> str:
    """The same without colour: under each line of the text a line with the whole bits of each symbol, + from ten on, blank below one."""
    lines: list[str] = []
    above, below, column = "", "", 0

    def end() -> None:
        nonlocal above, below, column
        lines.append(above)
        if below.strip():
            lines.append(below.rstrip())
        above, below, column = "", "", 0

    for piece, amount in zip(pieces, bits, strict=True):
        shown = _on_lines(piece).rstrip("\n")
        columns = cell_len(shown)
        if column and column + columns > width:
            end()
        above += shown
        below += mark(amount) + " " * (columns - 1) if columns else ""
        column += columns
        if "\n" in piece:
            end()
    if above:
        end()
    return "\n".join(lines)


def print_surprisal(pieces: Sequence[str], bits: Sequence[float], stream: TextIO, *, colour: bool | None = None) -> None:
    """Prints a text with its surprisal: in colour in a terminal that has 256 colours or more, with marks elsewhere.

    Args:
        pieces: the symbols in order.
        bits: the surprisal of each.
        stream: where to.
        colour: None: what the stream and the environment (NO_COLOR, TERM) say.
    """
    console = Console(file=stream, highlight=False, soft_wrap=True, force_jupyter=False)
    # of 16 colours only two are near to any of ours: most of the text would look alike
    colours = console.is_terminal and not console.no_color and console.color_system in ("256", "truecolor")
    if colours if colour is None else colour:
        shown = Console(file=stream, highlight=False, soft_wrap=True, force_jupyter=False, force_terminal=True, no_color=False)
        shown.print(coloured(pieces, bits))
    else:
        stream.write(marked(pieces, bits, console.width if console.is_terminal else 80) + "\n")


def _bar(share: float, columns: int) -> str:
    """A bar over a share of so many columns, to the eighth of a column; what is not quite nothing can be seen."""
    eighths = max(round(share * columns * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _cut(text: str, most: int) -> str:
    """The beginning of a text that takes more than so many columns."""
    if cell_len(text) <= most:
        return text
    kept = ""
    for one in text:
        if cell_len(kept + one) >= most:
            break
        kept += one
    return kept + "…"


def _on_lines(piece: str) -> str:
    """A symbol in a running text: blanks stay, newlines are seen and end the line, nothing that a terminal obeys is left."""
    if not piece:
        return "·"
    return "".join(one if one == " " else printable(one) + "\n" * (one == "\n") if _acts(one) else one for one in piece)


def _acts(one: str) -> bool:
    """Whether a character is shown by name: a control, a separator, half a pair; marks stay with what they stand on."""
    return printable(one)[-1] != one
