"""READ THIS FIRST: `train`, `load` and `Model`: text -> tokenizer -> batches -> fit -> model folder -> use.

It knows nothing of command lines and pages; PyTorch is loaded only by what learns.
"""

from __future__ import annotations

import os
import shlex
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from escriba.checkpoint import MODELS, Config, find_model, load_folder, save_head, save_weights
from escriba.engine.protocol import Engine
from escriba.engine.reference import ReferenceEngine
from escriba.errors import CheckpointError, MissingExtraError, SettingsError, TextError
from escriba.inference.generator import Generated, Generator
from escriba.inference.scorer import Scorer
from escriba.inference.writer import Distribution, Writer
from escriba.presets import Preset
from escriba.presets import preset as find_preset
from escriba.results import Run, Score, Text
from escriba.settings import ModelSettings, SampleSettings, TextSettings, TrainSettings
from escriba.text.corpus import Corpus, read
from escriba.text.tokenizer import Tokenizer
from escriba.weights import count_parameters

if TYPE_CHECKING:
    from escriba.model.language_model import LanguageModel
    from escriba.teaching import Watcher
    from escriba.training.plan import Plan
    from escriba.training.run import RunFolder
    from escriba.training.state import TrainingState

__all__ = ["Model", "load", "model_name", "train"]

