"""How likely a model finds a text: surprisal, rank and probability of every symbol, log-likelihood, bits per character.

It does not know where the engine and the tokenizer came from, nor what the scores are for.

Shapes: N symbols, K likeliest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from escriba.engine.protocol import Engine, Floats, Ids, Reading
from escriba.errors import SettingsError, TextError
from escriba.inference.reading import Position, Reader, as_texts
from escriba.language import tr
from escriba.text.tokenizer import Tokenizer

__all__ = ["MOST_LETTERS", "Lines", "Scored", "Scorer", "convention_of", "end_of_documents", "orders_of"]

Lines = Literal["reset", "carry"]
"""How lines follow one another: each from the beginning, or the state carried as through one text."""

MOST_LETTERS = 8
"""Letters of which all orders are made: 40,320 of them, where no two are the same."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What a model makes of one text.

    Attributes:
        log_likelihood: natural logarithm of the text's probability, in nats.
        symbols: how many symbols were scored, N.
        characters: of the text as it was scored, that is normalized as the training text was.
        bytes: of the same in UTF-8.
        unknown: symbols that the model has never seen; each was scored as ``<unk>``.
        ids: the symbols scored, (N,).
        surprisals: minus the log-probability of each, nats, float64, (N,); they sum to minus `log_likelihood`.
        ranks: the place of each among all that could have come, 1 the likeliest, lower ids first among equals, (N,).
        pieces: the symbols as they stand in the normalized text, unseen ones too; joined they are that text, for an ``<eos>`` that is
            counted, and for bytes within a character, stands "".
        expected: for each symbol the likeliest that could have come with their probabilities, the likeliest first; empty if not asked for.
        convention: one line that says what exactly was measured.
    """

    log_likelihood: float
    symbols: int
    characters: int
    bytes: int
    unknown: int
    ids: Ids
    surprisals: Floats
    convention: str
    ranks: Ids = field(repr=False)
    pieces: tuple[str, ...] = field(repr=False)
    expected: tuple[tuple[tuple[str, float], ...], ...] = field(repr=False, default=())

    @property
    def bits_per_char(self) -> float:
        """Bits for each character of the text."""
        return -self.log_likelihood / math.log(2) / self.characters

    @property
    def bits_per_byte(self) -> float:
        """Bits for each byte of the text in UTF-8."""
        return -self.log_likelihood / math.log(2) / self.bytes

    @property
    def perplexity(self) -> float:
        """The exponential of the mean surprisal of a symbol; infinite where it is too large for a number."""
        nats = -self.log_likelihood / self.symbols
        return math.exp(nats) if nats < math.log(1e300) else math.inf


@dataclass(frozen=True)
class _Encoded:
    """A text made ready to be scored."""

    normal: str
    ids: Ids
    unknown: int


class Scorer:
    """Scores texts, each from the beginning: what was scored before leaves no trace.

    Args:
        engine: what runs the model.
        tokenizer: what cuts texts into its symbols.

    Raises:
        SettingsError: the two have vocabularies of different sizes.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self._reader = Reader(engine, tokenizer)

    def surprisals(self, text: str, after: str = "", *, eos: bool = False) -> Floats:
        """Minus the log-probability of every symbol of a text, in nats, float64, (N,). See `score`."""
        encoded, position = self._encoded(text, eos), self._after(after)[0]
        return -self._reader.read(position, encoded.ids)[0]

    def score(self, text: str, after: str = "", *, eos: bool = False, top: int = 0) -> Scored:
        """The likelihood of a text.

        Every symbol is scored, the first included. In a model of documents it is scored as the first of a document; in a model of
        one stream by the frequencies of the training text, one added to each count. After a context, it is scored by the network.

        Args:
            text: what is scored, of any length.
            after: a context that is read first and not scored.
            eos: count the ``<eos>`` after the text as its last symbol: how likely is it that a document is just this.
            top: tell at each place so many of the likeliest symbols, 0 or more.

        Raises:
            TextError: the text is empty.
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
            SettingsError: an ``<eos>`` is asked of a model of one stream, or `top` is out of its range.
        """
        if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 0:
            raise SettingsError(tr("top is {top!r}", top=top), expected=tr("how many of the likeliest symbols to tell, 0 or more"))
        encoded = self._encoded(text, eos)
        position, after_context = self._after(after)
        reading, _ = self._reader.look(position, encoded.ids, ranks=True, top=int(top))
        return self._scored(encoded, reading, after_context, eos)

    def score_many(self, texts: Iterable[str], after: str = "", *, eos: bool = False) -> list[Scored]:
        """The scores of several texts, each after the same context, read side by side. See `score`.

        Raises:
            TextError: one of the texts is empty.
            UnknownSymbolError: as for `score`.
            SettingsError: as for `score`.
        """
        every = [self._encoded(text, eos) for text in as_texts(texts, tr("the texts"))]
        position, after_context = self._after(after)
        readings = self._reader.look_many(position, [encoded.ids for encoded in every], ranks=True)
        return [self._scored(encoded, reading, after_context, eos) for encoded, reading in zip(every, readings, strict=True)]

    def _after(self, after: str) -> tuple[Position, bool]:
        """The place behind a context, and whether there is any."""
        context, _ = self._reader.encode(after)
        return self._reader.skip(self._reader.begin(), context), len(context) > 0

    def _encoded(self, text: str, eos: bool) -> _Encoded:
        end = end_of_documents(self._reader.tokenizer, eos)
        normal = self._reader.tokenizer.normalize(text)
        if not normal:
            raise TextError(tr("there is nothing to score"), expected=tr("a text of at least one character"))
        ids, unknown = self._reader.encode(text)
        return _Encoded(normal, np.concatenate([ids, end]), sum(unknown.values()))

    def _scored(self, encoded: _Encoded, reading: Reading, after: bool, eos: bool) -> Scored:
        tokenizer, log_probs = self._reader.tokenizer, reading.log_probs[0]
        assert reading.ranks is not None
        expected: tuple[tuple[tuple[str, float], ...], ...] = ()
        if reading.top_ids is not None and reading.top_log_probs is not None:
            likeliest = zip(reading.top_ids[0].tolist(), np.exp(reading.top_log_probs[0]).tolist(), strict=True)
            expected = tuple(tuple((tokenizer.symbols[at], share) for at, share in zip(*one, strict=True)) for one in likeliest)
        return Scored(
            log_likelihood=float(log_probs.sum()),
            symbols=len(encoded.ids),
            characters=len(encoded.normal),
            bytes=len(encoded.normal.encode("utf-8", "surrogatepass")),
            unknown=encoded.unknown,
            ids=encoded.ids,
            surprisals=-log_probs,
            convention=convention_of(tokenizer, after=after, eos=eos, unknown=encoded.unknown),
            ranks=reading.ranks[0],
            pieces=self._reader.pieces(encoded.normal) + ("",) * eos,
            expected=expected,
        )


