"""The intake matrix: whatever text is met, it is read right, or refused with a message that names it and says what to do."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escriba.errors import TextDecodingError, TextError
from escriba.text import files
from escriba.text.corpus import Corpus, read, read_beside
from escriba.text.known import KNOWN
from escriba.text.tokenizer import CharTokenizer

SPANISH = "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo.\n«¿Qué más?», soñó.\n"
CURLY = "“El corazón de la niña”, dijo el señor — y sonrió… Después, “nada más”, contestó ella, y calló.\n"
SIMPLIFIED = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。\n"
TRADITIONAL = "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。\n"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308"


@dataclass
class Row:
    """What is in a file, and what becomes of it: the text that is read, or what the message says."""

    data: bytes
    text: str | None = None
    says: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    name: str = "a.txt"
    notes: str = ""


ROWS = {
    "UTF-8": Row(SPANISH.encode(), SPANISH),
    "UTF-8 with mark": Row(b"\xef\xbb\xbf" + SPANISH.encode(), SPANISH),
    "UTF-16-LE with mark": Row(b"\xff\xfe" + SPANISH.encode("utf-16-le"), SPANISH, notes="byte-order mark of utf-16-le"),
    "UTF-16-BE with mark": Row(b"\xfe\xff" + SPANISH.encode("utf-16-be"), SPANISH, notes="byte-order mark of utf-16-be"),
    "UTF-16-LE without mark": Row("ano nuevo\n".encode("utf-16-le"), says=("zero bytes", "--encoding utf-16-le")),
    "UTF-16-BE without mark": Row("ano nuevo\n".encode("utf-16-be"), says=("zero bytes", "--encoding utf-16-be")),
    "UTF-16-LE without mark, said": Row(SPANISH.encode("utf-16-le"), SPANISH, settings={"encoding": "utf-16-le"}),
    "UTF-16 said, without mark": Row(SPANISH.encode("utf-16-le"), SPANISH, settings={"encoding": "utf-16"}),
    "UTF-16 said, with mark": Row(b"\xfe\xff" + SPANISH.encode("utf-16-be"), SPANISH, settings={"encoding": "utf-16"}),
    "UTF-16, half a character": Row(SPANISH.encode("utf-16-le")[:-1], says=("offset",), settings={"encoding": "utf-16-le"}),
    "Latin-1": Row(SPANISH.encode("latin-1"), says=("0xed at offset 88, in line 1", "--encoding latin-1")),
    "cp1252": Row(CURLY.encode("cp1252"), says=("0x93 at offset 0, in line 1", "--encoding cp1252")),
    "cp1252, said": Row(CURLY.encode("cp1252"), CURLY, settings={"encoding": "cp1252"}),
    "GB18030": Row(SIMPLIFIED.encode("gb18030"), says=("offset 0, in line 1", "--encoding gb18030")),
    "GB18030, said": Row(SIMPLIFIED.encode("gb18030") * 40_000, SIMPLIFIED * 40_000, settings={"encoding": "gb18030"}),
    "Big5": Row(TRADITIONAL.encode("big5"), says=("in line 1", "--encoding big5")),
    "Big5, said": Row(TRADITIONAL.encode("big5") * 40_000, TRADITIONAL * 40_000, settings={"encoding": "big5"}),
    "an invalid byte": Row(b"one\ntwo\r\nthr\xffee\n", says=("0xff at offset 12, in line 3",)),
    "an invalid byte far on": Row(b"one\r\n" * 500_000 + b"\xff", says=("0xff at offset 2,500,000, in line 500,001",)),
    "a character across two reads": Row(b"a" * 1_048_575 + "ñ".encode() + b"b", "a" * 1_048_575 + "ñb"),
    "cut within a character": Row(b"one\xe4\xba", says=("0xe4 at offset 3",)),
    "NUL": Row(b"one\0two", says=("zero bytes (the first after 3 characters)", "is it a text at all?")),
    "NUL far on": Row(b"ab\n" * 400_000 + b"\0", says=("the first after 1,200,000 characters",)),
    "CR only": Row(b"one\rtwo\rthree", "one\ntwo\nthree", notes="2 line ends of the kind CR became LF"),
    "CRLF": Row(b"one\r\ntwo\r\n", "one\ntwo\n", notes="2 line ends of the kind CRLF became LF"),
    "CRLF across two reads": Row(b"a" * 1_048_575 + b"\r\nb", "a" * 1_048_575 + "\nb", notes="1 line ends of the kind CRLF"),
    "CRLF, kept": Row(b"one\r\ntwo\r", "one\r\ntwo\r", settings={"newlines": "keep"}),
    "U+0085, U+2028, U+000B": Row("a\u0085b\u2028c\u2029d\x0be\x0cf\n".encode(), "a\u0085b\u2028c\u2029d\x0be\x0cf\n"),
    "U+0085 and U+2028 end no line": Row("a\u0085b\u2028c\nd\n".encode(), "d\n", settings={"from_line": 2}),
    "U+0085 and U+2028 in documents": Row("a\u0085b\u2028c\nd\n".encode(), "a\u0085b\u2028c\nd", settings={"documents": "line"}),
    "combining marks": Row("an\u0303o e\u0323\u0301\n".encode(), "a\u00f1o \u1eb9\u0301\n", notes="9 characters became 7"),
    "combining marks, kept": Row("an\u0303o\n".encode(), "an\u0303o\n", settings={"normalization": "none"}),
    "emoji with joiners": Row(FAMILY.encode(), FAMILY),
    "halves of surrogate pairs (CESU-8)": Row(b"one\n\xed\xa0\xbd\xed\xb8\x80\n", says=("0xed at offset 4, in line 2", "CESU-8", "save")),
    "one distinct character": Row(b"aaaa", says=("the only character is 'a'", "at least two")),
    "empty": Row(b"", says=("it is empty",)),
    "blank": Row(b" \n\t\n", says=("nothing but blanks",)),
    "20,000 distinct characters": Row("".join(map(chr, range(0x4E00, 0x4E00 + 20_000))).encode(), "".join(map(chr, range(0x4E00, 0x9C20)))),
    "gzip": Row(gzip.compress(SPANISH.encode()), SPANISH, name="a.txt.gz"),
    "gzip, two members": Row(gzip.compress(b"one\n") + gzip.compress(b"two\n"), "one\ntwo\n", name="a.txt.gz"),
    "bzip2, not named so": Row(bz2.compress(SPANISH.encode()), SPANISH),
    "xz": Row(lzma.compress(SPANISH.encode()), SPANISH, name="a.txt.xz"),
    "gzip, damaged": Row(gzip.compress(SPANISH.encode())[:-9], says=("damaged", "fetch or pack it anew")),
    "a zip archive": Row(b"PK\x03\x04....", says=("a zip archive or an office document", "plain text")),
    "a column of a plain text": Row(b"one\ntwo\n", says=("no .csv", "--column"), settings={"column": ("2",)}),
    "a table with CR": Row(b"w;n\rone;1\rtwo;2\r", "one\ntwo", settings={"column": ("w",)}, name="a.csv"),
    "JSON with CR": Row(b'{"text": "one"}\r{"text": "t\\u2028o"}\r', "one\nt\u2028o", name="a.jsonl"),
}


def write(folder: Path, name: str, data: bytes) -> Path:
    """A file with these bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_matrix(tmp_path: Path, row: Row) -> None:
    """What is met is read right, its notes say what was done; or the message names the file, what was met, what to do."""
    path = write(tmp_path, row.name, row.data)
    if row.text is not None:
        corpus = read(path, **row.settings)
        assert corpus.text == row.text
        assert row.notes in " ".join(corpus.notes)
        tokenizer = CharTokenizer.fit(corpus)
        assert tokenizer.decode(corpus.encode(tokenizer).ids).replace("\n", "") == row.text.replace("\n", "")
    else:
        with pytest.raises(TextError) as caught:
            read(path, **row.settings)
        assert all(words in str(caught.value) for words in (row.name, *row.says)), str(caught.value)


