"""What of a text stands verbatim in another: held to a search by hand, for texts that repeat themselves and for texts of any character."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from escriba.errors import SettingsError, TextError
from escriba.inference import verbatim
from escriba.inference.recall import LENGTHS, Recall, recall
from escriba.inference.verbatim import SEED_LENGTH, find_matches

HALF, WIDE = "\ud800", "\U0001f600"
FEW = st.text(alphabet="ab", max_size=120)
ANY = st.text(alphabet=f"ab\n\r\0ñ中{WIDE}{HALF}\udc00", max_size=80)


def lengths_by_hand(text: str, training: list[str]) -> list[int]:
    """The longest match at each place, found by looking for one more character as long as it is there; 0 where it is below 12."""
    found = []
    for start in range(len(text)):
        length = 0
        while start + length < len(text) and any(text[start : start + length + 1] in one for one in training):
            length += 1
        found.append(length if length >= SEED_LENGTH else 0)
    return found


def shares_by_hand(text: str, training: list[str]) -> dict[int, float]:
    """The share of places whose stretch is in no training text."""
    shares = {}
    for length in (one for one in LENGTHS if one <= len(text)):
        stretches = [text[at : at + length] for at in range(len(text) - length + 1)]
        shares[length] = sum(not any(stretch in one for one in training) for stretch in stretches) / len(stretches)
    return shares


def in_pieces(text: str, size: int) -> list[str]:
    """A text cut into equal pieces."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def check(text: str, training: list[str], documents: bool) -> Recall:
    """Everything that `recall` tells, against a search by hand."""
    whole = training if documents else ["".join(training)]
    lengths = lengths_by_hand(text, whole)
    assert find_matches(text, training, documents=documents).lengths.tolist() == lengths
    found = recall(text, training, documents=documents)
    assert found.novel_share == pytest.approx(shares_by_hand(text, whole), abs=1e-12)
    if len(text) <= 40 or max(lengths):
        stretches = (
            {text[start:stop] for start in range(len(text)) for stop in range(start + 1, len(text) + 1)} if len(text) <= 40 else set()
        )
        longest = max([*lengths, *(len(one) for one in stretches if any(one in other for other in whole))], default=0)
        assert (found.longest.length if found.longest else 0) == longest
    for one in [found.longest, *found.passages]:
        if one is not None:
            assert text[one.start : one.start + one.length] == one.passage
            where = training[one.line - 1] if documents else whole[0]
            assert where.find(one.passage) == one.position
            if not documents:
                ends = [end.end() for end in re.finditer("\r\n|\r|\n", where) if end.end() <= one.position]
                assert one.line == len(ends) + 1
    assert sum(one.length for one in found.passages) <= len(text)
    assert "\n".join(line.line for line in found.lines) == text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    return found


