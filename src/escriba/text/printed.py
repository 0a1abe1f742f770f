"""Lines of text that show themselves, and symbols as a person can see them: a blank, a newline, an accent alone.

It knows nothing of what the lines say, nor where symbols are shown.
"""

from __future__ import annotations

import unicodedata

__all__ = ["Printed", "code_points", "printable"]

SEEN = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}
"""What stands for the blank (an open box), the newline and the tab: signs that the usual fonts have."""

RING = "\u25cc"
"""The dotted circle that carries a mark which stands alone."""

UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
"""The categories of what leaves no ink, or none that means anything."""


class Printed(str):
    """A string whose repr is the string itself, so that a prompt or a notebook shows its lines as lines."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def printable(symbol: str) -> str:
    """A symbol as it can be seen, on one line: the blank as ␣, the newline as ↵, the tab as ⇥.

    What leaves no ink is given as its code point, such as U+200B. A mark at the beginning (an accent, a vowel sign) is set upon a
    dotted circle.

    Args:
        symbol: one character or several, as a vocabulary holds them; an empty one is shown as an empty pair of quotes.
    """
    if not symbol:
        return '""'
    shown = "".join(SEEN.get(one) or (code_points(one) if unicodedata.category(one) in UNSEEN else one) for one in symbol)
    return RING + shown if unicodedata.category(symbol[0])[0] == "M" else shown


def code_points(text: str) -> str:
    """The characters by number, as Unicode writes them: U+6C34."""
    return " ".join(f"U+{ord(one):04X}" for one in text)
