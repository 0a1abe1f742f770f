"""How a training begins: anew, on from where it stopped, further after its end, or with the weights of another model.

It knows nothing of how a training goes on; `train` asks it, and hands what it gives to `teaching.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escriba.checkpoint import MODELS, Config, find_model, load_folder
from escriba.errors import CheckpointError, SettingsError, TextError, typed
from escriba.presets import LENGTHS, Preset
from escriba.presets import preset as find_preset
from escriba.results import Run
from escriba.settings import ModelSettings, Settings, TextSettings, TrainSettings
from escriba.text.corpus import Corpus, read, read_beside
from escriba.text.files import find
from escriba.training.plan import Plan, fit_tokenizer, prepare, sort_settings
from escriba.training.probe import Compute
from escriba.training.run import RunFolder, has_state, is_finished, recover
from escriba.training.state import TrainingState
from escriba.training.step import devices_here
from escriba.training.transfer import extended, transferred

__all__ = ["Beginning", "Request", "begin", "model_name"]

COMPUTE = ("device", "precision", "threads")
"""The settings on which the last bits depend."""
FIXED = ("examples", "batch_size", "seq_len", "optimizer", "averaging", "seed")
"""The settings of learning that a finished training keeps when it is trained further: its state is made for them."""
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Request:
    """What a person asks of `train`; the fields are its arguments."""

    sources: tuple[str | os.PathLike[str], ...]
    text: str | None
    documents: Iterable[str] | None
    out: str | os.PathLike[str] | None
    preset: str
    val: Paths
    test: Paths
    resume: bool
    more: str | os.PathLike[str] | None
    init_from: str | os.PathLike[str] | None
    overwrite: bool
    allow_inexact: bool
    settings: Mapping[str, Any]

    @property
    def target(self) -> Path | None:
        """The model folder; None: a model in memory."""
        for name, path in (("out", self.out), ("more", self.more), ("init_from", self.init_from)):
            if path is not None and not isinstance(path, str | os.PathLike):
                raise SettingsError(f"{name} is {path!r}", expected="a folder, or the name of a model")
        if self.out is not None:
            return Path(self.out)
        if self.more is not None:
            return find_model(os.fspath(self.more))
        return Path(MODELS) / model_name(self.sources) if self.sources and isinstance(self.sources[0], str | os.PathLike) else None


@dataclass(frozen=True)
class Beginning:
    """A training that is ready.

    Attributes:
        plan: what is learnt, from what, by what, on what.
        config: what config.json says, or will say.
        folder: where it is kept, locked; None: nowhere.
        resume: the state to go on from.
        more: the last state of a finished training, after which this one is a new phase.
        restored: what is gone on from, in a sentence; None: nothing.
        is_over: there is nothing left to do: the training to resume is finished.
    """

    plan: Plan
    config: Config
    folder: RunFolder | None
    resume: TrainingState | None = None
    more: TrainingState | None = None
    restored: str | None = None
    is_over: bool = False


def begin(request: Request) -> Beginning:
    """Reads the text, finds what to go on from, and makes everything that the first step needs.

    Raises:
        EscribaError: what was met, what was expected, what to type; no model has changed then.
    """
    ways = [name for name in ("resume", "more", "init_from") if getattr(request, name) not in (False, None)]
    if len(ways) > 1:
        raise SettingsError(f"{' and '.join(ways)} at once", expected="one of resume, more and init_from, or none")
    given = sort_settings(request.settings)
    find_preset(request.preset)  # a misspelt one is told of, also where it is not used
    for path in (request.more, request.init_from):
        if isinstance(path, str | os.PathLike):
            for place in (Path(path), Path(MODELS) / path):
                recover(place)
    target = request.target
    if target is not None:
        recover(target)
    if request.more is not None:
        return _further(request, given, find_model(os.fspath(request.more)), target)
    if request.resume and target is not None and has_state(target):
        return _on(request, given, target)
    restored = None
    if request.resume:
        where = "a model in memory" if target is None else f"{target}"
        restored = f"nothing: there is no unfinished training in {where}, so it begins"
        if target is not None and (target / "config.json").is_file() and not request.overwrite:
            raise CheckpointError(
                f"{target} holds a model, but not the training/ folder that going on needs",
                hint="replace it: --overwrite; or choose another folder: -o; or begin with its weights: --init-from",
            )
    return _anew(request, given, target, restored)


def _anew(request: Request, given: Mapping[type[Settings], dict[str, Any]], target: Path | None, restored: str | None) -> Beginning:
    """A new training, with fresh weights or with those of another model."""
    TextSettings(**given[TextSettings])  # a wrong value is met before the text is read, and before the folder is looked at
    model_settings, parent = given[ModelSettings], None
    if request.init_from is not None:
        parent = load_folder(find_model(os.fspath(request.init_from)))
        _refuse_other(given, {ModelSettings: parent.config.model}, "the model to begin with", "leave it out, or train without --init-from")
        model_settings = parent.config.model.model_dump()
        given[TextSettings].setdefault("unit", parent.config.text.unit)
    chosen = find_preset(request.preset, model=model_settings, train=given[TrainSettings])
    if target is not None and target.exists() and not request.overwrite:
        raise existing_model(target, request.sources)
    reading = dict(given[TextSettings])
    by = reading.pop("documents", None)  # `read` takes the documents themselves, or the setting, by one name
    corpus = read(*request.sources, text=request.text, documents=by if request.documents is None else request.documents, **reading)
    held_out, choosing = _own_parts(request, corpus)
    vocabulary = None
    if parent is not None:
        parts = corpus.parts(seed=chosen.train.seed, held_out=held_out, choosing=choosing)
        vocabulary = extended(fit_tokenizer(corpus, parts), parent.tokenizer)
    sized = parent is None and not {"hidden_size", "embedding_dim"} & set(model_settings)
    plan = prepare(corpus, chosen, held_out=held_out, choosing=choosing, sized=sized, vocabulary=vocabulary)
    if parent is not None:
        _refuse_a_leak(parent.path, plan)
        weights, known = transferred(parent.weights, parent.tokenizer, plan.tokenizer, plan.net.get_weights())
        plan.net.set_weights(weights)
        restored = f"the weights of {parent.path}: {known}"
    config = Config(corpus.settings, plan.net.settings, plan.train, plan.tokenizer.vocab_size)
    folder = None if target is None else RunFolder.create(target, config, plan.tokenizer, overwrite=request.overwrite)
    return Beginning(plan, config, folder, restored=restored)


def _on(request: Request, given: Mapping[type[Settings], dict[str, Any]], target: Path) -> Beginning:
    """On from where a training stopped, with its own settings."""
    before = load_folder(target).config
    _refuse_other(given, {TextSettings: before.text, ModelSettings: before.model, TrainSettings: before.train}, "the training to resume")
    folder, state = RunFolder.reopen(target)
    try:
        compute, asked = _same_compute(given[TrainSettings], state, request.allow_inexact)
        plan = _same_text(request, before, target, Preset("", before.model, before.train.but(**asked)), compute)
    except BaseException:
        folder.close()
        raise
    restored = f"step {state.values['step']:,}: weights, optimizer, order and random states{'; not exact, as was allowed' if asked else ''}"
    if is_over := is_finished(target):
        restored = f"nothing: {target} is finished; {typed('escriba', 'train', '--more', str(target))} trains it further"
    return Beginning(plan, before, folder, resume=state, restored="; ".join([restored, *folder.notes]), is_over=is_over)


def _further(request: Request, given: Mapping[type[Settings], dict[str, Any]], source: Path, target: Path | None) -> Beginning:
    """A finished model is trained further: its weights and its optimizer's are kept, the schedule begins anew."""
    before = load_folder(source).config
    if not is_finished(source):
        line = typed("escriba", "train", *request.sources, "-o", str(source), "--resume")
        raise CheckpointError(f"the training in {source} is not finished", expected="a finished model", hint=f"go on with it: {line}")
    changes = given[TrainSettings]
    fixed = {name: changes[name] for name in FIXED if name in changes}
    _refuse_other(
        {TextSettings: given[TextSettings], ModelSettings: given[ModelSettings], TrainSettings: fixed},
        {TextSettings: before.text, ModelSettings: before.model, TrainSettings: before.train},
        "the model to train further",
    )
    if any(changes.get(name) is not None for name in LENGTHS):
        changes = {**dict.fromkeys(LENGTHS), **changes}
    chosen = Preset("", before.model, before.train.but(**changes))
    target = source if target is None else target
    if target.resolve() != source.resolve() and target.exists() and not request.overwrite:
        raise existing_model(target, request.sources)
    folder, state = RunFolder.reopen(source)
    try:
        plan = _same_text(request, before, source, chosen, None)  # measured anew: another phase need not be where the first was
    finally:
        folder.close()
    config = Config(before.text, before.model, plan.train, plan.tokenizer.vocab_size)
    again = RunFolder.create(target, config, plan.tokenizer, overwrite=True, continues=source)
    restored = f"{source} after {state.values['step']:,} steps: weights and optimizer; the rate warms up anew"
    return Beginning(plan, config, again, more=state, restored="; ".join([restored, *folder.notes]))


