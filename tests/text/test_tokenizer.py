"""The tokenizers: laws over all of them, vocabularies, unknown symbols, their JSON."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escriba.errors import SettingsError, TextError, UnknownSymbolError
from escriba.text.corpus import read
from escriba.text.tokenizer import TOKENIZERS, ByteTokenizer, CharTokenizer, Tokenizer, WordTokenizer, tokenizer_from_json

KINDS = list(TOKENIZERS.values())
texts = st.text(min_size=1, max_size=60) | st.text("ab e\u0301\u0928\u093f,.\n\r\U0001f600", min_size=1, max_size=60)


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, unknown=st.booleans(), eos=st.booleans())
def test_decoding_undoes_encoding(kind: type[Tokenizer], text: str, unknown: bool, eos: bool) -> None:
    """A text over the vocabulary comes back whole, whichever special symbols there are."""
    tokenizer = kind.fit(text, unknown=unknown, eos=eos)
    text = tokenizer.normalize(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_id not in ids
    assert tokenizer.frequencies.sum() == len(ids) + eos
    assert tokenizer.unknown_in(text) == {}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), text=texts, unknown=st.booleans(), eos=st.booleans())
def test_pieces_join_to_the_whole(kind: type[Tokenizer], data: st.DataObject, text: str, unknown: bool, eos: bool) -> None:
    """Any ids, even bytes that are no UTF-8, decoded in any pieces, with a copy taken midway, give what decode gives."""
    tokenizer = kind.fit(text, unknown=unknown, eos=eos)
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=5)))
    decoder, pieces = tokenizer.decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(ids)], strict=True):
        pieces.append(decoder.push(ids[start:end]))
        decoder = decoder.copy()
    assert "".join(pieces) + decoder.flush() == tokenizer.decode(ids)


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, eos=st.booleans())
def test_json_keeps_everything(kind: type[Tokenizer], text: str, eos: bool) -> None:
    """A tokenizer that went through JSON is equal and encodes the same."""
    tokenizer = kind.fit(text, eos=eos)
    again = tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert again == tokenizer
    assert type(again) is kind
    assert np.array_equal(again.encode(text), tokenizer.encode(text))


@given(pieces=st.lists(texts, min_size=1, max_size=6))
@pytest.mark.parametrize("kind", KINDS)
def test_documents_are_encoded_one_by_one(kind: type[Tokenizer], pieces: list[str]) -> None:
    """Documents encoded together are what each is alone: no symbol reaches over a border."""
    tokenizer = kind.fit(pieces)
    ids, offsets = tokenizer.encode_documents(pieces)
    alone = [tokenizer.encode(piece) for piece in pieces]
    assert offsets.tolist() == np.cumsum([0, *map(len, alone)]).tolist()
    assert np.array_equal(ids, np.concatenate(alone))


@pytest.mark.parametrize("kind", KINDS)
def test_ends_decode_to_nothing(kind: type[Tokenizer]) -> None:
    """<eos> leaves nothing in the text, wherever it stands."""
    tokenizer = kind.fit(["a é"])
    eos, ids = tokenizer.eos_id, tokenizer.encode("a é").tolist()
    assert eos is not None
    assert tokenizer.decode([eos, *ids, eos]) == "a é"
    assert tokenizer.decode([one for number in ids for one in (number, eos)]) == "a é"


@pytest.mark.parametrize("kind", [CharTokenizer, WordTokenizer])
def test_what_no_tokenizer_can_be_made_of(kind: type[Tokenizer]) -> None:
    """An empty text and documents that are no strings are refused."""
    with pytest.raises(TextError, match="no symbol"):
        kind.fit("")
    with pytest.raises(TextError, match="of type int"):
        kind.fit(["a", 3])  # type: ignore[list-item]


def test_order_of_characters() -> None:
    """Characters are numbered by code point, after <unk> and before <eos>."""
    tokenizer = CharTokenizer.fit(["bé", "a\U0001f600"])
    assert tokenizer.symbols == ("<unk>", "a", "b", "é", "\U0001f600", "<eos>")
    assert (tokenizer.unk_id, tokenizer.eos_id, tokenizer.vocab_size) == (0, 5, 6)
    assert tokenizer.frequencies.tolist() == [0, 1, 1, 1, 1, 2]


def test_order_of_words() -> None:
    """Words are numbered by frequency, ties by code point; blanks and punctuation are symbols too."""
    tokenizer = WordTokenizer.fit("b a, b c_1!")
    assert tokenizer.symbols == ("<unk>", " ", "b", "!", ",", "a", "c_1")
    assert tokenizer.frequencies.tolist() == [0, 3, 2, 1, 1, 1, 1]


def test_combining_marks_stay_in_their_word() -> None:
    """Vowel signs of Hindi and decomposed accents do not cut a word."""
    assert [word for words in WordTokenizer.cut("हिन्दी e\u0301te\u0301") for word in words] == ["हिन्दी", " ", "e\u0301te\u0301"]


def test_words_are_not_cut_between_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text is cut into chunks at line ends alone, so the words are those of the whole."""
    text = "alpha beta\ngamma delta\n" * 5 + "epsilon"
    whole = WordTokenizer.fit(text)
    ids = whole.encode(text)
    monkeypatch.setattr("escriba.text.tokenizer.CHUNK", 28)
    assert len(list(WordTokenizer.cut(text))) > 3
    assert WordTokenizer.fit(text) == whole
    assert np.array_equal(whole.encode(text), ids)


