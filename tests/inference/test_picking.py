"""A text that a person picks: the choices are the likeliest, their probabilities are the model's, and going back goes back."""

from __future__ import annotations

import gc
import itertools
import math
import weakref

import numpy as np
import pytest
from implementations import tiny_engine
from scripted import ScriptedEngine
from small_models import TEXT, Pair, random_pair

from escriba.errors import SettingsError, UnknownSymbolError
from escriba.inference import picking as picking_module
from escriba.inference.picking import Picker
from escriba.inference.scorer import Scorer
from escriba.inference.writer import Writer
from escriba.settings import SampleSettings
from escriba.text.tokenizer import CharTokenizer


def picker(pair: Pair, prompt: str = "the ", **values: object) -> Picker:
    """A picker behind a prompt."""
    return Picker(Writer(*pair, prompt, seed=1), **values)  # type: ignore[arg-type]


def test_symbols_are_the_likeliest(pair: Pair) -> None:
    """The choices are the top of the next symbol's distribution, but for <unk>, with its probabilities."""
    expected = [(symbol, p) for symbol, p in Writer(*pair, "the ").next().top(10) if symbol != "<unk>"][:9]
    choices = picker(pair, kind="symbol").choices()
    assert [choice.text for choice in choices] == [symbol for symbol, _ in expected]
    np.testing.assert_allclose([choice.probability for choice in choices], [p for _, p in expected], rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", ["stream", "documents"])
def test_words_are_the_likeliest(form: str, seed: int) -> None:
    """The choices are the likeliest of all words, in order, with their probabilities: seen by looking at all short ones."""
    tokenizer = CharTokenizer.fit("ab ab\n" if form == "stream" else ["ab", "b a"])
    pair = Pair(tiny_engine(tokenizer.vocab_size, seed=seed), tokenizer)
    letters = [symbol for symbol in tokenizer.symbols if len(symbol) == 1]
    words = []
    for count in range(1, 8):
        for word in map("".join, itertools.product(letters, repeat=count)):
            parts = word.split()
            if word[-1].isspace() and len(parts) == 1 and not word[:-1][word.index(parts[0]) :].count(" ") and word[-2:].strip():
                words.append((Scorer(*pair).score(word, "ab ").log_likelihood, word, False))
            if tokenizer.eos_id is not None and len(parts) <= 1 and not (parts and word[-1].isspace()):
                end = Writer(*pair, "ab " + word).next().log_probs[tokenizer.eos_id]
                words.append((Scorer(*pair).score(word, "ab ").log_likelihood + end, word, True))
    if tokenizer.eos_id is not None:
        words.append((float(Writer(*pair, "ab ").next().log_probs[tokenizer.eos_id]), "", True))
    choices = picker(pair, "ab ").choices()
    assert len(choices) == 9
    likely = {(word, ends): score for score, word, ends in words}
    offered = {(choice.text, choice.ends): choice.log_likelihood for choice in choices}
    assert [one for one, score in likely.items() if score > choices[-1].log_likelihood + 1e-9 and one not in offered] == []
    short = [one for one in offered if len(one[0]) < 8]
    assert len(short) >= 2
    for one in short:
        assert math.isclose(offered[one], likely[one], abs_tol=1e-9)


def test_words_of_every_unit(pair: Pair) -> None:
    """Choices come for every unit, the likeliest first, and each can be picked: the text then has it, and the probability is kept."""
    for number in (1, 2, 9):
        one = picker(pair)
        choices = one.choices()
        assert sorted((choice.probability for choice in choices), reverse=True) == [choice.probability for choice in choices]
        assert 0 < sum(choice.probability for choice in choices) <= 1 + 1e-9
        choice = one.pick(number)
        assert one.text == "the " + choice.text
        if not choice.ends:
            assert math.isclose(one.log_likelihood, choice.log_likelihood, abs_tol=1e-9)


def test_unlikely_words_are_offered_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no blank is in sight, the likeliest beginnings are offered; a search never takes more steps than it may."""
    tokenizer = CharTokenizer.fit(TEXT)
    engine = ScriptedEngine(tokenizer.vocab_size, np.asarray(tokenizer.encode("t")).tolist())
    choices = Picker(Writer(engine, tokenizer, "t", seed=1), kind="word").choices()
    assert choices[0].text == "t" * 20
    assert len(choices) == 9
    monkeypatch.setattr(picking_module, "_MOST_STEPS", 3)
    engine.rows_read = 0
    choices = Picker(Writer(engine, tokenizer, "t", seed=1), kind="word").choices()
    assert choices[0].text == "tttt"
    assert len(choices) == 9
    assert engine.rows_read <= 4


def test_lines(stream_pair: Pair) -> None:
    """Lines are different ones, to their end and with it, likelier ones first, with their scores; other lines when asked again."""
    one = picker(stream_pair, kind="line", most=5)
    choices = one.choices()
    assert one.choices() is choices
    assert len({choice.text for choice in choices}) == len(choices) == 5
    for choice in choices:
        assert choice.text.endswith("\n") or len(choice.text) == 200
        assert "\n" not in choice.text[:-1]
        assert math.isclose(choice.log_likelihood, Scorer(*stream_pair).score(choice.text, "the ").log_likelihood, abs_tol=1e-9)
    assert [choice.log_likelihood for choice in choices] == sorted((choice.log_likelihood for choice in choices), reverse=True)
    again = picker(stream_pair, kind="line", most=5)
    assert [choice.text for choice in again.choices()] == [choice.text for choice in choices]
    again.kind = "line"
    assert [choice.text for choice in again.choices()] != [choice.text for choice in choices]
    one.temperature = 0.0
    assert len(one.choices()) == 1
    one.pick(1)
    assert one.temperature == 0.0


def test_going_back(pair: Pair) -> None:
    """Every pick and push can be taken back, to the first: text, choices and likelihood are as they were; then there is nothing."""
    one = picker(pair)
    seen = []
    for number, kind in ((1, "word"), (2, "symbol"), (1, "line"), (1, "symbol"), (3, "word")):
        one.kind = kind  # type: ignore[assignment]
        seen.append((one.text, one.log_likelihood, one.ended))
        if one.ended:
            one.push("the ")
        else:
            one.pick(number)
    seen.append((one.text, one.log_likelihood, one.ended))
    one.push("dog ")
    assert one.text.endswith("dog ")
    for before in reversed(seen):
        assert one.back()
        assert (one.text, one.log_likelihood, one.ended) == before
    assert not one.back()
    assert (one.text, one.log_likelihood) == ("the ", 0.0)
    assert [choice.text for choice in one.choices()] == [choice.text for choice in picker(pair).choices()]


def test_back_shows_the_same_lines(stream_pair: Pair) -> None:
    """Lines are drawn, but going back shows those that were there, for one may have been the better."""
    one = picker(stream_pair, kind="line", most=3)
    before = [choice.text for choice in one.choices()]
    one.pick(2)
    one.choices()
    one.back()
    assert [choice.text for choice in one.choices()] == before


def test_a_line_without_chance_is_written_once() -> None:
    """At temperature 0 all lines are one line: it is not written again and again to find another."""
    tokenizer = CharTokenizer.fit(TEXT)
    engine = ScriptedEngine(tokenizer.vocab_size, np.asarray(tokenizer.encode(TEXT)).tolist())
    one = Picker(Writer(engine, tokenizer, "t", seed=1, settings=SampleSettings(temperature=0.0)), kind="line")
    engine.rows_read = 0
    assert [choice.text for choice in one.choices()] == ["the cat sat on the mat.\n"]
    assert engine.rows_read < 3 * 32


def test_the_way_back_is_light(stream_pair: Pair) -> None:
    """Choices of words that were not taken are not kept for the way back: they are found again."""
    one = picker(stream_pair)
    choices = one.choices()
    before, other = [choice.text for choice in choices], weakref.ref(choices[1])
    one.pick(1)
    del choices
    gc.collect()
    assert other() is None
    one.back()
    assert [choice.text for choice in one.choices()] == before


def test_the_end_of_a_document() -> None:
    """<eos> can be picked; then there is nothing to pick but the way back, or a text of one's own."""
    tokenizer = CharTokenizer.fit(TEXT.splitlines())
    script = [*np.asarray(tokenizer.encode("hat")).tolist(), tokenizer.eos_id]
    one = Picker(Writer(ScriptedEngine(tokenizer.vocab_size, script), tokenizer, seed=1), kind="word")
    assert (one.choices()[0].text, one.choices()[0].ends) == ("hat", True)
    one.pick()
    assert one.ended
    assert one.text == "hat"
    assert one.choices() == []
    with pytest.raises(SettingsError, match="there is no choice 1"):
        one.pick(1)
    one.push("s")
    assert (one.text, one.ended) == ("hats", False)
    one.back()
    assert one.ended
    one.back()
    one.kind = "symbol"
    assert [one.pick().text for _ in range(4)] == ["h", "a", "t", "<eos>"]
    assert one.ended
    assert one.text == "hat"


def test_the_writer_is_left_as_it_is(stream_pair: Pair) -> None:
    """Picking moves a branch: the writer that was given writes on as if nothing had been."""
    one, other = (Writer(*stream_pair, "the ", seed=3, settings=SampleSettings(temperature=1.0)) for _ in range(2))
    picked = Picker(one, kind="line")
    picked.temperature = 0.1
    picked.pick(3)
    picked.push("cat")
    assert (one.text, one.settings) == (other.text, other.settings)
    assert one.write(30) == other.write(30)
    assert "cat" in picked.text
    picked = Picker(one)
    before = picked.text
    one.write(5)
    assert picked.text == before, "nor does the writer move the picker"


def test_the_end_of_a_line_counts() -> None:
    """The likelihood of a line with which the document ends is that of the line and of the end."""
    pair = random_pair("char-documents")
    one = Picker(Writer(*pair, "the ", seed=1, settings=SampleSettings(temperature=4.0)), kind="line")
    ends = [choice for choice in one.choices() if choice.ends]
    assert ends
    for choice in ends:
        likelihood = Scorer(*pair).score(choice.text, "the ").log_likelihood if choice.text else 0.0
        end = Writer(*pair, "the " + choice.text).next().log_probs[pair.tokenizer.eos_id]
        assert math.isclose(choice.log_likelihood, likelihood + end, abs_tol=1e-9)


def test_taking_symbols_by_their_ids(pair: Pair) -> None:
    """A writer that takes ids stands where one stands that was given their text; what cannot be written is refused."""
    text = "cat sat"
    by_id, by_text = Writer(*pair, "the ", seed=1), Writer(*pair, "the ", seed=1)
    for token in np.asarray(pair.tokenizer.encode(text)).tolist():
        by_id.take(token)
    by_text.push(text)
    assert (by_id.text, by_id.ids) == (by_text.text, by_text.ids)
    assert math.isclose(by_id.log_likelihood, by_text.log_likelihood, abs_tol=1e-9)
    assert by_id.write(20) == by_text.write(20)
    for wrong in (-1, pair.tokenizer.vocab_size, *by_id.banned):
        with pytest.raises(SettingsError, match=f"id {wrong} cannot be written"):
            by_id.take(wrong)
    if pair.tokenizer.eos_id is not None and by_id.finished is None:
        by_id.take(pair.tokenizer.eos_id)
        assert by_id.finished == "eos"
        with pytest.raises(SettingsError, match="after the document has ended"):
            by_id.take(pair.tokenizer.eos_id)


def test_mistakes_change_nothing() -> None:
    """A number that is not there, an unseen symbol, a kind that there is not: an error, and all is as before."""
    one = picker(random_pair("char-stream"), kind="symbol")
    before = [choice.text for choice in one.choices()]
    for wrong in (0, 10, -1, True, "1", 1.0):
        with pytest.raises(SettingsError, match="there is no choice"):
            one.pick(wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="'verse' cannot be picked"):
        one.kind = "verse"  # type: ignore[assignment]
    with pytest.raises(SettingsError, match="temperature is -1"):
        one.temperature = -1
    assert ([choice.text for choice in one.choices()], one.text, one.back()) == (before, "the ", False)
    strict = CharTokenizer.fit(TEXT, unknown=False)
    one = Picker(Writer(tiny_engine(strict.vocab_size), strict, "the ", seed=1))
    with pytest.raises(UnknownSymbolError):
        one.push("ñ")
    assert one.text == "the "
    assert not one.back()
    with pytest.raises(SettingsError, match="most is 0"):
        picker(random_pair("char-stream"), most=0)