def _same_text(request: Request, before: Config, folder: Path, chosen: Preset, compute: Compute | None) -> Plan:
    """The plan of a training that is known, once its text is seen to be the same."""
    known = Run.read(folder).last("begun").get("corpus", {})
    if "sha256" not in known:
        raise CheckpointError(f"{folder / 'metrics.jsonl'} does not say which text was learnt", hint="train anew with --overwrite")
    sources = request.sources
    if not sources and request.text is None and request.documents is None:
        sources = tuple(known.get("sources", ()))  # as they were given then
        if not sources:
            raise TextError(f"the text of {folder} was given in Python", hint="give it again: train(text=..., ...)")
    corpus = read(*sources, text=request.text, documents=request.documents, settings=before.text)
    if known["sha256"] != corpus.sha256:
        raise TextError(
            f"this is not the text of the training in {folder}: {corpus.characters:,} characters (sha256 {corpus.sha256[:12]}), "
            f"there {known.get('characters'):,} ({known['sha256'][:12]})",
            expected="the very same text",
            hint="train anew with --overwrite, or into another folder with -o; --init-from begins with a model's weights",
        )
    held_out, choosing = _own_parts(request, corpus)
    tokenizer = load_folder(folder).tokenizer
    plan = prepare(corpus, chosen, held_out=held_out, choosing=choosing, compute=compute, sized=False, vocabulary=tokenizer)
    for name, part, words in (("held_out", plan.parts.held_out, "held-out"), ("choosing", plan.parts.choosing, "choosing")):
        there, here = known.get(f"{name}_sha256"), None if part is None else part.sha256
        if f"{name}_sha256" in known and there != here:
            raise TextError(
                f"the {words} text is not that of the training in {folder}",
                expected="the very same --val and --test, or none if there were none",
                hint="give the --val and --test that it began with",
            )
    return plan


