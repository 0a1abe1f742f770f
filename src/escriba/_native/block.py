"""The residual block's elementwise work in learning, as the library does it: its records, and the call that hands one over.

It knows nothing of tensors or gradients: addresses go in, and are written to. What each field says stands in native/train_block.h.
"""

from __future__ import annotations

import ctypes
from typing import Any

from escriba._native import level_number, library

__all__ = ["ROWS_A_TASK", "TIMES_A_MARK", "AddNorm", "CausalConv", "Drop", "Gate", "GatedScan", "Record", "add_up", "work"]

ROWS_A_TASK = 64
TIMES_A_MARK = 16

Field = tuple[str, Any]


def _wholes(*names: str) -> list[Field]:
    return [(name, ctypes.c_int64) for name in names]


def _arrays(*names: str) -> list[Field]:
    return [(name, ctypes.c_void_p) for name in names]


CHANCE: list[Field] = [("seed", ctypes.c_uint64), ("share", ctypes.c_double)]


class AddNorm(ctypes.Structure):
    """A branch added to the stream, and the norm of the sum."""

    _fields_ = (
        *_wholes("bf16", "rows", "width"),
        *CHANCE,
        *_arrays("x", "branch", "weight", "sum", "normed", "inverse"),
        *_arrays("d_sum", "d_normed", "d_x", "d_branch", "d_parts"),
    )


class CausalConv(ctypes.Structure):
    """A convolution of each unit over time."""

    _fields_ = (
        *_wholes("bf16", "rows", "times", "width", "taps"),
        *_arrays("v"),
        *_wholes("v_row", "v_time"),
        *_arrays("tail", "weight", "bias", "c", "d_c", "d_v"),
        *_wholes("d_v_row", "d_v_time"),
        *_arrays("d_tail", "d_parts"),
    )


class GatedScan(ctypes.Structure):
    """The recurrence of mingru with the gate after it."""

    _fields_ = (
        *_wholes("bf16", "rows", "times", "width"),
        *_arrays("p"),
        *_wholes("p_row", "p_time"),
        *_arrays("bias", "start", "g"),
        *_wholes("g_row", "g_time"),
        *_arrays("y", "last", "marks", "d_y", "d_last", "d_p", "d_start", "d_g"),
        *_wholes("d_g_row", "d_g_time"),
        *_arrays("d_parts"),
    )


class Gate(ctypes.Structure):
    """A product with silu of a gate."""

    _fields_ = (
        *_wholes("bf16", "rows", "width"),
        *_arrays("a"),
        *_wholes("a_row"),
        *_arrays("g"),
        *_wholes("g_row"),
        *_arrays("y", "d_y", "d_a"),
        *_wholes("d_a_row"),
        *_arrays("d_g"),
        *_wholes("d_g_row"),
    )


class Drop(ctypes.Structure):
    """Numbers of which a share is dropped."""

    _fields_ = (*_wholes("bf16", "rows", "width"), *CHANCE, *_arrays("x", "y"))


Record = AddNorm | CausalConv | GatedScan | Gate | Drop


def work(name: str, record: Record, *, doubles: bool, threads: int) -> None:
    """Does one piece of work.

    Args:
        name: of the function, without "escriba_block_".
        record: what it reads and where it writes.
        doubles: real numbers are float64, and not float32.
        threads: the most that it may use.
    """
    _library()[f"escriba_block_{name}"](level_number(), int(doubles), threads, ctypes.byref(record))


def add_up(parts: int, many: int, width: int, total: int, *, doubles: bool) -> None:
    """The sum of `many` rows of real numbers, in their order; addresses."""
    _library().escriba_block_add_up(
        int(doubles), ctypes.c_void_p(parts), ctypes.c_int64(many), ctypes.c_int64(width), ctypes.c_void_p(total)
    )


def _library() -> ctypes.CDLL:
    found = library()
    assert found is not None, "whoever calls asks first whether there is a library"
    return found
