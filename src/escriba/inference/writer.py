"""One text being written: what comes next, what a person adds, what the model writes on, and branches of it.

It does not know where the engine and the tokenizer came from, nor of other texts.

Shapes: V vocabulary, N symbols.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from escriba.engine.protocol import Engine, Floats, Ids, State
from escriba.engine.sampling import draw, filtered
from escriba.errors import SettingsError
from escriba.inference.drawing import Drawing
from escriba.inference.ending import Ending, FinishReason, checked_length, checked_stops
from escriba.inference.reading import Position, Reader, as_texts, fresh_seed, uniform_stream
from escriba.language import later, tr
from escriba.settings import SampleSettings
from escriba.text.tokenizer import Tokenizer

__all__ = ["Distribution", "Writer"]

_CHUNK = 32
"""Symbols asked of the engine at once at first; what lies behind a stop string is written in vain."""

_LARGEST_CHUNK = 256
"""Symbols at once later on, where there is no stop string."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """How likely each symbol is to come next.

    Attributes:
        log_probs: nats, float64, (V,).
        symbols: the vocabulary, in the order of ids.
    """

    log_probs: Floats
    symbols: tuple[str, ...]

    @property
    def probabilities(self) -> Floats:
        """The probabilities, (V,); they sum to one."""
        return np.asarray(np.exp(self.log_probs))

    def top(self, n: int = 10) -> list[tuple[str, float]]:
        """The n likeliest symbols with their probabilities, the likeliest first, lower ids first among equals."""
        order = np.argsort(-self.log_probs, kind="stable")[: max(0, n)]
        return [(self.symbols[at], float(np.exp(self.log_probs[at]))) for at in order]

    def __str__(self) -> str:
        return "\n".join(f"{symbol!r:<8} {probability:8.2%}" for symbol, probability in self.top())


class Writer:
    """A text that goes on: the model writes, a person adds, and each symbol is read once, however long the text has become.

    Args:
        engine: what runs the model.
        tokenizer: what cuts texts into its symbols.
        prompt: what the text begins with; it may be empty.
        settings: how symbols are drawn.
        seed: of the draws, 0 or more; None: one that nobody chose, kept in `seed`.
        row: which of the seed's streams of numbers to draw from: row k draws as row k of a `Generator`'s call does.

    Attributes:
        prompt: as it was given.
        text: the prompt and all that followed.
        log_likelihood: nats, of all that followed the prompt, each symbol under the model itself (before bans, temperature, filters).
        finished: "eos" once the model has ended the document; it writes no more unless something is pushed.
        notices: sentences about symbols that the model has never seen.
        seed, row: of the draws.

    Raises:
        SettingsError: the engine and the tokenizer do not fit together; a seed is out of its range.
        UnknownSymbolError: a symbol of the prompt is unseen, and the vocabulary has no ``<unk>``.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        prompt: str = "",
        *,
        settings: SampleSettings | None = None,
        seed: int | None = None,
        row: int = 0,
    ) -> None:
        self._reader = Reader(engine, tokenizer)
        self.settings = settings or SampleSettings()
        self.seed = fresh_seed() if seed is None else seed
        self.row = row
        self._uniforms = uniform_stream(self.seed, row)
        ids, unknown = self._reader.encode(prompt)
        self.prompt = prompt
        self.text = prompt
        self.log_likelihood = 0.0
        self.finished: FinishReason | None = None
        self.notices: tuple[str, ...] = (self._reader.notice(unknown),) if unknown else ()
        self._prompt_ids = ids  # not changed by anybody, so branches share them
        self._ids: list[int] = []
        self._decoder = tokenizer.decoder()
        self._position = self._reader.skip(self._reader.begin(), ids)
        self._looked: tuple[Floats, State] | None = None  # the next symbol's log-probabilities, once asked for

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the whole text, the prompt's included, without the ``<eos>`` that begins a document."""
        return (*self._prompt_ids.tolist(), *self._ids)

    @property
    def banned(self) -> tuple[int, ...]:
        """The ids that are never written: ``<unk>``."""
        return self._reader.banned

    @property
    def eos_id(self) -> int | None:
        """The id of ``<eos>``; None in a model of one stream."""
        return self._reader.tokenizer.eos_id

    def next(self) -> Distribution:
        """How likely each symbol is to come next, under the model itself: before bans, temperature and filters."""
        log_probs_V, _ = self._look()
        return Distribution(log_probs_V.copy(), tuple(self._reader.tokenizer.symbols))

    def push(self, text: str) -> None:
        """Adds a text of the person's own, as if it had been written.

        Raises:
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
        """
        ids, unknown = self._reader.encode(text)
        if len(ids) == 0:
            return
        log_probs_V, state = self._look()
        read, position = self._reader.read(Position(state, int(ids[0])), ids[1:])
        # Nothing above has changed the writer: an error leaves it as it was.
        self._move(position)
        self.log_likelihood += float(log_probs_V[ids[0]]) + float(read.sum())
        self.text += self._decoder.flush() + text
        self._decoder = self._reader.tokenizer.decoder()
        self._ids += ids.tolist()
        self.finished = None
        if unknown:
            self.notices += (self._reader.notice(unknown),)

    def take(self, token: int) -> None:
        """Adds one symbol by its id, as if it had been written; ``<eos>`` ends the document.

        Raises:
            SettingsError: the id is not in the vocabulary, is ``<unk>``, or the document has ended.
        """
        tokenizer = self._reader.tokenizer
        if not 0 <= token < tokenizer.vocab_size or token in self._reader.banned or self.finished is not None:
            ended = later("id {id} cannot be written after the document has ended")
            raise SettingsError(
                tr("id {id} cannot be written", id=token) if self.finished is None else tr(ended, id=token),
                expected=tr("ids 0 to {last}, but for <unk>", last=tokenizer.vocab_size - 1),
            )
        if token == tokenizer.eos_id:
            self.text += self._decoder.flush()
            self.finished = "eos"
            return
        log_probs_V, state = self._look()
        self._move(Position(state, token))
        self.log_likelihood += float(log_probs_V[token])
        self._ids.append(token)
        self.text += self._decoder.push([token])

    def write(self, length: int = 500, *, stop: str | Sequence[str] = (), settings: SampleSettings | None = None) -> str:
        """Writes on.

        The text ends before a stop string; the next call goes on from there with new draws, and `push` takes the stop string over.
        Symbols are never cut: where one holds several characters (words, or bytes that make no character), the text may be a little
        longer than asked for, and a stop string within a symbol takes the whole symbol back.

        Args:
            length: characters to write, 0 or more.
            stop: strings to end before.
            settings: how to draw in this call; None: the writer's own.

        Returns:
            What was written: shorter than `length` when a stop string or the end of the document came first.

        Raises:
            SettingsError: the length is negative, a stop string empty, or nothing is left to draw.
        """
        tokenizer = self._reader.tokenizer
        stops = checked_stops([tokenizer.normalize(one) for one in as_texts(stop, "stop")])
        ending = Ending(self._decoder.copy(), length=checked_length(length), stop=stops, eos_id=tokenizer.eos_id)
        if self.finished is not None:
            return ""
        settings = settings or self.settings
        before = () if settings.no_repeat is None else self.ids
        drawing = Drawing(settings, self._reader.banned, tokenizer.vocab_size, before, len(self._ids))
        written: list[int] = []
        log_probs: list[float] = []
        start = (0, self._position, self._looked)
        marks = [start]  # places to wind back to, each behind so many written symbols
        draws = self._uniforms.bit_generator.state
        chunk = _CHUNK
        try:
            while ending.finished is None:
                draws_before = self._uniforms.bit_generator.state
                ids_N, log_probs_N = self._drawn(min(chunk, length - ending.characters), drawing)
                chunk = chunk if stops else min(2 * chunk, _LARGEST_CHUNK)
                _, used = ending.take(ids_N)
                written += ids_N[:used].tolist()
                log_probs += log_probs_N[:used].tolist()
                if used < len(ids_N):  # what was drawn in vain is drawn again, so chunks leave no trace
                    self._uniforms.bit_generator.state = draws_before
                    self._uniforms.random(used)
                else:
                    marks.append((len(written), self._position, self._looked))
                while len(marks) > 1 and marks[1][0] <= ending.settled:
                    del marks[0]
        except BaseException:  # Ctrl-C too: the writer stays where it was
            _, self._position, self._looked = start
            self._uniforms.bit_generator.state = draws
            raise
        kept = written[: ending.count - (ending.straddles and ending.finished == "stop")]
        done, self._position, self._looked = next(mark for mark in reversed(marks) if mark[0] <= len(kept))
        if done < len(kept):
            self._move(self._reader.skip(self._position, np.array(kept[done:], dtype=np.int64)))
        self.log_likelihood += sum(log_probs[: len(kept)])
        self._ids += kept
        piece = self._decoder.push(kept) if kept else ""
        if ending.finished == "eos":
            self.finished = "eos"
            piece += self._decoder.flush()
        self.text += piece
        return piece

    def fork(self, *, seed: int | None = None) -> Self:
        """A second writer that stands where this one stands; the two then know nothing of each other.

        Args:
            seed: of the branch's draws; None: the branch draws what this writer would have drawn.
        """
        branch = copy.copy(self)
        branch._ids = list(self._ids)
        branch._decoder = self._decoder.copy()
        if seed is None:
            branch._uniforms = copy.deepcopy(self._uniforms)
        else:
            branch.seed, branch._uniforms = seed, uniform_stream(seed, self.row)
        return branch

    def _look(self) -> tuple[Floats, State]:
        """The next symbol's log-probabilities and the state with which they came: one step, made once."""
        if self._looked is None:
            self._looked = self._reader.next_log_probs(self._position)
        return self._looked

    def _move(self, position: Position) -> None:
        self._position, self._looked = position, None

    def _drawn(self, most: int, drawing: Drawing) -> tuple[Ids, Floats]:
        """Draws at most so many symbols, at least one, and moves behind them; the symbols and their log-probabilities, (N,)."""
        if drawing.fixed is None or self._looked is not None or self._position.last is None:
            log_probs_V, state = self._look()
            token = draw(filtered(log_probs_V, drawing.sampling()), self._uniforms.random())
            drawing.push(token)
            self._move(Position(state, token))
            return np.array([token]), log_probs_V[[token]]
        uniforms_BT = self._uniforms.random(most)[None, :]
        ids_BT, log_probs_BT, state = self._reader.engine.write(
            np.array([self._position.last]), self._position.state, [drawing.fixed], uniforms_BT
        )
        self._move(Position(state, int(ids_BT[0, -1])))
        return ids_BT[0], log_probs_BT[0]
