"""How a training begins: anew, on from where it stopped, further after its end, or with the weights of another model.

It knows nothing of how a training goes on; `train` asks it, and hands what it gives to `teaching.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from escriba.checkpoint import MODELS, Config, ModelFiles, find_model, load_folder
from escriba.closing import keep_fingerprint, keeps_fingerprint
from escriba.errors import CheckpointError, SettingsError, TextError, typed
from escriba.inference.fingerprint import Hashes, load_fingerprint
from escriba.language import Told, joined, later, told, tr
from escriba.presets import LENGTHS, Preset
from escriba.presets import preset as find_preset
from escriba.recalling import Before
from escriba.request import Request, existing_model, own_parts
from escriba.results import Run
from escriba.settings import ModelSettings, Settings, TextSettings, TrainSettings
from escriba.text.corpus import Corpus, Parts, read
from escriba.training.plan import Plan, fit_tokenizer, prepare, sort_settings
from escriba.training.probe import Compute
from escriba.training.run import RunFolder, has_state, is_finished, recover
from escriba.training.state import TrainingState
from escriba.training.step import devices_here
from escriba.training.transfer import extended, transferred

__all__ = ["Beginning", "begin"]

COMPUTE = ("device", "precision", "threads")
"""The settings on which the last bits depend."""
FIXED = ("examples", "batch_size", "seq_len", "optimizer", "averaging", "seed")
"""The settings of learning that a finished training keeps when it is trained further: its state is made for them."""


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
        before: what models learnt with whose weights it begins.
    """

    plan: Plan
    config: Config
    folder: RunFolder | None
    resume: TrainingState | None = None
    more: TrainingState | None = None
    restored: Told | None = None
    is_over: bool = False
    before: Before = field(default_factory=Before)


def begin(request: Request) -> Beginning:
    """Reads the text, finds what to go on from, and makes everything that the first step needs.

    Raises:
        EscribaError: what was met, what was expected, what to type; no model has changed then.
    """
    ways = [name for name in ("resume", "more", "init_from") if getattr(request, name) not in (False, None)]
    if len(ways) > 1:
        both = tr("resume, more and init_from at once") if len(ways) > 2 else tr("{one} and {other} at once", one=ways[0], other=ways[1])
        raise SettingsError(both, expected=tr("one of resume, more and init_from, or none"))
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
    restored: Told | None = None
    if request.resume:
        restored = told("nothing: there is no unfinished training in a model in memory, so it begins")
        if target is not None:
            restored = told("nothing: there is no unfinished training in {folder}, so it begins", folder=target)
        if target is not None and (target / "config.json").is_file() and not request.overwrite:
            raise CheckpointError(
                tr("{target} holds a model, but not the training/ folder that going on needs", target=target),
                hint=tr("replace it: --overwrite; or choose another folder: -o; or begin with its weights: --init-from"),
            )
    return _anew(request, given, target, restored)


def _anew(request: Request, given: Mapping[type[Settings], dict[str, Any]], target: Path | None, restored: Told | None) -> Beginning:
    """A new training, with fresh weights or with those of another model."""
    TextSettings(**given[TextSettings])  # a wrong value is met before the text is read, and before the folder is looked at
    model_settings, parent = given[ModelSettings], None
    if request.init_from is not None:
        parent = load_folder(find_model(os.fspath(request.init_from)))
        _refuse_counts(parent.config, parent.path)
        met = later("{name} is {value!r}, but the model to begin with has {kept!r}")
        _refuse_other(given, {ModelSettings: parent.config.model}, met, tr("leave it out, or train without --init-from"))
        model_settings = parent.config.model.as_dict()
        given[TextSettings].setdefault("unit", parent.config.text.unit)
        given[TrainSettings].setdefault("patience", None)  # its weights are settled, and the rate rises again
    chosen = find_preset(request.preset, model=model_settings, train=given[TrainSettings])
    if target is not None and target.exists() and not request.overwrite:
        raise existing_model(target, request.sources)
    reading = dict(given[TextSettings])
    by = reading.pop("documents", None)  # `read` takes the documents themselves, or the setting, by one name
    corpus = read(*request.sources, text=request.text, documents=by if request.documents is None else request.documents, **reading)
    held_out, choosing = own_parts(request, corpus)
    vocabulary, before, learnt, is_learnt = None, Before(), Run(()), False
    if parent is not None:
        before = _before(parent, corpus)
        parts = corpus.parts(seed=chosen.train.seed, held_out=held_out, choosing=choosing)
        vocabulary = extended(fit_tokenizer(corpus, parts), parent.tokenizer)
        learnt = Run.read(parent.path)
        is_learnt = choosing is None and _has_learnt_choosing(learnt, corpus, parts)
    named = {*model_settings, *given[TrainSettings]}
    plan = prepare(corpus, chosen, held_out=held_out, choosing=choosing, named=named, vocabulary=vocabulary, choosing_is_learnt=is_learnt)
    if parent is not None:
        _refuse_a_leak(parent.path, learnt, plan)
        weights, known = transferred(
            parent.weights, parent.tokenizer, plan.tokenizer, plan.net.get_weights(), codes=plan.net.settings.codes
        )
        plan.net.set_weights(weights)
        restored = told("the weights of {folder}: {known}", folder=parent.path, known=known)
    config = Config(corpus.settings, plan.net.settings, plan.train, plan.tokenizer.vocab_size)
    folder = None if target is None else RunFolder.create(target, config, plan.tokenizer, overwrite=request.overwrite)
    return Beginning(plan, config, _fingerprinted(folder, plan, before.hashes), restored=restored, before=before)


