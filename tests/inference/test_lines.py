"""Lines scored one after another: each as if alone, or as one text; in batches that nobody notices, in memory that does not grow."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np
import pytest
from implementations import tiny_engine
from small_models import TEXT, Pair

from escriba.engine import protocol
from escriba.errors import SettingsError, TextError, UnknownSymbolError
from escriba.inference import lines as module
from escriba.inference.lines import lines_in, score_lines
from escriba.inference.scorer import Scorer
from escriba.text.tokenizer import CharTokenizer

LINES = [*TEXT.splitlines(), "", "the", "a cat and a dog sat there, and the hat was on the mat.", "ñ?", "", "the cat " * 40]


@pytest.mark.parametrize("after", ["", "the dog"])
def test_each_line_alone(pair: Pair, after: str) -> None:
    """With the state reset, a line's score is the single text's, whatever stands beside it; an empty line has no symbols and 0 nats."""
    found = list(score_lines(*pair, LINES, after))
    assert [score.text for score in found] == LINES
    assert [score.line for score in found] == list(range(1, len(LINES) + 1))
    for score in found:
        if not score.text:
            assert (score.log_likelihood, score.symbols, score.characters, score.bits_per_char) == (0.0, 0, 0, None)
            continue
        single = Scorer(*pair).score(score.text, after)
        assert math.isclose(score.log_likelihood, single.log_likelihood, abs_tol=1e-9)
        assert (score.symbols, score.characters, score.unknown) == (single.symbols, single.characters, single.unknown)
        assert score.bits_per_char is not None
        assert math.isclose(score.bits_per_char, single.bits_per_char, abs_tol=1e-12)


@pytest.mark.parametrize("after", ["", "the dog"])
def test_carried_lines_are_one_text(stream_pair: Pair, after: str) -> None:
    """In a stream, the carried lines with their line feeds sum to that of the whole text; each is its part of it."""
    found = list(score_lines(*stream_pair, LINES, after, carry=True))
    whole = Scorer(*stream_pair).score("".join(line + "\n" for line in LINES), after)
    assert math.isclose(sum(score.log_likelihood for score in found), whole.log_likelihood, abs_tol=1e-9)
    ends = np.cumsum([len(line) + 1 for line in LINES])
    for score, end in zip(found, ends, strict=True):
        assert score.symbols == score.characters == len(score.text) + 1
        part = whole.surprisals[end - score.symbols : end].sum()
        assert math.isclose(-score.log_likelihood, part, abs_tol=1e-9)


@pytest.mark.parametrize("kind", ["word-stream", "byte-stream"])
def test_carried_lines_of_other_units(kind: str, request: pytest.FixtureRequest) -> None:
    """Words and bytes, too, sum to the whole text."""
    from small_models import random_pair

    pair = random_pair(kind)
    found = sum(score.log_likelihood for score in score_lines(*pair, LINES, carry=True))
    whole = Scorer(*pair).score("".join(line + "\n" for line in LINES)).log_likelihood
    assert math.isclose(found, whole, abs_tol=1e-9)


@pytest.mark.parametrize("eos", [False, True])
def test_carried_documents(documents_pair: Pair, eos: bool) -> None:
    """In documents, with the state carried, an <eos> is read after each line; it counts where it is asked for."""
    engine, tokenizer = documents_pair
    lines = ["the cat", "", "the dog"]
    state, last, wanted = engine.initial_state(1), tokenizer.eos_id, []
    for line in lines:
        ids = [*tokenizer.encode(line).tolist(), tokenizer.eos_id]
        reading, state = engine.read([[last, *ids[:-1]]], [ids], state)
        last = tokenizer.eos_id
        wanted.append(float(reading.log_probs[0, : len(ids) if eos else len(ids) - 1].sum()))
    found = [score.log_likelihood for score in score_lines(*documents_pair, lines, carry=True, eos=eos)]
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    after = [score.log_likelihood for score in score_lines(*documents_pair, lines[1:], lines[0], carry=True, eos=eos)]
    np.testing.assert_allclose(after, wanted[1:], atol=1e-9)


def test_the_end_of_each_line(documents_pair: Pair, stream_pair: Pair) -> None:
    """The <eos> counts as one more symbol of each line, an empty one too; a stream has none."""
    found = list(score_lines(*documents_pair, ["the cat", ""], eos=True))
    assert math.isclose(found[0].log_likelihood, Scorer(*documents_pair).score("the cat", eos=True).log_likelihood, abs_tol=1e-9)
    assert found[1].symbols == 1
    assert found[1].log_likelihood < 0
    assert found[1].bits_per_char is None
    with pytest.raises(SettingsError, match="documents"):
        score_lines(*stream_pair, ["a"], eos=True)


@pytest.mark.parametrize("carry", [False, True])
def test_windows_leave_no_trace(pair: Pair, carry: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few lines are read ahead, the scores are the same."""
    dice = random.Random(1)
    lines = ["".join(dice.choices("the cat\tdog.", k=dice.randrange(40))) for _ in range(60)]
    whole = [score.log_likelihood for score in score_lines(*pair, lines, carry=carry)]
    monkeypatch.setattr(module, "_LINES_AHEAD", 7)
    np.testing.assert_allclose([score.log_likelihood for score in score_lines(*pair, lines, carry=carry)], whole, atol=1e-9)
    monkeypatch.setattr(module, "_CHARACTERS_AHEAD", 1)
    np.testing.assert_allclose([score.log_likelihood for score in score_lines(*pair, lines, carry=carry)], whole, atol=1e-9)


