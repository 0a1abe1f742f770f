"""Reading: files, folders, patterns, compression, encodings, tidying, documents, and the parts."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escriba.errors import SettingsError, TextDecodingError, TextError
from escriba.settings import TextSettings
from escriba.text.corpus import Corpus, read
from escriba.text.tokenizer import CharTokenizer, WordTokenizer

NAMES = [f"{a}{b}{c}o" for a in "BCDFG" for b in "aeiou" for c in "lmnrs"]


def write(folder: Path, name: str, text: str | bytes) -> Path:
    """A file with this text, in UTF-8 unless it is bytes."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def test_one_file(tmp_path: Path) -> None:
    """A file is one stream, with its name, encoding and size; nothing is remarked where nothing was done."""
    corpus = read(write(tmp_path, "a.txt", "año\n"))
    assert (corpus.documents, corpus.is_documents, corpus.notes) == (("año\n",), False, ())
    (source,) = corpus.sources
    assert (source.characters, source.encoding, source.bytes) == (4, "utf-8", 5)
    assert source.name == (tmp_path / "a.txt").as_posix()
    assert repr(corpus).startswith("<Corpus: 4 characters, one stream, from ")


def test_several_files_are_one_stream(tmp_path: Path) -> None:
    """Files follow each other in the order given, each on lines of its own, none twice."""
    b, a = write(tmp_path, "b.txt", "two"), write(tmp_path, "a.txt", "one\n")
    assert read(b, str(a), b).text == "two\none\n"


def test_folders_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder means all its texts, within folders too, in an order of names; a pattern what fits it."""
    contents: dict[str, str | bytes] = {
        "b.txt": "B",
        "a/z.md": "A",
        "a/k.txt.gz": gzip.compress(b"K"),
        "c.py": "C",
        ".hidden.txt": "H",
        "a/.d/h.txt": "H",
    }
    for name, text in contents.items():
        write(tmp_path, name, text)
    assert read(tmp_path).text == "K\nA\nB"
    monkeypatch.chdir(tmp_path)
    assert read("**/*.[mt]*").text == "K\nA\nB"
    assert read("c.p?", "b.txt").text == "C\nB"
    with pytest.raises(TextError, match=r"no file fits '\*.doc'"):
        read("*.doc")
    (tmp_path / "none").mkdir()
    with pytest.raises(TextError, match="holds no text"):
        read("none")


def test_a_name_with_signs_of_patterns(tmp_path: Path) -> None:
    """A file that exists by its very name is read, whatever signs the name holds."""
    assert read(write(tmp_path, "a[1].txt", "one")).text == "one"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A near name in the same folder is offered; a text or nothing in place of a name is recognized."""
    write(tmp_path, "quijote.txt", "x")
    with pytest.raises(TextError, match="there is no file") as caught:
        read(tmp_path / "quixote.txt")
    assert f"did you mean '{(tmp_path / 'quijote.txt').as_posix()}'?" in str(caught.value)
    with pytest.raises(TextError, match="there is no folder"):
        read(tmp_path / "nowhere" / "quijote.txt")
    with pytest.raises(TextError, match="looks like a text"):
        read("Two lines\nof text")
    with pytest.raises(TextError, match="empty"):
        read("")
    with pytest.raises(TextError, match=r"cannot be read|there is no file"):
        read("long" * 200)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.bz2", "a.txt.xz", "a"])
def test_compressed_files(tmp_path: Path, pack: Callable[[bytes], bytes], name: str) -> None:
    """What gzip, bzip2 or xz packed is unpacked whatever its name; damage is an error."""
    packed = pack("año".encode() * 50)
    assert read(write(tmp_path, name, packed)).text == "año" * 50
    with pytest.raises(TextError, match="damaged"):
        read(write(tmp_path, name, packed[:-12]))


