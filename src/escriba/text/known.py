"""Well-known public texts by name: where each is, what it must be, how it is read.

It knows nothing of fetching and of the cache: that is for `cached.py`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from escriba.errors import TextError, near_name
from escriba.language import later, tr
from escriba.settings import TextSettings
from escriba.text.address import shown

__all__ = ["KNOWN", "KnownText", "is_fetched", "known", "known_reading", "lines_of_poems"]

PREFIX = "text:"
GUTENBERG = later("public domain in the USA, by Project Gutenberg")
HARMLESS = ("strip_gutenberg",)  # a text without a licence is read the same with it


@dataclass(frozen=True)
class KnownText:
    """A well-known text.

    Attributes:
        name: by which it is asked for, in small letters.
        title: what it is; English, said by `tr`.
        author: who wrote it, or gathered it.
        language: "en", "es" or "zh".
        bytes: the size of the file as it is fetched.
        sha256: its hash.
        address: where it is, for good: a commit is part of it.
        licence: what may be done with it; English, said by `tr`.
        suffix: of the file in the cache.
        reading: how it is read, by the names of `TextSettings`.
        poems: whether the file is a JSON list of poems, which are read from the lines of another made of it.
    """

    name: str
    title: str
    author: str
    language: str
    bytes: int
    sha256: str
    address: str
    licence: str
    suffix: str = ".txt"
    reading: Mapping[str, Any] = field(default_factory=dict)
    poems: bool = False

    @property
    def encoding(self) -> str:
        """The encoding of the file."""
        return str(self.reading.get("encoding", TextSettings().encoding))

    @property
    def how(self) -> str:
        """How it is read, as the options that would say the same."""
        words = [f"--{name.replace('_', '-')} {value}" for name, value in self.reading.items() if isinstance(value, str)]
        words += [f"--column {one}" for one in self.reading.get("column", ())]
        words += ["--no-header"] if self.reading.get("header") is False else []
        words += ["--strip-gutenberg"] if self.reading.get("strip_gutenberg") else []
        return " ".join(words)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        names = ("name", "title", "author", "language", "bytes", "sha256", "address", "licence", "encoding")
        return {**{name: getattr(self, name) for name in names}, "reading": dict(self.reading)}


def _at(repository: str, commit: str, path: str) -> str:
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{quote(path)}"


_LATIN_BOOK = {"encoding": "latin-1", "strip_gutenberg": True}
_BOOK = {"strip_gutenberg": True}

_ALL = (
    KnownText(
        "shakespeare", later("passages from the plays, 40,000 lines"), "William Shakespeare", "en", 1_115_394,
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        _at("karpathy/char-rnn", "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e", "data/tinyshakespeare/input.txt"), later("public domain"),
    ),
    KnownText(
        "quijote", "Don Quijote", "Miguel de Cervantes", "es", 2_155_394,
        "4973737f16b7e8b8972c08e54a95b7bc43b5d93d6738bc08f9256f9c2c68a2ba",
        _at("GITenberg/Don-Quijote_2000", "7879f2c1653ec515d125f49b177c3ef7f596bc3f", "2000-8.txt"), GUTENBERG, reading=_LATIN_BOOK,
    ),
    KnownText(
        "regenta", "La Regenta", "Leopoldo Alas", "es", 1_840_152,
        "e49616cf18299bc1d52c155b65095c5c5b6d04859fe11a6b1ee0b26dcd731684",
        _at("GITenberg/La-Regenta_17073", "1d7241178952dfb37b68cf8806e2de8e42a7413c", "17073-8.txt"), GUTENBERG, reading=_LATIN_BOOK,
    ),
    KnownText(
        "war-and-peace", "War and Peace", "Leo Tolstoy", "en", 3_359_542,
        "6cbcc5ca5e590fb9ace161a5b93e4ecf280d7118104be0d63b686c004cfa70ae",
        _at("GITenberg/War-and-Peace_2600", "fa22ab90f00f627e83d14acabe32d91602d2365d", "2600-0.txt"), GUTENBERG, reading=_BOOK,
    ),
    KnownText(
        "pride-and-prejudice", "Pride and Prejudice", "Jane Austen", "en", 724_725,
        "48e0522844402a86a3ea98f0947ba85ea54838db3c59022299298ed968a5a163",
        _at("GITenberg/Pride-and-Prejudice_1342", "81db45c9c48c592f0b77f01fc59e677ad0a5634e", "1342-0.txt"), GUTENBERG, reading=_BOOK,
    ),
    KnownText(
        "names", later("32,033 given names"), "Andrej Karpathy's makemore", "en", 228_145,
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
        _at("karpathy/makemore", "988aa59e4d8fefa526d06f3b453ad116258398d4", "names.txt"), "MIT", reading={"documents": "line"},
    ),
    KnownText(
        "news", later("7,600 titles of news items"), "AG News", "en", 1_857_427,
        "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
        _at("mhjabreel/CharCnn_Keras", "555590db4219b1243abb1918effd6a7425a2d75f", "data/ag_news_csv/test.csv"),
        later("research use only"), ".csv", reading={"header": False, "column": ("2",)},
    ),
    KnownText(
        "tang", later("366 Tang poems"), later("many poets; chinese-poetry"), "zh", 190_787,
        "d77a145f7470da2ed2f79515944563c062ffc43fceda07f195a36ead66b7e5c7",
        _at("chinese-poetry/chinese-poetry", "99ebbef7e1345c0985c44b9fd96a3f9e776f117b", "全唐诗/唐诗三百首.json"), "MIT",
        ".json", reading={"column": ("text",)}, poems=True,
    ),
)  # fmt: skip

KNOWN: dict[str, KnownText] = {text.name: text for text in _ALL}
"""Every known text by its name."""


def is_fetched(source: str) -> bool:
    """Whether a source is fetched: a known text's name, as ``text:quijote``, or an address."""
    return source.startswith(PREFIX) or re.match(r"https?://", source, re.IGNORECASE) is not None


