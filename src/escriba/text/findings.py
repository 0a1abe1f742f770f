"""Looks for what is likely wrong with a text: letters that were read in a wrong encoding, lost letters, lines that repeat.

It knows nothing of how the text is read. Of a very long text it looks at the beginning alone.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from escriba.language import later, tr, trn
from escriba.text.pieces import joined_pieces
from escriba.text.plain import LINE_END

__all__ = ["Duplicates", "Findings", "Mojibake", "look"]

LOOKED_AT = 50_000_000  # characters
LOST = "\ufffd"
MANY_DUPLICATES = 0.2  # of the characters: names of speakers and refrains are many lines, but little text
FEW_LINES = 100  # of which a refrain is soon a fifth
SHOWN = 3
BRIEF = 60
REPEATED = {
    "lines": later("{count:,} of {of:,} lines repeat an earlier one, {share:.0%} of the text; what repeats weighs more in learning."),
    "documents": later(
        "{count:,} of {of:,} documents repeat an earlier one, {share:.0%} of the text; what repeats weighs more in learning."
    ),
}

# what the second and later bytes of UTF-8 look like in cp1252 and Latin-1
_LATER = (
    "[\x80-\xbf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d"
    "\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178]"
)
# what may well follow a word in capitals that ends with such a letter: a quotation mark, a dash, a blank that does not break
_AFTER_WORD = "\xa0\xaa\xab\xba\xbb\u2018\u2019\u201c\u201d\u2026\u2013\u2014\u2039\u203a\u2122"
WRONG = re.compile(
    rf"[\xc2\xc3](?![{_AFTER_WORD}]){_LATER}|\xe2[\u20ac\u201a]{_LATER}|\xf0\u0178{_LATER}{{2}}"
    # other alphabets: a single such pair may be letters that stand so, several in a row are not
    rf"|(?:[\xc4\xc5\xce-\xd1\xd7-\xd9]{_LATER}){{3,}}|(?:[\xe0-\xef]{_LATER}{{2}}){{2,}}"
)


_IS_LATER = np.array([re.fullmatch(_LATER, chr(code)) is not None for code in range(0x2124)])


@dataclass(frozen=True)
class Mojibake:
    """Characters that look like UTF-8 read in another encoding, or U+FFFD.

    Attributes:
        found: what stands in the text.
        meant: what it probably was; None: a character that was lost, U+FFFD.
        count: how often.
    """

    found: str
    meant: str | None
    count: int


@dataclass(frozen=True)
class Duplicates:
    """Lines (or documents) that repeat an earlier one; blank ones do not count.

    Attributes:
        count: how many do.
        of: how many lines there are.
        share: how much of the text's characters they are, 0 to 1.
        examples: the most frequent, shortened, each with how often it stands.
    """

    count: int
    of: int
    share: float
    examples: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        mojibake: the most frequent first.
        duplicates: the lines that repeat.
        looked_at: characters from the beginning that were looked at; None: all.
    """

    mojibake: tuple[Mojibake, ...]
    duplicates: Duplicates
    looked_at: int | None

    def notes(self, unit: str = "lines", replaced: int = 0) -> list[str]:
        """What deserves attention, as sentences.

        Args:
            unit: what repeats: "lines" or "documents".
            replaced: how often U+FFFD was put there in reading, of which something else was said.
        """
        notes = []
        if wrong := [one for one in self.mojibake if one.meant is not None]:
            shown = ", ".join(map(_suspect, wrong[:SHOWN]))
            notes.append(tr("This looks like UTF-8 that was read in another encoding and saved so: {examples}.", examples=shown))
        lost = sum(one.count for one in self.mojibake if one.meant is None) - replaced
        if lost > 0:
            notes.append(
                trn(
                    "U+FFFD stands {n:,} times: those characters were lost before.",
                    "U+FFFD stands {n:,} times: those characters were lost before.",
                    lost,
                )
            )
        if self.duplicates.share > MANY_DUPLICATES and self.duplicates.of >= FEW_LINES:
            said = REPEATED["documents" if unit == "documents" else "lines"]
            notes.append(tr(said, count=self.duplicates.count, of=self.duplicates.of, share=self.duplicates.share))
        if self.looked_at is None:
            return notes
        return [tr("In the first {characters:,} characters: {note}", characters=self.looked_at, note=note) for note in notes]


