"""How well a model foretells a whole text: the mean loss of a symbol with its standard error, as one stream, as documents, or in windows.

It does not know which text that is (held out or not), nor how the model was trained.

Shapes: B batch, T time, N symbols, K blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escriba.engine.lanes import LANES, WARM_UP, read_in_lanes
from escriba.engine.protocol import Engine, Floats, Ids
from escriba.errors import SettingsError, TextError
from escriba.inference.reading import Reader
from escriba.language import later, tr
from escriba.text.corpus import Corpus
from escriba.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer

__all__ = ["PROTOCOLS", "Measured", "Progress", "characters_by_id", "measure"]

PROTOCOLS = ("stream", "window")
EXACT_UP_TO = 20_000
"""Symbols up to which a stream is read in one lane, where nobody says in how many."""
MOST_LANES = 256
BLOCKS = (1024, 512, 256, 128, 64)
"""Symbols of a stream whose mean counts as one observation: neighbours are alike, so single symbols would claim too small an error."""
BLOCKS_WANTED = 32
"""Blocks of which there should be so many, or else they are smaller."""
_PLACES = 2**16
"""Symbols read between two calls of `progress`."""
_MOST_LOGITS = 2**20
"""Logits of one step of all rows: 8 MiB in float64."""
_MOST_ROWS = 128
_DOCUMENTS_AT_ONCE = 4096

Progress = Callable[[int, int], None]
"""Called with how many symbols were read, and of how many."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured, in blocks: pieces of a stream, windows, or documents.

    Attributes:
        block_nats: the sum of the surprisals of each block, nats.
        block_symbols: how many symbols were scored in each.
        block_characters: how many characters they stand for; an unseen word counts as one of mean length.
        characters: of all that was scored.
        bytes: of the same in UTF-8.
        unknown: symbols that the model has never seen, scored as ``<unk>``.
        convention: in one line, what was measured.
    """

    block_nats: Floats
    block_symbols: NDArray[np.int64]
    block_characters: Floats
    characters: int
    bytes: int
    unknown: int
    convention: str

    @property
    def symbols(self) -> int:
        """How many symbols were scored."""
        return int(self.block_symbols.sum())

    @property
    def loss_nats(self) -> float:
        """Mean surprisal of a symbol, nats."""
        return float(self.block_nats.sum()) / self.symbols

    @property
    def standard_error(self) -> float | None:
        """Of the mean loss, nats; None where there is only one block.

        Blocks are taken as independent, the symbols in one not. Source: the ratio estimator of cluster sampling, Cochran, Sampling
        Techniques (1977), section 2.11: sqrt(K / (K - 1) * sum (nats_k - loss * symbols_k)^2) / symbols.
        """
        count = len(self.block_nats)
        if count < 2:
            return None
        residuals = self.block_nats - self.loss_nats * self.block_symbols
        return math.sqrt(count / (count - 1) * float((residuals**2).sum())) / self.symbols


def measure(
    engine: Engine,
    tokenizer: Tokenizer,
    part: Corpus,
    *,
    protocol: str = "stream",
    window: int = 256,
    lanes: int | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Scores a whole text.

    "stream" reads a text from its beginning to its end with the state carried, and scores its first symbol by the training text's
    frequencies, as `Scorer` does; documents it reads each from its beginning, with the ``<eos>`` at the end counted. "window" begins
    anew, from a state of zero, every `window` symbols: windows of so many inputs, laid end to end, of which every target counts; the
    first symbol of the text is nobody's target. Documents are one text then, an ``<eos>`` before, between and after them.

    Args:
        engine: what runs the model.
        tokenizer: what cuts texts into its symbols.
        part: the text, read as the model's training text was.
        protocol: "stream" or "window".
        window: inputs of a window, 1 or more.
        lanes: into how many parts, read side by side, a stream is cut, 1 to 256; every lane but the first reads the 512 symbols before it
            unscored. 1 is exact. None: 1 up to 20,000 symbols, else 16, which is within about a thousandth of a nat.
        progress: called as symbols are read.

    Raises:
        SettingsError: the protocol, the window or the lanes are none.
        TextError: there is nothing to score, or the text is documents and the model one of a stream, or the other way round.
        UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
    """
    if protocol not in PROTOCOLS:
        raise SettingsError(
            tr("protocol is {protocol!r}", protocol=protocol), expected=tr("{one} or {other}", one=PROTOCOLS[0], other=PROTOCOLS[1])
        )
    for name, value, most in (("window", window, 10**9), ("lanes", lanes, MOST_LANES)):
        if (value is not None or name == "window") and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most):
            raise SettingsError(tr("{name} is {value!r}", name=name, value=value), expected=tr("a whole number, 1 to {most:,}", most=most))
    if part.is_documents and tokenizer.eos_id is None:
        raise TextError(
            tr("the text is documents, and the model is one of one stream"), expected=tr("one stream, read as the model's text was")
        )
    if tokenizer.eos_id is not None and not part.is_documents:
        raise TextError(
            tr("the text is one stream, and the model is one of documents"), expected=tr("documents, read as the model's text was")
        )
    reader, encoded = Reader(engine, tokenizer), part.encode(tokenizer)
    ids_N, lengths_V = np.asarray(encoded.with_ends() if protocol == "window" else encoded.ids), characters_by_id(tokenizer)
    unseen = 0 if tokenizer.unk_id is None else int((ids_N == tokenizer.unk_id).sum())
    size = sum(len(piece.encode("utf-8", "surrogatepass")) for piece in part.pieces)
    seen = tr("{count:,} unseen scored as <unk>", count=unseen) if unseen else tr("no unseen symbols")
    told = progress or (lambda done, of: None)
    first_characters = first_bytes = 0
    if protocol == "window":
        if len(ids_N) < 2:
            raise TextError(
                tr("a text of {symbols} symbols has none to foretell from another", symbols=len(ids_N)), expected=tr("2 or more")
            )
        if tokenizer.eos_id is None:  # the first symbol is not scored
            left = part.pieces[0][:1] if tokenizer.kind == "byte" else tokenizer.decode(ids_N[:1])
            first_characters, first_bytes = len(left), 1 if tokenizer.kind == "byte" else len(left.encode("utf-8", "surrogatepass"))
        block = window
        nats_K = _windows(engine, ids_N, window, told)
        scored_N = ids_N[1:]
        is_stream = tokenizer.eos_id is None
        line = [
            tr("fresh windows of {window:,} symbols laid end to end, each from a state of zero, all scored", window=window),
            tr("the text's first symbol not") if is_stream else tr("documents one after another, the <eos> after each counted"),
            seen,
            tr("standard error over windows"),
        ]
    elif encoded.offsets is not None:
        starts = encoded.offsets[:-1]
        nats_K = _documents(reader, [encoded.document(i) for i in range(encoded.count)], told)
        symbols_K = np.diff(encoded.offsets) + 1
        line = [tr("every document from its beginning, <eos> counted"), seen, tr("standard error over documents")]
        characters_K = np.add.reduceat(lengths_V[ids_N], starts)
        return Measured(nats_K, symbols_K, characters_K, part.characters, size, unseen, "; ".join(line))
    else:
        lanes = _lanes(len(ids_N), tokenizer.vocab_size, lanes)
        block = next(size for size in BLOCKS if size == BLOCKS[-1] or size * BLOCKS_WANTED <= len(ids_N))
        nats_K = _stream(reader, ids_N, lanes, block, told)
        scored_N = ids_N
        apart = later(
            "every symbol from the beginning, state carried in {lanes} lanes read at once, "
            "each but the first after {symbols} symbols unscored"
        )
        line = [
            tr("every symbol from the beginning, state carried") if lanes == 1 else tr(apart, lanes=lanes, symbols=WARM_UP),
            tr("first symbol by the training text's frequencies, plus one"),
            seen,
            tr("standard error over blocks of {block:,} symbols", block=block),
        ]
    borders = np.arange(0, len(scored_N), block)
    symbols_K = np.diff(np.append(borders, len(scored_N)))
    characters_K = np.add.reduceat(lengths_V[scored_N], borders)
    return Measured(nats_K, symbols_K, characters_K, part.characters - first_characters, size - first_bytes, unseen, "; ".join(line))


