"""Scores the lines of a text of any length as they come, in batches of lines of like length, and gives them back in their order.

It does not know where the lines came from, nor where the engine and the tokenizer did.

Shapes: N symbols.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from escriba.engine.protocol import Engine, Ids
from escriba.errors import TextError, UnknownSymbolError
from escriba.inference.reading import Position, Reader
from escriba.inference.scorer import Lines, convention_of, end_of_documents
from escriba.language import tr
from escriba.text.plain import LINE_END, split
from escriba.text.tokenizer import Tokenizer

__all__ = ["LineScore", "lines_in", "score_lines"]

_LINES_AHEAD = 8192
"""Lines read before the first of them is given back: among so many there are enough of like length."""

_CHARACTERS_AHEAD = 2**20
"""Characters after which no further line is read ahead."""


@dataclass(frozen=True)
class LineScore:
    """How likely one line is to a model.

    Attributes:
        line: its number, from 1.
        log_likelihood: nats; 0 for a line without symbols.
        symbols: how many symbols were scored.
        characters: of the line as it was scored, that is normalized, and with its line feed where that counts.
        unknown: symbols that the model has never seen, scored as ``<unk>``.
        text: the line as it was given.
        convention: one line that says what exactly was measured.
    """

    line: int
    log_likelihood: float
    symbols: int
    characters: int
    unknown: int
    text: str
    convention: str

    @property
    def bits_per_char(self) -> float | None:
        """Bits for each character of the line; None for an empty line."""
        return -self.log_likelihood / math.log(2) / self.characters if self.characters else None

    def as_dict(self) -> dict[str, Any]:
        """The fields as ``escriba score --per-line --json`` prints them."""
        fields = asdict(self)
        text, convention = fields.pop("text"), fields.pop("convention")
        return {**fields, "bits_per_char": self.bits_per_char, "text": text, "convention": convention}


@dataclass(frozen=True)
class _Line:
    """A line made ready to be scored."""

    number: int
    text: str
    characters: int
    ids: Ids
    unknown: int


def score_lines(
    engine: Engine, tokenizer: Tokenizer, lines: Iterable[str], after: str = "", *, carry: bool = False, eos: bool = False
) -> Iterator[LineScore]:
    """The score of each line, in their order.

    A bounded number of lines is read ahead and nothing is kept of those that were given back, so the text may be of any length.

    Args:
        engine: what runs the model.
        tokenizer: what cuts lines into its symbols.
        lines: the lines without their ends. An empty one has no symbols and the log-likelihood 0, unless its end counts.
        after: a context that is read first and not scored: before each line, or, if the state is carried, before the first.
        carry: carry the state from line to line as through one text: in a stream the line feed after each line counts as its last
            symbol; in documents an ``<eos>`` is read after each.
        eos: count the ``<eos>`` after each line: how likely is it that a document is just this.

    Raises:
        SettingsError: an ``<eos>`` is asked of a model of one stream; the engine and the tokenizer do not fit together.
        UnknownSymbolError: a symbol is unseen and the vocabulary has no ``<unk>``; it names the line, and those before it are given first.
        TextError: a line is no string.
    """
    reader = Reader(engine, tokenizer)
    stream_end = "\n" if carry and tokenizer.eos_id is None else ""
    scoring = _Scoring(reader, after, carry, eos, end_of_documents(tokenizer, eos), stream_end)
    return scoring.scores(iter(enumerate(lines, 1)))


class _Scoring:
    """One text whose lines are being scored."""

    def __init__(self, reader: Reader, after: str, carry: bool, eos: bool, end: Ids, stream_end: str) -> None:
        self._reader, self._end, self._carry, self._stream_end = reader, end, carry, stream_end
        context, _ = reader.encode(after)
        self._position = reader.skip(reader.begin(), context)
        if carry and reader.tokenizer.eos_id is not None and len(context):
            self._position = self._document_over(self._position)
        lines: Lines = "carry" if carry else "reset"
        self._convention = convention_of(reader.tokenizer, after=len(context) > 0, eos=eos, lines=lines)

    def scores(self, numbered: Iterator[tuple[int, str]]) -> Iterator[LineScore]:
        """The scores of lines with their numbers, a window of lines at a time."""
        failure: UnknownSymbolError | None = None
        while failure is None:
            window, failure = self._window(numbered)
            if not window and failure is None:
                return
            sums = self._carried(window) if self._carry else self._each_anew(window)
            for line, total in zip(window, sums, strict=True):
                yield LineScore(line.number, total, len(line.ids), line.characters, line.unknown, line.text, self._convention)
        raise failure

    def _window(self, numbered: Iterator[tuple[int, str]]) -> tuple[list[_Line], UnknownSymbolError | None]:
        """Some more lines, and what is wrong with the one after them."""
        window: list[_Line] = []
        characters = 0
        while len(window) < _LINES_AHEAD and characters < _CHARACTERS_AHEAD:
            number, text = next(numbered, (0, ""))
            if number == 0:
                break
            if not isinstance(text, str):
                raise TextError(
                    tr("line {number:,} is {text!r:.60}, of type {type}", number=number, text=text, type=type(text).__name__),
                    expected=tr("lines, each a string"),
                )
            try:
                ids, unknown = self._reader.encode(text + self._stream_end)
            except UnknownSymbolError as error:
                return window, UnknownSymbolError(
                    tr("line {number:,}: {met}", number=number, met=error.met), expected=error.expected, hint=error.hint
                )
            normal = len(self._reader.tokenizer.normalize(text)) + len(self._stream_end)
            window.append(_Line(number, text, normal, np.concatenate([ids, self._end]), sum(unknown.values())))
            characters += len(text) + 1
        return window, None

    def _each_anew(self, window: list[_Line]) -> list[float]:
        """The log-likelihoods of lines that know nothing of each other."""
        readings = iter(self._reader.look_many(self._position, [line.ids for line in window if len(line.ids)]))
        return [float(next(readings).log_probs.sum()) if len(line.ids) else 0.0 for line in window]

    def _carried(self, window: list[_Line]) -> list[float]:
        """The log-likelihoods of lines that follow one another, read as one text."""
        if self._reader.tokenizer.eos_id is None:
            parts, counted = [line.ids for line in window], [len(line.ids) for line in window]
        else:
            over = np.array([self._reader.tokenizer.eos_id], dtype=np.int64)
            parts = [line.ids if len(self._end) else np.concatenate([line.ids, over]) for line in window]
            counted = [len(line.ids) for line in window]
        log_probs, self._position = self._reader.read(self._position, np.concatenate(parts) if parts else np.empty(0, dtype=np.int64))
        starts = np.cumsum([0, *map(len, parts)])
        return [float(log_probs[start : start + count].sum()) for start, count in zip(starts, counted, strict=False)]

    def _document_over(self, position: Position) -> Position:
        """The place after the ``<eos>`` that ends a document."""
        return self._reader.skip(position, np.array([self._reader.tokenizer.eos_id], dtype=np.int64))


def lines_in(texts: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in parts, without their ends (LF, CRLF or CR); no more of it is kept than the line that is begun.

    Args:
        texts: the parts, cut anywhere.
    """
    begun: list[str] = []
    for text in texts:
        begun.append(text)
        if "\n" not in text and "\r" not in text:
            continue  # joined once a line ends: one by one, the parts of a long line would be copied again and again
        whole = "".join(begun)
        half = "\r" if whole.endswith("\r") else ""  # perhaps the first half of CRLF
        lines = LINE_END.split(whole.removesuffix(half))
        begun = [lines.pop() + half]
        yield from lines
    if rest := "".join(begun):
        yield from split(rest, "line")
