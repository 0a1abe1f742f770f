"""Cuts ids into examples: shuffled windows, continuous streams, padded documents.

It knows nothing of networks. A batch is made when it is asked for, from the seed and its number alone, so a place in
the order is one integer, and training that stops goes on from it.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from escriba.errors import SettingsError, TextError
from escriba.language import tr, trn
from escriba.text.encoded import EncodedText
from escriba.text.printed import Printed
from escriba.text.vocabulary import Tokenizer

__all__ = ["Batch", "Batches", "Documents", "Streams", "Windows", "documents", "streams", "windows"]

POOL = 32  # batches whose documents are sorted together: like lengths meet, and the order stays random


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        inputs: ids, int64, (batch, time).
        targets: the id that follows each input, int64, (batch, time).
        mask: which targets count, bool, (batch, time); None: all.
        carry: whether each row goes on where the same row of the batch before ended, so that its state is carried over.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    mask: NDArray[np.bool_] | None
    carry: bool


class Batches(abc.ABC):
    """Batches in a fixed order: the length is that of an epoch, the iterator gives the first, `epoch` any epoch, `batch` any step.

    Attributes:
        mode: "windows", "streams" or "documents".
        batch_size: rows of a batch (of the largest, for documents).
        seq_len: inputs of a row (of the longest, for documents).
        seed: what the order is drawn from.
        examples_per_epoch: rows in an epoch.
        symbols_per_epoch: targets that count in an epoch.
        notes: what was made smaller because the text is short, as sentences.
    """

    mode: ClassVar[str]
    examples_per_epoch: int
    symbols_per_epoch: int
    _ids: NDArray[Any]

    def __init__(self, tokenizer: Tokenizer | None, batch_size: int, seq_len: int, seed: int) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("seq_len", seq_len, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise SettingsError(
                    tr("{name} is {value!r}", name=name, value=value), expected=tr("a whole number, {least} or more", least=least)
                )
        self.tokenizer = tokenizer
        self.batch_size, self.seq_len, self.seed = int(batch_size), int(seq_len), int(seed)
        self.notes: tuple[str, ...] = ()
        self._order: tuple[int, Any] = (-1, None)

    @abc.abstractmethod
    def __len__(self) -> int:
        """Batches in an epoch."""

    @abc.abstractmethod
    def _make(self, order: Any, index: int) -> Batch:
        """Batch `index` of an epoch with this order."""

    @abc.abstractmethod
    def _draw_order(self, random: np.random.Generator) -> Any:
        """The order of an epoch."""

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs: the same whenever and wherever it is asked for.

        Raises:
            SettingsError: the step is negative.
        """
        if step < 0:
            raise SettingsError(tr("step is {step}", step=step), expected=tr("0 or more"))
        epoch, index = divmod(step, len(self))
        number, order = self._order
        if number != epoch:
            order = self._draw_order(np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, epoch]))))
            self._order = (epoch, order)
        return self._make(order, index)

    def at_epoch(self, step: int) -> float:
        """How many epochs lie behind a step: 1.5 is the middle of the second."""
        return step / len(self)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch, counted from 0: of shuffled windows and documents each epoch has another order.

        Raises:
            SettingsError: the number is negative.
        """
        return (self.batch(number * len(self) + index) for index in range(len(self)))

    def show(self, n: int = 5) -> Printed:
        """The first `n` symbols of the text, each with the one that it is to foretell, as lines.

        Raises:
            SettingsError: `n` is no whole number, 0 or more.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
            raise SettingsError(tr("n is {n!r}", n=n), expected=tr("a whole number, 0 or more"))
        ids = self._ids[: min(n, self.seq_len) + 1]
        lines = [
            tr("step {step:>4}  input {input} -> target {target}", step=t, input=self._glyph(ids[t]), target=self._glyph(ids[t + 1]))
            for t in range(len(ids) - 1)
        ]
        return Printed("\n".join(lines))

    def _glyph(self, number: np.int64) -> str:
        return f"{number}" if self.tokenizer is None else f"{number} {self.tokenizer.symbols[number]!r}"

    def _shorten(self, batch_size: int, seq_len: int) -> None:
        """Take smaller numbers, and say so."""
        for name, value in (("batch_size", batch_size), ("seq_len", seq_len)):
            if value < getattr(self, name):
                wanted = getattr(self, name)
                self.notes += (tr("The text is short: {name} is {value} instead of {wanted}.", name=name, value=value, wanted=wanted),)
                setattr(self, name, value)

    def __repr__(self) -> str:
        notes = " ".join(self.notes)
        return (
            f"<{type(self).__name__}: {self.examples_per_epoch:,} examples, {len(self):,} batches an epoch, "
            f"batch_size {self.batch_size}, seq_len {self.seq_len}>{f'  {notes}' if notes else ''}"
        )


