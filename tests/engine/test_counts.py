"""The n-gram that counts: against a slow transcription of its equations, against kenlm, and as an engine."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arpa import to_arpa

from escriba.engine.counts import CountsEngine
from escriba.engine.ngrams import levels
from escriba.engine.protocol import Engine, join_states, state_rows
from escriba.engine.sampling import Sampling
from escriba.errors import CheckpointError, SettingsError, TextError
from escriba.settings import ModelSettings
from escriba.training import counting
from escriba.training.counting import FALLBACK, count_ngrams, discounts_of

Gram = tuple[int, ...]


class Slowly:
    """Interpolated modified Kneser-Ney as its equations say, with dictionaries.

    Args:
        sequences: a stream, or documents with the end symbol before and after each.
        vocab_size: symbols.
        order: of the longest n-gram.
        eos: what begins and ends documents; None: a stream.
    """

    def __init__(self, sequences: list[list[int]], vocab_size: int, order: int, eos: int | None) -> None:
        self.vocab_size, self.order = vocab_size, order
        self.tables: list[dict[Gram, dict[int, int]]] = []
        self.discounts = []
        for n in range(1, order + 1):
            counts = self._counts(sequences, n, eos)
            of = Counter(counts.values())
            self.discounts.append(self._discounts(of))
            table: dict[Gram, dict[int, int]] = defaultdict(dict)
            for gram, count in counts.items():
                table[gram[:-1]][gram[-1]] = count
            self.tables.append(table)

    def _counts(self, sequences: list[list[int]], n: int, eos: int | None) -> dict[Gram, int]:
        raw: Counter[Gram] = Counter()
        lefts: dict[Gram, set[int]] = defaultdict(set)
        for sequence in sequences:
            for at in range(len(sequence) - n + 1):
                if n == 1 and at == 0 and eos is not None:
                    continue  # it is only ever a context
                gram = tuple(sequence[at : at + n])
                raw[gram] += 1
                if at or eos is None:
                    lefts[gram].add(sequence[at - 1] if at else -1)
        if n == self.order:
            return dict(raw)
        return {gram: raw[gram] if eos is not None and n > 1 and gram[0] == eos else len(lefts[gram]) for gram in raw}

    @staticmethod
    def _discounts(of: Counter[int]) -> tuple[float, float, float]:
        if not all(of[k] for k in (1, 2, 3, 4)):
            return (0.5, 1.0, 1.5)
        y = of[1] / (of[1] + 2 * of[2])
        found = tuple(k - (k + 1) * y * of[k + 1] / of[k] for k in (1, 2, 3))
        return found if all(0 < one <= k for k, one in enumerate(found, 1)) else (0.5, 1.0, 1.5)  # type: ignore[return-value]

    def probabilities(self, context: Gram) -> np.ndarray:
        """Of every symbol after a context."""
        context = context[-(self.order - 1) :] if self.order > 1 else ()
        below = np.full(self.vocab_size, 1 / self.vocab_size) if not context else self.probabilities(context[1:])
        after = self.tables[len(context)].get(context)
        if not after:
            return below
        discounts, total = self.discounts[len(context)], sum(after.values())
        found = np.zeros(self.vocab_size)
        for symbol, count in after.items():
            found[symbol] = max(count - discounts[min(count, 3) - 1], 0) / total
        return found + sum(discounts[min(count, 3) - 1] for count in after.values()) / total * below


def text_of(length: int, seed: int = 3) -> list[int]:
    """A text of 12 symbols, of which 0 never occurs, with words that come again."""
    dice = random.Random(seed)
    words = [[dice.randrange(1, 12) for _ in range(dice.randint(1, 5))] for _ in range(60)]
    return [symbol for _ in range(length) for symbol in dice.choice(words)][:length]


V, EOS = 14, 13


def counted(order: int, *, documents: bool = False, length: int = 2000) -> tuple[CountsEngine, Slowly, list[list[int]]]:
    """An engine and its slow double, of a stream or of documents."""
    ids = text_of(length)
    if documents:
        dice, borders = random.Random(5), [0]
        while borders[-1] < len(ids):
            borders.append(min(len(ids), borders[-1] + dice.randint(1, 9)))
        sequences = [[EOS, *ids[start:end], EOS] for start, end in itertools.pairwise(borders)]
        weights = count_ngrams(np.array(ids, np.uint8), V, order, offsets=np.array(borders), eos=EOS)
    else:
        sequences = [ids]
        weights = count_ngrams(np.array(ids, np.uint8), V, order)
    engine = CountsEngine(ModelSettings(cell="counts", order=order), V, weights)
    return engine, Slowly(sequences, V, order, EOS if documents else None), sequences


def after(engine: Engine, context: Gram) -> np.ndarray:
    """The log-probabilities after a context that is read from the beginning."""
    logits, _ = engine.advance([list(context)], engine.initial_state(1))
    return np.asarray(logits[0, -1])


@pytest.mark.parametrize("documents", [False, True], ids=["stream", "documents"])
@pytest.mark.parametrize("order", range(1, 9))
def test_every_context_has_the_probabilities_of_the_equations(order: int, documents: bool) -> None:
    """After every context of a text of 2,000 characters, and after unseen ones, all probabilities are those of the dictionaries."""
    engine, slowly, sequences = counted(order, documents=documents)
    length = max(1, order - 1)
    contexts = {tuple(one[at : at + n]) for one in sequences for n in range(1, length + 1) for at in range(len(one) - n + 1)}
    dice = random.Random(2)
    unseen = {tuple(dice.randrange(1, 12) for _ in range(length)) for _ in range(50)} | {(0,), (12, 1), (1, 12)}
    # a context that ends a document and one that begins it are the same symbol: what comes after it begins a document
    worst = 0.0
    for context in contexts | unseen:
        worst = max(worst, float(np.abs(np.exp(after(engine, context)) - slowly.probabilities(context)).max()))
    assert worst < 1e-12


def test_the_order_of_the_largest_tables_is_the_same_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the keys are too many for a table they are sorted, and the n-grams are the same."""
    ids = np.array(text_of(2000), np.uint8)
    tabled = count_ngrams(ids, V, 5)
    monkeypatch.setattr("escriba.training.counting.TABLE", 0)
    for name, array in count_ngrams(ids, V, 5).items():
        np.testing.assert_array_equal(array, tabled[name])
    large = count_ngrams(ids.astype(np.uint32) * 100_000_000, 1_200_000_000, 5)  # keys of more than 32 bits
    np.testing.assert_array_equal(large["ngrams.counts"], tabled["ngrams.counts"])


