"""A model asked what it recites: the text it learnt from is found again, or its documents' hashes, and texts are held against them.

It does not know how the model writes; `Model` in `using.py` hands its calls on to here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from escriba.errors import TextError
from escriba.inference.fingerprint import Hashes, KnownLines, contains, load_fingerprint, make_fingerprint, save_fingerprint
from escriba.inference.recall import Recall
from escriba.inference.recall import recall as recall_in
from escriba.settings import TextSettings
from escriba.text.again import learnt_text
from escriba.text.corpus import Corpus

if TYPE_CHECKING:
    from escriba.using import Model

__all__ = ["Against", "Learnt", "is_novel", "recall"]

Against = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Corpus | None


class Learnt:
    """What texts are held against, read when it is first asked for and kept for the next one."""

    def __init__(self) -> None:
        self._text: tuple[object, Corpus] | None = None
        self._known: tuple[object, Hashes | KnownLines] | None = None

    def text(self, model: Model, against: Against) -> Corpus:
        """The training text, or another one."""
        key = _key(model, against)
        if self._text is None or self._text[0] != key:
            config = model.config
            settings, seed = (TextSettings(), 1) if config is None else (config.text, config.train.seed)
            known = model.run.last("begun").get("corpus", {})
            found = learnt_text(known if isinstance(known, dict) else {}, settings, seed, _listed(against))
            self._text = (key, found)
        return self._text[1]

    def known(self, model: Model, against: Against) -> Hashes | KnownLines:
        """The hashes of its documents, or the lines of a stream; those of the folder need no text."""
        key = _key(model, against)
        if self._known is None or self._known[0] != key:
            found = None if against is not None or model.folder is None else load_fingerprint(model.folder)
            known: Hashes | KnownLines
            if found is not None:
                known = found
            else:
                corpus = self.text(model, against)
                known = make_fingerprint(corpus.pieces) if corpus.is_documents else KnownLines(corpus.pieces)
            self._known = (key, known)
        return self._known[1]

    def keep(self, model: Model, folder: Path) -> None:
        """Writes the hashes of the model's folder, if it has any, into another one."""
        hashes = None if model.folder is None else load_fingerprint(model.folder)
        if hashes is not None:
            save_fingerprint(folder, hashes)


def recall(model: Model, text: str, against: Against, watch: Callable[[int], None] | None) -> Recall:
    """How much of a text stands verbatim in what a model learnt from; as `Model.recall`."""
    corpus = model.learnt.text(model, against)
    return recall_in(model.tokenizer.normalize(text), corpus.pieces, documents=corpus.is_documents, watch=watch)


def is_novel(model: Model, text: str, against: Against) -> bool:
    """Whether a text is new to a model; as `Model.is_novel`."""
    text = model.tokenizer.normalize(text)
    if not text.strip():
        return False
    known = model.learnt.known(model, against)
    return not (known.contains(text) if isinstance(known, KnownLines) else contains(known, text))


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
        raise TextError(f"against is {against!r:.60}", expected="a path, several, or a text that was read")
    return against
