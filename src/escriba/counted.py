"""A training that counts: from a text to an n-gram in a model folder.

It knows nothing of networks, and needs no PyTorch.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from escriba import __version__
from escriba.baselines import compare, loss_on, measured_part
from escriba.checkpoint import Config, save_head, save_weights
from escriba.closing import keep_fingerprint, keep_typical
from escriba.engine.counts import CountsEngine
from escriba.errors import CheckpointError, SettingsError, TrainingError
from escriba.history import Begun, Closed, corpus_facts
from escriba.language import later, tr
from escriba.presets import LENGTHS
from escriba.presets import preset as find_preset
from escriba.request import Request, existing_model, own_parts
from escriba.settings import ModelSettings, TextSettings, TrainSettings
from escriba.text.corpus import Corpus, Parts, read
from escriba.text.encoded import EncodedText
from escriba.text.summary import lines_before_training
from escriba.text.tokenizer import Tokenizer
from escriba.training.counting import count_ngrams
from escriba.training.parts import characters_per_symbol, encoded_part, fit_tokenizer, sort_settings
from escriba.training.place import mend, model_place, new_place, saying_what_failed, sibling, take_place
from escriba.using import Model

__all__ = ["train_counts"]

Watcher = Callable[[Any], None]
EXAMPLES = later("every n-gram of the training part, once")


@dataclass(frozen=True)
class Counted:
    """The n-gram is there and can be used; it is not yet measured, nor kept.

    Attributes:
        model: the model.
    """

    model: Model


def train_counts(request: Request, watcher: Watcher, began: float) -> Model:
    """Counts the n-grams of a text and keeps them in a model folder: what `train` does for the cell counts.

    Args:
        request: what was asked of `train`.
        watcher: called with `Begun`, `Counted` and `Closed`.
        began: the clock (``time.perf_counter``) when the whole command began.

    Raises:
        SettingsError, TextError, CheckpointError: as `train`.
        TrainingError: there is not enough memory.
    """
    for name in ("resume", "more", "init_from"):
        if getattr(request, name) not in (False, None):
            raise SettingsError(
                tr("{name} is {value!r}, but an n-gram that counts has no training to go on with", name=name, value=getattr(request, name)),
                expected=tr("a training without {name}", name=name),
                hint=tr("count anew: it takes seconds"),
            )
    find_preset(request.preset)  # a misspelt one is told of, though it says nothing of counting
    given = sort_settings(request.settings)
    chosen, train = _model_settings(given[ModelSettings]), TrainSettings(**given[TrainSettings])
    TextSettings(**given[TextSettings])  # a wrong value is met before the text is read
    target = request.target
    if target is not None:
        with _locked(model_place(target)):
            mend(model_place(target))
        if target.exists() and not request.overwrite:
            raise existing_model(target, request.sources)
    reading = dict(given[TextSettings])
    by = reading.pop("documents", None)
    corpus = read(*request.sources, text=request.text, documents=by if request.documents is None else request.documents, **reading)
    held_out, choosing = own_parts(request, corpus)
    parts = corpus.parts(seed=train.seed, held_out=held_out, choosing=choosing)
    tokenizer = fit_tokenizer(corpus, parts)
    held_out_ids = encoded_part(parts.held_out, tokenizer, "held-out")
    start = time.perf_counter()
    encoded, weights, engine = _counted(parts.whole_train, tokenizer, chosen)
    begun = _begun(target, corpus, parts, tokenizer, encoded, engine, time.perf_counter() - start)
    watcher(replace(begun, notes=(*begun.notes, *(_of_no_meaning(name) for name in LENGTHS if getattr(train, name) is not None))))
    elapsed_s = time.perf_counter() - began
    config = Config(corpus.settings, chosen, train, tokenizer.vocab_size)
    model = Model(engine, tokenizer, config=config, folder=target)
    model._weights = weights
    sources = [os.fspath(source) for source in request.sources]
    if not sources or "-" in sources:  # it cannot be read again
        model.learnt.take(parts.whole_train)
    watcher(Counted(model))
    closed = _closed(target, parts, held_out_ids, encoded, engine, elapsed_s)

    def measured(folder: Path | None) -> None:
        if held_out_ids is not None:
            found = keep_typical(folder, engine, tokenizer, held_out_ids, seed=train.seed, learnt=parts.whole_train.characters)
            if found is not None:
                model.usual.take(found)

    if target is not None:
        lines = [("begun", _facts(begun, sources, corpus, parts, encoded, held_out_ids)), ("finished", _figures(closed))]

        def filled(folder: Path) -> None:
            keep_fingerprint(folder, corpus, parts)
            measured(folder)

        _keep(target, config, tokenizer, weights, lines, filled, overwrite=request.overwrite)
    else:
        measured(None)
    watcher(closed)
    return model


def _counted(train: Corpus, tokenizer: Tokenizer, chosen: ModelSettings) -> tuple[EncodedText, dict[str, np.ndarray], CountsEngine]:
    """The ids of a text, its n-grams, and what runs them.

    Raises:
        TextError: there are too many of them for any machine.
        TrainingError: there are too many of them for this one.
    """
    try:
        encoded = train.encode(tokenizer)
        weights = count_ngrams(encoded.ids, tokenizer.vocab_size, chosen.order, offsets=encoded.offsets, eos=tokenizer.eos_id)
        return encoded, weights, CountsEngine(chosen, tokenizer.vocab_size, weights)
    except MemoryError as error:
        raise TrainingError(
            tr(
                "the memory of this machine is not enough to count the n-grams of {characters:,} characters up to order {order}",
                characters=train.characters,
                order=chosen.order,
            ),
            hint=tr("take a smaller --order (in Python order=), or a part of the text: --to-line (to_line=)"),
        ) from error


def _of_no_meaning(name: str) -> str:
    return tr("{name} means nothing to an n-gram that counts: it goes through the text once", name=name)


def _model_settings(given: Mapping[str, Any]) -> ModelSettings:
    """The settings of an n-gram that counts: its order alone.

    Raises:
        SettingsError: one of a network is given.
    """
    for name, value in given.items():
        if name not in ("cell", "order") and value != ModelSettings.fields[name].default:
            raise SettingsError(
                tr("{name} is {value!r}, but an n-gram that counts is no network", name=name, value=value),
                expected=tr("order, 1 to 8, and no other"),
            )
    return ModelSettings(cell="counts", **{name: value for name, value in given.items() if name == "order"})


def _begun(
    target: Path | None, corpus: Corpus, parts: Parts, tokenizer: Tokenizer, encoded: EncodedText, engine: CountsEngine, elapsed_s: float
) -> Begun:
    sizes = ", ".join(f"{size:,}" for size in engine.ngrams.sizes)
    return Begun(
        folder=None if target is None else str(target),
        source=corpus.in_a_sentence(),
        lines=lines_before_training(parts, tokenizer),
        notes=(*corpus.notes, *parts.notes),
        network=tr(
            "n-grams of 1 to {order} symbols, counted ({sizes}), {symbols:,} symbols",
            order=engine.settings.order,
            sizes=sizes,
            symbols=tokenizer.vocab_size,
        ),
        parameters=len(engine.ngrams.keys),
        vocab_size=tokenizer.vocab_size,
        examples=tr(EXAMPLES),
        precision="float64",
        device="cpu",
        threads=1,
        symbols_per_s=len(encoded) / max(elapsed_s, 1e-9),
        estimated_s=elapsed_s,
        megabytes=len(engine.ngrams.keys) * 12 / 1e6,
        characters_per_symbol=characters_per_symbol(parts.whole_train, encoded),
        restored=None,
        learns="n-grams",
    )


def _closed(
    target: Path | None, parts: Parts, held_out: EncodedText | None, encoded: EncodedText, engine: CountsEngine, elapsed_s: float
) -> Closed:
    loss = bits = beside = None
    scored = 0
    if parts.held_out is not None and held_out is not None:
        measured = measured_part(parts.held_out, held_out)
        loss, scored = loss_on(engine, measured.encoded)
        bits = measured.bits_per_char(loss)
        beside = compare(parts.whole_train, measured, order=None)
    return Closed(
        folder=None if target is None else str(target),
        reason="length",
        kept="counts",
        steps=engine.settings.order,
        epochs=1.0,
        symbols_seen=len(encoded),
        elapsed_s=elapsed_s,
        train_loss_nats=None,
        loss_nats=loss,
        bits_per_char=bits,
        perplexity=None if loss is None else math.exp(loss),
        held_out_symbols=scored,
        baselines=None if beside is None else dict(beside.bits_per_char),
        compared=None if beside is None else beside.line(bits),
    )


def _facts(
    begun: Begun, sources: list[str], corpus: Corpus, parts: Parts, encoded: EncodedText, held_out: EncodedText | None
) -> dict[str, Any]:
    """What the history says of the text and the machine: the fields that a network's has, but for PyTorch."""
    symbols = (len(encoded), 0, 0 if held_out is None else len(held_out))
    return {
        "date": _now(),
        "versions": {"escriba": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "machine": f"{platform.system()} {platform.machine()}",
        "compute": "float64 on cpu, 1 thread",
        "parameters": begun.parameters,
        "precision": begun.precision,
        "examples": EXAMPLES,
        "corpus": corpus_facts(corpus, parts, sources, symbols),
    }


def _figures(closed: Closed) -> dict[str, Any]:
    return {"date": _now(), **{name: value for name, value in closed.as_dict().items() if name not in ("folder", "again")}}


def _now() -> str:
    return dt.datetime.now().astimezone().isoformat(timespec="seconds")


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[bool]:
    """Holds the folder's lock, where the package for it is installed: nobody else trains there meanwhile.

    Yields:
        Whether it is installed; where it is not, only the making of a folder keeps others out.
    """
    try:
        from escriba.training.lock import FolderLock
    except ModuleNotFoundError:
        yield False
        return
    lock = FolderLock(place)
    try:
        yield True
    finally:
        lock.release()


def _keep(
    target: Path,
    config: Config,
    tokenizer: Tokenizer,
    weights: Mapping[str, np.ndarray],
    lines: list[tuple[str, dict[str, Any]]],
    filled: Callable[[Path], None],
    *,
    overwrite: bool,
) -> None:
    """Writes the model folder beside its place, then moves it there: it is whole or not at all.

    Raises:
        CheckpointError: something else is in its place, or the disk does not let it.
    """
    place = new_place(target)
    with _locked(place) as is_locked:
        if place.exists() and not (place / "config.json").is_file() and any(place.iterdir() if place.is_dir() else [place]):
            raise CheckpointError(
                tr("{target} is not a model folder, so it is not overwritten", target=target), hint=tr("choose another folder with -o")
            )
        new = sibling(place, "partial")
        if is_locked:  # what is there was left by a crash
            shutil.rmtree(new, ignore_errors=True)
        elif new.exists():
            raise CheckpointError(
                tr("{path} is there: another training is about to write {target}, or one was cut short", path=new, target=target),
                hint=tr("wait for its end; if none is running, delete that folder"),
            )
        with saying_what_failed(tr("{path} could not be made", path=new)):
            new.mkdir()  # it fails where another one has just made it
        try:
            save_head(new, config, tokenizer)
            history = "".join(
                json.dumps({"event": event, **values}, separators=(",", ":"), ensure_ascii=False) + "\n" for event, values in lines
            )
            with saying_what_failed(tr("{path} could not be written", path=new / "metrics.jsonl")):
                (new / "metrics.jsonl").write_text(history, encoding="utf-8", newline="\n", errors="surrogatepass")
            save_weights(new, weights)
            filled(new)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        take_place(new, place, replaces=overwrite and place.exists())  # if that fails, the new model stays where it is
