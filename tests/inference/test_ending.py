"""Where a text ends, against a search character by character, for symbols of any size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escriba.errors import SettingsError
from escriba.inference.ending import Ending, checked_length, checked_stops
from escriba.text.tokenizer import ByteTokenizer

EOS = 99


class PiecesDecoder:
    """Ids are places in a list of pieces of text; nothing is held back."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = pieces

    def push(self, ids: Sequence[int]) -> str:
        """The pieces."""
        return "".join(self.pieces[one] for one in ids)

    def flush(self) -> str:
        """Nothing."""
        return ""


class CopiedDecoder(PiecesDecoder):
    """The same, which can be copied and counts how often any of them is asked."""

    calls: ClassVar[int] = 0
    holds_back: ClassVar[bool] = True  # an empty piece shows nothing

    def push(self, ids: Sequence[int]) -> str:
        """The pieces."""
        CopiedDecoder.calls += 1
        return super().push(ids)

    def copy(self) -> CopiedDecoder:
        """Another, of the same pieces."""
        return CopiedDecoder(self.pieces)


def brute(text: str, stops: Sequence[str], length: int | None) -> tuple[str, str | None]:
    """The end of a text, one character after another."""
    for size in range(len(text) + 1):
        complete = [stop for stop in stops if text[:size].endswith(stop)]
        if complete:
            return text[: size - max(map(len, complete))], "stop"
        if length is not None and size >= length:
            return text[:size], "length"
    return text, None


@settings(max_examples=600, deadline=None)
@given(
    pieces=st.lists(st.text("ab", max_size=4), max_size=12),
    stops=st.lists(st.text("ab", min_size=1, max_size=5), max_size=3),
    length=st.none() | st.integers(0, 25),
)
def test_the_end_is_where_characters_say(pieces: list[str], stops: list[str], length: int | None) -> None:
    """However the text is cut into symbols, its end, the reason, the pieces shown and the ids kept are those of characters one by one."""
    ending = Ending(PiecesDecoder(pieces), length=length, stop=stops, eos_id=EOS)  # type: ignore[arg-type]
    shown = ""
    whole, reason = brute("".join(pieces), stops, length)
    for token in range(len(pieces)):
        if ending.finished is not None:
            break
        before = shown
        shown += ending.push(token)
        assert whole.startswith(shown)
        assert shown.startswith(before)
        if ending.finished is None:
            # Nothing is held back that cannot become a stop string any more.
            rest = "".join(pieces[: token + 1])[len(shown) :]
            assert rest == "" or any(len(stop) > len(rest) and stop.startswith(rest) for stop in stops)
    if reason is None:
        assert ending.finished is None
        shown += ending.push(EOS)
        assert ending.finished == "eos"
        assert ending.count == len(pieces)
    else:
        assert ending.finished == reason
        kept = "".join(pieces[: ending.count])
        assert kept.startswith(whole)
        assert ending.straddles == (len(kept) > len(whole))
        # No id fewer would do.
        assert ending.count == 0 or len("".join(pieces[: ending.count - 1])) < len(whole)
    assert shown == whole
    assert ending.characters == len(whole)


def test_bytes() -> None:
    """Bytes of a character that is not complete are not shown; at the end of a document they become one sign of replacement."""
    data = "añ€".encode()
    ending = Ending(ByteTokenizer.fit("x").decoder(), length=None, stop=(), eos_id=256)
    assert [ending.push(byte) for byte in data[:5]] == ["a", "", "ñ", "", ""]
    assert ending.characters == 2
    assert ending.push(256) == "\ufffd"
    assert (ending.finished, ending.count, ending.straddles) == ("eos", 5, False)


def test_a_stop_string_of_several_bytes() -> None:
    """A stop string is found in characters, and the ids kept end before its first byte."""
    ending = Ending(ByteTokenizer.fit("x").decoder(), length=None, stop=("ñ",), eos_id=None)
    shown = "".join(ending.push(byte) for byte in "ab€ñ".encode() if ending.finished is None)
    assert (shown, ending.finished, ending.count) == ("ab€", "stop", 5)