def test_a_packed_table_is_a_table(tmp_path: Path) -> None:
    """The suffix before that of the compression says what it is."""
    assert read(write(tmp_path, "a.csv.gz", gzip.compress(b"w\none\ntwo\n"))).documents == ("one", "two")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name - is standard input, whose bytes are read as a file's are."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("a\u00f1o".encode("cp1252")), encoding="ascii"))
    corpus = read("-", encoding="cp1252")
    assert corpus.text == "año"
    assert corpus.sources[0].name == "standard input"
    monkeypatch.setattr(sys, "stdin", io.StringIO("año"))
    assert read("-").text == "año"


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("said", [True, False])
def test_byte_order_marks(tmp_path: Path, codec: str, said: bool) -> None:
    """A byte-order mark tells the encoding, said or not, and is no part of the text."""
    mark = "\ufeff" if codec.endswith("e") else ""
    corpus = read(write(tmp_path, "a.txt", (mark + "año\n").encode(codec)), encoding=codec if said else "utf-8")
    assert corpus.text == "año\n"


def test_a_mark_against_what_was_said(tmp_path: Path) -> None:
    """A mark of UTF-16 found where UTF-8 was expected is noted; so is one of UTF-8 in a text said to be in Latin-1."""
    assert "utf-16-le" in read(write(tmp_path, "a.txt", "\ufeffaño".encode("utf-16-le"))).notes[0]
    corpus = read(write(tmp_path, "a.txt", "\ufeffaño".encode()), encoding="latin-1")
    assert corpus.text.endswith("aÃ±o")
    assert "byte-order mark of utf-8, but was read as latin-1" in corpus.notes[0]


def test_any_encoding_of_python(tmp_path: Path) -> None:
    """Any codec of texts serves; what is none is refused with a near name."""
    path = write(tmp_path, "a.txt", "Ж я".encode("koi8_r"))
    assert read(path, encoding="KOI8-R").text == "Ж я"
    with pytest.raises(TextError, match="there is no encoding 'latin-l'") as caught:
        read(path, encoding="latin-l")
    assert "did you mean 'latin-1'?" in str(caught.value)
    for wrong in ("rot13", "base64", "a\0b"):
        with pytest.raises(TextError, match="encoding"):
            read(path, encoding=wrong)


@pytest.mark.parametrize(
    ("data", "offset", "line"),
    [(b"ab\ncd\r\ne\xed\n", 8, 3), (b"\xef\xbb\xbfab\n\xed", 6, 2), (b"ab\xc3", 2, 1), (b"a\rb\xff", 3, 2)],
)
def test_bytes_that_do_not_decode(tmp_path: Path, data: bytes, offset: int, line: int) -> None:
    """The error names the file, the byte, its offset in the file and the line."""
    with pytest.raises(TextDecodingError, match=f"a.txt: the byte 0x{data[offset]:02x} at offset {offset}, in line {line},"):
        read(write(tmp_path, "a.txt", data))


@pytest.mark.parametrize(
    ("text", "codec", "guess"),
    [
        ("El corazón de la niña, el jardín y la canción del otoño. " * 5, "latin-1", "latin-1"),
        ("“El corazón de la niña”, el jardín y la canción — del otoño. " * 5, "cp1252", "cp1252"),
        ("Широкая электрификация южных губерний даст мощный толчок. " * 5, "cp1251", "cp1251"),
        ("春眠不觉晓,处处闻啼鸟。夜来风雨声,花落知多少。" * 9, "gb18030", "gb18030"),
    ],
)
def test_the_encoding_is_guessed(tmp_path: Path, text: str, codec: str, guess: str) -> None:
    """The hint names the encoding that fits, in which the text can then be read."""
    path = write(tmp_path, "a.txt", text.encode(codec))
    with pytest.raises(TextDecodingError) as caught:
        read(path)
    assert f"--encoding {guess} " in str(caught.value)
    assert read(path, encoding=guess).text == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04rest", "office document"),
        (b"%PDF-1.7", "a PDF"),
        (b"ab\0cd", "zero bytes"),
        ("año nuevo".encode("utf-16-le").replace(b"\xf1", b"n"), "--encoding utf-16-le"),
        ("ano nuevo".encode("utf-16-be"), "--encoding utf-16-be"),
    ],
)
def test_what_is_no_text(tmp_path: Path, data: bytes, message: str) -> None:
    """Files of other kinds are refused, and UTF-16 without a mark is recognized."""
    with pytest.raises(TextError) as caught:
        read(write(tmp_path, "a.txt", data))
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", " \n\t ", "aaaa", "\n\n"])
def test_texts_of_no_use(tmp_path: Path, text: str) -> None:
    """An empty text, a blank one and one of a single distinct character are refused, however they come."""
    ways: tuple[dict[str, Any], ...] = ({"text": text}, {"documents": [text, text]})
    for how in ways:
        with pytest.raises(TextError):
            read(**how)
    with pytest.raises(TextError, match=r"a\.txt"):
        read(write(tmp_path, "a.txt", text))


