"""How much gzip and xz need for a text once they have seen another: size(seen + new) - size(seen), within a time.

It knows nothing of symbols and models: bytes come in.
"""

from __future__ import annotations

import lzma
import time
import zlib
from collections.abc import Callable
from typing import Any

__all__ = ["gzip_sizes", "more_bits", "xz_sizes"]

MOST_DICTIONARY = 2**25
"""Bytes that xz remembers: it takes 350 MB for so many."""
PIECE = 2**16
"""Bytes that a packer is given at once: so often the clock is looked at."""
PROBED = 500_000
"""Bytes on which a packer's speed is measured where there are twice as many."""

Sizes = Callable[[bytes, bytes, float], tuple[int, int]]
"""From the seen, the new and the time at which to give up: the packed size of the seen, and of both."""


def more_bits(seen: bytes, new: bytes, sizes: Sizes, seconds: float) -> tuple[int | None, int | None]:
    """The bits that a packer needs more for the new once it has seen the other, and how much of that it was given, if not all.

    Args:
        seen: of which the end is used, as much as there is time for.
        new: what is measured.
        sizes: the packer.
        seconds: that it may take.
    """
    end, used = time.perf_counter() + seconds, None
    probe = seen[:PROBED]
    try:
        if len(seen) > 2 * PROBED:
            start = time.perf_counter()
            sizes(probe, b"", end)
            per_s = len(probe) / (time.perf_counter() - start)
            most = int(per_s * seconds / 4) - len(new)  # it may be packed twice, and long texts more slowly
            if most < len(probe):
                return None, None
            if most < len(seen):
                used, seen = most, seen[-most:]
        before, both = sizes(seen, new, end)
    except TimeoutError:
        return None, None
    return 8 * (both - before), used


def gzip_sizes(seen: bytes, new: bytes, end: float) -> tuple[int, int]:
    """The packed size of the seen, and of both, by gzip at its best; TimeoutError where it is later than `end`."""
    packer = zlib.compressobj(9, wbits=31)
    size = _fed(packer.compress, seen, end)
    before = size + len(packer.copy().flush())
    size += _fed(packer.compress, new, end)
    return before, size + len(packer.flush())


def xz_sizes(seen: bytes, new: bytes, end: float) -> tuple[int, int]:
    """The same by xz at its best, with a dictionary as long as the text, up to 32 MB: it takes some ten times as much memory."""
    length = 1 << max(16, (len(seen) + len(new)).bit_length())
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": min(length, MOST_DICTIONARY)}]

    def size(content: tuple[bytes, ...]) -> int:
        packer = lzma.LZMACompressor(filters=filters)
        return sum(_fed(packer.compress, one, end) for one in content) + len(packer.flush())

    return size((seen,)), size((seen, new)) if new else 0


def _fed(compress: Callable[[Any], bytes], content: bytes, end: float) -> int:
    """The bytes that come out of a packer while it is fed.

    Raises:
        TimeoutError: it is later than `end`.
    """
    size, view = 0, memoryview(content)
    for start in range(0, len(content), PIECE):
        size += len(compress(view[start : start + PIECE]))
        if time.perf_counter() > end:
            raise TimeoutError
    return size
