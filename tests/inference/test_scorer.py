"""How likely a text is: every symbol counted, the first included, nothing left over from what was scored before."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from implementations import tiny_engine
from scripted import ScriptedEngine
from small_models import TEXT, Pair, fitted

from escriba.engine import protocol
from escriba.errors import SettingsError, TextError, UnknownSymbolError
from escriba.inference.scorer import Scorer, orders_of
from escriba.text.tokenizer import CharTokenizer

EXAMPLE = "the dog sat.\n"


def by_hand(pair: Pair, text: str, after: str = "", *, eos: bool = False) -> np.ndarray:
    """Log-probabilities of a text's symbols, one step after another."""
    engine, tokenizer = pair
    context = np.asarray(tokenizer.encode(after)).tolist()
    ids = np.asarray(tokenizer.encode(text)).tolist() + ([tokenizer.eos_id] if eos else [])
    state = engine.initial_state(1)
    log_probs = None
    if tokenizer.eos_id is None:
        counts = tokenizer.frequencies + 1.0
        log_probs = np.log(counts / counts.sum())
    else:
        context = [tokenizer.eos_id, *context]
    found = []
    for at, token in enumerate(context + ids):
        if at >= len(context):
            found.append(log_probs[token])
        logits, state = engine.step([token], state)
        wide = logits[0].astype(np.float64)
        log_probs = wide - np.log(np.exp(wide).sum())
    return np.array(found)


@pytest.mark.parametrize("after", ["", "the cat "])
def test_every_symbol_counts(pair: Pair, after: str) -> None:
    """A score is that of steps by hand: the first symbol by frequencies in a stream, after <eos> in a document, after a context by it."""
    wanted = by_hand(pair, EXAMPLE, after)
    scored = Scorer(*pair).score(EXAMPLE, after)
    np.testing.assert_allclose(-scored.surprisals, wanted, atol=1e-6)
    assert math.isclose(scored.log_likelihood, wanted.sum(), abs_tol=1e-5)
    assert scored.symbols == len(scored.ids) == len(scored.surprisals) == len(pair.tokenizer.encode(EXAMPLE))
    np.testing.assert_array_equal(scored.ids, pair.tokenizer.encode(EXAMPLE))
    np.testing.assert_array_equal(Scorer(*pair).surprisals(EXAMPLE, after), scored.surprisals)


def test_probabilities_of_all_texts_sum_to_one() -> None:
    """Over all texts of two symbols the probabilities sum to one: in a stream, and in a document with its end counted or not."""
    for tokenizer in (CharTokenizer.fit("abba"), CharTokenizer.fit(["ab", "b"])):
        scorer = Scorer(tiny_engine(tokenizer.vocab_size, dtype=np.float64), tokenizer)
        letters = ["a", "b", "?"]  # ? is <unk>
        total = sum(math.exp(scorer.score(one + two).log_likelihood) for one in letters for two in letters)
        if tokenizer.eos_id is not None:  # and those that end before
            total += sum(math.exp(scorer.score(one, eos=True).log_likelihood) for one in letters)
            total += math.exp(scorer._reader.next_log_probs(scorer._reader.begin())[0][tokenizer.eos_id])
        assert math.isclose(total, 1.0, abs_tol=1e-9)


def test_units() -> None:
    """Bits for a character, bits for a byte and perplexity are made of the nats as they should be."""
    tokenizer = CharTokenizer.fit("añb")
    scored = Scorer(tiny_engine(tokenizer.vocab_size), tokenizer).score("aññb")
    assert (scored.symbols, scored.characters, scored.bytes) == (4, 4, 6)
    assert math.isclose(scored.bits_per_char, -scored.log_likelihood / 4 / math.log(2))
    assert math.isclose(scored.bits_per_byte, -scored.log_likelihood / 6 / math.log(2))
    assert math.isclose(scored.perplexity, math.exp(-scored.log_likelihood / 4))
    assert math.isclose(scored.log_likelihood, -scored.surprisals.sum())


def test_the_end_of_a_document(documents_pair: Pair, stream_pair: Pair) -> None:
    """The <eos> counts as one symbol more when it is asked for, and cannot be asked of a stream."""
    scorer = Scorer(*documents_pair)
    plain, ended = scorer.score("the dog"), scorer.score("the dog", eos=True)
    assert ended.symbols == plain.symbols + 1
    assert ended.characters == plain.characters
    assert ended.ids[-1] == documents_pair.tokenizer.eos_id
    np.testing.assert_allclose(-ended.surprisals, by_hand(documents_pair, "the dog", eos=True), atol=1e-6)
    with pytest.raises(SettingsError, match="documents"):
        Scorer(*stream_pair).score("the dog", eos=True)


