"""Watches a text as it is written and says where it ends: at ``<eos>``, at a stop string or at its length.

It knows no model: it is given ids one after another and gives out the text that may already be shown.
"""

from __future__ import annotations

import bisect
import copy
from collections.abc import Sequence
from typing import Literal

import numpy as np

from escriba.engine.protocol import Ids
from escriba.errors import SettingsError
from escriba.language import tr
from escriba.text.vocabulary import IncrementalDecoder

__all__ = ["Ending", "FinishReason", "checked_begins", "checked_length", "checked_room", "checked_stops"]

FinishReason = Literal["stop", "length", "eos"]
"""Why a text ended."""


class Ending:
    """The end of one text.

    The end is where it would be if the characters came one at a time: the first of them that completes a stop string, or that is
    the last of the length, ends the text. So it depends neither on where symbols begin nor on how many come at once. When several
    stop strings are complete at the same character, the longest counts.

    Args:
        decoder: turns the ids into text; fresh, or holding only what came before the text that is watched.
        length: characters after which the text ends, 0 or more; None: no such end.
        stop: strings before which the text ends, none of them empty.
        eos_id: the id that ends the text, or None.

    Attributes:
        finished: why the text ended, or None while it goes on.
        characters: how many characters of the text are certain so far, those held back included; once it has ended, its length.
        count: once the text has ended, how many ids it was written with. The last of them may reach beyond the end.
        straddles: once the text has ended, whether the last id does reach beyond the end.
    """

    def __init__(self, decoder: IncrementalDecoder, *, length: int | None, stop: Sequence[str], eos_id: int | None) -> None:
        self._decoder = decoder
        self._length = length
        self._stop = tuple(stop)
        self._eos_id = eos_id
        self._held = ""  # certain, but perhaps the beginning of a stop string
        self._ends: list[int] = []  # where each id's text ends: only of the ids that are not yet wholly shown
        self._dropped = 0  # how many ids came before those
        self.characters = 0
        self.count = 0
        self.straddles = False
        self.finished: FinishReason | None = "length" if length == 0 else None

    @property
    def settled(self) -> int:
        """How many ids are certain to stay, whatever follows."""
        return self._dropped

    def push(self, token: int) -> str:
        """Takes one more id.

        Returns:
            What may now be shown: the pieces join to the whole text.
        """
        assert self.finished is None, "the text has ended"
        is_eos = token == self._eos_id
        piece = self._decoder.flush() if is_eos else self._decoder.push([token])
        shown = self.characters - len(self._held)
        text = self._held + piece
        self.characters += len(piece)
        if not is_eos:
            self._ends.append(self.characters)
        self._held = text
        cut = self._cut(shown, fresh=len(piece))
        if cut is not None:
            return self._finish(shown, cut)
        if is_eos:
            self.finished = "eos"
            self.count = self._dropped + len(self._ends)
            self._held = ""
            return text
        kept = self._begins_stop(text)
        self._held = text[len(text) - kept :]
        shown += len(text) - kept
        passed = bisect.bisect_left(self._ends, shown)
        if passed:
            self._dropped += passed
            del self._ends[:passed]
        return text[: len(text) - kept]

    def take(self, ids: Ids) -> tuple[str, int]:
        """Takes ids one after another until the text ends: just what `push` does with each, but as many at once as cannot end it.

        Args:
            ids: integers, (N,).

        Returns:
            What may now be shown, and how many of the ids were taken: all, unless the text ended before.
        """
        pieces, at, try_many = [], 0, True
        while at < len(ids) and self.finished is None:
            found = self._at_once(ids[at:]) if try_many and not self._held else None
            if found is None:
                try_many = try_many and self._held != ""
                found = self.push(int(ids[at])), 1
            pieces.append(found[0])
            at += found[1]
        return "".join(pieces), at

    def _at_once(self, ids: Ids) -> tuple[str, int] | None:
        """The text of some first ids after which it certainly goes on and nothing is held back, and how many; None: none are found."""
        most = len(ids) if self._length is None else min(len(ids), self._length - self.characters - 1)
        if self._eos_id is not None and (ends := np.flatnonzero(ids[: max(0, most)] == self._eos_id)).size:
            most = int(ends[0])
        while most > 1:
            decoder = self._decoder.copy()
            if decoder.holds_back:
                text = decoder.push(ids[: most - 1])
                last = decoder.push(ids[most - 1 : most])
                text += last
            else:
                text = last = decoder.push(ids[:most])
            if self._length is not None and self.characters + len(text) >= self._length:
                most //= 2  # symbols of several characters
            elif not last:
                most -= 1  # within a character: the end of what is shown must be the end of an id
            elif any(stop in text for stop in self._stop) or self._begins_stop(text):
                return None
            else:
                self._decoder = decoder
                self.characters += len(text)
                self._dropped += len(self._ends) + most - 1
                self._ends = [self.characters]
                return text, most
        return None

    def copy(self) -> Ending:
        """An independent one that has seen the same."""
        other = copy.copy(self)
        other._decoder = self._decoder.copy()
        other._ends = list(self._ends)
        return other

    def _cut(self, shown: int, *, fresh: int) -> int | None:
        """Where the text ends, if it does now: `fresh` characters at the end of what is held are new."""
        old = len(self._held) - fresh
        found = []  # (end, start) of every stop string that is complete, from the held text's start
        for stop in self._stop:
            start = self._held.find(stop, max(0, old - len(stop) + 1))
            if start >= 0:
                found.append((start + len(stop), start))
        left = None if self._length is None else self._length - shown
        if found and (left is None or min(found)[0] <= left):
            self.finished = "stop"
            return shown + min(found)[1]
        if left is not None and len(self._held) >= left:
            self.finished = "length"
            return self._length
        return None

    def _finish(self, shown: int, cut: int) -> str:
        piece = self._held[: cut - shown]
        if cut > 0:
            at = bisect.bisect_left(self._ends, cut)
            # The flush at <eos> can bring text after the end of the last id.
            self.straddles = at < len(self._ends) and self._ends[at] > cut
            self.count = self._dropped + min(at + 1, len(self._ends))
        self.characters = cut
        self._held = ""
        return piece

    def _begins_stop(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a stop string."""
        longest = min(len(text), max(map(len, self._stop), default=0) - 1)
        for size in range(longest, 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self._stop):  # none is complete: that was looked for before
                return size
        return 0


def checked_stops(stops: Sequence[str]) -> tuple[str, ...]:
    """Stop strings, once seen to be of use.

    Raises:
        SettingsError: one is empty: every text would end before it began.
    """
    if "" in stops:
        raise SettingsError(
            tr("a stop string is empty"), expected=tr("at least one character"), hint=tr("leave it out to stop at the length")
        )
    return tuple(stops)


def checked_length(length: object) -> int:
    """A length in characters.

    Raises:
        SettingsError: it is not an integer, or negative.
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise SettingsError(tr("length is {length!r}", length=length), expected=tr("a number of characters, 0 or more"))
    return length


def checked_begins(begins: object) -> str:
    """What texts begin with.

    Raises:
        SettingsError: it is no string.
    """
    if not isinstance(begins, str):
        raise SettingsError(
            tr("begins is {begins!r:.60}, of type {type}", begins=begins, type=type(begins).__name__), expected=tr("a text (str)")
        )
    return begins


def checked_room(begins: str, length: int | None) -> None:
    """Sees that what texts begin with fits into their length.

    Raises:
        SettingsError: it does not.
    """
    if length is not None and len(begins) > length:
        raise SettingsError(
            tr("the texts are to begin with {begins} characters and to have {length}", begins=len(begins), length=length),
            expected=tr("a greater length"),
        )