def test_many_characters_have_ids_of_two_bytes() -> None:
    """20,000 distinct characters are 20,001 symbols, and their ids take two bytes each."""
    corpus = read(text="".join(map(chr, range(0x4E00, 0x4E00 + 20_000))))
    tokenizer = CharTokenizer.fit(corpus)
    encoded = corpus.encode(tokenizer)
    assert (tokenizer.vocab_size, str(encoded.ids.dtype)) == (20_001, "uint16")
    assert encoded.ids.tolist() == list(range(1, 20_001))


def test_lone_surrogates_in_strings() -> None:
    """Half a pair in a Python string is no character: it becomes U+FFFD, which is said once, in texts and in documents."""
    for corpus in (read(text="a\ud83db\udc00"), read(documents=["a\ud83d", "b\udc00"])):
        assert corpus.text.replace("\n", "") == "a\ufffdb\ufffd"
        (note,) = corpus.notes
        assert note.startswith("2 halves of surrogate pairs")


@pytest.mark.slow
def test_one_line_of_100_mb(tmp_path: Path) -> None:
    """A single line of 100 MB is read in pieces, counted and encoded; words at the pieces' ends stay whole."""
    path = write(tmp_path, "long.txt", "la niña y el año ".encode() * 5_263_158)
    corpus = read(path)
    assert path.stat().st_size >= 100_000_000
    assert corpus.characters == 17 * 5_263_158
    assert max(map(len, corpus.pieces)) <= 1_000_000
    tokenizer = CharTokenizer.fit(corpus)
    assert tokenizer.frequencies[tokenizer.symbols.index("ñ")] == 2 * 5_263_158
    ids = corpus.encode(tokenizer).ids
    assert np.array_equal(ids[:17], ids[-17:])


