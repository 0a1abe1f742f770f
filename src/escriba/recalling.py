"""A model asked what it recites: the text it learnt from is found again, or its documents' hashes, and texts are held against them.

It does not know how the model writes; `Model` in `using.py` hands its calls on to here.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escriba.errors import CheckpointError, TextDecodingError, TextError
from escriba.history import Run
from escriba.inference.fingerprint import Hashes, KnownLines, contains, load_fingerprint, make_fingerprint, save_fingerprint
from escriba.inference.recall import Recall
from escriba.inference.recall import recall as recall_in
from escriba.language import tr
from escriba.results import Text
from escriba.settings import TextSettings
from escriba.text.again import learnt_text
from escriba.text.corpus import Corpus
from escriba.text.plain import split

if TYPE_CHECKING:
    from escriba.using import Model

__all__ = ["Against", "Before", "Learnt", "is_novel", "recall"]

Against = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Corpus | None


@dataclass(frozen=True)
class Before:
    """What was learnt before a training by the models with whose weights it began.

    Attributes:
        models: those of them that learnt another text, the first one first, as the history tells of them: `model`, its folder; `sources`
            and `sha256` of its text; `hashes`, whether hashes of its documents are kept with those of the new model.
        hashes: of their documents, as far as they are known and the new model keeps them; None: none.
    """

    models: tuple[dict[str, Any], ...] = ()
    hashes: Hashes | None = None

    @classmethod
    def of(cls, folder: Path, sha256: str, *, hashed: bool) -> Before:
        """What the model in a folder had learnt.

        Args:
            folder: the model to begin with.
            sha256: of the text that is learnt now.
            hashed: whether hashes of documents are kept of the new training, to which those of the old one can be added.

        Raises:
            CheckpointError: the hashes of the old one are damaged.
        """
        hashes = load_fingerprint(folder) if hashed else None
        begun = Run.read(folder).last("begun")
        known = corpus if isinstance(corpus := begun.get("corpus"), dict) else {}
        models = [{**one, "hashes": hashes is not None and bool(one.get("hashes"))} for one in _recorded(begun)]
        text = {"sources": known.get("sources") or [], "sha256": known.get("sha256")}
        models.append({"model": str(folder), **text, "hashes": hashes is not None})
        return cls(tuple(one for one in models if one.get("sha256") != sha256), hashes)


def _recorded(begun: dict[str, Any]) -> list[dict[str, Any]]:
    """The models with whose weights a training began, as its history tells of them."""
    found = begun.get("init_from")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


class Learnt:
    """What texts are held against, read when it is first asked for and kept for the next one."""

    def __init__(self) -> None:
        self._own: Corpus | None = None
        self._before: Before | None = None
        self._text: tuple[object, Corpus] | None = None
        self._known: tuple[object, Hashes | KnownLines] | None = None
        self._with_before = False  # whether the hashes of earlier models are among the known ones

    def take(self, text: Corpus, before: Before | None = None) -> None:
        """Takes what was learnt from just now and cannot be read again, and what was learnt before it."""
        self._own = text
        self._before = before if before is not None and before.models else None

    def text(self, model: Model, against: Against) -> Corpus:
        """The training text, or another one."""
        if against is None and self._own is not None:
            return self._own
        key, kept = _key(model, against), self._text  # another thread may keep another text meanwhile
        if kept is None or kept[0] != key:
            config = model.config
            settings, seed = (TextSettings(), 1) if config is None else (config.text, config.train.seed)
            known = model.run.last("begun").get("corpus", {})
            try:
                found = learnt_text(known if isinstance(known, dict) else {}, settings, seed, _listed(against))
            except TextDecodingError as error:
                hint = tr("it is read as the training text was, in {encoding}: convert it to that", encoding=settings.encoding)
                raise TextDecodingError(error.met, expected=error.expected, hint=hint) from error
            self._text = (key, found)
            return found
        return kept[1]

    def known(self, model: Model, against: Against) -> Hashes | KnownLines:
        """The hashes of its documents, or the lines of a stream; those of the folder need no text."""
        key, kept = _key(model, against), self._known
        if kept is None or kept[0] != key:
            found = None if against is not None or model.folder is None else load_fingerprint(model.folder)
            known: Hashes | KnownLines
            if found is not None:
                known = found
            else:
                corpus = self.text(model, against)
                before = None if against is not None or self._before is None else self._before.hashes
                known = make_fingerprint(corpus.pieces, before) if corpus.is_documents else KnownLines(corpus.pieces)
            self._with_before = found is not None or (against is None and self._own is not None)
            self._known = (key, known)
            return known
        return kept[1]

    def others(self, model: Model, *, hashes: bool) -> list[dict[str, Any]]:
        """The models that this one began with whose texts are not looked at, or are not among the known hashes."""
        if self._before is None:
            self._before = Before(tuple(_recorded(model.run.last("begun"))))
        return [one for one in self._before.models if not (hashes and self._with_before and one.get("hashes"))]

    def keep(self, model: Model, folder: Path) -> None:
        """Writes the hashes of the model's documents, if it keeps any, into another folder."""
        hashes: Hashes | KnownLines | None = None
        with contextlib.suppress(CheckpointError):  # what is damaged is left behind
            hashes = None if model.folder is None else load_fingerprint(model.folder)
        if hashes is None and self._own is not None and self._own.is_documents and self._own.settings.fingerprint:
            hashes = self.known(model, None)
        if hashes is not None and not isinstance(hashes, KnownLines):
            save_fingerprint(folder, hashes)


