"""Dynamic evaluation of a model: it goes on learning from the text that it reads, after each symbol was scored.

It does not know how the model learns then (`training/dynamic.py`), nor which text is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from escriba.errors import MissingExtraError, SettingsError, TextError
from escriba.inference.evaluating import Measured, Progress, measure
from escriba.language import tr

if TYPE_CHECKING:
    from escriba.model.language_model import LanguageModel
    from escriba.text.corpus import Corpus
    from escriba.using import Model

__all__ = ["measure_dynamic"]


def measure_dynamic(model: Model, part: Corpus, *, lanes: int | None = None, progress: Progress | None = None) -> Measured:
    """The loss of a copy of a model that learns while it reads a stream from its beginning to its end. The model stays as it is.

    Raises:
        TextError: the text is documents.
        SettingsError: the model is no single network, or several lanes are asked for.
        MissingExtraError: PyTorch is not installed.
    """
    if part.is_documents:
        raise TextError(tr("the text is documents, and dynamic evaluation goes along one stream"), expected=tr("a text of one stream"))
    if lanes not in (None, 1):
        raise SettingsError(tr("lanes is {lanes}, but what is learnt on the way needs one order", lanes=lanes), expected="1")
    if model.members or model.config is None or model.config.model.cell == "counts":
        raise SettingsError(tr("only a single network can learn while it reads"), expected=tr("a model that learnt by gradients, alone"))
    try:
        from escriba.training.dynamic import SEGMENT, DynamicEngine
    except ModuleNotFoundError as error:
        raise MissingExtraError(tr("dynamic evaluation"), "train", "torch") from error
    measured = measure(DynamicEngine(_network(model)), model.tokenizer, part, lanes=1, progress=progress)
    learnt = tr("the model learns from every {symbols} symbols once they are scored", symbols=SEGMENT)
    return replace(measured, convention=f"{measured.convention}; {learnt}")


def _network(model: Model) -> LanguageModel:
    """The network of a model: the living one, or one made of its weights."""
    if model.net is not None:
        return model.net
    from escriba.model.language_model import LanguageModel

    if model.config is None or model._weights is None:
        raise SettingsError(tr("this model's weights are not known here"), expected=tr("a model that was trained or loaded"))
    net = LanguageModel(model.config.vocab_size, model.config.model)
    net.set_weights(dict(model._weights))
    return net
