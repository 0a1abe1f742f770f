"""One long stream read in several lanes at once: what lies before a lane is read first, unscored, so that its state is warm.

It knows nothing of what is made of the likelihoods, nor whether the text was learnt.

Shapes: B lanes, T time, N symbols.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from escriba.engine.protocol import Engine, Floats, Ids, State, join_states

__all__ = ["LANES", "WARM_UP", "read_in_lanes"]

LANES = 16
WARM_UP = 512
"""Symbols that every lane but the first reads before it is scored: the stream's own loss to about a thousandth of a nat."""


def read_in_lanes(engine: Engine, ids_N: Ids, lanes: int, chunk: int, warm_up: int = WARM_UP) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Reads a stream from its beginning, and tells how likely each symbol but the first was.

    Args:
        engine: what reads.
        ids_N: the stream, 2 symbols or more.
        lanes: how many parts of it are read at once, 1 or more; 1 is exact.
        chunk: symbols of a lane that are read at once.
        warm_up: symbols read before each lane but the first, which has nothing before it.

    Yields:
        The places in the stream of symbols that were scored, and their log-probabilities in nats: piece by piece, each place once.
    """
    targets = len(ids_N) - 1
    length = -(-targets // lanes)
    starts_B = np.arange(lanes) * length
    state: State = engine.initial_state(1)
    if lanes > 1:
        before_BT = ids_N[np.clip(starts_B[1:, None] + np.arange(-warm_up, 0), 0, targets)].astype(np.int64)
        state = join_states([state, engine.feed(before_BT, engine.initial_state(lanes - 1))])
    for begin in range(0, length, chunk):
        places_BT = starts_B[:, None] + np.arange(begin, min(begin + chunk, length))
        there_BT = places_BT < targets
        safe_BT = np.where(there_BT, places_BT, 0)
        reading, state = engine.read(ids_N[safe_BT].astype(np.int64), ids_N[safe_BT + 1].astype(np.int64), state)
        yield safe_BT[there_BT] + 1, reading.log_probs[there_BT]
