"""The n-grams of a text as a trie in sorted arrays: every n-gram is a node, its parent is the n-gram without its last symbol.

It knows nothing of probabilities, nor of where the n-grams came from.

Node 0 is the root, the empty n-gram. Node i + 1 has the key `parent * V + symbol`; keys rise over the whole array, for level follows
level (an n-gram of n symbols has the level n), and within a level parent follows parent. So a node is found by its key, and the
children of a node stand one beside the other.

Shapes: V vocabulary, M n-grams, N any number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from escriba.errors import CheckpointError
from escriba.language import tr

__all__ = ["NGrams", "levels", "suffixes"]

Ids = npt.NDArray[np.int64]
MOST_NODES = 2**31
"""N-grams that one model can hold; with a vocabulary of up to 2^31 symbols a key then fits in 63 bits."""


def levels(keys_M: Ids, vocab_size: int) -> list[int]:
    """Where each level ends, as node numbers: level n is the nodes from ``ends[n - 1]`` to ``ends[n] - 1``, the root is level 0.

    Args:
        keys_M: the keys, rising.
        vocab_size: symbols in the vocabulary.
    """
    ends = [0, 1]
    while ends[-1] <= len(keys_M) and ends[-1] > ends[-2]:
        ends.append(1 + int(np.searchsorted(keys_M, ends[-1] * vocab_size)))
    return ends[1:] if ends[-1] > ends[-2] else ends[1:-1]


def suffixes(keys_N: Ids, links_P: Ids, level_keys: Ids, first: int, vocab_size: int) -> Ids:
    """For the nodes of a level: the node of each n-gram without its first symbol, one level up.

    Args:
        keys_N: the keys of the level.
        links_P: the suffixes of the nodes before it, by node; those of its parents are looked at.
        level_keys: the keys of the level above.
        first: the first node of the level above.
        vocab_size: symbols in the vocabulary.

    Returns:
        Nodes, (N,); -1 where there is none.
    """
    wanted = links_P[keys_N // vocab_size] * vocab_size + keys_N % vocab_size
    at = np.minimum(np.searchsorted(level_keys, wanted), max(0, len(level_keys) - 1))
    return np.where(level_keys[at] == wanted, at + first, -1) if len(level_keys) else np.full(len(wanted), -1)


class NGrams:
    """The n-grams of a text, with what follows from their keys.

    Args:
        keys: integers, (M,).
        vocab_size: symbols in the vocabulary, V.
        order: symbols in the longest n-gram.

    Attributes:
        ends: where each level ends, from the root's, which is 1.
        parents: of each key the node of its parent, (M,).
        symbols: of each key its symbol, (M,).
        children: the children of node n are the nodes ``children[n] + 1`` to ``children[n + 1]``, (M + 2,).
        suffix: for each node the node of the n-gram without its first symbol, (M + 1,); of the root the root.

    Raises:
        CheckpointError: the keys are not those of a trie.
    """

    def __init__(self, keys: Ids, vocab_size: int, order: int) -> None:
        self.keys, self.vocab_size, self.order = keys, vocab_size, order
        _check(keys, vocab_size)
        self.ends = levels(keys, vocab_size)
        if len(self.ends) - 1 > order:
            raise CheckpointError(
                tr("the n-grams have up to {symbols} symbols", symbols=len(self.ends) - 1),
                expected=tr("at most {order}, the order", order=order),
            )
        self.parents: Ids = keys // vocab_size
        self.symbols: Ids = keys - self.parents * vocab_size
        self.children = np.zeros(len(keys) + 2, np.int64)
        np.cumsum(np.bincount(self.parents, minlength=len(keys) + 1), out=self.children[1:])
        self.suffix = np.zeros(len(keys) + 1, np.int64)
        for above, start, end in zip(self.ends, self.ends[1:], self.ends[2:], strict=False):
            self.suffix[start:end] = suffixes(keys[start - 1 : end - 1], self.suffix, keys[above - 1 : start - 1], above, vocab_size)
        if (self.suffix < 0).any():
            raise CheckpointError(tr("an n-gram is there whose end is not"), expected=tr("every n-gram without its first symbol"))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many n-grams there are of one symbol, of two, and so on up to the order."""
        found = [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)]
        return (*found, *[0] * (self.order - len(found)))

    def child(self, nodes: Ids, symbols: Ids, level: int) -> Ids:
        """The nodes of n-grams with one more symbol; -1 where there is none, or where the node itself is -1.

        Args:
            nodes: nodes of one level, or -1, of any shape.
            symbols: symbols, of the same shape.
            level: the level of the nodes.
        """
        if level + 1 >= len(self.ends):
            return np.full(nodes.shape, -1)
        start, end = self.ends[level], self.ends[level + 1]
        among = self.keys[start - 1 : end - 1]
        wanted = nodes * self.vocab_size + symbols
        at = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
        return np.where((among[at] == wanted) & (nodes >= 0), at + start, -1)


def _check(keys: Ids, vocab_size: int) -> None:
    """Refuses keys that are not sorted, or whose parent would not stand before them.

    Raises:
        CheckpointError: they are such.
    """
    if keys.ndim != 1 or keys.dtype != np.int64 or not 0 < len(keys) <= MOST_NODES:
        raise CheckpointError(
            tr("the n-grams' keys are {dtype} of the shape {shape}", dtype=keys.dtype, shape=keys.shape),
            expected=tr("int64, from 1 to {most:,} of them in a row", most=MOST_NODES),
        )
    if keys[0] < 0 or not (keys[1:] > keys[:-1]).all():
        raise CheckpointError(tr("the n-grams' keys do not rise"), expected=tr("numbers from 0, each greater than the one before"))
    if (keys // vocab_size > np.arange(len(keys))).any():
        raise CheckpointError(tr("an n-gram stands before the n-gram that it prolongs"), expected=tr("the shorter first"))
