"""The presets: one word that gives every setting of the network and of its training.

It knows nothing of how they are used; every value can be overridden by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from escriba.errors import SettingsError, near_name
from escriba.language import tr
from escriba.settings import ModelSettings, TrainSettings

__all__ = ["PRESETS", "Preset", "preset"]


LONG_TEXT = 2.0
"""With which power of its length, in millions of symbols, a text of more than a million may be read more often before as much is done
against overfitting. Measured at two million."""


class Preset(NamedTuple):
    """What a preset sets, and in a sentence what it is for.

    Attributes:
        purpose: the sentence.
        model: the network.
        train: how it learns.
        sizes: layers and hidden sizes among which the machine's speed chooses, where a time is the measure; none: always the model's own.
        symbols_per_parameter: symbols that a network of the size to choose must see for each of its parameters.
        by_epochs: how often a text of a million symbols or fewer is read, and what is dropped and decays then, the fewest first; between
            them it is interpolated. A text of two million, read four times as often, is like that.
        epochs_of_100_000: how often a text of 100,000 symbols is read at most, where a time is the measure; a text of four times as many
            twice as often.
        enough_steps: updates that a text is worth where a time is the measure and is long enough: of a short text batches are smaller.
        plain: what stands instead where another cell is asked for, outside of a residual stack; None: nothing.
        for_ngram: settings of the network and of its training that a neural n-gram has otherwise: it learns more slowly than what
            recurs, and has little to overfit with.
    """

    purpose: str
    model: ModelSettings
    train: TrainSettings
    sizes: tuple[tuple[int, int], ...] = ()
    symbols_per_parameter: float = 1.0
    by_epochs: tuple[tuple[float, Mapping[str, float]], ...] = ()
    epochs_of_100_000: float = math.inf
    enough_steps: int = 0
    plain: Preset | None = None
    for_ngram: Mapping[str, Any] = MappingProxyType({})

    def most_epochs(self, symbols: int) -> float:
        """How often a text of so many symbols is read at most, where a time is the measure: more would only be learnt by heart."""
        return self.epochs_of_100_000 * math.sqrt(symbols / 100_000)

    def against_overfitting(self, epochs: float, symbols: int) -> dict[str, float]:
        """What is dropped and decays when the text is read so often: between two rows of `by_epochs` by the logarithm of the epochs.

        Args:
            epochs: times through the text, more than 0.
            symbols: of the text, 1 or more: a longer one is not learnt by heart so soon.
        """
        if not self.by_epochs:
            return {}
        at, longer = [math.log(one) for one, _ in self.by_epochs], math.log(symbols / 1_000_000)
        place = math.log(epochs) - LONG_TEXT * max(0.0, longer)
        names = self.by_epochs[0][1]
        return {name: round(float(np.interp(place, at, [row[name] for _, row in self.by_epochs])), 3) for name in names}


JOIN = 0.7
"""The share of a training after which the choosing part is learnt too: the rate goes to zero then, and the last weights are good ones."""


def _plain(largest: int, minutes: float) -> Preset:
    """For the cells of the lessons: one layer, its state carried along streams."""
    return Preset(
        "",
        ModelSettings(cell="gru", embedding_dim=largest // 4, hidden_size=largest, dropout=0.1, embedding_scale=1.0),
        TrainSettings(
            batch_size=32, seq_len=128, optimizer="adamw", learning_rate=8e-3, beta2=0.99, weight_decay=0.05, schedule="cosine",
            warmup_steps=30, clip_norm=1.0, join=JOIN, minutes=minutes,
        ),
        sizes=tuple((1, size) for size in (128, 192, 256, 384, 512, 768, 1024) if size <= largest),
        symbols_per_parameter=8.0,
        for_ngram=MappingProxyType({"dropout": 0.0, "learning_rate": 0.02}),
    )  # fmt: skip


SIZES = ((2, 64), (2, 128), (3, 192), (4, 256), (6, 384), (8, 512))
"""Layers and hidden sizes of the residual stacks."""

BY_EPOCHS: tuple[tuple[float, Mapping[str, float]], ...] = (
    (3.0, {"symbol_dropout": 0.03, "weight_decay": 0.3}),
    (8.0, {"symbol_dropout": 0.07, "weight_decay": 0.45}),
    (16.0, {"symbol_dropout": 0.12, "weight_decay": 1.2}),
)
"""Measured, see docs/explanation/experiments.md."""


def _stack(purpose: str, layers: int, size: int, minutes: float) -> Preset:
    """A residual stack that learns in parallel over time, no larger than this."""
    return Preset(
        purpose,
        ModelSettings(
            cell="mingru", residual=True, num_layers=layers, hidden_size=size, embedding_dim=size, symbol_dropout=0.05, embedding_scale=1.0
        ),
        TrainSettings(
            batch_size=16, seq_len=256, optimizer="muon", learning_rate=8e-3, beta1=0.95, beta2=0.99, weight_decay=0.3, schedule="linear",
            warmup_steps=30, clip_norm=1.0, averaging=0.99, join=JOIN, patience=3, minutes=minutes,
        ),
        sizes=tuple(one for one in SIZES if one <= (layers, size)),
        symbols_per_parameter=1.5,
        by_epochs=BY_EPOCHS,
        epochs_of_100_000=8.5,
        enough_steps=1000,
        plain=_plain(2 * size, minutes),
    )  # fmt: skip


PRESETS: Mapping[str, Preset] = {
    "small": _stack("the default: the best model of your text in five minutes on a laptop", 4, 256, 5),
    "tiny": _stack("a small model, two blocks of 128 at most, in a minute", 2, 128, 1),
    "medium": _stack("for texts of many megabytes, or a longer time: 20 minutes", 6, 384, 20),
    "large": _stack("for a graphics card, or an hour", 8, 512, 60),
    "tutorial": Preset(
        "the lessons' own network and training: GRU 1024 on shuffled windows of 100, Adam",
        ModelSettings(cell="gru", embedding_dim=256, hidden_size=1024),
        TrainSettings(examples="windows", batch_size=64, seq_len=100, learning_rate=1e-3, epsilon=1e-7, epochs=10),
    ),
    "titles": Preset(
        "the lessons' network for titles: LSTM 128 on one-hot symbols, each title a document",
        ModelSettings(cell="lstm", embedding_dim=None, hidden_size=128),
        TrainSettings(
            examples="documents", batch_size=8, seq_len=1000, optimizer="rmsprop", learning_rate=1e-3, beta2=0.9, epsilon=1e-7, epochs=4
        ),
    ),
}  # fmt: skip
"""Every preset by name; the first is the default."""

LENGTHS = ("steps", "epochs", "minutes")
"""The settings of which one says how long training is."""


def preset(name: str = "small", *, model: Mapping[str, Any] | None = None, train: Mapping[str, Any] | None = None) -> Preset:
    """A preset with some of its settings replaced.

    A length of training given here (steps, epochs or minutes) takes the place of the preset's own.

    Raises:
        SettingsError: no such preset, or a value out of its range.
    """
    if name not in PRESETS:
        near = near_name(name, PRESETS)
        raise SettingsError(
            tr("there is no preset {name!r}", name=name),
            expected=tr("one of {names}", names=", ".join(PRESETS)),
            hint=tr("did you mean {near!r}?", near=near) if near else None,
        )
    found, model_changes = PRESETS[name], dict(model or {})
    if found.plain is not None and model_changes.get("cell", found.model.cell) != found.model.cell and not model_changes.get("residual"):
        found = found.plain._replace(purpose=found.purpose)
    changes = dict(train or {})
    if any(changes.get(length) is not None for length in LENGTHS):
        changes = {**dict.fromkeys(LENGTHS), **changes}
    if model_changes.get("cell", found.model.cell) != found.model.cell:  # what belongs to the preset's own cell does not carry over
        own: dict[str, Any] = {"activation": "auto", "reset": "after", "window": 3, "codes": False, "order": 6}
        if model_changes["cell"] == "ngram":
            own |= {name: value for name, value in found.for_ngram.items() if name in ModelSettings.fields}
            changes = {**{name: value for name, value in found.for_ngram.items() if name in TrainSettings.fields}, **changes}
        model_changes = {**own, **model_changes}
    if found.model.residual and "hidden_size" in model_changes:  # as wide at the input as inside
        model_changes = {"embedding_dim": model_changes["hidden_size"], **model_changes}
    return found._replace(model=found.model.but(**model_changes), train=found.train.but(**changes))
