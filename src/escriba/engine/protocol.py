"""What every engine can do (start, step, advance, feed, write) and the laws that it keeps.

It knows no framework and no cell: only ids, logits and states as NumPy arrays.

Shapes: B batch, T time, V vocabulary, H hidden.

The laws, held over all engines by one set of tests:

- `advance` is `step` folded over time, from any state, at any split of the sequence.
- A state is a value: no call changes a state that it was given.
- Rows of a batch do not know each other. In the reference engine a row's logits are the same bit for bit in every batch size and
  thread count; the PyTorch engine is exempt from the bits, for its matrix products depend on both.
- `write` gives, for the same uniforms, the ids of the default here.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from escriba.engine.sampling import Sampling, choose, log_softmax
from escriba.errors import SettingsError
from escriba.language import tr

__all__ = ["Array", "Engine", "Floats", "Ids", "Reading", "State", "join_states", "reading_of", "state_rows", "time_chunk"]

Array = npt.NDArray[np.floating]
"""Real numbers in the engine's own precision."""
Floats = npt.NDArray[np.float64]
"""Log-probabilities and uniforms."""
Ids = npt.NDArray[np.int64]
"""Integer ids of symbols, 0 to vocab_size - 1."""
State = tuple[tuple[npt.NDArray[Any], ...], ...]
"""Layer by layer the arrays of its state; axis 0 of every array is the batch."""

_LOGITS_PER_CHUNK = 2**19
"""Numbers in the logits of one chunk of `feed`, and of what scores: 4 MiB in float64, far under the 64 MB that must never be passed."""


class Reading(NamedTuple):
    """How likely symbols were where they stand, after `Engine.read`.

    Attributes:
        log_probs: of each symbol, nats, float64, (B, T).
        ranks: each symbol's place among all, the likeliest is 1, the lower id first among equals, int64, (B, T); None: not asked for.
        top_ids: the likeliest symbols at each place, the likeliest first, int64, (B, T, K); None: not asked for.
        top_log_probs: their log-probabilities, nats, float64, (B, T, K); None: not asked for.
    """

    log_probs: Floats
    ranks: Ids | None = None
    top_ids: Ids | None = None
    top_log_probs: Floats | None = None

    @classmethod
    def joined(cls, parts: Sequence[Reading]) -> Reading:
        """One reading of several that follow one another in time.

        Args:
            parts: one or more, of the same rows, in which the same was asked for.
        """
        columns = [None if column[0] is None else np.concatenate(column, axis=1) for column in zip(*parts, strict=True)]
        return cls(*columns)  # type: ignore[arg-type]

    @classmethod
    def beside(cls, parts: Sequence[Reading]) -> Reading:
        """One reading of several of other rows, in their order.

        Args:
            parts: one or more, of the same length in time, in which the same was asked for.
        """
        columns = [None if column[0] is None else np.concatenate(column) for column in zip(*parts, strict=True)]
        return cls(*columns)  # type: ignore[arg-type]