class Zeros(io.RawIOBase):
    """So many zeros, without holding them."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer with the character 0."""
        count = min(len(buffer), self.left)
        buffer[:count] = b"0" * count
        self.left -= count
        return count


@pytest.mark.slow
@pytest.mark.parametrize(("opener", "name"), [(gzip.open, "a.gz"), (bz2.open, "a.bz2"), (lzma.open, "a.xz")])
def test_bombs(tmp_path: Path, opener: Callable[..., Any], name: str) -> None:
    """What unpacks to over 100 MB and over 200 times its size is refused long before its end, with both sizes."""
    path = tmp_path / name
    with opener(path, "wb") as packed:
        shutil.copyfileobj(Zeros(400_000_000), packed, 1 << 20)
    with pytest.raises(TextError, match="texts do not shrink so far") as caught:
        read(path)
    met = str(caught.value)
    assert f"{name} has {path.stat().st_size:,} bytes packed, but more than 10" in met
    assert "unpack it yourself" in met


@pytest.mark.slow
def test_a_text_that_merely_shrinks_well_is_read(tmp_path: Path) -> None:
    """Under 100 MB nothing is refused however far it shrank."""
    path = write(tmp_path, "a.gz", gzip.compress(b"ab\n" * 10_000_000))
    assert path.stat().st_size * 200 < 30_000_000
    assert read(path, documents="stream").characters == 30_000_000


posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@posix
@pytest.mark.parametrize("data", [SPANISH.encode() * 20_000, gzip.compress(SPANISH.encode() * 20_000)], ids=["plain", "packed"])
def test_a_named_pipe(tmp_path: Path, data: bytes) -> None:
    """A named pipe is read to its end, once a writer has come."""
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    try:
        assert read(pipe).text == SPANISH * 20_000
    finally:
        writer.join()


@posix
def test_a_named_pipe_without_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe into which nobody writes is waited for, but not for ever: then the message says what it waited for."""
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    monkeypatch.setattr("escriba.text.opening.PIPE_WAIT_S", 0.1)
    with pytest.raises(TextError, match=r"nobody wrote into the named pipe .*pipe\.txt for 0\.1 seconds") as caught:
        read(pipe)
    assert "start that program first" in str(caught.value)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_device() -> None:
    """A device never ends, so it is refused."""
    with pytest.raises(TextError, match="/dev/zero is a device"):
        read("/dev/zero")


@posix
def test_the_keyboard_as_standard_input() -> None:
    """With - and nothing piped in, the message says so instead of waiting for a person to type a book."""
    import pty

    master, slave = pty.openpty()
    try:
        program = "from escriba.text.corpus import read\nread('-')"
        done = subprocess.run(
            [sys.executable, "-c", program], stdin=slave, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
        )
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 1
    assert "standard input is the keyboard" in done.stderr
    assert "escriba corpus - < book.txt" in done.stderr


def test_a_folder(tmp_path: Path) -> None:
    """A folder is all its texts, each in its own form; one that cannot be read is named."""
    write(tmp_path, "a.txt", SPANISH.encode())
    write(tmp_path, "b.txt.gz", gzip.compress(b"\xff\xfe" + SPANISH.encode("utf-16-le")))
    write(tmp_path, "c.png", b"\x89PNG")
    assert read(tmp_path).text == SPANISH * 2
    write(tmp_path, "d.md", b"a\xff")
    with pytest.raises(TextDecodingError, match=r"d\.md: the byte 0xff at offset 1"):
        read(tmp_path)


def test_no_permission(tmp_path: Path) -> None:
    """A file that may not be read is named, with the system's reason."""
    path = write(tmp_path, "a.txt", SPANISH.encode())
    path.chmod(0)
    with contextlib.suppress(PermissionError):
        path.read_bytes()
        pytest.skip("this user may read everything")
    with pytest.raises(TextError, match=r"a\.txt cannot be read: "):
        read(path)


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    """A file that is found and then gone is named; so is a folder in a file's place."""
    gone = files.TextFile(tmp_path / "gone.txt", "utf-8")
    with pytest.raises(TextError, match=r"gone\.txt cannot be read: "):
        list(gone.texts())
    with pytest.raises(TextError, match=r"is a device, a socket or the like|cannot be read"):
        list(files.TextFile(tmp_path, "utf-8").texts())


