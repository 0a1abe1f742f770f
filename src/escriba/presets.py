"""The presets: one word that gives every setting of the network and of its training.

It knows nothing of how they are used; every value can be overridden by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from escriba.errors import SettingsError, near_name
from escriba.language import tr
from escriba.settings import ModelSettings, TrainSettings

__all__ = ["PRESETS", "Preset", "preset"]


class Preset(NamedTuple):
    """What a preset sets, and in a sentence what it is for.

    Attributes:
        purpose: the sentence.
        model: the network.
        train: how it learns.
        sizes: the hidden sizes among which the machine's speed chooses, where a time is the measure; none: always the model's own.
        for_ngram: settings of the network and of its training that a neural n-gram has otherwise: it learns more slowly than what
            recurs, and has little to overfit with.
    """

    purpose: str
    model: ModelSettings
    train: TrainSettings
    sizes: tuple[int, ...] = ()
    for_ngram: Mapping[str, Any] = MappingProxyType({})


PRESETS: Mapping[str, Preset] = {
    "small": Preset(
        "the default: a strong plain recurrent network in a few minutes on a laptop",
        ModelSettings(cell="gru", embedding_dim=128, hidden_size=512, dropout=0.1, embedding_scale=1.0),
        TrainSettings(
            batch_size=32, seq_len=128, optimizer="adamw", learning_rate=8e-3, beta2=0.99, weight_decay=0.05, schedule="cosine",
            warmup_steps=30, clip_norm=1.0, minutes=5,
        ),
        sizes=(128, 192, 256, 384, 512),
        for_ngram={"dropout": 0.0, "learning_rate": 0.02},
    ),
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
    found = PRESETS[name]
    changes = dict(train or {})
    if any(changes.get(length) is not None for length in LENGTHS):
        changes = {**dict.fromkeys(LENGTHS), **changes}
    model_changes = dict(model or {})
    if model_changes.get("cell", found.model.cell) != found.model.cell:  # what belongs to the preset's own cell does not carry over
        own: dict[str, Any] = {"activation": "auto", "reset": "after", "window": 3, "codes": False, "order": 6}
        if model_changes["cell"] == "ngram":
            own |= {name: value for name, value in found.for_ngram.items() if name in ModelSettings.fields}
            changes = {**{name: value for name, value in found.for_ngram.items() if name in TrainSettings.fields}, **changes}
        model_changes = {**own, **model_changes}
    return found._replace(model=found.model.but(**model_changes), train=found.train.but(**changes))
