"""Runs a model with the package's own compiled code: the same equations as the reference engine's, many times as fast.

It checks all that it is given, for the compiled code checks nothing; it does not know how that is parted among levels and threads.

Shapes: B batch, T time, V vocabulary.

In float32 a row's logits are the same bit for bit in every batch size and with any number of threads, as in the reference, but not the
same bits as there. In bf16 and int8 the weights of the large products, and what enters them, are rounded: norms, biases, gates, the
table of the first layer's products and the logits stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from escriba import _native
from escriba._native import engine as library
from escriba.engine.draws import native_draws
from escriba.engine.protocol import Array, Engine, Floats, Ids, Reading, State, join_states, state_rows
from escriba.engine.sampling import Sampling, log_softmax
from escriba.errors import SettingsError
from escriba.language import tr
from escriba.settings import ModelSettings
from escriba.weights import checked_tensors, count_parameters, state_specs

__all__ = ["NativeEngine"]

_TABLE_BYTES = 2**26
"""Largest table of input products that is made beforehand; a larger vocabulary's products are made when they are needed."""
_MOST_THREADS = 16
"""More than these wait for one another longer than they work."""
_WORK_PER_CALL = 2e10
"""Multiplications in one call of the library, some tenths of a second: an interruption from the keyboard waits for its end."""
_ROWS_PER_CALL = 1024


