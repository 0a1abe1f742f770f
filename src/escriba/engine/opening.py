"""The engine that runs a model: by its cell, by the precision that is asked for, and by what this machine has.

It does not know how any engine works, nor where the weights came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from escriba.errors import SettingsError, near_name
from escriba.language import tr

if TYPE_CHECKING:
    import numpy as np

    from escriba.engine.protocol import Engine
    from escriba.settings import ModelSettings

__all__ = ["PRECISIONS", "checked_precision", "checked_threads", "engine_of", "has_native"]

PRECISIONS = ("auto", "float32", "bf16", "int8")
"""What may be asked for; auto is the fastest that there is for the work."""

MOST_THREADS = 1024
_NOT_NATIVE: tuple[str, ...] = ()
"""Cells that run with NumPy alone."""


def engine_of(
    settings: ModelSettings,
    vocab_size: int,
    weights: Mapping[str, np.ndarray],
    precision: str = "float32",
    threads: int | None = None,
) -> Engine:
    """An engine that runs without PyTorch: the native one, or where there are no native kernels the textbook's, with NumPy.

    Args:
        settings: the shape of the model.
        vocab_size: symbols in its vocabulary.
        weights: its arrays by the names of `weights.py`.
        precision: of the large products: "float32", "bf16" or "int8"; "auto": int8 where there are native kernels, else float32.
            An n-gram that counts has none, and is the same in each.
        threads: of the processor, for the native kernels; None: as many as there is use for.

    Raises:
        CheckpointError, SettingsError: the arrays are not those of such a model; a precision that needs the native kernels without them.
    """
    precision, threads = checked_precision(precision, settings), checked_threads(threads)
    native = has_native(settings)
    if settings.cell == "counts":
        if native:
            from escriba.engine.native_counts import NativeCounts

            return NativeCounts(settings, vocab_size, weights, threads=threads)
        from escriba.engine.counts import CountsEngine

        return CountsEngine(settings, vocab_size, weights)
    if native:
        from escriba.engine.native import NativeEngine

        return NativeEngine(settings, vocab_size, weights, precision="int8" if precision == "auto" else precision, threads=threads)
    from escriba.engine.reference import ReferenceEngine

    return ReferenceEngine(settings, weights)


def has_native(settings: ModelSettings) -> bool:
    """Whether there are native kernels here for such a model."""
    from escriba import _native

    return settings.cell not in _NOT_NATIVE and _native.library() is not None


def checked_precision(value: object, settings: ModelSettings | None = None) -> str:
    """A precision that may be asked for.

    Args:
        value: what was given.
        settings: of the model that is to run in it; None: only the word is looked at.

    Raises:
        SettingsError: it is none, or needs native kernels that are not here.
    """
    if not isinstance(value, str) or value not in PRECISIONS:
        near = near_name(value, PRECISIONS) if isinstance(value, str) else None
        raise SettingsError(
            tr("precision is {precision!r}", precision=value),
            expected=tr("one of {names}", names=", ".join(PRECISIONS)),
            hint=near and tr("did you mean {near!r}?", near=near),
        )
    if settings is None or value in ("auto", "float32") or settings.cell == "counts" or has_native(settings):
        return value
    if settings.cell in _NOT_NATIVE:
        raise SettingsError(
            tr("precision is {precision}, for which the cell {cell} has no native kernels", precision=value, cell=settings.cell),
            expected=tr("auto or float32"),
        )
    from escriba import _native

    raise SettingsError(
        tr("precision is {precision}, which needs the native kernels: {why}", precision=value, why=_native.why_missing()),
        expected=tr("auto or float32"),
        hint=tr("escriba doctor says how to get them"),
    )


def checked_threads(value: object) -> int | None:
    """A number of threads, or None for as many as there is use for.

    Raises:
        SettingsError: it is something else.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_THREADS):
        return value
    raise SettingsError(
        tr("{name} is {value!r}", name="threads", value=value), expected=tr("a whole number, 1 to {most:,}", most=MOST_THREADS)
    )
