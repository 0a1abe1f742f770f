"""What keeps a model honest: an n-gram that counts, gzip and xz, measured on the same held-out part.

It knows nothing of networks, and needs no PyTorch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from escriba.engine.counts import CountsEngine
from escriba.engine.protocol import Engine
from escriba.settings import ModelSettings
from escriba.text.corpus import Corpus
from escriba.text.encoded import EncodedText
from escriba.text.packing import gzip_sizes, more_bits, xz_sizes
from escriba.text.pieces import sliced
from escriba.text.tokenizer import Tokenizer
from escriba.training.counting import count_ngrams
from escriba.training.parts import characters_per_symbol

__all__ = ["MOST_SECONDS", "Compared", "compare", "loss_on"]

MOST_TRAIN = 20_000_000
"""Characters of the training part on which the n-gram of a comparison is counted, and the packers are fed: the last ones."""
MOST_HELD_OUT = 1_000_000
"""Characters of the held-out part that a comparison measures."""
MOST_SECONDS = 20.0
PROBED = 1_000_000
"""Characters of a text up to which nothing is measured beforehand; and in a longer one those on which it is."""


def loss_on(engine: Engine, part: EncodedText) -> tuple[float, int]:
    """The mean surprisal of a part in nats a symbol, and how many symbols were scored.

    As networks are measured: a stream's first symbol is not scored, and documents are scored from their beginning, the end of each
    included.

    Args:
        engine: what reads.
        part: two symbols or more, or documents.
    """
    ids = part.with_ends().astype(np.int64)  # an <eos> begins the next document: of an n-gram it hides all that was before
    reading, _ = engine.read(ids[None, :-1], ids[None, 1:], engine.initial_state(1))
    return -float(reading.log_probs.mean()), reading.log_probs.size


@dataclass(frozen=True)
class Compared:
    """What simple ways make of the same held-out part.

    Attributes:
        bits_per_char: bits a character of the held-out part, by name; what could not be had in time is not there.
        seconds: that it took.
        note: what was shortened or left out, in a sentence; None: nothing.
    """

    bits_per_char: Mapping[str, float]
    seconds: float
    note: str | None

    def line(self, model_bits: float | None) -> str:
        """One sentence that sets a model beside them.

        Args:
            model_bits: the model's bits a character; None: not measured.
        """
        own = {} if model_bits is None else {"this model": model_bits}
        shown = ", ".join(f"{name} {bits:.2f}" for name, bits in {**own, **self.bits_per_char}.items())
        return f"bits per character on the held-out part: {shown}" + (f" ({self.note})" if self.note else "")


def compare(
    train: Corpus, held_out: Corpus, tokenizer: Tokenizer, *, order: int | None = 6, most_seconds: float = MOST_SECONDS
) -> Compared:
    """Measures on the held-out part an n-gram that counts, xz and gzip, each having seen the training part.

    A packer's figure is conditional: size(training + held-out) - size(training). At most the last 20 million characters of the training
    part are used, and the first million of the held-out part; fewer where the time is short.

    Args:
        train: the training part.
        held_out: the held-out part.
        tokenizer: the model's: the n-gram counts its symbols.
        order: of the n-gram; None: only the packers.
        most_seconds: for all of it; half is for the n-gram.
    """
    began, notes, found = time.perf_counter(), [], {}
    measured = held_out if held_out.characters <= MOST_HELD_OUT else held_out.shortened(MOST_HELD_OUT)
    if measured is not held_out:
        notes.append(f"measured on its first {measured.characters:,} characters")
    ids = measured.encode(tokenizer)
    seen = _last(train, MOST_TRAIN)
    if order is not None and seen.characters > PROBED:
        start = time.perf_counter()
        _counted(_last(seen, PROBED // 2), tokenizer, order)
        per_s = PROBED / 2 / (time.perf_counter() - start)
        seen = _last(seen, max(PROBED // 2, int(per_s * most_seconds / 4)))  # longer texts are slower by the symbol
    if order is not None and seen.characters < train.characters:
        notes.append(f"the n-gram counted the last {seen.characters:,} characters of {train.characters:,}")
    if order is not None and len(ids) > 1:
        loss, _ = loss_on(_counted(seen, tokenizer, order), ids)
        found[f"counting {order}-gram"] = loss / math.log(2) / characters_per_symbol(measured, ids)
    for name, packer, share in (("gzip", gzip_sizes, 0.25), ("xz", xz_sizes, 1.0)):
        left = most_seconds - (time.perf_counter() - began)
        if left <= 0:
            notes.append(f"no time for {name}")
            continue
        bits, used = more_bits(_bytes(_last(train, MOST_TRAIN)), _bytes(measured), packer, left * share)
        if bits is None:
            notes.append(f"no time for {name}")
            continue
        found[name] = bits / max(1, measured.characters)
        if used is not None:
            notes.append(f"{name} saw the last {used / 1e6:.1f} MB")
    shown = {name: found[name] for name in (f"counting {order}-gram", "xz", "gzip") if name in found}
    return Compared(shown, time.perf_counter() - began, "; ".join(notes) or None)


def _last(corpus: Corpus, characters: int) -> Corpus:
    """The last so many characters of a text; of documents the last whole ones, one at least."""
    if corpus.characters <= characters:
        return corpus
    if corpus.is_documents:
        lengths = np.cumsum([len(piece) for piece in reversed(corpus.pieces)])
        count = max(1, int(np.searchsorted(lengths, characters, side="right")))
        return replace(corpus, pieces=corpus.pieces[-count:], notes=(), found=None)
    return replace(corpus, pieces=tuple(sliced(corpus.pieces, corpus.characters - characters, corpus.characters)), notes=(), found=None)


def _counted(part: Corpus, tokenizer: Tokenizer, order: int) -> CountsEngine:
    encoded = part.encode(tokenizer)
    weights = count_ngrams(encoded.ids, tokenizer.vocab_size, order, offsets=encoded.offsets, eos=tokenizer.eos_id)
    return CountsEngine(ModelSettings(cell="counts", order=order), tokenizer.vocab_size, weights)


def _bytes(part: Corpus) -> bytes:
    """A text in UTF-8, a line feed after each document."""
    return b"".join(piece.encode("utf-8", "surrogatepass") + (b"\n" if part.is_documents else b"") for piece in part.pieces)
