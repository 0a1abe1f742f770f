"""What a training frees it takes again a moment later: on Linux it asks the C library not to give it back to the system in between.

Each step on a processor makes and frees the same arrays. Where the system takes them back it has to clear every page anew, which was a
fifteenth of a step of the reference stack. It knows nothing of networks.
"""

from __future__ import annotations

import ctypes
import functools
import platform

__all__ = ["give_back_memory", "keep_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""The names of what can be set, in glibc's malloc.h."""
KEPT_BYTES = 2**30
LARGEST_KEPT = 2**25
"""Larger arrays are always given back: it is the most that glibc takes."""


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def keep_memory() -> None:
    """From now on freed memory stays with this process, up to a gigabyte; nothing where the C library is another."""
    library = _glibc()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def give_back_memory() -> None:
    """Gives the system what is free now, and keeps no more than a little from now on."""
    library = _glibc()
    if library is not None:
        library.mallopt(M_TRIM_THRESHOLD, LARGEST_KEPT)
        library.malloc_trim(0)
