"""The measured loss against the exact one, computed symbol by symbol; and that measuring leaves no trace."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from escriba.errors import TextError
from escriba.model.language_model import LanguageModel
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import CharTokenizer
from escriba.training import evaluation
from escriba.training.evaluation import evaluate_part

MakeNet = Callable[..., LanguageModel]


def lively(net: LanguageModel) -> LanguageModel:
    """The network with weights so large that what was read before shows in the loss."""
    random = np.random.default_rng(5)
    net.set_weights({name: random.uniform(-1, 1, array.shape).astype(np.float32) for name, array in net.get_weights().items()})
    return net


@torch.no_grad()
def stepped_loss(net: LanguageModel, ids: list[int]) -> float:
    """The sum of the surprisals of all symbols but the first, one step at a time."""
    net.eval()
    state, total = net.initial_state(1), 0.0
    for given, target in itertools.pairwise(ids):
        logits_BV, state = net.step(torch.tensor([given]), state)
        total -= float(torch.log_softmax(logits_BV.double(), -1)[0, target])
    return total


@pytest.fixture(scope="module")
def stream(story: str) -> EncodedText:
    """A stream long enough for three lanes, and for its last chunk to be a short one."""
    tokenizer = CharTokenizer.fit(story)
    return EncodedText(tokenizer.encode(story[:1700]), None, tokenizer)


@pytest.mark.parametrize("settings", [{"cell": "gru"}, {"cell": "lstm", "num_layers": 2, "dropout": 0.5}], ids=str)
def test_a_stream_is_measured_as_if_read_through(settings: dict[str, object], stream: EncodedText) -> None:
    """Three lanes with their warm-up give the loss of reading symbol by symbol from the beginning, to a thousandth of a nat."""
    net = lively(LanguageModel(stream.tokenizer.vocab_size, embedding_dim=6, hidden_size=8, **settings))
    found = evaluate_part(net, stream)
    assert found.symbols == 1699
    assert found.loss_nats == pytest.approx(stepped_loss(net, stream.ids.tolist()) / 1699, abs=1e-3)


@pytest.mark.parametrize("length", [2, 3, 255, 257, 258, 600, 1023])
def test_a_short_stream_is_exact(length: int, stream: EncodedText) -> None:
    """With one lane, the loss is that of the steps, at every length, those at the borders of chunks among them."""
    net = lively(LanguageModel(stream.tokenizer.vocab_size, embedding_dim=6, hidden_size=8))
    part = EncodedText(stream.ids[:length], None, stream.tokenizer)
    found = evaluate_part(net, part)
    assert found.symbols == length - 1
    assert found.loss_nats == pytest.approx(stepped_loss(net, part.ids.tolist()) / (length - 1), abs=1e-5)


def test_the_warm_up_is_needed_and_enough(stream: EncodedText, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that reads less before it begins has a loss further from the exact one: the bound above is no accident."""
    net = lively(LanguageModel(stream.tokenizer.vocab_size, embedding_dim=6, hidden_size=8))
    exact = stepped_loss(net, stream.ids.tolist()) / 1699
    usual = abs(evaluate_part(net, stream).loss_nats - exact)
    monkeypatch.setattr(evaluation, "LANES", 400)
    monkeypatch.setattr(evaluation, "WARM_UP", 1)
    assert abs(evaluate_part(net, stream).loss_nats - exact) > 10 * max(usual, 1e-4)


def test_documents_are_exact(make_net: MakeNet, encoded_documents: EncodedText) -> None:
    """Each document is scored from its beginning, after <eos>, with the <eos> at its end, and padding counts for nothing."""
    net = lively(make_net(dropout=0.5))
    eos = encoded_documents.tokenizer.eos_id
    documents = [[eos, *encoded_documents.document(i).tolist(), eos] for i in range(encoded_documents.count)]
    assert len({len(one) for one in documents}) > 5
    found = evaluate_part(net, encoded_documents)
    assert found.symbols == sum(len(one) - 1 for one in documents)
    assert found.loss_nats == pytest.approx(sum(stepped_loss(net, one) for one in documents) / found.symbols, abs=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_in_its_mode(training: bool, make_net: MakeNet, choosing: EncodedText) -> None:
    """It trains, or does not, as before; its weights are the same, and it can go on learning."""
    net = make_net(dropout=0.5).train(training)
    before = net.get_weights()
    first, second = evaluate_part(net, choosing), evaluate_part(net, choosing)
    assert first == second
    assert net.training is training
    for name, array in net.get_weights().items():
        np.testing.assert_array_equal(array, before[name])
    net(torch.ones(1, 2, dtype=torch.long))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_the_mode_survives_an_error(make_net: MakeNet, tokenizer: CharTokenizer) -> None:
    """A part too short to score is an error in words, and the network trains on."""
    net = make_net().train()
    with pytest.raises(TextError, match="a part of 1 symbols"):
        evaluate_part(net, EncodedText(tokenizer.encode("a"), None, tokenizer))
    assert net.training


@pytest.mark.parametrize("symbols", [1, 21, 300])
def test_logits_are_cut_in_time(symbols: int, stream: EncodedText, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the largest array of logits may be, and wherever that cuts the warm-up, every symbol is scored, to the same loss."""
    net = lively(LanguageModel(stream.tokenizer.vocab_size, embedding_dim=6, hidden_size=8))
    expected = evaluate_part(net, stream)
    monkeypatch.setattr(evaluation, "MOST_LOGITS", symbols * net.vocab_size)
    found = evaluate_part(net, stream)
    assert found.symbols == expected.symbols
    assert found.loss_nats == pytest.approx(expected.loss_nats, abs=1e-6)


def test_units(make_net: MakeNet, choosing: EncodedText) -> None:
    """Bits are nats over ln 2, the perplexity is e to the loss."""
    found = evaluate_part(make_net(), choosing)
    assert found.bits_per_symbol == pytest.approx(found.loss_nats / math.log(2))
    assert found.perplexity == pytest.approx(math.exp(found.loss_nats))


def test_numbers_that_are_not_finite_are_no_loss(stream: EncodedText) -> None:
    """A network that runs away while it reads has a loss that is no number; training has its own way with that."""
    net = LanguageModel(stream.tokenizer.vocab_size, cell="rnn", activation="relu", embedding_dim=6, hidden_size=8)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.fill_(1e3 if "weight" in name else 0.0)
    found = evaluate_part(net, stream)
    assert math.isnan(found.loss_nats)
    assert found.symbols == 1699


def test_a_network_of_ones_own_is_run_as_it_is(stream: EncodedText) -> None:
    """Whose forward is another one is not run by code that knows only its weights."""

    class Certain(LanguageModel):
        def forward(self, ids_BT: torch.Tensor, state: Any = None) -> Any:
            logits, state = super().forward(ids_BT, state)
            return torch.zeros_like(logits), state

    size = stream.tokenizer.vocab_size
    assert evaluate_part(Certain(size, hidden_size=8, embedding_dim=6), stream).loss_nats == pytest.approx(math.log(size), abs=1e-5)