class NativeEngine(Engine):
    """The compiled engine. It never changes, so many threads may use it at once; each call has its own memory and its own threads.

    Args:
        settings: the shape of the network.
        vocab_size: symbols in the vocabulary.
        weights: its tensors, named and shaped as `weights.tensor_specs` says.
        precision: of the large products, "float32", "bf16" or "int8" (a scale for each row of a matrix).
        threads: of the processor, at most; None: as many as it has, at most 16. Fewer are used where more would not pay.
        level: of the processor's instructions, of `_native.levels()`; None: the one that is used.

    Raises:
        SettingsError: a tensor is missing, superfluous, of another shape, or holds numbers that are not finite; the cell or the
            precision is not known here.
        EscribaError: there is no compiled code, or not of this level.
    """

    def __init__(
        self,
        settings: ModelSettings,
        vocab_size: int,
        weights: Mapping[str, npt.NDArray[np.generic]],
        *,
        precision: str = "float32",
        threads: int | None = None,
        level: str | None = None,
    ) -> None:
        if precision not in library.PRECISIONS:
            raise SettingsError(tr("precision is {precision!r}", precision=precision), expected=", ".join(library.PRECISIONS))
        if settings.cell not in library.CELLS:
            raise SettingsError(tr("the cell {cell} has no native form", cell=settings.cell), expected=", ".join(library.CELLS))
        if threads is not None and threads < 1:
            raise SettingsError(tr("{name} is {value!r}", name="threads", value=threads), expected=tr("1 or more"))
        _native.level()  # says in words where there is none
        self.settings, self.vocab_size, self.precision = settings, vocab_size, precision
        self.threads = min(_MOST_THREADS, _native.usable_threads() if threads is None else threads)
        self._specs = [[spec.size for spec in layer] for layer in state_specs(settings, vocab_size)]
        self._work = max(1, count_parameters(settings, vocab_size))
        self._held = library.Held(_shape(settings, vocab_size, precision), _checked(settings, vocab_size, weights), _TABLE_BYTES, level)

    def initial_state(self, batch_size: int) -> State:
        """Zeros. See `Engine.initial_state`."""
        if batch_size < 1:
            raise SettingsError(tr("batch_size is {batch_size}", batch_size=batch_size), expected=tr("1 or more"))
        return tuple(tuple(np.zeros((batch_size, size), np.float32) for size in layer) for layer in self._specs)

    def step(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """One symbol a row. See `Engine.step`."""
        ids_B = self.checked_ids(ids, state, axes=1)
        logits_BTV, after = self._advance(ids_B[:, None], state)
        return logits_BTV[:, 0], after

    def advance(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """T symbols a row. See `Engine.advance`."""
        return self._advance(self.checked_ids(ids, state, axes=2), state)

    def _advance(self, ids_BT: Ids, state: State) -> tuple[Array, State]:
        """`advance`, of checked ids."""
        logits_BTV = np.empty((*ids_BT.shape, self.vocab_size), np.float32)
        after = self._run("advance", ids_BT, state, logits_BTV)
        return logits_BTV, after

    def feed(self, ids: npt.ArrayLike, state: State) -> State:
        """T symbols a row, without the output's products. See `Engine.feed`."""
        ids_BT = self.checked_ids(ids, state, axes=2, least=0)
        for cut in self._cuts(*ids_BT.shape):
            state = self._run("advance", ids_BT[:, cut], state, None)
        return state

    def read(self, ids: npt.ArrayLike, targets: npt.ArrayLike, state: State, *, ranks: bool = False, top: int = 0) -> tuple[Reading, State]:
        """How likely each of T symbols a row was to come; the likeliest symbols by the default. See `Engine.read`."""
        if top:
            return super().read(ids, targets, state, ranks=ranks, top=top)
        ids_BT, targets_BT = self.checked_targets(ids, targets, state)
        parts = []
        for start in range(0, len(ids_BT), _ROWS_PER_CALL):
            rows = slice(start, start + _ROWS_PER_CALL)
            own = state if len(ids_BT) <= _ROWS_PER_CALL else state_rows(state, range(len(ids_BT))[rows])
            parts.append(self._read_rows(ids_BT[rows], targets_BT[rows], own, ranks))
        return Reading.beside([one for one, _ in parts]), join_states([after for _, after in parts])

    def _read_rows(self, ids_BT: Ids, targets_BT: Ids, state: State, ranks: bool) -> tuple[Reading, State]:
        """`read` of rows that one call may have."""
        parts = []
        for cut in self._cuts(*ids_BT.shape):
            log_probs_BT = np.empty(ids_BT[:, cut].shape)
            ranks_BT = np.empty(log_probs_BT.shape, np.int64) if ranks else None
            state = self._run("read", ids_BT[:, cut], state, log_probs_BT, ranks_BT, targets=targets_BT[:, cut])
            parts.append(Reading(log_probs_BT, ranks_BT))
        return Reading.joined(parts), state

    def write(self, ids: npt.ArrayLike, state: State, samplings: Sequence[Sampling], uniforms: npt.ArrayLike) -> tuple[Ids, Floats, State]:
        """T symbols a row: step, filter and draw in one loop. See `Engine.write`."""
        ids_B, uniforms_BT = self.checked_draws(ids, state, samplings, uniforms)
        draws, kept = native_draws(samplings, self.vocab_size)
        written_BT, log_probs_BT = np.empty(uniforms_BT.shape, np.int64), np.empty(uniforms_BT.shape)
        for cut in self._cuts(*uniforms_BT.shape):
            part_BT, part_log_probs_BT = np.empty(uniforms_BT[:, cut].shape, np.int64), np.empty(uniforms_BT[:, cut].shape)
            uniforms_cut = np.ascontiguousarray(uniforms_BT[:, cut])
            before, after = self._given(state), self._room(len(ids_B))
            states = library.addresses(before), library.addresses([one for layer in after for one in layer])
            arguments = (np.ascontiguousarray(ids_B), draws, uniforms_cut, *states, part_BT, part_log_probs_BT)
            _told(self._held.call("write", self.threads, len(ids_B), uniforms_cut.shape[1], *arguments))
            written_BT[:, cut], log_probs_BT[:, cut] = part_BT, part_log_probs_BT
            ids_B, state = part_BT[:, -1], after
        del kept  # the banned ids, which the library has read until here
        return written_BT, log_probs_BT, state

    def _run(self, name: str, ids_BT: Ids, state: State, *written: npt.NDArray[np.generic] | None, targets: Ids | None = None) -> State:
        """One call that reads ids; what it finds is written into the arrays that are given."""
        before, after = self._given(state), self._room(len(ids_BT))
        arguments: list[object] = [np.ascontiguousarray(ids_BT)]
        if targets is not None:
            arguments.append(np.ascontiguousarray(targets))
        arguments += [library.addresses(before), library.addresses([one for layer in after for one in layer])]
        _told(self._held.call(name, self.threads, len(ids_BT), ids_BT.shape[1], *arguments, *written))
        return after

    def _cuts(self, rows: int, steps: int) -> list[slice]:
        """The steps that are done in each call."""
        most = max(1, int(_WORK_PER_CALL / (self._work * rows)))
        return [slice(start, min(steps, start + most)) for start in range(0, steps, most)]

    def _given(self, state: State) -> list[npt.NDArray[np.float32]]:
        """The arrays of a state as the library reads them, once they are seen to be those of such a model.

        Raises:
            SettingsError: they are not.
            EscribaError: they hold numbers that are not finite.
        """
        rows = len(state[0][0])
        shapes = [[np.shape(array) for array in layer] for layer in state]
        if shapes != [[(rows, size) for size in layer] for layer in self._specs]:
            raise SettingsError(
                tr("a state has arrays of the shapes {shapes}", shapes=shapes),
                expected=tr("the state of this model: {shapes}", shapes=[[("B", size) for size in layer] for layer in self._specs]),
            )
        with np.errstate(over="ignore"):
            given = [np.ascontiguousarray(array, dtype=np.float32) for layer in state for array in layer]
        if not all(np.isfinite(array).all() for array in given):
            _told(library.LOGITS_NOT_FINITE)  # a relu or int8 could make numbers of them that only look right
        return given

    def _room(self, rows: int) -> tuple[tuple[npt.NDArray[np.float32], ...], ...]:
        """The arrays of a state that is to be written."""
        return tuple(tuple(np.empty((rows, size), np.float32) for size in layer) for layer in self._specs)


def _shape(settings: ModelSettings, vocab_size: int, precision: str) -> list[int]:
    """The shape of a model as the library takes it, in the order of native/engine_calls.cpp."""
    residual = settings.residual
    return [
        library.CELLS[settings.cell], library.ACTIVATIONS[settings.hidden_activation], settings.reset == "before", vocab_size,
        settings.embedding_dim or 0, settings.codes, settings.hidden_size, settings.num_layers, settings.tied, settings.window,
        residual, (settings.conv or 0) if residual else 0, (settings.mlp or 0) if residual else 0, library.PRECISIONS[precision],
    ]  # fmt: skip


def _checked(
    settings: ModelSettings, vocab_size: int, weights: Mapping[str, npt.NDArray[np.generic]]
) -> dict[str, npt.NDArray[np.float32]]:
    """The weights in float32, rows lying together, once names, shapes and numbers are seen to be right.

    Raises:
        SettingsError: they are not.
    """
    with np.errstate(over="ignore"):
        checked = checked_tensors(settings, vocab_size, weights, np.float32)
    for name, array in checked.items():
        if not np.isfinite(array).all():
            raise SettingsError(
                tr("the tensor {name!r} holds numbers that are not finite", name=name),
                expected=tr("finite weights"),
                hint=tr("its weights are damaged or its training diverged: train again, with a lower learning rate"),
            )
    return checked


def _told(status: int) -> None:
    """Says in words what went wrong in a call.

    Raises:
        EscribaError: the logits are not finite.
        SettingsError: every symbol is banned.
    """
    if status == library.LOGITS_NOT_FINITE:
        log_softmax(np.full((1, 1), np.nan))  # raises the error that all engines have
    if status == library.EVERYTHING_BANNED:
        raise SettingsError(tr("every symbol of the vocabulary is banned"), expected=tr("at least one symbol to draw from"))
