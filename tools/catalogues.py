"""Compiles the catalogues of languages, for a build, for the tests, and after a change; it knows nothing of what they say."""

from __future__ import annotations

from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

__all__ = ["compile_all"]


def compile_all(locale: Path) -> None:
    """Makes of every catalogue the file that the standard library reads, unless it is newer already."""
    for path in locale.glob("*/LC_MESSAGES/*.po"):
        made = path.with_suffix(".mo")
        if not made.is_file() or made.stat().st_mtime < path.stat().st_mtime:
            with path.open("rb") as file:
                catalogue = read_po(file)
            with made.open("wb") as file:
                write_mo(file, catalogue)