def test_scores_leave_no_trace(pair: Pair) -> None:
    """A score does not depend on what was scored before."""
    scorer = Scorer(*pair)
    first = scorer.score(EXAMPLE).log_likelihood
    scorer.score("something else entirely", "with a context")
    assert scorer.score(EXAMPLE).log_likelihood == first


def test_text_of_any_length_in_little_memory(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text is scored in chunks of time, of few logits at once, with the state carried: bit for bit the same."""
    text = TEXT * 4
    whole = Scorer(*pair).score(text, "the ").surprisals
    most = 3 * pair.tokenizer.vocab_size
    monkeypatch.setattr(protocol, "_LOGITS_PER_CHUNK", most)
    sizes = []
    advance = type(pair.engine).advance

    def watched(self: object, ids: np.ndarray, state: object) -> object:
        logits, after = advance(self, ids, state)  # type: ignore[arg-type]
        sizes.append(logits.size)
        return logits, after

    monkeypatch.setattr(type(pair.engine), "advance", watched)
    np.testing.assert_array_equal(Scorer(*pair).score(text, "the ").surprisals, whole)
    assert max(sizes) == most


def test_unseen_symbols(stream_pair: Pair) -> None:
    """They are scored as <unk> and counted; without an <unk> they are an error."""
    scored = Scorer(*stream_pair).score("ñaé")
    assert scored.unknown == 2
    assert scored.ids.tolist()[0] == scored.ids.tolist()[2] == stream_pair.tokenizer.unk_id
    assert "2 unseen" in scored.convention
    strict = CharTokenizer.fit(TEXT, unknown=False)
    with pytest.raises(UnknownSymbolError):
        Scorer(tiny_engine(strict.vocab_size), strict).score("ñ")


def test_texts_are_normalized_as_the_training_text_was() -> None:
    """A text typed with combining accents or Windows line ends scores as the same text without."""
    tokenizer = CharTokenizer.fit("caf\u00e9\n")
    scorer = Scorer(tiny_engine(tokenizer.vocab_size), tokenizer)
    assert scorer.score("cafe\u0301\r\n").log_likelihood == scorer.score("caf\u00e9\n").log_likelihood
    assert scorer.score("cafe\u0301\r\n").characters == 5


def test_nothing_to_score(pair: Pair) -> None:
    """An empty text has no score: an error says so."""
    with pytest.raises(TextError, match="nothing to score"):
        Scorer(*pair).score("", "the cat")


def test_conventions(stream_pair: Pair, documents_pair: Pair) -> None:
    """The line that says what was measured tells each way of measuring from the others, and is one line."""
    lines = [
        Scorer(*stream_pair).score("the").convention,
        Scorer(*stream_pair).score("the", "a").convention,
        Scorer(*documents_pair).score("the").convention,
        Scorer(*documents_pair).score("the", eos=True).convention,
        Scorer(*documents_pair).score("thé").convention,
    ]
    assert len(set(lines)) == len(lines)
    assert not any("\n" in line for line in lines)
    assert "frequencies" in lines[0]
    assert "<eos> not counted" in lines[2]


def test_perplexity_too_large_for_a_number() -> None:
    """A perplexity beyond any number is infinite, not an error."""

    class Certain(ScriptedEngine):
        def step(self, ids, state):  # type: ignore[no-untyped-def]
            logits, after = super().step(ids, state)
            return logits * 1000, after

    tokenizer = fitted("char-stream")
    scored = Scorer(Certain(tokenizer.vocab_size, [2]), tokenizer).score("ttt", "t")
    assert scored.perplexity == math.inf
    assert math.isfinite(scored.bits_per_char)


def test_symbols_as_they_stand_in_the_text(pair: Pair) -> None:
    """Each symbol is shown as it stands in the normalized text, an unseen one too; joined they are that text, and an <eos> adds nothing."""
    text = "the cat\r\nsaw a n\u0303and\u00fa \u6c34.\n"
    scored = Scorer(*pair).score(text, "the ")
    assert "".join(scored.pieces) == "the cat\nsaw a \u00f1and\u00fa \u6c34.\n"
    assert len(scored.pieces) == scored.symbols == len(scored.ranks)
    kind = pair.tokenizer.kind
    wanted = {"char": ["t", "h", "e"], "word": ["the", " ", "cat"], "byte": ["t", "h", "e"]}[kind]
    assert list(scored.pieces[:3]) == wanted
    if kind == "byte":
        at = scored.pieces.index("\u00f1")
        assert scored.pieces[at - 1] == ""
        assert scored.ids[at - 1 : at + 1].tolist() == list("\u00f1".encode())
    if pair.tokenizer.eos_id is not None:
        assert Scorer(*pair).score("the cat", eos=True).pieces[-1] == ""


def test_ranks_and_what_was_expected(pair: Pair) -> None:
    """A symbol's rank is its place among all, 1 the likeliest; what was expected are the likeliest with their probabilities, in order."""
    size = pair.tokenizer.vocab_size
    scored = Scorer(*pair).score(EXAMPLE, top=size + 5)
    for at, (rank, surprisal, likeliest) in enumerate(zip(scored.ranks, scored.surprisals, scored.expected, strict=True)):
        assert len(likeliest) == size
        assert likeliest[rank - 1][0] == pair.tokenizer.symbols[scored.ids[at]]
        assert math.isclose(likeliest[rank - 1][1], math.exp(-surprisal), rel_tol=1e-6)
        shares = [share for _, share in likeliest]
        assert shares == sorted(shares, reverse=True)
        assert math.isclose(sum(shares), 1.0, abs_tol=1e-6)
    assert Scorer(*pair).score(EXAMPLE).expected == ()
    two = Scorer(*pair).score(EXAMPLE, top=2)
    assert two.expected == tuple(one[:2] for one in scored.expected)
    with pytest.raises(SettingsError, match="top"):
        Scorer(*pair).score(EXAMPLE, top=-1)


def test_the_first_symbol_of_a_stream_has_its_rank_by_frequency() -> None:
    """It is ranked by the training text's frequencies, the lower id first among equals."""
    tokenizer = CharTokenizer.fit("aaabbc")  # <unk> a b c
    scorer = Scorer(tiny_engine(tokenizer.vocab_size), tokenizer)
    assert [int(scorer.score(letter).ranks[0]) for letter in "abc?"] == [1, 2, 3, 4]
    assert [symbol for symbol, _ in scorer.score("c", top=4).expected[0]] == ["a", "b", "c", "<unk>"]
    np.testing.assert_allclose([share for _, share in scorer.score("c", top=4).expected[0]], np.array([4, 3, 2, 1]) / 10)


@pytest.mark.parametrize("after", ["", "the cat "])
def test_in_one_call_in_chunks_in_a_batch(pair: Pair, after: str) -> None:
    """A text scored whole, piece after piece with what came before as context, and among others in a batch: the same numbers."""
    text = TEXT * 2
    whole = Scorer(*pair).score(text, after)
    cuts = [0, 4, 19, 24, len(text)]  # between words too
    parts = [Scorer(*pair).score(text[a:b], after + text[:a]) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_allclose(np.concatenate([part.surprisals for part in parts]), whole.surprisals, atol=1e-9)
    np.testing.assert_array_equal(np.concatenate([part.ranks for part in parts]), whole.ranks)
    many = Scorer(*pair).score_many(["the", text, "a cat", text[:40], "t"], after)
    np.testing.assert_allclose(many[1].surprisals, whole.surprisals, atol=1e-9)
    np.testing.assert_array_equal(many[1].ranks, whole.ranks)
    assert many[1].pieces == whole.pieces
    np.testing.assert_allclose(many[4].surprisals, Scorer(*pair).score("t", after).surprisals, atol=1e-9)
    assert Scorer(*pair).score_many([], after) == []


def test_all_continuations_sum_to_one(pair: Pair) -> None:
    """The probabilities of all symbols that may come next sum to one, from nothing and after a text."""
    reader = Scorer(*pair)._reader
    for position in (reader.begin(), reader.skip(reader.begin(), reader.encode("the cat")[0])):
        total = sum(math.exp(reader.read(position, np.array([token]))[0][0]) for token in range(pair.tokenizer.vocab_size))
        assert math.isclose(total, 1.0, abs_tol=1e-6)


def test_orders_of_letters() -> None:
    """All orders, each once, the one given first; of more than eight letters none, and their number is told."""
    assert orders_of("dio") == ["dio", "doi", "ido", "iod", "odi", "oid"]
    assert sorted(orders_of("aab")) == ["aab", "aba", "baa"]
    assert len(orders_of("abcd")) == 24
    with pytest.raises(TextError, match="9 letters, so 362,880 orders"):
        orders_of("abcdefghi")
    with pytest.raises(TextError, match="9 letters, so 9 orders"):
        orders_of("aaaaaaaab")
    with pytest.raises(TextError, match="without letters"):
        orders_of("")
