"""What native code is told of tensors: where their numbers lie. And memory for it to write to, and PyTorch's threads to work with.

It knows nothing of what is computed.
"""

from __future__ import annotations

import functools
import math
import threading
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from escriba._native import records

__all__ = ["address", "lend_workers", "lying", "room", "scratch"]

LARGE = 1 << 22
"""Bytes from which an array is worth large pages."""
_own = threading.local()


@functools.cache
def lend_workers() -> bool:
    """Gives the library PyTorch's own threads, once; whether it could. There must be a library."""
    return records.lend_workers(Path(torch.__file__).parent / "lib")


def address(array: Tensor | None) -> int | None:
    """Where the numbers are; None of None."""
    return None if array is None else array.data_ptr()


def lying(array: Tensor) -> Tensor:
    """The array, or a copy whose last dimension lies together."""
    return array if array.stride(-1) == 1 else array.contiguous()


def room(*shape: int, dtype: torch.dtype) -> Tensor:
    """An array whose numbers are not set. Large ones are NumPy's, which asks for large pages: PyTorch's cost their time in page faults."""
    size = dtype.itemsize
    count = math.prod(shape)
    if count * size < LARGE:
        return torch.empty(shape, dtype=dtype)
    memory = torch.from_numpy(np.empty(count * size + 64, np.uint8))
    begin = -memory.data_ptr() % 64
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return torch.empty(0, dtype=dtype).set_(memory.untyped_storage(), begin // size, shape, strides)


def scratch(size: int) -> int:
    """The address, a multiple of 64, of so many bytes that this thread may use until it asks again.

    It is the same memory for every call, and kept while the thread lives: what was asked for at most, which is 38 MB for 16 x 256 symbols
    in blocks of 256.
    """
    memory: np.ndarray | None = getattr(_own, "memory", None)
    if memory is None or len(memory) < size + 64:
        memory = _own.memory = np.empty(size + 64, np.uint8)
    begin: int = memory.ctypes.data
    return begin + -begin % 64