def test_a_file_that_grows(tmp_path: Path) -> None:
    """Of a file that grows while it is read what was there at the beginning is taken, and that is said."""
    path = write(tmp_path, "log.txt", b"one\n" * 1_000_000)
    file = files.TextFile(path, "utf-8")
    texts = file.texts()
    begun = next(texts)
    with path.open("ab") as more:
        more.write(b"two\n" * 1000)
    assert begun + "".join(texts) == "one\n" * 1_000_000
    assert file.notes == [f"{path.as_posix()} grew while it was read: its first 4,000,000 bytes were taken."]


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    """Of a file that becomes shorter while it is read what is left is taken, and that is said."""
    path = write(tmp_path, "log.txt", b"one\n" * 1_000_000)
    file = files.TextFile(path, "utf-8")
    texts = file.texts()
    begun = next(texts)
    with path.open("r+b") as same:
        same.truncate(2_000_000)
    assert begun + "".join(texts) == "one\n" * 500_000
    assert file.notes == [f"{path.as_posix()} became shorter while it was read: 2,000,000 of 4,000,000 bytes were there."]


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="this system has no /proc")
def test_a_file_without_a_size() -> None:
    """The system's own files, which claim to be empty, are read to their end."""
    assert "Threads" in read("/proc/self/status").text


LINES = "".join(f"line {i} of the text\n" for i in range(3000))


def beside(folder: Path, main: Corpus, **contents: str) -> Corpus:
    """What these files are beside a text that was read."""
    paths = [write(folder, name.replace("_", "."), text.encode()) for name, text in contents.items()]
    return read_beside(paths, main)


def test_beside_a_stream(tmp_path: Path) -> None:
    """Beside a stream everything is one: lists, tables; lines that were chosen there are not chosen here."""
    main = read(text=LINES, from_line=2000, documents="stream")
    assert not main.is_documents
    names = "".join(f"Name{i}\n" for i in range(200))
    assert beside(tmp_path, main, val_txt=names).documents == (names,)
    assert beside(tmp_path, main, val_csv="text,n\none,1\ntwo,2\n").documents == ("one\ntwo",)


def test_beside_documents(tmp_path: Path) -> None:
    """Beside a table's rows a plain text is lines, without columns; a single one stays a document; a table has the same column."""
    main = read(write(tmp_path, "main.csv", b"n,t\n" + b"".join(b"%d,text %d\n" % (i, i) for i in range(500))), column=("t",))
    plain = beside(tmp_path, main, val_txt="one, two\nthree\n")
    assert (plain.documents, plain.is_documents) == (("one, two", "three"), True)
    single = beside(tmp_path, main, val_txt="one\n")
    assert (single.documents, single.is_documents) == (("one",), True)
    assert beside(tmp_path, main, val_csv="n,t\n1,five\n2,six\n").documents == ("five", "six")
    paragraphs = read(text="one\none\n\ntwo\n\n" * 90, documents="paragraph")
    assert beside(tmp_path, paragraphs, val_txt="a\nb\n\nc").documents == ("a\nb", "c")


