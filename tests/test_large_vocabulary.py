"""A vocabulary of 20,000 symbols: outside a training batch no array of logits is larger than 64 MB, whatever is done with the model."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escriba
from escriba import _native
from escriba.engine.native import NativeEngine
from escriba.engine.reference import ReferenceEngine
from escriba.running import Engines

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

MOST = 64_000_000
SYMBOLS = 20_000
TINY: dict[str, Any] = {
    "hidden_size": 8,
    "embedding_dim": 4,
    "seq_len": 20,
    "batch_size": 4,
    "sample_length": 20,
    "steps": 2,
    "quiet": True,
}


@pytest.fixture
def largest(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """The bytes of the largest array of logits that the engine, and the network outside of training (samples too), have given so far."""
    found = {"network": 0, "reference": 0, "native": 0}

    def watched(kind: str, original: Any) -> Any:
        def call(self: Any, *arguments: Any) -> Any:
            given = original(self, *arguments)
            array = given[0]
            size = array.numel() * array.element_size() if isinstance(array, torch.Tensor) else np.asarray(array).nbytes
            if kind != "network" or not self.training:
                found[kind] = max(found[kind], size)
            return given

        return call

    for owner, kind, name in (
        (escriba.LanguageModel, "network", "forward"),
        (escriba.LanguageModel, "network", "step"),
        (ReferenceEngine, "reference", "step"),
        (ReferenceEngine, "reference", "advance"),
        (NativeEngine, "native", "step"),
        (NativeEngine, "native", "advance"),
    ):
        monkeypatch.setattr(owner, name, watched(kind, getattr(owner, name)))
    yield found
    assert any(found.values())


@pytest.fixture(scope="module")
def long_text() -> str:
    """A text in which 20,000 characters occur, with lines of 5 to 2,000 characters."""
    dice = random.Random(3)
    symbols = [chr(code) for code in range(0x4E00, 0x4E00 + SYMBOLS)]
    dice.shuffle(symbols)
    text = symbols + dice.choices(symbols, k=40_000)
    for at in range(0, len(text), 50):
        text[at] = "\n" if dice.random() < 0.3 else text[at]
    return "".join(text)


@pytest.mark.parametrize("documents", ["stream", "line"])
@pytest.mark.parametrize("engine", ["reference", "native"])
def test_no_array_of_logits_is_over_64_mb(
    documents: str, engine: str, long_text: str, largest: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluating, sampling, scoring, ranking, measuring and writing 300 texts at once stay below, in streams and in documents."""
    if engine == "reference":
        monkeypatch.setenv("ESCRIBA_NATIVE", "off")
    elif _native.library() is None:
        pytest.skip("there is no native code here")
    model = escriba.train(text=long_text, documents=documents, out=tmp_path / "m", **TINY)
    assert model.tokenizer.vocab_size > SYMBOLS * 0.95
    assert engine == "native" or largest["network"] > 1_000_000, "the choosing part was evaluated; native code hands out no logits for it"
    for used in (model, escriba.load(tmp_path / "m")):
        used.score(long_text[:5000])
        used.rank([long_text[:300], long_text[300:600]])
        for protocol in ("stream", "window"):
            used.evaluate(text=long_text[:4000], protocol=protocol, window=20, lanes=4 if documents == "stream" else None)
        if documents == "stream":
            used.measure_typical(text=long_text[:8000], most_symbols=2000)
        used.generate(["", long_text[:200]], 3, samples=150, seed=1)
        used.next(long_text[:2000].replace("\n", ""))
    assert largest[engine] > 0
    assert max(largest.values()) <= MOST, largest


@pytest.mark.parametrize("documents", ["stream", "line"])
@pytest.mark.parametrize("engine", ["numpy", "pytorch"])
def test_scoring_lines_and_symbols_stays_below(
    documents: str, engine: str, long_text: str, largest: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines side by side and carried, ranks and what was expected, with NumPy and where PyTorch does long work: never over 64 MB."""
    tokenizer = escriba.CharTokenizer.fit(long_text if documents == "stream" else long_text.splitlines())
    net = escriba.LanguageModel(tokenizer.vocab_size, hidden_size=8, embedding_dim=4)
    made = escriba.Model(net, tokenizer)
    monkeypatch.setenv("ESCRIBA_NATIVE", "off")
    model = escriba.Model(Engines(net.settings, net.vocab_size, net.get_weights()), tokenizer, config=made.config)
    monkeypatch.setattr("escriba.running._LONG_WORK", 0 if engine == "pytorch" else 1e18)
    lines = [line[:4] for line in long_text.split("\n")[:150]] + ["", long_text[:60].replace("\n", "")]
    assert sum(score.symbols for score in model.score_lines(lines)) == sum(map(len, lines))
    list(model.score_lines(lines[-3:], carry=True))
    model.score(long_text[:60], top=3)
    model.rank([line for line in lines[:20] if line])
    assert largest["network" if engine == "pytorch" else "reference"] > 1_000_000
    assert max(largest.values()) <= MOST, largest
