"""A long text in pieces: cut where nothing changes, read, counted and encoded as if it were whole."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escriba.text import pieces as cutting
from escriba.text.corpus import Corpus, read
from escriba.text.pieces import in_pieces, joined_pieces, sliced
from escriba.text.plain import lines_of, split
from escriba.text.tokenizer import TOKENIZERS, WordTokenizer
from escriba.text.vocabulary import Tokenizer

# letters that compose, Korean that does, marks that change places, line ends, half a pair, an emoji with a joiner
TRICKY = "ab _.,é e\u0301\u0323\u0928\u093c\u1100\u1161\u11a8\r\n\u2028\u0085\u212b\ud83d\U0001f469\u200d"
texts = st.text(TRICKY, min_size=2, max_size=80)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of at most five characters, so that short texts have many."""
    monkeypatch.setattr("escriba.text.pieces.PIECE", 5)


def normalized(pieces: list[str], form: str) -> str:
    """The pieces, each normalized and with its own line ends, joined."""
    return "".join(unicodedata.normalize(form, one.replace("\r\n", "\n").replace("\r", "\n")) for one in pieces)  # type: ignore[arg-type]


@given(chunks=st.lists(texts, min_size=1, max_size=5))
def test_a_cut_changes_nothing(chunks: list[str]) -> None:
    """Wherever chunks end, the pieces are the text, and normalized one by one they are the normalized text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("escriba.text.pieces.PIECE", 5)
        pieces = list(in_pieces(chunks))
    whole = "".join(chunks)
    assert "".join(pieces) == whole
    assert normalized(pieces, "NFC") == normalized([whole], "NFC")
    assert all(pieces)


@pytest.mark.slow
def test_no_character_composes_across_a_cut() -> None:
    """Of all characters of Unicode, none before which a text is cut ever composes with one before it."""
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    apart = {letter: unicodedata.normalize("NFD", letter) for letter in letters}
    seconds = {mark for letter, parts in apart.items() if unicodedata.normalize("NFC", parts) != parts for mark in parts[1:]}
    assert len(seconds) > 100
    begins = [letter for letter in letters if cutting._begins_anew(letter)]
    assert len(begins) > 200_000
    assert [letter for letter in begins if apart[letter][0] in seconds or unicodedata.combining(apart[letter][0])] == []


def test_pieces_end_at_lines(small_pieces: None) -> None:
    """A piece ends after the last line end within reach; a line that is longer is cut between letters, never in CRLF."""
    assert list(in_pieces(["a\nb\nc\ndefghijk\r\nlm"])) == ["a\nb\n", "c\n", "defgh", "ijk\r\n", "lm"]
    assert list(in_pieces(["abcd\r", "\nef"])) == ["abcd", "\r\nef"]
    assert list(in_pieces(["a\rb\rcde"])) == ["a\rb\r", "cde"]
    assert list(in_pieces(["abcde\u0301fg"])) == ["abcd", "e\u0301fg"]
    assert list(in_pieces([])) == []


@given(text=st.text("ab\n", max_size=30), start=st.integers(0, 35), length=st.integers(0, 35))
def test_slices_are_those_of_the_whole(text: str, start: int, length: int) -> None:
    """A slice over pieces is the slice of the text, and small pieces joined are the text."""
    pieces = [text[i : i + 4] for i in range(0, len(text), 4)]
    assert "".join(sliced(pieces, start, start + length)) == text[start : start + length]
    assert "".join(joined_pieces(pieces)) == text


def both(text: str, **settings: Any) -> tuple[Corpus, Corpus]:
    """A text read in pieces of five characters, and in one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("escriba.text.pieces.PIECE", 5)
        in_many = read(text=text, **settings)
    in_one = read(text=text, **settings)
    assert len(in_one.pieces) == 1
    return in_many, in_one


@given(text=texts)
@pytest.mark.parametrize("kind", TOKENIZERS.values())
def test_symbols_of_pieces_are_those_of_the_whole(kind: type[Tokenizer], text: str) -> None:
    """Every tokenizer fits, encodes and counts pieces as it does the whole; no word falls apart where a piece ends."""
    in_many, in_one = both("ab" + text)
    assert in_many.sha256 == in_one.sha256
    assert in_many.text == in_one.text
    assert in_many.notes == in_one.notes
    tokenizer = kind.fit(in_many)
    assert tokenizer == kind.fit(in_one)
    assert np.array_equal(in_many.encode(tokenizer).ids, tokenizer.encode(in_one.text))


