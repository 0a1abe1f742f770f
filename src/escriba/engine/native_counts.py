"""The n-gram that counts, run by the native code on the arrays that the reference made: the same numbers, without Python between symbols.

It knows nothing of how they were counted, nor of what the library does inside.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from escriba._native import counts as library
from escriba._native import usable_threads
from escriba.engine.counts import CountsEngine
from escriba.engine.draws import native_draws
from escriba.engine.protocol import Array, Floats, Ids, Reading, State
from escriba.engine.sampling import Sampling
from escriba.settings import ModelSettings

__all__ = ["NativeCounts"]

SYMBOLS_A_THREAD = 500
"""Fewer symbols are done by one thread: to begin another takes as long."""


class NativeCounts(CountsEngine):
    """An n-gram that counts, run natively. It is never changed: many threads may use it at once, also after a fork.

    Args:
        settings: the model's; `order` is used.
        vocab_size: symbols in the vocabulary.
        weights: as for `CountsEngine`.
        threads: the rows of a batch are parted among so many; None: as many as are of use.

    Raises:
        CheckpointError: the arrays are not those of a model that counts.
    """

    def __init__(self, settings: ModelSettings, vocab_size: int, weights: Mapping[str, np.ndarray], *, threads: int | None = None) -> None:
        super().__init__(settings, vocab_size, weights)
        self.threads = threads or usable_threads()
        grams = self.ngrams
        whole = {"symbols": grams.symbols, "children": grams.children, "suffix": grams.suffix}
        real = {"gamma": self.gamma, "share": self.share, "prob": self.prob, "root": self._root_V}
        self._arrays: dict[str, npt.NDArray[np.generic]] = {
            **{name: np.ascontiguousarray(array, np.int64) for name, array in whole.items()},
            **{name: np.ascontiguousarray(array, np.float64) for name, array in real.items()},
        }

    def step(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """As every engine's; the logits are log-probabilities."""
        ids_B = self.checked_ids(ids, state, axes=1)
        logits_BTV, after = self._advanced(ids_B[:, None], state)
        return logits_BTV[:, 0], after

    def advance(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """As every engine's: the very numbers of `step`."""
        return self._advanced(self.checked_ids(ids, state, axes=2), state)

    def _advanced(self, ids_BT: Ids, state: State) -> tuple[Array, State]:
        """The log-probabilities after each symbol, (B, T, V), and the state after the last."""
        log_probs_BTV, after_B = np.empty((*ids_BT.shape, self.vocab_size)), np.empty(len(ids_BT), np.int64)
        self._call("advance", ids_BT.shape, np.ascontiguousarray(ids_BT), self._nodes(state), after_B, log_probs_BTV)
        return log_probs_BTV, ((after_B,),)

    def read(self, ids: npt.ArrayLike, targets: npt.ArrayLike, state: State, *, ranks: bool = False, top: int = 0) -> tuple[Reading, State]:
        """As every engine's; where neither ranks nor the likeliest are asked for, only the targets' n-grams are looked up."""
        if ranks or top:
            return super().read(ids, targets, state, ranks=ranks, top=top)
        ids_BT, targets_BT = self.checked_targets(ids, targets, state)
        log_probs_BT, after_B = np.empty(ids_BT.shape), np.empty(len(ids_BT), np.int64)
        given = (np.ascontiguousarray(ids_BT), np.ascontiguousarray(targets_BT), self._nodes(state))
        self._call("read", ids_BT.shape, *given, after_B, log_probs_BT)
        return Reading(log_probs_BT), ((after_B,),)

    def write(self, ids: npt.ArrayLike, state: State, samplings: Sequence[Sampling], uniforms: npt.ArrayLike) -> tuple[Ids, Floats, State]:
        """T symbols a row: step, filter and draw in one loop. See `Engine.write`."""
        ids_B, uniforms_BT = self.checked_draws(ids, state, samplings, uniforms)
        draws, kept = native_draws(samplings, self.vocab_size)
        written_BT, log_probs_BT = np.empty(uniforms_BT.shape, np.int64), np.empty(uniforms_BT.shape)
        after_B = np.empty(len(ids_B), np.int64)
        given = (np.ascontiguousarray(ids_B), draws, np.ascontiguousarray(uniforms_BT), self._nodes(state))
        self._call("write", uniforms_BT.shape, *given, after_B, written_BT, log_probs_BT)
        del kept  # the banned ids, which the library has read until here
        if uniforms_BT.size and written_BT[:, 0].min() < 0:
            return super().write(ids, state, samplings, uniforms)  # it says what is wrong
        return written_BT, log_probs_BT, ((after_B,),)

    def _call(self, name: str, shape: tuple[int, ...], *arguments: object) -> None:
        """Runs a function of the library on all rows."""
        model = library.CountsModel.of(self.vocab_size, self._arrays)
        rows, steps = shape
        library.call(name, model, max(1, min(self.threads, rows * steps // SYMBOLS_A_THREAD)), rows, steps, *arguments)