def test_one_way_to_give_a_text() -> None:
    """Nothing, or two ways at once, or what is no string, is refused."""
    wrongs: list[dict[str, Any]] = [{}, {"text": "ab", "documents": ["ab"]}, {"text": b"ab"}, {"documents": ["ab", 3]}, {"documents": []}]
    for wrong in wrongs:
        with pytest.raises(TextError):
            read(**wrong)
    with pytest.raises(TextError):
        read(3)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="no setting 'encodng'"):
        read(text="ab", encodng="utf-8")
    with pytest.raises(SettingsError, match="documents is 'lines'"):
        read(text="ab", documents="lines")
    with pytest.raises(SettingsError, match="neither lines nor columns"):
        read(documents=["ab", "c"], from_line=2)


def test_settings_and_overrides() -> None:
    """Single settings go before those given together."""
    settings = TextSettings(newlines="keep", val_fraction=0.2)
    corpus = read(text="a\r\nb", settings=settings, val_fraction=0.0)
    assert corpus.text == "a\r\nb"
    assert (corpus.settings.newlines, corpus.settings.val_fraction) == ("keep", 0.0)


def test_line_ends() -> None:
    """CRLF and CR become LF, which is counted; with newlines="keep" they stay; other separators always stay."""
    corpus = read(text="a\r\nb\rc\nd\x0b\u2028e")
    assert corpus.text == "a\nb\nc\nd\x0b\u2028e"
    assert corpus.notes == ("2 line ends of the kind CRLF and CR became LF.",)
    assert read(text="a\r\nb", newlines="keep").text == "a\r\nb"


def test_unicode_normalization() -> None:
    """NFC is applied and its effect is said; compatibility characters are never changed."""
    corpus = read(text="e\u0301te\u0301 \ufb01 \u00bd")
    assert corpus.text == "été \ufb01 \u00bd"
    assert corpus.notes == ("The Unicode normalization NFC changed the text: 9 characters became 7.",)
    assert read(text="e\u0301a", normalization="none").text == "e\u0301a"


def test_lines_from_and_to(tmp_path: Path) -> None:
    """Both lines are included and counted from 1 as an editor counts them; a first line beyond the end is refused."""
    path = write(tmp_path, "a.txt", "one\r\ntwo\rthree\nfour\u2028still four\n")
    assert read(path, from_line=2, to_line=3).text == "two\nthree\n"
    assert read(path, from_line=4).text == "four\u2028still four\n"
    assert read(path, to_line=1).text == "one\n"
    assert read(path, to_line=99).text == read(path).text
    with pytest.raises(TextError, match="has 4 lines"):
        read(path, from_line=5)


