"""Reads texts and tables, one after another, into one stream or many documents.

It knows nothing of parts and of symbols. Bytes become text in `files.py`, rows documents in `tables.py`; what plain
texts hold is found in `plain.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from escriba.errors import TextError
from escriba.language import tr
from escriba.settings import TextSettings
from escriba.text import plain, tables
from escriba.text.files import TextFile
from escriba.text.findings import Findings, look
from escriba.text.opening import name_said
from escriba.text.pieces import in_pieces

__all__ = ["Reading", "Source"]


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


@dataclass
class _Taken:
    """What one source gave: documents, or a plain text in pieces, or both: the text and the documents that it is a list of."""

    source: Source
    documents: list[str] | None
    text: list[str] | None


class Reading:
    """What has been read so far, and what was noticed.

    Args:
        settings: how it is read.
        stays_documents: a single document stays one; else it is taken as a stream.
    """

    def __init__(self, settings: TextSettings, *, stays_documents: bool = False) -> None:
        self.settings = settings
        self.stays_documents = stays_documents
        self.tidy = plain.Tidy(settings)
        self.notes: list[str] = []
        self.taken: list[_Taken] = []
        self.found: Findings | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where it all came from."""
        return tuple(one.source for one in self.taken)

    def take_documents(self, documents: Iterable[str]) -> None:
        """Takes documents that the caller has."""
        given = []
        for number, one in enumerate(documents):
            if not isinstance(one, str):
                raise TextError(tr("document {number} is of type {type}", number=number, type=type(one).__name__), expected=tr("a string"))
            given.append(self.tidy(one))
        self.taken.append(_Taken(Source("documents", sum(map(len, given))), given, None))

    def take_text(self, text: str) -> None:
        """Takes a text that the caller has."""
        kind = tables.table_kind("", text[: tables.FIRST_LINE], self.settings)
        self._take([text], kind, "text", None, self.settings)

    def take_file(self, file: TextFile, *, columns: bool = True, settings: TextSettings | None = None) -> None:
        """Reads one file; without `columns` only what is named as one is a table; with `settings` it is read by its own."""
        texts, settings = file.texts(), settings or self.settings
        first = next(texts, "")
        kind = tables.table_kind(file.suffix, first[: tables.FIRST_LINE], settings if columns else settings.but(column=()))
        self._take(chain([first], texts), kind, file.name, file, settings)

    def _take(self, texts: Iterable[str], kind: tables.TableKind | None, name: str, file: TextFile | None, settings: TextSettings) -> None:
        documents, text, said = None, None, name_said(name)
        if kind:
            whole = "".join(texts)
            self.notes += file.notes if file else []
            named = file is not None and tables.is_named_a_table(file.suffix)
            rows, notes = tables.rows_as_documents(whole, kind, settings, said, named=named)
            documents = [self.tidy(row) for row in rows]
            self.notes += notes
        elif settings.label_column is not None:
            raise TextError(
                tr(
                    "{name} is a plain text, but labels were asked for, in the column {column!r}",
                    name=said,
                    column=settings.label_column,
                ),
                expected=tr("a table: .csv, .tsv or .jsonl"),
                hint=tr("leave out --label-column, or name the text's column too: --column"),
            )
        else:
            text = [self.tidy(piece) for piece in plain.cut_lines(in_pieces(texts), settings, said)]
            self.notes += file.notes if file else []
            text = self._without_licence(text, said, settings.strip_gutenberg)
            if (by := settings.documents) in ("line", "paragraph"):
                documents = plain.lines_of(text) if by == "line" else plain.split("".join(text), "paragraph")
                text = None  # every source is documents: it is not asked for again
            elif by == "auto" and plain.looks_like_list(text):
                documents = plain.lines_of(text)
        characters = sum(map(len, documents if documents is not None else text or ()))
        encoding, size = (file.encoding, file.size or None) if file else (None, None)
        self.taken.append(_Taken(Source(name, characters, encoding, size), documents, text))

    def _without_licence(self, text: list[str], name: str, leave_out: bool) -> list[str]:
        """The text, cut where it was asked for; a licence of Project Gutenberg is noted in any case."""
        body, found = plain.gutenberg_body(text)
        whole = sum(map(len, text))
        rest = whole - sum(map(len, body))
        if found and leave_out:
            self.notes.append(
                tr(
                    "{name}: the header and licence of Project Gutenberg were left out, {characters:,} of {whole:,} characters.",
                    name=name,
                    characters=rest,
                    whole=whole,
                )
            )
            return body
        if found:
            self.notes.append(
                tr(
                    "{name} has a header or licence of Project Gutenberg, {characters:,} of {whole:,} characters, "
                    "which would be learnt too; --strip-gutenberg leaves it out.",
                    name=name,
                    characters=rest,
                    whole=whole,
                )
            )
        elif leave_out:
            self.notes.append(tr("{name}: no header or licence of Project Gutenberg was found, so none was left out.", name=name))
        return text

    def together(self) -> tuple[tuple[str, ...], bool]:
        """All that was read: the documents, or the pieces of one stream; and which of the two.

        Raises:
            TextError: it is of no use: empty, blank, of one distinct character.
        """
        pieces, is_documents = self._together()
        if is_documents:
            filled = [one for one in pieces if one.strip()]
            if empty := len(pieces) - len(filled):
                self.notes.append(tr("Left out as blank: {blank:,} of {documents:,} documents.", blank=empty, documents=len(pieces)))
            pieces = filled
        elif all(one.isspace() for one in pieces):
            pieces = []
        names = ", ".join(name_said(source.name) for source in self.sources[:3]) or tr("the text")
        if not pieces:
            blank = any(one.characters for one in self.sources)
            raise TextError(tr("{names}: there is nothing but blanks", names=names) if blank else tr("{names}: it is empty", names=names))
        first = pieces[0][0]
        if all(one.count(first) == len(one) for one in pieces):
            raise TextError(
                tr("{names}: the only character is {first!r}", names=names, first=first), expected=tr("at least two different ones")
            )
        if is_documents and len(pieces) == 1 and not self.stays_documents:
            self.notes.append(tr("A single document is taken as a stream."))
            is_documents = False
        self.found = look(pieces, is_documents)
        noted = self.found.notes("documents" if is_documents else "lines", replaced=self.tidy.half_pairs)
        self.notes += [*self.tidy.notes(), *noted]
        return tuple(pieces), is_documents

    def _together(self) -> tuple[list[str], bool]:
        """The documents of all sources, or their one stream."""
        by = self.settings.documents
        texts = [one for one in self.taken if one.text is not None]
        lists = [one.documents for one in self.taken if one.documents is not None]
        if by != "stream" and len(lists) == len(self.taken):
            if by == "auto" and texts:
                count = sum(len(one.documents or ()) for one in texts)
                self.notes.append(
                    tr(
                        "The text is a list of {count:,} short lines, so each line is a document; "
                        "--documents stream takes it as one stream.",
                        count=count,
                    )
                )
            return [one for documents in lists for one in documents], True
        if by == "auto" and len(texts) < len(self.taken):
            raise TextError(
                tr("{name} is a plain text, but was given with a table, whose rows are documents", name=name_said(texts[0].source.name)),
                hint=tr("--documents line, paragraph or stream says what to make of it"),
            )
        pieces: list[str] = []
        for number, one in enumerate(self.taken, 1):
            own = one.text if one.text is not None else list(in_pieces(_by_lines(one.documents or ())))
            pieces += own
            if number < len(self.taken) and not (own and own[-1].endswith("\n")):
                pieces.append("\n")
        return pieces, False


def _by_lines(documents: Iterable[str]) -> Iterable[str]:
    """Documents as a text, with a line feed between each two."""
    return (f"\n{one}" if number else one for number, one in enumerate(documents))
