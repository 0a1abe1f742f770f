"""From logits to one symbol: bans, repeated runs, temperature, top-k, top-p, min-p, and one draw; pure functions in float64.

It knows nothing of models, states or random generators: the uniform numbers are given to it.

Shapes: B batch, V vocabulary, N symbols.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from escriba.errors import EscribaError, SettingsError
from escriba.language import tr
from escriba.settings import SampleSettings

__all__ = ["Sampling", "checked_banned", "choose", "draw", "filtered", "likeliest", "log_softmax", "repeats"]

_Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-12
"""Sums of probabilities this near to top_p have reached it."""


@dataclass(frozen=True)
class Sampling:
    """How one row draws its symbols.

    Attributes:
        temperature: 0 or more; 0 takes the likeliest, the lowest id among equals.
        top_k: draw from the k likeliest only, 1 or more; None: all.
        top_p: draw from the fewest whose probabilities reach p, in (0, 1]; None: all.
        min_p: leave out what is less likely than this share of the likeliest, in [0, 1]; None: nothing.
        banned: ids that are never drawn.

    Raises:
        SettingsError: a value out of its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    banned: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # SampleSettings holds the ranges: one truth for every face.
        SampleSettings(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p)

    @classmethod
    def of(cls, settings: SampleSettings, banned: Sequence[int] = ()) -> Sampling:
        """The sampling that a person's settings ask for, with the ids that must not be drawn.

        What depends on the text (`no_repeat`, `temperature_cycle`) is not in it: `inference.drawing` makes a sampling for each symbol.
        """
        return cls(settings.temperature, settings.top_k, settings.top_p, settings.min_p, tuple(int(one) for one in banned))


def checked_banned(sampling: Sampling, vocab_size: int) -> None:
    """Sees that what is banned could be drawn.

    Raises:
        SettingsError: a banned id is not in the vocabulary.
    """
    wrong = [one for one in sampling.banned if not 0 <= one < vocab_size]
    if wrong:
        raise SettingsError(tr("id {id} is banned", id=wrong[0]), expected=tr("ids 0 to {last}", last=vocab_size - 1))


def log_softmax(logits: npt.ArrayLike) -> _Floats:
    """Log-probabilities in nats, float64, over the last axis.

    Args:
        logits: numbers of shape (..., V).

    Raises:
        EscribaError: the logits are not finite: the weights are damaged, or training went astray.
    """
    logits_V = np.asarray(logits, dtype=np.float64)
    top = logits_V.max(axis=-1, keepdims=True)
    if not np.isfinite(top).all():
        raise EscribaError(
            tr("the model gives numbers that are not finite"),
            expected=tr("finite logits"),
            hint=tr("its weights are damaged or its training diverged: train again, with a lower learning rate"),
        )
    shifted = logits_V - top
    log_sum = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.asarray(shifted - log_sum, dtype=np.float64)


def filtered(logits: npt.ArrayLike, sampling: Sampling) -> _Floats:
    """The probabilities to draw from: what is banned goes first, then temperature, top_k, top_p and min_p, in this order.

    Each filter works on the probabilities that the ones before it left, made to sum to one again, and each keeps at least the
    likeliest symbol. Among equally likely symbols the lower ids are kept.

    Args:
        logits: numbers of shape (V,).
        sampling: how to draw.

    Returns:
        Probabilities of shape (V,), float64, which sum to one.

    Raises:
        SettingsError: every symbol is banned, or a banned id is not in the vocabulary.
        EscribaError: the logits are not finite.

    Source:
        top-k: Fan et al. 2018, "Hierarchical Neural Story Generation"; top-p: Holtzman et al. 2020, "The Curious Case of Neural Text
        Degeneration"; min-p: Nguyen et al. 2024, "Turning Up the Heat".
    """
    log_probs_V = log_softmax(logits)  # float64, and a copy
    if sampling.banned:
        checked_banned(sampling, len(log_probs_V))
        log_probs_V[list(sampling.banned)] = -np.inf
    top = float(log_probs_V.max())
    if top == -math.inf:
        raise SettingsError(tr("every symbol of the vocabulary is banned"), expected=tr("at least one symbol to draw from"))
    if sampling.temperature == 0.0:
        greedy_V = np.zeros_like(log_probs_V)
        greedy_V[int(np.argmax(log_probs_V))] = 1.0
        return greedy_V
    with np.errstate(over="ignore"):  # a very low temperature sends all but the likeliest to minus infinity, as it should
        probs_V = np.exp((log_probs_V - top) / sampling.temperature)
    probs_V /= probs_V.sum()
    if sampling.top_k is not None and sampling.top_k < len(probs_V):
        probs_V = _only(probs_V, likeliest(probs_V, sampling.top_k))
    if sampling.top_p is not None and sampling.top_p < 1.0:
        order = np.argsort(-probs_V, kind="stable")
        reached = int(np.searchsorted(np.cumsum(probs_V[order]), sampling.top_p - _ROUNDING))
        probs_V = _only(probs_V, order[: reached + 1])
    if sampling.min_p is not None:
        probs_V = _only(probs_V, np.flatnonzero(probs_V >= sampling.min_p * probs_V.max()))
    return probs_V


