"""Several models as one engine: at each place the probabilities that they give are averaged.

It knows nothing of what its members are, but that their symbols are the same.

Shapes: B batch, T time, V vocabulary, K members.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from escriba.engine.protocol import Array, Engine, State
from escriba.engine.sampling import log_softmax
from escriba.errors import SettingsError
from escriba.language import tr

__all__ = ["Mixture"]


class Mixture(Engine):
    """An ensemble: the mean of its members' probabilities, each weighing as much as the others. Its state is theirs, one after another.

    Probabilities are averaged, and not logits: where one member is sure and wrong, the others still leave something to what comes.

    Args:
        members: K engines of the same V symbols, one or more.

    Raises:
        SettingsError: there are none, or they have other numbers of symbols.
    """

    def __init__(self, members: Sequence[Engine]) -> None:
        self.members = tuple(members)
        sizes = sorted({one.vocab_size for one in self.members})
        if len(sizes) != 1:
            raise SettingsError(tr("engines of {sizes} symbols", sizes=sizes), expected=tr("one or more engines of the same symbols"))
        self.vocab_size = sizes[0]
        kinds = dict.fromkeys(one.precision for one in self.members)
        rounded = [one for one in kinds if one not in ("float32", "float64")]
        self.precision = ", ".join(rounded or ["float32"])
        self._layers = [len(one.initial_state(1)) for one in self.members]

    def initial_state(self, batch_size: int) -> State:
        """The states of all members. See `Engine.initial_state`."""
        return tuple(layer for one in self.members for layer in one.initial_state(batch_size))

    def step(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """One symbol a row. See `Engine.step`."""
        ids_B = self.checked_ids(ids, state, axes=1)
        return _mixed([one.step(ids_B, own) for one, own in zip(self.members, self._apart(state), strict=True)])

    def advance(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """T symbols a row. See `Engine.advance`."""
        ids_BT = self.checked_ids(ids, state, axes=2)
        return _mixed([one.advance(ids_BT, own) for one, own in zip(self.members, self._apart(state), strict=True)])

    def feed(self, ids: npt.ArrayLike, state: State) -> State:
        """The states after T symbols a row. See `Engine.feed`."""
        ids_BT = self.checked_ids(ids, state, axes=2, least=0)
        after = [one.feed(ids_BT, own) for one, own in zip(self.members, self._apart(state), strict=True)]
        return tuple(layer for own in after for layer in own)

    def _apart(self, state: State) -> list[State]:
        """The state of each member."""
        if len(state) != sum(self._layers):
            raise SettingsError(tr("the state is not of this model"), expected=tr("one that this engine gave"))
        ends = np.cumsum(self._layers)
        return [tuple(state[end - count : end]) for end, count in zip(ends, self._layers, strict=True)]


def _mixed(found: Sequence[tuple[Array, State]]) -> tuple[Array, State]:
    """The logarithm of the mean of the members' probabilities, and their states."""
    log_probs = functools.reduce(np.logaddexp, [log_softmax(logits) for logits, _ in found])
    return log_probs - np.log(len(found)), tuple(layer for _, state in found for layer in state)
