"""A text that has been read: one stream or many documents, and the parts to learn from and to measure.

It knows nothing of symbols and ids beyond handing its texts to a tokenizer, and nothing of files: reading is done in
`reading.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from escriba.cached import cached_property
from escriba.errors import SettingsError, TextError
from escriba.language import later, tr, trn
from escriba.settings import TextSettings
from escriba.text.encoded import EncodedText
from escriba.text.files import TextFile, find, suffix_of
from escriba.text.findings import Findings
from escriba.text.known import PREFIX, known, known_reading
from escriba.text.opening import name_said
from escriba.text.pieces import sliced
from escriba.text.reading import Reading, Source
from escriba.text.summary import Summary, summarized
from escriba.text.tables import LABEL_END, is_named_a_table
from escriba.text.vocabulary import Tokenizer

__all__ = ["Corpus", "EncodedText", "Parts", "Source", "Summary", "read", "read_beside"]

CHOOSING_SHARE = 0.02  # of the training part
CHOOSING_LONGEST = 50_000  # characters: enough to tell two models apart, and measured in seconds
PART_SHORTEST = 200  # characters: what is measured on less says nothing
OF_THE_FILE = ("encoding", "strip_gutenberg", "column", "header")  # what a known text's own reading says of its file
WORD_LONGEST = 1_000  # characters: so far on the end of a word is looked for
TOO_SHORT = {
    "held-out": later("The text is too short for a held-out part: it would have {characters:,} characters, fewer than {least}."),
    "choosing": later("The text is too short for a choosing part: it would have {characters:,} characters, fewer than {least}."),
}


@dataclass(frozen=True, repr=False)
class Corpus:
    """A text that has been read.

    Attributes:
        pieces: the documents, none empty; or the pieces, of about a million characters, that joined are the stream.
        is_documents: whether they are documents, each with an end of its own, or a stream.
        sources: where they came from.
        notes: what was noticed in reading, as sentences.
        settings: how they were read.
        found: what looks wrong with it, as it was found in reading; None: not looked for, as in a part.
    """

    pieces: tuple[str, ...]
    is_documents: bool
    sources: tuple[Source, ...]
    notes: tuple[str, ...]
    settings: TextSettings
    found: Findings | None = field(default=None, repr=False, compare=False)

    @cached_property
    def characters(self) -> int:
        """The number of characters of all documents."""
        return sum(map(len, self.pieces))

    @cached_property
    def documents(self) -> tuple[str, ...]:
        """The documents; a stream is one, made whole when it is first asked for: `pieces` takes less memory."""
        return self.pieces if self.is_documents else ("".join(self.pieces),)

    @cached_property
    def labels(self) -> dict[str, int]:
        """The labels with which documents begin, and how many begin with each, the most frequent first; without a column of them none."""
        if self.settings.label_column is None or not self.is_documents:
            return {}
        return dict(Counter(one.partition(LABEL_END)[0] for one in self.pieces).most_common())

    @property
    def text(self) -> str:
        """The whole text; documents are joined with line feeds."""
        return "\n".join(self.documents)

    def opening(self, characters: int) -> str:
        """The beginning of the first document or of the stream."""
        pieces = self.pieces[:1] if self.is_documents else self.pieces
        return "".join(sliced(pieces, 0, characters))

    @cached_property
    def sha256(self) -> str:
        """A fingerprint of the documents and their borders, as 64 hexadecimal digits."""
        digest = hashlib.sha256(b"documents" if self.is_documents else b"stream")
        if not self.is_documents:
            digest.update(b"%d:" % sum(len(_utf8(piece)) for piece in self.pieces))
        for piece in self.pieces:
            data = _utf8(piece)
            digest.update(b"%d:" % len(data) + data if self.is_documents else data)
        return digest.hexdigest()

    def summary(self) -> Summary:
        """What was read, in figures; it shows itself."""
        return summarized(self, self.parts())

    def parts(self, seed: int = 1, *, held_out: Corpus | None = None, choosing: Corpus | None = None) -> Parts:
        """The parts of the text: to learn from, to choose by, and held out.

        Held out is the last `val_fraction` of a stream, from int((1 - val_fraction) * characters), or as large a share
        of the documents, drawn by the seed; with words a stream is cut just after the next blank. The choosing part is the
        last 2 % of what remains, at most 50,000 characters. A part that would be shorter than 200 characters is left out
        and noted.

        Args:
            seed: what documents are drawn from.
            held_out: a text of the user's own to hold out; none is then cut from this one.
            choosing: a text of the user's own to choose by, of which the first 50,000 characters are taken; none is
                then cut from this one.

        Returns:
            the parts; with a `val_fraction` of 0 there is neither a choosing nor a held-out part but the user's own.
        """
        share, notes = self.settings.val_fraction, []
        if choosing is not None and choosing.characters > CHOOSING_LONGEST:
            whole, choosing = choosing.characters, choosing.shortened(CHOOSING_LONGEST)
            if choosing.characters < whole:  # the end of its last word may be that of the text
                said = tr(
                    "Of the text to choose by, {whole:,} characters, only the first {used:,} are used.",
                    whole=whole,
                    used=choosing.characters,
                )
                notes.append(said)
        if share == 0.0 and held_out is None:
            return Parts(self, choosing, None, tuple(notes), choosing is not None)
        is_own = choosing is not None
        cut = self._cut_documents if self.is_documents and len(self.pieces) > 1 else self._cut_stream
        # of what is not to be cut off, a share of nothing is
        train, chosen, last, more = cut(0.0 if held_out is not None else share, 0.0 if is_own else CHOOSING_SHARE, seed)
        left_out = [more[name] for name, own in (("held-out", held_out), ("choosing", choosing)) if own is None and name in more]
        return Parts(train, choosing if is_own else chosen, held_out if held_out is not None else last, (*notes, *left_out), is_own)

    def _cut_stream(self, held_out: float, choosing: float, seed: int) -> _Cut:
        """The parts of a stream by their shares, and what is said of those that are left out."""
        del seed  # nothing is drawn
        notes, whole = {}, self.characters
        end = self._border(int((1 - held_out) * whole))
        if whole - end < PART_SHORTEST:
            notes["held-out"] = _too_short("held-out", whole - end)
            end = whole
        chosen = max(0, end - self._border(end - min(CHOOSING_LONGEST, int(choosing * end))))
        if chosen < PART_SHORTEST:
            notes["choosing"] = _too_short("choosing", chosen)
            chosen = 0
        borders = (0, end - chosen, end, whole)
        train, choose, last = (self._part(sliced(self.pieces, start, stop)) if stop > start else None for start, stop in pairwise(borders))
        assert train is not None
        return train, choose, last, notes

    def _border(self, at: int) -> int:
        """Where a text may be cut at a place or, if its symbols are words, soon after it: half a word is in no vocabulary."""
        if self.settings.unit != "word" or at == 0:
            return at
        pieces = self.pieces[:1] if self.is_documents else self.pieces
        before = "".join(sliced(pieces, at - 1, at + WORD_LONGEST))
        blanks = [place for blank in " \n" if (place := before.find(blank)) >= 0]
        return at + min(blanks, default=0)

    def _cut_documents(self, held_out: float, choosing: float, seed: int) -> _Cut:
        """The parts of documents: drawn by chance, each in the order of the text."""
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed])))
        order, notes = random.permutation(len(self.pieces)), {}
        lengths = np.fromiter(map(len, self.pieces), dtype=np.int64, count=len(order))
        end = int((1 - held_out) * len(order))
        if end == 0 or lengths[order[end:]].sum() < PART_SHORTEST:
            notes["held-out"] = _too_short("held-out", int(lengths[order[end:]].sum()))
            end = len(order)
        chosen = order[: int(choosing * end)]
        chosen = chosen[np.cumsum(lengths[chosen]) <= CHOOSING_LONGEST]
        if (characters := int(lengths[chosen].sum())) < PART_SHORTEST:
            notes["choosing"] = _too_short("choosing", characters)
            chosen = chosen[:0]
        train, choose, last = (
            self._part([self.pieces[i] for i in np.sort(some)]) if len(some) else None
            for some in (order[len(chosen) : end], chosen, order[end:])
        )
        assert train is not None
        return train, choose, last, notes

    def _part(self, pieces: Iterable[str]) -> Corpus:
        return replace(self, pieces=tuple(pieces), notes=(), found=None)

    def shortened(self, characters: int) -> Corpus:
        """The first so many characters; of documents the first whole ones, or the beginning of the first. No word is cut."""
        if self.is_documents and len(self.pieces[0]) <= characters:
            fitting = int(np.searchsorted(np.cumsum([len(one) for one in self.pieces]), characters, side="right"))
            return self._part(self.pieces[:fitting])
        pieces = self.pieces[:1] if self.is_documents else self.pieces
        return self._part(sliced(pieces, 0, self._border(characters)))

    def ending(self, characters: int) -> Corpus:
        """The last so many characters; of documents the last whole ones, or the end of the last. No word is cut."""
        if self.characters <= characters:
            return self
        if self.is_documents and len(self.pieces[-1]) <= characters:
            fitting = int(np.searchsorted(np.cumsum([len(one) for one in self.pieces[::-1]]), characters, side="right"))
            return self._part(self.pieces[-fitting:])
        last = self._part(self.pieces[-1:]) if self.is_documents else self
        return self._part(sliced(last.pieces, last._border(last.characters - characters), last.characters))

    def encode(self, tokenizer: Tokenizer) -> EncodedText:
        """The text as ids.

        Raises:
            UnknownSymbolError: a symbol is not in the vocabulary, and there is no ``<unk>``.
        """
        if not self.is_documents:
            return EncodedText(tokenizer.encode_pieces(self.pieces), None, tokenizer)
        ids, offsets = tokenizer.encode_documents(self.pieces)
        return EncodedText(ids, offsets, tokenizer)

    def in_a_sentence(self) -> str:
        """What it is, in the language that is spoken."""
        sources = ", ".join([name_said(source.name) for source in self.sources[:3]] + ["..."] * (len(self.sources) > 3))
        if not self.is_documents:
            return tr("{characters:,} characters, one stream, from {sources}", characters=self.characters, sources=sources)
        count = len(self.pieces)
        return trn(
            "{characters:,} characters, {n:,} documents, from {sources}", "{characters:,} characters, {n:,} documents, from {sources}",
            count, characters=self.characters, sources=sources,
        )  # fmt: skip

    def __repr__(self) -> str:
        what = f"{len(self.pieces):,} documents" if self.is_documents else "one stream"
        names = ", ".join(source.name for source in self.sources[:3]) + (", ..." if len(self.sources) > 3 else "")
        return f"<Corpus: {self.characters:,} characters, {what}, from {names}>"


_Cut = tuple[Corpus, Corpus | None, Corpus | None, dict[str, str]]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Parts:
    """The parts of a text.

    Attributes:
        train: what is learnt from.
        choosing: what is chosen by during training (best weights, an early stop); None: too short for one.
        held_out: what is only ever measured; None: none, or too short for one.
        notes: which parts the text is too short for, as sentences.
        choosing_is_own: the choosing part is a text of the user's own, not cut from this one.
    """

    train: Corpus
    choosing: Corpus | None
    held_out: Corpus | None
    notes: tuple[str, ...]
    choosing_is_own: bool = False

    @property
    def whole_train(self) -> Corpus:
        """The training part with the choosing part that was cut from the same text: all that a model may know of."""
        if self.choosing is None or self.choosing_is_own:
            return self.train
        return replace(self.train, pieces=self.train.pieces + self.choosing.pieces)


def _too_short(part: str, characters: int) -> str:
    return tr(TOO_SHORT[part], characters=characters, least=PART_SHORTEST)


def read(
    *sources: str | os.PathLike[str],
    text: str | None = None,
    documents: str | Iterable[str] | None = None,
    settings: TextSettings | None = None,
    **overrides: Any,
) -> Corpus:
    """Reads texts.

    Args:
        *sources: files, folders, patterns, addresses, known texts as "text:quijote", "-" for standard input; plain or packed
            by gzip, bzip2 or xz; .csv, .tsv and .jsonl are tables, whose rows are documents.
        text: a text itself, instead of sources.
        documents: the documents themselves, instead of sources; or, as one of the words "auto", "stream", "line" and
            "paragraph", the setting of that name.
        settings: how to read; None: as the defaults say, and for known texts as is known of them.
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
    settings = TextSettings.parse({**known_reading(sources, overrides), **overrides}) if settings is None else settings.but(**overrides)
    if (len(sources) > 0) + (text is not None) + (documents is not None) != 1:
        raise TextError(
            tr("nothing to read") if not sources else tr("too much to read"), expected=tr("either paths, or text=..., or documents=[...]")
        )
    reading = Reading(settings)
    if documents is not None:
        if settings.from_line is not None or settings.to_line is not None or settings.column:
            raise SettingsError(
                tr("documents that are given as such have neither lines nor columns to choose from"),
                expected=tr("neither from_line nor to_line nor column"),
            )
        reading.take_documents(documents)
    elif text is not None:
        if not isinstance(text, str):
            raise TextError(tr("a text of type {type}", type=type(text).__name__), expected=tr("a string"))
        reading.take_text(text)
    else:
        for path in find(sources):
            reading.take_file(TextFile(path, settings.encoding))
    return _corpus(reading)