@pytest.fixture(params=[1 << 18, 16, 1], ids=["one block", "blocks of 16", "blocks of 1"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The size of the blocks in which the training text goes by."""
    monkeypatch.setattr(verbatim, "BLOCK", request.param)
    return int(request.param)


@pytest.mark.parametrize("documents", [False, True], ids=["stream", "documents"])
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("text", "training"),
    [
        pytest.param("a" * 200, "a" * 150, id="one symbol, longer than the training text"),
        pytest.param("a" * 60, "a" * 300, id="one symbol"),
        pytest.param("ab" * 70, "ba" * 90, id="period 2"),
        pytest.param("abc" * 30 + "x" + "abc" * 20, "cab" * 60, id="period 3, broken"),
        pytest.param("to be or not to be\nthat is the question\n", "to be or not to be\nthat is the question\n", id="the same"),
        pytest.param("", "to be or not to be", id="no text"),
        pytest.param("to be or not to be", "", id="no training text"),
        pytest.param("xyz", "to be or not to be", id="nothing in common"),
        pytest.param(f"{WIDE}{HALF}ñ" * 9, f"ñ{WIDE}{HALF}" * 8, id="astral characters and half pairs"),
        pytest.param("\0" * 40, "\0" * 20 + "a" + "\0" * 25, id="null characters"),
    ],
)
def test_it_is_a_search_by_hand(text: str, training: str, size: int, documents: bool, blocks: int) -> None:
    """Lengths, shares and passages are those of a search by hand, however the training text is cut, and also where it repeats itself."""
    check(text, in_pieces(training, size), documents)


@given(text=FEW, training=FEW, size=st.integers(1, 130), documents=st.booleans(), block=st.sampled_from([1, 13, 1 << 18]))
@example(text="abaababaabaab" * 4, training="abaababaabaab" * 5, size=31, documents=True, block=13)
def test_texts_of_two_symbols(text: str, training: str, size: int, documents: bool, block: int) -> None:
    """The same for random texts of two symbols, in which much is found many times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verbatim, "BLOCK", block)
        patch.setattr(verbatim, "MANY", 3)
        check(text, in_pieces(training, size), documents)


@given(text=ANY, training=ANY, repeats=st.integers(1, 4), size=st.integers(1, 50), documents=st.booleans())
def test_texts_of_any_symbols(text: str, training: str, repeats: int, size: int, documents: bool) -> None:
    """The same for texts of line ends, null characters, astral ones and halves of surrogate pairs that have a passage in common."""
    middle = len(text) // 2
    check(text[:middle] + training[:40] + text[middle:], in_pieces(training * repeats, size), documents)


def test_a_passage_over_pieces_is_one() -> None:
    """A passage that two pieces of a stream share is found whole, with its line; over the end of a document none goes."""
    training = ["One line.\nto be or no", "t to be, that is\nthe question\n"]
    found = recall("He said: to be or not to be, that.", training)
    assert found.longest is not None
    assert (found.longest.passage, found.longest.position, found.longest.line) == ("to be or not to be, that", 10, 2)
    assert found.longest.line_text == "to be or not to be, that is"
    apart = recall("He said: to be or not to be, that.", training, documents=True)
    assert apart.longest is not None
    assert (apart.longest.passage, apart.longest.line, apart.longest.line_text) == ("t to be, that", 2, training[1])


@pytest.mark.parametrize("size", [1, 30, 1000])
def test_the_line_is_counted_over_pieces(size: int) -> None:
    """The line in which a passage stands is that of the whole text, however it is cut, and where no line ends, too."""
    training = "A first line.\n\nA third one, longer.\n" * 40 + "x" * 3000 + " what was looked for, and so on\nlast"
    found = recall("what was looked for", in_pieces(training, size)).longest
    assert found is not None
    assert (found.position, found.line) == (training.index("what"), 121)
    assert found.line_text == "x" * 999 + " what was looked for, and so on"


def test_passages_do_not_overlap_and_come_longest_first() -> None:
    """Of overlapping matches the longest is listed whole, what is left of another only if it is still long enough."""
    training = ["abcdefghijklmnopqrstuvwxyz0123456789|uvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWX"]
    text = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWX"
    found = recall(text, training)
    assert [(one.start, one.length) for one in found.passages] == [(20, 40), (0, 20)]
    assert [(one.start, one.length) for one in recall(text, training, least=21).passages] == [(20, 40)]


def test_lines_are_marked() -> None:
    """A line is known that is a whole line there, not one that is a part of one; a blank line is never new; line ends do not count."""
    found = recall("the cat sat on the mat\r\nthe cat sat on the\n\nnew\nlast\n", ["the cat sat on the m", "at\nthe dog\rla", "st"])
    assert [(line.line, line.is_new) for line in found.lines] == [
        ("the cat sat on the mat", False),
        ("the cat sat on the", True),
        ("", False),
        ("new", True),
        ("last", False),
    ]
    assert [line.longest for line in found.lines] == [22, 18, 0, 0, 4]
    assert found.new_lines == 2


def test_a_document_is_known_whole() -> None:
    """Among documents a line is known that is a whole one of them; two documents do not make a line."""
    found = recall("Ana\nMaria\nAnaMaria", ["Ana", "Maria"], documents=True)
    assert [line.is_new for line in found.lines] == [False, False, True]


def test_short_common_passages_are_found() -> None:
    """Where no passage of 12 characters is shared, the longest is still exact, from 1 character to 11."""
    for length in range(1, 12):
        common = "0123456789A"[:length]
        found = recall(f"{'x' * 20}{common}{'y' * 20}", [f"{'u' * 30}{common}{'v' * 9}"])
        assert found.longest is not None
        assert (found.longest.start, found.longest.passage, found.longest.position) == (20, common, 30)
        assert found.passages == ()


def test_wrong_hashes_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passage that only its hash says is there is not told of."""
    monkeypatch.setattr(verbatim, "BASE", 1)  # a hash of which characters there are, not of their order
    found = recall("abcdefghijklmnopqrstuvwxyz", ["zyxwvutsrqponmlkjihgfedcba"])
    assert found.passages == ()
    assert found.longest is None


def test_it_says_how_far_it_is() -> None:
    """Whoever watches is told the characters gone through, up to all of them."""
    told: list[int] = []
    recall("a text that is short", ["abc" * 200_000] * 3, watch=told.append)
    assert told == sorted(told)
    assert told[-1] == 1_800_000
    assert len(told) > 3


def test_it_shows_itself_and_is_plain_data() -> None:
    """It prints the passage, the shares and every line with its mark; as_dict goes through JSON."""
    found = recall("to be or not to be, that\nnew line\n", ["to be or not to be, that\nis the question\n"])
    shown = str(found)
    assert "longest verbatim passage: 25 of 34 characters" in shown
    assert "in line 1" in shown
    assert "\n= to be or not to be, that\n+ new line" in shown
    assert json.loads(json.dumps(found.as_dict()))["longest"]["length"] == 25
    assert "none" in str(recall("x", ["y"]))
    assert str(recall("", ["y"]))


def test_line_ends_of_all_kinds_are_counted() -> None:
    """The line of a passage is that of a text whose lines end in CR or CRLF, too, which a piece may part."""
    for end in ("\r", "\r\n"):
        training = end.join(["one", "", "three", "what was looked for", "five"])
        for size in (1, 5, 9, 100):
            found = recall("what was looked for", in_pieces(training, size)).longest
            assert found is not None
            assert (found.line, found.line_text) == (4, "what was looked for")


def test_a_text_of_one_line_is_gone_through_once() -> None:
    """A line that comes in twenty thousand pieces is not copied for each of them, which would take minutes."""
    found = recall("a letter from Ana, and a letter from Eva", ["a letter from Ana " * 30] * 20_000)
    assert found.longest is not None
    assert (found.longest.length, found.longest.line, len(found.longest.line_text)) == (17, 1, 1000)
    assert found.new_lines == 1


def test_documents_are_shown_by_number() -> None:
    """Of documents it says which one, not which line; of a long one only what is about the passage is kept."""
    found = recall("the old letter of Ana", ["Maria", "x" * 5000 + "the old letter of Ana" + "y" * 5000], documents=True)
    assert found.longest is not None
    assert (found.longest.line, found.longest.position, len(found.longest.line_text)) == (2, 5000, 2000)
    assert "in document 2 of those that were learnt" in str(found)
    assert "whole document" in str(found)
    assert found.as_dict()["is_documents"] is True


def test_lines_are_printed_as_they_can_be_shown() -> None:
    """A blank line has no mark; what would command the terminal is shown as an escape, a tab is a tab."""
    shown = str(recall("Ana\n\n \x1b[31mred\x7f\x9b\tEva\n", ["Ana\nMaria\n"]))
    assert shown.endswith("\n= Ana\n\n+  \\x1b[31mred\\x7f\\x9b\tEva")


def test_what_is_no_text_is_refused() -> None:
    """A text that is none, a training text that is not in pieces and too short a passage are told of by name."""
    with pytest.raises(TextError, match="of type int"):
        recall(3, ["a"])  # type: ignore[arg-type]
    with pytest.raises(TextError, match="training text"):
        recall("a", "a")
    with pytest.raises(SettingsError, match="least is 3"):
        recall("a", ["a"], least=3)


@pytest.mark.slow
def test_a_real_text(shared_data: Callable[[str], Path]) -> None:
    """Of a chapter in which every tenth line was changed, the changed lines are new and the passages lie between them."""
    text = shared_data("shakespeare.txt").read_text(encoding="utf-8")
    lines = text[200_000:210_000].split("\n")[1:-1]
    changed = [f"{line}!~" if number % 10 == 9 else line for number, line in enumerate(lines)]
    found = recall("\n".join(changed), [text[at : at + 99_991] for at in range(0, len(text), 99_991)])
    filled = [number for number, line in enumerate(changed) if line.strip()]
    assert [number for number in filled if found.lines[number].is_new] == [number for number in filled if number % 10 == 9]
    assert found.longest is not None
    assert text[found.longest.position :].startswith(found.longest.passage)
    assert text.count("\n", 0, found.longest.position) == found.longest.line - 1
    spans = [(one.start, one.start + one.length) for one in found.passages]
    assert all("!~" not in one.passage for one in found.passages)
    assert not any(a < d and c < b for i, (a, b) in enumerate(spans) for c, d in spans[:i])
    assert np.all(np.diff(list(found.novel_share.values())) >= 0)
