"""Small random models of every unit, for the tests of this folder."""

from __future__ import annotations

from typing import NamedTuple

from implementations import tiny_engine

from escriba.engine.protocol import Engine
from escriba.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer, WordTokenizer

TEXT = "the cat sat on the mat.\nthe dog ate the hat.\n"

KINDS = ("char-stream", "char-documents", "word-stream", "word-documents", "byte-stream", "byte-documents")


class Pair(NamedTuple):
    """A model to write and score with."""

    engine: Engine
    tokenizer: Tokenizer


def fitted(kind: str) -> Tokenizer:
    """A tokenizer of a kind: char, word or byte, a stream or documents."""
    unit, _, form = kind.partition("-")
    documents = TEXT.splitlines() if form == "documents" else TEXT
    if unit == "char":
        return CharTokenizer.fit(documents)
    return WordTokenizer.fit(documents) if unit == "word" else ByteTokenizer.fit(documents)


def random_pair(kind: str, seed: int = 0) -> Pair:
    """A random network with the tokenizer of a kind."""
    tokenizer = fitted(kind)
    return Pair(tiny_engine(tokenizer.vocab_size, seed=seed), tokenizer)