def _own_parts(request: Request, corpus: Corpus) -> tuple[Corpus | None, Corpus | None]:
    """What is held out and what is chosen by, where the person brought texts for that: --val, --test.

    One alone is held out. With both the test text is held out, and the other is what is chosen by.
    """
    _refuse_the_same_file(request)
    val, test = (read_beside(names, corpus) if (names := _listed(paths)) else None for paths in (request.val, request.test))
    return (val, None) if test is None else (test, val)


def _refuse_the_same_file(request: Request) -> None:
    """What is measured on must not be learnt from, nor chosen by."""
    seen: dict[Path, str] = {}
    for what, paths in (("to learn from", request.sources), ("as --val", _listed(request.val)), ("as --test", _listed(request.test))):
        for path in find(paths) if paths else ():
            if path is not None and (before := seen.setdefault(path.resolve(), what)) != what:
                raise TextError(f"{path} is given twice: {before}, and {what}", expected="texts that have nothing in common")


def _listed(paths: Paths) -> list[str | os.PathLike[str]]:
    if isinstance(paths, str | os.PathLike):
        return [paths]
    if paths is not None and not isinstance(paths, Sequence):
        raise TextError(f"{paths!r:.60} is no path", expected="a path, or several")
    return list(paths or ())


def _same_compute(given: Mapping[str, Any], state: TrainingState, inexact: bool) -> tuple[Compute | None, dict[str, Any]]:
    """Where and how the training ran before, which going on exactly needs; or None, and what is asked for instead.

    Raises:
        SettingsError: another device, precision or number of threads is asked for, and not allowed.
    """
    recorded = state.values.get("compute")
    if not isinstance(recorded, dict):
        return None, {}
    asked = {name: given[name] for name in COMPUTE if given.get(name) not in (None, "auto")}
    for name, value in asked.items():
        if str(value) != str(recorded[name]) and not inexact:
            raise SettingsError(
                f"{name} is {value!r}, but the training to resume ran with {recorded[name]!r}: the last bits would be others",
                expected=f"{recorded[name]!r}, or none: it is read from the folder",
                hint="--allow-inexact goes on all the same (in Python allow_inexact=True)",
            )
    if any(str(value) != str(recorded[name]) for name, value in asked.items()):
        return None, asked
    if str(recorded["device"]) not in devices_here():
        if inexact:
            return None, {"device": "auto", "threads": None}
        raise SettingsError(
            f"the training to resume ran on {recorded['device']!r}, which is not here",
            expected="the same device",
            hint="--allow-inexact goes on with what is here (in Python allow_inexact=True)",
        )
    return Compute(**recorded, measured=True), {}


