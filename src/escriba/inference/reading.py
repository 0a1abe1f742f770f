"""Reads a text through an engine: how it begins, the state after it, and how likely each of its symbols was.

It does not know what is done with this: writing, scoring or looking.

A model of documents reads ``<eos>`` first, so its network gives every symbol its probability, the first included. A model of one
stream has no such start: its first symbol has the probability that the training text's frequencies give it (one added to each
count), and from then on the network speaks.

Shapes: B batch, T time, V vocabulary, N symbols.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from escriba.engine.protocol import Engine, Floats, Ids, Reading, State, reading_of, state_rows
from escriba.engine.sampling import log_softmax
from escriba.errors import SettingsError
from escriba.language import tr, trn
from escriba.text.tokenizer import CharTokenizer, Tokenizer, WordTokenizer

__all__ = ["Position", "Reader", "as_texts", "fresh_seed", "uniform_stream"]

_MOST_NAMED = 10
"""Unseen symbols that a notice names; the others are counted."""

_MOST_ROWS = 128
"""Texts read side by side."""

_MOST_LOGITS = 2**21
"""Logits of one step of all the texts read side by side: 16 MiB in float64."""

_MOST_PLACES = 2**20
"""Places of all the texts read side by side, padding included."""


@dataclass(frozen=True)
class Position:
    """A place in a text: everything before its last symbol is in the state, and the last symbol waits to be read.

    Attributes:
        state: the state of one row.
        last: the id of the last symbol; None at the very start of a stream, where there is none.
    """

    state: State
    last: int | None


class Reader:
    """Reads for one engine and one tokenizer.

    Args:
        engine: what runs the model.
        tokenizer: what cuts texts into its symbols.

    Raises:
        SettingsError: they have vocabularies of different sizes.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        if engine.vocab_size != tokenizer.vocab_size:
            raise SettingsError(
                tr(
                    "the model has {model} symbols and the tokenizer {tokenizer}",
                    model=engine.vocab_size,
                    tokenizer=tokenizer.vocab_size,
                ),
                expected=tr("a model and a tokenizer of the same vocabulary"),
            )
        self.engine = engine
        self.tokenizer = tokenizer

    def begin(self) -> Position:
        """The place before a text."""
        return Position(self.engine.initial_state(1), self.tokenizer.eos_id)

    def encode(self, text: str) -> tuple[Ids, dict[str, int]]:
        """The ids of a text, normalized as the training text was, (N,); and its unseen symbols, with how often each stands there.

        Raises:
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
        """
        normal = self.tokenizer.normalize(text)
        ids = np.asarray(self.tokenizer.encode(normal)).astype(np.int64)
        seen = self.tokenizer.unk_id is None or not np.any(ids == self.tokenizer.unk_id)
        return ids, {} if seen else self.tokenizer.unknown_in(normal)

    def next_log_probs(self, position: Position) -> tuple[Floats, State]:
        """The log-probabilities of the next symbol in nats, (V,); and the state once the last symbol is read."""
        if position.last is None:
            counts_V = np.asarray(self.tokenizer.frequencies, dtype=np.float64) + 1.0
            return np.asarray(np.log(counts_V / counts_V.sum())), position.state
        logits_BV, state = self.engine.step(np.array([position.last]), position.state)
        return log_softmax(logits_BV[0]), state

    def skip(self, position: Position, ids: Ids) -> Position:
        """The place after some more symbols, (N,), of which no probabilities are wanted."""
        if len(ids) == 0:
            return position
        before = ids[:-1] if position.last is None else np.concatenate([[position.last], ids[:-1]])
        return Position(self.engine.feed(before[None, :], position.state), int(ids[-1]))

    def read(self, position: Position, ids: Ids) -> tuple[Floats, Position]:
        """The log-probability of each of some more symbols in nats, (N,), and the place after them. See `look`."""
        if len(ids) == 0:
            return np.empty(0), position
        reading, after = self.look(position, ids)
        return reading.log_probs[0], after

    def look(self, position: Position, ids: Ids, *, ranks: bool = False, top: int = 0) -> tuple[Reading, Position]:
        """What `Engine.read` finds of some more symbols, in one row, (1, N), and the place after them.

        The logits are made in chunks of time, so that a text of any length fits in memory.

        Args:
            position: where they begin.
            ids: the symbols, (N,), N at least 1.
            ranks: also each symbol's rank.
            top: also so many of the likeliest symbols at each place; never more than there are.
        """
        top = min(top, self.engine.vocab_size)
        parts, state, inputs, targets = self._begun(position, ids[None, :], ranks, top)
        if targets.shape[1]:
            reading, state = self.engine.read(inputs, targets, state, ranks=ranks, top=top)
            parts.append(reading)
        return Reading.joined(parts), Position(state, int(ids[-1]))

    def look_many(self, position: Position, rows: Sequence[Ids], *, ranks: bool = False) -> list[Reading]:
        """What `look` finds of several texts, each after the same place, in batches of texts of like length.

        Args:
            position: where each begins.
            rows: the symbols of each, (N,), N at least 1.
            ranks: also each symbol's rank.

        Returns:
            A reading for each, (1, N), in their order.
        """
        found: dict[int, Reading] = {}
        order = sorted(range(len(rows)), key=lambda at: -len(rows[at]))
        while order:
            longest = len(rows[order[0]])
            size = max(1, min(_MOST_ROWS, _MOST_LOGITS // self.engine.vocab_size, _MOST_PLACES // longest))
            batch, order = order[:size], order[size:]
            ids_BT = np.zeros((len(batch), longest), dtype=np.int64)
            for ids_T, at in zip(ids_BT, batch, strict=True):
                ids_T[: len(rows[at])] = rows[at]
            same = Position(state_rows(position.state, np.zeros(len(batch), dtype=np.int64)), position.last)
            parts, state, inputs, targets = self._begun(same, ids_BT, ranks, 0)
            if targets.shape[1]:
                parts.append(self.engine.read(inputs, targets, state, ranks=ranks)[0])
            whole = Reading.joined(parts)
            for b, at in enumerate(batch):
                columns = [None if column is None else column[b : b + 1, : len(rows[at])] for column in whole]
                found[at] = Reading(*columns)  # type: ignore[arg-type]
        return [found[at] for at in range(len(rows))]

    def _begun(self, position: Position, ids_BT: Ids, ranks: bool, top: int) -> tuple[list[Reading], State, Ids, Ids]:
        """The first symbols where no network gives them, and what is left to be read: the state, the ids (B, T), what comes after each."""
        if position.last is not None:
            last_B1 = np.full((len(ids_BT), 1), position.last, dtype=np.int64)
            return [], position.state, np.concatenate([last_B1, ids_BT[:, :-1]], axis=1), ids_BT
        start_V, _ = self.next_log_probs(position)
        start_B1V = np.broadcast_to(start_V, (len(ids_BT), 1, len(start_V)))
        return [reading_of(start_B1V, ids_BT[:, :1], ranks=ranks, top=top)], position.state, ids_BT[:, :-1], ids_BT[:, 1:]

    def pieces(self, normal: str) -> tuple[str, ...]:
        """A normalized text cut into its symbols as they stand there, an unseen one too: joined they are the text.

        A byte that does not complete a character is an empty piece; the last one of the character is the character.
        """
        if isinstance(self.tokenizer, CharTokenizer):
            return tuple(normal)
        if isinstance(self.tokenizer, WordTokenizer):
            return tuple(chain.from_iterable(self.tokenizer.cut_pieces([normal])))
        widths = [len(letter.encode("utf-8")) for letter in normal]
        return tuple(chain.from_iterable((*[""] * (width - 1), letter) for letter, width in zip(normal, widths, strict=True)))

    def notice(self, unknown: dict[str, int]) -> str:
        """A sentence that names the symbols of a prompt which the model has never seen."""
        total = sum(unknown.values())
        first = list(unknown.items())[:_MOST_NAMED]
        named = ", ".join(
            tr("{symbol!r} ({count} times)", symbol=symbol, count=count) if count > 1 else repr(symbol) for symbol, count in first
        )
        if len(unknown) > _MOST_NAMED:
            named = tr("{named} and {count} others", named=named, count=len(unknown) - _MOST_NAMED)
        return trn(
            "{n} symbol of the prompt is not in the model's vocabulary and read as <unk>: {named}",
            "{n} symbols of the prompt are not in the model's vocabulary and read as <unk>: {named}",
            total,
            named=named,
        )

    @property
    def banned(self) -> tuple[int, ...]:
        """What is never written: ``<unk>``."""
        return () if self.tokenizer.unk_id is None else (self.tokenizer.unk_id,)


def uniform_stream(seed: int, row: int) -> np.random.Generator:
    """The uniform numbers of one row of a call: the same whether the row is written alone or among many.

    Args:
        seed: the call's seed, 0 or more.
        row: the row's number, 0 or more.

    Raises:
        SettingsError: one of them is negative or not an integer.
    """
    for name, value in (("seed", seed), ("row", row)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise SettingsError(tr("{name} is {value!r}", name=name, value=value), expected=tr("an integer, 0 or more"))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(seed), int(row)])))


def fresh_seed() -> int:
    """A seed that nobody chose, short enough to be typed again."""
    return secrets.randbelow(2**31)


def as_texts(value: object, name: str) -> list[str]:
    """A list of texts from one text or several; a lone text is one text, not its characters.

    Raises:
        SettingsError: something in it is not a text.
    """
    if not isinstance(value, Iterable):
        raise SettingsError(
            tr("{name} is {value!r}, of type {type}", name=name, value=value, type=type(value).__name__),
            expected=tr("a text (str), or several"),
        )
    texts = [value] if isinstance(value, str) else list(value)
    for text in texts:
        if not isinstance(text, str):
            raise SettingsError(
                tr("{name} holds {text!r}, of type {type}", name=name, text=text, type=type(text).__name__),
                expected=tr("texts (str)"),
            )
    return texts
