"""Many texts written at once: whole or in pieces as they come, each as if it were alone.

It does not know where the engine and the tokenizer came from, nor what is done with the texts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from escriba.engine.protocol import Engine, Floats, Ids, State, join_states, state_rows
from escriba.engine.sampling import draw, filtered
from escriba.errors import SettingsError
from escriba.inference.drawing import Drawing
from escriba.inference.ending import Ending, checked_begins, checked_length, checked_room, checked_stops
from escriba.inference.reading import Reader, as_texts, fresh_seed, uniform_stream
from escriba.inference.written import Generated, Start, Stream
from escriba.language import tr
from escriba.settings import SampleSettings
from escriba.text.tokenizer import Tokenizer

__all__ = ["Generated", "Generator", "Start", "Stream"]

_FIRST_CHUNK = 16
"""Symbols a row asked of the engine at once at first."""

_SMALLEST_CHUNK = 4
"""The same of a stream, so that its first piece comes soon; and where texts end soon."""

_LARGEST_CHUNK = 256
"""Symbols a row at once later on."""

_PIECE_S = 0.02
"""Seconds in which a chunk of a stream must have come for the next one to be larger: its pieces are to come soon."""

_IN_VAIN = 0.25
"""Share of a chunk's symbols behind the ends of texts from which on the next one is smaller, for they are written in vain."""

_ROWS_AT_ONCE = 256
"""Rows written side by side; the others wait for a place."""


@dataclass
class _Row:
    """A text being written."""

    number: int
    start: Start
    last: int | None  # the id that waits to be read
    uniforms: np.random.Generator
    drawing: Drawing
    ending: Ending
    pieces: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)


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
        stream = self._begun(prompts, samples, checked_length(length), settings, seed, stop, begins, soon=False)
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
        for _ in self._pieces(starts, settings, seed, checked_length(length), self._stops(stop), False, finished):
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
        return self._begun(prompts, samples, checked, settings, seed, stop, begins, soon=True)

    def _begun(
        self,
        prompts: str | Sequence[str],
        samples: int,
        length: int | None,
        settings: SampleSettings | None,
        seed: int | None,
        stop: str | Sequence[str],
        begins: str,
        *,
        soon: bool,
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
        pieces = self._pieces(starts(), settings, chosen, length, stops, soon, finished)
        return Stream(chosen, tuple(map(self._reader.notice, unseen)), finished, pieces)

    def _stops(self, stop: str | Sequence[str]) -> tuple[str, ...]:
        return checked_stops([self._reader.tokenizer.normalize(one) for one in as_texts(stop, "stop")])

    def _drawing(self, settings: SampleSettings, ids: Ids, place: int) -> Drawing:
        return Drawing(settings, self._reader.banned, self._reader.tokenizer.vocab_size, ids, place)

    def _row(self, start: Start, number: int, settings: SampleSettings, seed: int, length: int | None, stops: tuple[str, ...]) -> _Row:
        left = None if length is None else length - len(start.begins)
        ending = Ending(self._reader.tokenizer.decoder(), length=left, stop=stops, eos_id=self._reader.tokenizer.eos_id)
        drawing = self._drawing(settings, start.ids, len(start.log_probs))
        return _Row(number, start, start.position.last, uniform_stream(seed, number), drawing, ending)

    def _pieces(
        self,
        starts: Iterable[tuple[Start, int]],
        settings: SampleSettings,
        seed: int,
        length: int | None,
        stops: tuple[str, ...],
        soon: bool,
        finished: dict[int, Generated],
    ) -> Iterator[tuple[int, str]]:
        """Writes all rows, some at once; a row that ends gives its place to the next. How many symbols at once leaves no trace."""
        waiting = (self._row(start, number, settings, seed, length, stops) for start, number in starts)
        active: list[_Row] = []
        states: list[State] = []  # of the active rows, in their order; one for all those that were written together
        chunk = min(_FIRST_CHUNK, _SMALLEST_CHUNK if soon else _LARGEST_CHUNK)
        while True:
            # Without a length nobody may ever leave, so nobody is made to wait.
            while length is None or len(active) < _ROWS_AT_ONCE:
                row = next(waiting, None)
                if row is None:
                    break
                if row.start.begins:
                    yield row.number, row.start.begins
                if row.last is None and row.ending.finished is None:
                    piece, _ = self._take(row, *self._first(row), length)
                    if piece:
                        yield row.number, piece
                if row.ending.finished is None:
                    active.append(row)
                    states.append(row.start.position.state)
                else:
                    self._close(row, seed, length, finished)
            if not active:
                return
            needed = chunk if length is None else max(length - len(row.start.begins) - row.ending.characters for row in active)
            began, taken = time.perf_counter(), 0
            ids_BT, log_probs_BT, state = self._written(active, states[0] if len(states) == 1 else join_states(states), min(chunk, needed))
            in_time = not soon or time.perf_counter() - began < _PIECE_S
            for at, row in enumerate(active):
                piece, many = self._take(row, ids_BT[at], log_probs_BT[at], length)
                taken += many
                if piece:
                    yield row.number, piece
                if row.ending.finished is not None:
                    self._close(row, seed, length, finished)
            going = [at for at, row in enumerate(active) if row.ending.finished is None]
            states = [state if len(going) == len(active) else state_rows(state, going)] if going else []
            active = [active[at] for at in going]
            if taken < (1 - _IN_VAIN) * ids_BT.size:
                chunk = max(min(chunk, _SMALLEST_CHUNK), chunk // 2)
            elif in_time:
                chunk = min(2 * chunk, _LARGEST_CHUNK)

    def _first(self, row: _Row) -> tuple[Ids, Floats]:
        """The first symbol at the very start of a stream, where the network has nothing to read, and its log-probability."""
        log_probs_V, _ = self._reader.next_log_probs(row.start.position)
        row.last = token = draw(filtered(log_probs_V, row.drawing.sampling()), row.uniforms.random())
        row.drawing.push(token)
        return np.array([token]), log_probs_V[[token]]

    def _written(self, active: list[_Row], state: State, chunk: int) -> tuple[Ids, Floats, State]:
        """A chunk of symbols for every row, their log-probabilities, and the state of all rows."""
        write = self._reader.engine.write
        last_B = np.array([row.last for row in active], dtype=np.int64)
        uniforms_BT = np.stack([row.uniforms.random(chunk) for row in active])
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
        for row, last in zip(active, ids_BT[:, -1].tolist(), strict=True):
            row.last = last
        return ids_BT, log_probs_BT, state

    def _take(self, row: _Row, ids_T: Ids, log_probs_T: Floats, length: int | None) -> tuple[str, int]:
        """Adds what was drawn to a row, as far as its end; what lies behind the end was written in vain.

        Returns:
            The piece of text that it makes, and how many symbols were taken.
        """
        piece, taken = row.ending.take(ids_T)
        if length is not None:
            row.ids += ids_T[:taken].tolist()
            row.log_probs += log_probs_T[:taken].tolist()
            if piece:
                row.pieces.append(piece)
        return piece, taken

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
