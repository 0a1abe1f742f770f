"""The engine in the library: a model that it holds, and the calls that run it.

It knows nothing of settings and checks nothing: addresses of arrays go in, as native/engine_calls.cpp says, and are written to.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from escriba._native import level_number, the_library

__all__ = ["ACTIVATIONS", "CELLS", "EVERYTHING_BANNED", "GOOD", "LOGITS_NOT_FINITE", "PRECISIONS", "Draw", "Held", "addresses"]

CELLS = {"rnn": 0, "gru": 1, "lstm": 2, "mingru": 3, "ngram": 4}
ACTIVATIONS = {"tanh": 0, "relu": 1, "sigmoid": 2}
PRECISIONS = {"float32": 0, "bf16": 1, "int8": 2}
GOOD, NO_MEMORY, LOGITS_NOT_FINITE, EVERYTHING_BANNED = range(4)

_Addresses = ctypes.Array[ctypes.c_void_p]


class Draw(ctypes.Structure):
    """How one row draws, in the order of native/sampling.h."""

    _fields_ = (
        ("temperature", ctypes.c_double),
        ("top_k", ctypes.c_int32),
        ("top_p", ctypes.c_double),
        ("min_p", ctypes.c_double),
        ("banned", ctypes.c_void_p),
        ("banned_count", ctypes.c_int32),
    )


def addresses(arrays: Sequence[npt.NDArray[np.generic]]) -> _Addresses:
    """Where some arrays lie; they must outlive the call."""
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))


@functools.cache
def _typed() -> ctypes.CDLL:
    """The library, with the types of its functions."""
    found = the_library()
    whole, place = ctypes.c_int64, ctypes.c_void_p
    call = [place, ctypes.c_int, ctypes.c_int, whole, whole]  # the model, threads, parting, rows, steps
    types = {
        "escriba_engine_make": (place, [ctypes.c_int, place, ctypes.c_int, place, place, whole]),
        "escriba_engine_free": (None, [place]),
        "escriba_engine_advance": (ctypes.c_int, [*call, place, place, place, place]),
        "escriba_engine_read": (ctypes.c_int, [*call, place, place, place, place, place, place]),
        "escriba_engine_write": (ctypes.c_int, [*call, place, place, place, place, place, place, place]),
    }
    for name, (given, taken) in types.items():
        function = getattr(found, name)  # unlike found[name] the same each time
        function.restype, function.argtypes = given, taken
    return found


class Held:
    """A model that the library holds until nobody has this any more. It is never changed, so many threads may run it at once.

    Args:
        shape: the numbers of the model's shape, as escriba_engine_make takes them.
        tensors: its arrays by name, float32, each row lying together.
        table_bytes: the largest table of input products that is made beforehand.
        level: of the processor, by name; None: the one that is used.

    Attributes:
        parting: how the work is parted among threads: 0 as costs least; 1 by units and 2 by rows, whatever it costs, for tests.

    Raises:
        MemoryError: there is not enough memory.
        EscribaError: the level is not here.
    """

    def __init__(self, shape: Sequence[int], tensors: Mapping[str, npt.NDArray[np.float32]], table_bytes: int, level: str | None) -> None:
        names = (ctypes.c_char_p * len(tensors))(*(name.encode() for name in tensors))
        data = addresses(list(tensors.values()))
        made = _typed().escriba_engine_make(
            level_number(level), (ctypes.c_int32 * len(shape))(*shape), len(tensors), names, data, table_bytes
        )
        if not made:
            raise MemoryError("escriba_engine_make")
        self._model = made
        self.parting = 0
        weakref.finalize(self, _typed().escriba_engine_free, made)

    def call(self, name: str, threads: int, rows: int, steps: int, *arguments: object) -> int:
        """Runs one of the library's functions on the model.

        Args:
            name: what follows ``escriba_engine_``.
            threads: at most so many.
            rows: of the batch.
            steps: of time.
            *arguments: arrays, each row lying together; what `addresses` gave; or None.

        Returns:
            GOOD, LOGITS_NOT_FINITE or EVERYTHING_BANNED.

        Raises:
            MemoryError: there is not enough memory.
        """
        given = [one.ctypes.data if isinstance(one, np.ndarray) else one for one in arguments]
        status = int(getattr(_typed(), f"escriba_engine_{name}")(self._model, threads, self.parting, rows, steps, *given))
        if status == NO_MEMORY:
            raise MemoryError(f"escriba_engine_{name}")
        return status
