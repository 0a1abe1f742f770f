"""How much of a text stands verbatim in the training text: `recall(text, training)` gives a `Recall`, which prints itself.

It knows nothing of models and files: the training text comes as pieces, which joined are one stream, or as documents. Where stretches
match is found in `verbatim.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from escriba.errors import SettingsError, TextError
from escriba.inference.lines import lines_in
from escriba.inference.verbatim import SEED_LENGTH, find_matches
from escriba.language import later, tr
from escriba.text.plain import LINE_END, split

__all__ = ["LENGTHS", "Passage", "Recall", "RecalledLine", "recall"]

LENGTHS = (4, 8, 12, 16, 24, 32, 50, 100)
"""Of the stretches whose novel share is told."""
LEAST = 20
MOST_PASSAGES = 20
LONGEST_LINE = 1_000  # characters of a line or document, before and after where a passage begins, that are kept to show it
SHOWN = 70
BAR = 30
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Passage:
    """A passage of a text that stands verbatim in the training text.

    Attributes:
        start: its first character in the text, from 0.
        length: its characters.
        passage: the passage.
        position: where it first stands in the training text: the character, from 0; in documents counted in its own.
        line: the line there in which it begins, from 1; of documents which of those that were learnt from it is.
        line_text: that line, or that document: at most 1,000 characters before and after the position.
    """

    start: int
    length: int
    passage: str
    position: int
    line: int
    line_text: str


@dataclass(frozen=True)
class RecalledLine:
    """A line of a text.

    Attributes:
        line: the line, without its end.
        is_new: whether no line, or document, of the training text is equal to it; a blank line is never new.
        longest: characters of the longest passage in it that stands in the training text; 0: none of 12 or more.
    """

    line: str
    is_new: bool
    longest: int


@dataclass(frozen=True)
class Recall:
    """How much of a text stands verbatim in the training text.

    Attributes:
        text: the text, in the Unicode form of the training text.
        longest: the longest passage that stands there verbatim; None: not one character does.
        passages: verbatim passages of at least 20 characters that do not overlap, the longest first, at most 20.
        novel_share: for each length of 4 to 100 characters, as far as the text is that long, the share of the places of the text at which
            a stretch of that length begins that stands nowhere in the training text, 0 to 1.
        lines: the lines of the text, each marked.
        training_characters: characters of the training text.
        is_documents: whether that is documents, by which places are counted then, not by lines.
    """

    text: str = field(repr=False)
    longest: Passage | None
    passages: tuple[Passage, ...] = field(repr=False)
    novel_share: dict[int, float]
    lines: tuple[RecalledLine, ...] = field(repr=False)
    training_characters: int
    is_documents: bool = False

    @property
    def new_lines(self) -> int:
        """How many of the lines are new."""
        return sum(line.is_new for line in self.lines)

    def as_dict(self) -> dict[str, Any]:
        """The fields as ``escriba recall --json`` prints them."""
        return {name: value for name, value in asdict(self).items() if name != "text"}

    def __str__(self) -> str:
        one = self.longest
        if one is None:
            found = [tr("longest verbatim passage: none; not one character of the text stands in the training text")]
        else:
            where = (
                later("in the training text in document {number:,} of those that were learnt: {text}")
                if self.is_documents
                else later("in the training text in line {number:,}: {text}")
            )
            found = [
                tr(
                    "longest verbatim passage: {length:,} of {all:,} characters, at character {start:,}",
                    length=one.length,
                    all=len(self.text),
                    start=one.start,
                ),
                f"  {_shown(one.passage)}",
                "  " + tr(where, number=one.line, text=_shown(one.line_text)),
            ]
        if self.novel_share:
            found += ["", tr("stretches that do not stand in the training text:")]
        for length, share in self.novel_share.items():
            told = tr("{length:5} characters {percent:6.1f} %", length=length, percent=100 * share)
            found.append(f"{told}  {'█' * round(BAR * share)}".rstrip())
        known = (
            later("lines: {new:,} of {all:,} new (+); = stands in the training text as a whole document, or line of one")
            if self.is_documents
            else later("lines: {new:,} of {all:,} new (+); = stands in the training text as a whole line")
        )
        found += ["", tr(known, new=self.new_lines, all=len(self.lines))]
        return "\n".join([*found, *map(_marked, self.lines)])


def recall(
    text: str, training: Sequence[str], *, documents: bool = False, least: int = LEAST, watch: Callable[[int], None] | None = None
) -> Recall:
    """Finds what of a text stands verbatim in the training text, which is gone through once, and again for each passage to be shown.

    Passages are compared character by character; shares rest on 64-bit hashes, which err once in many millions of calls.

    Args:
        text: the text, n characters, in the Unicode form of the training text.
        training: the training text, N characters: pieces that joined are one stream, or documents.
        documents: whether the pieces are documents: no passage goes over their ends, and a line is known that is a whole document,
            or a whole line of one.
        least: characters of the shortest passage to list, 12 or more.
        watch: is told the characters gone through, now and then.

    Returns:
        what was found, in time about N and memory of about 300 bytes for each character of the text, and never less than 30 MB.

    Raises:
        TextError: the text is no string, or the training text is one (it comes in pieces).
        SettingsError: `least` is below 12.
    """
    if not isinstance(text, str):
        raise TextError(tr("the text is {text!r:.60}, of type {type}", text=text, type=type(text).__name__), expected=tr("a string"))
    if isinstance(training, str) or not isinstance(training, Sequence):
        raise TextError(
            tr("the training text is {training!r:.60}", training=training), expected=tr("a list of strings: its pieces, or its documents")
        )
    if not isinstance(least, int) or least < SEED_LENGTH:
        raise SettingsError(tr("least is {least!r}", least=least), expected=tr("{least} or more", least=SEED_LENGTH))
    short = [length for length in LENGTHS if length < SEED_LENGTH]
    matches = find_matches(text, training, lengths=short, documents=documents, watch=watch)
    shares = {length: float(1.0 - matches.found[length].mean()) for length in short if length <= len(text)}
    shares |= {
        length: float((matches.lengths[: len(text) - length + 1] < length).mean())
        for length in LENGTHS
        if SEED_LENGTH <= length <= len(text)
    }
    passages, longest = [], None
    for start, length in _apart(matches.lengths, least):
        # found by hashes; that it is there is seen by looking for it
        if (one := _located(text, start, length, training, documents)) is not None:
            passages.append(one)
    if passages:
        longest = passages[0]
    elif text:
        longest = _longest(text, training, documents, matches.lengths, matches.found)
    return Recall(
        text,
        longest,
        tuple(passages),
        shares,
        tuple(_lines(text, matches.lengths, training, documents)),
        sum(map(len, training)),
        documents,
    )


def _apart(lengths: NDArray[np.int64], least: int) -> Iterator[tuple[int, int]]:
    """Starts and lengths of matches that do not overlap: always the longest of what is left."""
    left = lengths.copy()
    for _ in range(MOST_PASSAGES):
        if not len(left) or left.max() < least:
            return
        start = int(left.argmax())
        length = int(left[start])
        yield start, length
        left[start : start + length] = 0
        np.minimum(left[:start], np.arange(start, 0, -1), out=left[:start])


def _longest(
    text: str, training: Sequence[str], documents: bool, lengths: NDArray[np.int64], found: dict[int, NDArray[np.bool_]]
) -> Passage | None:
    """The longest passage where none is long enough to be listed."""
    if lengths.max(initial=0) > 0:
        start = int(lengths.argmax())
        return _located(text, start, int(lengths[start]), training, documents)
    known = max((length for length, places in found.items() if places.any()), default=0)
    between = range(known + 1, known + 4)  # 4 and 8 have been looked for, and nothing of 12 is there
    found = found | find_matches(text, training, lengths=between, documents=documents).found
    for length, places in sorted(found.items(), reverse=True):
        if places.any():
            return _located(text, int(places.argmax()), length, training, documents)
    return None


def _located(text: str, start: int, length: int, training: Sequence[str], documents: bool) -> Passage | None:
    """A passage with where it first stands in the training text; None: nowhere, its hash was that of another."""
    passage = text[start : start + length]
    if documents:
        for number, document in enumerate(training, 1):
            if (at := document.find(passage)) >= 0:
                return Passage(start, length, passage, at, number, document[max(0, at - LONGEST_LINE) : at + LONGEST_LINE])
        return None
    window, before, line = "", 0, 1
    for i, piece in enumerate(training):
        window += piece
        if (at := window.find(passage)) >= 0:
            after = i + 1
            while len(window) - at < LONGEST_LINE and after < len(training) and not LINE_END.search(window, at):
                window, after = window + training[after], after + 1
            stop = end.start() if (end := LINE_END.search(window, at)) else len(window)
            whole = window[max(_begin(window, at), at - LONGEST_LINE) : min(stop, at + LONGEST_LINE)]
            return Passage(start, length, passage, before + at, line + _ends(window, at), whole)
        # what may yet begin a passage, with its line
        free = max(0, len(window) - max(length, 2) + 1)  # of two characters, CR and LF, the second may be to come
        keep = max(_begin(window, free), free - LONGEST_LINE)
        line += _ends(window, keep)
        window, before = window[keep:], before + keep
    return None


def _begin(text: str, at: int) -> int:
    """Where the line begins in which a place is."""
    return max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1


def _ends(text: str, at: int) -> int:
    """How many line ends (LF, CRLF or CR) are over before a place."""
    halves = text.count("\r\n", 0, at) + (text[max(0, at - 1) : at + 1] == "\r\n")
    return text.count("\n", 0, at) + text.count("\r", 0, at) - halves


def _lines(text: str, lengths: NDArray[np.int64], training: Sequence[str], documents: bool) -> Iterator[RecalledLine]:
    """The lines of the text, each marked."""
    ends = [0, *(one for match in LINE_END.finditer(text) for one in match.span()), len(text)]
    borders = list(zip(ends[::2], ends[1::2], strict=True))
    if borders[-1][0] == borders[-1][1]:
        borders.pop()  # what follows the last line end is no line
    lines = [text[start:stop] for start, stop in borders]
    known = _whole_lines({line for line in lines if line.strip()}, training, documents)
    for line, (start, stop) in zip(lines, borders, strict=True):
        inside = np.minimum(lengths[start:stop], np.arange(stop - start, 0, -1))
        longest = int(inside.max(initial=0))
        is_new = bool(line.strip()) and line not in known
        yield RecalledLine(line, is_new, len(line) if line in known else longest if longest >= SEED_LENGTH else 0)


def _whole_lines(wanted: set[str], training: Sequence[str], documents: bool) -> set[str]:
    """Those of some lines that are whole lines of the training text."""
    if not documents:
        return wanted.intersection(lines_in(training))
    longer = (split(one, "line") for one in training if "\n" in one or "\r" in one)
    return wanted.intersection(training) | wanted.intersection(chain.from_iterable(longer))


def _marked(line: RecalledLine) -> str:
    """A line with its mark, a blank one without; controls, which would command the terminal, are shown as escapes."""
    if not line.line.strip():
        return ""
    return f"{'+' if line.is_new else '='} {CONTROL.sub(lambda met: repr(met[0])[1:-1], line.line)}"


def _shown(text: str) -> str:
    """A text in one line, its middle left out if it is long."""
    if len(text) > SHOWN:
        text = f"{text[: SHOWN // 2]} ... {text[-SHOWN // 2 :]}"
    return repr(text)