BODY = "\nProduced by someone\n\nA book.\n\n"
LICENCE = "*** END OF THE PROJECT GUTENBERG EBOOK A ***\nlegal\n"


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ("Title: A\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\n", LICENCE),
        ("Title: A\n***START OF THIS PROJECT GUTENBERG EBOOK A***\n", "End of Project Gutenberg's A, by B\n\n" + LICENCE),
        ("Title: A\n*** START OF THIS PROJECT GUTENBERG EBOOK A LONG\nTITLE ***\n", "End of the Project Gutenberg EBook of A\n" + LICENCE),
        ("*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n", "End of The Project Gutenberg Etext of A\n"),
        ("", LICENCE),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_project_gutenberg(head: str, tail: str, end: str) -> None:
    """A header and licence are named in any case, and left out when asked."""
    whole = (head + BODY + tail).replace("\n", end)
    corpus = read(text=whole)
    assert corpus.text == head + BODY + tail
    assert any("Project Gutenberg" in note and "--strip-gutenberg" in note for note in corpus.notes)
    assert read(text=whole, strip_gutenberg=True).text == BODY
    assert read(text=whole, strip_gutenberg=True, newlines="keep").text == BODY.replace("\n", end)


def test_a_book_that_speaks_of_project_gutenberg() -> None:
    """A mention within a line is no mark; that nothing was found to leave out is said."""
    text = "He said: *** START OF it.\nThe End of Project Gutenberg was near.\n"
    assert read(text=text).notes == ()
    corpus = read(text=text, strip_gutenberg=True)
    assert corpus.text == text
    assert "no header or licence" in corpus.notes[0]


def test_lines_and_paragraphs_as_documents() -> None:
    """Each line or each paragraph is a document when asked; blank lines are left out, indents stay."""
    text = "one\ntwo\n\n \n  three\nfour\n\n"
    assert read(text=text, documents="line").documents == ("one", "two", "  three", "four")
    assert read(text=text, documents="paragraph").documents == ("one\ntwo", "  three\nfour")
    assert read(text=text.replace("\n", "\r\n"), documents="paragraph", newlines="keep").documents == ("one\r\ntwo", "  three\r\nfour")
    assert not read(text=text).is_documents


def test_documents_of_the_callers_own() -> None:
    """Any iterable of strings is documents; a single one is a stream, which is said."""
    corpus = read(documents=(one for one in ["e\u0301", "b\r\nc", " "]))
    assert corpus.documents == ("é", "b\nc")
    assert corpus.is_documents
    assert corpus.text == "é\nb\nc"
    assert "Left out as blank: 1 of 3 documents." in corpus.notes
    single = read(documents=["abc"])
    assert not single.is_documents
    assert single.notes == ("A single document is taken as a stream.",)


def test_a_list_is_noticed() -> None:
    """A hundred short lines and more are a list, which is said; told otherwise, they are a stream."""
    corpus = read(text="\n".join(NAMES) + "\n")
    assert corpus.documents == tuple(NAMES)
    assert corpus.notes == (
        "The text is a list of 125 short lines, so each line is a document; --documents stream takes it as one stream.",
    )
    assert read(text="\n".join(NAMES), documents="stream").documents == ("\n".join(NAMES),)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(NAMES[:99]),
        "\n".join(NAMES[:60]) + "\n\n" + "\n".join(NAMES[60:]),
        "\n".join(f"The {name} rose and went,\nand never came again." for name in NAMES),
        "\n".join(f"{name}: he said so.\n" for name in NAMES),
        "\n".join(f"{name} stands in this line of prose that somebody wrapped at eighty" for name in NAMES),
        "\n".join(f"def {name}():\n    return 1" for name in NAMES),
        "\n".join(f"  {name}" for name in NAMES),
        "\n".join([*NAMES, *["x" * 150] * 5]),
        "\n".join("春眠不觉晓\uff0c\n处处闻啼鸟\u3002" for _ in NAMES),
    ],
    ids=["few", "blank line", "verse", "dialogue", "prose", "code", "indented", "long lines", "Chinese verse"],
)
def test_what_is_no_list(text: str) -> None:
    """Verse, prose, dialogue, code and short lists stay one stream."""
    assert not read(text=text).is_documents


