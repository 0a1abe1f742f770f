"""Every error that Escriba raises on purpose, each with what was met, what was expected and what to do.

It knows nothing of texts, models or files: only how an error is built and shown.

The tree:

    EscribaError
    ├── SettingsError            a setting out of its range, misspelt or in conflict (also a ValueError)
    ├── TextError                a text that cannot be read or is of no use (also a ValueError)
    │   ├── TextDecodingError    bytes that are not in the encoding
    │   └── UnknownSymbolError   a symbol outside a vocabulary that has no <unk>
    ├── CheckpointError          a model folder that is missing, damaged, of another format or in use
    ├── TrainingError            training that cannot start or go on
    └── MissingExtraError        an optional part that is not installed (also an ImportError)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "EscribaError",
    "MissingExtraError",
    "SettingsError",
    "TextDecodingError",
    "TextError",
    "TrainingError",
    "UnknownSymbolError",
    "near_name",
]


class EscribaError(Exception):
    """The base of all errors of Escriba.

    Args:
        met: what was met, with its value: one sentence without a final stop.
        expected: what would have been right.
        hint: what to type or do next.
    """

    def __init__(self, met: str, *, expected: str | None = None, hint: str | None = None) -> None:
        self.met = met
        self.expected = expected
        self.hint = hint
        super().__init__(met)

    def __str__(self) -> str:
        lines = [self.met]
        if self.expected:
            lines.append(f"expected: {self.expected}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class SettingsError(EscribaError, ValueError):
    """A setting is out of its range, misspelt, or in conflict with another."""


class TextError(EscribaError, ValueError):
    """A text cannot be read, or is of no use for what was asked."""


class TextDecodingError(TextError):
    """Bytes are not in the encoding: the message names the file, the byte offset and the line."""


class UnknownSymbolError(TextError):
    """A symbol is not in a vocabulary that was made without ``<unk>``."""


class CheckpointError(EscribaError):
    """A model folder is missing, damaged, of another format, or in use."""


class TrainingError(EscribaError):
    """Training cannot start or cannot go on."""


class MissingExtraError(EscribaError, ImportError):
    """An optional part is not installed.

    Args:
        what: what was asked for, as a noun.
        extra: the extra of the package that brings it.
        module: the module that is missing.
    """

    def __init__(self, what: str, extra: str, module: str) -> None:
        super().__init__(
            f"{what} needs the Python package {module!r}, which is not installed",
            hint=f'python -m pip install "escriba[{extra}]"',
        )
        self.extra = extra
        self.module = module


def near_name(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that is spelt most like `name`, or None when none is near."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return near[0] if near else None
