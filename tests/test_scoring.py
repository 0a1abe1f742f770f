"""Scores of models: the network's own numbers, whichever engine gives them, and of lines, orders and long texts."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escriba
from escriba.engine.reference import ReferenceEngine
from escriba.errors import SettingsError, TextError, UnknownSymbolError
from escriba.running import Engines

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")

from escriba.engine.torch import TorchEngine  # noqa: E402

CELLS: dict[str, dict[str, Any]] = {
    "gru": {"cell": "gru"},
    "lstm": {"cell": "lstm", "num_layers": 2},
    "rnn": {"cell": "rnn"},
    "ngram": {"cell": "ngram", "num_layers": 1},
}


def a_text(size: int) -> str:
    """A text of so many characters, lines of words."""
    dice = random.Random(5)
    text = " ".join("".join(dice.choices("abcdefghijklmnopqrstuvwxyzáñ", k=dice.randrange(1, 9))) for _ in range(size // 4))
    return "".join("\n" if letter == " " and dice.random() < 0.1 else letter for letter in text[:size])


TEXT = a_text(10_000)


def networks(cell: str, documents: bool = False) -> tuple[escriba.LanguageModel, escriba.CharTokenizer]:
    """A random network that is far from uniform, and its characters."""
    tokenizer = escriba.CharTokenizer.fit(TEXT.splitlines() if documents else TEXT)
    net = escriba.LanguageModel(tokenizer.vocab_size, embedding_dim=12, hidden_size=24, seed=3, **CELLS[cell])
    dice = np.random.default_rng(1)
    net.set_weights({name: dice.normal(0, 0.3, array.shape).astype(np.float32) for name, array in net.get_weights().items()})
    return net.eval(), tokenizer


def without_network(net: escriba.LanguageModel, tokenizer: escriba.CharTokenizer, dtype: Any = np.float32) -> escriba.Model:
    """The same model with NumPy, as it is loaded from a folder."""
    weights, config = net.get_weights(), escriba.Model(net, tokenizer).config
    engines = Engines.of(ReferenceEngine(net.settings, weights, dtype=dtype)) if dtype != np.float32 else None
    model = escriba.Model(engines or Engines(net.settings, net.vocab_size, weights), tokenizer, config=config)
    model._weights = weights
    return model


@pytest.fixture(autouse=True)
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are of NumPy and of PyTorch."""
    monkeypatch.setenv("ESCRIBA_NATIVE", "off")


@pytest.fixture
def long_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any work is long: PyTorch does it."""
    monkeypatch.setattr("escriba.running._LONG_WORK", 0)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("documents", [False, True], ids=["stream", "document"])
@pytest.mark.parametrize("kind", ["live-float32", "live-float64", "numpy-float32", "numpy-float64"])
def test_a_score_is_the_teacher_forced_log_probability(cell: str, documents: bool, kind: str) -> None:
    """10,000 characters score as PyTorch's own forward over them: the mean within 1e-7 in float64, 1e-6 in float32."""
    net, tokenizer = networks(cell, documents)
    truth = net.double() if kind.endswith("64") else net
    ids = torch.tensor(tokenizer.encode(TEXT).astype(np.int64))
    if documents:
        inputs, targets, start = torch.cat([torch.tensor([tokenizer.eos_id]), ids[:-1]]), ids, []
    else:
        counts = tokenizer.frequencies + 1.0
        inputs, targets, start = ids[:-1], ids[1:], [math.log(counts[ids[0]] / counts.sum())]
    with torch.no_grad():
        log_probs = torch.log_softmax(truth(inputs[None])[0][0], -1).gather(-1, targets[:, None])[:, 0].double().numpy()
    wanted = np.concatenate([start, log_probs])
    numpy_kind = np.float64 if kind.endswith("64") else np.float32
    model = escriba.Model(truth, tokenizer) if kind.startswith("live") else without_network(net, tokenizer, numpy_kind)
    score = model.score(TEXT)
    assert score.symbols == len(TEXT) == 10_000
    assert abs(-np.mean(score.surprisals) - wanted.mean()) < (1e-7 if kind.endswith("64") else 1e-6)
    np.testing.assert_allclose(score.surprisals, -wanted, atol=1e-9 if kind.endswith("64") else 2e-4)
    assert "".join(score.pieces) == TEXT


