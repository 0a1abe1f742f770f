"""Reads texts and tables into a corpus: one stream or many documents, and the parts to learn from and to measure.

It knows nothing of symbols and ids beyond handing its texts to a tokenizer. Bytes become text in `files.py`, rows
documents in `tables.py`; what plain texts hold is found in `plain.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from escriba.errors import SettingsError, TextError
from escriba.settings import TextSettings
from escriba.text import files, plain, tables
from escriba.text.encoded import EncodedText
from escriba.text.summary import Summary, summarized
from escriba.text.vocabulary import Tokenizer

__all__ = ["Corpus", "EncodedText", "Parts", "Source", "Summary", "read"]

CHOOSING_SHARE = 0.02  # of the training part
CHOOSING_LONGEST = 50_000  # characters: enough to tell two models apart, and measured in seconds
PART_SHORTEST = 200  # characters: what is measured on less says nothing


@dataclass(frozen=True)
class Source:
    """Where a text came from.

    Attributes:
        name: the file's name as given; "text", "documents" or "standard input".
        characters: how many the corpus took from it.
        encoding: in which encoding its bytes were; None for a text that was a Python string.
        bytes: its size, unpacked; None for a Python string.
    """

    name: str
    characters: int
    encoding: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, repr=False)
class Corpus:
    """A text that has been read.

    Attributes:
        documents: the documents, none empty; a stream is one.
        is_documents: whether they are documents, each with an end of its own, or a stream.
        sources: where they came from.
        notes: what was noticed in reading, as sentences.
        settings: how they were read.
    """

    documents: tuple[str, ...]
    is_documents: bool
    sources: tuple[Source, ...]
    notes: tuple[str, ...]
    settings: TextSettings

    @property
    def characters(self) -> int:
        """The number of characters of all documents."""
        return sum(map(len, self.documents))

    @property
    def text(self) -> str:
        """The whole text; documents are joined with line feeds."""
        return self.documents[0] if len(self.documents) == 1 else "\n".join(self.documents)

    @cached_property
    def sha256(self) -> str:
        """A fingerprint of the documents and their borders, as 64 hexadecimal digits."""
        digest = hashlib.sha256(b"documents" if self.is_documents else b"stream")
        for document in self.documents:
            data = document.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(data) + data)
        return digest.hexdigest()

    def summary(self) -> Summary:
        """What was read, in figures; it shows itself."""
        return summarized(self, self.parts())

    def parts(self, seed: int = 1, *, held_out: Corpus | None = None) -> Parts:
        """The parts of the text: to learn from, to choose by, and held out.

        Held out is the last `val_fraction` of a stream, from int((1 - val_fraction) * characters), or as large a share
        of the documents, drawn by the seed. The choosing part is the last 2 % of what remains, at most 50,000
        characters. A part that would be shorter than 200 characters is left out and noted.

        Args:
            seed: what documents are drawn from.
            held_out: a text of the user's own to hold out; everything here is then for training.

        Returns:
            the parts; with a `val_fraction` of 0 there is neither a choosing nor a held-out part.
        """
        share = self.settings.val_fraction
        if share == 0.0 and held_out is None:
            return Parts(self, None, None, ())
        if self.is_documents and len(self.documents) > 1:
            return self._draw_parts(np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed]))), share, held_out)
        text, notes = self.text, []
        cut = len(text) if held_out is not None else int((1 - share) * len(text))
        if held_out is None and len(text) - cut < PART_SHORTEST:
            notes.append(_too_short("held-out", len(text) - cut))
            cut = len(text)
        elif held_out is None:
            held_out = self._part((text[cut:],))
        chosen = min(CHOOSING_LONGEST, int(CHOOSING_SHARE * cut))
        if chosen < PART_SHORTEST:
            notes.append(_too_short("choosing", chosen))
            return Parts(self._part((text[:cut],)), None, held_out, tuple(notes))
        return Parts(self._part((text[: cut - chosen],)), self._part((text[cut - chosen : cut],)), held_out, tuple(notes))

    def _draw_parts(self, random: np.random.Generator, share: float, held_out: Corpus | None) -> Parts:
        """The parts of documents: drawn by chance, each in the order of the text."""
        order, notes = random.permutation(len(self.documents)), []
        lengths = np.fromiter(map(len, self.documents), dtype=np.int64, count=len(order))
        cut = len(order) if held_out is not None else int((1 - share) * len(order))
        if held_out is None and (cut == 0 or lengths[order[cut:]].sum() < PART_SHORTEST):
            notes.append(_too_short("held-out", int(lengths[order[cut:]].sum())))
            cut = len(order)
        elif held_out is None:
            held_out = self._part(self.documents[i] for i in np.sort(order[cut:]))
        chosen = order[: int(CHOOSING_SHARE * cut)]
        chosen = chosen[np.cumsum(lengths[chosen]) <= CHOOSING_LONGEST]
        if (characters := int(lengths[chosen].sum())) < PART_SHORTEST:
            notes.append(_too_short("choosing", characters))
            chosen = chosen[:0]
        train = self._part(self.documents[i] for i in np.sort(order[len(chosen) : cut]))
        choosing = self._part(self.documents[i] for i in np.sort(chosen)) if len(chosen) else None
        return Parts(train, choosing, held_out, tuple(notes))

    def _part(self, documents: Iterable[str]) -> Corpus:
        return replace(self, documents=tuple(documents), notes=())

    def encode(self, tokenizer: Tokenizer) -> EncodedText:
        """The text as ids.

        Raises:
            UnknownSymbolError: a symbol is not in the vocabulary, and there is no ``<unk>``.
        """
        ids, offsets = tokenizer.encode_documents(self.documents)
        return EncodedText(ids, offsets if self.is_documents else None, tokenizer)

    def __repr__(self) -> str:
        what = f"{len(self.documents):,} documents" if self.is_documents else "one stream"
        names = ", ".join(source.name for source in self.sources[:3]) + (", ..." if len(self.sources) > 3 else "")
        return f"<Corpus: {self.characters:,} characters, {what}, from {names}>"


@dataclass(frozen=True)
class Parts:
    """The parts of a text.

    Attributes:
        train: what is learnt from.
        choosing: what is chosen by during training (best weights, an early stop); None: too short for one.
        held_out: what is only ever measured; None: none, or too short for one.
        notes: which parts the text is too short for, as sentences.
    """

    train: Corpus
    choosing: Corpus | None
    held_out: Corpus | None
    notes: tuple[str, ...]

    @property
    def whole_train(self) -> Corpus:
        """The training part with the choosing part: all that a model may know of."""
        if self.choosing is None:
            return self.train
        if self.train.is_documents:
            return replace(self.train, documents=self.train.documents + self.choosing.documents)
        return replace(self.train, documents=(self.train.text + self.choosing.text,))


def _too_short(part: str, characters: int) -> str:
    return f"The text is too short for a {part} part: it would have {characters:,} characters, fewer than {PART_SHORTEST}."


def read(
    *sources: str | os.PathLike[str],
    text: str | None = None,
    documents: str | Iterable[str] | None = None,
    settings: TextSettings | None = None,
    **overrides: Any,
) -> Corpus:
    """Reads texts.

    Args:
        *sources: files, folders, patterns, "-" for standard input; plain or packed by gzip, bzip2 or xz; .csv, .tsv and
            .jsonl are tables, whose rows are documents.
        text: a text itself, instead of sources.
        documents: the documents themselves, instead of sources; or, as one of the words "auto", "stream", "line" and
            "paragraph", the setting of that name.
        settings: how to read.
        **overrides: single settings, by the names of `TextSettings`.

    Returns:
        the corpus; its `notes` say what was noticed and done.

    Raises:
        TextError: there is nothing to read, it is no text, or of no use: empty, blank, of one distinct character.
        TextDecodingError: bytes are not in the encoding.
        SettingsError: a setting is out of its range or misspelt.
    """
    if isinstance(documents, str):
        overrides["documents"], documents = documents, None
    settings = TextSettings.parse(overrides) if settings is None else settings.but(**overrides)
    if (len(sources) > 0) + (text is not None) + (documents is not None) != 1:
        raise TextError("nothing to read" if not sources else "too much to read", expected="either paths, or text=..., or documents=[...]")
    if documents is not None:
        return _read_documents(documents, settings)
    if text is not None:
        if not isinstance(text, str):
            raise TextError(f"a text of type {type(text).__name__}", expected="a string")
        loaded = [files.TextFile("text", text, "", 0, "")]
    else:
        loaded = [files.load(path, settings.encoding) for path in files.find(sources)]
    reading = _Reading(settings)
    for one in loaded:
        reading.take(one)
    return reading.corpus()


def _read_documents(documents: Iterable[str], settings: TextSettings) -> Corpus:
    """A corpus of documents that the caller has."""
    if settings.from_line is not None or settings.to_line is not None or settings.column:
        raise SettingsError(
            "documents that are given as such have neither lines nor columns to choose from",
            expected="neither from_line nor to_line nor column",
        )
    reading = _Reading(settings)
    given = []
    for number, one in enumerate(documents):
        if not isinstance(one, str):
            raise TextError(f"document {number} is of type {type(one).__name__}", expected="a string")
        given.append(reading.tidy(one))
    reading.add(Source("documents", sum(map(len, given))), given, None)
    return reading.corpus()


class _Reading:
    """What has been read so far, and what was noticed."""

    def __init__(self, settings: TextSettings) -> None:
        self.settings = settings
        self.tidy = plain.Tidy(settings)
        self.notes: list[str] = []
        self.sources: list[Source] = []
        self.pieces: list[tuple[list[str] | None, str | None]] = []  # of each source its documents, its plain text, or both

    def add(self, source: Source, documents: list[str] | None, text: str | None) -> None:
        """Puts a source's documents, its plain text, or both, with the others."""
        self.sources.append(source)
        self.pieces.append((documents, text))

    def take(self, file: files.TextFile) -> None:
        """Reads one file's text."""
        self.notes += file.notes
        documents, text = None, None
        if kind := tables.table_kind(file.suffix, file.text, self.settings):
            rows, notes = tables.rows_as_documents(file.text, kind, self.settings, file.name)
            documents = [self.tidy(row) for row in rows]
            self.notes += notes
        else:
            text = self._without_licence(self.tidy(plain.cut_lines(file.text, self.settings, file.name)), file.name)
            if (by := self.settings.documents) in ("line", "paragraph"):
                documents = plain.split(text, cast(Any, by))
            elif by == "auto" and plain.looks_like_list(text):
                documents = plain.split(text, "line")
        characters = len(text) if documents is None and text is not None else sum(map(len, documents or ()))
        self.add(Source(file.name, characters, file.encoding or None, file.size or None), documents, text)

    def _without_licence(self, text: str, name: str) -> str:
        """The text, cut where it was asked for; a licence of Project Gutenberg is noted in any case."""
        body, found = plain.gutenberg_body(text)
        of_all = f"{len(text) - len(body):,} of {len(text):,} characters"
        if found and self.settings.strip_gutenberg:
            self.notes.append(f"{name}: the header and licence of Project Gutenberg were left out, {of_all}.")
            return body
        if found:
            self.notes.append(
                f"{name} has a header or licence of Project Gutenberg, {of_all}, which would be learnt too; "
                "--strip-gutenberg leaves it out."
            )
        elif self.settings.strip_gutenberg:
            self.notes.append(f"{name}: no header or licence of Project Gutenberg was found, so none was left out.")
        return text

    def corpus(self) -> Corpus:
        """All that was read, as one corpus."""
        documents, is_documents = self._together()
        if is_documents:
            filled = [one for one in documents if one.strip()]
            if empty := len(documents) - len(filled):
                self.notes.append(f"Left out as blank: {empty:,} of {len(documents):,} documents.")
            documents = filled
        elif not any(one.strip() for one in documents):
            documents = []
        names = ", ".join(source.name for source in self.sources[:3]) or "the text"
        if not documents:
            blank = any(one.characters for one in self.sources)
            raise TextError(f"{names}: there is nothing but blanks" if blank else f"{names}: it is empty")
        first = documents[0][0]
        if all(one.count(first) == len(one) for one in documents):
            raise TextError(f"{names}: the only character is {first!r}", expected="at least two different ones")
        if is_documents and len(documents) == 1:
            self.notes.append("A single document is taken as a stream.")
            is_documents = False
        return Corpus(tuple(documents), is_documents, tuple(self.sources), tuple(self.notes + self.tidy.notes()), self.settings)

    def _together(self) -> tuple[list[str], bool]:
        """The documents of all sources, or their one stream."""
        by = self.settings.documents
        texts = [(source, text) for source, (_, text) in zip(self.sources, self.pieces, strict=True) if text is not None]
        lists = [documents for documents, _ in self.pieces if documents is not None]
        if by != "stream" and len(lists) == len(self.pieces):
            if by == "auto" and texts:
                count = sum(len(documents or ()) for documents, text in self.pieces if text is not None)
                self.notes.append(
                    f"The text is a list of {count:,} short lines, so each line is a document; --documents stream takes it as one stream."
                )
            return [one for documents in lists for one in documents], True
        if by == "auto" and len(texts) < len(self.pieces):
            raise TextError(
                f"{texts[0][0].name} is a plain text, but was given with a table, whose rows are documents",
                hint="--documents line, paragraph or stream says what to make of it",
            )
        streams = [text if text is not None else "\n".join(documents or ()) for documents, text in self.pieces]
        whole = "".join(one if one.endswith("\n") or i == len(streams) - 1 else one + "\n" for i, one in enumerate(streams))
        return [whole], False
