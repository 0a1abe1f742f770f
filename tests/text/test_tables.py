"""Tables: rows as documents, columns by name and number, the forms of .csv, .tsv and .jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from escriba.errors import TextError
from escriba.text.corpus import Corpus, read

CSV = 'label,title,body\n1,"Red, blue","two\nlines"\n2,Green,x\n'


def table(folder: Path, name: str, text: str, **settings: Any) -> Corpus:
    """The corpus of a table with this text."""
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return read(path, **settings)


@pytest.mark.parametrize("column", [("title",), ("2",)])
def test_column_by_name_or_number(tmp_path: Path, column: tuple[str, ...]) -> None:
    """A column is chosen by name or by number from 1; each row is a document, and the header is said to be one."""
    corpus = table(tmp_path, "a.csv", CSV, column=column)
    assert corpus.documents == table(tmp_path, "a.csv", CSV, column=column[0]).documents == ("Red, blue", "Green")
    assert corpus.is_documents
    assert any("'label', 'title', 'body'" in note and "--no-header" in note for note in corpus.notes)


def test_two_columns_are_joined_with_a_blank(tmp_path: Path) -> None:
    """Columns are joined in the order asked for; quoted line feeds stay; an empty cell leaves no blank."""
    assert table(tmp_path, "a.csv", CSV, column=("body", "title")).documents == ("two\nlines Red, blue", "x Green")
    assert table(tmp_path, "b.csv", "a,b\nx,\n,y\n", column=("a", "b")).documents == ("x", "y")


def test_labels_come_first(tmp_path: Path) -> None:
    """Each document begins with its label, a tab and its text; within a label blanks of any kind are one blank each."""
    assert table(tmp_path, "a.csv", CSV, column=("title",), label_column="label").documents == ("1\tRed, blue", "2\tGreen")
    assert table(tmp_path, "a.csv", CSV, column=("2", "3"), label_column="1").documents == ("1\tRed, blue two\nlines", "2\tGreen x")
    corpus = table(tmp_path, "l.csv", "text,kind\none,A\ntwo,B\nthree,B\n", label_column="kind")
    assert list(corpus.labels.items()) == [("B", 2), ("A", 1)]
    assert "'B' 2  'A' 1" in str(corpus.summary())
    assert table(tmp_path, "a.csv", CSV, column=("title",)).labels == {}
    odd = 'kind,text\n"two\n\twords ",a\tb\n,c\nx, \n'
    corpus = table(tmp_path, "b.csv", odd, label_column="kind")
    assert corpus.documents == ("two words\ta\tb", "\tc")
    assert any("Left out as blank: 1 of 3" in note for note in corpus.notes)
    assert table(tmp_path, "c.tsv", "a\tb\nX\ty\nX\tz\n", label_column="b").documents == ("y\tX", "z\tX")
    with pytest.raises(TextError, match="no column 'labels'") as caught:
        table(tmp_path, "a.csv", CSV, column=("title",), label_column="labels")
    assert "did you mean 'label'" in str(caught.value)
    with pytest.raises(TextError, match="has 1 columns"):
        table(tmp_path, "d.csv", "a,b,c\nx,y,z\nw\n", column=("a",), label_column="c")
    with pytest.raises(TextError, match="is a plain text, but labels were asked for"):
        table(tmp_path, "e.txt", "one\ntwo\n", label_column="1")


def test_without_a_header(tmp_path: Path) -> None:
    """With no header the first row is a document like the others."""
    corpus = table(tmp_path, "a.csv", CSV, column=("2",), header=False)
    assert corpus.documents == ("title", "Red, blue", "Green")
    assert corpus.notes == ()


def test_a_column_must_be_chosen(tmp_path: Path) -> None:
    """Of several columns one must be chosen: the error lists them. A column "text", or the only one, needs no choice."""
    with pytest.raises(TextError, match="3 columns, and none was chosen") as caught:
        table(tmp_path, "a.csv", CSV)
    assert "1 'label', 2 'title', 3 'body'" in str(caught.value)
    corpus = table(tmp_path, "b.csv", "id,text\n1,one\n2,two\n")
    assert corpus.documents == ("one", "two")
    assert any("'text' was taken" in note for note in corpus.notes)
    assert table(tmp_path, "c.csv", "word\none\ntwo\n").documents == ("one", "two")


@pytest.mark.parametrize("column", ["titel", "0", "4", "-1", "²", "9999999999999999"])
def test_a_column_that_is_not_there(tmp_path: Path, column: str) -> None:
    """A column that is not there is refused with the list of those that are, and a near name."""
    with pytest.raises(TextError, match="has no column") as caught:
        table(tmp_path, "a.csv", CSV, column=(column,))
    assert "2 'title'" in str(caught.value)
    assert ("did you mean 'title'?" in str(caught.value)) == (column == "titel")


def test_a_row_too_short(tmp_path: Path) -> None:
    """A row that lacks the column is refused with its line; a wholly empty line is no row."""
    with pytest.raises(TextError, match="line 4 has 1 columns"):
        table(tmp_path, "a.csv", 'a,b\n1,"x\ny"\n2\n', column=("b",))
    assert table(tmp_path, "b.csv", "a,b\n\n1,x\n\n2,y\n", column=("b",)).documents == ("x", "y")


def test_empty_documents_are_left_out_and_counted(tmp_path: Path) -> None:
    """Rows with nothing in the column are left out, and their number is said."""
    corpus = table(tmp_path, "a.csv", "a,b\n1,\n2,x\n3, \n4,y\n", column=("b",))
    assert corpus.documents == ("x", "y")
    assert "Left out as blank: 2 of 4 documents." in corpus.notes


def test_semicolons_and_line_ends_of_windows(tmp_path: Path) -> None:
    """A table with semicolons is noticed; CRLF between rows leaves nothing in the documents; CRLF within becomes LF."""
    corpus = table(tmp_path, "a.csv", '\ufeffa;b\r\n1;"x\r\ny"\r\n2;z\r\n', column=("b",))
    assert corpus.documents == ("x\ny", "z")
    assert any("semicolons" in note for note in corpus.notes)


def test_tsv_with_and_without_quotes(tmp_path: Path) -> None:
    """Quoted cells may hold tabs; where quotation marks are just characters, none swallows the lines after it."""
    assert table(tmp_path, "a.tsv", 'a\tb\n1\t"x\ty"\n2\tz\n', column=("b",)).documents == ("x\ty", "z")
    corpus = table(tmp_path, "b.tsv", 'a\tb\n1\t"Well\n2\tsaid" he\n3\t"all"\n', column=("b",))
    assert corpus.documents == ('"Well', 'said" he', "all")


def test_long_cells(tmp_path: Path) -> None:
    """A cell may be longer than the 131,072 characters that Python's reader takes unasked."""
    import csv

    before = csv.field_size_limit(1000)
    try:
        assert len(table(tmp_path, "a.csv", "a\n" + "xy" * 100_000 + "\nb\n").documents[0]) == 200_000
        assert csv.field_size_limit() == 1000, "the caller's own limit is left as it was"
    finally:
        csv.field_size_limit(before)


