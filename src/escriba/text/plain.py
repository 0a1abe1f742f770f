"""Tidies plain texts and finds what is in them: lines, paragraphs, lists, a Project Gutenberg licence.

It knows nothing of files and encodings. Long texts come in the pieces of `pieces.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from escriba.errors import TextError
from escriba.language import tr, trn
from escriba.settings import TextSettings
from escriba.text.vocabulary import normalized

__all__ = ["Tidy", "cut_lines", "gutenberg_body", "lines_of", "looks_like_list", "split"]

LINE_END = re.compile(r"\r\n|\r|\n")
HALF_PAIR = re.compile("[\ud800-\udfff]")
# atomic, lest CRLF count as two ends
PARAGRAPH_END = re.compile(r"(?>\r\n|\r|\n)(?:[^\S\r\n]*(?>\r\n|\r|\n))+")
START = re.compile(
    # the second form ends the header of books from before 2002
    r"^[ \t]*(?:\*{3}[ \t]*START OF (?:THE|THIS) PROJECT GUTENBERG|\*END[ *]*THE SMALL PRINT!)[^\r\n]*(?:\r\n|\r|\n|$)",
    re.IGNORECASE | re.MULTILINE,
)
END = re.compile(
    r"^[ \t]*(?:End of (?:the |this )?Project Gutenberg|\*{3}[ \t]*END OF (?:THE|THIS) PROJECT GUTENBERG)", re.IGNORECASE | re.MULTILINE
)
CLOSING = re.compile(r"[^\r\n]*\*{3}[ \t]*(?:\r\n|\r|\n|$)")
MARKS_OF_GUTENBERG = ("Gutenberg", "GUTENBERG", "gutenberg", "SMALL PRINT", "Small Print")

LIST_LINES = 100
LIST_MEDIAN = 40
LIST_LONGEST = 100
# how sentences and verses end, and how lines of prose break: in a list such ends are rare
ENDS_OF_SENTENCES = tuple(".,;:!?\u2026-\u2014\u201d\u00bb\"'\u3002\uff0c\u3001\uff1b\uff1a\uff01\uff1f\u300d\u300f")


@dataclass
class Tidy:
    """Line ends and Unicode form as the settings ask, and an account of what was changed."""

    settings: TextSettings
    line_ends: int = 0
    before: int = 0
    after: int = 0
    changed: bool = False
    half_pairs: int = 0
    kinds: set[str] = field(default_factory=set)

    def __call__(self, text: str) -> str:
        """The text, tidied."""
        if not text.isascii() and _has_half_pair(text):
            # half a surrogate pair is no character: it has no bytes in UTF-8 and could not be shown or saved
            text, replaced = HALF_PAIR.subn("\ufffd", text)
            self.half_pairs += replaced
        if self.settings.newlines == "lf" and "\r" in text:
            both = text.count("\r\n")
            alone = text.count("\r") - both
            self.line_ends += both + alone
            self.kinds |= {kind for kind, count in (("CRLF", both), ("CR", alone)) if count}
            text = normalized(text, "none", "lf")
        tidied = normalized(text, self.settings.normalization, "keep")
        self.before += len(text)
        self.after += len(tidied)
        self.changed = self.changed or tidied != text
        return tidied

    def notes(self) -> list[str]:
        """What was changed, as sentences."""
        notes = []
        if self.line_ends:
            kinds = tr(" and ").join(sorted(self.kinds, reverse=True))
            notes.append(
                trn(
                    "{n:,} line ends of the kind {kinds} became LF.",
                    "{n:,} line ends of the kind {kinds} became LF.",
                    self.line_ends,
                    kinds=kinds,
                )
            )
        if self.changed and self.before == self.after:
            notes.append(tr("The Unicode normalization NFC changed the text: the length is the same."))
        elif self.changed:
            notes.append(
                tr(
                    "The Unicode normalization NFC changed the text: {before:,} characters became {after:,}.",
                    before=self.before,
                    after=self.after,
                )
            )
        if self.half_pairs:
            notes.append(
                trn(
                    "{n:,} halves of surrogate pairs, which are no characters, were replaced by U+FFFD.",
                    "{n:,} halves of surrogate pairs, which are no characters, were replaced by U+FFFD.",
                    self.half_pairs,
                )
            )
        return notes


def _has_half_pair(text: str) -> bool:
    try:
        text.encode("utf-8")  # many times as fast as a search
    except UnicodeEncodeError:
        return True
    return False


def cut_lines(pieces: Iterable[str], settings: TextSettings, name: str) -> Iterator[str]:
    """The lines from `from_line` to `to_line`, both included, counted from 1; without the two, the text itself.

    Raises:
        TextError: the text has fewer lines than `from_line`.
    """
    first, last = settings.from_line or 1, settings.to_line
    if first == 1 and last is None:
        yield from pieces
        return
    ends, found, begun = 0, first == 1, False
    for piece in pieces:
        begin, stop = 0 if ends >= first - 1 else len(piece), len(piece)
        begun = True  # an end at the very end of the text begins no other line
        if last is not None and ends >= last:
            continue  # the rest is read all the same: it may have faults
        for end in LINE_END.finditer(piece):
            ends, begun = ends + 1, end.end() < len(piece)
            if ends == first - 1:
                begin = end.end()
            if ends == last:
                stop = end.end()
                break
        found = found or begin < len(piece)
        if begin < stop:
            yield piece[begin:stop]
    if not found:
        raise TextError(
            trn("{name} has {n:,} lines", "{name} has {n:,} lines", max(1, ends + begun), name=name),
            expected=tr("{from_line:,} or more, as from_line asks", from_line=first),
        )


def split(text: str, by: Literal["line", "paragraph"]) -> list[str]:
    """The lines or paragraphs of a text, without their ends; paragraphs are parted by blank lines."""
    if by == "line":
        lines = LINE_END.split(text)
        return lines[:-1] if lines[-1] == "" else lines  # the end of the last line begins no other
    return [one.strip("\r\n") for one in PARAGRAPH_END.split(text) if one.strip()]


def lines_of(pieces: Iterable[str]) -> list[str]:
    """The lines of a text, without their ends, found in one piece after another: no string is longer than need be."""
    lines: list[str] = []
    begun: list[str] = []
    for piece in pieces:
        begun.append(piece)
        if piece.endswith(("\r", "\n")):
            lines += split("".join(begun), "line")
            begun = []
    return lines + split("".join(begun), "line") if begun else lines


def looks_like_list(pieces: Sequence[str]) -> bool:
    """Whether a text is plainly a list with one entry a line, rather than verse, prose, dialogue or code.

    It is when it has a hundred lines or more, none blank but the last, nearly all short and none wrapped, hardly any
    that is indented or ends as sentences do.
    """
    if any(piece[-1] not in "\r\n" for piece in pieces[:-1]):
        return False  # a line was too long for one piece
    count = short = brief = ended = indented = 0
    for piece in pieces:
        lines = split(piece, "line")
        if any(not line.strip() for line in lines):
            return False
        count += len(lines)
        brief += sum(len(line) < LIST_MEDIAN for line in lines)
        short += sum(len(line) < LIST_LONGEST for line in lines)
        ended += sum(line.rstrip().endswith(ENDS_OF_SENTENCES) for line in lines)
        indented += sum(line[0].isspace() for line in lines)
    if count < LIST_LINES or brief <= count // 2 or short <= int(0.99 * count):
        return False
    return ended < 0.1 * count and indented < 0.02 * count


def gutenberg_body(pieces: Sequence[str]) -> tuple[list[str], bool]:
    """A text without the header and the licence of Project Gutenberg, and whether it has any.

    The body is what stands after the line ``*** START OF ...`` and before the line ``End of Project Gutenberg's ...`` or
    ``*** END OF ...``, whichever is first.
    """
    start = _first_match(START, pieces, 0, 0)
    first, begin = (start[0], start[1].end()) if start else (0, 0)
    if start and "*" not in start[1].group().strip().lstrip("*"):
        # a long title goes on to a second line, which the closing asterisks end
        if begin == len(pieces[first]) and first + 1 < len(pieces):
            first, begin = first + 1, 0
        closing = CLOSING.match(pieces[first], begin)
        begin = closing.end() if closing else begin
    end = _first_match(END, pieces, first, begin)
    if start is None and end is None:
        return list(pieces), False
    last, stop = (end[0], end[1].start()) if end else (len(pieces) - 1, len(pieces[-1]))
    body = [piece[begin if i == first else 0 : stop if i == last else len(piece)] for i, piece in enumerate(pieces)]
    return [piece for piece in body[first : last + 1] if piece], True


def _first_match(pattern: re.Pattern[str], pieces: Sequence[str], first: int, begin: int) -> tuple[int, re.Match[str]] | None:
    """The number of the first piece, from `first`, in which the pattern of a line is, and where it is there."""
    for number in range(first, len(pieces)):
        piece, start = pieces[number], begin if number == first else 0
        if not any(mark in piece for mark in MARKS_OF_GUTENBERG):
            continue
        if number and pieces[number - 1][-1] not in "\r\n":
            start = max(start, 1)  # the piece begins within a line
        if found := pattern.search(piece, start):
            return number, found
    return None
