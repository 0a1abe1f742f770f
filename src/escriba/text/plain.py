"""Tidies plain texts and finds what is in them: lines, paragraphs, lists, a Project Gutenberg licence.

It knows nothing of files and encodings.
"""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass, field
from typing import Literal

from escriba.errors import TextError
from escriba.settings import TextSettings
from escriba.text.vocabulary import normalized

__all__ = ["Tidy", "cut_lines", "gutenberg_body", "looks_like_list", "split"]

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
    half_pairs: int = 0
    kinds: set[str] = field(default_factory=set)

    def __call__(self, text: str) -> str:
        """The text, tidied."""
        if not text.isascii() and HALF_PAIR.search(text):
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
        if tidied != text:
            self.before += len(text)
            self.after += len(tidied)
        return tidied

    def notes(self) -> list[str]:
        """What was changed, as sentences."""
        notes = []
        if self.line_ends:
            notes.append(f"{self.line_ends:,} line ends of the kind {' and '.join(sorted(self.kinds, reverse=True))} became LF.")
        if self.before:
            lengths = f"{self.before:,} characters became {self.after:,}" if self.before != self.after else "the length is the same"
            notes.append(f"The Unicode normalization NFC changed the text: {lengths}.")
        if self.half_pairs:
            notes.append(f"{self.half_pairs:,} halves of surrogate pairs, which are no characters, were replaced by U+FFFD.")
        return notes


def cut_lines(text: str, settings: TextSettings, name: str) -> str:
    """The lines from `from_line` to `to_line`, both included, counted from 1; without the two, the text itself.

    Raises:
        TextError: the text has fewer lines than `from_line`.
    """
    first, last = settings.from_line or 1, settings.to_line
    if first == 1 and last is None:
        return text
    # where each line begins; an end at the very end of the text begins no other line
    begins = [0, *(end.end() for end in LINE_END.finditer(text) if end.end() < len(text))]
    if first > len(begins):
        raise TextError(f"{name} has {len(begins):,} lines", expected=f"{first:,} or more, as from_line asks")
    return text[begins[first - 1] : begins[last] if last is not None and last < len(begins) else len(text)]


def split(text: str, by: Literal["line", "paragraph"]) -> list[str]:
    """The lines or paragraphs of a text, without their ends; paragraphs are parted by blank lines."""
    if by == "line":
        lines = LINE_END.split(text)
        return lines[:-1] if lines[-1] == "" else lines  # the end of the last line begins no other
    return [one.strip("\r\n") for one in PARAGRAPH_END.split(text) if one.strip()]


def looks_like_list(text: str) -> bool:
    """Whether a text is plainly a list with one entry a line, rather than verse, prose, dialogue or code.

    It is when it has a hundred lines or more, none blank but the last, nearly all short and none wrapped, hardly any
    that is indented or ends as sentences do.
    """
    lines = split(text, "line")
    if len(lines) < LIST_LINES or any(not line.strip() for line in lines):
        return False
    lengths = sorted(map(len, lines))
    if statistics.median(lengths) >= LIST_MEDIAN or lengths[int(0.99 * len(lengths))] >= LIST_LONGEST:
        return False
    ended = sum(line.rstrip().endswith(ENDS_OF_SENTENCES) for line in lines)
    indented = sum(line[0].isspace() for line in lines)
    return ended < 0.1 * len(lines) and indented < 0.02 * len(lines)


def gutenberg_body(text: str) -> tuple[str, bool]:
    """A text without the header and the licence of Project Gutenberg, and whether it has any.

    The body is what stands after the line ``*** START OF ...`` and before the line ``End of Project Gutenberg's ...`` or
    ``*** END OF ...``, whichever is first.
    """
    start = START.search(text)
    begin = start.end() if start else 0
    if start and "*" not in start.group().strip().lstrip("*"):
        # a long title goes on to a second line, which the closing asterisks end
        closing = re.compile(r"[^\r\n]*\*{3}[ \t]*(?:\r\n|\r|\n|$)").match(text, begin)
        begin = closing.end() if closing else begin
    end = END.search(text, begin)
    if start is None and end is None:
        return text, False
    return text[begin : end.start() if end else len(text)], True
