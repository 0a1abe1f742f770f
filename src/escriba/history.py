"""What is known of a training: its beginning, its samples, its closing figures, and its history, which draws itself.

It knows nothing of models in use, nor of files but the one that it reads and those it is asked to write.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escriba.archive import file_bytes
from escriba.errors import CheckpointError, SettingsError
from escriba.language import Told, in_english, later, told, tr

if TYPE_CHECKING:
    from escriba.outputs.figures import Figure
    from escriba.text.corpus import Corpus, Parts

__all__ = ["Begun", "Closed", "Run", "Sampled", "baseline_name", "corpus_facts"]


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
        learns: what there are so many `parameters` of: "parameters" of a network, "n-grams" where they are counted.
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
    learns: str = "parameters"


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


def baseline_name(name: str) -> Told:
    """A baseline's name, which is recorded in English, in the language that is spoken; what a person named otherwise stays."""
    counting = re.fullmatch(r"counting (\d+)-gram", name)
    return told("counting {order}-gram", order=counting[1]) if counting else Told.of(name, name)


@dataclass(frozen=True)
class Closed:
    """The end of a training: the closing figures.

    Attributes:
        folder: where the model is, or None for a model in memory.
        reason: "length", "patience", or "interrupted".
        kept: which weights were kept: "last", "averaged" or "best"; "counts" of an n-gram.
        steps: updates made, those before a resume counted.
        epochs: times through the training part.
        symbols_seen: symbols learnt from.
        elapsed_s: seconds of training.
        train_loss_nats: mean loss of the last steps, dropout on.
        loss_nats: on the held-out part, nats a symbol; None: there is none.
        bits_per_char: the same in bits a character.
        perplexity: exp of loss_nats.
        held_out_symbols: how many symbols were scored for it.
        baselines: what simple ways make of the held-out part, bits a character by name; None: nothing was held out, or it was interrupted.
        compared: the same and the model in a sentence, with what was shortened; `Told`, if it was measured just now.
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
    again: dict[str, float] | None = None
    baselines: dict[str, float] | None = None
    compared: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The figures as ``escriba train --json`` prints them."""
        return {**asdict(self), "compared": in_english(self.compared)}


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
            content = file_bytes(folder / "metrics.jsonl", sys.maxsize)
            for line in content.decode("utf-8", errors="surrogatepass").split("\n"):
                event = json.loads(line) if line else None
                if isinstance(event, dict):
                    events.append(event)
        except (OSError, ValueError, RecursionError, CheckpointError):
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

    def plot(self, path: str | os.PathLike[str] | None = None, *, baselines: Mapping[str, float] | None = None) -> Figure:
        """The learning curves: what was learnt from, the choosing part, and the held-out part's result as a level line.

        Args:
            path: a .png, .svg or .pdf to write besides; None: none.
            baselines: results to compare with besides those of the training's end, by name, in bits a character of the held-out part.

        Raises:
            SettingsError: there is no record of a training, the path ends otherwise, or a baseline is no positive number.
            MissingExtraError: matplotlib is not installed.
        """
        from escriba.outputs.figures import kept
        from escriba.outputs.plots import Level, learning_curves

        length = self._characters_per_symbol()
        closing = self.last("finished") if self.finished else {}
        levels = [Level(tr("held-out part"), closing["loss_nats"])] if closing.get("loss_nats") is not None else []
        for name, bits in {**(closing.get("baselines") or {}), **(baselines or {})}.items():
            if isinstance(bits, bool) or not isinstance(bits, int | float) or not 0 < bits < math.inf:
                raise SettingsError(
                    tr("the baseline {name!r} is {bits!r}", name=name, bits=bits), expected=tr("bits a character, more than 0")
                )
            levels.append(Level(baseline_name(name), bits * math.log(2.0) * length))
        learnt = self._curve("progress")
        unlearnt = self._curve("evaluated")
        return kept(path, lambda: learning_curves(learnt, unlearnt, levels=levels, characters_per_symbol=length))

    def curves(self) -> dict[str, list[float]]:
        """The losses in order, nats a symbol: what was learnt from, and the choosing part; the names are English, `tr` says them."""
        parts = {later("learnt from"): "progress", later("choosing part"): "evaluated"}
        return {name: [loss for _, loss in self._curve(event)] for name, event in parts.items()}

    def _curve(self, event: str) -> list[tuple[float, float]]:
        """The losses that events of a kind tell, over the steps."""
        lines = [line for line in self.events if line.get("event") == event]
        return [(float(line["step"]), float(line["loss_nats"])) for line in lines if line.get("loss_nats") is not None and "step" in line]

    def _characters_per_symbol(self) -> float:
        """Of the text that was measured, from a loss that is told in both units; 1 where there is none."""
        for line in reversed(self.events):
            if line.get("loss_nats") and line.get("bits_per_char"):
                return float(line["loss_nats"]) / math.log(2.0) / float(line["bits_per_char"])
        return 1.0


MOST_LABELS = 1000


def corpus_facts(corpus: Corpus, parts: Parts, sources: Sequence[str], symbols: tuple[int, int, int]) -> dict[str, Any]:
    """What the history says of a text, by which it is known again.

    Args:
        corpus: the text.
        parts: its parts.
        sources: where it was read, as they were given.
        symbols: of the training, the choosing and the held-out part.
    """
    train, choosing, held_out = symbols
    return {
        "sources": list(sources),
        "characters": corpus.characters,
        "documents": len(corpus.pieces) if corpus.is_documents else None,
        "labels": dict(list(corpus.labels.items())[:MOST_LABELS]),
        "sha256": corpus.sha256,
        "choosing_sha256": None if parts.choosing is None else parts.choosing.sha256,
        "held_out_sha256": None if parts.held_out is None else parts.held_out.sha256,
        "train_symbols": train,
        "choosing_symbols": choosing,
        "held_out_symbols": held_out,
    }
