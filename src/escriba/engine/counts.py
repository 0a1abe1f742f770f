"""The n-gram that counts: interpolated modified Kneser-Ney, run with NumPy on the n-grams and counts of a model folder.

It does not know how they were counted. Its "logits" are log-probabilities.

p_n(w | c) = max(a(c w) - D_n(a(c w)), 0) / sum over v of a(c v) + gamma(c) p_(n-1)(w | c without its first symbol), where a is
the adjusted count, D_n one of three discounts by a (1, 2, 3 and more), and gamma(c) what the discounts took away, as a share. Below
the unigrams stands 1 / V.
Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling", sections 2.7 and 3.

Shapes: B batch, T time, V vocabulary, M n-grams, N any number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from escriba.engine.ngrams import Ids, NGrams
from escriba.engine.protocol import Array, Engine, Floats, Reading, State
from escriba.errors import CheckpointError, SettingsError
from escriba.language import tr
from escriba.settings import ModelSettings

__all__ = ["CountsEngine"]

MOST_COUNT = 2**53
"""Counts up to here are exact in float64."""
READ_AT_ONCE = 2**18
"""Symbols that are looked up at once where no distributions are asked for: their nodes take some tens of megabytes."""


class CountsEngine(Engine):
    """Runs an n-gram that counts. Its state is the node of the longest context, of at most order - 1 symbols, that was ever gone on from.

    Args:
        settings: the model's; `order` is used.
        vocab_size: symbols in the vocabulary.
        weights: `ngrams.keys`, `ngrams.counts` and `ngrams.discounts`, as `weights.py` lists them.

    Attributes:
        ngrams: the n-grams.
        gamma: for each node the share that it leaves to shorter contexts, (M + 1,); 1 where nothing was ever seen after it.
        share: for each key what it gets before that, (M,).
        prob: for each key its interpolated probability after its parent, (M,).

    Raises:
        CheckpointError: the arrays are not those of a model that counts.
    """

    precision = "float64"

    def __init__(self, settings: ModelSettings, vocab_size: int, weights: Mapping[str, np.ndarray]) -> None:
        counts, discounts = _checked(settings, weights)
        self.settings, self.vocab_size = settings, vocab_size
        self.ngrams = grams = NGrams(weights["ngrams.keys"], vocab_size, settings.order)
        nodes, share_M = len(counts) + 1, np.empty(len(counts))
        for level, (start, end) in enumerate(zip(grams.ends, grams.ends[1:], strict=False)):
            share_M[start - 1 : end - 1] = discounts[level, np.minimum(counts[start - 1 : end - 1], 3) - 1]  # what each loses
        total = np.bincount(grams.parents, weights=counts, minlength=nodes)
        lost = np.bincount(grams.parents, weights=share_M, minlength=nodes)
        self.gamma: Floats = np.divide(lost, total, out=np.ones(nodes), where=total > 0)
        np.subtract(counts, share_M, out=share_M)
        self.share: Floats = np.divide(share_M, total[grams.parents], out=share_M)
        del total, lost
        self._root_V: Floats = np.full(vocab_size, self.gamma[0] / vocab_size)
        self._root_V[grams.symbols[: grams.children[1]]] += self.share[: grams.children[1]]
        self.prob = self.share.copy()
        lower = np.empty(nodes)
        for start, end in zip(grams.ends, grams.ends[1:], strict=False):
            own = slice(start - 1, end - 1)
            below = 1 / vocab_size if start == 1 else lower[grams.suffix[start:end]]
            self.prob[own] += self.gamma[grams.parents[own]] * below
            lower[start:end] = self.prob[own]

    def initial_state(self, batch_size: int) -> State:
        """The root: nothing was read. See `Engine.initial_state`."""
        if batch_size < 1:
            raise SettingsError(tr("batch_size is {batch_size}", batch_size=batch_size), expected=tr("1 or more"))
        return ((np.zeros(batch_size, np.int64),),)

    def step(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """As every engine's; the logits are log-probabilities."""
        ids_B = self.checked_ids(ids, state, axes=1)
        contexts = self._contexts(ids_B[:, None], self._nodes(state))
        nodes_B = self._longest(contexts)[:, 0]
        return self._log_probs(nodes_B), ((nodes_B,),)

    def advance(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """As every engine's, for all places at once: the very numbers of `step`."""
        ids_BT = self.checked_ids(ids, state, axes=2)
        nodes_BT = self._longest(self._contexts(ids_BT, self._nodes(state)))
        return self._log_probs(nodes_BT.ravel()).reshape(*nodes_BT.shape, self.vocab_size), ((nodes_BT[:, -1].copy(),),)

    def feed(self, ids: npt.ArrayLike, state: State) -> State:
        """As every engine's: the last symbols are enough."""
        ids_BT = self.checked_ids(ids, state, axes=2, least=0)
        nodes_B = self._nodes(state)
        last_BT = ids_BT[:, -self.settings.order :]  # what is older is forgotten
        if last_BT.shape[1] == 0:
            return state
        began_B = nodes_B if last_BT.shape[1] == ids_BT.shape[1] else np.zeros(len(ids_BT), np.int64)
        return ((self._longest(self._contexts(last_BT, began_B))[:, -1].copy(),),)

    def read(self, ids: npt.ArrayLike, targets: npt.ArrayLike, state: State, *, ranks: bool = False, top: int = 0) -> tuple[Reading, State]:
        """As every engine's; where neither ranks nor the likeliest are asked for, only the targets' n-grams are looked up."""
        if ranks or top:
            return super().read(ids, targets, state, ranks=ranks, top=top)
        ids_BT, targets_BT = self.checked_ids(ids, state, axes=2), self.checked_ids(targets, state, axes=2)
        parts, chunk = [], max(1, READ_AT_ONCE // max(1, len(ids_BT)))
        for start in range(0, ids_BT.shape[1], chunk):
            contexts = self._contexts(ids_BT[:, start : start + chunk], self._nodes(state))
            parts.append(Reading(self._log_probs_of(contexts, targets_BT[:, start : start + chunk])))
            state = ((self._longest(contexts)[:, -1].copy(),),)
        return Reading.joined(parts), state

    def _nodes(self, state: State) -> Ids:
        """The state's nodes as whole numbers that lie together, once they are seen to be nodes of this model.

        Raises:
            SettingsError: they are not.
        """
        alone = [len(layer) for layer in state] == [1] and np.asarray(state[0][0]).dtype.kind == "i"
        nodes_B = np.ascontiguousarray(state[0][0], np.int64) if alone else np.empty((0, 0), np.int64)
        if nodes_B.ndim != 1 or (nodes_B.size and not 0 <= nodes_B.min() <= nodes_B.max() < len(self.ngrams.suffix)):
            raise SettingsError(tr("the state is not of this model"), expected=tr("one that this engine gave"))
        return nodes_B

    def _chain(self, nodes_N: Ids) -> list[Ids]:
        """The contexts within contexts, from the root up: for each level the node of so many last symbols, -1 where that is too many."""
        level_N = np.searchsorted(self.ngrams.ends, nodes_N, side="right")
        chain, at_N = [], nodes_N
        for level in range(int(level_N.max(initial=0)), -1, -1):
            there_N = level_N >= level
            chain.append(np.where(there_N, at_N, -1))
            at_N = np.where(there_N, self.ngrams.suffix[at_N], at_N)
        return chain[::-1]

    def _contexts(self, ids_BT: Ids, began_B: Ids) -> list[Ids]:
        """For each level up to order - 1 the node of so many symbols, those that end at each place, (B, T); -1 where there is none.

        Nodes that nothing ever followed count as none: what comes after them is what comes after their end.
        """
        chain, found = self._chain(began_B), [np.zeros(ids_BT.shape, np.int64)]
        for level in range(1, self.settings.order):
            before_BT = np.empty_like(ids_BT)
            before_BT[:, 0] = chain[level - 1] if level <= len(chain) else -1
            before_BT[:, 1:] = found[-1][:, :-1]
            nodes_BT = self.ngrams.child(before_BT, ids_BT, level - 1)
            goes_on = self.ngrams.children[nodes_BT + 1] > self.ngrams.children[nodes_BT]
            found.append(np.where((nodes_BT >= 0) & goes_on, nodes_BT, -1))
        return found

    @staticmethod
    def _longest(contexts: Sequence[Ids]) -> Ids:
        """The node of the longest context at each place: levels follow one another in number."""
        longest = contexts[0]
        for nodes in contexts[1:]:
            longest = np.maximum(longest, nodes)
        return longest

    def _log_probs_of(self, contexts: Sequence[Ids], targets_BT: Ids) -> Floats:
        """The log-probability of one symbol at each place, from the longest n-gram that is there, backing off to it."""
        probs_BT = np.full(targets_BT.shape, self.gamma[0] / self.vocab_size)
        for level, nodes_BT in enumerate(contexts):
            is_context = nodes_BT >= 0
            if level and not is_context.any():
                break
            found_BT = self.ngrams.child(nodes_BT, targets_BT, level)
            # the probability so far is of a shorter context: it is replaced by the n-gram's own, or else shrinks
            shrunk_BT = probs_BT * self.gamma[nodes_BT] if level else probs_BT
            probs_BT = np.where(found_BT >= 0, self.prob[np.maximum(found_BT, 1) - 1], np.where(is_context, shrunk_BT, probs_BT))
        return np.asarray(np.log(probs_BT))

    def _log_probs(self, nodes_N: Ids) -> Floats:
        """The log-probabilities of all symbols after each of some contexts, (N, V)."""
        probs_NV = np.repeat(self._root_V[None, :], len(nodes_N), axis=0)
        children = self.ngrams.children
        for at_N in self._chain(nodes_N)[1:]:
            rows = np.flatnonzero(at_N >= 0)
            nodes = at_N[rows]
            probs_NV[rows] *= self.gamma[nodes, None]
            counts = children[nodes + 1] - children[nodes]
            firsts = np.repeat(children[nodes] - np.cumsum(counts) + counts, counts)
            keys = firsts + np.arange(len(firsts))
            probs_NV[np.repeat(rows, counts), self.ngrams.symbols[keys]] += self.share[keys]
        return np.asarray(np.log(probs_NV, out=probs_NV))


def _checked(settings: ModelSettings, weights: Mapping[str, np.ndarray]) -> tuple[Ids, Floats]:
    """The counts and the discounts, once they are seen to be such.

    Raises:
        CheckpointError: they are not.
    """
    counts, discounts = weights["ngrams.counts"], weights["ngrams.discounts"]
    if counts.dtype.kind != "i" or counts.shape != weights["ngrams.keys"].shape:
        raise CheckpointError(
            tr("the n-grams' counts are {dtype} of the shape {shape}", dtype=counts.dtype, shape=counts.shape),
            expected=tr("whole numbers, as many as there are keys"),
        )
    if counts.size and not 1 <= counts.min() <= counts.max() <= MOST_COUNT:
        raise CheckpointError(
            tr("a count is {count}", count=counts.min() if counts.min() < 1 else counts.max()),
            expected=tr("1 to {most:,}", most=MOST_COUNT),
        )
    if discounts.shape != (settings.order, 3) or not ((discounts > 0) & (discounts <= [1, 2, 3])).all():
        raise CheckpointError(
            tr("the discounts are {discounts!r:.80}", discounts=discounts.tolist()),
            expected=tr("{count} rows of three numbers, above 0 and up to 1, 2 and 3", count=settings.order),
        )
    return counts.astype(np.int64, copy=False), discounts.astype(np.float64, copy=False)
