"""The loops over time of rnn, gru and lstm in learning, as the library does them: the record of a call.

It knows nothing of tensors or gradients: addresses go in, and are written to. What each field says stands in native/train_classic_loop.h.
"""

from __future__ import annotations

import ctypes

from escriba._native import level_number
from escriba._native.records import arrays, function, wholes

__all__ = ["CELLS", "KEPT", "LANES", "NUMBERS", "ClassicCall", "backward", "forward", "padded"]

LANES = 16
"""Units that are done at a time: hidden_size is a multiple of it."""
K_STEP = 64
CELLS = {"tanh": 0, "relu": 1, "sigmoid": 2, "gru": 3, "lstm": 4}
"""The cells by their numbers, rnn by its activation."""
KEPT = {"gru": 4, "lstm": 5}
"""Arrays that the way back needs of every step, beside the states."""
NUMBERS = {"float32": 0, "bfloat16": 1, "float64": 2}


class ClassicCall(ctypes.Structure):
    """One call, in the order of native/train_classic_loop.h; what is not set is 0 or none."""

    _fields_ = (
        *wholes("level cell numbers threads rows time hidden keep"),
        *arrays("x"),
        *wholes("x_row x_time"),
        *arrays("ids"),
        *wholes("ids_row ids_time"),
        *arrays("weight bias first first_c last last_c states kept outputs"),
        *wholes("output_row output_time"),
        *arrays("d_outputs"),
        *wholes("d_output_row d_output_time"),
        *arrays("d_last d_last_c d_gates d_x"),
        *wholes("d_x_row d_x_time"),
        *arrays("d_table"),
        *wholes("symbols"),
        *arrays("d_bias d_first d_first_c"),
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
    call.level = level_number()
    if function(name)(ctypes.byref(call)):
        raise MemoryError(name)
