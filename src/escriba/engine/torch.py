"""Runs a live PyTorch model: the engine while a network learns, and on a GPU.

It does not know how the network learns, nor where its weights are kept.

Shapes: B batch, T time, V vocabulary.

Exempt from one law: PyTorch's matrix products may give other last bits in another batch size or thread count.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from escriba.engine.protocol import Array, Engine, Floats, Ids, Reading, State, join_states, state_rows
from escriba.engine.sampling import Sampling, choose, log_softmax
from escriba.errors import SettingsError
from escriba.language import tr
from escriba.model.language_model import LanguageModel, ModelState

__all__ = ["TorchEngine", "reading_of_logits", "state_to_numpy"]

_MOST_NUMBERS = 2**22
"""Numbers in the logits, or in the gates, of one piece of `read`: 16 MB in float32, far under the 64 MB that must never be passed."""


class _Turn:
    """Who changes a network's mode holds the lock: one for all networks, so that an engine can be copied and pickled."""

    lock = threading.Lock()


class TorchEngine(Engine):
    """A live `LanguageModel` behind the protocol of engines.

    It follows the network: what the network has learnt meanwhile shows in the next call. Nothing is learnt or dropped in a call, and
    the network's training mode is as it was before. Many threads may use one engine at once.

    Args:
        net: the network, on whatever device.
        threads: of the processor while it runs; None: as many as PyTorch has.
    """

    def __init__(self, net: LanguageModel, threads: int | None = None) -> None:
        self.net = net
        self.vocab_size = net.vocab_size
        self.threads = threads
        self._running_now = 0
        self._learning: list[torch.nn.Module] = []

    def initial_state(self, batch_size: int) -> State:
        """The network's own. See `Engine.initial_state`."""
        if batch_size < 1:
            raise SettingsError(tr("batch_size is {batch_size}", batch_size=batch_size), expected=tr("1 or more"))
        with self._running():
            return state_to_numpy(self.net.initial_state(batch_size))

    def step(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """One symbol a row. See `Engine.step`."""
        ids_B = self.checked_ids(ids, state, axes=1)
        with self._running():
            logits_BV, after = self.net.step(self._to_torch(ids_B), self._state_to_torch(state))
            return _to_numpy(logits_BV), state_to_numpy(after)

    def advance(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """T symbols a row. See `Engine.advance`."""
        ids_BT = self.checked_ids(ids, state, axes=2)
        with self._running():
            logits_BTV, after = self.net(self._to_torch(ids_BT), self._state_to_torch(state))
            return _to_numpy(logits_BTV), state_to_numpy(after)

    def feed(self, ids: npt.ArrayLike, state: State) -> State:
        """The state after T symbols a row; the logits stay in PyTorch. See `Engine.feed`."""
        ids_BT = self.checked_ids(ids, state, axes=2, least=0)
        with self._running():
            live, chunk = self._state_to_torch(state), self._chunk(len(ids_BT))
            for start in range(0, ids_BT.shape[1], chunk):
                _, live = self.net(self._to_torch(ids_BT[:, start : start + chunk]), live)
            return state_to_numpy(live)

    def _chunk(self, rows: int) -> int:
        """Symbols of so many rows that are read at once."""
        widest = max(self.vocab_size, max(4, 2 * (self.net.settings.mlp or 0)) * self.net.settings.hidden_size)
        return max(1, _MOST_NUMBERS // (rows * widest))

    def write(self, ids: npt.ArrayLike, state: State, samplings: Sequence[Sampling], uniforms: npt.ArrayLike) -> tuple[Ids, Floats, State]:
        """T symbols a row, with the state kept on the network's device meanwhile. See `Engine.write`."""
        ids_B, uniforms_BT = self.checked_draws(ids, state, samplings, uniforms)
        ids_BT = np.empty(uniforms_BT.shape, dtype=np.int64)
        log_probs_BT = np.empty(uniforms_BT.shape)
        with self._running():
            live = self._state_to_torch(state)
            for t in range(uniforms_BT.shape[1]):
                logits_BV, live = self.net.step(self._to_torch(ids_B), live)
                ids_B, log_probs_BT[:, t] = choose(_to_numpy(logits_BV), samplings, uniforms_BT[:, t])
                ids_BT[:, t] = ids_B
            return ids_BT, log_probs_BT, state_to_numpy(live)

    def read(self, ids: npt.ArrayLike, targets: npt.ArrayLike, state: State, *, ranks: bool = False, top: int = 0) -> tuple[Reading, State]:
        """T symbols a row, in pieces of time and rows; of the logits only what is asked for leaves PyTorch. See `Engine.read`."""
        ids_BT, targets_BT = self.checked_ids(ids, state, axes=2), self.checked_ids(targets, state, axes=2)
        rows = max(1, _MOST_NUMBERS // self.vocab_size)
        cuts = [slice(start, start + rows) for start in range(0, len(ids_BT), rows)]
        with self._running():
            read = [self._read_rows(ids_BT[cut], targets_BT[cut], state_rows(state, range(len(ids_BT))[cut]), ranks, top) for cut in cuts]
        return Reading.beside([one for one, _ in read]), join_states([after for _, after in read])

    def _read_rows(self, ids_BT: Ids, targets_BT: Ids, state: State, ranks: bool, top: int) -> tuple[Reading, State]:
        """`read` of rows that are few enough for one step's logits of all."""
        live, parts = self._state_to_torch(state), []
        chunk = self._chunk(len(ids_BT))
        for start in range(0, ids_BT.shape[1], chunk):
            logits_BTV, live = self.net(self._to_torch(ids_BT[:, start : start + chunk]), live)
            parts.append(reading_of_logits(logits_BTV, self._to_torch(targets_BT[:, start : start + chunk]), ranks, top))
        return Reading.joined(parts), state_to_numpy(live)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """No gradients, no dropout; afterwards every part of the network is in the mode in which it was, and PyTorch has its threads."""
        with _Turn.lock:  # of several threads the first one in changes the mode, and the last one out brings it back
            self._running_now += 1
            self._learning += [module for module in self.net.modules() if module.training]
            for module in self._learning:
                module.training = False
        threads = torch.get_num_threads()
        try:
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            with torch.inference_mode():
                yield
        finally:
            if self.threads is not None:
                torch.set_num_threads(threads)
            with _Turn.lock:
                self._running_now -= 1
                while not self._running_now and self._learning:
                    self._learning.pop().training = True

    def _to_torch(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        # A copy: PyTorch may neither share memory with a state that must stay as it is, nor wrap one that is read-only.
        return torch.tensor(array, device=self.net.output.weight.device)

    def _state_to_torch(self, state: State) -> ModelState:
        dtype = self.net.output.weight.dtype
        return tuple(tuple(self._to_torch(array).to(dtype) for array in layer) for layer in state)


def reading_of_logits(logits_BTV: torch.Tensor, targets_BT: torch.Tensor, ranks: bool, top: int) -> Reading:
    """`protocol.reading_of` in PyTorch, without an array of all log-probabilities."""
    logits_BTV = logits_BTV if logits_BTV.dtype == torch.float64 else logits_BTV.float()
    met_BT1 = logits_BTV.gather(-1, targets_BT[..., None])
    sum_BT1 = logits_BTV.logsumexp(-1, keepdim=True)
    if not torch.isfinite(sum_BT1).all():
        log_softmax(_to_numpy(logits_BTV))  # says in words that the model's numbers are not finite
    log_probs_BT = _to_numpy((met_BT1 - sum_BT1)[..., 0]).astype(np.float64)
    ranks_BT = top_ids = top_log_probs = None
    if ranks:
        lower_V = torch.arange(logits_BTV.shape[-1], device=targets_BT.device)
        before_BT = (logits_BTV > met_BT1).sum(-1) + ((logits_BTV == met_BT1) & (lower_V < targets_BT[..., None])).sum(-1)
        ranks_BT = (before_BT + 1).cpu().numpy()
    if top:
        ids_BTK = logits_BTV.argsort(stable=True, dim=-1, descending=True)[..., :top]
        top_ids = ids_BTK.cpu().numpy()
        top_log_probs = _to_numpy(logits_BTV.gather(-1, ids_BTK) - sum_BT1).astype(np.float64)
    return Reading(log_probs_BT, ranks_BT, top_ids, top_log_probs)


def _to_numpy(tensor: torch.Tensor) -> Array:
    """The tensor as an array of its own; precisions that NumPy lacks become float32."""
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    array: Array = tensor.cpu().numpy()
    return array


def state_to_numpy(state: ModelState) -> State:
    """A state of PyTorch's as engines hand it out."""
    return tuple(tuple(_to_numpy(tensor) for tensor in layer) for layer in state)
