"""Many texts written at once: whole or in pieces as they come, each as if it were alone.

It does not know where the engine and the tokenizer came from, nor what is done with the texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from escriba.engine.protocol import Engine, Ids, join_states, state_rows
from escriba.engine.sampling import draw, filtered
from escriba.errors import SettingsError
from escriba.inference.drawing import Drawing
from escriba.inference.ending import Ending, FinishReason, checked_begins, checked_length, checked_room, checked_stops
from escriba.inference.reading import Position, Reader, as_texts, fresh_seed, uniform_stream
from escriba.language import tr
from escriba.settings import SampleSettings
from escriba.text.tokenizer import Tokenizer

__all__ = ["Generated", "Generator", "Start", "Stream"]

_FIRST_CHUNK = 16
"""Symbols a row asked of the engine at once at first, and always in a stream, so that its pieces come soon."""

_LARGEST_CHUNK = 128
"""Symbols a row at once later on."""

_ROWS_AT_ONCE = 256
"""Rows written side by side; the others wait for a place."""


@dataclass(frozen=True)
class Generated:
    """A text that was written.

    Attributes:
        prompt: as it was given.
        text: what was written after it, what it had to begin with included.
        log_likelihood: nats, of `ids` after the prompt, under the model itself (before bans, temperature and filters); a final
            ``<eos>`` is not counted. It equals the text's score after the prompt wherever the text, cut into symbols again, gives `ids`:
            not where its end cuts a word, nor where the model wrote what no text is cut into (two words without a blank between
            them, bytes that are no character, an accent apart from its letter).
        seed: of the call.
        row: the row's number in the call.
        finish_reason: "stop" before a stop string, "length" at the length, "eos" where the model ended the document.
        ids: the symbols written. Where a symbol holds several characters, the last one may reach beyond the end of the text.
        notices: sentences about symbols of the prompt that the model has never seen.
    """

    prompt: str
    text: str
    log_likelihood: float
    seed: int
    row: int
    finish_reason: FinishReason
    ids: tuple[int, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Start:
    """A place from which texts are written.

    Attributes:
        prompt: as it was given.
        begins: what every text begins with, behind the prompt.
        position: the place behind both.
        ids: of both.
        log_probs: nats, of each symbol of `begins`.
        notices: sentences about symbols of both that the model has never seen.
    """

    prompt: str
    begins: str
    position: Position
    ids: Ids
    log_probs: tuple[float, ...]
    notices: tuple[str, ...]


@dataclass
class _Row:
    """A text being written."""

    number: int
    start: Start
    position: Position
    uniforms: np.random.Generator
    drawing: Drawing
    ending: Ending
    pieces: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)


class Stream(Iterator[tuple[int, str]]):
    """Pieces of texts as they are written: an iterator of (row, piece). The pieces of a row join to its whole text.

    A piece is never empty, never holds a part of a stop string or of a character, and is never taken back. A row whose text is
    empty has no piece.

    Attributes:
        seed: of the draws, whether chosen or not.
        notices: sentences about symbols of the prompts that the model has never seen.
        finished: the rows that have ended, by their number; nothing is kept of a stream without a length, which may go on for ever.
    """

    def __init__(self, seed: int, notices: tuple[str, ...], finished: dict[int, Generated], pieces: Iterator[tuple[int, str]]) -> None:
        self.seed = seed
        self.notices = notices
        self.finished = finished
        self._pieces = pieces

    def __next__(self) -> tuple[int, str]:
        return next(self._pieces)


class Generator:
    """Writes texts after prompts.

    A row's text depends on its prompt, the seed and the row's number alone: not on how many rows are written with it, and not on
    whether it is streamed. (With PyTorch's engine, whose last bits depend on the batch, very nearly so.)

    Args:
        engine: what runs the model.
        tokenizer: what cuts texts into its symbols.

    Raises:
        SettingsError: the two have vocabularies of different sizes.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self._reader = Reader(engine, tokenizer)

    @property
    def tokenizer(self) -> Tokenizer:
        """What cuts texts into its symbols."""
        return self._reader.tokenizer

    def generate(
        self,
        prompts: str | Sequence[str] = "",
        *,
        samples: int = 1,
        length: int = 500,
        settings: SampleSettings | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        begins: str = "",
    ) -> list[Generated]:
        """Writes texts, whole.

        Args:
            prompts: what the texts begin with, of any length, or empty; one prompt or several.
            samples: texts a prompt, 1 or more. Row ``prompt * samples + k`` is the k-th text of a prompt.
            length: characters after which a text is cut, 0 or more.
            settings: how symbols are drawn.
            seed: of the draws, 0 or more; None: one that nobody chose, told with every text.
            stop: strings before which a text ends. They are looked for in what is written, neither in the prompt nor in `begins`.
            begins: what every text begins with: a part of the text, counted in its length and in its likelihood.

        Returns:
            One text a row, in the order of rows.

        Raises:
            SettingsError: a value is out of its range, or nothing is left to draw.
            UnknownSymbolError: a symbol of a prompt is unseen, and the vocabulary has no ``<unk>``.
        """
        stream = self._begun(prompts, samples, checked_length(length), settings, seed, stop, begins, _LARGEST_CHUNK)
        for _ in stream:
            pass
        return [stream.finished[row] for row in sorted(stream.finished)]

    def rows(
        self,
        starts: Iterable[tuple[Start, int]],
        *,
        length: int,
        settings: SampleSettings,
        seed: int,
        stop: str | Sequence[str] = (),
    ) -> list[Generated]:
        """Writes the texts of some rows of a call, each from its start.

        Args:
            starts: for each text where it starts, from `start`, and its row, 0 or more; no row twice.
            length: as for `generate`.
            settings: as for `generate`.
            seed: as for `generate`.
            stop: as for `generate`.

        Returns:
            The texts, in the order of rows.

        Raises:
            SettingsError: as for `generate`.
        """
        finished: dict[int, Generated] = {}
        for _ in self._pieces(starts, settings, seed, checked_length(length), self._stops(stop), _LARGEST_CHUNK, finished):
            pass
        return [finished[row] for row in sorted(finished)]

    def start(self, prompt: str = "", begins: str = "") -> Start:
        """Reads a prompt, and what texts begin with behind it: a place from which `rows` writes.

        Raises:
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
        """
        reader = self._reader
        ids, unknown = reader.encode(prompt)
        more, unknown_more = reader.encode(begins)
        log_probs, position = reader.read(reader.skip(reader.begin(), ids), more)
        notices = tuple(reader.notice(one) for one in (unknown, unknown_more) if one)
        everything = np.concatenate([ids, more])
        return Start(prompt, reader.tokenizer.normalize(begins), position, everything, tuple(log_probs.tolist()), notices)

    def stream(
        self,
        prompts: str | Sequence[str] = "",
        *,
        samples: int = 1,
        length: int | None = 500,
        settings: SampleSettings | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        begins: str = "",
    ) -> Stream:
        """Writes the same texts, piece by piece.

        Args:
            prompts: as for `generate`.
            samples: as for `generate`.
            length: as for `generate`; None: a text ends at a stop string or at the end of its document, or never.
            settings: as for `generate`.
            seed: as for `generate`.
            stop: as for `generate`.
            begins: as for `generate`.

        Raises:
            SettingsError: as for `generate`, before the first piece is asked for.
            UnknownSymbolError: likewise.
        """
        checked = None if length is None else checked_length(length)
        return self._begun(prompts, samples, checked, settings, seed, stop, begins, _FIRST_CHUNK)

    def _begun(
        self,
        prompts: str | Sequence[str],
        samples: int,
        length: int | None,
        settings: SampleSettings | None,
        seed: int | None,
        stop: str | Sequence[str],
        begins: str,
        largest_chunk: int,
    ) -> Stream:
        """Checks everything, so that errors come at the call, and makes the stream, which starts to write when it is asked."""
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise SettingsError(tr("samples is {samples!r}", samples=samples), expected=tr("1 or more"))
        texts, stops = as_texts(prompts, "prompts"), self._stops(stop)
        settings = settings or SampleSettings()
        self._drawing(settings, np.empty(0, dtype=np.int64), 0)
        chosen = fresh_seed() if seed is None else seed
        uniform_stream(chosen, 0)
        checked_room(self._reader.tokenizer.normalize(checked_begins(begins)), length)
        unseen = [unknown for _, unknown in map(self._reader.encode, dict.fromkeys([*texts, begins])) if unknown]

        def starts() -> Iterator[tuple[Start, int]]:
            for at, text in enumerate(texts):
                start = self.start(text, begins)  # read once for all its samples
                for number in range(at * samples, (at + 1) * samples):
                    yield start, number

        finished: dict[int, Generated] = {}
        pieces = self._pieces(starts(), settings, chosen, length, stops, largest_chunk, finished)
        return Stream(chosen, tuple(map(self._reader.notice, unseen)), finished, pieces)

    def _stops(self, stop: str | Sequence[str]) -> tuple[str, ...]:
        return checked_stops([self._reader.tokenizer.normalize(one) for one in as_texts(stop, "stop")])

    def _drawing(self, settings: SampleSettings, ids: Ids, place: int) -> Drawing:
        return Drawing(settings, self._reader.banned, self._reader.tokenizer.vocab_size, ids, place)

    def _row(self, start: Start, number: int, settings: SampleSettings, seed: int, length: int | None, stops: tuple[str, ...]) -> _Row:
        left = None if length is None else length - len(start.begins)
        ending = Ending(self._reader.tokenizer.decoder(), length=left, stop=stops, eos_id=self._reader.tokenizer.eos_id)
        drawing = self._drawing(settings, start.ids, len(start.log_probs))
        return _Row(number, start, start.position, uniform_stream(seed, number), drawing, ending)

    def _pieces(
        self,
        starts: Iterable[tuple[Start, int]],
        settings: SampleSettings,
        seed: int,
        length: int | None,
        stops: tuple[str, ...],
        largest_chunk: int,
        finished: dict[int, Generated],
    ) -> Iterator[tuple[int, str]]:
        """Writes all rows, some at once; a row that ends gives its place to the next."""
        waiting = (self._row(start, number, settings, seed, length, stops) for start, number in starts)
        active: list[_Row] = []
        chunk = _FIRST_CHUNK
        while True:
            # Without a length nobody may ever leave, so nobody is made to wait.
            while length is None or len(active) < _ROWS_AT_ONCE:
                row = next(waiting, None)
                if row is None:
                    break
                if row.start.begins:
                    yield row.number, row.start.begins
                yield from self._take(row, self._first(row), length)
                if row.ending.finished is None:
                    active.append(row)
                else:
                    self._close(row, seed, length, finished)
            if not active:
                return
            needed = chunk if length is None else max(length - len(row.start.begins) - row.ending.characters for row in active)
            for row, drawn in zip(active, self._written(active, min(chunk, needed)), strict=True):
                yield from self._take(row, drawn, length)
                if row.ending.finished is not None:
                    self._close(row, seed, length, finished)
            active = [row for row in active if row.ending.finished is None]
            chunk = min(2 * chunk, largest_chunk)

    def _first(self, row: _Row) -> list[tuple[int, float]]:
        """At the very start of a stream, where the network has nothing to read: the first symbol. Else nothing."""
        if row.position.last is not None or row.ending.finished is not None:
            return []
        log_probs_V, state = self._reader.next_log_probs(row.position)
        token = draw(filtered(log_probs_V, row.drawing.sampling()), row.uniforms.random())
        row.drawing.push(token)
        row.position = Position(state, token)
        return [(token, float(log_probs_V[token]))]

    def _written(self, active: list[_Row], chunk: int) -> list[list[tuple[int, float]]]:
        """A chunk of symbols for every row, with their log-probabilities."""
        write = self._reader.engine.write
        last_B = np.array([row.position.last for row in active], dtype=np.int64)
        uniforms_BT = np.stack([row.uniforms.random(chunk) for row in active])
        state = join_states([row.position.state for row in active])
        fixed = [row.drawing.fixed for row in active if row.drawing.fixed is not None]
        if fixed:  # all rows have the same settings
            ids_BT, log_probs_BT, state = write(last_B, state, fixed, uniforms_BT)
        else:
            ids_BT, log_probs_BT = np.empty(uniforms_BT.shape, dtype=np.int64), np.empty(uniforms_BT.shape)
            for t in range(chunk):
                samplings = [row.drawing.sampling() for row in active]
                drawn_B1, log_probs_B1, state = write(last_B, state, samplings, uniforms_BT[:, t : t + 1])
                last_B = ids_BT[:, t] = drawn_B1[:, 0]
                log_probs_BT[:, t] = log_probs_B1[:, 0]
                for row, token in zip(active, last_B.tolist(), strict=True):
                    row.drawing.push(token)
        for at, row in enumerate(active):
            row.position = Position(state_rows(state, [at]), int(ids_BT[at, -1]))
        return [list(zip(ids.tolist(), log_probs.tolist(), strict=True)) for ids, log_probs in zip(ids_BT, log_probs_BT, strict=True)]

    def _take(self, row: _Row, drawn: list[tuple[int, float]], length: int | None) -> Iterator[tuple[int, str]]:
        """Adds what was drawn to a row, as far as its end; what lies behind the end was written in vain."""
        pieces = []
        for token, log_prob in drawn:
            pieces.append(row.ending.push(token))
            if length is not None:
                row.ids.append(token)
                row.log_probs.append(log_prob)
            if row.ending.finished is not None:
                break
        piece = "".join(pieces)
        if piece:
            if length is not None:
                row.pieces.append(piece)
            yield row.number, piece

    def _close(self, row: _Row, seed: int, length: int | None, finished: dict[int, Generated]) -> None:
        """Keeps a row that has ended, unless the stream may go on for ever."""
        if length is None or row.ending.finished is None:
            return
        count, start = row.ending.count, row.start
        finished[row.number] = Generated(
            prompt=start.prompt,
            text=start.begins + "".join(row.pieces),
            log_likelihood=sum(start.log_probs) + sum(row.log_probs[:count]),
            seed=seed,
            row=row.number,
            finish_reason=row.ending.finished,
            ids=(*start.ids[len(start.ids) - len(start.log_probs) :].tolist(), *row.ids[:count]),
            notices=start.notices,
        )