def test_long_work_is_done_by_pytorch() -> None:
    """A loaded model reads a long text with PyTorch, made once, and a short one with NumPy; both give the same."""
    model = without_network(*networks("gru"))
    assert isinstance(model.engine_for(1000), ReferenceEngine)
    assert isinstance(model.engine_for(10_000_000), TorchEngine)
    assert model.engine_for(10_000_000) is model.engine_for(20_000_000)
    one, _ = Scores.of(model, TEXT[:2000])
    other, _ = Scores.of(model, TEXT[:2000], model.engine_for(10_000_000))
    np.testing.assert_allclose(one, other, atol=1e-4)
    live = escriba.Model(*networks("gru"))
    assert live.engine_for(10_000_000) is live.engine


class Scores:
    """Scores by an engine of one's choice."""

    @staticmethod
    def of(model: escriba.Model, text: str, engine: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Surprisals and ranks."""
        from escriba.inference.scorer import Scorer

        scored = Scorer(engine or model.engine, model.tokenizer).score(text)
        return scored.surprisals, scored.ranks


def test_without_pytorch_long_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch, long_at_once: None) -> None:
    """Where PyTorch cannot be loaded, NumPy reads long texts too."""
    model = without_network(*networks("gru"))
    monkeypatch.setitem(sys.modules, "escriba.engine.torch", None)
    assert isinstance(model.engine_for(10_000_000), ReferenceEngine)
    assert model.score("abc").symbols == 3


@pytest.mark.parametrize("work", ["score", "lines", "rank"])
def test_long_work_gives_the_same(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores, lines and rankings do not depend on which engine reads."""
    model = without_network(*networks("lstm"))

    def done() -> list[float]:
        if work == "score":
            return list(model.score(TEXT[:500], after="ab").surprisals)
        if work == "lines":
            return [line.log_likelihood for line in model.score_lines(TEXT[:1500].split("\n"), "ab")]
        return [score.log_likelihood for score in model.rank(["abc", "de f", "ñá"], "ab")]

    by_numpy = done()
    assert "torch" not in model.engines._made
    monkeypatch.setattr("escriba.running._LONG_WORK", 0)
    np.testing.assert_allclose(done(), by_numpy, atol=1e-3)
    assert isinstance(model.engines._made["torch"], TorchEngine)


def test_a_short_score_loads_no_pytorch(tmp_path: Path) -> None:
    """`escriba score`, `rank` and lines of a short text leave PyTorch unloaded."""
    escriba.Model(*networks("gru")).save(tmp_path / "m")
    (tmp_path / "lines.txt").write_text("abc\ndef\n", encoding="utf-8")
    code = """
import sys
from escriba.cli.main import cli
for words in (["--text", "abc de"], [sys.argv[2], "--per-line"], ["--text", "abc", "--symbols", "--top", "2"]):
    cli.main(["score", sys.argv[1], *words], standalone_mode=False)
cli.main(["rank", sys.argv[1], "--permutations", "dios"], standalone_mode=False)
assert "torch" not in sys.modules
"""
    command = [sys.executable, "-c", code, str(tmp_path / "m"), str(tmp_path / "lines.txt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nats") >= 25


def test_lines_of_a_file(tmp_path: Path) -> None:
    """A file's lines are scored in its encoding, as the lines themselves are; it is read as the scores are asked for."""
    model = without_network(*networks("gru"))
    lines = ["añb", "", "de f"]
    file = tmp_path / "lines.txt"
    file.write_bytes("\r\n".join(lines).encode("latin-1"))
    from_file = list(model.score_lines(file, encoding="latin-1"))
    assert from_file == list(model.score_lines(lines)) == list(model.score_lines(iter(lines)))
    assert list(model.score_lines(str(file), encoding="latin-1")) == from_file
    with pytest.raises(TextError, match="no-such"):
        list(model.score_lines(tmp_path / "no-such.txt"))
    with pytest.raises(TextError, match="lines to score are 7"):
        model.score_lines(7)  # type: ignore[arg-type]


def test_lines_without_end_are_scored_as_they_come(long_at_once: None) -> None:
    """Neither the look ahead for the engine nor the scorer waits for the end."""

    def endless() -> Iterator[str]:
        while True:
            yield "abc"

    assert next(without_network(*networks("gru")).score_lines(endless())).symbols == 3


def test_ranking() -> None:
    """The likeliest first, each as it is scored alone; equals stay in the order in which they were given."""
    model = without_network(*networks("gru"))
    texts = ["zzz", "abc", "e", "abc", "la ñ"]
    ranked = model.rank(texts, "de")
    assert [score.log_likelihood for score in ranked] == sorted((score.log_likelihood for score in ranked), reverse=True)
    for score in ranked:
        alone = model.score(score.text, "de")
        assert math.isclose(score.log_likelihood, alone.log_likelihood, abs_tol=1e-9)
        assert (score.ranks, score.pieces, score.convention) == (alone.ranks, alone.pieces, alone.convention)
    assert model.rank([]) == []
    for wrong in ("abc", [7], ["a", ""], 7):
        with pytest.raises(TextError):
            model.rank(wrong)  # type: ignore[arg-type]


def test_equals_keep_their_order() -> None:
    """Texts as likely as one another stay in the order in which they were given."""
    net, tokenizer = networks("gru")
    net.set_weights({name: np.zeros_like(array) for name, array in net.get_weights().items()})
    model = escriba.Model(net, tokenizer)
    assert [score.text for score in model.rank(["b", "ca", "ab", "ba", "cb"], "a")] == ["b", "ca", "ab", "ba", "cb"]


def test_permutations() -> None:
    """All orders of a word's letters between the blanks that stand around it; too many letters are refused with the number of orders."""
    model = without_network(*networks("gru"))
    ranked = model.permutations(" dios ")
    assert len({score.text for score in ranked}) == len(ranked) == 24
    assert all(score.text.startswith(" ") and score.text.endswith(" ") for score in ranked)
    best = max((model.score(score.text) for score in ranked), key=lambda score: score.log_likelihood)
    assert ranked[0].text == best.text
    assert len(model.permutations("anna")) == 6
    assert model.permutations("an\u0303o")[0].symbols == 3
    with pytest.raises(TextError, match="362,880"):
        model.permutations("abcdefghi")
    for wrong in ("", "  ", 7):
        with pytest.raises(TextError):
            model.permutations(wrong)  # type: ignore[arg-type]


def test_permutations_of_words() -> None:
    """Where the symbols are words, words are put in order."""
    tokenizer = escriba.WordTokenizer.fit("the king is dead long live the king")
    model = escriba.Model(escriba.LanguageModel(tokenizer.vocab_size, embedding_dim=4, hidden_size=6), tokenizer)
    assert {score.text for score in model.permutations("king-the")} == {
        "king-the", "kingthe-", "-kingthe", "-theking", "theking-", "the-king",
    }  # fmt: skip


def test_what_a_generated_text_says_of_itself_is_its_score() -> None:
    """The log-likelihood with which a text was written is its score after the prompt, in streams and documents, in NumPy and PyTorch."""
    for documents in (False, True):
        net, tokenizer = networks("gru", documents)
        for model in (escriba.Model(net, tokenizer), without_network(net, tokenizer)):
            for prompt in ("", "ab"):
                text = model.generate(prompt, 40, seed=3, temperature=0.7)
                if text.continuation:
                    score = model.score(text.continuation, prompt)
                    assert math.isclose(score.log_likelihood, text.log_likelihood, abs_tol=1e-4)


def test_wrong_arguments() -> None:
    """An <eos> of a stream, an unseen symbol of a strict vocabulary and a wrong kind are errors in words."""
    net, _ = networks("gru")
    strict = escriba.CharTokenizer.fit(TEXT + "%", unknown=False)
    model = escriba.Model(net, strict)
    with pytest.raises(SettingsError, match="documents"):
        model.score("abc", eos=True)
    with pytest.raises(UnknownSymbolError):
        model.score("7")
    with pytest.raises(UnknownSymbolError, match="line 2"):
        list(model.score_lines(["abc", "a7"]))
    with pytest.raises(TextError, match="after"):
        model.score("abc", 7)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="top"):
        model.score("abc", top="3")  # type: ignore[arg-type]
