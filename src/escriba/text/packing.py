"""How much gzip and xz need for a text once they have seen another: the packed size of the seen, and of both.

It knows nothing of symbols and models: bytes come in.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["gzip_sizes", "xz_sizes"]

PIECE = 2**16
"""Bytes that a packer is given at once: so often it can be stopped."""


def gzip_sizes(seen: bytes, new: bytes) -> tuple[int, int]:
    """The packed size of the seen, and of both, by gzip at its best.

    Args:
        seen: what comes first.
        new: what comes after it.
    """
    packer = zlib.compressobj(9, wbits=31)
    size = _fed(packer.compress, seen)
    before = size + len(packer.copy().flush())
    size += _fed(packer.compress, new)
    return before, size + len(packer.flush())


def xz_sizes(seen: bytes, new: bytes) -> tuple[int, int]:
    """The same by xz as it is by itself: it looks back 8 MiB, and takes some 100 MB of memory for each of the two sizes.

    Args:
        seen: what comes first.
        new: what comes after it.
    """

    def size(content: tuple[bytes, ...]) -> int:
        packer = lzma.LZMACompressor(preset=6)
        return sum(_fed(packer.compress, one) for one in content) + len(packer.flush())

    with ThreadPoolExecutor(2) as two:  # lzma lets other threads run
        before, both = two.map(size, [(seen,), (seen, new)])
    return before, both


def _fed(compress: Callable[[Any], bytes], content: bytes) -> int:
    """The bytes that come out of a packer while it is fed."""
    view = memoryview(content)
    return sum(len(compress(view[start : start + PIECE])) for start in range(0, len(content), PIECE))
