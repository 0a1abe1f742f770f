"""First weights from another model: what belongs to a symbol goes where that symbol is, by its name."""

from __future__ import annotations

import numpy as np
import pytest

from escriba.errors import CheckpointError
from escriba.model.language_model import LanguageModel
from escriba.settings import ModelSettings
from escriba.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer, WordTokenizer
from escriba.training.transfer import extended, transferred

SHAPES = [
    {}, {"embedding_dim": None}, {"tied": True, "embedding_dim": 8}, {"cell": "lstm", "num_layers": 2}, {"reset": "before"},
    {"cell": "ngram"}, {"cell": "ngram", "embedding_dim": None}, {"cell": "ngram", "embedding_dim": None, "window": 5, "num_layers": 2},
    {"cell": "mingru"}, {"cell": "mingru", "residual": True}, {"cell": "mingru", "residual": True, "embedding_dim": None, "num_layers": 2},
]  # fmt: skip


def network(tokenizer: Tokenizer, seed: int, shape: dict[str, object]) -> LanguageModel:
    """A small network for a tokenizer, every number of it drawn."""
    net = LanguageModel(tokenizer.vocab_size, ModelSettings(**{"hidden_size": 8, "embedding_dim": 4, **shape}), seed=seed)
    dice = np.random.default_rng(seed)
    net.set_weights({name: dice.normal(size=array.shape).astype(np.float32) for name, array in net.get_weights().items()})
    return net


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_symbol_keeps_its_weights_in_another_order(shape: dict[str, object]) -> None:
    """The logits of the symbols that both vocabularies have are the same, wherever they stand in either."""
    before = CharTokenizer.fit("hello world")
    tokenizer = extended(CharTokenizer.fit("a hollow word, zebra"), before)
    old, new = network(before, 1, shape), network(tokenizer, 2, shape)
    weights, told = transferred(old.get_weights(), before, tokenizer, new.get_weights())
    new.set_weights(weights)
    import torch

    text = "hello world"
    with torch.no_grad():
        logits_old, _ = old(torch.from_numpy(before.encode(text).astype(np.int64))[None])
        logits_new, _ = new(torch.from_numpy(tokenizer.encode(text).astype(np.int64))[None])
    common = [symbol for symbol in before.symbols if symbol in tokenizer.symbols]
    assert len(common) == before.vocab_size
    here = [tokenizer.symbols.index(symbol) for symbol in common]
    np.testing.assert_allclose(logits_new[0][:, here], logits_old[0], rtol=1e-6, atol=1e-6)
    assert told == f"{before.vocab_size} symbols mapped by name, {tokenizer.vocab_size - before.vocab_size} new"


def test_the_vocabulary_is_that_of_both_in_the_usual_order() -> None:
    """Old symbols stay, never counted in the new text; the order is that of the kind; <eos> is the new text's matter."""
    before = CharTokenizer.fit(["xyz", "abc"])
    tokenizer = extended(CharTokenizer.fit("bcd"), before)
    assert tokenizer.symbols == ("<unk>", "a", "b", "c", "d", "x", "y", "z")
    assert tokenizer.frequencies.tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    words = extended(WordTokenizer.fit("b b a"), WordTokenizer.fit("z a"))
    assert words.symbols == ("<unk>", " ", "b", "a", "z")


def test_what_cannot_be_mapped_is_refused() -> None:
    """Another unit, and next to no symbol in common, are refused with their values."""
    with pytest.raises(CheckpointError, match="'word', the text is cut into 'char'"):
        extended(CharTokenizer.fit("some text"), WordTokenizer.fit("some text"))
    with pytest.raises(CheckpointError, match=r"knows 0\.0% of the text's symbols"):
        extended(CharTokenizer.fit("山城雙晨柳"), CharTokenizer.fit("latin letters"))
    assert extended(ByteTokenizer.fit("a"), ByteTokenizer.fit("b")).vocab_size == 256


def test_another_shape_is_refused() -> None:
    """A network that differs in more than its vocabulary is refused by the name of the tensor."""
    tokenizer = CharTokenizer.fit("hello world")
    old, new = network(tokenizer, 1, {}), network(tokenizer, 1, {"hidden_size": 9})
    with pytest.raises(CheckpointError, match=r"layers\.0\.weight_ih has the shape \(24, 4\)"):
        transferred(old.get_weights(), tokenizer, tokenizer, new.get_weights())


def test_codes_must_stay_as_they_are() -> None:
    """Where symbols enter as their ids, a new symbol is welcome only behind the others; one among them is refused, for ids would shift."""
    shape = {"cell": "ngram", "codes": True}
    before = CharTokenizer.fit("bcd")
    behind, among = CharTokenizer.fit("bcdz"), CharTokenizer.fit("abcd")
    old = network(before, 1, shape).get_weights()
    weights, _ = transferred(old, before, behind, network(behind, 2, shape).get_weights(), codes=True)
    np.testing.assert_array_equal(weights["layers.0.weight_ih"], old["layers.0.weight_ih"])
    np.testing.assert_array_equal(weights["output.weight"][:4], old["output.weight"])
    with pytest.raises(CheckpointError, match="as their codes"):
        transferred(old, before, among, network(among, 2, shape).get_weights(), codes=True)


def test_new_symbols_begin_as_likely_as_the_average() -> None:
    """A new symbol's bias is the mean of the known ones; its rows are fresh."""
    before, new = CharTokenizer.fit("ab"), CharTokenizer.fit("abz")
    old, fresh = network(before, 1, {}), network(new, 2, {})
    weights, _ = transferred(old.get_weights(), before, new, fresh.get_weights())
    z = new.symbols.index("z")
    assert weights["output.bias"][z] == pytest.approx(old.get_weights()["output.bias"].mean())
    np.testing.assert_array_equal(weights["embedding.weight"][z], fresh.get_weights()["embedding.weight"][z])