class Engine(abc.ABC):
    """A model made to run. Engines hold weights and nothing else: what changes is in the states, which the caller carries.

    A new engine gives `vocab_size`, `initial_state` and `step`; the rest has a default made of these and may be done faster.
    """

    vocab_size: int
    """Symbols in the vocabulary, V."""
    precision: str = "float32"
    """Of the large products: "float32", "bf16" or "int8"; "float64" of an n-gram that counts."""

    @abc.abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """The state before anything was read.

        Args:
            batch_size: rows, 1 or more.
        """

    @abc.abstractmethod
    def step(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """Reads one symbol a row.

        Args:
            ids: integers of shape (B,), each 0 to V - 1.
            state: the state of B rows; it is not changed.

        Returns:
            The logits of the next symbol, (B, V), and the new state.

        Raises:
            SettingsError: an id outside the vocabulary, or rows that do not match the state's.
        """

    def advance(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """Reads T symbols a row.

        Args:
            ids: integers of shape (B, T), each 0 to V - 1, T at least 1.
            state: the state of B rows; it is not changed.

        Returns:
            The logits after each symbol, (B, T, V), and the state after the last.

        Raises:
            SettingsError: as for `step`.
        """
        ids_BT = self.checked_ids(ids, state, axes=2)
        logits = []
        for ids_B in ids_BT.T:
            logits_BV, state = self.step(ids_B, state)
            logits.append(logits_BV)
        return np.stack(logits, axis=1), state

    def feed(self, ids: npt.ArrayLike, state: State) -> State:
        """The state after T symbols a row, of which no logits are wanted: any T, 0 included, in chunks of bounded memory.

        Args:
            ids: integers of shape (B, T), each 0 to V - 1.
            state: the state of B rows; it is not changed.

        Raises:
            SettingsError: as for `step`.
        """
        ids_BT = self.checked_ids(ids, state, axes=2, least=0)
        chunk = time_chunk(len(ids_BT), self.vocab_size)
        for start in range(0, ids_BT.shape[1], chunk):
            _, state = self.advance(ids_BT[:, start : start + chunk], state)
        return state

    def read(self, ids: npt.ArrayLike, targets: npt.ArrayLike, state: State, *, ranks: bool = False, top: int = 0) -> tuple[Reading, State]:
        """How likely each of T symbols a row was to come, in pieces of bounded memory: `advance`, of which only that is kept.

        Args:
            ids: integers of shape (B, T): what is read, T at least 1.
            targets: integers of shape (B, T): what came after each.
            state: the state of B rows before `ids`; it is not changed.
            ranks: also each target's rank.
            top: also so many of the likeliest symbols at each place, at most V.

        Returns:
            What was found, and the state after `ids`.

        Raises:
            SettingsError: as for `step`.
        """
        ids_BT, targets_BT = self.checked_ids(ids, state, axes=2), self.checked_ids(targets, state, axes=2)
        rows = max(1, 4 * _LOGITS_PER_CHUNK // self.vocab_size)
        if len(ids_BT) > rows:  # one step's logits of all would be too many
            cuts = [slice(start, start + rows) for start in range(0, len(ids_BT), rows)]
            each = [state_rows(state, range(len(ids_BT))[cut]) for cut in cuts]
            read = [self.read(ids_BT[cut], targets_BT[cut], own, ranks=ranks, top=top) for cut, own in zip(cuts, each, strict=True)]
            return Reading.beside([one for one, _ in read]), join_states([after for _, after in read])
        chunk = time_chunk(len(ids_BT), self.vocab_size)
        parts = []
        for start in range(0, ids_BT.shape[1], chunk):
            logits_BTV, state = self.advance(ids_BT[:, start : start + chunk], state)
            parts.append(reading_of(logits_BTV, targets_BT[:, start : start + chunk], ranks=ranks, top=top))
        return Reading.joined(parts), state

    def write(self, ids: npt.ArrayLike, state: State, samplings: Sequence[Sampling], uniforms: npt.ArrayLike) -> tuple[Ids, Floats, State]:
        """Writes T symbols a row: step, filter, draw, T times. The last symbol drawn is not yet read: it begins the next call.

        Args:
            ids: integers of shape (B,): the last symbol of each row, not yet read.
            state: the state of B rows before `ids`; it is not changed.
            samplings: B ways to draw, one a row.
            uniforms: numbers in [0, 1) of shape (B, T), one for each draw.

        Returns:
            The ids drawn, (B, T); their log-probabilities in nats under the model itself (before bans, temperature and filters),
            float64 (B, T); and the state, which has read `ids` and all that was drawn but the last.

        Raises:
            SettingsError: as for `step`; or nothing is left to draw from.
        """
        ids_B, uniforms_BT = self.checked_draws(ids, state, samplings, uniforms)
        ids_BT = np.empty(uniforms_BT.shape, dtype=np.int64)
        log_probs_BT = np.empty(uniforms_BT.shape)
        for t in range(uniforms_BT.shape[1]):
            logits_BV, state = self.step(ids_B, state)
            ids_B, log_probs_BT[:, t] = choose(logits_BV, samplings, uniforms_BT[:, t])
            ids_BT[:, t] = ids_B
        return ids_BT, log_probs_BT, state

    def checked_ids(self, ids: npt.ArrayLike, state: State, *, axes: int, least: int = 1) -> Ids:
        """Ids as an int64 array, once their kind, range, axes and rows are seen to be right.

        Args:
            ids: what was given.
            state: the state beside which they were given.
            axes: 1 for (B,), 2 for (B, T).
            least: smallest T.

        Raises:
            SettingsError: they are not.
        """
        array = np.asarray(ids)
        if array.size == 0 and array.dtype.kind == "f":  # NumPy's type for an empty list
            array = array.astype(np.int64)
        if array.dtype.kind not in "iu":
            raise SettingsError(tr("ids are of type {dtype}", dtype=array.dtype), expected=tr("integers"))
        if array.ndim != axes or (axes == 2 and array.shape[1] < least):
            raise SettingsError(
                tr("ids have the shape {shape}", shape=array.shape), expected=tr("(batch,)") if axes == 1 else tr("(batch, time)")
            )
        rows = _rows(state)
        if rows == 0:
            raise SettingsError(tr("batch_size is {batch_size}", batch_size=rows), expected=tr("1 or more"))
        if len(array) != rows:
            raise SettingsError(
                tr("there are ids for {rows} rows and a state of {state}", rows=len(array), state=rows),
                expected=tr("the same number of rows"),
            )
        if array.size and (array.min() < 0 or array.max() >= self.vocab_size):
            wrong = array[(array < 0) | (array >= self.vocab_size)].flat[0]
            raise SettingsError(tr("id {id} is not in the vocabulary", id=wrong), expected=tr("ids 0 to {last}", last=self.vocab_size - 1))
        return array.astype(np.int64, copy=False)

    def checked_targets(self, ids: npt.ArrayLike, targets: npt.ArrayLike, state: State) -> tuple[Ids, Ids]:
        """The ids and the targets given to `read`, both (B, T), once they are seen to fit together.

        Raises:
            SettingsError: they do not.
        """
        ids_BT, targets_BT = self.checked_ids(ids, state, axes=2), self.checked_ids(targets, state, axes=2)
        if ids_BT.shape != targets_BT.shape:
            raise SettingsError(
                tr("ids have the shape {shape}", shape=targets_BT.shape), expected=tr("the shape {shape}", shape=ids_BT.shape)
            )
        return ids_BT, targets_BT

    def checked_draws(self, ids: npt.ArrayLike, state: State, samplings: Sequence[Sampling], uniforms: npt.ArrayLike) -> tuple[Ids, Floats]:
        """The ids (B,) and the uniforms (B, T) given to `write`, once they are seen to fit together.

        Raises:
            SettingsError: they do not.
        """
        ids_B = self.checked_ids(ids, state, axes=1)
        uniforms_BT = np.asarray(uniforms, dtype=np.float64)
        if uniforms_BT.ndim != 2 or len(uniforms_BT) != len(ids_B) or len(samplings) != len(ids_B):
            raise SettingsError(
                tr(
                    "{rows} rows meet {samplings} samplings and uniforms of the shape {shape}",
                    rows=len(ids_B),
                    samplings=len(samplings),
                    shape=uniforms_BT.shape,
                ),
                expected=tr("one sampling and one row of uniforms for each row"),
            )
        if not ((uniforms_BT >= 0) & (uniforms_BT < 1)).all():
            raise SettingsError(tr("a uniform number is outside its range"), expected=tr("0 or more, and less than 1"))
        return ids_B, uniforms_BT


def _rows(state: State) -> int:
    """The rows of a state.

    Raises:
        SettingsError: it has no arrays.
    """
    if not state or not state[0] or np.ndim(state[0][0]) == 0:
        raise SettingsError(tr("the state is not of this model"), expected=tr("one that this engine gave"))
    return len(state[0][0])


def reading_of(logits: npt.ArrayLike, targets: Ids, *, ranks: bool = False, top: int = 0) -> Reading:
    """What `Engine.read` finds, from the logits of all its places.

    Args:
        logits: numbers of shape (B, T, V).
        targets: integers of shape (B, T).
        ranks: as there.
        top: as there.
    """
    log_probs_BTV = log_softmax(logits)
    met_BT1 = np.take_along_axis(log_probs_BTV, targets[..., None], axis=-1)
    ranks_BT = top_ids = top_log_probs = None
    if ranks:
        likelier = (log_probs_BTV > met_BT1).sum(-1)
        first_among_equals = ((log_probs_BTV == met_BT1) & (np.arange(log_probs_BTV.shape[-1]) < targets[..., None])).sum(-1)
        ranks_BT = 1 + likelier + first_among_equals
    if top:
        top_ids = np.argsort(-log_probs_BTV, axis=-1, kind="stable")[..., :top]
        top_log_probs = np.take_along_axis(log_probs_BTV, top_ids, axis=-1)
    return Reading(met_BT1[..., 0], ranks_BT, top_ids, top_log_probs)


def time_chunk(batch_size: int, vocab_size: int) -> int:
    """How many steps of time to advance at once, so that the logits stay within a few megabytes."""
    return max(1, _LOGITS_PER_CHUNK // max(1, batch_size * vocab_size))


def state_rows(state: State, rows: npt.ArrayLike) -> State:
    """Some rows of a state, in the order asked for; a row may be asked for more than once.

    Args:
        state: a state of B rows.
        rows: integers, each 0 to B - 1.
    """
    index = np.asarray(rows, dtype=np.int64)
    return tuple(tuple(array[index] for array in layer) for layer in state)


def join_states(states: Sequence[State]) -> State:
    """One state of all the rows of several, in their order.

    Args:
        states: one or more states of the same engine.
    """
    layers = zip(*states, strict=True)
    return tuple(tuple(np.concatenate(arrays) for arrays in zip(*layer, strict=True)) for layer in layers)
