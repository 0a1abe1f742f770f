"""What keeps a model honest: an n-gram that counts, gzip and xz, measured on the same held-out part.

It knows nothing of networks, and needs no PyTorch. What is measured depends on the text and the settings alone, never on a clock: a
training that is repeated, or interrupted and resumed, is compared with the very same figures.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from escriba.engine.counts import CountsEngine
from escriba.errors import EscribaError, TextError, UnknownSymbolError
from escriba.history import baseline_name
from escriba.language import Told, joined, later, told
from escriba.settings import ModelSettings
from escriba.text.corpus import Corpus
from escriba.text.encoded import EncodedText
from escriba.text.packing import gzip_sizes, xz_sizes
from escriba.training.counting import count_ngrams
from escriba.training.parts import characters_per_symbol

__all__ = ["MOST_HELD_OUT", "USUAL_SECONDS", "Compared", "Measured", "compare", "loss_on", "measured_part"]

USUAL_SECONDS = 10.0
"""What a comparison takes by the limits that follow; on a slow machine twice as long. They also keep it within 500 MB."""
MOST_COUNTED = 20_000_000
"""Characters of the training part on which the n-gram is counted: the last ones."""
MOST_NGRAMS = 4_000_000
"""Different n-grams that it may have, about 100 bytes each; a text that has more is shortened further."""
MOST_PACKED = 8_000_000
"""Bytes of the training part that the packers see: the last ones. xz looks back no further, gzip 32 KB."""
MOST_HELD_OUT = 1_000_000
"""Characters of the held-out part that are measured: the first ones."""
LEAST_COUNTED = 10_000
"""Characters below which a text is not shortened for its n-grams."""


@dataclass(frozen=True)
class Measured:
    """What of a held-out part is measured, by the model and by what it is compared with alike.

    Attributes:
        part: the text.
        encoded: the same as ids.
        of: characters of the whole held-out part.
    """

    part: Corpus
    encoded: EncodedText
    of: int

    def bits_per_char(self, loss_nats: float) -> float:
        """A loss in nats a symbol as bits a character."""
        return loss_nats / math.log(2) / characters_per_symbol(self.part, self.encoded)


def measured_part(held_out: Corpus, encoded: EncodedText, most: int = MOST_HELD_OUT) -> Measured:
    """The beginning of a held-out part, whole words and documents; all of it where it is short.

    Args:
        held_out: the part.
        encoded: the same as ids.
        most: characters, about.
    """
    if held_out.characters > most:
        short = held_out.shortened(most)
        with contextlib.suppress(UnknownSymbolError):  # half a word, where no border was near: then it is measured whole
            return Measured(short, short.encode(encoded.tokenizer), held_out.characters)
    return Measured(held_out, encoded, held_out.characters)


def loss_on(engine: CountsEngine, part: EncodedText) -> tuple[float, int]:
    """The mean surprisal of a part in nats a symbol, and how many symbols were scored.

    As networks are measured: a stream's first symbol is not scored, and documents are scored from their beginning, the end of each
    included.

    Args:
        engine: an n-gram that counts.
        part: two symbols or more, or documents.
    """
    ids = part.with_ends().astype(np.int64)  # an <eos> begins the next document: of an n-gram it hides all that was before
    reading, _ = engine.read(ids[None, :-1], ids[None, 1:], engine.initial_state(1))
    return -float(reading.log_probs.mean()), reading.log_probs.size


@dataclass(frozen=True)
class Compared:
    """What simple ways make of the same held-out part.

    Attributes:
        bits_per_char: bits a character of the held-out part, by name; what could not be had is not there.
        notes: what was shortened or left out.
    """

    bits_per_char: Mapping[str, float]
    notes: tuple[Told, ...] = ()

    @property
    def note(self) -> Told | None:
        """What was shortened or left out, in a sentence; None: nothing."""
        return joined("; ", self.notes) if self.notes else None

    def line(self, model_bits: float | None) -> Told:
        """One sentence that sets a model beside them.

        Args:
            model_bits: the model's bits a character; None: not measured.
        """
        measured = [] if model_bits is None else [(told("this model"), model_bits)]
        measured += [(baseline_name(name), bits) for name, bits in self.bits_per_char.items()]
        figures = joined(", ", (Told.of(f"{name} {bits:.2f}", f"{name.english} {bits:.2f}") for name, bits in measured))
        if self.note is None:
            return told("bits per character on the held-out part: {figures}", figures=figures)
        return told("bits per character on the held-out part: {figures} ({note})", figures=figures, note=self.note)


def compare(train: Corpus, measured: Measured, *, order: int | None = 6, share: float = 1.0) -> Compared:
    """Measures on the held-out part an n-gram that counts, xz and gzip, each having seen the training part.

    A packer's figure is conditional: size(training + held-out) - size(training). Of a long training part the end is used: at most 20
    million characters for the n-gram, fewer where they hold more than MOST_NGRAMS different n-grams, and 8 MB for the packers, which look
    back no further. What cannot be measured is left out with a note: a training never fails by its comparison.

    Args:
        train: the training part.
        measured: what is measured of the held-out part; its tokenizer is the model's, whose symbols the n-gram counts.
        order: of the n-gram; None: only the packers.
        share: of these limits, above 0, at most 1.
    """
    found: dict[str, float] = {}
    notes: list[Told] = []
    if measured.part.characters < measured.of:
        first, of = measured.part.characters, measured.of
        notes.append(told("measured on the first {first:,} characters of {characters:,}", first=first, characters=of))
    if order is not None:
        with _noting(later("without the n-gram: {why}"), notes):
            engine, seen = _counted(train, measured, order, int(share * MOST_COUNTED))
            found[f"counting {order}-gram"] = measured.bits_per_char(loss_on(engine, measured.encoded)[0])
            if seen < train.characters:
                counted = later("the n-gram counted the last {last:,} characters of {characters:,}")
                notes.append(told(counted, last=seen, characters=train.characters))
            del engine  # the packers need the memory
    with _noting(later("without xz and gzip: {why}"), notes):
        new, most = _bytes(measured.part), int(share * MOST_PACKED)
        last = train.ending(most)
        packed = _bytes(last)
        if last.characters < train.characters or len(packed) > most:
            packed = packed[-most:]
            notes.append(told("xz and gzip saw the last {megabytes:.1f} MB", megabytes=len(packed) / 1e6))
        for name, sizes in (("xz", xz_sizes), ("gzip", gzip_sizes)):
            before, both = sizes(packed, new)
            found[name] = 8 * (both - before) / measured.part.characters
    return Compared(found, tuple(notes))


@contextlib.contextmanager
def _noting(left_out: str, notes: list[Told]) -> Iterator[None]:
    """Inside, an error becomes a note, which says why: what was trained is not lost by it."""
    try:
        yield
    except EscribaError as error:
        notes.append(told(left_out, why=error.met))
    except MemoryError:
        notes.append(told(left_out, why=told("there is not enough memory")))


def _counted(train: Corpus, measured: Measured, order: int, most: int) -> tuple[CountsEngine, int]:
    """The n-gram of the last so many characters, or of half as many again and again where it would be too large; and of how many."""
    tokenizer, seen = measured.encoded.tokenizer, train.ending(most)
    while True:
        try:
            weights = _weights(seen.encode(tokenizer), order)
        except TextError:
            if seen.characters < LEAST_COUNTED:
                raise
            seen = seen.ending(seen.characters // 2)
        else:
            return CountsEngine(ModelSettings(cell="counts", order=order), tokenizer.vocab_size, weights), seen.characters


def _weights(encoded: EncodedText, order: int) -> dict[str, npt.NDArray[Any]]:
    """The n-grams of a text."""
    vocabulary = encoded.tokenizer
    return count_ngrams(encoded.ids, vocabulary.vocab_size, order, offsets=encoded.offsets, eos=vocabulary.eos_id, most=MOST_NGRAMS)


def _bytes(part: Corpus) -> bytes:
    """A text in UTF-8, a line feed after each document."""
    return b"".join(piece.encode("utf-8", "surrogatepass") + (b"\n" if part.is_documents else b"") for piece in part.pieces)
