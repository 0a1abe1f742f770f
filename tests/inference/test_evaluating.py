"""The loss of a model on a whole text: each protocol against steps by hand, the standard error against known variances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from implementations import tiny_engine
from small_models import Pair, fitted

from escriba.engine.sampling import log_softmax
from escriba.errors import SettingsError, TextError, UnknownSymbolError
from escriba.inference import evaluating
from escriba.inference.evaluating import Measured, characters_by_id, measure
from escriba.inference.scorer import Scorer
from escriba.text import corpus
from escriba.text.tokenizer import CharTokenizer, WordTokenizer

LINES = ["the cat sat on the mat.", "the dog ate the hat.", "a ñandú sat.", "the hat ate the cat on the mat."] * 40


def part_for(pair: Pair, lines: list[str] = LINES) -> corpus.Corpus:
    """A text in the model's form."""
    if pair.tokenizer.eos_id is not None:
        return corpus.read(documents=lines)
    return corpus.read(text="\n".join(lines), documents="stream")


def windows_by_hand(pair: Pair, ids: np.ndarray, window: int) -> float:
    """The nats of every symbol but the first, each window from a state of zero."""
    nats = 0.0
    for start in range(0, len(ids) - 1, window):
        state = pair.engine.initial_state(1)
        for at in range(start, min(start + window, len(ids) - 1)):
            logits, state = pair.engine.step([int(ids[at])], state)
            nats -= float(log_softmax(logits[0])[int(ids[at + 1])])
    return nats


def test_one_lane_is_the_score(pair: Pair) -> None:
    """A stream in one lane has the sum that `Scorer` gives the text, and documents the sums of each with its <eos>."""
    part = part_for(pair)
    measured, scorer = measure(*pair, part, lanes=1), Scorer(*pair)
    texts = part.documents
    scores = [scorer.score(text, eos=part.is_documents) for text in texts]
    assert math.isclose(measured.block_nats.sum(), -sum(score.log_likelihood for score in scores), rel_tol=1e-6)
    assert measured.symbols == sum(score.symbols for score in scores)
    assert (measured.characters, measured.bytes) == (sum(map(len, texts)), sum(len(text.encode()) for text in texts))
    if not part.is_documents:
        first = int(measured.block_symbols[0])
        assert math.isclose(measured.block_nats[0], scorer.score(part.text).surprisals[:first].sum(), rel_tol=1e-6)
    assert measured.unknown == sum(score.unknown for score in scores)


@pytest.mark.parametrize("window", [1, 7, 256, 10**6])
def test_windows_are_those_made_by_hand(pair: Pair, window: int) -> None:
    """Every window begins from a state of zero, the last may be shorter, and all but the text's first symbol count once."""
    part = part_for(pair, LINES[:6])
    ids = np.asarray(part.encode(pair.tokenizer).with_ends())
    measured = measure(*pair, part, protocol="window", window=window)
    assert math.isclose(measured.block_nats.sum(), windows_by_hand(pair, ids, window), rel_tol=1e-5)
    assert measured.symbols == len(ids) - 1
    assert len(measured.block_nats) == math.ceil((len(ids) - 1) / window)


def test_the_convention_of_windows_says_what_is_left_out(stream_pair: Pair, documents_pair: Pair) -> None:
    """Of a stream its first symbol is nobody's target; of documents every symbol is one, and every end."""
    stream, documents = (measure(*pair, part_for(pair), protocol="window").convention for pair in (stream_pair, documents_pair))
    assert "first symbol not" in stream
    assert "<eos>" not in stream
    assert "first symbol not" not in documents
    assert "the <eos> after each counted" in documents


def test_lanes_agree_with_one(stream_pair: Pair) -> None:
    """16 lanes with their warm-up give the mean of one lane within a thousandth of a nat, and score every symbol once."""
    part = part_for(stream_pair, LINES * 4)
    one, many = (measure(*stream_pair, part, lanes=lanes) for lanes in (1, 16))
    assert many.symbols == one.symbols > 16 * 512
    assert abs(one.loss_nats - many.loss_nats) < 1e-3
    np.testing.assert_allclose(one.block_nats, many.block_nats, rtol=1e-3)
    assert one.convention != many.convention


def test_the_first_lane_begins_from_nothing(stream_pair: Pair) -> None:
    """The first blocks are bit for bit those of one lane's begin: nothing was read before the text."""
    part = part_for(stream_pair, LINES * 4)
    one, many = (measure(*stream_pair, part, lanes=lanes) for lanes in (1, 3))
    assert math.isclose(one.block_nats[0], many.block_nats[0], rel_tol=1e-9)


