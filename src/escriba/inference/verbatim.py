"""Where a text stands verbatim in a longer one: of each of its places, how far what begins there is found in the other.

It knows nothing of models, of files, and of what the answer is used for.

Both texts are code points. A stretch of them is known by a polynomial hash modulo 2^64, which for a stretch of any length comes from two
running sums. The longer text goes by in blocks: those of its places whose next 12 characters stand in the text are looked up among the
text's suffixes in order, where the neighbours of a place share the longest beginning with it; so many equal stretches make no more work
than many different ones.

n: characters of the text; N: of the longer one; places are counted from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SEED_LENGTH", "Matches", "find_matches"]

SEED_LENGTH = 12
"""Characters of the shortest match that is followed to its end: shorter ones stand in any text by the thousand."""
BLOCK = 1 << 18
MANY = 4096  # places of a block, of which so many are found in a text only where it repeats itself, or is learnt by heart
SEPARATOR = 0x110000  # stands between documents; no character has this code
BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
U64 = NDArray[np.uint64]
Int = NDArray[np.int64]
Watch = Callable[[int], None]


@dataclass(frozen=True)
class Matches:
    """How far a text is found in another.

    Attributes:
        lengths: (n,), of each place how many of the characters that follow it stand together in the other text; 0: fewer than 12.
        found: for each length that was asked for, (n - length + 1,), whether the stretch that begins there stands in the other text.
    """

    lengths: Int
    found: dict[int, NDArray[np.bool_]]


def find_matches(
    text: str, training: Iterable[str], *, lengths: Iterable[int] = (), documents: bool = False, watch: Watch | None = None
) -> Matches:
    """Looks up every place of a text in a longer one, which is gone through once.

    Args:
        text: n characters.
        training: the longer text, N characters: pieces that joined are one stream, or documents.
        lengths: of stretches, 1 to 11, that are looked for each by itself; those longer than the text are left out.
        documents: whether the pieces are documents, over whose ends no match goes.
        watch: is told the characters gone through, now and then.

    Returns:
        the matches, in time about N, and memory for n and a block of the other text, whatever N is. They rest on 64-bit hashes: one of
        them is wrong with a chance of about n N / 2^64, for texts that were not made for it.
    """
    codes = _codes(text)
    n = len(codes)
    sums = _Sums(max(BLOCK, n) + n)
    own = sums.of(codes)
    seeds = _Seeds(codes, own, sums) if n >= SEED_LENGTH else None
    stretches = [_Stretches(own, length, n, sums) for length in sorted(set(lengths)) if length <= n]
    for first, starts, block in _blocks(_coded(training, documents), n):
        if seeds is None and not any(one.missing for one in stretches):
            break
        running = sums.of(block)
        for one in stretches:
            if one.missing:
                one.look(running, starts)
        if seeds is not None:
            seeds.look(running, starts)
        if watch is not None:
            watch(first + starts)
    return Matches(np.zeros(n, np.int64) if seeds is None else seeds.lengths(), {one.length: one.found() for one in stretches})


def _codes(text: str) -> NDArray[np.uint32]:
    """The code points, halves of surrogate pairs among them."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32, copy=False)


def _coded(training: Iterable[str], documents: bool) -> Iterator[NDArray[np.uint32]]:
    """The code points of the longer text, bit by bit; after each document one that no character has."""
    some: list[str] = []
    size = 0
    for piece in training:
        some.append(piece)
        size += len(piece) + documents
        if size >= BLOCK:
            yield _joined(some, documents)
            some, size = [], 0
    if some:
        yield _joined(some, documents)


def _joined(pieces: list[str], documents: bool) -> NDArray[np.uint32]:
    if not documents:
        return _codes("".join(pieces))
    codes = _codes("\n".join([*pieces, ""])).copy()
    codes[np.cumsum([len(one) + 1 for one in pieces]) - 1] = SEPARATOR
    return codes


