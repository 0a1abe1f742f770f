"""What comes of writing: texts, the places where they start, and their pieces as they come.

It does not know how they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from escriba.engine.protocol import Ids
from escriba.inference.ending import FinishReason
from escriba.inference.reading import Position

__all__ = ["Generated", "Start", "Stream"]


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
