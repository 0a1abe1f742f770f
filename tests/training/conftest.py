"""Runs PyTorch in one thread; without PyTorch these tests are skipped. Small data and networks, and helpers to run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

from escriba.model.language_model import LanguageModel
from escriba.text.batches import Batches, documents, streams, windows
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import CharTokenizer


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread: None) -> None:
    """All tests of this folder."""


@pytest.fixture(scope="session")
def text(story: str) -> str:
    """A short text."""
    return story[:1400]


@pytest.fixture(scope="session")
def tokenizer(text: str) -> CharTokenizer:
    """Its characters, and an <eos>."""
    return CharTokenizer.fit(text, eos=True)


@pytest.fixture(scope="session")
def encoded(text: str, tokenizer: CharTokenizer) -> EncodedText:
    """The text but its last part as a stream."""
    return EncodedText(tokenizer.encode(text[:1100]), None, tokenizer)


@pytest.fixture(scope="session")
def choosing(text: str, tokenizer: CharTokenizer) -> EncodedText:
    """The last part of the text as a stream."""
    return EncodedText(tokenizer.encode(text[1100:]), None, tokenizer)


@pytest.fixture(scope="session")
def encoded_documents(text: str, tokenizer: CharTokenizer) -> EncodedText:
    """The lines of the text as documents."""
    ids, offsets = tokenizer.encode_documents(text.splitlines())
    return EncodedText(ids, offsets, tokenizer)


@pytest.fixture(scope="session")
def make_data(encoded: EncodedText, encoded_documents: EncodedText) -> Callable[[str], Batches]:
    """Batches of a mode, few an epoch: 4 of windows and streams, 5 or so of documents."""

    def make(mode: str) -> Batches:
        if mode == "documents":
            return documents(encoded_documents, batch_size=8, seq_len=60, seed=3)
        return {"windows": windows, "streams": streams}[mode](encoded, batch_size=16, seq_len=16, seed=3)

    return make


@pytest.fixture
def data(make_data: Callable[[str], Batches]) -> Batches:
    """Streams, 4 steps an epoch."""
    return make_data("streams")


@pytest.fixture(scope="session")
def make_net(tokenizer: CharTokenizer) -> Callable[..., LanguageModel]:
    """A small network over the text's symbols."""

    def make(seed: int = 1, **settings: Any) -> LanguageModel:
        return LanguageModel(tokenizer.vocab_size, seed=seed, **{"cell": "gru", "embedding_dim": 6, "hidden_size": 8, **settings})

    return make
