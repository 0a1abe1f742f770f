"""The published lessons' numbers on Shakespeare: vocabularies, ids, examples and parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from escriba.text.batches import streams, windows
from escriba.text.corpus import Corpus, read
from escriba.text.tokenizer import CharTokenizer


@pytest.fixture(scope="module")
def shakespeare(shared_data: Callable[[str], Path]) -> Corpus:
    """The text of the lessons."""
    return read(shared_data("shakespeare.txt"))


def test_vocabulary_with_unknown(shakespeare: Corpus) -> None:
    """With <unk> there are 66 symbols, and the lesson's letters and ends have its ids."""
    tokenizer = CharTokenizer.fit(shakespeare)
    assert tokenizer.vocab_size == 66
    assert tokenizer.encode("abcdefg").tolist() == [40, 41, 42, 43, 44, 45, 46]
    assert tokenizer.encode("xyz").tolist() == [63, 64, 65]
    ids = shakespeare.encode(tokenizer).ids
    assert ids[:3].tolist() == [19, 48, 57]
    assert ids[-3:].tolist() == [46, 9, 1]
    assert (len(ids), str(ids.dtype)) == (1_115_394, "uint8")


def test_vocabulary_without_unknown(shakespeare: Corpus) -> None:
    """Without <unk> there are 65 symbols, and the text's first words have the lesson's ids."""
    tokenizer = CharTokenizer.fit(shakespeare, unknown=False)
    assert tokenizer.vocab_size == 65
    assert tokenizer.encode("First Citizen").tolist() == [18, 47, 56, 57, 58, 1, 15, 47, 58, 47, 64, 43, 52]


def test_examples(shakespeare: Corpus) -> None:
    """Windows of 100 make 11,043 examples and 172 batches of 64, and the first lines are the lesson's."""
    data = windows(shakespeare.encode(CharTokenizer.fit(shakespeare, unknown=False)), seq_len=100, batch_size=64)
    assert (data.examples_per_epoch, len(data)) == (11_043, 172)
    assert data.show(2) == "step    0  input 18 'F' -> target 47 'i'\nstep    1  input 47 'i' -> target 56 'r'"
    assert data.batch(0).inputs.shape == data.batch(171).targets.shape == (64, 100)


def test_streams_read_nearly_all(shakespeare: Corpus) -> None:
    """64 lanes of 17,428 targets are read in 174 steps of 100: what an epoch leaves is under one step."""
    data = streams(shakespeare.encode(CharTokenizer.fit(shakespeare)), seq_len=100, batch_size=64)
    assert len(data) == 174
    assert data.symbols_per_epoch == 174 * 6400


def test_parts(shakespeare: Corpus) -> None:
    """The last tenth, from int(0.9 n), is held out; the last 2 % of the rest are to choose by; together they are the text."""
    parts = shakespeare.parts()
    assert parts.choosing is not None
    assert parts.held_out is not None
    assert parts.whole_train.characters == 1_003_854
    assert parts.held_out.characters == 111_540
    assert parts.choosing.characters == 20_077
    assert parts.train.text + parts.choosing.text + parts.held_out.text == shakespeare.text
    assert parts.whole_train.text == parts.train.text + parts.choosing.text


def test_quijote_without_its_licence(shared_data: Callable[[str], Path]) -> None:
    """The book in Latin-1 is read between the two marks of Project Gutenberg, with LF."""
    book = read(shared_data("quijote-latin1.txt"), encoding="latin-1", strip_gutenberg=True)
    assert book.text.strip().startswith("Produced by an anonymous Project Gutenberg volunteer.")
    assert "PROJECT GUTENBERG" not in book.text.upper().replace("PROJECT GUTENBERG VOLUNTEER", "")
    assert "\r" not in book.text
    assert "en un lugar de la mancha" in book.text.lower()


def test_quijote_in_the_wrong_encoding(shared_data: Callable[[str], Path]) -> None:
    """The book read as UTF-8 is refused with the byte, its offset, its line, and the right guess."""
    from escriba.errors import TextDecodingError

    path = shared_data("quijote-latin1.txt")
    with pytest.raises(TextDecodingError) as caught:
        read(path)
    assert path.read_bytes()[843] == 0xE1
    assert path.read_bytes()[:843].isascii()
    assert "0xe1 at offset 843, in line 43," in caught.value.met
    assert "--encoding latin-1" in str(caught.value)


def test_titles(shared_data: Callable[[str], Path]) -> None:
    """The titles of the news are 7,600 documents of 81 distinct characters."""
    titles = read(shared_data("ag_news_test.csv"), column=("2",), header=False)
    assert len(titles.documents) == 7_600
    assert CharTokenizer.fit(titles).vocab_size == 81 + 2


def test_names_are_noticed_as_a_list(shared_data: Callable[[str], Path]) -> None:
    """32,033 short lines are taken as documents, which is said; as a stream when asked."""
    names = read(shared_data("names.txt"))
    assert names.is_documents
    assert (len(names.documents), names.documents[0]) == (32_033, "emma")
    assert any("32,033" in note for note in names.notes)
    assert not read(shared_data("names.txt"), documents="stream").is_documents


def test_shakespeare_is_no_list(shakespeare: Corpus) -> None:
    """Dialogue in verse stays one stream, with nothing to remark."""
    assert not shakespeare.is_documents
    assert shakespeare.notes == ()
