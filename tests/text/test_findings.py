"""What is shown before training: vocabulary and counts, suspected mojibake, lines that repeat, the sizes of the parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from escriba.text.corpus import read
from escriba.text.findings import Findings, look
from escriba.text.tokenizer import CharTokenizer

SPANISH = "La niña soñó: «¿Qué más querrá el señor?» Después calló; la canción seguía aquí. "


def wrong(found: Findings) -> dict[str, str | None]:
    """What is suspected, and what it probably was."""
    return {one.found: one.meant for one in found.mojibake}


@pytest.mark.parametrize("codec", ["latin-1", "cp1252"])
def test_utf8_read_as_something_else(codec: str) -> None:
    """Spanish in UTF-8 that was read in Latin-1 or cp1252 is recognized, each letter with what it was and how often."""
    bad = (SPANISH * 10).encode().decode(codec, "replace")
    found = wrong(look([bad], False))
    assert {"Ã±": "ñ", "Ã©": "é", "Ã³": "ó", "Ã¡": "á", "Â¿": "¿"}.items() <= found.items()
    (one,) = [one for one in look([bad], False).mojibake if one.found == "Ã±"]
    assert one.count == 30
    (note,) = [note for note in read(text=bad).notes if "UTF-8" in note]
    assert "'Ã³' (probably 'ó') 30 times" in note


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("“It’s” the end… — he said", "cp1252"),
        ("Широкая электрификация южных губерний", "cp1252"),
        ("人人生而自由在尊严和权利上一律平等", "latin-1"),
        ("ten € and a 😀", "cp1252"),
        ("Ελληνικά γράμματα", "cp1252"),
    ],
)
def test_other_alphabets_and_signs(text: str, codec: str) -> None:
    """Quotation marks, the euro, emoji and other alphabets are recognized too, and what is meant stands in the text."""
    found = look([text.encode().decode(codec, "replace")], False).mojibake
    meant = [one.meant for one in found if one.meant]
    assert meant
    assert all(one in text for one in meant)


@pytest.mark.parametrize(
    "text",
    [
        SPANISH,
        "L’ÉTÉ À LA PLAGE… «L’HÔTEL DU CHÂTEAU» — “CAFÉ”, CRÈME BRÛLÉE; LIBERTÉ» ÂGE",
        "NÃO, SÃO, MÃE, AMANHû… “IRMÔ, «MAÇû, PÃES E CORAÇÕES — a mãe é irmã, nação, não. MANHÃ\u00a0! Â",
        "Việt Nam: ĐẠI HỌC, Ãnh, Ñ” Å» ï” Ø… Ð¿",
        "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。Ä”",
        "Þórður, Äiti “Å”, Über… “Ü”",
    ],
    ids=["Spanish", "French", "Portuguese", "Vietnamese", "Chinese", "Nordic"],
)
def test_real_letters_are_not_suspected(text: str) -> None:
    """Letters in capitals that end a word before a quotation mark, a dash or a blank are letters."""
    assert look([text], False).mojibake == ()


def test_a_real_book_is_not_suspected(shared_data: Callable[[str], Path]) -> None:
    """The Quijote read in its encoding has nothing to suspect; read in the wrong one and saved so, it has."""
    book = shared_data("quijote-latin1.txt").read_text(encoding="latin-1")
    assert look([book], False).mojibake == ()
    found = wrong(look([book.encode().decode("cp1252", "replace")], False))
    assert found["Ã±"] == "ñ"


def test_lost_characters() -> None:
    """U+FFFD in a text is counted and noted: what it stood for is lost."""
    corpus = read(text="coraz\ufffdn y ni\ufffda")
    assert corpus.notes == ("U+FFFD stands 2 times: those characters were lost before.",)
    assert corpus.summary().suspected_mojibake[0].meant is None
    assert "'\ufffd' 2 times: a lost character" in str(corpus.summary())


def test_lines_that_repeat() -> None:
    """Lines that repeat an earlier one are counted without the blank ones, as a share of the characters, with the most frequent."""
    text = "one\n\n\ntwo\none\nthree\none\n" + "x" * 99 + "\n" + "x" * 99 + "\r\n\n"
    found = look([text], False).duplicates
    assert (found.count, found.of) == (3, 7)
    assert found.share == pytest.approx((3 + 3 + 99) / (9 + 3 + 5 + 198))
    assert found.examples == (("one", 3), ("x" * 57 + "...", 2))
    assert look(["one\n", "two", "one\n"], True).duplicates.count == 1


def test_many_lines_that_repeat_are_noted() -> None:
    """Over a fifth of the text in lines that repeat is noted; many short ones, as names of speakers, are not; nor few lines."""
    fresh = "".join(f"this is line number {i}\n" for i in range(200))
    assert read(text=fresh + "ROMEO:\n" * 100, documents="stream").notes == ()
    (note,) = read(text=fresh + fresh[: fresh.index("line number 110")], documents="stream").notes
    assert note.startswith("110 of 311 lines repeat an earlier one, 35% of the text")
    (note,) = read(documents=[f"document {i % 100}" for i in range(150)]).notes
    assert note.startswith("50 of 150 documents repeat an earlier one, 33% of the text")
    assert read(text="Row, row\n" * 20 + "your boat").notes == ()


def test_of_a_long_text_the_beginning_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A very long text is looked at up to a bound, which is said."""
    monkeypatch.setattr("escriba.text.findings.LOOKED_AT", 1000)
    monkeypatch.setattr("escriba.text.pieces.PIECE", 100)
    corpus = read(text="the niÃ±a sat\n" * 200, documents="stream")
    summary = corpus.summary()
    assert summary.looked_at is not None
    assert 1000 <= summary.looked_at < 1100
    assert f"In the first {summary.looked_at:,} characters: This looks like UTF-8" in corpus.notes[0]
    assert "(in the first 1,0" in str(summary)


def test_the_summary_shows_vocabulary_and_parts() -> None:
    """The most frequent and the rarest symbols with their counts, and the sizes of the parts; `lines` is what training shows."""
    corpus = read(text="abc " * 5000 + "z" + "d" * 9, documents="stream")
    summary = corpus.summary()
    assert summary.commonest[0] == (" ", 5000)
    assert summary.rarest[:2] == (("z", 1), ("d", 9))
    lines = dict(summary.lines())
    assert lines["vocabulary"] == "7 ids of the unit char"
    assert lines["rarest"].startswith("'z' 1  'd' 9  ")
    assert lines["parts"] == "17,649 to learn from, 360 to choose by, 2,001 held out (characters)"
    assert all(value in str(summary) for value in lines.values())
    data = json.loads(json.dumps(summary.as_dict()))
    assert data["commonest"][0] == {"symbol": " ", "count": 5000}
    assert data["duplicated_lines"]["count"] == 0
    assert data["suspected_mojibake"] == []


def test_what_is_no_text_is_said_plainly() -> None:
    """What is given where a text or ids belong is named, with what was expected."""
    tokenizer = CharTokenizer.fit("ab")
    for call in (CharTokenizer.fit, tokenizer.encode, tokenizer.decode, tokenizer.normalize, tokenizer.unknown_in, read):
        with pytest.raises(ValueError, match=r"type (int|float|object)|no ids") as caught:
            call(5.5 if call == tokenizer.decode else 5)
        assert "expected: " in str(caught.value)
    with pytest.raises(ValueError, match="of type bytes"):
        CharTokenizer.fit(b"ab")  # type: ignore[arg-type]
    for ids in ("a", [[1], [1, 2]], None):
        with pytest.raises(ValueError, match="ids"):
            tokenizer.decode(ids)  # type: ignore[arg-type]
