"""The loops over time of rnn, gru and lstm in learning, as the library does them: the record of a call, and PyTorch's threads lent to it.

It knows nothing of tensors or gradients: addresses go in, and are written to. What each field says stands in native/train_classic_loop.h.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

from escriba._native import level_number, library

__all__ = ["CELLS", "KEPT", "LANES", "NUMBERS", "ClassicCall", "backward", "forward", "lend_workers", "padded"]

LANES = 16
"""Units that are done at a time: hidden_size is a multiple of it."""
K_STEP = 64
CELLS = {"tanh": 0, "relu": 1, "sigmoid": 2, "gru": 3, "lstm": 4}
"""The cells by their numbers, rnn by its activation."""
KEPT = {"gru": 4, "lstm": 5}
"""Arrays that the way back needs of every step, beside the states."""
NUMBERS = {"float32": 0, "bfloat16": 1, "float64": 2}


def _wholes(names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_int64) for name in names.split()]


def _arrays(names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_void_p) for name in names.split()]


class ClassicCall(ctypes.Structure):
    """One call, in the order of native/train_classic_loop.h; what is not set is 0 or none."""

    _fields_ = (
        *_wholes("level cell numbers threads rows time hidden keep"),
        *_arrays("x"),
        *_wholes("x_row x_time"),
        *_arrays("ids"),
        *_wholes("ids_row ids_time"),
        *_arrays("weight bias first first_c last last_c states kept outputs"),
        *_wholes("output_row output_time"),
        *_arrays("d_outputs"),
        *_wholes("d_output_row d_output_time"),
        *_arrays("d_last d_last_c d_gates d_x"),
        *_wholes("d_x_row d_x_time"),
        *_arrays("d_table"),
        *_wholes("symbols"),
        *_arrays("d_bias d_first d_first_c"),
    )


def padded(columns: int) -> int:
    """How many numbers a row of states or of gates takes."""
    return -(-columns // K_STEP) * K_STEP


def forward(call: ClassicCall) -> None:
    """The loop forward: fills outputs, last, last_c, states and kept."""
    _run("escriba_classic_forward", call)


def backward(call: ClassicCall) -> None:
    """The loop backward: fills d_gates, d_x, d_table, d_bias, d_first and d_first_c."""
    _run("escriba_classic_backward", call)


def _run(name: str, call: ClassicCall) -> None:
    found = library()
    assert found is not None, "whoever calls asks first whether there is a library"
    call.level = level_number()
    if found[name](ctypes.byref(call)):
        raise MemoryError(name)


@functools.cache
def lend_workers(libraries: Path) -> bool:
    """Gives the library the OpenMP that PyTorch's own loops use, so that both share one team of threads; once.

    Args:
        libraries: the folder of PyTorch's libraries.

    Returns:
        Whether there is one; else the library begins threads of its own at every call.
    """
    found = library()
    if found is None:
        return False
    try:
        # a library's handle also finds what the library itself depends on: the very OpenMP that PyTorch uses, whatever its file is called
        torch = ctypes.CDLL(str(libraries / "libtorch_cpu.so"))
        functions = [ctypes.cast(torch[name], ctypes.c_void_p) for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")]
    except (OSError, AttributeError):
        return False
    found.escriba_set_workers(*functions)
    return True