@pytest.mark.parametrize("documents", [False, True], ids=["stream", "documents"])
def test_probabilities_sum_to_one_and_none_is_nought(documents: bool) -> None:
    """Every distribution sums to 1, and an unseen symbol has a share of it."""
    engine, _, _ = counted(6, documents=documents)
    logits, _ = engine.advance([text_of(300, seed=9)], engine.initial_state(1))
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1.0, rtol=0, atol=1e-12)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("order", [1, 2, 6])
def test_advance_is_step_folded_and_rows_are_strangers(order: int) -> None:
    """At every split, from a state that is not empty, alone or beside others: the same bits; a state that was given does not change."""
    engine, _, _ = counted(order)
    ids = np.array([text_of(50, seed=seed) for seed in range(4)])
    _, state = engine.advance(ids[:, :7], engine.initial_state(4))
    before = [array.copy() for array in state[0]]
    whole, end = engine.advance(ids[:, 7:], state)
    np.testing.assert_array_equal(before, state[0])
    one_by_one, at = [], state
    for ids_B in ids[:, 7:].T:
        logits, at = engine.step(ids_B, at)
        one_by_one.append(logits)
    np.testing.assert_array_equal(whole, np.stack(one_by_one, axis=1))
    np.testing.assert_array_equal(end[0][0], at[0][0])
    np.testing.assert_array_equal(engine.feed(ids[:, 7:], state)[0][0], end[0][0])
    for row in range(4):
        alone, _ = engine.advance(ids[row : row + 1, 7:], state_rows(state, [row]))
        np.testing.assert_array_equal(alone[0], whole[row])
    joined = join_states([state_rows(state, [2]), state_rows(state, [0])])
    np.testing.assert_array_equal(engine.step(ids[[2, 0], 7], joined)[0], whole[[2, 0], 0])


