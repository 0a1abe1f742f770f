"""Counts the n-grams of a text: what an n-gram that counts has instead of training.

It knows nothing of texts, nor of what is done with the counts; it needs no PyTorch.

Shapes: N symbols, M n-grams.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from escriba.engine.ngrams import suffixes
from escriba.errors import SettingsError, TextError
from escriba.language import tr

__all__ = ["FALLBACK", "count_ngrams", "discounts_of"]

FALLBACK = (0.5, 1.0, 1.5)
"""The discounts of an order whose counts of counts give none."""
TABLE = 2**22
"""Keys that are counted by a table where they can be at most so many; where there may be more, they are sorted."""
AT_ONCE = 2**20
"""Keys whose places are written down at once."""
MOST_ORDER = 8
MOST_NGRAMS = 2**31 - 1
"""Their numbers are kept in 32 bits."""
Ids = npt.NDArray[np.int64]


def count_ngrams(
    ids: npt.ArrayLike,
    vocab_size: int,
    order: int,
    *,
    offsets: Ids | None = None,
    eos: int | None = None,
    most: int = MOST_NGRAMS,
) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a model that counts.

    Below the highest order the count of an n-gram is adjusted: it is the number of different symbols that stand to its left. What
    begins a stream has nothing to its left, which counts as one symbol more; what begins a document keeps its own count. N-grams do
    not go from one document into the next.

    Args:
        ids: integers 0 to vocab_size - 1, (N,).
        vocab_size: symbols in the vocabulary.
        order: symbols in the longest n-gram, 1 to 8.
        offsets: where each document begins and the last one ends; None: a stream.
        eos: the id that begins and ends each document; documents need it.
        most: n-grams of all lengths together, at most 2^31 - 1.

    Returns:
        `ngrams.keys`, int64 (M,); `ngrams.counts`, int32 (M,); `ngrams.discounts`, float64 (order, 3).

    Raises:
        SettingsError: the order is out of its range, or an id is not in the vocabulary.
        TextError: there is nothing to count, or there are more n-grams.
    """
    if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= MOST_ORDER:
        raise SettingsError(tr("order is {order!r}", order=order), expected=tr("a whole number, 1 to {most}", most=MOST_ORDER))
    given = np.asarray(ids)
    low, high = int(given.min(initial=0)), int(given.max(initial=0))
    if low < 0 or high >= vocab_size:
        raise SettingsError(
            tr("id {id} is not in the vocabulary", id=low if low < 0 else high),
            expected=tr("ids 0 to {last}", last=vocab_size - 1),
        )
    symbols, place = _laid_out(given, offsets, eos, order)
    if len(symbols) == 0:
        raise TextError(tr("there is nothing to count: the text has no symbols"), expected=tr("one symbol or more"))
    keys: list[Ids] = []
    counts: list[Ids] = []
    links, begins = (
        np.zeros(1, np.int64),
        np.zeros(1, bool),
    )  # of each node so far the node of its end, and whether a document begins with it
    above, first = 0, 1  # the first node of the level above, and of this one
    nodes = np.zeros(len(symbols) + 1, np.int32)  # of each n-gram of the level above, in the order of the text
    for level in range(1, order + 1):
        inside = None if place is None else place[level - 1 :] >= level - 1
        begun, size = int(nodes[0]), len(nodes) - 1
        wanted = _keys(nodes[:-1], symbols[level - 1 :], vocab_size, first, wide=level < order)
        del nodes  # of a long text every array has some ten times its size: none is kept for longer than it is needed
        wanted = wanted if inside is None else wanted[inside]
        own, raw, places = _distinct(wanted, first * vocab_size, most - first + 1, with_places=level < order)
        del wanted
        if len(own) == 0:
            break
        link = suffixes(own, links, keys[-1], above, vocab_size) if keys else np.zeros(len(own), np.int64)
        if level == 1 and eos is not None and offsets is not None:
            raw[np.searchsorted(own, eos)] -= len(offsets) - 1  # what begins a document is never foretold
            start = own == eos
        else:
            start = begins[own // vocab_size]
        if keys:
            left = np.bincount(link - above, minlength=len(keys[-1]))
            if place is None:
                left[begun - above] += 1
            keeps_own = begins[above:] if level > 2 else np.zeros(len(left), bool)
            counts[-1] = np.where(keeps_own, counts[-1], left)
        keys.append(own)
        counts.append(raw)
        if places is not None:
            places += np.int32(first)
            nodes = places
            if inside is not None:
                nodes = np.zeros(size, np.int32)
                nodes[inside] = places
        links, begins = np.concatenate([links, link]), np.concatenate([begins, start])
        above, first = first, first + len(own)
    discounts = [discounts_of(one) for one in counts] + [FALLBACK] * (order - len(counts))
    return {
        "ngrams.keys": np.concatenate(keys),
        "ngrams.counts": np.concatenate(counts).astype(np.int32),
        "ngrams.discounts": np.array(discounts, np.float64),
    }


def discounts_of(counts: Ids) -> tuple[float, float, float]:
    """The discounts of an order for n-grams counted once, twice, and three times or more.

    The closed form of Chen and Goodman, or, where a count of counts is 0 or it gives no discount that could be, 0.5, 1 and 1.5.
    Source: Chen and Goodman 1999, equation 26.

    Args:
        counts: the adjusted counts of the order's n-grams, 0 or more each.
    """
    n1, n2, n3, n4 = (int(number) for number in np.bincount(np.minimum(counts, 5), minlength=6)[1:5])
    if 0 in (n1, n2, n3, n4):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 < discount <= most for most, discount in enumerate(found, 1)) else FALLBACK


