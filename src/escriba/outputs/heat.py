"""The colour of surprise: one hue, the stronger the more bits, the same in a terminal, a picture and a page.

It knows nothing of texts. One hue that only grows stronger is read alike with every kind of colour vision, and in grey.
"""

from __future__ import annotations

import math

__all__ = ["LEGEND", "MOST_BITS", "RGB", "bits_of", "mark", "on_white", "strength"]

MOST_BITS = 12.0
"""From here on the colour grows no stronger; one in 4,096."""

RGB = (230, 97, 1)
"""The hue at its strongest: an orange on which black can be read."""

LEGEND = (0, 2, 4, 6, 8, 10, 12)
"""The bits that a legend shows."""


def bits_of(surprisal: float) -> float:
    """Bits of a surprisal in nats."""
    return surprisal / math.log(2.0)


def strength(bits: float) -> float:
    """How strong the colour is, 0 to 1; the strongest too for what is no number."""
    return 1.0 if math.isnan(bits) else min(max(bits / MOST_BITS, 0.0), 1.0)


def on_white(bits: float) -> str:
    """The colour upon white, as #rrggbb."""
    share = strength(bits)
    return "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in RGB)


def mark(bits: float) -> str:
    """A surprisal as one character: its whole bits, a plus sign from ten on, a blank for less than one."""
    whole = math.floor(bits) if math.isfinite(bits) else 10
    return " " if whole < 1 else str(whole) if whole < 10 else "+"