def test_parts_of_a_stream() -> None:
    """The parts are the text, cut at int(0.9 n) and 2 % before it; a fraction of 0 leaves all for training."""
    text = "".join(chr(0x4E00 + i % 9000) for i in range(20_001))
    corpus = read(text=text)
    parts = corpus.parts()
    assert parts.choosing is not None
    assert parts.held_out is not None
    assert [one.characters for one in (parts.train, parts.choosing, parts.held_out)] == [17_640, 360, 2_001]
    assert parts.train.text + parts.choosing.text + parts.held_out.text == text
    assert parts.notes == ()
    whole = read(text=text, val_fraction=0.0).parts()
    assert (whole.train.text, whole.choosing, whole.held_out) == (text, None, None)
    assert read(text="ab" * 3_000_000).parts().choosing.characters == 50_000  # type: ignore[union-attr]


@given(n=st.integers(2, 60_000), fraction=st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5]))
def test_parts_are_the_whole_text(n: int, fraction: float) -> None:
    """Whatever the length, the parts joined are the text, none is shorter than 200, and training has something."""
    corpus = read(text="ab" * n, val_fraction=fraction)
    parts = corpus.parts()
    others = [one for one in (parts.choosing, parts.held_out) if one is not None]
    assert "".join(one.text for one in (parts.train, *others)) == corpus.text
    assert parts.train.text
    assert all(one.characters >= 200 for one in others)
    assert len(parts.notes) + len(others) == (2 if fraction else 0)


def documents_corpus(count: int, size: int = 20, **settings: Any) -> Corpus:
    """A corpus of distinct documents of one size."""
    return read(documents=[f"{i:0{size}d}" for i in range(count)], **settings)


def test_parts_of_documents() -> None:
    """A tenth of the documents is drawn by the seed, and 2 % of the rest; each part keeps the order; none is in two."""
    corpus = documents_corpus(1000)
    parts = corpus.parts(seed=1)
    assert parts.choosing is not None
    assert parts.held_out is not None
    pieces = [parts.train.documents, parts.choosing.documents, parts.held_out.documents]
    assert [len(one) for one in pieces] == [882, 18, 100]
    assert all(list(one) == sorted(one) for one in pieces)
    assert sorted(sum(pieces, ())) == list(corpus.documents)
    assert parts == corpus.parts(seed=1)
    assert parts.held_out != corpus.parts(seed=2).held_out
    assert parts.held_out.documents != corpus.documents[-100:]
    assert sorted(parts.whole_train.documents) == sorted(parts.train.documents + parts.choosing.documents)


def test_the_choosing_part_of_long_documents_is_bounded() -> None:
    """Documents are drawn for the choosing part up to 50,000 characters."""
    parts = documents_corpus(1000, 10_000).parts()
    assert parts.choosing is not None
    assert parts.choosing.characters == 50_000


def test_few_documents_are_all_learnt_from() -> None:
    """Parts too short to measure on are left out, and that is said."""
    parts = documents_corpus(5).parts()
    assert (len(parts.train.documents), parts.choosing, parts.held_out) == (5, None, None)
    assert len(parts.notes) == 2


def test_a_held_out_text_of_the_users_own() -> None:
    """With a text of one's own to hold out, the whole of the other is for training and choosing."""
    other = read(text="xyz")
    for corpus in (read(text="ab" * 10_000), documents_corpus(1000)):
        parts = corpus.parts(held_out=other)
        assert parts.held_out is other
        assert parts.whole_train.characters == corpus.characters
        assert parts.choosing is not None


def test_the_fingerprint_knows_borders() -> None:
    """Equal texts have equal fingerprints; another border between documents is another text."""
    assert read(documents=["ab", "c"]).sha256 == read(documents=["ab", "c"]).sha256
    different = [read(documents=["ab", "c"]), read(documents=["a", "bc"]), read(text="abc"), read(text="ab\nc")]
    assert len({one.sha256 for one in different}) == 4


