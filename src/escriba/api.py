"""READ THIS FIRST: `train`, `load` and `Model`: text -> tokenizer -> batches -> fit -> model folder -> use.

It knows nothing of command lines and pages; PyTorch is loaded only by what learns.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from escriba.checkpoint import Config, find_model, load_folder, save_head, save_weights
from escriba.engine.protocol import Engine
from escriba.engine.reference import ReferenceEngine
from escriba.errors import CheckpointError, MissingExtraError, SettingsError, TextError
from escriba.inference.generator import Generated, Generator
from escriba.inference.scorer import Scorer
from escriba.inference.writer import Distribution, Writer
from escriba.results import Closed, Run, Score, Text
from escriba.settings import SampleSettings, TextSettings, TrainSettings
from escriba.text.tokenizer import Tokenizer
from escriba.weights import count_parameters

if TYPE_CHECKING:
    from escriba.beginning import Beginning
    from escriba.model.language_model import LanguageModel
    from escriba.teaching import Watcher

__all__ = ["Model", "load", "train"]

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
        _warn(one.notices for one in made)
        texts = [_as_text(one) for one in made]
        return texts[0] if isinstance(prompt, str) and samples is None else texts

    def stream(
        self, prompt: str = "", length: int | None = 500, *, seed: int | None = None, stop: str | Sequence[str] = (), **sampling: Any
    ) -> Iterator[str]:
        """Writes the same text as `generate`, piece by piece as it comes; length None never stops by itself."""
        stream = Generator(self.engine, self.tokenizer).stream(
            _text(prompt, "the prompt"), length=length, settings=SampleSettings(**sampling), seed=seed, stop=stop
        )
        _warn([stream.notices])
        return (piece for _, piece in stream)

    def writer(self, prompt: str = "", *, seed: int | None = None, **sampling: Any) -> Writer:
        """A text that goes on step by step: `next`, `push`, `write`, `fork`."""
        return Writer(self.engine, self.tokenizer, _text(prompt, "the prompt"), settings=SampleSettings(**sampling), seed=seed)

    def next(self, context: str = "") -> Distribution:
        """The distribution of the symbol after a context; ``.top(5)`` gives the likeliest."""
        return self.writer(_text(context, "the context"), seed=0).next()

    def score(self, text: str, after: str = "") -> Score:
        """How likely a text is, after a context or from nothing: log-likelihood, bits per character, surprisals."""
        if not _text(text, "the text to score"):
            raise TextError("the text to score is empty", expected="one character or more")
        scored = Scorer(self.engine, self.tokenizer).score(text, _text(after, "after"))
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
        target = _path(folder, "the folder to save in")
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


def load(path: str | os.PathLike[str], *, at: str | None = None) -> Model:
    """Opens a model folder, or a model under models/ by its name; PyTorch is not needed.

    Args:
        path: the folder or the name.
        at: an earlier moment that was kept in training (`--keep-every`), such as "epoch:3" or "step:500".

    Raises:
        CheckpointError: there is no such model, or its files are damaged, of a newer version, or of another model.
    """
    files = load_folder(find_model(_path(path, "the model")), at)
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
    test: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    resume: bool = False,
    more: str | os.PathLike[str] | None = None,
    init_from: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    allow_inexact: bool = False,
    watcher: Watcher | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Model:
    """Trains a model on a text and keeps it in a model folder.

    Args:
        *sources: files, folders, patterns, addresses, known texts such as "text:shakespeare", "-" for standard input.
        text: a text itself.
        documents: the documents themselves; or the setting of that name ("line", "paragraph", "stream").
        out: the model folder; None: models/ and the name of the text; a text or documents given as such stay in memory.
        preset: gives every setting that is not named here: "small", "tutorial", "titles".
        val: a text, or several, of your own to hold out; beside a test text it is what the best weights are chosen by.
        test: a text, or several, of your own to hold out.
        resume: goes on with the unfinished training in the folder, bit for bit where steps or epochs are the measure.
        more: a finished model, a folder or a name, which is trained further on the same text: in its place, unless `out` is given.
        init_from: a model whose weights the training begins with, on any text: symbols are mapped by name, new ones are added.
        overwrite: replaces a model that is there.
        allow_inexact: lets a resumed training run with other threads, precision or device than before.
        watcher: called with every event of the training; None: progress and samples are shown, in a notebook in one block.
        quiet: show nothing.
        **settings: single settings by name, of `TextSettings`, `ModelSettings` and `TrainSettings`: minutes=5, cell="gru", seed=7.

    Returns:
        The model; after Ctrl-C (a notebook's stop button), the model as it was then.

    Raises:
        TextError, SettingsError, CheckpointError, TrainingError: each says what was met, what was expected, what to do.
        MissingExtraError: PyTorch is not installed.
    """
    began = time.perf_counter()
    _require_torch()
    from escriba.beginning import Request, begin
    from escriba.teaching import Teaching

    if isinstance(documents, str):
        settings["documents"], documents = documents, None
    request = Request(
        sources, text, documents, out, preset, val, test, resume, more, init_from, overwrite, allow_inexact, settings
    )  # fmt: skip
    start = begin(request)
    if start.is_over and request.target is not None:
        return _finished(request.target, start, watcher)
    with start.folder or nullcontext(), _shown(watcher, quiet) as watched:
        given = tuple(os.fspath(source) for source in sources)
        Teaching(start.plan, start.folder, watched, began, start.resume, start.more, start.restored, given).run()
    plan = start.plan
    model = Model(ReferenceEngine(plan.net.settings, plan.net.get_weights()), plan.tokenizer, config=start.config, folder=request.target)
    model.net = plan.net
    return model


def _finished(target: Path, start: Beginning, watcher: Watcher | None) -> Model:
    """The model of a training that is over already, when it is asked to go on: that is said, and nothing is done."""
    if start.folder is not None:
        start.folder.close()
    _warn([(str(start.restored),)])
    model = load(target)
    if watcher is not None:
        figures = {**model.run.last("finished"), "folder": str(target)}
        told: dict[str, Any] = {field.name: figures.get(field.name) for field in dataclasses.fields(Closed)}
        watcher(Closed(**told))
    return model


@contextmanager
def _shown(watcher: Watcher | None, quiet: bool) -> Iterator[Watcher]:
    """Who watches a training: the caller's own, nobody, or a display that suits the place and goes away at the end."""
    if watcher is not None or quiet:
        yield watcher or (lambda event: None)
        return
    from escriba.outputs.progress import display_for
    from escriba.training.interrupt import dropping_a_broken_stream

    display = display_for()
    try:
        yield display
    finally:
        with dropping_a_broken_stream():
            display.close()


def _text(value: object, what: str) -> str:
    """A string.

    Raises:
        TextError: it is something else.
    """
    if not isinstance(value, str):
        raise TextError(f"{what} is {value!r:.60}, of type {type(value).__name__}", expected="a string")
    return value


def _path(value: object, what: str) -> Path:
    """A path.

    Raises:
        CheckpointError: it is something else.
    """
    if not isinstance(value, str | os.PathLike):
        raise CheckpointError(f"{what} is {value!r:.60}, of type {type(value).__name__}", expected="a path, or a name under models/")
    return Path(os.fspath(value))


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