def _before(parent: ModelFiles, corpus: Corpus) -> Before:
    """What a model learnt whose weights a training begins with; its hashes are of use if the texts have one form."""
    forms = [(settings.normalization, settings.newlines) for settings in (parent.config.text, corpus.settings)]
    return Before.of(parent.path, corpus.sha256, hashed=keeps_fingerprint(corpus) and forms[0] == forms[1])


def _fingerprinted(folder: RunFolder | None, plan: Plan, before: Hashes | None) -> RunFolder | None:
    """A new folder, in which are now the hashes of the documents that will be learnt."""
    if folder is not None:
        try:
            keep_fingerprint(folder.path, plan.corpus, plan.parts, before)
        except BaseException:
            folder.close()
            raise
    return folder


def _on(request: Request, given: Mapping[type[Settings], dict[str, Any]], target: Path) -> Beginning:
    """On from where a training stopped, with its own settings."""
    before = load_folder(target).config
    if before.train.minutes is None and before.train.epochs is not None:  # of a short text epochs may have taken the minutes' place
        given = {**given, TrainSettings: {name: value for name, value in given[TrainSettings].items() if name != "minutes"}}
    met = later("{name} is {value!r}, but the training to resume has {kept!r}")
    _refuse_other(given, {TextSettings: before.text, ModelSettings: before.model, TrainSettings: before.train}, met)
    folder, state = RunFolder.reopen(target)
    try:
        compute, asked = _same_compute(given[TrainSettings], state, request.allow_inexact)
        plan = _same_text(request, before, target, Preset("", before.model, before.train.but(**asked)), compute)
    except BaseException:
        folder.close()
        raise
    exact = later("step {step:,}: weights, optimizer, order and random states")
    inexact = later("step {step:,}: weights, optimizer, order and random states; not exact, as was allowed")
    restored = told(inexact if asked else exact, step=state.values["step"])
    if is_over := is_finished(target):
        line = typed("escriba", "train", "--more", str(target))
        restored = told("nothing: {folder} is finished; {line} trains it further", folder=target, line=line)
    return Beginning(plan, before, folder, resume=state, restored=joined("; ", [restored, *folder.notes]), is_over=is_over)


