"""Escriba trains, reads, scores and serves small recurrent language models on your own text.

The public names load when they are first used: ``import escriba`` brings neither PyTorch nor a command line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "ByteTokenizer": "escriba.text.tokenizer",
    "CharTokenizer": "escriba.text.tokenizer",
    "CheckpointError": "escriba.errors",
    "Corpus": "escriba.text.corpus",
    "EpochEnded": "escriba.training.events",
    "EscribaError": "escriba.errors",
    "Evaluated": "escriba.training.events",
    "Finished": "escriba.training.events",
    "Joined": "escriba.training.events",
    "LanguageModel": "escriba.model.language_model",
    "MissingExtraError": "escriba.errors",
    "Model": "escriba.api",
    "ModelSettings": "escriba.settings",
    "Progress": "escriba.training.events",
    "Recall": "escriba.inference.recall",
    "SampleSettings": "escriba.settings",
    "Score": "escriba.results",
    "SettingsError": "escriba.errors",
    "Text": "escriba.results",
    "TextDecodingError": "escriba.errors",
    "TextError": "escriba.errors",
    "TextSettings": "escriba.settings",
    "TrainSettings": "escriba.settings",
    "TrainingError": "escriba.errors",
    "UnknownSymbolError": "escriba.errors",
    "WordTokenizer": "escriba.text.tokenizer",
    "documents": "escriba.text.batches",
    "evaluate_part": "escriba.training.evaluation",
    "fit": "escriba.training.trainer",
    "load": "escriba.api",
    "preset": "escriba.presets",
    "read": "escriba.text.corpus",
    "streams": "escriba.text.batches",
    "train": "escriba.api",
    "use_language": "escriba.language",
    "windows": "escriba.text.batches",
}

__all__ = sorted([*_WHERE, "__version__"])  # noqa: PLE0605 - a test holds it to the documented list

if TYPE_CHECKING:
    from escriba.api import Model as Model
    from escriba.api import load as load
    from escriba.api import train as train
    from escriba.errors import CheckpointError as CheckpointError
    from escriba.errors import EscribaError as EscribaError
    from escriba.errors import MissingExtraError as MissingExtraError
    from escriba.errors import SettingsError as SettingsError
    from escriba.errors import TextDecodingError as TextDecodingError
    from escriba.errors import TextError as TextError
    from escriba.errors import TrainingError as TrainingError
    from escriba.errors import UnknownSymbolError as UnknownSymbolError
    from escriba.inference.recall import Recall as Recall
    from escriba.language import use_language as use_language
    from escriba.model.language_model import LanguageModel as LanguageModel
    from escriba.presets import preset as preset
    from escriba.results import Score as Score
    from escriba.results import Text as Text
    from escriba.settings import ModelSettings as ModelSettings
    from escriba.settings import SampleSettings as SampleSettings
    from escriba.settings import TextSettings as TextSettings
    from escriba.settings import TrainSettings as TrainSettings
    from escriba.text.batches import documents as documents
    from escriba.text.batches import streams as streams
    from escriba.text.batches import windows as windows
    from escriba.text.corpus import Corpus as Corpus
    from escriba.text.corpus import read as read
    from escriba.text.tokenizer import ByteTokenizer as ByteTokenizer
    from escriba.text.tokenizer import CharTokenizer as CharTokenizer
    from escriba.text.tokenizer import WordTokenizer as WordTokenizer
    from escriba.training.evaluation import evaluate_part as evaluate_part
    from escriba.training.events import EpochEnded as EpochEnded
    from escriba.training.events import Evaluated as Evaluated
    from escriba.training.events import Finished as Finished
    from escriba.training.events import Joined as Joined
    from escriba.training.events import Progress as Progress
    from escriba.training.trainer import fit as fit


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used.

    Raises:
        AttributeError: there is no such name; the nearest is suggested.
        MissingExtraError: the name needs an optional part that is not installed.
    """
    if name not in _WHERE:
        from escriba.errors import near_name

        near = near_name(name, _WHERE)
        raise AttributeError(f"module 'escriba' has no attribute {name!r}" + (f"; did you mean {near!r}?" if near else ""))
    try:
        value = getattr(importlib.import_module(_WHERE[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from escriba.errors import MissingExtraError

        raise MissingExtraError(f"escriba.{name}", "train", "torch") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
