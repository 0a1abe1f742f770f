"""Lines of text that show themselves, at a Python prompt as in ``print``.

It knows nothing of what the lines say.
"""

from __future__ import annotations

__all__ = ["Printed"]


class Printed(str):
    """A string whose repr is the string itself, so that a prompt or a notebook shows its lines as lines."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
