"""What using a model gives back: plain data that print themselves.

They know nothing of models or files.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["Begun", "Closed", "Run", "Sampled", "Score", "Text"]


class Text(str):
    """A generated text: a str that also knows where it came from.

    Attributes:
        prompt: what it goes on from (the str itself holds prompt and continuation).
        continuation: what the model wrote.
        log_likelihood: nats, of the written symbols under the model's own distribution, temperature 1.
        seed: with which the same text is written again.
        row: its number in the call, from 0.
        finish_reason: "length", "stop" (a stop string) or "eos" (the model ended the document).
    """

    __slots__ = ("continuation", "finish_reason", "log_likelihood", "prompt", "row", "seed")

    prompt: str
    continuation: str
    log_likelihood: float
    seed: int
    row: int
    finish_reason: str

    @classmethod
    def of(cls, prompt: str, continuation: str, *, log_likelihood: float, seed: int, row: int, finish_reason: str) -> Self:
        """A text from its parts."""
        text = cls(prompt + continuation)
        text.prompt, text.continuation = prompt, continuation
        text.log_likelihood, text.seed, text.row, text.finish_reason = log_likelihood, seed, row, finish_reason
        return text

    def as_dict(self) -> dict[str, Any]:
        """The fields as ``escriba generate --json`` prints them."""
        return {
            "prompt": self.prompt,
            "text": self.continuation,
            "log_likelihood": self.log_likelihood,
            "seed": self.seed,
            "row": self.row,
            "finish_reason": self.finish_reason,
        }


@dataclass(frozen=True)
class Score:
    """How likely a text is to a model.

    Attributes:
        text: the text.
        log_likelihood: nats; the sum of log P(symbol | everything before it).
        symbols: how many symbols were scored.
        bits_per_char: the same in bits, divided by the characters (None for an empty text).
        bits_per_byte: divided by the bytes of the text in UTF-8.
        perplexity: exp of the mean surprisal of a symbol.
        unknown: symbols that the model does not know, scored as <unk>.
        convention: in one line, what the first symbol is conditioned on and what counts.
        surprisals: nats of each symbol, in order.
        pieces: each symbol as it stands in the text, in order.
        ranks: each symbol's place among all that could have come, 1 the likeliest.
        expected: for each symbol the likeliest that could have come, with their probabilities; empty if not asked for.
        more_surprising_than: the share of held-out texts of about this length that surprise the model less, 0 to 1; None: not known.
    """

    text: str = field(repr=False)
    log_likelihood: float
    symbols: int
    bits_per_char: float | None
    bits_per_byte: float | None
    perplexity: float | None
    unknown: int
    convention: str
    surprisals: tuple[float, ...] = field(repr=False)
    pieces: tuple[str, ...] = field(repr=False, default=())
    ranks: tuple[int, ...] = field(repr=False, default=())
    expected: tuple[tuple[tuple[str, float], ...], ...] = field(repr=False, default=())
    more_surprising_than: float | None = None

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The probability that each symbol had, in order."""
        return tuple(math.exp(-surprisal) for surprisal in self.surprisals)

    def as_dict(self) -> dict[str, Any]:
        """The fields as ``escriba score --json`` prints them."""
        left_out = ("text", "surprisals", "pieces", "ranks", "expected")
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def __str__(self) -> str:
        if self.bits_per_char is None:
            return f"nothing to score ({self.convention})"
        return f"log-likelihood {self.log_likelihood:.3f} nats, {self.bits_per_char:.4f} bits per character ({self.convention})"


@dataclass(frozen=True)
class Begun:
    """What is known of a training before its first step.

    Attributes:
        folder: where the model will be, or None for a model in memory.
        source: what is read, in a line.
        lines: more of the text, as pairs of a name and a line: its symbols, its parts.
        notes: what was noticed in the text and in cutting it, as sentences.
        network: the network in a line.
        parameters: how many numbers it learns.
        vocab_size: symbols in the vocabulary.
        examples: how examples are cut, in a line.
        precision: of the products, "float32" or "bf16".
        device: where it learns, "cpu", "cuda" or "mps".
        threads: of the processor.
        symbols_per_s: symbols learnt a second, measured just now.
        estimated_s: seconds that training will take.
        megabytes: size of the model's weights.
        characters_per_symbol: of the training part; 1 for characters.
        restored: what the training goes on from, in a sentence, or None.
        spent_s: seconds of training before this one, of a finished model that is trained further.
    """

    folder: str | None
    source: str
    lines: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    network: str
    parameters: int
    vocab_size: int
    examples: str
    precision: str
    device: str
    threads: int
    symbols_per_s: float
    estimated_s: float
    megabytes: float
    characters_per_symbol: float
    restored: str | None
    spent_s: float = 0.0


@dataclass(frozen=True)
class Sampled:
    """What the model wrote while it learnt.

    Attributes:
        step: after how many steps.
        temperature: of the sample.
        text: prompt and continuation.
    """

    step: int
    temperature: float
    text: str


@dataclass(frozen=True)
class Closed:
    """The end of a training: the closing figures.

    Attributes:
        folder: where the model is, or None for a model in memory.
        reason: "length", "patience", or "interrupted".
        kept: which weights were kept: "last", "averaged" or "best".
        steps: updates made, those before a resume counted.
        epochs: times through the training part.
        symbols_seen: symbols learnt from.
        elapsed_s: seconds of training.
        train_loss_nats: mean loss of the last steps, dropout on.
        loss_nats: on the held-out part, nats a symbol; None: there is none.
        bits_per_char: the same in bits a character.
        perplexity: exp of loss_nats.
        held_out_symbols: how many symbols were scored for it.
        again: where a time was the measure, the settings that train as long, and as large a network, on any machine; else None.
    """

    folder: str | None
    reason: str
    kept: str
    steps: int
    epochs: float
    symbols_seen: int
    elapsed_s: float
    train_loss_nats: float | None
    loss_nats: float | None
    bits_per_char: float | None
    perplexity: float | None
    held_out_symbols: int
    again: dict[str, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The figures as ``escriba train --json`` prints them."""
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """The history of a training, as metrics.jsonl tells it.

    Attributes:
        events: its lines, in order.
    """

    events: tuple[dict[str, Any], ...] = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Run:
        """The history in a model folder; a missing or torn one is as much as can be read."""
        events = []
        try:
            for line in (folder / "metrics.jsonl").read_text(encoding="utf-8", errors="surrogatepass").split("\n"):
                event = json.loads(line) if line else None
                if isinstance(event, dict):
                    events.append(event)
        except (OSError, ValueError):
            pass
        return cls(tuple(events))

    def last(self, event: str) -> dict[str, Any]:
        """The last line of a kind, empty if there is none."""
        return next((line for line in reversed(self.events) if line.get("event") == event), {})

    @property
    def finished(self) -> bool:
        """Whether the training came to its end, and was not taken further since."""
        kinds = [line.get("event") for line in self.events if line.get("event") in ("begun", "more", "finished")]
        return bool(kinds) and kinds[-1] == "finished"

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The evaluations on the choosing part, in order."""
        return [line for line in self.events if line.get("event") == "evaluated"]

    @property
    def best(self) -> dict[str, Any]:
        """The best evaluation, empty if there is none."""
        scored = [line for line in self.evaluations if line.get("loss_nats") is not None]
        return min(scored, key=lambda line: float(line["loss_nats"]), default={})