def likeliest(values: _Floats, k: int) -> npt.NDArray[np.intp]:
    """Where the k largest values stand, in no order; the first among equals. Not all are sorted.

    Args:
        values: numbers of shape (N,).
        k: 1 to N.
    """
    least = np.partition(values, -k)[-k]
    above = np.flatnonzero(values > least)
    return np.concatenate([above, np.flatnonzero(values == least)[: k - len(above)]])


def repeats(ids: npt.ArrayLike, run: int) -> npt.NDArray[np.int64]:
    """The symbols that would complete a run of symbols which already stands in a text, in ascending order, each once.

    Args:
        ids: the text so far, integers of shape (N,).
        run: how many symbols a run has, 2 or more.

    Source:
        Paulus, Xiong and Socher 2017, "A Deep Reinforced Model for Abstractive Summarization", section 2.5, of three words.
    """
    ids_N = np.asarray(ids, dtype=np.int64)
    if len(ids_N) < run:
        return np.empty(0, dtype=np.int64)
    last = len(ids_N) - 1
    ends = np.flatnonzero(ids_N[run - 2 : last] == ids_N[last]) + run - 2  # where the text's last run - 1 symbols stood before, too
    for back in range(1, run - 1):
        ends = ends[ids_N[ends - back] == ids_N[last - back]]
        if len(ends) == 0:
            break
    return np.unique(ids_N[ends + 1])


def _only(probs_V: _Floats, kept: npt.NDArray[np.intp]) -> _Floats:
    """The probabilities of what is kept, made to sum to one; zero elsewhere."""
    left_V = np.zeros_like(probs_V)
    left_V[kept] = probs_V[kept]
    return np.asarray(left_V / left_V.sum(), dtype=np.float64)


def draw(probabilities: npt.ArrayLike, uniform: float) -> int:
    """One id by the inverse of the cumulative distribution, in the order of ids; never an id of probability zero.

    Args:
        probabilities: numbers of shape (V,), 0 or more, not all 0; they need not sum to one.
        uniform: a number in [0, 1).
    """
    probs_V = np.asarray(probabilities, dtype=np.float64)
    cumulative_V = np.cumsum(probs_V)
    found = int(np.searchsorted(cumulative_V, uniform * cumulative_V[-1], side="right"))
    # Rounding can carry a uniform just under 1 to the very end: then it means the last possible symbol.
    return found if found < len(probs_V) else int(np.flatnonzero(probs_V)[-1])


def choose(logits: npt.ArrayLike, samplings: Sequence[Sampling], uniforms: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], _Floats]:
    """One symbol a row: filter and draw.

    Args:
        logits: numbers of shape (B, V).
        samplings: B ways to draw.
        uniforms: B numbers in [0, 1).

    Returns:
        The ids drawn, (B,), and their log-probabilities in nats under the model itself, before bans, temperature and filters, (B,).
    """
    logits_BV = np.asarray(logits)
    rows = zip(logits_BV, samplings, np.asarray(uniforms, dtype=np.float64), strict=True)
    ids_B = np.array([draw(filtered(logits_V, sampling), float(uniform)) for logits_V, sampling, uniform in rows], dtype=np.int64)
    log_probs_B = log_softmax(logits_BV)[np.arange(len(ids_B)), ids_B]
    return ids_B, log_probs_B