def _refuse_other(
    given: Mapping[type[Settings], Mapping[str, Any]], before: Mapping[type[Settings], Settings], what: str, hint: str | None = None
) -> None:
    """What is kept of an earlier training cannot be set anew: other values are refused, with the difference shown."""
    for section, met in before.items():
        for name, value in given[section].items():
            if name in COMPUTE or (
                value is None and name in LENGTHS
            ):  # the first three are compared with what was used, not with what was asked for
                continue
            kept = getattr(met, name)
            if getattr(met.but(**({**dict.fromkeys(LENGTHS), name: value} if name in LENGTHS else {name: value})), name) != kept:
                raise SettingsError(
                    f"{name} is {value!r}, but {what} has {kept!r}",
                    expected="the same value, or none: it is read from the folder",
                    hint=hint or "train anew with --overwrite, or into another folder with -o",
                )


def _refuse_a_leak(parent: Path, plan: Plan) -> None:
    """What is held out must not have been learnt by the model to begin with, as far as that is known."""
    known = Run.read(parent).last("begun").get("corpus", {})
    here = None if plan.parts.held_out is None else plan.parts.held_out.sha256
    if known.get("sha256") == plan.corpus.sha256 and known.get("held_out_sha256") != here:
        raise TextError(
            f"{parent} learnt from this very text, with another part of it held out",
            expected="the same --seed, --val-fraction, --val and --test as there",
            hint="or train that model further: --more",
        )


def model_name(sources: Sequence[str | os.PathLike[str]]) -> str:
    """The name of a model that was given none: that of its first text."""
    first = Path(os.fspath(sources[0]).removeprefix("text:")).name
    stem = first.split(".")[0] if not first.startswith(".") else first.strip(".")
    cleaned = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in stem).strip("-")
    return cleaned or "text"


def existing_model(target: Path, sources: Sequence[str | os.PathLike[str]]) -> CheckpointError:
    """The error for a folder that is there already: how to go on with it, or to replace it."""
    texts = [os.fspath(source) for source in sources]
    if (target / "config.json").is_file() and not is_finished(target):
        return CheckpointError(
            f"{target} holds a training that is not finished",
            hint=f"go on with it: {typed('escriba', 'train', *texts, '-o', str(target), '--resume')} (in Python resume=True); "
            "or replace it: --overwrite (overwrite=True); or choose another folder: -o (out=)",
        )
    hint = "replace it: --overwrite (in Python overwrite=True); or choose another folder: -o FOLDER (out=)"
    if has_state(target):
        hint = (
            f"train it further: {typed('escriba', 'train', *texts, '--more', str(target), '--minutes', '5')} (in Python more=); or {hint}"
        )
    return CheckpointError(f"{target} is there already", hint=hint)
