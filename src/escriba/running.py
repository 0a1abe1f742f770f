"""The engines of one model: each made when it is first wanted, in the precision that the work asks for, and kept.

It does not know what the work is: writing may be rounded, what is measured is exact unless a person asks otherwise.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from escriba.engine.opening import checked_precision, checked_threads, engine_of, has_native
from escriba.weights import count_parameters

if TYPE_CHECKING:
    from escriba.engine.protocol import Engine
    from escriba.settings import ModelSettings

__all__ = ["Engines", "Together"]

_PARAMETERS_OF_A_STEP = 300_000
"""Parameters whose products take NumPy as long as it takes for a step whatever there is to multiply."""

_LONG_WORK = 4e10
"""Symbols times parameters that NumPy reads in about three seconds, in which PyTorch is loaded and has read some of it."""


class _Building:
    """Who makes an engine holds the lock: one for all models, so that a model can be pickled, and is made anew in a forked process."""

    lock = threading.Lock()


def _lock_anew() -> None:
    _Building.lock = threading.Lock()  # the thread that held the old one is not there any more


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lock_anew)


class Engines:
    """The engines of a model whose weights do not change any more.

    Many threads may ask for them at once. See `of` for a model that has only one.

    Args:
        settings: the shape of the model.
        vocab_size: symbols in its vocabulary.
        weights: its arrays by the names of `weights.py`.
        precision: in which it runs; "auto": the fastest for writing, float32 for what is measured.
        threads: of the processor; None: as many as there is use for.

    Raises:
        SettingsError: the precision or the threads are none, or it needs native kernels that are not here.
    """

    def __init__(
        self,
        settings: ModelSettings,
        vocab_size: int,
        weights: Mapping[str, Any],
        *,
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self.precision, self.threads = checked_precision(precision, settings), checked_threads(threads)
        self._settings, self._weights = settings, weights
        self._only: Engine | None = None
        self._made: dict[str, Engine] = {}

    @classmethod
    def of(cls, engine: Engine) -> Engines:
        """A model's only engine, whatever is asked of it: one of a caller's own, or a network that may still learn."""
        found = cls.__new__(cls)
        found.vocab_size, found.precision, found.threads = engine.vocab_size, "auto", None
        found._only = engine
        return found

    def exact(self) -> Engine:
        """For what is measured: float32, unless another precision was asked for."""
        return self._only or self._in("float32" if self.precision == "auto" else self.precision)

    def writing(self) -> Engine:
        """For what is written: the fastest, unless a precision was asked for."""
        if self._only is not None or self.precision != "auto":
            return self.exact()
        return self._in("int8" if self._settings.cell != "counts" and has_native(self._settings) else "float32")

    def reading(self, symbols: int) -> Engine:
        """For reading so many symbols exactly: PyTorch's where NumPy's would take many seconds and PyTorch is installed.

        Args:
            symbols: how many symbols, or about as many characters, will be read.
        """
        if self.is_long(symbols) and not has_native(self._settings):
            with contextlib.suppress(ImportError):  # no PyTorch: the own engine does it, only slower
                return self._in("torch")
        return self.exact()

    def is_long(self, symbols: int) -> bool:
        """Whether so many symbols would take NumPy many seconds; a model of which only the engine is known takes none."""
        if self._only is not None or self._settings.cell == "counts":
            return False
        return symbols * (count_parameters(self._settings, self.vocab_size) + _PARAMETERS_OF_A_STEP) > _LONG_WORK

    def _in(self, kind: str) -> Engine:
        """The engine of a precision, or PyTorch's, made once."""
        found = self._made.get(kind)
        if found is None:
            with _Building.lock:
                found = self._made.get(kind)
                if found is None:
                    found = self._made[kind] = self._torch() if kind == "torch" else self._own(kind)
        return found

    def _own(self, precision: str) -> Engine:
        return engine_of(self._settings, self.vocab_size, self._weights, precision, self.threads)

    def _torch(self) -> Engine:
        from escriba.engine.torch import TorchEngine
        from escriba.model.language_model import LanguageModel

        net = LanguageModel(self.vocab_size, self._settings)
        net.set_weights(dict(self._weights))
        return TorchEngine(net, threads=self.threads)

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self._only is not None:
            return Engines.of, (self._only,)
        return _again, (self._settings, self.vocab_size, dict(self._weights), self.precision, self.threads)


def _again(settings: ModelSettings, vocab_size: int, weights: Mapping[str, Any], precision: str, threads: int | None) -> Engines:
    """Engines that were pickled: made anew where they are wanted, for native memory does not travel."""
    return Engines(settings, vocab_size, weights, precision=precision, threads=threads)


class Together(Engines):
    """The engines of several models, whose probabilities are averaged: each member runs as the work asks of it.

    Args:
        members: the engines of each model, one or more, of the same symbols.
    """

    def __init__(self, members: Sequence[Engines]) -> None:
        self.members = tuple(members)
        self.vocab_size, self.precision, self.threads = members[0].vocab_size, members[0].precision, members[0].threads
        self._only = None

    def exact(self) -> Engine:
        """See `Engines.exact`."""
        return _mixture([one.exact() for one in self.members])

    def writing(self) -> Engine:
        """See `Engines.writing`."""
        return _mixture([one.writing() for one in self.members])

    def reading(self, symbols: int) -> Engine:
        """See `Engines.reading`."""
        return _mixture([one.reading(symbols) for one in self.members])

    def is_long(self, symbols: int) -> bool:
        """See `Engines.is_long`."""
        return any(one.is_long(symbols) for one in self.members)

    def __reduce__(self) -> str | tuple[Any, ...]:
        return Together, (self.members,)


def _mixture(members: Sequence[Engine]) -> Engine:
    from escriba.engine.mixture import Mixture

    return Mixture(members)
