"""Beam search: what it finds is what looking at everything finds, width 1 is greedy, and its scores are scores."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from implementations import tiny_engine
from scripted import ScriptedEngine
from small_models import TEXT, Pair, random_pair

from escriba.engine.protocol import Array, State
from escriba.errors import SettingsError, UnknownSymbolError
from escriba.inference.beam import BeamSearch
from escriba.inference.generator import Generator
from escriba.inference.scorer import Scorer
from escriba.settings import SampleSettings
from escriba.text.tokenizer import CharTokenizer, Tokenizer, WordTokenizer

GREEDY = SampleSettings(temperature=0.0)


def all_texts(engine_pair: Pair, prompt: str, length: int, penalty: float) -> list[tuple[float, str]]:
    """Every text of a length, or of documents that end before, with its normalized score, the best first; by scoring each alone."""
    engine, tokenizer = engine_pair
    letters = [symbol for at, symbol in enumerate(tokenizer.symbols) if at not in (tokenizer.unk_id, tokenizer.eos_id)]
    scorer = Scorer(engine, tokenizer)
    found = []
    for count in range(0 if tokenizer.eos_id is not None else length, length + 1):
        for text in map("".join, itertools.product(letters, repeat=count)):
            score = scorer.score(text, prompt).log_likelihood if text else 0.0
            symbols = count
            if count < length:
                next_symbol = scorer_next(engine_pair, prompt + text)
                score += float(next_symbol[tokenizer.eos_id])
                symbols += 1
            found.append((score / max(1, symbols) ** penalty, text))
    return sorted(found, reverse=True)


def scorer_next(engine_pair: Pair, text: str) -> np.ndarray:
    """The log-probabilities after a text, by the engine alone: the text follows <eos>."""
    engine, tokenizer = engine_pair
    ids = [tokenizer.eos_id, *np.asarray(tokenizer.encode(text)).tolist()]
    logits, _ = engine.advance([ids], engine.initial_state(1))
    last = np.asarray(logits[0, -1], dtype=np.float64)
    return last - last.max() - math.log(np.exp(last - last.max()).sum())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("form", ["stream", "documents"])
def test_a_wide_beam_finds_what_looking_at_all_texts_finds(form: str, penalty: float, seed: int) -> None:
    """With a place for every beginning of texts of 4 characters the best are the best of all, in their order, with their scores."""
    tokenizer = CharTokenizer.fit("abccab" if form == "stream" else ["abc", "cab"])
    pair = Pair(tiny_engine(tokenizer.vocab_size, seed=seed), tokenizer)
    expected = all_texts(pair, "ab", 4, penalty)
    found = BeamSearch(*pair).search("ab", length=4, width=64, length_penalty=penalty)
    assert len(found) == 64
    for beam, (score, text) in zip(found[:20], expected, strict=False):
        assert beam.text == text
        assert math.isclose(beam.normalized, score, abs_tol=1e-9)


def test_a_narrow_beam_can_miss_what_a_wide_one_finds() -> None:
    """Width matters: over some models the best text of a wide beam is better than that of a greedy one, and never worse than all others."""
    better = 0
    for seed in range(12):
        search = BeamSearch(*random_pair("char-stream", seed=seed))
        narrow, wide = (search.search("the", length=6, width=width)[0] for width in (1, 64))
        assert wide.log_likelihood >= narrow.log_likelihood - 1e-9
        better += wide.log_likelihood > narrow.log_likelihood + 1e-6
    assert better > 0


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("no_repeat", [None, 3])
@pytest.mark.parametrize("stop", [(), ("t", "d ")])
def test_width_1_is_greedy(pair: Pair, stop: tuple[str, ...], no_repeat: int | None, penalty: float) -> None:
    """For every unit, with and without a prompt, stop and repeats: one beginning is greedy writing, likelihood and all."""
    settings = GREEDY.but(no_repeat=no_repeat)
    for prompt in ("", "the cat"):
        (made,) = Generator(*pair).generate(prompt, length=30, settings=settings, stop=stop)
        (beam,) = BeamSearch(*pair).search(prompt, length=30, width=1, stop=stop, no_repeat=no_repeat, length_penalty=penalty)
        assert (beam.text, beam.finish_reason, beam.ids) == (made.text, made.finish_reason, made.ids)
        assert math.isclose(beam.log_likelihood, made.log_likelihood, abs_tol=1e-9)


def test_what_is_found(pair: Pair) -> None:
    """Texts are all different, in order, of the length or ended, again the same; their log-likelihood is their score."""
    search = BeamSearch(*pair)
    found = search.search("the ", length=12, width=7, length_penalty=0.5, stop="og")
    assert search.search("the ", length=12, width=7, length_penalty=0.5, stop="og") == found
    assert 1 <= len(found) <= 7
    assert len({beam.text for beam in found}) == len(found)
    assert sorted((beam.normalized for beam in found), reverse=True) == [beam.normalized for beam in found]
    for beam in found:
        assert (len(beam.text) == 12) == (beam.finish_reason == "length") or len(beam.text) == 12
        assert "og" not in beam.text
        if beam.text and np.asarray(pair.tokenizer.encode(beam.text)).tolist() == list(beam.ids):
            assert math.isclose(beam.log_likelihood, Scorer(*pair).score(beam.text, "the ").log_likelihood, abs_tol=1e-9)
        else:
            assert not beam.text or pair.tokenizer.kind != "char", "of characters it always is"


def reciting(tokenizer: Tokenizer, text: str, *, eos: bool = False) -> BeamSearch:
    """A search over a model that recites a text."""
    script = np.asarray(tokenizer.encode(text)).tolist()
    return BeamSearch(ScriptedEngine(tokenizer.vocab_size, [*script, tokenizer.eos_id] if eos else script), tokenizer)


def test_ends() -> None:
    """A document ends at <eos>, which counts in the order and not in the likelihood; a text ends before a stop string, or is cut."""
    documents = CharTokenizer.fit(TEXT.splitlines())
    best = reciting(documents, "the hat", eos=True).search(length=50, width=3)[0]
    assert (best.text, best.finish_reason, len(best.ids)) == ("the hat", "eos", 7)
    assert best.normalized <= best.log_likelihood
    assert reciting(documents, "the hat", eos=True).search(length=5, width=3)[0].text == "the h"
    stream = CharTokenizer.fit(TEXT)
    best = reciting(stream, "the cat sat").search("x", length=50, width=3, stop=["sa", "cat s"])[0]
    assert (best.text, best.finish_reason) == ("the ", "stop")
    nothing = reciting(stream, "the").search("x", length=0, width=3)
    assert [(beam.text, beam.log_likelihood, beam.finish_reason) for beam in nothing] == [("", 0.0, "length")]


class _LateReward(ScriptedEngine):
    """Ends at once, or after one a, or, hardly less likely, is then sure to write twelve."""

    def step(self, ids: npt.ArrayLike, state: State) -> tuple[Array, State]:
        """Only how many symbols were read counts."""
        logits, after = super().step(ids, state)
        a, b, eos = self.script
        for row, read in enumerate(state[0][0][:, 0].astype(int)):
            chances = {0: {eos: 0.5, a: 0.3, b: 0.2}, 1: {eos: 0.5, a: 0.49, b: 0.01}}.get(read, {a: 1.0} if read < 12 else {eos: 1.0})
            logits[row] = -60.0
            for token, chance in chances.items():
                logits[row, token] = math.log(chance)
        return logits, after


def test_the_search_goes_on_while_a_longer_text_may_be_better() -> None:
    """Texts that have ended do not end the search, if one that goes on is worse now and may be better once it is longer."""
    tokenizer = CharTokenizer.fit(["ab"])
    script = [*np.asarray(tokenizer.encode("ab")).tolist(), tokenizer.eos_id]
    best = BeamSearch(_LateReward(tokenizer.vocab_size, script), tokenizer).search(length=50, width=2, length_penalty=1.0)[0]
    assert best.text == "a" * 12
    assert math.isclose(best.normalized, (math.log(0.3) + math.log(0.49)) / 13, abs_tol=1e-6)
    best = BeamSearch(_LateReward(tokenizer.vocab_size, script), tokenizer).search(length=50, width=2)[0]
    assert best.text == ""


def test_texts_cut_within_words_are_told_once() -> None:
    """Where a symbol is a word, two ways to the same cut text are one text."""
    tokenizer = WordTokenizer.fit("cat cats catsup")
    found = BeamSearch(tiny_engine(tokenizer.vocab_size), tokenizer).search("cat ", length=3, width=20)
    assert len({beam.text for beam in found}) == len(found)
    assert "cat" in {beam.text for beam in found}


def test_unk_is_never_written(stream_pair: Pair) -> None:
    """The likeliest text has no <unk>, however likely the model finds it; an unseen symbol of the prompt is told."""
    tokenizer = stream_pair.tokenizer
    unknown = BeamSearch(ScriptedEngine(tokenizer.vocab_size, [tokenizer.unk_id or 0]), tokenizer)
    assert all(tokenizer.unk_id not in beam.ids for beam in unknown.search("the", length=4, width=8))
    assert "'ñ'" in BeamSearch(*stream_pair).search("ñ", length=2)[0].notices[0]
    strict = CharTokenizer.fit(TEXT, unknown=False)
    with pytest.raises(UnknownSymbolError):
        BeamSearch(tiny_engine(strict.vocab_size), strict).search("ñ")


def test_repeats_are_looked_for_at_the_end_of_a_long_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a prompt only the last 100,000 symbols are looked at, so that a step does not take longer the longer it is."""
    tokenizer = CharTokenizer.fit("abc")
    search = BeamSearch(ScriptedEngine(tokenizer.vocab_size, np.asarray(tokenizer.encode("a")).tolist()), tokenizer)
    assert search.search("aab", length=2, width=1, no_repeat=2)[0].text == "ac"
    monkeypatch.setattr("escriba.inference.beam.REMEMBERED", 1)
    assert search.search("aab", length=2, width=1, no_repeat=2)[0].text == "aa"
    assert search.search("aab", length=3, width=1, no_repeat=2)[0].text == "aab", "what was written counts all the same"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"width": 0}, "width of the beam is 0"),
        ({"width": 65}, "65"),
        ({"width": 2.0}, "2.0"),
        ({"width": True}, "True"),
        ({"length_penalty": -0.1}, "length_penalty is -0.1"),
        ({"length_penalty": 2.1}, "length_penalty"),
        ({"length_penalty": math.nan}, "length_penalty"),
        ({"length_penalty": "1"}, "length_penalty"),
        ({"length": -1}, "length is -1"),
        ({"length": None}, "length is None"),
        ({"no_repeat": 1}, "no_repeat is 1"),
        ({"stop": ""}, "stop string is empty"),
        ({"prompt": 3}, "prompt holds 3"),
    ],
)
def test_values_out_of_range(values: dict[str, object], said: str, stream_pair: Pair) -> None:
    """Each is refused by name."""
    with pytest.raises(SettingsError, match=said.replace(".", r"\.")):
        BeamSearch(*stream_pair).search(**values)  # type: ignore[arg-type]
