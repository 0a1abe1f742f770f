"""Pages and parts of pages: a text coloured by its surprisal as one HTML file, and what a notebook shows of results.

It knows nothing of models. Everything is escaped; nothing is fetched from anywhere; there is no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from escriba.language import language, tr
from escriba.outputs.heat import LEGEND, RGB, strength
from escriba.text.printed import printable

__all__ = ["Place", "bordered", "distribution_rows", "fragment", "surprisal_page", "table"]

STEPS = 24
"""Strengths of the colour that a page tells apart."""

MOST = 20_000
"""Symbols on a page, about 150 bytes each: a browser opens them in two seconds, and 50,000 in twenty."""

LINE = "1px solid rgba(127,127,127,0.6)"

STYLE = """
:root { color-scheme: light dark; }
body { font-family: system-ui, sans-serif; line-height: 1.5; max-width: 60rem; margin: 2rem auto 9rem; padding: 0 1rem;
 print-color-adjust: exact; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
.text { font-family: ui-monospace, monospace; font-size: 1.05rem; line-height: 1.75; white-space: pre-wrap; overflow-wrap: anywhere; }
.text span { border-radius: 2px; }
.text span:is(:hover, :focus) { outline: 2px solid currentColor; }
.text span:is(:hover, :focus)::after { content: attr(data-t); position: fixed; left: max(1rem, 50vw - 30.5rem); bottom: 1rem;
 box-sizing: border-box; min-width: min(30rem, 100vw - 2rem); max-width: calc(100vw - 2rem); min-height: 8.2em; padding: 0.5em 0.8em;
 white-space: pre-wrap; font: 0.9rem/1.4 ui-monospace, monospace; background: Canvas; color: CanvasText; border: 1px solid;
 border-radius: 4px; pointer-events: none; }
.text span:hover::after { z-index: 1; }
.text span:focus-visible::after { z-index: 2; }
.key span { padding: 0.1em 0.6em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1em 1em; }
dt { font-weight: bold; }
dd { margin: 0; overflow-wrap: anywhere; }
"""


class Place(NamedTuple):
    """One symbol of a text, and what the model made of it.

    Attributes:
        piece: as it stands in the text.
        bits: its surprisal.
        probability: 0 to 1.
        rank: among all that could have come, 1 the likeliest; None: not known.
        expected: the likeliest with their probabilities; empty: not known.
    """

    piece: str
    bits: float
    probability: float
    rank: int | None = None
    expected: Sequence[tuple[str, float]] = ()


def surprisal_page(places: Sequence[Place], figures: Sequence[tuple[str, str]], *, title: str, most: int = MOST) -> str:
    """A whole page: the text coloured, what was expected at each symbol that is pointed at, touched or reached by Tab, the totals.

    Args:
        places: the symbols in order; of more than `most` the first are shown, and that is said.
        figures: names and values of the totals, the convention among them.
        title: of the page.
        most: symbols shown.
    """
    shades = "".join(f".b{step} {{ background: {_shade(step / STEPS)}; }}\n" for step in range(1, STEPS + 1))
    text = "".join(
        f'<span tabindex="0" class="b{_step(place.bits)}" data-t="{_attribute(_told(place))}">{_inked(place.piece)}</span>'
        for place in places[:most]
    )
    cut = tr("The first {shown:,} of {total:,} symbols; the totals are of all.", shown=most, total=len(places))
    rest = f"<p>{_escaped(cut)}</p>\n" if len(places) > most else ""
    key = "".join(f'<span class="b{_step(bits)}">{_legend(bits)}</span>' for bits in LEGEND)
    totals = "".join(f"<dt>{_escaped(name)}</dt><dd>{_escaped(value)}</dd>" for name, value in figures)
    return (
        f'<!DOCTYPE html>\n<html lang="{language()}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(title)}</title>\n<style>{STYLE}{shades}</style>\n</head>\n<body>\n<h1>{_escaped(title)}</h1>\n"
        f'<p class="key">bits {key} &#8195;{_escaped(tr("point at a symbol, or press Tab, to see what was expected there"))}</p>\n'
        f'<div class="text" dir="auto" lang="">{text}</div>\n{rest}<dl>{totals}</dl>\n</body>\n</html>\n'
    )


def fragment(places: Sequence[Place], figures: Sequence[tuple[str, str]], *, most: int = 3_000) -> str:
    """The same as a part of a notebook's page: styles stand at each symbol, and what was expected is its title.

    Args:
        places: the symbols in order; of more than `most` the first.
        figures: names and values of the totals.
        most: symbols shown.
    """
    spans = "".join(
        f'<span style="background:{_shade(strength(place.bits))}" title="{_attribute(_told(place))}">{_inked(place.piece)}</span>'
        for place in places[:most]
    )
    cut = tr("the first {shown:,} of {total:,} symbols", shown=most, total=len(places))
    rest = f'<div style="opacity:0.75">{_escaped(cut)}</div>' if len(places) > most else ""
    key = "".join(f'<span style="background:{_shade(strength(bits))};padding:0 0.5em">{_legend(bits)}</span>' for bits in LEGEND)
    style = "font-family:monospace;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.6;max-height:30em;overflow:auto"
    text = f'<div dir="auto" style="{style}">{spans}</div>{rest}<div style="margin:0.4em 0">bits {key}</div>' if places else ""
    return f'<div style="max-width:60em">{text}{table(figures)}</div>'


def distribution_rows(rows: Sequence[tuple[str, float]], *, title: str = "") -> str:
    """A distribution as a part of a notebook's page: symbols, bars, probabilities.

    Args:
        rows: symbols and their probabilities, in the order in which they are shown.
        title: above them.
    """
    most = max((probability for _, probability in rows), default=0.0) or 1.0
    cells = "".join(
        f'<div style="font-family:monospace">{_escaped(printable(symbol))}</div>'
        f'<div style="align-self:center;height:0.8em;width:{100 * probability / most:.1f}%;background:{_shade(1.0)}"></div>'
        f'<div style="text-align:right">{probability:.2%}</div>'
        for symbol, probability in rows
    )
    heading = f'<div style="font-weight:bold">{_escaped(title)}</div>' if title else ""
    style = "display:grid;grid-template-columns:max-content 1fr max-content;column-gap:1em"
    return f'<div style="max-width:40em">{heading}<div style="{style}">{cells}</div></div>'


def bordered(prompt: str, continuation: str, *, below: str = "") -> str:
    """A written text in a box with a border, the prompt bold, as a part of a notebook's page.

    Args:
        prompt: what it goes on from.
        continuation: what was written.
        below: a line under it, in the box.
    """
    style = f"border:{LINE};border-radius:4px;padding:10px;max-width:60em;text-align:left;white-space:pre-wrap;overflow-wrap:anywhere"
    first = f"<b>{_shown(prompt)}</b>" if prompt else ""
    last = f'<div style="opacity:0.75;font-size:85%;margin-top:0.7em">{_escaped(below)}</div>' if below else ""
    return f'<div dir="auto" style="{style}">{first}{_shown(continuation)}{last}</div>'


def table(rows: Sequence[tuple[str, str]], *, title: str = "") -> str:
    """Names and values side by side; a grid, as notebooks give tables a look of their own. Of no rows nothing."""
    if not rows:
        return ""
    heading = f'<div style="font-weight:bold">{_escaped(title)}</div>' if title else ""
    cells = "".join(f'<div style="font-weight:bold">{_escaped(name)}</div><div>{_escaped(value)}</div>' for name, value in rows)
    style = "display:grid;grid-template-columns:max-content 1fr;column-gap:1em;margin:0.3em 0;overflow-wrap:anywhere"
    return f'<div>{heading}<div style="{style}">{cells}</div></div>'


def _told(place: Place) -> str:
    """What is said of a symbol when the pointer is on it."""
    shown = {"symbol": printable(place.piece), "bits": place.bits, "probability": place.probability}
    if place.rank is None:
        lines = [tr("{symbol}  {bits:.2f} bits, probability {probability:.2%}", **shown)]
    else:
        lines = [tr("{symbol}  {bits:.2f} bits, probability {probability:.2%}, rank {rank:,}", **shown, rank=place.rank)]
    if place.expected:
        lines.append(tr("expected:"))
        lines += [f"  {printable(symbol)}  {probability:.2%}" for symbol, probability in place.expected]
    return "\n".join(lines)


def _inked(piece: str) -> str:
    """A symbol in a running text, escaped: newlines are seen and end the line."""
    return "".join("↵\n" if one == "\n" else _shown(one) for one in piece) if piece else "·"


def _shown(text: str) -> str:
    """A text, escaped, with what leaves no ink by name but for blanks, tabs and newlines; joiners and marks do their work."""
    return "".join(_escaped(printable(one)) if _named(one) else escape(one) for one in text)


def _named(one: str) -> bool:
    """Whether a character is shown as its code point: controls, half pairs, unassigned; not what lays text out."""
    return one not in " \t\n\u200c\u200d" and printable(one).startswith("U+")


def _escaped(text: str) -> str:
    """A text as HTML; half a surrogate pair, which no file can hold, as its code point."""
    return escape("".join(printable(one) if "\ud800" <= one <= "\udfff" else one for one in text))


def _attribute(text: str) -> str:
    """A text as the value of an attribute, its lines kept."""
    return _escaped(text).replace("\n", "&#10;")


def _step(bits: float) -> int:
    return round(strength(bits) * STEPS)


def _legend(bits: int) -> str:
    return f"{bits}+" if bits == LEGEND[-1] else str(bits)


def _shade(share: float) -> str:
    """The colour through which the page can be seen, so that its own text stays readable on light and on dark."""
    red, green, blue = RGB
    return f"rgba({red},{green},{blue},{0.75 * share:.2f})"