def _laid_out(
    ids: npt.NDArray[Any], offsets: Ids | None, eos: int | None, order: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None]:
    """The symbols to count, documents with their beginnings and ends; and how far each is from its document's beginning, `order` at most.

    Raises:
        SettingsError: there are documents, and nothing that begins and ends them.
    """
    if offsets is None:
        return ids, None
    if eos is None:
        raise SettingsError(tr("these are documents, and eos is None"), expected=tr("the id that begins and ends each"))
    if len(offsets) < 2:
        return ids[:0], None
    symbols = np.insert(ids, np.repeat(offsets, 2)[1:-1], eos)
    starts = offsets[:-1] + 2 * np.arange(len(offsets) - 1)
    place = np.full(len(symbols), order, np.uint8)
    for at in range(order - 1, -1, -1):  # the nearest beginning last
        reached = starts + at
        place[reached[reached < len(place)]] = at
    return symbols, place


def _keys(nodes: npt.NDArray[np.int32], symbols: npt.NDArray[Any], vocab_size: int, most: int, *, wide: bool) -> npt.NDArray[Any]:
    """The key of each n-gram: of 32 bits where that is enough and not `wide`, for they sort twice as fast."""
    kind = np.int64 if wide or most * vocab_size >= 2**32 else np.uint32
    wanted = nodes.astype(kind)
    np.multiply(wanted, kind(vocab_size), out=wanted)
    np.add(wanted, symbols, out=wanted, casting="unsafe")
    return wanted


def _distinct(wanted: npt.NDArray[Any], below: int, room: int, *, with_places: bool) -> tuple[Ids, Ids, npt.NDArray[np.int32] | None]:
    """The different keys in rising order, how often each is there, and, if asked for, for each one that came in its place among them.

    Args:
        wanted: the keys; the array is used up.
        below: a number that all are below.
        room: how many there may be.
        with_places: whether the places are asked for.

    Raises:
        TextError: there are more different ones.
    """
    if below <= TABLE:
        table = np.zeros(below, np.int64)
        for part in _parts(wanted):
            table += np.bincount(part, minlength=below)
        own = np.flatnonzero(table)
        _require_room(len(own), room)
        if not with_places:
            return own, table[own], None
        numbers = np.cumsum(table > 0, dtype=np.int32) - np.int32(1)
        return own, table[own], np.concatenate([numbers[part] for part in _parts(wanted)])
    if not with_places:
        wanted.sort()
        is_new = np.ones(len(wanted), bool)
        np.not_equal(wanted[1:], wanted[:-1], out=is_new[1:])
        _require_room(int(np.count_nonzero(is_new)), room)
        at = np.flatnonzero(is_new)
        return wanted[at].astype(np.int64), np.diff(at, append=len(wanted)), None
    return _distinct_with_places(wanted, below, room)


def _require_room(found: int, room: int) -> None:
    """Raises TextError if there are more n-grams than may be."""
    if found > room:
        raise TextError(tr("the text has more different n-grams than may be kept"), hint=tr("take a smaller order, or a shorter text"))


def _distinct_with_places(wanted: Ids, below: int, room: int) -> tuple[Ids, Ids, npt.NDArray[np.int32]]:
    """As `_distinct` says. Key and place are sorted as one number: numbers sort ten times as fast as an order is found."""
    size = len(wanted)
    bits = size.bit_length()
    if below.bit_length() + bits > 63:
        different, inverse, raw = np.unique(wanted, return_inverse=True, return_counts=True)
        _require_room(len(different), room)
        return different, raw.astype(np.int64), inverse.astype(np.int32)
    packed = wanted
    np.left_shift(packed, bits, out=packed)
    for number, part in enumerate(_parts(packed)):
        part += np.arange(len(part)) + number * AT_ONCE
    packed.sort()
    places: npt.NDArray[np.int32] = np.empty(size, np.int32)
    own: list[Ids] = []
    ats: list[Ids] = []
    before, found, start = -1, -1, 0
    for part in _parts(packed):
        keys = part >> bits
        is_new = np.empty(len(keys), bool)
        is_new[0] = keys[0] != before
        np.not_equal(keys[1:], keys[:-1], out=is_new[1:])
        numbers = np.cumsum(is_new) + found
        places[part & ((1 << bits) - 1)] = numbers
        own.append(keys[is_new])
        ats.append(start + np.flatnonzero(is_new))
        before, found, start = int(keys[-1]), int(numbers[-1]), start + len(part)
        _require_room(found + 1, room)
    at: Ids = np.concatenate([*ats, np.array([size])])
    return np.concatenate(own), at[1:] - at[:-1], places


def _parts(array: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """An array in pieces, none of them a copy: what is made of one takes little memory."""
    return [array[start : start + AT_ONCE] for start in range(0, max(1, len(array)), AT_ONCE)]
