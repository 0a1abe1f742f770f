"""Matrices in fewer bits: int8 with a scale a row, and bfloat16.

It knows nothing of files and models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_INT8", "bf16_bits", "dequantized", "from_bf16", "quantized"]

Floats = npt.NDArray[np.float32]

MOST_INT8 = 127
"""The largest of the whole numbers, with either sign."""


def quantized(matrix: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """A matrix as whole numbers from -127 to 127, and the scale of each row: max|w| / 127, 0 for a row of zeros.

    What `dequantized` makes of them gives the very same numbers and scales again.

    Args:
        matrix: finite numbers, with two axes.
    """
    scales = np.abs(matrix).max(axis=1, initial=0.0).astype(np.float32) / np.float32(MOST_INT8)
    whole = np.rint(matrix / np.where(scales > 0, scales, np.float32(1))[:, None])
    return np.clip(whole, -MOST_INT8, MOST_INT8).astype(np.int8), scales


def dequantized(whole: npt.NDArray[np.int8], scales: Floats) -> Floats:
    """The matrix for which whole numbers and scales stand."""
    return whole.astype(np.float32) * scales[:, None]


def bf16_bits(array: Floats) -> npt.NDArray[np.uint16]:
    """Finite numbers as bfloat16, which is the upper half of a float32's bits: to the nearest, halfway to the even one."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def from_bf16(bits: npt.NDArray[Any]) -> Floats:
    """The numbers of bfloat16."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