def read_beside(sources: Sequence[str | os.PathLike[str]], corpus: Corpus, *, from_tables: bool | None = None) -> Corpus:
    """Reads texts to measure on or to choose by beside one that was read: in its form, with its settings where they apply.

    Beside a stream it is a stream, of the rows of a table too; beside documents it is documents, each line of a plain
    text one. Columns are of tables alone; `from_line` and `to_line` are of the other text and do not apply. A known text
    is read as is known of its file, where the corpus was read by the defaults.

    Args:
        sources: files, folders, patterns, addresses, known texts.
        corpus: what they stand beside.
        from_tables: whether that was read from tables; None: as the names of its sources say.

    Raises:
        TextError: there is nothing to read, it is no text, or of no use.
        TextDecodingError: bytes are not in the encoding.
    """
    by = corpus.settings.documents
    if corpus.is_documents:
        by = by if by in ("line", "paragraph") else "line"
    else:
        by = "stream"
    settings = corpus.settings.but(from_line=None, to_line=None, documents=by)
    if from_tables is None:
        from_tables = any(is_named_a_table(suffix_of(Path(source.name))) for source in corpus.sources)
    reading = Reading(settings, stays_documents=corpus.is_documents)
    files: dict[Path | None, tuple[Path | None, TextSettings]] = {}
    for source in sources:
        for path in find([source]):
            files.setdefault(path and path.resolve(), (path, _of_the_file(source, settings)))
    for path, own in files.values():
        reading.take_file(TextFile(path, own.encoding), columns=not from_tables, settings=own)
    return _corpus(reading)


def _of_the_file(source: str | os.PathLike[str], settings: TextSettings) -> TextSettings:
    """The settings for one source: of a known text, what is known of its file goes before a default."""
    name, defaults = os.fspath(source), TextSettings()
    if not name.startswith(PREFIX):
        return settings
    left_open = [key for key in OF_THE_FILE if getattr(settings, key) == getattr(defaults, key)]
    return settings.but(**{key: value for key, value in known(name).reading.items() if key in left_open})


def _corpus(reading: Reading) -> Corpus:
    pieces, is_documents = reading.together()
    return Corpus(pieces, is_documents, reading.sources, tuple(reading.notes), reading.settings, reading.found)