def test_characters_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text longer than a chunk is counted and encoded as one that is not, and an error names the place in the whole."""
    text = "héllo wörld " * 3
    whole = CharTokenizer.fit(text, unknown=False)
    ids = whole.encode(text)
    monkeypatch.setattr("escriba.text.tokenizer.CHUNK", 7)
    assert CharTokenizer.fit(text, unknown=False) == whole
    assert np.array_equal(whole.encode(text), ids)
    with pytest.raises(UnknownSymbolError, match="'X' at position 36 "):
        whole.encode(text + "X")


@pytest.mark.parametrize(("symbols", "dtype"), [(255, "uint8"), (256, "uint16"), (65_535, "uint16"), (65_536, "uint32")])
def test_ids_take_no_more_bytes_than_they_need(symbols: int, dtype: str) -> None:
    """With <unk> beside them, 255 symbols still fit in a byte and 65,535 in two."""
    tokenizer = CharTokenizer.fit("".join(map(chr, range(0x10000, 0x10000 + symbols))))
    ids = tokenizer.encode(chr(0x10000 + symbols - 1))
    assert (str(ids.dtype), ids.tolist()) == (dtype, [symbols])


def test_unseen_symbols() -> None:
    """Unseen symbols become <unk>, which decodes to U+FFFD, and are named, the most frequent first."""
    for kind, text, unknown in ((CharTokenizer, "zabyz", {"z": 2, "y": 1}), (WordTokenizer, "z ab y z", {"z": 2, "y": 1})):
        tokenizer = kind.fit("ab ab")
        assert tokenizer.unknown_in(text) == unknown
        assert list(tokenizer.unknown_in(text)) == ["z", "y"]
        assert tokenizer.decode(tokenizer.encode(text)) == text.replace("z", "\ufffd").replace("y", "\ufffd")


@pytest.mark.parametrize(("kind", "where"), [(CharTokenizer, "'ñ' at position 5"), (WordTokenizer, "'añb' at position 4")])
def test_without_unknown_an_unseen_symbol_is_an_error(kind: type[Tokenizer], where: str) -> None:
    """Without <unk> the error names the symbol and its position."""
    tokenizer = kind.fit("ab ab", unknown=False)
    assert tokenizer.unk_id is None
    with pytest.raises(UnknownSymbolError, match=where):
        tokenizer.encode("ab  añb")


def test_bytes_know_everything() -> None:
    """A byte tokenizer has the 256 bytes as ids, an <eos> after them if asked, and refuses half a surrogate pair."""
    tokenizer = ByteTokenizer.fit("a")
    assert (tokenizer.vocab_size, tokenizer.unk_id, tokenizer.symbols[10]) == (256, None, "0x0a")
    assert tokenizer.encode("ñ\U0001f600").tolist() == list("ñ\U0001f600".encode())
    assert tokenizer.unknown_in("ñ") == {}
    assert ByteTokenizer.fit(["a"]).eos_id == 256
    assert ByteTokenizer.fit(["a"]).encode("a").dtype == "uint16"
    with pytest.raises(UnknownSymbolError, match="position 1"):
        tokenizer.encode("a\ud800")


def test_incomplete_characters_are_held_back() -> None:
    """The bytes of a character come out together; flushed too early they are U+FFFD."""
    decoder = ByteTokenizer.fit("é").decoder()
    assert [decoder.push([byte]) for byte in "é".encode()] == ["", "é"]
    assert decoder.push([0xC3]) == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.flush() == ""


def test_rare_symbols_become_unknown() -> None:
    """With min_count the vocabulary is that of the part counted in, and <unk> has the frequency of what it replaces."""
    tokenizer = CharTokenizer.fit("aaabbcz", min_count=2, count_in="aaabbc")
    assert tokenizer.symbols == ("<unk>", "a", "b")
    assert tokenizer.frequencies.tolist() == [1, 3, 2]
    assert CharTokenizer.fit("abz", count_in="aab").frequencies.tolist() == [0, 2, 1, 0]
    with pytest.raises(TextError, match="no symbol stands 9 times"):
        CharTokenizer.fit("ab", min_count=9)
    with pytest.raises(SettingsError, match="without <unk>"):
        CharTokenizer.fit("aab", min_count=2, unknown=False)
    with pytest.raises(SettingsError, match="min_count is 0"):
        CharTokenizer.fit("aab", min_count=0)


def test_the_vocabulary_can_be_capped() -> None:
    """The most frequent symbols of the part counted in are kept, so many in all; <unk> has the frequency of what it replaces."""
    words = WordTokenizer.fit("to be or not to be to", max_vocab_size=4)
    assert words.symbols == ("<unk>", " ", "to", "be")
    assert words.frequencies.tolist() == [2, 6, 3, 2]
    assert CharTokenizer.fit("zzzaab", max_vocab_size=3, count_in="aab").symbols == ("<unk>", "a", "b")
    documents = CharTokenizer.fit(["aab", "abc"], max_vocab_size=4)
    assert documents.symbols == ("<unk>", "a", "b", "<eos>")
    assert CharTokenizer.fit("aabbc", max_vocab_size=10).vocab_size == 4
    assert CharTokenizer.fit(read(text="aabbc", max_vocab_size=3)).symbols == ("<unk>", "a", "b")
    assert CharTokenizer.fit("aabbcd", max_vocab_size=5, min_count=2).symbols == ("<unk>", "a", "b")
    assert ByteTokenizer.fit("abc", max_vocab_size=3).vocab_size == 256
    for bad in ({"max_vocab_size": 2}, {"max_vocab_size": 9, "unknown": False}):
        with pytest.raises(SettingsError, match="max_vocab_size is"):
            CharTokenizer.fit("aabbc", **bad)


@pytest.mark.parametrize(
    "text",
    ["海上生明月，天涯共此時。情人怨遙夜，竟夕起相思。", "吾輩は猫である。名前はまだ無い。", "กินข้าวหรือยังครับ วันนี้อากาศดีมาก"],
    ids=["chinese", "japanese", "thai"],
)
def test_words_of_a_script_without_blanks_are_refused(text: str) -> None:
    """They would be whole clauses: that is said, with one of them, and what to do. A text that was cut into words before is taken."""
    with pytest.raises(SettingsError, match="without blanks between words") as error:
        WordTokenizer.fit(f"{text}\n" * 4)
    assert "--unit char" in str(error.value)
    assert WordTokenizer.fit("海上 生 明月 ， 天涯 共 此時 。\n" * 9).vocab_size > 5
    assert WordTokenizer.fit("The poem 海上生明月 is by a poet of the eighth century, and many know it.\n" * 20).vocab_size > 5


def test_prompts_are_treated_as_the_training_text_was() -> None:
    """A tokenizer normalizes as its corpus was, and a bare text decides by what is true of it."""
    assert CharTokenizer.fit("é\n").normalize("e\u0301\r\n\r") == "é\n\n"
    kept = CharTokenizer.fit(read(text="e\u0301\r\nx", newlines="keep", normalization="none"))
    assert (kept.normalization, kept.newlines) == ("none", "keep")
    assert kept.normalize("e\u0301\r\n") == "e\u0301\r\n"
    bare = CharTokenizer.fit("e\u0301\r\n")
    assert (bare.normalization, bare.newlines) == ("none", "keep")
    assert CharTokenizer.fit("e\u0301\r\n", normalization="NFC", newlines="lf").symbols == ("<unk>", "\n", "é")


def test_a_corpus_says_what_its_tokenizer_has() -> None:
    """<eos> is there for documents alone; unknown and min_count are as the corpus was read, unless said anew."""
    assert CharTokenizer.fit(read(text="abc")).eos_id is None
    assert CharTokenizer.fit(read(documents=["abc", "d"])).eos_id == 5
    assert CharTokenizer.fit(read(documents=["abc", "d"]), eos=False).eos_id is None
    assert CharTokenizer.fit(read(text="abc", unknown=False)).unk_id is None
    assert CharTokenizer.fit(read(text="aab", min_count=2)).vocab_size == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ids", [[-1], [999], [0.5], [[1, 2]]])
def test_what_is_no_id_is_refused(kind: type[Tokenizer], ids: list[Any]) -> None:
    """Ids outside the vocabulary, fractions and tables are errors, never wrong text."""
    with pytest.raises(TextError):
        kind.fit("ab").decode(ids)


GOOD = CharTokenizer.fit(["ab", "b"]).to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "syllable"}, "kind is 'syllable'"),
        ({"kind": ["char"]}, "kind is"),
        ({"normalization": "NFKC"}, "normalization is 'NFKC'"),
        ({"unknown": 1}, "unknown is 1"),
        ({"extra": 1}, "unknown key, 'extra'"),
        ({"symbols": ["a", "a"]}, "stands twice"),
        ({"symbols": ["a", "bc"]}, "not those of the kind"),
        ({"symbols": ["a", 1]}, "not a list of strings"),
        ({"symbols": "ab"}, "not a list of strings"),
        ({"symbols": [], "frequencies": [0, 0]}, "not those of the kind"),
        ({"frequencies": [0, 1, 2]}, "do not fit"),
        ({"frequencies": [0, 1, 2, -1]}, "whole numbers"),
        ({"frequencies": [0, 1, 2, True]}, "whole numbers"),
        ({"frequencies": [0, 1, 2, 2**63]}, "whole numbers"),
        ({"kind": "word", "symbols": ["a", "<eos>"]}, "stands twice"),
        ({"kind": "byte"}, "has no <unk>"),
        ({"kind": "byte", "unknown": False, "frequencies": [0, 0, 0]}, "not those of the kind"),
    ],
)
def test_json_is_checked(change: dict[str, Any], message: str) -> None:
    """What is wrong in the JSON of a tokenizer is refused by name."""
    with pytest.raises(TextError, match=message):
        tokenizer_from_json({**copy.deepcopy(GOOD), **change})


def test_json_of_another_shape() -> None:
    """A missing key, a list, and a tokenizer of another kind are refused."""
    with pytest.raises(TextError, match="lacks symbols"):
        tokenizer_from_json({key: value for key, value in GOOD.items() if key != "symbols"})
    with pytest.raises(TextError, match="is a list"):
        tokenizer_from_json([])
    with pytest.raises(TextError, match="kind is 'char'"):
        WordTokenizer.from_json(GOOD)


def test_it_shows_itself() -> None:
    """The table has a line for each symbol asked for and says how many are left; the repr says the size."""
    tokenizer = CharTokenizer.fit(["ab", "b"])
    assert tokenizer.table().split("\n")[2].split() == ["2", "'b'", "2"]
    assert tokenizer.table(1).endswith("and 3 more")
    assert repr(tokenizer.table(1)) == tokenizer.table(1)
    assert repr(tokenizer) == "<CharTokenizer: 4 symbols, with <unk> and <eos>>"
    for wrong in (-1, 1.5, True):
        with pytest.raises(SettingsError, match=f"n is {wrong}"):
            tokenizer.table(wrong)  # type: ignore[arg-type]