def test_memory_of_an_endless_text() -> None:
    """What is shown is forgotten: a text without an end takes no more memory than its stop strings are long."""
    ending = Ending(PiecesDecoder(["ab"]), length=None, stop=("bax", "bb"), eos_id=None)  # type: ignore[arg-type]
    for _ in range(10_000):
        ending.push(0)
    assert ending.characters == 20_000
    assert len(ending._ends) < 5
    assert len(ending._held) < 3


def test_what_cannot_be_an_end() -> None:
    """An empty stop string and a length that is no number of characters are errors."""
    with pytest.raises(SettingsError, match="empty"):
        checked_stops(["a", ""])
    for wrong in (-1, 1.5, True, "10", None):
        with pytest.raises(SettingsError, match="length is"):
            checked_length(wrong)
    assert checked_length(0) == 0


@settings(max_examples=600, deadline=None)
@given(
    pieces=st.lists(st.text("ab", max_size=3), min_size=1, max_size=30),
    stops=st.lists(st.text("ab", min_size=1, max_size=5), max_size=2),
    length=st.none() | st.integers(0, 40),
    eos=st.none() | st.integers(0, 29),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=8),
)
def test_many_ids_at_once_are_ids_one_by_one(
    pieces: list[str], stops: list[str], length: int | None, eos: int | None, cuts: list[int]
) -> None:
    """What is shown, the end, its reason, the ids kept and what is settled do not depend on how many ids are taken at once."""
    ids = np.array([EOS if at == eos else at for at in range(len(pieces))])
    one, many = (Ending(CopiedDecoder(pieces), length=length, stop=stops, eos_id=EOS) for _ in range(2))  # type: ignore[arg-type]
    begin = 0
    for cut in itertools.cycle(cuts):
        some = ids[begin : begin + cut]
        if not len(some) or many.finished is not None:
            break
        shown, taken = many.take(some)
        assert shown == "".join(one.push(int(token)) for token in some[:taken])
        assert taken == len(some) or many.finished is not None
        assert (many.finished, many.characters, many.settled) == (one.finished, one.characters, one.settled)
        begin += taken
    assert (many.finished, many.count, many.straddles, many.characters) == (one.finished, one.count, one.straddles, one.characters)
    if many.finished is None:
        assert many.push(EOS) == one.push(EOS)
        assert (many.finished, many.count, many.straddles) == (one.finished, one.count, one.straddles)


@settings(max_examples=300, deadline=None)
@given(
    text=st.text("aé€😀", min_size=1, max_size=20),
    junk=st.lists(st.integers(0, 255), max_size=6),
    length=st.none() | st.integers(1, 20),
    cut=st.integers(1, 20),
)
def test_bytes_at_once_are_bytes_one_by_one(text: str, junk: list[int], length: int | None, cut: int) -> None:
    """Characters of several bytes, and bytes that are none, end alike however many are taken at once."""
    tokenizer = ByteTokenizer.fit("some text")
    ids = np.array([*text.encode(), *junk, *text.encode()])
    one, many = (Ending(tokenizer.decoder(), length=length, stop=(), eos_id=None) for _ in range(2))
    for begin in range(0, len(ids), cut):
        if many.finished is not None:
            break
        shown, taken = many.take(ids[begin : begin + cut])
        assert shown == "".join(one.push(int(token)) for token in ids[begin : begin + taken])
        assert (many.finished, many.count, many.straddles, many.settled) == (one.finished, one.count, one.straddles, one.settled)


def test_a_plain_chunk_is_decoded_at_once() -> None:
    """Where nothing can end the text, a chunk costs two calls of the decoder and not one for each id."""
    decoder = CopiedDecoder(["a"] * 100)
    CopiedDecoder.calls = 0
    ending = Ending(decoder, length=200, stop=["zz"], eos_id=EOS)  # type: ignore[arg-type]
    assert ending.take(np.arange(98)) == ("a" * 98, 98)
    assert CopiedDecoder.calls == 2