DEFAULT_SAMPLING = SampleSettings()


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
        _warn(one.notices for one in made)
        texts = [_as_text(one) for one in made]
        return texts[0] if isinstance(prompt, str) and samples is None else texts

    def stream(
        self, prompt: str = "", length: int | None = 500, *, seed: int | None = None, stop: str | Sequence[str] = (), **sampling: Any
    ) -> Iterator[str]:
        """Writes the same text as `generate`, piece by piece as it comes; length None never stops by itself."""
        stream = Generator(self.engine, self.tokenizer).stream(
            prompt, length=length, settings=SampleSettings(**sampling), seed=seed, stop=stop
        )
        _warn([stream.notices])
        return (piece for _, piece in stream)

    def writer(self, prompt: str = "", *, seed: int | None = None, **sampling: Any) -> Writer:
        """A text that goes on step by step: `next`, `push`, `write`, `fork`."""
        return Writer(self.engine, self.tokenizer, prompt, settings=SampleSettings(**sampling), seed=seed)

    def next(self, context: str = "") -> Distribution:
        """The distribution of the symbol after a context; ``.top(5)`` gives the likeliest."""
        return self.writer(context, seed=0).next()

    def score(self, text: str, after: str = "") -> Score:
        """How likely a text is, after a context or from nothing: log-likelihood, bits per character, surprisals."""
        if not text:
            raise TextError("the text to score is empty", expected="one character or more")
        scored = Scorer(self.engine, self.tokenizer).score(text, after)
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
        return sorted((self.score(text, after) for text in texts), key=lambda score: -score.log_likelihood)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes a model folder.

        Raises:
            CheckpointError: the folder is there already, or cannot be written to.
        """
        target = Path(folder)
        weights = self.net.get_weights() if self.net is not None else self._weights
        if self.config is None or weights is None:
            raise CheckpointError("this model's weights are not known here, so it cannot be saved")
        if target.exists() and not overwrite:
            raise CheckpointError(f"{target} is there already", hint="overwrite=True, or another folder")
        target.mkdir(parents=True, exist_ok=True)
        save_head(target, self.config, self.tokenizer)
        save_weights(target, weights)
        self.folder = target
        return target

    def __repr__(self) -> str:
        network = (
            "" if self.config is None else f"{self.config.model.cell} {self.config.model.hidden_size}, {self.parameters:,} parameters, "
        )
        return f"<Model: {network}{self.tokenizer.vocab_size:,} symbols{f', {self.folder}' if self.folder else ''}>"


def load(path: str | os.PathLike[str], *, at: str | None = None) -> Model:
    """Opens a model folder, or a model under models/ by its name; PyTorch is not needed.

    Args:
        path: the folder or the name.
        at: an earlier moment that was kept in training (`--keep-every`), such as "epoch:3" or "step:500".

    Raises:
        CheckpointError: there is no such model, or its files are damaged, of a newer version, or of another model.
    """
    files = load_folder(find_model(os.fspath(path)), at)
    model = Model(ReferenceEngine(files.config.model, files.weights), files.tokenizer, config=files.config, folder=files.path)
    model._weights = files.weights
    return model


def train(
    *sources: str | os.PathLike[str],
    text: str | None = None,
    documents: str | Iterable[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    preset: str = "small",
    val: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Model:
    """Trains a model on a text and keeps it in a model folder.

    Args:
        *sources: files, folders, patterns, "-" for standard input.
        text: a text itself.
        documents: the documents themselves; or the setting of that name ("line", "paragraph", "stream").
        out: the model folder; None: models/ and the name of the text; a text or documents given as such stay in memory.
        preset: gives every setting that is not named here: "small", "tutorial", "titles".
        val: a text, or several, of your own to hold out.
        resume: goes on with the unfinished training in the folder.
        overwrite: replaces a model that is there.
        watcher: called with every event of the training; None: progress and samples are shown on standard error.
        quiet: show nothing.
        **settings: single settings by name, of `TextSettings`, `ModelSettings` and `TrainSettings`: minutes=5, cell="gru", seed=7.

    Returns:
        The model; after Ctrl-C, the model as it was then.

    Raises:
        TextError, SettingsError, CheckpointError, TrainingError: each says what was met, what was expected, what to do.
        MissingExtraError: PyTorch is not installed.
    """
    began = time.perf_counter()
    _require_torch()
    from escriba.training.plan import prepare, sort_settings
    from escriba.training.run import RunFolder

    sorted_settings = sort_settings(settings)
    target = Path(out) if out is not None else Path(MODELS) / model_name(sources) if sources else None
    text_settings, chosen = TextSettings(**sorted_settings[TextSettings]), None
    if resume and target is not None and (target / "config.json").is_file():
        before = load_folder(target).config
        text_settings, chosen = before.text, Preset("", before.model, before.train)
        _refuse_other_settings(sorted_settings, before)
    elif target is not None and target.exists() and not overwrite:
        raise existing_model(target, sources)
    if chosen is None:
        chosen = find_preset(preset, model=sorted_settings[ModelSettings], train=sorted_settings[TrainSettings])
        resume = False
    if chosen.train.threads is not None:
        import torch

        torch.set_num_threads(chosen.train.threads)
    corpus = read(*sources, text=text, documents=documents, settings=text_settings)
    plan = prepare(corpus, chosen, held_out=_held_out(val, text_settings))
    folder, state = None, None
    config = Config(corpus.settings, chosen.model, chosen.train, plan.tokenizer.vocab_size)
    if target is not None and resume:
        _refuse_other_text(target, corpus, plan.parts.held_out)
        folder, state = RunFolder.reopen(target)
    elif target is not None:
        folder = RunFolder.create(target, config, plan.tokenizer, overwrite=overwrite)
    _teach(plan, folder, began, state, watcher or (_ignore if quiet else None))
    model = Model(ReferenceEngine(chosen.model, plan.net.get_weights()), plan.tokenizer, config=config, folder=target)
    model.net = plan.net
    return model


def model_name(sources: Sequence[str | os.PathLike[str]]) -> str:
    """The name of a model that was given none: that of its first text."""
    first = Path(os.fspath(sources[0])).name
    stem = first.split(".")[0] if not first.startswith(".") else first.strip(".")
    cleaned = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in stem).strip("-")
    return cleaned or "text"


def existing_model(target: Path, sources: Sequence[str | os.PathLike[str]]) -> CheckpointError:
    """The error for a folder that is there already: how to go on with it, or to replace it."""
    from escriba.training.run import is_finished

    texts = shlex.join(os.fspath(source) for source in sources)
    if (target / "config.json").is_file() and not is_finished(target):
        again = f"escriba train {texts} -o {shlex.quote(str(target))} --resume"
        return CheckpointError(
            f"{target} holds a training that is not finished",
            hint=f"go on with it: {again}; or replace it: --overwrite; or choose another folder: -o",
        )
    return CheckpointError(f"{target} is there already", hint="replace it: --overwrite; or choose another folder: -o FOLDER")


def _held_out(val: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], settings: TextSettings) -> Corpus | None:
    names = [val] if isinstance(val, str | os.PathLike) else list(val)
    return read(*names, settings=settings) if names else None


def _refuse_other_settings(given: Mapping[type, Mapping[str, Any]], before: Config) -> None:
    """A resumed training keeps its settings: others are refused, with the difference shown."""
    for section, met in ((TextSettings, before.text), (ModelSettings, before.model), (TrainSettings, before.train)):
        for name, value in given[section].items():
            kept = getattr(met, name)
            if value is not None and getattr(met.but(**_alone(name, value)), name) != kept:
                raise SettingsError(
                    f"{name} is {value!r}, but the training to resume has {kept!r}",
                    expected="the same settings, or none: they are read from the folder",
                    hint="train anew with --overwrite, or into another folder with -o",
                )


def _alone(name: str, value: Any) -> dict[str, Any]:
    """One setting; of the three lengths of training only one may stand."""
    lengths = ("steps", "epochs", "minutes")
    return {**dict.fromkeys(lengths), name: value} if name in lengths else {name: value}


def _refuse_other_text(target: Path, corpus: Corpus, held_out: Corpus | None) -> None:
    known = Run.read(target).last("begun").get("corpus", {})
    if known and known.get("sha256") != corpus.sha256:
        raise TextError(
            f"this is not the text of the training in {target}: {corpus.characters:,} characters, there {known.get('characters'):,}",
            expected="the very same text",
            hint="train anew with --overwrite, or into another folder with -o",
        )
    measured = None if held_out is None else held_out.sha256
    if known.get("held_out_sha256", measured) != measured:
        raise TextError(
            f"the held-out text is not that of the training in {target}",
            expected="the very same --val, or none if there was none",
            hint="give the --val that it began with",
        )


def _require_torch() -> None:
    try:
        import torch  # noqa: F401 - only whether it is there
    except ModuleNotFoundError as error:
        raise MissingExtraError("training", "train", "torch") from error


def _unit(tokenizer: Tokenizer) -> Any:
    return tokenizer.kind


def _as_text(made: Generated) -> Text:
    return Text.of(
        made.prompt, made.text, log_likelihood=made.log_likelihood, seed=made.seed, row=made.row, finish_reason=made.finish_reason
    )


def _warn(notices: Iterable[Sequence[str]]) -> None:
    """Says once each what the prompts held that the model does not know."""
    for notice in dict.fromkeys(one for several in notices for one in several):
        warnings.warn(notice, UserWarning, stacklevel=3)


def _teach(plan: Plan, folder: RunFolder | None, began: float, state: TrainingState | None, watcher: Watcher | None) -> None:
    from escriba.outputs.progress import ProgressDisplay
    from escriba.teaching import Teaching

    display = ProgressDisplay() if watcher is None else None
    try:
        Teaching(plan, folder, watcher or display or _ignore, began, state).run()
    finally:
        if display is not None:
            display.close()


def _ignore(event: Any) -> None:
    """Watches nothing."""
