"""What a training of any kind begins with: the settings sorted, the tokenizer fitted, what a symbol stands for.

It knows nothing of networks, and needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from escriba.errors import TextError
from escriba.fields import near_setting
from escriba.language import later, tr
from escriba.settings import ModelSettings, Settings, TextSettings, TrainSettings
from escriba.text.corpus import Corpus, Parts
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import TOKENIZERS, Tokenizer

__all__ = ["characters_per_symbol", "encoded_part", "fit_tokenizer", "sort_settings", "unseen_note"]

MOST_UNSEEN = 0.01
"""The share of what is measured on that may be outside the vocabulary without a word."""

TOO_SHORT = {
    "held-out": later("the held-out part is a single symbol of the unit {unit}, of which nothing can be scored"),
    "choosing": later("the choosing part is a single symbol of the unit {unit}, of which nothing can be scored"),
}
"""What is wrong with a part, by what it is called."""


def sort_settings(values: Mapping[str, Any]) -> dict[type[Settings], dict[str, Any]]:
    """Single settings by name, sorted by the stage to which they belong.

    Raises:
        SettingsError: no stage has a setting of that name.
    """
    stages: tuple[type[Settings], ...] = (TextSettings, ModelSettings, TrainSettings)
    sorted_values: dict[type[Settings], dict[str, Any]] = {stage: {} for stage in stages}
    for name, value in values.items():
        for stage in stages:
            if name in stage.fields:
                sorted_values[stage][name] = value
                break
        else:
            raise near_setting(name, [field for stage in stages for field in stage.fields])
    return sorted_values


def fit_tokenizer(corpus: Corpus, parts: Parts) -> Tokenizer:
    """The tokenizer of the corpus' settings: the vocabulary is of the whole text, the frequencies of the training part."""
    settings = corpus.settings
    return TOKENIZERS[settings.unit].fit(
        corpus, min_count=settings.min_count, unknown=settings.unknown, count_in=parts.whole_train if parts.held_out is not None else None
    )


def characters_per_symbol(part: Corpus, encoded: EncodedText) -> float:
    """How many characters a scored symbol stands for, the ends of documents counted as symbols."""
    ends = 0 if encoded.offsets is None else encoded.count
    return part.characters / max(1, len(encoded) + ends)


def unseen_note(held_out: EncodedText | None, tokenizer: Tokenizer) -> tuple[str, ...]:
    """A note if more than a hundredth of what is measured on is outside the vocabulary, so that its bits flatter the model."""
    if held_out is None or tokenizer.unk_id is None or not len(held_out):
        return ()
    share = np.count_nonzero(np.asarray(held_out.ids) == tokenizer.unk_id) / len(held_out)
    if share <= MOST_UNSEEN:
        return ()
    words = later("{share:.1%} of the held-out symbols are not in the vocabulary: as <unk> they cost fewer bits than they would if spelt")
    return (tr(words, share=share),)


def encoded_part(part: Corpus | None, tokenizer: Tokenizer, name: str) -> EncodedText | None:
    """A part that is measured as ids; None: there is none.

    Args:
        part: the text.
        tokenizer: its symbols.
        name: which part it is, "held-out" or "choosing".

    Raises:
        TextError: it is a stream of a single symbol, of which none can be scored: that is said before anything is learnt.
        UnknownSymbolError: a symbol is not in the vocabulary, and there is no ``<unk>``.
    """
    encoded = None if part is None else part.encode(tokenizer)
    if encoded is not None and encoded.offsets is None and len(encoded) < 2:
        raise TextError(
            tr(TOO_SHORT[name], unit=tokenizer.kind), expected=tr("2 symbols or more"), hint=tr("bring a longer one: --val, --test")
        )
    return encoded
