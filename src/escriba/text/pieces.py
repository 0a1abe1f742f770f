"""Cuts a long text into pieces where cutting changes nothing, so that no text need be held as one string.

It knows nothing of files. A Python string takes as many bytes for each of its characters as its widest one needs: one
emoji makes four of one. In pieces only the piece that holds it grows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["PIECE", "in_pieces", "joined_pieces", "sliced"]

PIECE = 1_000_000  # characters of the longest piece


def in_pieces(texts: Iterable[str]) -> Iterator[str]:
    """The texts, one after another as one text, in pieces of at most a million characters.

    A piece ends after a line end where there is one within reach, else before a character that does not compose with
    the one before it; never between CR and LF. So line ends and Unicode forms of the pieces are those of the whole.
    """
    some: list[str] = []
    length = 0
    for text in texts:
        some.append(text)
        length += len(text)
        if length <= PIECE:
            continue  # joined once a piece is full: one by one, many short strings would be copied again and again
        whole, start = "".join(some), 0
        while len(whole) - start > PIECE and (cut := _safe_cut(whole, start)):
            yield whole[start:cut]
            start = cut
        some, length = [whole[start:]], len(whole) - start
    if length:
        yield "".join(some)


def _safe_cut(text: str, start: int) -> int:
    """Where the piece that begins at `start` ends; 0: nowhere yet. At least one character follows."""
    end = start + PIECE
    if (cut := text.rfind("\n", start, end) + 1) > start:
        return cut
    # a CR at the very end may be half of a CRLF
    if (cut := text.rfind("\r", start, end - 1) + 1) > start:
        return cut
    return next((at for at in range(end, start, -1) if _begins_anew(text[at]) and text[at - 1 : at + 1] != "\r\n"), 0)


def _begins_anew(letter: str) -> bool:
    """Whether a character never composes with the one before it: it is no mark, and no vowel or final of Korean."""
    return not (unicodedata.category(letter)[0] == "M" or "\u1160" <= letter <= "\u11ff")


def sliced(pieces: Sequence[str], start: int, stop: int) -> tuple[str, ...]:
    """The characters from `start` up to `stop` of the text that pieces make; whole pieces are shared, not copied."""
    found, begin = [], 0
    for piece in pieces:
        end = begin + len(piece)
        if end > start and begin < stop:
            found.append(piece[max(0, start - begin) : stop - begin])
        begin = end
    return tuple(found)


def joined_pieces(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in fewer pieces: small ones joined up to a million characters, others as they are."""
    some: list[str] = []
    length = 0
    for piece in pieces:
        if some and length + len(piece) > PIECE:
            yield some[0] if len(some) == 1 else "".join(some)
            some, length = [], 0
        some.append(piece)
        length += len(piece)
    if some:
        yield some[0] if len(some) == 1 else "".join(some)
