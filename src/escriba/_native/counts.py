"""The n-gram that counts, in the library: addresses of the reference engine's arrays go in, nodes and log-probabilities come out.

It checks nothing: ids, nodes and shapes are the caller's business.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from escriba._native import the_library

__all__ = ["CountsModel", "call"]

NO_MEMORY = 1
_ARRAYS = ("symbols", "children", "suffix", "gamma", "share", "prob", "root")


class CountsModel(ctypes.Structure):
    """As in native/counts.h."""

    _fields_ = (("vocab", ctypes.c_int64), *((name, ctypes.c_void_p) for name in _ARRAYS))

    @classmethod
    def of(cls, vocab_size: int, arrays: Mapping[str, npt.NDArray[np.generic]]) -> CountsModel:
        """The model of some arrays, which must lie together and outlive it.

        Args:
            vocab_size: symbols in the vocabulary.
            arrays: symbols, children, suffix (int64); gamma, share, prob, root (float64).
        """
        return cls(vocab_size, *(arrays[name].ctypes.data for name in _ARRAYS))


@functools.cache
def _typed() -> ctypes.CDLL:
    """The library, with the types of its functions."""
    found = the_library()
    begin = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]  # the model, threads, rows, steps
    for name, arrays in (("advance", 4), ("read", 5), ("write", 7)):
        function = getattr(found, f"escriba_counts_{name}")
        function.restype, function.argtypes = ctypes.c_int, [*begin, *[ctypes.c_void_p] * arrays]
    return found


def call(name: str, model: CountsModel, threads: int, rows: int, steps: int, *arguments: npt.NDArray[np.generic] | object) -> None:
    """Runs one of the library's functions on the model.

    Args:
        name: what follows ``escriba_counts_``.
        model: the model.
        threads: at most so many.
        rows: of the batch.
        steps: of time.
        *arguments: arrays, each lying together; an array of structures; or None.

    Raises:
        MemoryError: there is not enough memory.
    """
    given = [one.ctypes.data if isinstance(one, np.ndarray) else one for one in arguments]
    if getattr(_typed(), f"escriba_counts_{name}")(ctypes.byref(model), threads, rows, steps, *given) == NO_MEMORY:
        raise MemoryError(f"escriba_counts_{name}")
