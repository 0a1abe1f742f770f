"""Documents from the rows of tables: .csv, .tsv and .jsonl.

It knows nothing of files: it is given their text, and gives documents.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, Literal

from escriba.errors import TextError, near_name
from escriba.language import tr, trn
from escriba.settings import TextSettings
from escriba.text.plain import LINE_END

__all__ = ["FIRST_LINE", "LABEL_END", "TableKind", "is_named_a_table", "rows_as_documents", "table_kind"]

TableKind = Literal["csv", "tsv", "jsonl"]
KINDS: dict[str, TableKind] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
FIRST_LINE = 200_000  # characters that are looked at to tell what kind of table it is
LABEL_END = "\t"
"""What stands between a document's label and its text."""
LONGEST_FIELD = 2**31 - 1  # the most that a C long holds on every system


def is_named_a_table(suffix: str) -> bool:
    """Whether a file with this suffix is a table."""
    return suffix in KINDS


def table_kind(suffix: str, beginning: str, settings: TextSettings) -> TableKind | None:
    """What kind of table a text is: by its file's suffix, or, where a column is asked for, by its first line; None: none."""
    if suffix in KINDS or not settings.column:
        return KINDS.get(suffix)
    first = _first_line(beginning)
    if first.startswith(("{", "[")):
        return "jsonl"
    return "tsv" if "\t" in first else "csv"


def rows_as_documents(text: str, kind: TableKind, settings: TextSettings, name: str, *, named: bool = True) -> tuple[list[str], list[str]]:
    """One document for each row: the columns asked for, joined with a blank; before them, where one is asked for, the label.

    Args:
        text: the whole table.
        kind: what it is.
        settings: `column`, `label_column`, `header`, and `from_line`, `to_line`, which here count rows after the header.
        name: the table's name, for what is said of it.
        named: whether its name says that it is a table; else a column was asked for of a plain text.

    Returns:
        the documents, and what was noticed, as sentences.

    Raises:
        TextError: the table is not in its form, or has no such column.
    """
    if not named:
        try:
            return rows_as_documents(text, kind, settings, name)
        except TextError as error:
            raise TextError(
                tr(
                    "{name} is no .csv, .tsv or .jsonl, and as a table, of which --column asks for a column, it cannot be read: {met}",
                    name=name,
                    met=error.met,
                ),
                expected=error.expected,
                hint="; ".join([tr("a plain text is read without --column"), *([error.hint] if error.hint else [])]),
            ) from error
    names, rows, notes = _read_json(text, name) if kind == "jsonl" else _read_cells(text, kind, settings, name)
    width = max((len(row) for _, row in rows), default=0)
    label: int | None = None
    if settings.label_column is not None:
        (label,), _ = _columns((settings.label_column,), names, width, name)
    if label is not None and not settings.column and width == 2:
        columns = [1 - label]  # the other one
    else:
        columns, more = _columns(settings.column, names, width, name)
        notes += more
    first, last = (settings.from_line or 1) - 1, settings.to_line
    if first and first >= len(rows):
        raise TextError(
            trn("{name} has {n:,} rows", "{name} has {n:,} rows", len(rows), name=name),
            expected=tr("more than from_line, {from_line:,}, asks for", from_line=first + 1),
        )
    documents = []
    for line, row in rows[first:last]:
        if len(row) <= (last_one := max(*columns, label or 0)):
            raise TextError(
                trn(
                    "{name}: the row at line {line:,} has {n} columns",
                    "{name}: the row at line {line:,} has {n} columns",
                    len(row),
                    name=name,
                    line=line,
                ),
                expected=tr("{least} or more", least=last_one + 1),
            )
        document = " ".join(row[column] for column in columns if row[column])
        # a label ends at the first tab: within it there is none, nor an end of line
        documents.append(document if label is None or not document.strip() else " ".join(row[label].split()) + LABEL_END + document)
    return documents, notes


def _first_line(text: str) -> str:
    return LINE_END.split(text.lstrip(), maxsplit=1)[0]


