"""The residual block in learning, as the library does it, in pieces or a branch at a time: its records, and the calls that hand them over.

It knows nothing of tensors or gradients: addresses go in, and are written to. What each field says stands in native/train_block.h, of
`Mlp` and `Mixer` in native/train_mlp.h and train_mixer.h.
"""

from __future__ import annotations

import ctypes

from escriba._native import level_number
from escriba._native.records import CHANCE, arrays, call, function, wholes

__all__ = [
    "ROWS_A_TASK",
    "TIMES_A_MARK",
    "AddNorm",
    "CausalConv",
    "Drop",
    "Gate",
    "GatedScan",
    "Mixer",
    "Mlp",
    "Record",
    "add_up",
    "branches",
    "branches_room",
    "work",
]

ROWS_A_TASK = 64
TIMES_A_MARK = 16


class AddNorm(ctypes.Structure):
    """A branch added to the stream, and the norm of the sum."""

    _fields_ = (
        *wholes("bf16 rows width before"),
        *CHANCE,
        *arrays("x branch weight sum normed inverse"),
        *arrays("d_sum d_normed d_x d_branch d_parts"),
    )


class CausalConv(ctypes.Structure):
    """A convolution of each unit over time."""

    _fields_ = (
        *wholes("bf16 rows times width taps"),
        *arrays("v"),
        *wholes("v_row v_time"),
        *arrays("tail weight bias c d_c d_v"),
        *wholes("d_v_row d_v_time"),
        *arrays("d_tail d_parts"),
    )


class GatedScan(ctypes.Structure):
    """The recurrence of mingru with the gate after it."""

    _fields_ = (
        *wholes("bf16 rows times width"),
        *arrays("p"),
        *wholes("p_row p_time"),
        *arrays("bias start g"),
        *wholes("g_row g_time"),
        *arrays("y last marks d_y d_last d_p d_start d_g"),
        *wholes("d_g_row d_g_time"),
        *arrays("d_parts"),
    )


class Gate(ctypes.Structure):
    """A product with silu of a gate."""

    _fields_ = (
        *wholes("bf16 rows width"),
        *arrays("a"),
        *wholes("a_row"),
        *arrays("g"),
        *wholes("g_row"),
        *arrays("y d_y d_a"),
        *wholes("d_a_row"),
        *arrays("d_g"),
        *wholes("d_g_row"),
    )


class Drop(ctypes.Structure):
    """Numbers of which a share is dropped."""

    _fields_ = (*wholes("bf16 rows width"), *CHANCE, *arrays("x y"))


class Mlp(ctypes.Structure):
    """The second branch of a block, whole."""

    _fields_ = (
        *wholes("rows times width inner"),
        *CHANCE,
        *arrays("x branch norm up down sum m out"),
        *arrays("d_sum d_out d_x d_branch d_norm d_up d_down"),
    )


class Mixer(ctypes.Structure):
    """The first branch of a block with mingru, whole."""

    _fields_ = (
        *wholes("rows times width taps"),
        *CHANCE,
        *arrays("x branch norm in_ conv conv_bias tail ih bias start out_weight sum vg c p y marks last tail_after out"),
        *arrays("d_sum d_last d_tail_after d_out d_x d_branch d_norm d_in d_conv d_tail d_ih d_bias d_start d_out_weight"),
    )


Record = AddNorm | CausalConv | GatedScan | Gate | Drop


def work(name: str, record: Record, *, doubles: bool, threads: int) -> None:
    """Does one piece of work.

    Args:
        name: of the function, without "escriba_block_".
        record: what it reads and where it writes.
        doubles: real numbers are float64, and not float32.
        threads: the most that it may use.
    """
    call(f"escriba_block_{name}", record, int(doubles), threads)


def add_up(parts: int, many: int, width: int, total: int, *, doubles: bool) -> None:
    """The sum of `many` rows of real numbers, in their order; addresses."""
    addresses = ctypes.c_void_p(parts), ctypes.c_void_p(total)
    function("escriba_block_add_up")(int(doubles), addresses[0], ctypes.c_int64(many), ctypes.c_int64(width), addresses[1])


def branches_room(mixer: Mixer | None, mlp: Mlp | None, threads: int, *, backward: bool) -> int:
    """How many bytes of memory `branches` needs beside its arrays, at a multiple of 64."""
    size = ctypes.c_int64()
    function("escriba_branches_room")(threads, _reference(mixer), _reference(mlp), int(backward), ctypes.byref(size))
    return size.value


def branches(mixer: Mixer | None, mlp: Mlp | None, threads: int, room: int, *, backward: bool) -> None:
    """Does one branch, or the first and then the second, or their gradients.

    Args:
        mixer: the first branch, or None.
        mlp: the second, or None; after the first it needs no x, branch, d_x and d_branch, and the first no out and d_out.
        threads: the most that it may use.
        room: address of so many bytes as `branches_room` says.
        backward: the gradients.
    """
    function("escriba_branches")(level_number(), threads, _reference(mixer), _reference(mlp), int(backward), ctypes.c_void_p(room))


def _reference(record: ctypes.Structure | None) -> object:
    return None if record is None else ctypes.byref(record)