def _further(request: Request, given: Mapping[type[Settings], dict[str, Any]], source: Path, target: Path | None) -> Beginning:
    """A finished model is trained further: its weights and its optimizer's are kept, the schedule begins anew."""
    before = load_folder(source).config
    _refuse_counts(before, source)
    if not is_finished(source):
        line = typed("escriba", "train", *request.sources, "-o", str(source), "--resume")
        raise CheckpointError(
            tr("the training in {source} is not finished", source=source),
            expected=tr("a finished model"),
            hint=tr("go on with it: {command}", command=line),
        )
    changes = {"patience": None, **given[TrainSettings]}  # the rate rises again, and at first nothing is gained
    fixed = {name: changes[name] for name in FIXED if name in changes}
    _refuse_other(
        {TextSettings: given[TextSettings], ModelSettings: given[ModelSettings], TrainSettings: fixed},
        {TextSettings: before.text, ModelSettings: before.model, TrainSettings: before.train},
        later("{name} is {value!r}, but the model to train further has {kept!r}"),
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
    known = load_fingerprint(source)  # of what the models learnt, too, that it began with
    again = RunFolder.create(target, config, plan.tokenizer, overwrite=True, continues=source)
    words = later("{folder} after {steps:,} steps: weights and optimizer; the rate warms up anew")
    restored = joined("; ", [told(words, folder=source, steps=state.values["step"]), *folder.notes])
    return Beginning(plan, config, _fingerprinted(again, plan, known), more=state, restored=restored)


def _same_text(request: Request, before: Config, folder: Path, chosen: Preset, compute: Compute | None) -> Plan:
    """The plan of a training that is known, once its text is seen to be the same."""
    known = Run.read(folder).last("begun").get("corpus", {})
    if "sha256" not in known:
        raise CheckpointError(
            tr("{folder} does not say which text was learnt", folder=folder / "metrics.jsonl"), hint=tr("train anew with --overwrite")
        )
    sources = request.sources
    if not sources and request.text is None and request.documents is None:
        sources = tuple(known.get("sources", ()))  # as they were given then
        if not sources:
            raise TextError(tr("the text of {folder} was given in Python", folder=folder), hint=tr("give it again: train(text=..., ...)"))
    corpus = read(*sources, text=request.text, documents=request.documents, settings=before.text)
    if known["sha256"] != corpus.sha256:
        raise TextError(
            tr(
                "this is not the text of the training in {folder}: {characters:,} characters (sha256 {sha256}), "
                "there {learnt:,} ({sha256_learnt})",
                folder=folder,
                characters=corpus.characters,
                sha256=corpus.sha256[:12],
                learnt=known.get("characters"),
                sha256_learnt=known["sha256"][:12],
            ),
            expected=tr("the very same text"),
            hint=tr("train anew with --overwrite, or into another folder with -o; --init-from begins with a model's weights"),
        )
    held_out, choosing = own_parts(request, corpus)
    tokenizer = load_folder(folder).tokenizer
    is_learnt = choosing is None and known.get("choosing_sha256", "") is None
    plan = prepare(
        corpus, chosen, held_out=held_out, choosing=choosing, compute=compute, vocabulary=tokenizer, choosing_is_learnt=is_learnt
    )
    for name, part, words in (
        ("held_out", plan.parts.held_out, later("the held-out text is not that of the training in {folder}")),
        ("choosing", plan.parts.choosing, later("the choosing text is not that of the training in {folder}")),
    ):
        there, here = known.get(f"{name}_sha256"), None if part is None else part.sha256
        if f"{name}_sha256" in known and there != here:
            raise TextError(
                tr(words, folder=folder),
                expected=tr("the very same --val and --test, or none if there were none"),
                hint=tr("give the --val and --test that it began with"),
            )
    return plan


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
                tr(
                    "{name} is {value!r}, but the training to resume ran with {recorded!r}: the last bits would be others",
                    name=name,
                    value=value,
                    recorded=recorded[name],
                ),
                expected=tr("{recorded!r}, or none: it is read from the folder", recorded=recorded[name]),
                hint=tr("--allow-inexact goes on all the same (in Python allow_inexact=True)"),
            )
    if any(str(value) != str(recorded[name]) for name, value in asked.items()):
        return None, asked
    if str(recorded["device"]) not in devices_here():
        if inexact:
            return None, {"device": "auto", "threads": None}
        raise SettingsError(
            tr("the training to resume ran on {recorded!r}, which is not here", recorded=recorded["device"]),
            expected=tr("the same device"),
            hint=tr("--allow-inexact goes on with what is here (in Python allow_inexact=True)"),
        )
    return Compute(**recorded, measured=True), {}


def _refuse_other(
    given: Mapping[type[Settings], Mapping[str, Any]], before: Mapping[type[Settings], Settings], message: str, hint: str | None = None
) -> None:
    """What is kept of an earlier training cannot be set anew: other values are refused, with the difference shown in a message."""
    for section, met in before.items():
        for name, value in given[section].items():
            if name in COMPUTE or (
                value is None and name in LENGTHS
            ):  # the first three are compared with what was used, not with what was asked for
                continue
            kept = getattr(met, name)
            if getattr(met.but(**({**dict.fromkeys(LENGTHS), name: value} if name in LENGTHS else {name: value})), name) != kept:
                raise SettingsError(
                    tr(message, name=name, value=value, kept=kept),
                    expected=tr("the same value, or none: it is read from the folder"),
                    hint=hint or tr("train anew with --overwrite, or into another folder with -o"),
                )


def _refuse_counts(config: Config, folder: Path) -> None:
    """An n-gram that counts has neither weights to begin with nor a training to go on with."""
    if config.model.cell == "counts":
        raise SettingsError(
            tr("{folder} is an n-gram that counts, which cannot be trained further", folder=folder), expected=tr("a network")
        )


def _has_learnt_choosing(run: Run, corpus: Corpus, parts: Parts) -> bool:
    """Whether the model to begin with has learnt what would be chosen by: its loss there would be better than it is elsewhere."""
    known = run.last("begun").get("corpus", {})
    if parts.choosing is None or known.get("sha256") != corpus.sha256:
        return False
    return bool(run.last("joined")) or known.get("choosing_sha256") != parts.choosing.sha256


def _refuse_a_leak(parent: Path, run: Run, plan: Plan) -> None:
    """What is held out must not have been learnt by the model to begin with, as far as that is known."""
    known = run.last("begun").get("corpus", {})
    here = None if plan.parts.held_out is None else plan.parts.held_out.sha256
    if known.get("sha256") == plan.corpus.sha256 and known.get("held_out_sha256") != here:
        raise TextError(
            tr("{parent} learnt from this very text, with another part of it held out", parent=parent),
            expected=tr("the same --seed, --val-fraction, --val and --test as there"),
            hint=tr("or train that model further: --more"),
        )
