"""How likely a model finds a text: surprisal of every symbol, log-likelihood, bits per character.

It does not know where the engine and the tokenizer came from, nor what the scores are for.

Shapes: N symbols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from escriba.engine.protocol import Engine, Floats, Ids
from escriba.errors import SettingsError, TextError
from escriba.inference.reading import Reader
from escriba.text.tokenizer import Tokenizer

__all__ = ["Scored", "Scorer"]


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
        return self.score(text, after, eos=eos).surprisals

    def score(self, text: str, after: str = "", *, eos: bool = False) -> Scored:
        """The likelihood of a text.

        Every symbol is scored, the first included. In a model of documents it is scored as the first of a document; in a model of
        one stream by the frequencies of the training text, one added to each count. After a context, it is scored by the network.

        Args:
            text: what is scored, of any length.
            after: a context that is read first and not scored.
            eos: count the ``<eos>`` after the text as its last symbol: how likely is it that a document is just this.

        Raises:
            TextError: the text is empty.
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
            SettingsError: an ``<eos>`` is asked of a model of one stream.
        """
        tokenizer = self._reader.tokenizer
        if eos and tokenizer.eos_id is None:
            raise SettingsError("the end of a document is to be scored, but the model knows no documents", expected="a model of documents")
        normal = tokenizer.normalize(text)
        if not normal:
            raise TextError("there is nothing to score", expected="a text of at least one character")
        ids, unknown = self._reader.encode(text)
        if eos:
            ids = np.append(ids, np.int64(tokenizer.eos_id or 0))
        context, _ = self._reader.encode(after)
        log_probs, _ = self._reader.read(self._reader.skip(self._reader.begin(), context), ids)
        return Scored(
            log_likelihood=float(log_probs.sum()),
            symbols=len(ids),
            characters=len(normal),
            bytes=len(normal.encode("utf-8", "surrogatepass")),
            unknown=sum(unknown.values()),
            ids=ids,
            surprisals=-log_probs,
            convention=self._convention(context=len(context) > 0, unknown=sum(unknown.values()), eos=eos),
        )

    def _convention(self, *, context: bool, unknown: int, eos: bool) -> str:
        """What was measured, in one line."""
        documents = self._reader.tokenizer.eos_id is not None
        if context:
            first = "first symbol after the context given"
        elif documents:
            first = "first symbol as the first of a document"
        else:
            first = "first symbol by the training text's frequencies, plus one"
        unseen = "no unseen symbols" if unknown == 0 else f"{unknown} unseen scored as <unk>"
        end = ("; <eos> counted" if eos else "; <eos> not counted") if documents else ""
        return f"every symbol from the beginning, state carried; {first}; {unseen}{end}"