def _columns(wanted: Sequence[str], names: Sequence[str], width: int, name: str) -> tuple[list[int], list[str]]:
    """The places, from 0, of the columns asked for, and what was noticed."""
    shown = ", ".join(f"{i + 1} {_brief(names[i])}" if i < len(names) else f"{i + 1}" for i in range(max(width, len(names))))
    if not wanted:
        if max(width, len(names)) <= 1:
            return [0], []
        if "text" in names:
            return [names.index("text")], [tr("{name}: the column 'text' was taken; --column chooses another.", name=name)]
        raise TextError(
            tr("{name} has {columns} columns, and none was chosen", name=name, columns=max(width, len(names))),
            expected=tr("a column, by name or number: {columns}", columns=shown),
            hint=tr("--column NAME; with --no-header too if the first row is no row of names") if names else tr("--column NUMBER"),
        )
    places = []
    for one in wanted:
        if one in names:
            places.append(names.index(one))
        elif one.isascii() and one.isdecimal() and 1 <= int(one[:9]) <= max(width, len(names)):
            places.append(int(one) - 1)
        else:
            near = near_name(one, names)
            raise TextError(
                tr("{name} has no column {column!r}", name=name, column=one),
                expected=tr("one of {names}", names=shown),
                hint=tr("did you mean {near!r}?", near=near) if near else None,
            )
    return places, []


def _read_cells(text: str, kind: TableKind, settings: TextSettings, name: str) -> tuple[list[str], list[tuple[int, list[str]]], list[str]]:
    """The names of the columns, and the rows with their lines, of a table of cells."""
    notes = []
    if kind == "tsv":
        try:
            rows = _parse(text, "\t", csv.QUOTE_MINIMAL, name, strict=True)
        except TextError:
            rows = []
        if len({len(row) for _, row in rows}) != 1:
            # many such tables do not quote at all, and a lone quotation mark would swallow lines: without quotes, then
            rows = [(line, [_unquoted(cell) for cell in row]) for line, row in _parse(text, "\t", csv.QUOTE_NONE, name)]
    else:
        first = _first_line(text[:FIRST_LINE])
        delimiter = ";" if ";" in first and "," not in first else ","
        if delimiter == ";":
            notes.append(tr("{name}: the columns are separated by semicolons.", name=name))
        rows = _parse(text, delimiter, csv.QUOTE_MINIMAL, name)
    if not rows:
        raise TextError(tr("{name} has no rows", name=name))
    if not settings.header:
        return [], rows, notes
    names = [cell.strip() for cell in rows[0][1]]
    shown = ", ".join(map(_brief, names[:10]))
    notes.append(
        tr("{name}: the first row was taken as the names of the columns ({names}); --no-header takes it as a row.", name=name, names=shown)
    )
    return names, rows[1:], notes


def _parse(text: str, delimiter: str, quoting: Literal[0, 3], name: str, *, strict: bool = False) -> list[tuple[int, list[str]]]:
    limit = csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=strict)
    rows, line = [], 1
    try:
        for row in reader:
            if row:
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        raise TextError(tr("{name}: the row at line {line:,} cannot be read: {error}", name=name, line=line, error=error)) from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _brief(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


def _unquoted(cell: str) -> str:
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def _read_json(text: str, name: str) -> tuple[list[str], list[tuple[int, list[str]]], list[str]]:
    """The names of the keys, and the rows with their lines, of a file of one JSON value a line."""
    values: list[tuple[int, Any]] = []
    for line, one in enumerate(LINE_END.split(text), 1):
        if not one.strip():
            continue
        try:
            values.append((line, json.loads(one)))
        except (ValueError, RecursionError) as error:
            raise TextError(
                tr("{name}: line {line:,} is not JSON: {error}", name=name, line=line, error=error),
                expected=tr("one JSON object on each line"),
            ) from None
    if not values:
        raise TextError(tr("{name} has no rows", name=name))
    kind = type(values[0][1])
    if kind not in (dict, list, str):
        raise TextError(
            tr("{name}: line {line:,} is a {type}", name=name, line=values[0][0], type=kind.__name__),
            expected=tr('an object, such as {"text": "..."}'),
        )
    for line, value in values:
        if type(value) is not kind:
            raise TextError(
                tr(
                    "{name}: line {line:,} is a {type}, the first a {first_type}",
                    name=name,
                    line=line,
                    type=type(value).__name__,
                    first_type=kind.__name__,
                )
            )
    if kind is str:
        return [], [(line, [value]) for line, value in values], []
    if kind is list:
        return [], [(line, [_cell(cell) for cell in value]) for line, value in values], []
    names = list(dict.fromkeys(key for _, value in values for key in value))
    return names, [(line, [_cell(value.get(key)) for key in names]) for line, value in values], []


def _cell(value: Any) -> str:
    """A value of JSON as a cell: what is missing or null is empty, what is no text stays as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