class Windows(Batches):
    """The text cut into pieces of seq_len + 1 symbols, shuffled anew each epoch; what fills no batch is left out."""

    mode: ClassVar[str] = "windows"

    def __init__(self, ids: EncodedText | ArrayLike, *, seq_len: int = 100, batch_size: int = 64, seed: int = 1) -> None:
        super().__init__(_tokenizer_of(ids), batch_size, seq_len, seed)
        self._ids = _stream_of(ids)
        fitting = min(self.seq_len, len(self._ids) - 1)
        self._shorten(min(self.batch_size, len(self._ids) // (fitting + 1)), fitting)
        self.examples_per_epoch = len(self._ids) // (self.seq_len + 1)
        self.symbols_per_epoch = len(self) * self.batch_size * self.seq_len

    def __len__(self) -> int:
        return self.examples_per_epoch // self.batch_size

    def _draw_order(self, random: np.random.Generator) -> NDArray[np.int64]:
        return random.permutation(self.examples_per_epoch)

    def _make(self, order: NDArray[np.int64], index: int) -> Batch:
        starts = order[index * self.batch_size : (index + 1) * self.batch_size] * (self.seq_len + 1)
        return _cut(self._ids, starts, self.seq_len, carry=False)


class Streams(Batches):
    """The text cut into batch_size long lanes, read side by side with the state carried: truncated back-propagation.

    A lane's length is seldom a multiple of seq_len: where in its slack reading begins is drawn anew each epoch, so every
    symbol has its turn and the cuts fall elsewhere each time.
    """

    mode: ClassVar[str] = "streams"

    def __init__(self, ids: EncodedText | ArrayLike, *, seq_len: int = 100, batch_size: int = 64, seed: int = 1) -> None:
        super().__init__(_tokenizer_of(ids), batch_size, seq_len, seed)
        self._ids = _stream_of(ids)
        targets = len(self._ids) - 1
        fitting = min(self.seq_len, targets)
        self._shorten(min(self.batch_size, targets // fitting), fitting)
        self._lane = targets // self.batch_size
        self.examples_per_epoch = len(self) * self.batch_size
        self.symbols_per_epoch = self.examples_per_epoch * self.seq_len

    def __len__(self) -> int:
        return self._lane // self.seq_len

    def _draw_order(self, random: np.random.Generator) -> int:
        return int(random.integers(self._lane % self.seq_len + 1))

    def _make(self, order: int, index: int) -> Batch:
        starts = np.arange(self.batch_size, dtype=np.int64) * self._lane + order + index * self.seq_len
        return _cut(self._ids, starts, self.seq_len, carry=index > 0)


class Documents(Batches):
    """Documents from ``<eos>`` to ``<eos>``, padded to the longest of their batch under a mask, like lengths together.

    A document with more than seq_len targets is cut: the next piece has the symbol before it as its first input and
    begins with a fresh state.
    """

    mode: ClassVar[str] = "documents"

    def __init__(self, encoded: EncodedText, *, batch_size: int = 64, seq_len: int = 100, seed: int = 1) -> None:
        if not isinstance(encoded, EncodedText) or encoded.offsets is None:
            raise TextError(tr("this text is one stream, not documents"), hint=tr("use windows or streams, or read it as documents"))
        super().__init__(encoded.tokenizer, batch_size, seq_len, seed)
        self._ids = encoded.with_ends()
        targets = np.diff(encoded.offsets) + 1  # every symbol, and the <eos>
        begins = encoded.offsets[:-1] + np.arange(len(targets))  # of each document's first <eos> in self._ids
        pieces = -(-targets // self.seq_len)
        nth = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        self._starts = np.repeat(begins, pieces) + nth * self.seq_len
        self._lengths = np.minimum(np.repeat(targets, pieces) - nth * self.seq_len, self.seq_len)
        self.seq_len = int(self._lengths.max(initial=1))
        self.examples_per_epoch = len(self._starts)
        self.symbols_per_epoch = int(targets.sum())
        if not self.examples_per_epoch:
            raise TextError(tr("there are no documents"))
        self._shorten(min(self.batch_size, self.examples_per_epoch), self.seq_len)

    def __len__(self) -> int:
        return -(-self.examples_per_epoch // self.batch_size)

    def _draw_order(self, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = random.permutation(self.examples_per_epoch)
        pool = POOL * self.batch_size
        for start in range(0, len(order), pool):
            some = order[start : start + pool]
            order[start : start + pool] = some[np.argsort(self._lengths[some], kind="stable")]
        return order, random.permutation(len(self))

    def _make(self, order: tuple[NDArray[np.int64], NDArray[np.int64]], index: int) -> Batch:
        examples, batches = order
        start = int(batches[index]) * self.batch_size
        rows = examples[start : start + self.batch_size]
        lengths = self._lengths[rows]
        mask = np.arange(int(lengths.max())) < lengths[:, None]
        # positions beyond the text's end are only ever padding; their place in the array does not matter
        at = np.minimum(self._starts[rows][:, None] + np.arange(mask.shape[1] + 1), len(self._ids) - 1)
        ids = self._ids[at].astype(np.int64)
        return Batch(np.where(mask, ids[:, :-1], 0), np.where(mask, ids[:, 1:], 0), mask, carry=False)


def _cut(ids: NDArray[Any], starts: NDArray[np.int64], seq_len: int, *, carry: bool) -> Batch:
    """Rows of seq_len inputs from `starts`, and their targets."""
    rows = ids[starts[:, None] + np.arange(seq_len + 1)].astype(np.int64)
    return Batch(np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:]), None, carry)


def _tokenizer_of(ids: EncodedText | ArrayLike) -> Tokenizer | None:
    return ids.tokenizer if isinstance(ids, EncodedText) else None


def _stream_of(ids: EncodedText | ArrayLike) -> NDArray[Any]:
    """One array of ids, (N,); documents are joined by their ``<eos>``.

    Raises:
        TextError: it is no array of at least two ids.
    """
    array = ids.with_ends() if isinstance(ids, EncodedText) else np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "ui"):
        raise TextError(
            tr("ids of type {dtype} and shape {shape}", dtype=array.dtype, shape=array.shape), expected=tr("whole numbers in one dimension")
        )
    if len(array) < 2:
        raise TextError(
            trn("a text of {n} symbols is too short to learn from", "a text of {n} symbols is too short to learn from", len(array)),
            expected=tr("2 symbols or more"),
        )
    return array


def windows(ids: EncodedText | ArrayLike, *, seq_len: int = 100, batch_size: int = 64, seed: int = 1) -> Windows:
    """Shuffled windows: each piece of seq_len + 1 symbols is an example, and its state begins anew.

    Args:
        ids: an encoded text, or whole numbers, (N,).
        seq_len: inputs of an example.
        batch_size: examples of a batch.
        seed: what the order of each epoch is drawn from.

    Raises:
        TextError: the text has fewer than 2 symbols.
        SettingsError: a number is out of its range.
    """
    return Windows(ids, seq_len=seq_len, batch_size=batch_size, seed=seed)


def streams(ids: EncodedText | ArrayLike, *, seq_len: int = 100, batch_size: int = 64, seed: int = 1) -> Streams:
    """Continuous streams: batch_size places of the text are read on side by side, and the state is carried.

    Args and errors are those of `windows`; batch_size is the number of lanes, seq_len the symbols between updates.
    """
    return Streams(ids, seq_len=seq_len, batch_size=batch_size, seed=seed)


def documents(encoded: EncodedText, *, batch_size: int = 64, seq_len: int = 100, seed: int = 1) -> Documents:
    """Padded documents: each is an example from ``<eos>`` to ``<eos>``, and the mask says what is not padding.

    Args:
        encoded: documents, of a tokenizer with ``<eos>``.
        batch_size: examples of a batch; the last batch may be smaller.
        seq_len: the longest example; longer documents are cut.
        seed: what the order of each epoch is drawn from.

    Raises:
        TextError: the text is a stream, or the tokenizer has no ``<eos>``.
        SettingsError: a number is out of its range.
    """
    return Documents(encoded, batch_size=batch_size, seq_len=seq_len, seed=seed)