def _blocks(parts: Iterable[NDArray[np.uint32]], n: int) -> Iterator[tuple[int, int, NDArray[np.uint32]]]:
    """Blocks of the longer text: the place of the first character, how many places are its own, and these with the n - 1 that follow."""
    size, first = max(BLOCK, n), 0
    rest = np.zeros(0, np.uint32)
    for part in parts:
        rest = np.concatenate((rest, part))
        at = 0
        while len(rest) - at >= size + n - 1:
            yield first, size, rest[at : at + size + n - 1]
            at, first = at + size, first + size
        rest = rest[at:]
    for at in range(0, len(rest), size):
        yield first + at, min(size, len(rest) - at), rest[at : at + size + n - 1]


class _Sums:
    """Running sums of code x BASE^place, from which comes the hash of any stretch; all modulo 2^64."""

    def __init__(self, longest: int) -> None:
        self.powers = _powers(BASE, longest)
        self.back = _powers(pow(BASE, -1, 1 << 64), longest + 1)

    def of(self, codes: NDArray[np.uint32]) -> U64:
        """The sums before each place and at the end, (len + 1,)."""
        sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(codes * self.powers[: len(codes)], out=sums[1:])
        return sums

    def all(self, sums: U64, length: int, starts: int) -> U64:
        """The hashes of the stretches of one length that begin at the first `starts` places, as many as there are."""
        starts = max(0, min(starts, len(sums) - length))
        hashes = sums[length : length + starts] - sums[:starts]
        hashes *= self.back[:starts]
        return hashes

    def at(self, sums: U64, starts: Int, lengths: Int) -> U64:
        """The hashes of some stretches."""
        return np.asarray((sums[starts + lengths] - sums[starts]) * self.back[starts])

    def common(self, one: U64, at_one: Int, other: U64, at_other: Int, least: int) -> Int:
        """How many characters are the same from a place of each on, of which `least` are known to be."""
        low = np.full(len(at_one), least, np.int64)
        high = np.minimum(len(one) - 1 - at_one, len(other) - 1 - at_other)
        open_ = np.flatnonzero(low < high)
        while len(open_):
            here, there = at_one[open_], at_other[open_]
            # short ones are many, so twice the length that is sure is tried before the middle
            middle = np.minimum((low[open_] + high[open_] + 1) // 2, np.maximum(2 * low[open_], 1))
            same = self.at(one, here, middle) == self.at(other, there, middle)
            low[open_] = np.where(same, middle, low[open_])
            high[open_] = np.where(same, high[open_], middle - 1)
            open_ = open_[low[open_] < high[open_]]
        return low


def _powers(base: int, count: int) -> U64:
    powers = np.full(max(1, count), base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


class _Sieve:
    """A set of hashes, and which of many others are in it: most of those that are not fall through a table of their first bits."""

    def __init__(self, hashes: U64) -> None:
        self.hashes = hashes
        bits = int(np.clip(len(hashes).bit_length() + 6, 12, 24))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        self._table[self._slots(hashes)] = True

    def _slots(self, hashes: U64) -> Int:
        return (hashes >> self._shift).view(np.int64)

    def look(self, hashes: U64) -> tuple[Int, Int]:
        """The places of those that are in the set, and where in the set they are."""
        places = np.flatnonzero(self._table.take(self._slots(hashes)))
        chosen = hashes[places]
        within = np.minimum(np.searchsorted(self.hashes, chosen), len(self.hashes) - 1)
        real = self.hashes[within] == chosen
        return places[real], within[real]


class _Stretches:
    """The stretches of one length of a text, of which those that were seen in the other are crossed out."""

    def __init__(self, own: U64, length: int, n: int, sums: _Sums) -> None:
        self.length, self._sums = length, sums
        hashes = sums.all(own, length, n - length + 1)
        distinct, self._which = np.unique(hashes, return_inverse=True)
        self._seen = np.zeros(len(distinct), np.bool_)
        self._left = np.arange(len(distinct))
        self._sieve = _Sieve(distinct)

    @property
    def missing(self) -> int:
        """How many were not seen yet."""
        return len(self._left)

    def look(self, running: U64, starts: int) -> None:
        """Crosses out what stands in a block."""
        _, within = self._sieve.look(self._sums.all(running, self.length, starts))
        if len(within):
            self._seen[self._left[within]] = True
            keep = ~self._seen[self._left]
            self._sieve, self._left = _Sieve(self._sieve.hashes[keep]), self._left[keep]

    def found(self) -> NDArray[np.bool_]:
        """Of each place of the text whether its stretch was seen."""
        return np.asarray(self._seen[self._which])


class _Seeds:
    """The suffixes of a text in order, and for each the longest beginning that was seen in the other text."""

    def __init__(self, codes: NDArray[np.uint32], own: U64, sums: _Sums) -> None:
        n = len(codes)
        order = _suffix_order(codes)
        self._order = order[order <= n - SEED_LENGTH]  # those that share their first 12 characters stand side by side
        self._codes, self._own, self._sums = codes, own, sums
        hashes = sums.all(own, SEED_LENGTH, n - SEED_LENGTH + 1)[self._order]
        begins = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
        by_hash = np.argsort(hashes[begins])
        self._begins = begins[by_hash]
        self._ends = np.append(begins[1:], len(hashes))[by_hash]
        self._sieve = _Sieve(hashes[self._begins])
        self._longest = np.zeros(n, np.int64)

    def look(self, running: U64, starts: int) -> None:
        """Takes in what stands in a block."""
        places, within = self._sieve.look(self._sums.all(running, SEED_LENGTH, starts))
        if len(places) > MANY:  # of places that go on alike, further than the text is long, one is enough
            lengths = np.minimum(len(self._codes), len(running) - 1 - places)
            first = np.unique(self._sums.at(running, places, lengths), return_index=True)[1]
            places, within = places[first], within[first]
        low, high = self._begins[within], self._ends[within]
        while len(places):  # the place of each among the suffixes, by halving; both its neighbours are met on the way
            middle = (low + high) // 2
            suffixes = self._order[middle]
            common = self._sums.common(running, places, self._own, suffixes, SEED_LENGTH)
            np.maximum.at(self._longest, suffixes, common)
            after = self._is_after(running, places + common, suffixes + common)
            low, high = np.where(after, middle + 1, low), np.where(after, high, middle)
            left = low < high
            places, low, high = places[left], low[left], high[left]

    def _is_after(self, running: U64, places: Int, suffixes: Int) -> NDArray[np.bool_]:
        """Whether the other text goes on with a later character than the suffix; the end of either is before all characters."""
        one, size = np.full(len(places), -1, np.int64), len(running) - 1
        inside = places < size
        one[inside] = self._sums.at(running, places[inside], np.ones(int(inside.sum()), np.int64)).view(np.int64)
        other = np.full(len(places), -1, np.int64)
        inside = suffixes < len(self._codes)
        other[inside] = self._codes[suffixes[inside]]
        return one > other

    def lengths(self) -> Int:
        """Of each place of the text the longest match that begins there: what a suffix shares with a neighbour it has of its match."""
        order = self._order
        shared = self._sums.common(self._own, order[:-1], self._own, order[1:], 0).tolist()
        longest = self._longest[order].tolist()
        for i in range(1, len(order)):
            longest[i] = max(longest[i], min(longest[i - 1], shared[i - 1]))
        for i in range(len(order) - 2, -1, -1):
            longest[i] = max(longest[i], min(longest[i + 1], shared[i]))
        found = np.zeros_like(self._longest)
        found[order] = longest
        return np.where(found >= SEED_LENGTH, found, 0)


def _suffix_order(codes: NDArray[np.uint32]) -> Int:
    """The places of a text in the order of what begins there, the end being before all characters.

    Source: Manber and Myers, Suffix arrays (1993): sorted by 1, 2, 4, ... characters.
    """
    n = len(codes)
    ranks = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    order, width = np.argsort(ranks, kind="stable"), 1
    while width < n and ranks.max() < n - 1:
        key = ranks * (n + 1)
        key[:-width] += ranks[width:] + 1
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        ranks[order] = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1])))
        width *= 2
    return order