def end_of_documents(tokenizer: Tokenizer, eos: bool) -> Ids:
    """What is scored after a text: the ``<eos>`` if it counts, else nothing.

    Raises:
        SettingsError: an ``<eos>`` is asked of a model of one stream.
    """
    if eos and tokenizer.eos_id is None:
        raise SettingsError(
            tr("the end of a document is to be scored, but the model knows no documents"), expected=tr("a model of documents")
        )
    return np.array([tokenizer.eos_id] if eos else [], dtype=np.int64)


def convention_of(tokenizer: Tokenizer, *, after: bool, eos: bool, unknown: int | None = None, lines: Lines | None = None) -> str:
    """What was measured, in one line: the unit, the state, the first symbol's condition, unseen symbols, the ends.

    Args:
        tokenizer: of the model.
        after: whether a context was read first.
        eos: whether the ``<eos>`` counts.
        unknown: how many symbols were unseen; None: not known beforehand.
        lines: how lines follow one another; None: it was one text.
    """
    documents = tokenizer.eos_id is not None
    if lines is None:
        state = tr("every symbol from the beginning, state carried")
    elif lines == "carry":
        state = tr("every symbol, state carried from line to line as through one text")
    elif after:
        state = tr("every symbol of each line, each line from the beginning of the context, nothing carried over")
    else:
        state = tr("every symbol of each line, each line from the beginning, nothing carried over")
    if documents and lines == "carry" and after:
        first = tr("first symbol of each line after <eos>, before the first line the context given")
    elif documents and lines == "carry":
        first = tr("first symbol of each line after <eos>")
    elif after:
        first = tr("first symbol after the context given")
    elif documents:
        first = tr("first symbol as the first of a document")
    else:
        first = tr("first symbol by the training text's frequencies, plus one")
    if unknown is not None:
        unseen = tr("no unseen symbols") if unknown == 0 else tr("{count} unseen scored as <unk>", count=unknown)
    elif tokenizer.knows_everything:
        unseen = tr("no symbol is unseen")
    else:
        unseen = tr("unseen symbols are refused") if tokenizer.unk_id is None else tr("unseen symbols scored as <unk>")
    told = [state, first, unseen]
    if documents:
        told.append(tr("<eos> counted") if eos else tr("<eos> not counted"))
    elif lines is not None:
        told.append(tr("the line feed after each line counted") if lines == "carry" else tr("line ends not counted"))
    return "; ".join([*told, tr("in nats unless bits are named")])


def orders_of(symbols: Iterable[str]) -> list[str]:
    """All distinct orders of some symbols, as texts, in the order of the code points, the order given first.

    Raises:
        TextError: there are none, or more than 8.
    """
    given = list(symbols)
    if not 0 < len(given) <= MOST_LETTERS:
        counts = Counter(given)
        number = math.factorial(len(given)) // math.prod(math.factorial(count) for count in counts.values())
        raise TextError(
            tr("{word:.60} has {letters} letters, so {orders:,.0f} orders", word="".join(given), letters=len(given), orders=number)
            if given
            else tr("a word without letters has no orders"),
            expected=tr("1 to {most} letters", most=MOST_LETTERS),
        )
    found = {"".join(given): None}

    def go_on(begun: str, left: Counter[str]) -> None:
        if not left:
            found.setdefault(begun)
        for symbol in sorted(left):
            go_on(begun + symbol, left - Counter([symbol]))

    go_on("", Counter(given))
    return list(found)