@pytest.mark.parametrize("carry", [False, True])
def test_lines_without_end(stream_pair: Pair, carry: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are taken as they are needed, a bounded number ahead, so a text without end gives its first scores."""
    monkeypatch.setattr(module, "_LINES_AHEAD", 50)
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "the cat"

    scores = score_lines(*stream_pair, endless(), carry=carry)
    for _ in range(120):
        next(scores)
    assert taken == 150


def test_long_lines_among_short_ones_in_little_memory(stream_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long line is cut into chunks of time and pads no short one: no array of logits passes the bound."""
    most = 40 * stream_pair.tokenizer.vocab_size
    monkeypatch.setattr(protocol, "_LOGITS_PER_CHUNK", most)
    monkeypatch.setattr("escriba.inference.reading._MOST_PLACES", 1000)
    sizes, places = [], []
    advance, read = type(stream_pair.engine).advance, type(stream_pair.engine).read

    def watched_advance(self: object, ids: np.ndarray, state: object) -> object:
        logits, after = advance(self, ids, state)  # type: ignore[arg-type]
        sizes.append(logits.size)
        return logits, after

    def watched_read(self: object, ids: np.ndarray, *rest: object, **more: object) -> object:
        places.append(ids.size)
        return read(self, ids, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(type(stream_pair.engine), "advance", watched_advance)
    monkeypatch.setattr(type(stream_pair.engine), "read", watched_read)
    lines = ["the cat sat"] * 20 + ["the dog " * 100]
    list(score_lines(*stream_pair, lines))
    assert max(sizes) <= most
    assert sum(places) == 799 + 20 * 10, "nothing but what had to be read"


def test_lines_of_like_length_go_together(stream_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short and long lines in turns are read with hardly any padding."""
    places = []
    read = type(stream_pair.engine).read

    def watched(self: object, ids: np.ndarray, *rest: object, **more: object) -> object:
        places.append(ids.shape)
        return read(self, ids, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(type(stream_pair.engine), "read", watched)
    monkeypatch.setattr("escriba.inference.reading._MOST_ROWS", 8)
    list(score_lines(*stream_pair, ["the cat sat on the mat", "a"] * 16))
    assert places == [(8, 21), (8, 21)]  # the lines of one symbol need no network


def test_an_unseen_symbol_without_unk_names_the_line() -> None:
    """The line is named, after the scores of the lines before it were given."""
    tokenizer = CharTokenizer.fit(TEXT, unknown=False)
    scores = score_lines(tiny_engine(tokenizer.vocab_size), tokenizer, ["the", "a cat", "añ", "the"])
    assert [next(scores).text for _ in range(2)] == ["the", "a cat"]
    with pytest.raises(UnknownSymbolError, match="line 3: 'ñ' at position 1"):
        next(scores)


def test_what_is_no_line(stream_pair: Pair) -> None:
    """A line that is no string is an error that names it."""
    with pytest.raises(TextError, match="line 2 is 7"):
        list(score_lines(*stream_pair, ["a", 7]))  # type: ignore[list-item]


def test_nothing(pair: Pair) -> None:
    """No lines have no scores."""
    assert list(score_lines(*pair, [])) == []


def test_conventions_of_lines(stream_pair: Pair, documents_pair: Pair) -> None:
    """One line says what was measured: the ways of measuring differ in it."""
    said = [next(score_lines(*stream_pair, ["a"], after, carry=carry)).convention for after in ("", "the") for carry in (False, True)]
    said += [
        next(score_lines(*documents_pair, ["a"], after, carry=carry, eos=eos)).convention
        for after in ("", "the")
        for carry in (False, True)
        for eos in (False, True)
    ]
    assert len(set(said)) == len(said)
    assert not any("\n" in one for one in said)
    assert all("nats" in one and "unseen symbols" in one for one in said)
    assert "each line from the beginning" in said[0]
    assert "line feed after each line counted" in said[1]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 1000])
def test_lines_of_a_text_in_parts(width: int) -> None:
    """Wherever the parts are cut, within CRLF too, the lines are those of the whole."""
    text = "one\r\ntwo\n\nthree\rfour\r\n\r\nfive\r"
    parts = [text[at : at + width] for at in range(0, len(text), width)]
    assert list(lines_in(parts)) == ["one", "two", "", "three", "four", "", "five"]
    assert list(lines_in([*parts, "six"])) == ["one", "two", "", "three", "four", "", "five", "six"]
    assert list(lines_in([])) == []