@pytest.mark.parametrize("documents", [False, True], ids=["stream", "documents"])
def test_the_fast_reading_is_the_slow_one(documents: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`read` without ranks, in one piece or many, from any state, for targets that are what comes next and for others."""
    engine, _, _ = counted(5, documents=documents)
    ids, targets = np.array([text_of(400, seed=1), text_of(400, seed=2)]), np.random.default_rng(1).integers(0, V, (2, 400))
    ids[:, ::40] = EOS
    _, state = engine.advance(ids[:, :9], engine.initial_state(2))
    for wanted in (np.roll(ids, -1, axis=1), targets):
        slow, slow_end = Engine.read(engine, ids, wanted, state)
        fast, end = engine.read(ids, wanted, state)
        np.testing.assert_allclose(fast.log_probs, slow.log_probs, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(end[0][0], slow_end[0][0])
        assert engine.read(ids, wanted, state, ranks=True)[0].ranks is not None
        with monkeypatch.context() as patch:
            patch.setattr("escriba.engine.counts.READ_AT_ONCE", 14)
            np.testing.assert_array_equal(engine.read(ids, wanted, state)[0].log_probs, fast.log_probs)


def test_it_writes_what_its_own_steps_draw() -> None:
    """`write` draws, and its log-probabilities are those of reading what it wrote."""
    engine, _, _ = counted(4)
    uniforms = np.random.default_rng(4).random((2, 60))
    ids, log_probs, _ = engine.write([1, 2], engine.initial_state(2), [Sampling(), Sampling(temperature=0.5)], uniforms)
    before = np.concatenate([[[1], [2]], ids[:, :-1]], axis=1)
    np.testing.assert_allclose(engine.read(before, ids, engine.initial_state(2))[0].log_probs, log_probs, rtol=0, atol=1e-12)


def test_discounts_fall_back_where_a_count_of_counts_is_nought() -> None:
    """The closed form, and 0.5, 1, 1.5 where it cannot be had, or gives what is no discount."""
    assert discounts_of(np.repeat([1, 2, 3, 4], [40, 20, 10, 5])) == pytest.approx((0.5, 1.25, 2.0))
    assert discounts_of(np.repeat([1, 2, 3], [40, 20, 10])) == FALLBACK
    assert discounts_of(np.repeat([1, 2, 3, 4], [40, 1, 30, 5])) == FALLBACK  # D2 would be below 0
    assert discounts_of(np.array([], np.int64)) == FALLBACK


@pytest.mark.parametrize("order", [0, 9, -1, True, 2.0, None])
def test_an_order_out_of_range_is_refused(order: Any) -> None:
    """1 to 8, and whole."""
    with pytest.raises(SettingsError, match="order is"):
        count_ngrams(np.array([1, 2, 3]), V, order)


def test_short_and_large() -> None:
    """Nothing to count is an error; one symbol is a model; so is a vocabulary of 20,000."""
    with pytest.raises(TextError, match="nothing to count"):
        count_ngrams(np.array([], np.uint8), V, 3)
    with pytest.raises(TextError, match="nothing to count"):
        count_ngrams(np.array([], np.uint8), V, 3, offsets=np.array([0]), eos=EOS)
    with pytest.raises(SettingsError, match="eos"):
        count_ngrams(np.array([1]), V, 3, offsets=np.array([0, 1]))
    for ids, vocab_size in (([5], V), ([5, 5], V), (text_of(500), 20_000)):
        engine = CountsEngine(ModelSettings(cell="counts", order=6), vocab_size, count_ngrams(np.array(ids), vocab_size, 6))
        assert np.exp(after(engine, tuple(ids))).sum() == pytest.approx(1.0, abs=1e-12)


def test_ids_outside_the_vocabulary_are_refused() -> None:
    """They would be counted as other symbols."""
    for wrong in (V, -1):
        with pytest.raises(SettingsError, match=f"id {wrong} is not"):
            count_ngrams(np.array([1, wrong, 2]), V, 3)


def test_more_n_grams_than_there_may_be_are_refused() -> None:
    """The limit is of all lengths together: one more is an error in words, which names the length that was reached."""
    ids = np.array(text_of(300))
    found = len(count_ngrams(ids, V, 4)["ngrams.keys"])
    assert len(count_ngrams(ids, V, 4, most=found)["ngrams.keys"]) == found
    with pytest.raises(TextError, match="more different n-grams than may be kept"):
        count_ngrams(ids, V, 4, most=found - 1)


def test_a_state_of_no_rows_is_refused() -> None:
    """As by the other engines, in words."""
    with pytest.raises(SettingsError, match="batch_size is -1"):
        counted(2)[0].initial_state(-1)


def damaged() -> dict[str, Any]:
    """Ways to damage the arrays, by name."""
    return {
        "unsorted": lambda w: {"ngrams.keys": w["ngrams.keys"][::-1].copy()},
        "twice": lambda w: {"ngrams.keys": np.repeat(w["ngrams.keys"], 2)[: len(w["ngrams.keys"])]},
        "negative": lambda w: {"ngrams.keys": w["ngrams.keys"] - 100},
        "no parent": lambda w: {"ngrams.keys": w["ngrams.keys"] + V},
        "too deep": lambda w: {"ngrams.keys": np.arange(len(w["ngrams.keys"])) * V},
        "no suffix": lambda w: {
            "ngrams.keys": np.array([1, 2, V + 2, 2 * V + 1, 3 * V + 2, 4 * V + 2]), "ngrams.counts": np.ones(6, np.int32),
        },
        "empty": lambda w: {"ngrams.keys": w["ngrams.keys"][:0], "ngrams.counts": w["ngrams.counts"][:0]},
        "other type": lambda w: {"ngrams.keys": w["ngrams.keys"].astype(np.float64)},
        "two axes": lambda w: {"ngrams.keys": w["ngrams.keys"][:, None]},
        "fewer counts": lambda w: {"ngrams.counts": w["ngrams.counts"][:-1]},
        "no count": lambda w: {"ngrams.counts": w["ngrams.counts"] * 0},
        "negative count": lambda w: {"ngrams.counts": -w["ngrams.counts"]},
        "no number": lambda w: {"ngrams.discounts": w["ngrams.discounts"] * np.nan},
        "discount too large": lambda w: {"ngrams.discounts": w["ngrams.discounts"] + 3},
        "no discount": lambda w: {"ngrams.discounts": w["ngrams.discounts"] * 0},
        "fewer discounts": lambda w: {"ngrams.discounts": w["ngrams.discounts"][:-1]},
    }  # fmt: skip


@pytest.mark.parametrize("damage", sorted(damaged()))
def test_damaged_arrays_are_refused(damage: str) -> None:
    """Whatever a file holds: an error in words, never a crash."""
    weights = count_ngrams(np.array(text_of(300)), V, 4)
    with pytest.raises(CheckpointError):
        CountsEngine(ModelSettings(cell="counts", order=4), V, {**weights, **damaged()[damage](weights)})


def test_levels_of_a_trie() -> None:
    """Where each level ends: the root, the symbols, the pairs; a text shorter than the order has fewer."""
    weights = count_ngrams(np.array([1, 2, 1]), V, 8)
    assert levels(weights["ngrams.keys"], V) == [1, 3, 5, 6]


@pytest.mark.parametrize("documents", [False, True], ids=["stream", "documents"])
def test_kenlm_reads_the_arpa_file_to_the_same_probabilities(documents: bool, tmp_path: Path) -> None:
    """Another program, given the model as ARPA, gives every symbol of a text the same probability to its 7 digits."""
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed")
    engine, _, _ = counted(5, documents=documents)
    words = ["<unk>", *(f"U+{64 + one:04X}" for one in range(1, V))]
    file = tmp_path / "model.arpa"
    file.write_text("\n".join(to_arpa(engine, words, begins=EOS if documents else None)) + "\n", encoding="utf-8")
    model = kenlm.LanguageModel(str(file))
    ids = text_of(300, seed=6)
    start = [EOS] if documents else []
    begun = np.array([[*start, *ids]])
    expected = engine.read(begun[:, :-1], begun[:, 1:], engine.initial_state(1))[0].log_probs[0] / math.log(10)
    found = [score for score, _, _ in model.full_scores(" ".join(words[one] for one in ids), bos=documents, eos=False)]
    np.testing.assert_allclose(found if documents else found[1:], expected, rtol=0, atol=2e-6)


def test_the_arpa_form_gives_every_context_its_probabilities() -> None:
    """Read back and backed off as the ARPA format says, the lines give the engine's own probabilities."""
    engine, _, _ = counted(4)
    words = [f"U+{one:04X}" for one in range(V)]
    table: dict[tuple[str, ...], tuple[float, float]] = {}
    for line in to_arpa(engine, words):
        if "\t" in line:
            prob, gram, *backoff = line.split("\t")
            table[tuple(gram.split(" "))] = (float(prob), float(backoff[0]) if backoff else 0.0)

    def log10(context: tuple[str, ...], word: str) -> float:
        if (*context, word) in table:
            return table[*context, word][0]
        return table.get(context, (0.0, 0.0))[1] + log10(context[1:], word)

    ids = text_of(200, seed=8)
    logits, _ = engine.advance([ids], engine.initial_state(1))
    for at in range(3, 200):
        context = tuple(words[one] for one in ids[at - 2 : at + 1])
        for symbol in (0, 5, ids[at - 1]):
            assert log10(context, words[symbol]) == pytest.approx(logits[0, at, symbol] / math.log(10), abs=1e-7)


def test_keys_that_do_not_fit_beside_their_places_are_told_apart_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way keys are told apart, in one piece or in several: the same keys, numbers and places."""
    keys = np.random.default_rng(3).integers(0, 300, 1000) * 2**20
    together = counting._distinct_with_places(keys.copy(), 2**29, 10**6)
    monkeypatch.setattr(counting, "AT_ONCE", 7)
    in_pieces = counting._distinct_with_places(keys.copy(), 2**29, 10**6)
    apart = counting._distinct_with_places(keys.copy(), 2**60, 10**6)
    for one, other, third in zip(together, in_pieces, apart, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)
    own, raw, places = together
    np.testing.assert_array_equal(own[places], keys)
    np.testing.assert_array_equal(raw, np.bincount(places))
    for below in (2**29, 2**60):
        with pytest.raises(TextError, match="more different n-grams than may be kept"):
            counting._distinct_with_places(keys.copy(), below, len(own) - 1)
