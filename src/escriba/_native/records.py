"""What the library's functions for learning are given in: records of whole numbers and addresses, and the threads that PyTorch lends.

It knows nothing of what is computed. Every field of a record is 8 bytes wide.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from escriba._native import level_number, the_library

__all__ = ["CHANCE", "arrays", "call", "function", "lend_workers", "wholes"]

Field = tuple[str, Any]


def wholes(names: str) -> list[Field]:
    """Fields of whole numbers, by their names."""
    return [(name, ctypes.c_int64) for name in names.split()]


def arrays(names: str) -> list[Field]:
    """Fields of addresses, by their names."""
    return [(name, ctypes.c_void_p) for name in names.split()]


CHANCE: list[Field] = [("seed", ctypes.c_uint64), ("share", ctypes.c_double)]
"""Which numbers are dropped, and what share of them."""


def function(name: str) -> Any:
    """One of the library's functions; the same object whenever it is asked for."""
    return getattr(the_library(), name)


def call(name: str, record: ctypes.Structure, *others: int) -> None:
    """Calls one of the functions that take the level, whole numbers and a record, and give nothing."""
    function(name)(level_number(), *others, ctypes.byref(record))


def lend_workers(libraries: Path) -> bool:
    """Gives the library the OpenMP that PyTorch's own loops use, so that both share one team of threads; to be called once.

    Args:
        libraries: the folder of PyTorch's libraries.

    Returns:
        Whether there is one; else the library begins threads of its own at every call.
    """
    try:
        # a library's handle also finds what the library itself depends on: the very OpenMP that PyTorch uses, whatever its file is called
        torch = ctypes.CDLL(str(libraries / "libtorch_cpu.so"))
        functions = [ctypes.cast(torch[name], ctypes.c_void_p) for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")]
    except (OSError, AttributeError):
        return False
    the_library().escriba_set_workers(*functions)
    return True
