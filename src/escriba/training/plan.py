"""What a training will be, before it begins: parts, vocabulary, batches, network, size and time.

It knows nothing of folders; a text that was read and settings come in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from escriba.errors import SettingsError
from escriba.model.language_model import LanguageModel
from escriba.presets import Preset
from escriba.settings import ModelSettings, Settings, TextSettings, TrainSettings, near_setting
from escriba.text.batches import Batches, documents, streams, windows
from escriba.text.corpus import Corpus, Parts
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import TOKENIZERS, Tokenizer
from escriba.training.step import estimate_speed
from escriba.weights import count_parameters

__all__ = ["Plan", "characters_per_symbol", "fit_tokenizer", "make_batches", "prepare", "sort_settings"]


def sort_settings(values: Mapping[str, Any]) -> dict[type[Settings], dict[str, Any]]:
    """Single settings by name, sorted by the stage to which they belong.

    Raises:
        SettingsError: no stage has a setting of that name.
    """
    stages: tuple[type[Settings], ...] = (TextSettings, ModelSettings, TrainSettings)
    sorted_values: dict[type[Settings], dict[str, Any]] = {stage: {} for stage in stages}
    for name, value in values.items():
        for stage in stages:
            if name in stage.model_fields:
                sorted_values[stage][name] = value
                break
        else:
            raise near_setting(name, [field for stage in stages for field in stage.model_fields])
    return sorted_values


def fit_tokenizer(corpus: Corpus, parts: Parts) -> Tokenizer:
    """The tokenizer of the corpus' settings: the vocabulary is of the whole text, the frequencies of the training part."""
    settings = corpus.settings
    return TOKENIZERS[settings.unit].fit(
        corpus, min_count=settings.min_count, unknown=settings.unknown, count_in=parts.whole_train if parts.held_out is not None else None
    )


def make_batches(encoded: EncodedText, settings: TrainSettings) -> Batches:
    """The batches of the settings: "auto" is documents for documents and streams for a stream.

    Raises:
        SettingsError: documents are asked for, but the text is one stream.
    """
    mode = settings.examples
    if mode == "auto" and encoded.offsets is not None:
        batch_size, seq_len = documents_shape(encoded.offsets, settings)
        return documents(encoded, seq_len=seq_len, batch_size=batch_size, seed=settings.seed)
    if mode == "auto":
        mode = "streams"
    if mode == "documents" and encoded.offsets is None:
        raise SettingsError(
            "examples is 'documents', but the text is one stream",
            expected="a text of several documents",
            hint="--documents line, or paragraph",
        )
    make = {"windows": windows, "streams": streams, "documents": documents}[mode]
    return make(encoded, seq_len=settings.seq_len, batch_size=settings.batch_size, seed=settings.seed)


def documents_shape(offsets: NDArray[np.int64], settings: TrainSettings) -> tuple[int, int]:
    """How many documents a batch, and their longest piece: about as many symbols a step as the settings' streams have.

    Names are short, so more of them are learnt from at once, up to 8 times batch_size; long documents are cut at 1,000 symbols.
    """
    lengths = np.diff(offsets) + 1
    seq_len = int(min(lengths.max(), max(settings.seq_len, 1000)))
    fitting = settings.batch_size * settings.seq_len / float(np.minimum(lengths, seq_len).mean())
    return int(np.clip(fitting, min(8, settings.batch_size), 8 * settings.batch_size)), seq_len


@dataclass(frozen=True)
class Plan:
    """A training that is ready to begin.

    Attributes:
        corpus: the text that was read.
        parts: its training, choosing and held-out parts.
        tokenizer: its symbols.
        encoded: the training part as ids.
        choosing: the choosing part as ids, or None.
        held_out: the held-out part as ids, or None.
        data: the batches.
        net: the network, untrained.
        train: how it will learn.
    """

    corpus: Corpus
    parts: Parts
    tokenizer: Tokenizer
    encoded: EncodedText
    choosing: EncodedText | None
    held_out: EncodedText | None
    data: Batches
    net: LanguageModel
    train: TrainSettings

    @property
    def parameters(self) -> int:
        """How many numbers the network learns."""
        return count_parameters(self.net.settings, self.tokenizer.vocab_size)

    def symbols_to_learn(self) -> float | None:
        """How many symbols training goes through, or None when a time is the measure."""
        if self.train.steps is not None:
            return self.train.steps * self.data.symbols_per_epoch / len(self.data)
        return (
            None
            if self.train.epochs is None
            else math.ceil(self.train.epochs * len(self.data)) * self.data.symbols_per_epoch / len(self.data)
        )

    def speed(self) -> float:
        """Symbols learnt a second, measured in two steps that leave the network as it was."""
        return estimate_speed(self.net, self.data, self.train)


def characters_per_symbol(part: Corpus, encoded: EncodedText) -> float:
    """How many characters a scored symbol stands for, the ends of documents counted as symbols."""
    ends = 0 if encoded.offsets is None else encoded.count
    return part.characters / max(1, len(encoded) + ends)


def prepare(corpus: Corpus, chosen: Preset, *, held_out: Corpus | None = None) -> Plan:
    """Everything that training needs, from a text that was read and a preset; `held_out` is a part of the user's own.

    Raises:
        SettingsError, TextError: the settings do not fit the text.
    """
    parts = corpus.parts(seed=chosen.train.seed, held_out=held_out)
    tokenizer = fit_tokenizer(corpus, parts)
    encoded = parts.train.encode(tokenizer)
    choosing = None if parts.choosing is None else parts.choosing.encode(tokenizer)
    measured = None if parts.held_out is None else parts.held_out.encode(tokenizer)
    data = make_batches(encoded, chosen.train)
    net = LanguageModel(tokenizer.vocab_size, chosen.model, seed=chosen.train.seed)
    return Plan(corpus, parts, tokenizer, encoded, choosing, measured, data, net, chosen.train)