def test_chunks_do_not_matter(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few symbols are read at once, the figures are the same, and progress grows to its end."""
    part = part_for(pair, LINES[:20])
    for protocol in evaluating.PROTOCOLS:
        whole = measure(*pair, part, protocol=protocol, window=16)
        told: list[tuple[int, int]] = []
        with monkeypatch.context() as patch:
            patch.setattr(evaluating, "_PLACES", 40)
            patch.setattr(evaluating, "_MOST_LOGITS", 2 * pair.tokenizer.vocab_size)
            pieced = measure(*pair, part, protocol=protocol, window=16, progress=lambda *one: told.append(one))  # noqa: B023
        np.testing.assert_allclose(pieced.block_nats, whole.block_nats, rtol=1e-5)
        assert len(told) > 1
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert told[-1][0] == told[-1][1]


def test_characters(pair: Pair) -> None:
    """The blocks' characters are those of the text: of several bytes the first stands for its character, a known word for its letters."""
    tokenizer = (
        WordTokenizer.fit(LINES if pair.tokenizer.eos_id is not None else "\n".join(LINES)) if pair.tokenizer.kind == "word" else None
    )
    same = pair if tokenizer is None else Pair(tiny_engine(tokenizer.vocab_size), tokenizer)
    part = part_for(same)
    measured = measure(*same, part)
    assert math.isclose(measured.block_characters.sum(), part.characters)
    windowed = measure(*same, part, protocol="window")
    assert math.isclose(windowed.block_characters.sum(), windowed.characters)
    if pair.tokenizer.kind == "byte":
        assert characters_by_id(pair.tokenizer)[[0x41, *"ñ".encode()]].tolist() == [1.0, 1.0, 0.0]


def test_an_unseen_word_has_the_mean_length() -> None:
    """How long an unseen word was is not known from its id: it counts as the training text's words do on average."""
    tokenizer = WordTokenizer.fit("aaaa bb")
    assert tokenizer.unk_id == 0
    assert characters_by_id(tokenizer)[0] == pytest.approx((4 + 2 + 1) / 3)


def simulated(dice: np.random.Generator, blocks: int) -> Measured:
    """Blocks of random lengths; each has an offset of its own, so symbols of one block are alike: the true mean is 2."""
    symbols = dice.integers(50, 150, blocks)
    nats = symbols * (2.0 + 0.3 * dice.standard_normal(blocks)) + np.sqrt(symbols) * dice.standard_normal(blocks)
    return Measured(nats, symbols, symbols.astype(float), int(symbols.sum()), int(symbols.sum()), 0, "simulated")


def test_standard_error_of_a_known_variance() -> None:
    """Over 2,000 simulated texts the true mean lies within 1.96 standard errors in 95 % of them.

    Of 2,000 the count has a standard deviation of 10; with 60 blocks the normal bound covers about 94.5 %. Outside 1,850 to 1,940 a right
    estimate would fall less than once in 10,000 runs, and the dice are seeded.
    """
    dice = np.random.default_rng(5)
    inside = 0
    for _ in range(2000):
        measured = simulated(dice, 60)
        assert measured.standard_error is not None
        inside += abs(measured.loss_nats - 2.0) < 1.96 * measured.standard_error
    assert 1850 <= inside <= 1940


def test_one_block_has_no_error(stream_pair: Pair) -> None:
    """From a single block nothing is known of how blocks differ."""
    assert measure(*stream_pair, part_for(stream_pair, ["the cat."])).standard_error is None


@pytest.mark.parametrize("wrong", [{"protocol": "lines"}, {"window": 0}, {"window": True}, {"window": None}, {"lanes": 0}, {"lanes": 1.5}])
def test_wrong_arguments(stream_pair: Pair, wrong: dict[str, object]) -> None:
    """A protocol, a window or lanes that are none are refused by name."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        measure(*stream_pair, part_for(stream_pair), **wrong)  # type: ignore[arg-type]


def test_the_other_form_is_refused(stream_pair: Pair, documents_pair: Pair) -> None:
    """Documents are not measured by a model of a stream, nor a stream by one of documents."""
    for pair, other in ((stream_pair, documents_pair), (documents_pair, stream_pair)):
        with pytest.raises(TextError, match="the model is one of"):
            measure(*pair, part_for(other))


def test_unseen_symbols_are_told_or_refused() -> None:
    """They count as <unk>, and the convention says how many; without an <unk> they are an error."""
    tokenizer = fitted("char-stream")
    part = corpus.read(text="the ñu and the ñu", documents="stream")
    assert "unseen" in measure(tiny_engine(tokenizer.vocab_size), tokenizer, part).convention
    strict = CharTokenizer.fit("the cat", unknown=False)
    with pytest.raises(UnknownSymbolError):
        measure(tiny_engine(strict.vocab_size), strict, part)