def recall(model: Model, text: str, against: Against, watch: Callable[[int], None] | None) -> Recall:
    """How much of a text stands verbatim in what a model learnt from; as `Model.recall`."""
    if not text:
        raise TextError(tr("the text to hold against the training text is empty"), expected=tr("one character or more"))
    corpus = model.learnt.text(model, against)
    if against is None:
        _tell_of(model.learnt.others(model, hashes=False))
    return recall_in(model.tokenizer.normalize(text), corpus.pieces, documents=corpus.is_documents, watch=watch)


def is_novel(model: Model, text: str, against: Against) -> bool:
    """Whether a text is new to a model; as `Model.is_novel`."""
    if not text.strip():
        return False
    known = model.learnt.known(model, against)
    if against is None:
        _tell_of(model.learnt.others(model, hashes=not isinstance(known, KnownLines)))
    if not isinstance(known, KnownLines):
        return not contains(known, model.tokenizer.normalize(text))
    begun = text.prompt.rfind("\n") + 1 if isinstance(text, Text) else 0  # lines that were given are not the model's
    lines = [line for line in split(model.tokenizer.normalize(text[begun:]), "line") if line.strip()]
    return bool(lines) and not any(map(known.contains, lines))


def _tell_of(others: Sequence[dict[str, Any]]) -> None:
    """Says that what other models learnt is not looked at."""
    for one in others:
        where = ", ".join(map(str, one.get("sources") or ())) or tr("a text that is not recorded")
        warnings.warn(
            tr(
                "the training began with the weights of {model}, and what that learnt ({text}) is not looked at; "
                "hold the text against it, too: --against FILE (in Python against=)",
                model=one.get("model"),
                text=where,
            ),
            UserWarning,
            stacklevel=4,
        )


def _key(model: Model, against: Against) -> object:
    """What tells whether the text that was read last is the one that is asked for now."""
    listed = _listed(against)
    return (model.folder, listed if listed is None or isinstance(listed, Corpus) else tuple(os.fspath(one) for one in listed))


def _listed(against: Against) -> Sequence[str | os.PathLike[str]] | Corpus | None:
    if against is None or isinstance(against, Corpus):
        return against
    if isinstance(against, str | os.PathLike):
        return [against]
    if not isinstance(against, Sequence) or not against or not all(isinstance(one, str | os.PathLike) for one in against):
        raise TextError(tr("against is {against!r:.60}", against=against), expected=tr("a path, several, or a text that was read"))
    return against