def known(name: str) -> KnownText:
    """The known text of a name, with ``text:`` before it or without.

    Raises:
        TextError: there is none; the nearest name is suggested.
    """
    wanted = name.removeprefix(PREFIX).strip().lower()
    if wanted in KNOWN:
        return KNOWN[wanted]
    near = near_name(wanted, KNOWN)
    raise TextError(
        tr("there is no known text {name!r}", name=wanted),
        expected=tr("one of {names}", names=", ".join(KNOWN)),
        hint=tr("did you mean {near}?", near=PREFIX + near) if near else None,
    )


def known_reading(sources: Sequence[str | os.PathLike[str]], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """How the known texts among some sources are read, in so far as the settings are left open.

    Settings hold for all sources of a reading. Where a known text wants one that another source, known or not, does not,
    there is no right one to choose.

    Args:
        sources: paths, addresses and names as ``text:quijote``.
        overrides: the settings that were named, which go before.

    Returns:
        the other settings that the known texts want.

    Raises:
        TextError: two sources want a setting otherwise; or a known text has a wrong name.
    """
    names = [os.fspath(source) for source in sources if isinstance(source, str | os.PathLike)]
    readings = {name: known(name).reading if name.startswith(PREFIX) else {} for name in names}
    defaults = TextSettings()
    wanted: dict[str, Any] = {}
    for name, reading in readings.items():
        for key, value in reading.items():
            if key in overrides:
                continue
            wanted[key] = value
            others = {other: theirs.get(key, getattr(defaults, key)) for other, theirs in readings.items()}
            odd = next((other for other, theirs in others.items() if theirs != value), None)
            if odd is not None and key not in HARMLESS:
                raise TextError(
                    tr(
                        "{name} is read with {key}={value!r}, {other} with {key}={other_value!r}, and one setting holds for all",
                        name=name,
                        key=key,
                        value=value,
                        other=shown(odd)[:80],
                        other_value=others[odd],
                    ),
                    expected=tr("texts that are read alike"),
                    hint=tr(
                        "name the setting for all of them: {key}=... in Python, its option on the command line; or take one of the texts",
                        key=key,
                    ),
                )
    return wanted


def lines_of_poems(data: bytes) -> bytes:
    """A JSON list of poems as lines of JSON, one poem a line, with its title, its author and its text.

    Args:
        data: a list of objects with `author`, `paragraphs` (a list of verses) and perhaps `title`.
    """
    lines = []
    for poem in json.loads(data):
        heading = {name: poem[name] for name in ("title", "author") if name in poem}
        lines.append(json.dumps({**heading, "text": "\n".join(poem["paragraphs"])}, ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()