def test_rows_from_and_to(tmp_path: Path) -> None:
    """from_line and to_line count the rows after the header."""
    text = "a\n" + "".join(f"row {i}\n" for i in range(1, 10))
    assert table(tmp_path, "a.csv", text, from_line=3, to_line=4).documents == ("row 3", "row 4")
    with pytest.raises(TextError, match="9 rows"):
        table(tmp_path, "a.csv", text, from_line=10)


def test_jsonl(tmp_path: Path) -> None:
    """Objects give their keys as columns, lists their places, strings themselves; numbers stay as written, null is empty."""
    objects = '{"t": "one", "n": 1}\n\n{"t": "two\\nlines"}\n{"n": 3, "t": null}\n'
    assert table(tmp_path, "a.jsonl", objects, column=("t",)).documents == ("one", "two\nlines")
    assert table(tmp_path, "a.jsonl", objects, column=("n", "t")).documents == ("1 one", "two\nlines", "3")
    assert table(tmp_path, "b.jsonl", '["a", "b"]\n["c", "d"]\n', column=("2",)).documents == ("b", "d")
    assert table(tmp_path, "c.ndjson", '"one"\n"two"\n').documents == ("one", "two")
    assert table(tmp_path, "d.jsonl", '{"text": "one", "x": 1}\n{"text": "two", "x": 1}\n').documents == ("one", "two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"t": "a"}\nnot json\n', "line 2 is not JSON"),
        ('{"t": "a"}\n["b"]\n', "line 2 is a list, the first a dict"),
        ("3\n4\n", "line 1 is a int"),
        ("\n\n", "no rows"),
        ("[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_jsonl_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    """What is not one JSON value of one kind a line is refused with its line."""
    with pytest.raises(TextError, match=message):
        table(tmp_path, "a.jsonl", text)


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    """JSON can write half a character; it becomes U+FFFD, which is said."""
    corpus = table(tmp_path, "a.jsonl", '{"t": "a\\ud83d"}\n{"t": "b\\ud83d\\ude00"}\n')
    assert corpus.documents == ("a\ufffd", "b\U0001f600")
    assert any("U+FFFD" in note for note in corpus.notes)


def test_a_table_by_another_name(tmp_path: Path) -> None:
    """Where a column is asked for, a file of any suffix is a table, of the kind that its first line shows."""
    assert table(tmp_path, "a.txt", CSV, column=("title",)).documents == ("Red, blue", "Green")
    assert table(tmp_path, "b.dat", "a\tb, c\n1\tx\n2\ty\n", column=("b, c",)).documents == ("x", "y")
    assert table(tmp_path, "c.txt", '{"t": "x"}\n{"t": "y"}\n', column=("t",)).documents == ("x", "y")


def test_tables_as_one_stream(tmp_path: Path) -> None:
    """With documents="stream" the rows are lines of one stream."""
    corpus = table(tmp_path, "a.csv", CSV, column=("title",), documents="stream")
    assert corpus.documents == ("Red, blue\nGreen",)
    assert not corpus.is_documents


def test_a_table_beside_a_plain_text(tmp_path: Path) -> None:
    """A table and a plain text together want a word on what the plain text is."""
    (tmp_path / "a.csv").write_text("word\none\ntwo\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("three\nfour\n", encoding="utf-8")
    with pytest.raises(TextError, match="was given with a table") as caught:
        read(tmp_path)
    assert "--documents line" in str(caught.value)
    assert read(tmp_path, documents="line").documents == ("one", "two", "three", "four")
    assert read(tmp_path, documents="stream").documents == ("one\ntwo\nthree\nfour\n",)