def test_summary() -> None:
    """The summary says how much there is of what, shows itself, and is plain data for JSON."""
    corpus = read(documents=["aab", "c", "abcd\u00e9", *["ab"] * 500])
    data = corpus.summary().as_dict()
    assert json.loads(json.dumps(data)) == {**data, "sources": ["documents"], "notes": list(data["notes"])}
    assert (data["characters"], data["documents"], data["vocabulary"]) == (1009, 503, 7)
    assert data["lengths"] == {"min": 1, "median": 2.0, "max": 5}
    assert data["rarest"][0] == {"symbol": "d", "count": 1}
    assert data["parts"]["train"] == 1009
    shown = str(corpus.summary())
    assert repr(corpus.summary()) == shown
    assert "503, of 1 to 5 characters" in shown
    assert "too short for a held-out part" in shown


def test_the_summarys_vocabulary_is_the_tokenizers() -> None:
    """With min_count the vocabulary is that of the training part, as in training."""
    text = "ab " * 2000 + "z" * 5 + "ab " * 2000 + "q" * 600
    corpus = read(text=text, min_count=2)
    tokenizer = CharTokenizer.fit(corpus, count_in=corpus.parts().whole_train)
    assert "q" not in tokenizer.symbols
    assert corpus.summary().vocabulary == tokenizer.vocab_size == 5
    assert read(text=text, unit="word").summary().vocabulary == 5
    assert read(text=text, unit="byte").summary().vocabulary == 256


def test_reading_needs_no_torch() -> None:
    """The whole package of texts loads neither torch nor click."""
    import subprocess

    program = "import sys, escriba.text.corpus, escriba.text.batches; print([m for m in ('torch', 'click', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("piece", [70, 1_000_000])
def test_no_border_cuts_a_word(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """With words the parts end after a blank, so that every word of theirs is one of the text; with characters they stay where they are."""
    monkeypatch.setattr("escriba.text.pieces.PIECE", piece)
    text = "extraordinary circumstances,\nnevertheless " * 997
    corpus = read(text=text, unit="word", unknown=False)
    parts = corpus.parts()
    tokenizer = WordTokenizer.fit(corpus, unknown=False)
    for part in (parts.train, parts.choosing, parts.held_out):
        assert part is not None
        assert part.text[-1] in " \n"
        assert tokenizer.decode(part.encode(tokenizer).ids) == part.text
    assert parts.whole_train.text + parts.held_out.text == text  # type: ignore[union-attr]
    characters = read(text=text).parts()
    assert characters.whole_train.characters == int(0.9 * len(text))
    assert 0 < parts.whole_train.characters - characters.whole_train.characters < 20


def test_a_border_within_blanks_or_without_any_stays() -> None:
    """Just after a blank a border is right already; where no blank is near, it stays where it is."""
    for text in ("a " * 5_000, "x" * 5_000 + "y" * 5_000):
        words, characters = read(text=text, unit="word").parts(), read(text=text).parts()
        assert words.train.characters == characters.train.characters
        assert words.whole_train.characters == 9_000


def test_a_choosing_text_of_words_is_cut_after_one() -> None:
    """An over-long text to choose by ends after a whole word, and the note says how many characters that is."""
    corpus = read(text="one three " * 900, unit="word", unknown=False)
    parts = corpus.parts(choosing=read(text="three " * 9_000, unit="word", unknown=False))
    assert parts.choosing is not None
    assert parts.choosing.text == "three " * 8_334
    assert parts.notes[0].endswith("only the first 50,004 are used.")
    assert corpus.parts(choosing=read(text="three " * 8_334, unit="word", unknown=False)).notes == ()


def test_what_looks_wrong_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary shows what was found in reading; a part is looked at for itself; neither its form nor its equality tell of it."""
    corpus = read(text="niÃ±a\n" * 400)
    part = corpus.parts().train
    assert part.summary().suspected_mojibake[0].count == 360
    monkeypatch.setattr("escriba.text.summary.look", None)
    assert corpus.summary().suspected_mojibake[0].count == 400
    assert "niÃ±a" not in repr(corpus)
    assert replace(corpus, found=None) == corpus