def _suspect(one: Mojibake) -> str:
    """A sequence that looks wrong, what it probably was, and how often it stands."""
    return trn(
        "{found!r} (probably {meant!r}) {n:,} times",
        "{found!r} (probably {meant!r}) {n:,} times",
        one.count,
        found=one.found,
        meant=one.meant,
    )


def look(pieces: Sequence[str], are_documents: bool) -> Findings:
    """What is likely wrong with a text.

    Args:
        pieces: documents, or the pieces of a stream.
        are_documents: which of the two; documents count as lines.
    """
    some, length = [], 0
    for piece in pieces:
        if length >= LOOKED_AT:
            break
        some.append(piece)
        length += len(piece)
    partly = length < sum(map(len, pieces)) if len(some) < len(pieces) else False
    return Findings(_mojibake(some), _duplicates(some, are_documents), length if partly else None)


def _mojibake(pieces: Sequence[str]) -> tuple[Mojibake, ...]:
    found: Counter[str] = Counter()
    lost = 0
    for piece in joined_pieces(pieces):
        if not piece.isascii():
            lost += piece.count(LOST)
            found.update(_suspected(piece))
    meant = [Mojibake(wrong, right, count) for wrong, count in found.most_common() if (right := _repaired(wrong))]
    return (*meant, *([Mojibake(LOST, None, lost)] if lost else []))


def _suspected(piece: str) -> Iterator[str]:
    """What in a piece looks like several bytes read as so many characters."""
    codes = np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    first = (codes[:-1] >= 0xC2) & (codes[:-1] <= 0xF0)
    end = 0
    # the expression alone would look at every character, and be ten times as slow
    for start in np.flatnonzero(first & _IS_LATER[np.minimum(codes[1:], len(_IS_LATER) - 1)]).tolist():
        if start >= end and (wrong := WRONG.match(piece, start)):
            end = wrong.end()
            yield wrong.group()


def _repaired(wrong: str) -> str | None:
    """What the bytes of these characters are in UTF-8; None: nothing."""
    data = b""
    for letter in wrong:
        try:
            data += letter.encode("cp1252")
        except UnicodeEncodeError:
            data += letter.encode("latin-1", "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _duplicates(pieces: Sequence[str], are_documents: bool) -> Duplicates:
    # a number for each line takes 16 bytes with its length, where the lines themselves would take a hundred
    numbers, lengths = array("q"), array("q")
    for lines in _lines(pieces, are_documents):
        numbers.extend(map(hash, lines))
        lengths.extend(map(len, lines))
    if not numbers:
        return Duplicates(0, 0, 0.0, ())
    kinds, first, counts = np.unique(np.frombuffer(numbers, dtype=np.int64), return_index=True, return_counts=True)
    all_lengths = np.frombuffer(lengths, dtype=np.int64)
    repeated = int(all_lengths.sum() - all_lengths[first].sum())
    best = np.lexsort((first, -counts))[:SHOWN]
    wanted = {int(kinds[i]): int(counts[i]) for i in best if counts[i] > 1}
    return Duplicates(len(numbers) - len(kinds), len(numbers), repeated / int(all_lengths.sum()), _examples(pieces, are_documents, wanted))


def _examples(pieces: Sequence[str], are_documents: bool, wanted: dict[int, int]) -> tuple[tuple[str, int], ...]:
    """The lines with these hashes, each with its count, the most frequent first."""
    texts: dict[int, str] = {}
    for lines in _lines(pieces, are_documents):
        if len(texts) == len(wanted):
            break
        for line in lines:
            if (number := hash(line)) in wanted and number not in texts:
                texts[number] = line if len(line) <= BRIEF else line[: BRIEF - 3] + "..."
    return tuple((texts[number], count) for number, count in wanted.items() if number in texts)


def _lines(pieces: Iterable[str], are_documents: bool) -> Iterator[list[str]]:
    """The lines that are not blank, piece by piece; a line longer than a piece is taken as the pieces it is in."""
    if are_documents:
        yield [piece for piece in pieces if piece.strip()]
        return
    for piece in pieces:
        lines = LINE_END.split(piece) if "\r" in piece else piece.split("\n")
        yield [line for line in lines if line and not line.isspace()]