def test_the_encoding_holds_beside(tmp_path: Path) -> None:
    """The encoding of the text is that of what stands beside it."""
    main = read(write(tmp_path, "main.txt", LINES.encode() + "año".encode("cp1252")), encoding="cp1252")
    assert read_beside([write(tmp_path, "val.txt", "niño".encode("cp1252"))], main).text == "niño"


@pytest.mark.parametrize("documents", [False, True])
def test_parts_of_ones_own(documents: bool) -> None:
    """One's own text alone is held out; with two nothing is cut, and of the one to choose by the first 50,000 characters are taken."""
    settings: dict[str, Any] = {"documents": "line" if documents else "stream"}
    corpus, test = read(text=LINES, **settings), read(text="abc\nde\n" * 100, **settings)
    val = read(text=LINES * 3, **settings)
    alone = corpus.parts(held_out=test)
    assert alone.held_out is test
    assert alone.choosing is not None
    assert alone.train.characters + alone.choosing.characters == corpus.characters
    assert alone.whole_train.characters == corpus.characters
    both = corpus.parts(held_out=test, choosing=val)
    assert both.held_out is test
    assert both.train.text == both.whole_train.text == corpus.text
    assert both.choosing is not None
    assert both.choosing_is_own
    assert 49_900 < both.choosing.characters <= 50_000
    assert val.text.startswith(both.choosing.text)
    assert f"{val.characters:,} characters, only the first {both.choosing.characters:,} are used" in both.notes[0]
    assert len(both.notes) == 1
    chosen = corpus.parts(choosing=test)
    assert chosen.choosing is test
    assert chosen.held_out is not None
    assert chosen.train.characters + chosen.held_out.characters == corpus.characters


def test_a_very_long_document_to_choose_by_is_shortened() -> None:
    """Of a single document that is longer than the choosing part may be, the beginning is taken, and the note says how much."""
    corpus = read(text=LINES, documents="line")
    long = read(documents=["a b " * 20_000, "short"])
    parts = corpus.parts(choosing=long)
    assert parts.choosing is not None
    assert parts.choosing.documents == ("a b " * 12_500,)
    assert parts.notes[0] == "Of the text to choose by, 80,005 characters, only the first 50,000 are used."


@pytest.fixture
def known_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Puts a known text of the test's own in the table and, as if it had been fetched, in the cache."""
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "cache"))

    def put(name: str, data: bytes, suffix: str = ".txt", **reading: Any) -> str:
        facts = {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "suffix": suffix, "reading": reading}
        monkeypatch.setitem(KNOWN, name, replace(KNOWN["shakespeare"], **facts))
        (tmp_path / "cache" / "texts").mkdir(parents=True, exist_ok=True)
        write(tmp_path / "cache" / "texts", name + suffix, data)
        return f"text:{name}"

    return put


def test_known_texts_beside(tmp_path: Path, known_text: Callable[..., str]) -> None:
    """A known text beside another is read as is known of it, each of several by its own; a file among them as the text was."""
    main = read(text=LINES)
    file = write(tmp_path, "more.txt", "el año\n".encode())
    book = b"*** START OF THE PROJECT GUTENBERG EBOOK A ***\nel ni\xf1o\n*** END OF THE PROJECT GUTENBERG EBOOK A ***\n"
    sources = [
        known_text("list", b"Ada\nEva\n", documents="line"),
        file,
        known_text("book", book, encoding="latin-1", strip_gutenberg=True),
        known_text("table", b"1,one\n2,two\n", ".csv", column=("2",), header=False),
        file,
    ]
    beside_it = read_beside(sources, main)
    assert beside_it.text == "Ada\nEva\nel año\nel niño\none\ntwo"
    assert [source.encoding for source in beside_it.sources] == ["utf-8", "utf-8", "latin-1", "utf-8"]
    assert not beside_it.settings.strip_gutenberg
    lines = read_beside(sources, read(text=LINES, documents="line"))
    assert lines.documents == ("Ada", "Eva", "el año", "el niño", "one", "two")


def test_a_setting_of_the_corpus_goes_before_what_is_known(known_text: Callable[..., str]) -> None:
    """What is known of a text fills only what the corpus was read by as a default."""
    main = read(text=LINES, encoding="cp1252")
    book = known_text("book", b"el ni\xf1o \x93s\xed\x94", encoding="latin-1")
    assert read_beside([book], main).text == "el niño “sí”"
