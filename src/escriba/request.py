"""What a person asks of `train`: the arguments, the folder that they mean, the texts to hold out, and the error for a model that is there.

It knows nothing of how a training begins or goes on, and needs no PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escriba.checkpoint import MODELS, find_model
from escriba.errors import CheckpointError, SettingsError, TextError, typed
from escriba.language import tr
from escriba.text.corpus import Corpus, read_beside
from escriba.text.files import find
from escriba.training.unfinished import has_state, is_finished

__all__ = ["Request", "existing_model", "model_name", "own_parts"]

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
                raise SettingsError(tr("{name} is {path!r}", name=name, path=path), expected=tr("a folder, or the name of a model"))
        if self.out is not None:
            return Path(self.out)
        if self.more is not None:
            return find_model(os.fspath(self.more))
        return Path(MODELS) / model_name(self.sources) if self.sources and isinstance(self.sources[0], str | os.PathLike) else None


def own_parts(request: Request, corpus: Corpus) -> tuple[Corpus | None, Corpus | None]:
    """What is held out and what is chosen by, where the person brought texts for that: --val, --test.

    One alone is held out. With both the test text is held out, and the other is what is chosen by.
    """
    _refuse_the_same_file(request)
    val, test = (read_beside(names, corpus) if (names := _listed(paths)) else None for paths in (request.val, request.test))
    return (val, None) if test is None else (test, val)


def _refuse_the_same_file(request: Request) -> None:
    """What is measured on must not be learnt from, nor chosen by."""
    seen: dict[Path, str] = {}
    places = ((tr("to learn from"), request.sources), (tr("as --val"), _listed(request.val)), (tr("as --test"), _listed(request.test)))
    for what, paths in places:
        for path in find(paths) if paths else ():
            if path is not None and (before := seen.setdefault(path.resolve(), what)) != what:
                raise TextError(
                    tr("{path} is given twice: {first}, and {then}", path=path, first=before, then=what),
                    expected=tr("texts that have nothing in common"),
                )


def _listed(paths: Paths) -> list[str | os.PathLike[str]]:
    if isinstance(paths, str | os.PathLike):
        return [paths]
    if paths is not None and not isinstance(paths, Sequence):
        raise TextError(tr("{paths!r:.60} is no path", paths=paths), expected=tr("a path, or several"))
    return list(paths or ())


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
            tr("{target} holds a training that is not finished", target=target),
            hint=tr(
                "go on with it: {command} (in Python resume=True); "
                "or replace it: --overwrite (overwrite=True); or choose another folder: -o (out=)",
                command=typed("escriba", "train", *texts, "-o", str(target), "--resume"),
            ),
        )
    hint = tr("replace it: --overwrite (in Python overwrite=True); or choose another folder: -o FOLDER (out=)")
    if has_state(target):
        hint = tr(
            "train it further: {command} (in Python more=); "
            "or replace it: --overwrite (in Python overwrite=True); or choose another folder: -o FOLDER (out=)",
            command=typed("escriba", "train", *texts, "--more", str(target), "--minutes", "5"),
        )
    return CheckpointError(tr("{target} is there already", target=target), hint=hint)
