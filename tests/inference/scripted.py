"""An engine that recites: after k symbols read it is all but certain of the k-th of a given list. For tests of what is written when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from escriba.engine.protocol import Array, Engine, State


class ScriptedEngine(Engine):
    """Recites ids whatever it reads, again and again, and counts the symbols that it reads.

    Args:
        vocab_size: V.
        script: the ids; the first is recited after one symbol was read.
    """

    def __init__(self, vocab_size: int, script: Sequence[int]) -> None:
        self.vocab_size = vocab_size
        self.script = list(script)
        self.rows_read = 0

    def initial_state(self, batch_size: int) -> State:
        """Nothing read yet."""
        return ((np.zeros((batch_size, 1)),),)

    def step(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """The state is how many symbols were read."""
        ids_B = self.checked_ids(ids, state, axes=1)
        self.rows_read += len(ids_B)
        at = state[0][0][:, 0].astype(int)
        logits = np.zeros((len(at), self.vocab_size))
        for row, position in enumerate(at):
            logits[row, self.script[position % len(self.script)]] = 50.0
        return logits, ((state[0][0] + 1,),)