def characters_by_id(tokenizer: Tokenizer) -> Floats:
    """How many characters each symbol stands for, (V,): of the bytes of a character the first stands for it, the others for none.

    An unseen word counts as one of the training text's mean length, ``<eos>`` as nothing.
    """
    if isinstance(tokenizer, CharTokenizer):
        lengths_V = np.ones(tokenizer.vocab_size)
    elif isinstance(tokenizer, ByteTokenizer):
        lengths_V = (np.arange(tokenizer.vocab_size) & 0xC0 != 0x80).astype(np.float64)
    else:
        lengths_V = np.array([float(len(symbol)) for symbol in tokenizer.symbols])
        if tokenizer.unk_id is not None:
            counts_V = np.asarray(tokenizer.frequencies, dtype=np.float64).copy()
            counts_V[[tokenizer.unk_id, *([] if tokenizer.eos_id is None else [tokenizer.eos_id])]] = 0.0
            lengths_V[tokenizer.unk_id] = (counts_V * lengths_V).sum() / counts_V.sum() if counts_V.any() else 1.0
    if tokenizer.eos_id is not None:
        lengths_V[tokenizer.eos_id] = 0.0
    return lengths_V


def _lanes(symbols: int, vocab_size: int, asked: int | None) -> int:
    """How many lanes there are: each is longer than its warm-up, and their logits fit in memory."""
    wanted = asked if asked is not None else 1 if symbols <= EXACT_UP_TO else LANES
    return max(1, min(wanted, (symbols - 1) // WARM_UP, _MOST_LOGITS // vocab_size))


def _stream(reader: Reader, ids_N: Ids, lanes: int, block: int, told: Progress) -> Floats:
    """The nats of each block of a stream, (K,)."""
    engine, targets = reader.engine, len(ids_N) - 1
    nats_K = np.zeros(-(-len(ids_N) // block))
    start_V, _ = reader.next_log_probs(reader.begin())
    nats_K[0] = -start_V[ids_N[0]]
    done = 0
    for places, log_probs in read_in_lanes(engine, ids_N, lanes, max(1, _PLACES // lanes)):
        nats_K -= np.bincount(places // block, weights=log_probs, minlength=len(nats_K))
        done += len(places)
        told(done, targets)
    return nats_K


def _windows(engine: Engine, ids_N: Ids, window: int, told: Progress) -> Floats:
    """The nats of each window, (K,); the last may be a shorter one."""
    targets = len(ids_N) - 1
    window = min(window, targets)
    whole = targets // window
    found = []
    rows = max(1, min(_MOST_ROWS, _MOST_LOGITS // engine.vocab_size, _PLACES // window))
    for first in range(0, whole, rows):
        starts_B = np.arange(first, min(first + rows, whole)) * window
        places_BT = starts_B[:, None] + np.arange(window)
        found.append(_nats(engine, ids_N, places_BT))
        told(int(places_BT[-1, -1]) + 1, targets)
    if whole * window < targets:
        found.append(_nats(engine, ids_N, np.arange(whole * window, targets)[None, :]))
        told(targets, targets)
    return np.concatenate(found)


def _nats(engine: Engine, ids_N: Ids, places_BT: NDArray[np.int64]) -> Floats:
    """The nats of what follows each place, a sum for each row, (B,), every row from a fresh state."""
    inputs_BT, targets_BT = ids_N[places_BT].astype(np.int64), ids_N[places_BT + 1].astype(np.int64)
    reading, _ = engine.read(inputs_BT, targets_BT, engine.initial_state(len(places_BT)))
    return np.asarray(-reading.log_probs.sum(axis=1))


def _documents(reader: Reader, documents: list[Ids], told: Progress) -> Floats:
    """The nats of each document, (K,), its ``<eos>`` included."""
    nats_K, done, total = np.zeros(len(documents)), 0, sum(map(len, documents)) + len(documents)
    for start, stop in _batches([len(document) for document in documents]):
        rows = [np.append(document, np.int64(reader.tokenizer.eos_id or 0)).astype(np.int64) for document in documents[start:stop]]
        nats_K[start:stop] = [-reading.log_probs.sum() for reading in reader.look_many(reader.begin(), rows)]
        done += sum(map(len, rows))
        told(done, total)
    return nats_K


def _batches(lengths: list[int]) -> Iterator[tuple[int, int]]:
    """From where to where documents are read at once: not too many, and not too long together."""
    start = symbols = 0
    for at, length in enumerate(lengths):
        symbols += length + 1
        if symbols >= _PLACES * 4 or at + 1 - start >= _DOCUMENTS_AT_ONCE or at + 1 == len(lengths):
            yield start, at + 1
            start, symbols = at + 1, 0