def test_a_word_over_many_pieces() -> None:
    """A word longer than several pieces is one word, and an unknown one is named with its place in the whole text."""
    in_many, in_one = both("one abcdefghijklmnopqrstuvw_1 two.three\nfour")
    assert len(in_many.pieces) > 5
    assert "abcdefghijklmnopqrstuvw_1" in WordTokenizer.fit(in_many).symbols
    assert WordTokenizer.fit(in_many) == WordTokenizer.fit(in_one)
    tokenizer = WordTokenizer.fit("one two three four . \n", unknown=False)
    with pytest.raises(ValueError, match="'abcdefghijklmnopqrstuvw_1' at position 4 "):
        in_many.encode(tokenizer)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"from_line": 2, "to_line": 3}, "one\r\ntwo\r\nthree three three\r\nfour\r\n"),
        ({"from_line": 3}, "one\rtwo\rthree\rfour"),
        ({"from_line": 4, "to_line": 4}, "\n\n\nfour five six seven\neight"),
        ({"strip_gutenberg": True}, "Title\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\nThe book.\nEnd of Project Gutenberg\nlegal\n"),
        (
            {"strip_gutenberg": True},
            "T\n*** START OF THIS PROJECT GUTENBERG EBOOK A\nLONG TITLE ***\nA book.\n*** END OF THE PROJECT GUTENBERG",
        ),
        ({"documents": "paragraph"}, "one\n\ntwo\ntwo\n \nthree"),
        ({"documents": "line"}, "one\ntwo two two\n\nthree"),
    ],
)
@pytest.mark.parametrize("piece", [50, 70])
def test_lines_and_licences_in_pieces(settings: dict[str, Any], text: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen lines, a licence to leave out and documents are found whatever the pieces are."""
    whole = read(text=text, **settings)
    monkeypatch.setattr("escriba.text.pieces.PIECE", piece)
    assert read(text=text, **settings).documents == whole.documents


def test_a_long_list_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is noticed over many pieces; a single line longer than a piece makes it none."""
    names = "\n".join(f"{a}{b}{c}o" for a in "BCDFG" for b in "aeiou" for c in "lmnrs")
    monkeypatch.setattr("escriba.text.pieces.PIECE", 60)
    assert read(text=names).is_documents
    assert not read(text=names + "\n" + "a long line " * 9).is_documents


def test_parts_share_their_pieces(small_pieces: None) -> None:
    """The parts of a long stream are its pieces, not copies of them, and together they are the text."""
    corpus = read(text="".join(f"line {i}\n" for i in range(4000)))
    parts = corpus.parts()
    assert parts.choosing is not None
    assert parts.held_out is not None
    assert all(any(piece is other for other in corpus.pieces) for piece in parts.train.pieces[:50])
    assert parts.whole_train.text + parts.held_out.text == corpus.text
    assert corpus.opening(12) == "line 0\nline "


PROGRAM = """
import sys, tracemalloc
from escriba.text.corpus import read
from escriba.text.tokenizer import CharTokenizer
import charset_normalizer
tracemalloc.start()
corpus = read(sys.argv[1])
corpus.sha256, corpus.summary()
parts = corpus.parts()
tokenizer = CharTokenizer.fit(corpus, count_in=parts.whole_train)
encoded = [part.encode(tokenizer) for part in (parts.train, parts.choosing, parts.held_out)]
assert sum(map(len, encoded)) == corpus.characters
print(tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.slow
def test_a_long_text_takes_little_memory(tmp_path: Path) -> None:
    """30 MB of text with accents and one emoji are read, summed up and encoded in 90 MB; one string of it alone has 114."""
    line = "El corazón de la niña, el jardín y la canción del otoño, y cuanto después se dirá.\n".encode()
    half = b"".join(line if i % 1000 else b"Cap\xc3\xadtulo %d.\n" % i for i in range(15_000_000 // len(line)))
    path = tmp_path / "long.txt"
    path.write_bytes(half + "😀\n".encode() + half)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, encoding="utf-8", check=True)
    assert int(done.stdout) < 90_000_000


def test_the_fingerprint_is_that_of_the_whole(small_pieces: None) -> None:
    """The fingerprint of a stream is that of its bytes and their number, whatever its pieces; of documents that of each."""
    text = "el año del niño 😀\n" * 3
    data = text.encode("utf-8")
    corpus = read(text=text)
    assert len(corpus.pieces) > 5
    assert corpus.sha256 == hashlib.sha256(b"stream%d:" % len(data) + data).hexdigest()
    assert read(documents=["ab", "ñ"]).sha256 == hashlib.sha256(b"documents2:ab2:\xc3\xb1").hexdigest()


class Short(str):
    """A string that may be joined with others, but not added to what came before."""

    __slots__ = ()

    def __radd__(self, before: str) -> str:
        raise AssertionError("each short string copies all that came before it")


def test_short_strings_are_joined_at_once(small_pieces: None) -> None:
    """Many short strings are collected until a piece is full: none is added to the rest by itself."""
    assert list(in_pieces(map(Short, "ab\ncdefgh"))) == ["ab\n", "cdefg", "h"]
    assert list(in_pieces([Short("ab"), Short("cd")])) == ["abcd"]
    assert list(in_pieces(["", ""])) == []


@given(text=st.text("ab\r\n", max_size=40))
def test_lines_of_pieces_are_those_of_the_whole(text: str) -> None:
    """Lines are the same whether a text is one piece or many, with lines longer than a piece and blank ones too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("escriba.text.pieces.PIECE", 5)
        pieces = list(in_pieces([text]))
    assert lines_of(pieces) == (split(text, "line") if text else [])


def test_lines_are_not_joined_to_be_parted(tmp_path: Path) -> None:
    """Six million characters with one emoji, each line a document, are never one string, of which each character takes four bytes."""
    line = "a line of a list " * 60 + "\n"
    path = tmp_path / "list.txt"
    path.write_bytes((line * 3_000 + "😀\n" + line * 3_000).encode())
    tracemalloc.start()
    corpus = read(path, documents="line")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(corpus.pieces) == 6_001
    assert most < 3.5 * corpus.characters
