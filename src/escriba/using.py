"""A model in use: `Model` writes, reads, scores and saves.

It does not know how a model is trained, nor what shows its results; PyTorch is loaded only for a live network, and for long texts.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from escriba.checkpoint import Config, save_head, save_weights
from escriba.engine.protocol import Engine
from escriba.errors import CheckpointError, SettingsError, TextError
from escriba.inference.generator import Generated, Generator
from escriba.inference.scorer import Scorer
from escriba.inference.writer import Distribution, Writer
from escriba.results import Run, Score, Text
from escriba.settings import SampleSettings, TextSettings, TrainSettings
from escriba.text.tokenizer import Tokenizer
from escriba.weights import count_parameters

if TYPE_CHECKING:
    from escriba.model.language_model import LanguageModel

__all__ = ["Model", "as_path", "warn_once"]


class Model:
    """A model that writes and reads.

    Args:
        net: a `LanguageModel`, trained or not, or any `Engine`.
        tokenizer: its symbols.
        config: how it came to be, where that is known.
        folder: where it is kept, if anywhere.
    """

    def __init__(
        self, net: LanguageModel | Engine, tokenizer: Tokenizer, *, config: Config | None = None, folder: Path | None = None
    ) -> None:
        if net.vocab_size != tokenizer.vocab_size:
            raise SettingsError(
                f"the network has {net.vocab_size} symbols and the tokenizer {tokenizer.vocab_size}", expected="as many: tok.vocab_size"
            )
        self.tokenizer = tokenizer
        self.folder = folder
        self.net: LanguageModel | None = None
        if isinstance(net, Engine):
            self.engine: Engine = net
        else:
            from escriba.engine.torch import TorchEngine

            self.net, self.engine = net, TorchEngine(net)
            config = config or Config(TextSettings(unit=_unit(tokenizer)), net.settings, TrainSettings(), net.vocab_size)
        self.config = config
        self._weights: Mapping[str, Any] | None = None

    @property
    def parameters(self) -> int | None:
        """How many numbers the model learnt, where that is known."""
        return None if self.config is None else count_parameters(self.config.model, self.config.vocab_size)

    @property
    def run(self) -> Run:
        """The history of its training; empty for a model that has no folder."""
        return Run(()) if self.folder is None else Run.read(self.folder)

    @overload
    def generate(self, prompt: str = ..., length: int = ..., *, samples: None = ..., **options: Any) -> Text: ...
    @overload
    def generate(
        self, prompt: str | Sequence[str] = ..., length: int = ..., *, samples: int | None = ..., **options: Any
    ) -> list[Text]: ...

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        length: int = 500,
        *,
        samples: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        **sampling: Any,
    ) -> Text | list[Text]:
        """Writes on from a prompt, or from each of several.

        Args:
            prompt: a text, of any length, possibly empty; or a list of texts.
            length: characters to write, 0 or more.
            samples: texts for each prompt; None: one.
            seed: of the draws; None: another one each time, told in the result.
            stop: a string, or several, before which the text ends.
            **sampling: temperature (0 is greedy), top_k, top_p, min_p, as in `SampleSettings`.

        Returns:
            A `Text`, which is a str; for a list of prompts or a number of samples a list of them, prompt by prompt.

        Raises:
            SettingsError: a value is out of its range.
            UnknownSymbolError: the prompt has an unseen symbol, and the vocabulary has no <unk>.
        """
        made = Generator(self.engine, self.tokenizer).generate(
            prompt, samples=1 if samples is None else samples, length=length, settings=SampleSettings(**sampling), seed=seed, stop=stop
        )
        warn_once(one.notices for one in made)
        texts = [_as_text(one) for one in made]
        return texts[0] if isinstance(prompt, str) and samples is None else texts

    def stream(
        self, prompt: str = "", length: int | None = 500, *, seed: int | None = None, stop: str | Sequence[str] = (), **sampling: Any
    ) -> Iterator[str]:
        """Writes the same text as `generate`, piece by piece as it comes; length None never stops by itself."""
        stream = Generator(self.engine, self.tokenizer).stream(
            as_string(prompt, "the prompt"), length=length, settings=SampleSettings(**sampling), seed=seed, stop=stop
        )
        warn_once([stream.notices])
        return (piece for _, piece in stream)

    def writer(self, prompt: str = "", *, seed: int | None = None, **sampling: Any) -> Writer:
        """A text that goes on step by step: `next`, `push`, `write`, `fork`."""
        return Writer(self.engine, self.tokenizer, as_string(prompt, "the prompt"), settings=SampleSettings(**sampling), seed=seed)

    def next(self, context: str = "") -> Distribution:
        """The distribution of the symbol after a context; ``.top(5)`` gives the likeliest."""
        return self.writer(as_string(context, "the context"), seed=0).next()

    def score(self, text: str, after: str = "") -> Score:
        """How likely a text is, after a context or from nothing: log-likelihood, bits per character, surprisals."""
        if not as_string(text, "the text to score"):
            raise TextError("the text to score is empty", expected="one character or more")
        scored = Scorer(self.engine, self.tokenizer).score(text, as_string(after, "after"))
        return Score(
            text,
            scored.log_likelihood,
            scored.symbols,
            scored.bits_per_char,
            scored.bits_per_byte,
            scored.perplexity,
            scored.unknown,
            scored.convention,
            tuple(scored.surprisals.tolist()),
        )

    def rank(self, texts: Iterable[str], after: str = "") -> list[Score]:
        """The scores of texts, the likeliest first."""
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise TextError(f"the texts to rank are {texts!r:.60}", expected="a list of texts")
        return sorted((self.score(text, after) for text in texts), key=lambda score: -score.log_likelihood)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes a model folder.

        Raises:
            CheckpointError: the folder is there already, or cannot be written to.
        """
        target = as_path(folder, "the folder to save in")
        weights = self.net.get_weights() if self.net is not None else self._weights
        if self.config is None or weights is None:
            raise CheckpointError("this model's weights are not known here, so it cannot be saved")
        if target.exists() and not overwrite:
            raise CheckpointError(f"{target} is there already", hint="overwrite=True, or another folder")
        if target.exists() and not (target / "config.json").is_file() and any(target.iterdir() if target.is_dir() else [target]):
            raise CheckpointError(f"{target} is not a model folder, so it is not overwritten", hint="another folder")
        from escriba.training.place import new_place, saying_what_failed, sibling, take_place

        place = new_place(target)
        new = sibling(place, "partial")
        with saying_what_failed(f"{new} could not be made"):
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
        save_head(new, self.config, self.tokenizer)
        save_weights(new, weights)
        take_place(new, place, replaces=target.exists())
        self.folder = target
        return target

    def __repr__(self) -> str:
        network = (
            "" if self.config is None else f"{self.config.model.cell} {self.config.model.hidden_size}, {self.parameters:,} parameters, "
        )
        return f"<Model: {network}{self.tokenizer.vocab_size:,} symbols{f', {self.folder}' if self.folder else ''}>"


def as_string(value: object, what: str) -> str:
    """A string.

    Raises:
        TextError: it is something else.
    """
    if not isinstance(value, str):
        raise TextError(f"{what} is {value!r:.60}, of type {type(value).__name__}", expected="a string")
    return value


def as_path(value: object, what: str) -> Path:
    """A path.

    Raises:
        CheckpointError: it is something else.
    """
    if not isinstance(value, str | os.PathLike):
        raise CheckpointError(f"{what} is {value!r:.60}, of type {type(value).__name__}", expected="a path, or a name under models/")
    return Path(os.fspath(value))


def _unit(tokenizer: Tokenizer) -> Any:
    return tokenizer.kind


def _as_text(made: Generated) -> Text:
    return Text.of(
        made.prompt, made.text, log_likelihood=made.log_likelihood, seed=made.seed, row=made.row, finish_reason=made.finish_reason
    )


def warn_once(notices: Iterable[Sequence[str]]) -> None:
    """Says once each what the prompts held that the model does not know."""
    for notice in dict.fromkeys(one for several in notices for one in several):
        warnings.warn(notice, UserWarning, stacklevel=3)
