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

__all__ = ["FALLBACK", "count_ngrams", "discounts_of"]

FALLBACK = (0.5, 1.0, 1.5)
"""The discounts of an order whose counts of counts give none."""
TABLE = 2**22
"""Keys that are counted by a table where they can be at most so many; where there may be more, they are sorted."""
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
        raise SettingsError(f"order is {order!r}", expected=f"a whole number, 1 to {MOST_ORDER}")
    given = np.asarray(ids)
    low, high = int(given.min(initial=0)), int(given.max(initial=0))
    if low < 0 or high >= vocab_size:
        raise SettingsError(f"id {low if low < 0 else high} is not in the vocabulary", expected=f"ids 0 to {vocab_size - 1}")
    symbols, place = _laid_out(given, offsets, eos, order)
    if len(symbols) == 0:
        raise TextError("there is nothing to count: the text has no symbols", expected="one symbol or more")
    keys: list[Ids] = []
    counts: list[Ids] = []
    links, begins = (
        np.zeros(1, np.int64),
        np.zeros(1, bool),
    )  # of each node so far the node of its end, and whether a document begins with it
    above, first = 0, 1  # the first node of the level above, and of this one
    nodes = np.zeros(len(symbols) + 1, np.int32)  # of each n-gram of the level above, in the order of the text
    for level in range(1, order + 1):
        wanted = _keys(nodes[:-1], symbols[level - 1 :], vocab_size, first)
        inside = None if place is None else place[level - 1 :] >= level - 1
        own, raw, places = _distinct(wanted if inside is None else wanted[inside], first * vocab_size, with_places=level < order)
        if len(own) == 0:
            break
        if first + len(own) - 1 > most:
            what = f"the text has more than {most:,} different n-grams of up to {level} symbols"
            raise TextError(what, hint="take a smaller order, or a shorter text")
        link = suffixes(own, links, keys[-1], above, vocab_size) if keys else np.zeros(len(own), np.int64)
        if level == 1 and eos is not None and offsets is not None:
            raw[np.searchsorted(own, eos)] -= len(offsets) - 1  # what begins a document is never foretold
            start = own == eos
        else:
            start = begins[own // vocab_size]
        if keys:
            left = np.bincount(link - above, minlength=len(keys[-1]))
            if place is None:
                left[nodes[0] - above] += 1
            keeps_own = begins[above:] if level > 2 else np.zeros(len(left), bool)
            counts[-1] = np.where(keeps_own, counts[-1], left)
        keys.append(own)
        counts.append(raw)
        if places is not None:
            nodes = np.zeros(len(wanted), np.int32)
            nodes[slice(None) if inside is None else inside] = places + first
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
        raise SettingsError("these are documents, and eos is None", expected="the id that begins and ends each")
    if len(offsets) < 2:
        return ids[:0], None
    symbols = np.insert(ids, np.repeat(offsets, 2)[1:-1], eos)
    starts = offsets[:-1] + 2 * np.arange(len(offsets) - 1)
    place = np.full(len(symbols), order, np.uint8)
    for at in range(order - 1, -1, -1):  # the nearest beginning last
        reached = starts + at
        place[reached[reached < len(place)]] = at
    return symbols, place


def _keys(nodes: npt.NDArray[np.int32], symbols: npt.NDArray[Any], vocab_size: int, most: int) -> npt.NDArray[Any]:
    """The key of each n-gram: of 32 bits where that is enough, for they sort twice as fast."""
    kind = np.uint32 if most * vocab_size < 2**32 else np.int64
    wanted = nodes.astype(kind)
    np.multiply(wanted, kind(vocab_size), out=wanted)
    np.add(wanted, symbols.astype(kind, copy=False), out=wanted)
    return wanted


def _distinct(wanted: npt.NDArray[Any], most: int, *, with_places: bool) -> tuple[Ids, Ids, npt.NDArray[np.int32] | None]:
    """The different keys in rising order, how often each is there, and, if asked for, for each one that came in its place among them.

    Args:
        wanted: keys below `most`; the array is used up.
        most: see there.
        with_places: whether the places are asked for.
    """
    if most <= TABLE:
        table = np.bincount(wanted, minlength=1)
        own = np.flatnonzero(table)
        return own, table[own], (np.cumsum(table > 0, dtype=np.int32) - np.int32(1))[wanted] if with_places else None
    if not with_places:
        wanted.sort()
        is_new = np.ones(len(wanted), bool)
        np.not_equal(wanted[1:], wanted[:-1], out=is_new[1:])
        at = np.flatnonzero(is_new)
        return wanted[at].astype(np.int64), np.diff(at, append=len(wanted)), None
    order, is_new, at, own = _sorted(wanted, most)
    places = np.empty(len(wanted), np.int32)
    places[order] = np.cumsum(is_new, dtype=np.int32) - np.int32(1)
    return own, np.diff(at, append=len(wanted)), places


def _sorted(wanted: npt.NDArray[Any], most: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_], Ids, Ids]:
    """Of keys below `most`: their order, whether each in that order is another than the one before, where they are, and those keys.

    Keys and places are sorted as one number where 63 bits hold both: numbers sort many times as fast as an order is found.
    """
    bits = len(wanted).bit_length()
    if most.bit_length() + bits > 63:
        order = np.argsort(wanted)
        keys = wanted[order]
    else:
        packed = wanted.astype(np.int64)
        np.left_shift(packed, bits, out=packed)
        packed += np.arange(len(packed), dtype=np.int32)
        packed.sort()
        order = (packed & ((1 << bits) - 1)).astype(np.int32)
        keys = np.right_shift(packed, bits, out=packed)
    is_new = np.ones(len(wanted), bool)
    np.not_equal(keys[1:], keys[:-1], out=is_new[1:])
    at = np.flatnonzero(is_new)
    return order, is_new, at, keys[at].astype(np.int64)
