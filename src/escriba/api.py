"""READ THIS FIRST: `train`, `load` and `Model`: text -> tokenizer -> batches -> fit -> model folder -> use.

It knows nothing of command lines and pages; PyTorch is loaded only by what learns.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escriba.checkpoint import find_model, load_folder
from escriba.errors import MissingExtraError, SettingsError
from escriba.language import tr
from escriba.running import Engines, Together
from escriba.using import Model, as_path

if TYPE_CHECKING:
    from escriba.beginning import Beginning
    from escriba.teaching import Watcher

__all__ = ["Model", "load", "train"]


def load(
    path: str | os.PathLike[str],
    *others: str | os.PathLike[str],
    at: str | None = None,
    precision: str = "auto",
    threads: int | None = None,
) -> Model:
    """Opens a model folder, or a model under models/ by its name, or several as one; PyTorch is not needed.

    Args:
        path: the folder or the name.
        *others: more models of the same symbols, such as the same training with other seeds: their probabilities are averaged;
            models that are about as good foretell better together than each of them.
        at: an earlier moment that was kept in training (`--keep-every`), such as "epoch:3" or "step:500".
        precision: in which the model runs: "float32", "bf16" or "int8". "auto": it writes in int8 where there are native kernels, and
            whatever is measured (scores, ranks, losses) is float32.
        threads: of the processor; None: as many as there is use for.

    Raises:
        CheckpointError: there is no such model, or its files are damaged, of a newer version, or of another model.
        SettingsError: the precision or the threads are none, or the precision needs native kernels that are not here; or several models
            do not have the same symbols.
    """
    if others:
        return _together([load(one, at=at, precision=precision, threads=threads) for one in (path, *others)])
    files = load_folder(find_model(as_path(path, tr("the model"))), at)
    engines = Engines(files.config.model, files.config.vocab_size, files.weights, precision=precision, threads=threads)
    if files.config.model.cell == "counts":
        engines.exact()  # looks whether the counts agree with each other: a fault of the files, told here
    model = Model(engines, files.tokenizer, config=files.config, folder=files.path)
    model._weights, model.at = files.weights, at
    return model


def _together(models: Sequence[Model]) -> Model:
    """Several models as one, whose probabilities are averaged; its text and its history are those of the first.

    Raises:
        SettingsError: they do not have the same symbols.
    """
    first = models[0]
    for other in models[1:]:
        mine, theirs = first.tokenizer, other.tokenizer
        if type(mine) is not type(theirs) or list(mine.symbols) != list(theirs.symbols) or mine.normalization != theirs.normalization:
            raise SettingsError(
                tr("{one} and {other} have not the same symbols", one=first.folder or repr(first), other=other.folder or repr(other)),
                expected=tr("models of one vocabulary: trained on the same text, with other seeds or settings"),
            )
    model = Model(Together([one.engines for one in models]), first.tokenizer, config=first.config, folder=first.folder)
    model.members, model.at = tuple(models), first.at
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
        preset: gives every setting that is not named here: "small", "tiny", "medium", "large"; "tutorial", "titles".
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
    from escriba.request import Request

    if isinstance(documents, str):
        settings["documents"], documents = documents, None
    request = Request(
        sources, text, documents, out, preset, val, test, resume, more, init_from, overwrite, allow_inexact, settings
    )  # fmt: skip
    if settings.get("cell") == "counts":
        from escriba.counted import train_counts

        with _shown(watcher, quiet) as watched:
            return train_counts(request, watched, began)
    _require_torch()
    from escriba.beginning import begin
    from escriba.teaching import Teaching

    start = begin(request)
    if start.is_over and request.target is not None:
        return _finished(request.target, start, watcher)
    with start.folder or nullcontext(), _shown(watcher, quiet) as watched:
        given = tuple(os.fspath(source) for source in sources)
        teaching = Teaching(start.plan, start.folder, watched, began, start.resume, start.more, start.restored, given, start.before)
        teaching.run()
    plan = start.plan
    engines = Engines(plan.net.settings, plan.net.vocab_size, plan.net.get_weights())
    model = Model(engines, plan.tokenizer, config=start.config, folder=request.target)
    model.net = plan.net
    if text is not None or documents is not None or "-" in given:  # it cannot be read again
        model.learnt.take(plan.parts.whole_train, start.before)
    if teaching.typicality is not None:
        model.usual.take(teaching.typicality)
    return model


def _finished(target: Path, start: Beginning, watcher: Watcher | None) -> Model:
    """The model of a training that is over already, when it is asked to go on: that is said, and nothing is done."""
    if start.folder is not None:
        start.folder.close()
    from escriba.results import Closed
    from escriba.writing import warn_once

    warn_once([(str(start.restored),)])
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


def _require_torch() -> None:
    try:
        import torch  # noqa: F401 - only whether it is there
    except ModuleNotFoundError as error:
        raise MissingExtraError(tr("training"), "train", "torch") from error
