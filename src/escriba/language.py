"""The language in which Escriba speaks: English in the source, one gettext catalogue for every other.

It knows nothing of what is said. `tr` and `trn` are called where a sentence is made, with what it names as fields, so that a
translation may order them as it likes. What programs read stays English: flags, JSON keys, files, `repr`.
"""

from __future__ import annotations

import functools
import gettext
import locale
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

__all__ = [
    "CATALOGUES", "DOMAIN", "LANGUAGES", "Told", "in_english", "joined", "language", "later", "locale_name", "told", "tr", "trn",
    "use_language",
]  # fmt: skip

LANGUAGES = ("en", "es")
"""The languages that are spoken, as ISO 639-1 names them."""
DOMAIN = "escriba"
CATALOGUES = Path(__file__).with_name("locale")
VARIABLES = ("ESCRIBA_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
"""Where a person's language stands; the first that is set is heard."""

_used: list[str] = []


def use_language(name: str | None) -> None:
    """Speaks a language from now on, in messages, errors, hints and pictures.

    Args:
        name: "en" or "es"; also "es_MX.UTF-8"; None: that of ``ESCRIBA_LANG`` or else of the system.

    Raises:
        ValueError: it is not spoken.
    """
    if name is not None and _code(name) not in LANGUAGES:
        raise ValueError(tr("there is no language {name!r}: there are {languages}", name=name, languages=", ".join(LANGUAGES)))
    _used[:] = [] if name is None else [_code(name)]


def language() -> str:
    """The language that is spoken: the one that was chosen, or else that of the system where it is known, or else English."""
    if used := _used[:1]:  # a copy: another thread may choose anew meanwhile
        return used[0]
    wanted = _code(locale_name())
    found = wanted if wanted in LANGUAGES else "en"
    _used[:] = [found]
    return found


def tr(message: str, /, **fields: Any) -> str:
    """A sentence in the language that is spoken, its ``{fields}`` filled in."""
    found = _catalogue(language()).gettext(message) if message else ""  # gettext gives its head for nothing
    return found.format(**fields) if fields else found


def trn(one: str, many: str, n: int, /, **fields: Any) -> str:
    """A sentence of one or of many; the number is its field ``{n}``."""
    return _catalogue(language()).ngettext(one, many, n).format(n=n, **fields)


class Told(str):
    """A sentence in the language that is spoken; its English, which files keep, is `english`."""

    __slots__ = ("english",)

    english: str

    @classmethod
    def of(cls, sentence: str, english: str) -> Self:
        """A sentence from itself in two languages."""
        told = cls(sentence)
        told.english = english
        return told


def told(message: str, /, **fields: Any) -> Told:
    """As `tr`, for what is both shown and recorded; a field that is such a sentence is recorded in English too."""
    recorded = {name: in_english(value) for name, value in fields.items()}
    return Told.of(tr(message, **fields), message.format(**recorded) if fields else message)


def joined(separator: str, parts: Iterable[str]) -> Told:
    """Several sentences as one."""
    listed = list(parts)
    return Told.of(separator.join(listed), separator.join(map(in_english, listed)))


def in_english(value: Any) -> Any:
    """The English of a sentence that is both shown and recorded; anything else as it is."""
    return value.english if isinstance(value, Told) else value


def later(message: str) -> str:
    """A sentence of a table, as it is: `tr` is called where it is said. Marked so that the catalogues have it."""
    return message


@functools.cache
def _catalogue(name: str) -> gettext.NullTranslations:
    return gettext.NullTranslations() if name == "en" else gettext.translation(DOMAIN, CATALOGUES, [name], fallback=True)


def _code(name: str) -> str:
    """The language of a locale's name: es of es_MX.UTF-8."""
    return name.replace("-", "_").replace(".", "_").split("_")[0].lower()


def locale_name() -> str:
    """The name of the locale that was set, in the variables or in Windows, such as es_MX.UTF-8."""
    for variable in VARIABLES:
        if name := os.environ.get(variable):
            return name
    if sys.platform == "win32":
        import ctypes

        return locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), "en")
    return "en"
