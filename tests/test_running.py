"""Which engine a model runs with: by precision, by what the work is, made once, from many threads and after a fork."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escriba
from escriba import running
from escriba.cli.main import cli
from escriba.engine import opening
from escriba.engine.reference import ReferenceEngine
from escriba.errors import SettingsError
from escriba.running import Engines
from escriba.settings import ModelSettings
from escriba.weights import tensor_specs

SETTINGS = ModelSettings(embedding_dim=4, hidden_size=6)
TEXT = "the cat sat on the mat.\n" * 4


class StandIn(ReferenceEngine):
    """Stands for the native engine: it runs as the reference does, and remembers what it was asked for."""

    made: list[StandIn] = []  # noqa: RUF012 - emptied before each test

    def __init__(self, settings: ModelSettings, vocab_size: int, weights: Any, *, precision: str, threads: int | None) -> None:
        super().__init__(settings, weights)
        self.precision, self.threads = precision, threads
        time.sleep(0.01)  # another thread may come between
        StandIn.made.append(self)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    """A machine that has native kernels, in the form of a stand-in."""
    StandIn.made.clear()
    monkeypatch.setattr(opening, "has_native", lambda settings: True)
    monkeypatch.setattr(running, "has_native", lambda settings: True)
    monkeypatch.setattr("escriba._native.level", lambda: "avx512")
    monkeypatch.setitem(sys.modules, "escriba.engine.native", type(sys)("escriba.engine.native"))
    monkeypatch.setattr(sys.modules["escriba.engine.native"], "NativeEngine", StandIn, raising=False)
    return StandIn


@pytest.fixture
def none_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without."""
    monkeypatch.setenv("ESCRIBA_NATIVE", "off")


def tokenizer() -> escriba.CharTokenizer:
    """Of the text."""
    return escriba.CharTokenizer.fit(TEXT)


def weights(vocab_size: int) -> dict[str, np.ndarray]:
    """Random ones."""
    dice = np.random.default_rng(1)
    return {spec.name: dice.normal(size=spec.shape).astype(np.float32) for spec in tensor_specs(SETTINGS, vocab_size)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder."""
    from escriba.checkpoint import Config, save_head, save_weights
    from escriba.settings import TextSettings, TrainSettings

    tok, folder = tokenizer(), tmp_path / "cat"
    folder.mkdir()
    save_head(folder, Config(TextSettings(), SETTINGS, TrainSettings(), tok.vocab_size), tok)
    save_weights(folder, weights(tok.vocab_size))
    return folder


def test_what_is_written_may_be_rounded_and_what_is_measured_is_not(native: type[StandIn], folder: Path) -> None:
    """Unless asked otherwise a model writes in int8 and is measured in float32; each engine is made once, when it is wanted."""
    model = escriba.load(folder)
    assert native.made == []
    assert model.parameters == sum(array.size for array in weights(model.tokenizer.vocab_size).values())
    assert native.made == []
    model.generate("the ", 5, seed=1)
    "".join(model.stream("the ", 5, seed=1))
    model.beam("the ", 5)
    model.writer("the ").write(3)
    assert [engine.precision for engine in native.made] == ["int8"]
    model.next("the ")
    model.score("the cat")
    model.rank(["cat", "tac"])
    list(model.score_lines(["the cat"]))
    model.evaluate(text=TEXT)
    assert [engine.precision for engine in native.made] == ["int8", "float32"]
    assert (model.engine_for_writing(), model.engine) == tuple(native.made)
    assert model.engine_for(10**12) is model.engine  # PyTorch is not asked where there are native kernels


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_a_precision_that_is_asked_for_is_that_of_everything(precision: str, native: type[StandIn], folder: Path) -> None:
    """`precision` and `threads` of `load` hold for all that the model does."""
    model = escriba.load(folder, precision=precision, threads=3)
    model.generate("the ", 5, seed=1)
    model.score("the cat")
    assert [(engine.precision, engine.threads) for engine in native.made] == [(precision, 3)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "int9"}, ["precision is 'int9'", "auto, float32, bf16, int8", "'int8'"]),
        ({"precision": None}, ["precision is None"]),
        ({"threads": 0}, ["threads is 0", "1 to 1,024"]),
        ({"threads": True}, ["threads is True"]),
        ({"precision": "int8"}, ["needs the native kernels: it is switched off", "auto or float32", "escriba doctor"]),
        ({"precision": "bf16"}, ["needs the native kernels"]),
    ],
)
def test_wrong_values_are_told_at_once(options: dict[str, Any], said: Sequence[str], none_native: None, folder: Path) -> None:
    """`load` refuses what cannot be, with the nearest word, and says what to do where the native kernels are not there."""
    with pytest.raises(SettingsError) as caught:
        escriba.load(folder, **options)
    assert all(words in str(caught.value) for words in said), caught.value


def test_without_native_kernels_everything_is_exact(none_native: None, folder: Path) -> None:
    """Auto falls to the textbook's engine, one for all."""
    model = escriba.load(folder)
    assert isinstance(model.engine, ReferenceEngine)
    assert model.engine_for_writing() is model.engine


def test_a_live_network_is_run_as_it_is(native: type[StandIn]) -> None:
    """A network that may still learn writes and is measured with PyTorch, so what it learns shows at once."""
    pytest.importorskip("torch")
    tok = tokenizer()
    net = escriba.LanguageModel(tok.vocab_size, SETTINGS)
    model = escriba.Model(net, tok)
    assert model.engine_for_writing() is model.engine is model.engine_for(10**12)
    before = model.score("the cat").log_likelihood
    net.set_weights(weights(tok.vocab_size))
    assert model.score("the cat").log_likelihood != before
    assert native.made == []


def test_what_was_trained_writes_like_what_is_loaded(native: type[StandIn], tmp_path: Path) -> None:
    """A training that is over gives a model whose weights stay: it writes in int8 and is measured in float32."""
    pytest.importorskip("torch")
    model = escriba.train(text=TEXT, out=tmp_path / "m", hidden_size=6, embedding_dim=4, steps=1, quiet=True)
    native.made.clear()
    model.generate("the ", 3, seed=1)
    model.score("the")
    assert [engine.precision for engine in native.made] == ["int8", "float32"]


def test_a_cell_without_a_native_form_runs_with_numpy(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Whatever the machine has: nothing is rounded, and who asks for it is told of the cell."""
    monkeypatch.setattr(opening, "_NOT_NATIVE", (SETTINGS.cell,))
    assert isinstance(opening.engine_of(SETTINGS, tokenizer().vocab_size, weights(tokenizer().vocab_size), "auto"), ReferenceEngine)
    with pytest.raises(SettingsError, match=f"for which the cell {SETTINGS.cell} has no native kernels"):
        escriba.load(folder, precision="int8")


def test_an_n_gram_that_counts_is_the_same_in_each(none_native: None, tmp_path: Path) -> None:
    """Nothing is rounded in what counts, so a precision asked for beside others is no error."""
    model = escriba.train(text=TEXT * 5, out=tmp_path / "m", cell="counts", quiet=True)
    for precision in opening.PRECISIONS:
        loaded = escriba.load(tmp_path / "m", precision=precision)
        assert loaded.engine_for_writing().precision == "float64"
        assert loaded.score("the cat").log_likelihood == model.score("the cat").log_likelihood


def test_many_threads_make_one_engine(native: type[StandIn], folder: Path) -> None:
    """Threads that want the same engine at the same time get the same one."""
    model = escriba.load(folder)
    gate, found = threading.Barrier(8), []

    def want() -> None:
        gate.wait()
        found.append(model.engine_for_writing())

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(native.made) == 1
    assert found == native.made * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_forked_while_an_engine_is_made_makes_its_own(folder: Path) -> None:
    """The lock of a thread that is not there any more does not stop the child."""
    code = (
        "import os, sys, escriba, escriba.running as running\n"
        "model = escriba.load(sys.argv[1])\n"
        "running._Building.lock.acquire()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if model.score('the cat').symbols == 7 else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)


def test_a_model_can_be_pickled(none_native: None, folder: Path) -> None:
    """What arrives in another process makes engines of its own, and scores the same; so does a model of a caller's own engine."""
    model = escriba.load(folder, precision="float32", threads=2)
    score = model.score("the cat")
    again = pickle.loads(pickle.dumps(model.engines))
    assert (again.precision, again.threads) == ("float32", 2)
    assert escriba.Model(again, model.tokenizer).score("the cat") == score
    alone = pickle.loads(pickle.dumps(Engines.of(model.engine)))
    assert escriba.Model(alone, model.tokenizer).score("the cat") == score


Ran = Callable[..., Any]


@pytest.fixture
def run(folder: Path) -> Ran:
    """Runs `escriba` in this process, where the stand-in is."""
    from click.testing import CliRunner

    def ran(*words: object) -> Any:
        return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)

    return ran


def test_commands_say_when_they_round(native: type[StandIn], folder: Path, run: Ran) -> None:
    """What writes says so in one line on stderr, with the flag that makes it exact, and in JSON; what measures is exact."""
    line = "precision int8 (native, avx512): --precision float32 is exact\n"
    writing = (["generate", folder, "-l", 5, "--seed", 1], ["generate", folder, "-l", 5, "--beam", 2])
    for words in writing:
        done = run(*words)
        assert done.stderr.endswith(line), words
        assert done.stderr.count(line) == 1
        exact = run(*words, "--precision", "float32")
        assert "precision" not in exact.stderr
        assert json.loads(run(*words, "--json").stdout)["precision"] == "int8"
        assert json.loads(run(*words, "--json", "--precision", "bf16").stdout)["precision"] == "bf16"
    reading: tuple[list[Any], ...] = (["score", folder, "--text", "the cat"], ["rank", folder, "cat", "tac"], ["next", folder, "the "])
    for words in reading:
        assert "precision" not in run(*words).stderr
        assert run(*words, "--precision", "int8", "--threads", 1).stderr.endswith(line)
        found = json.loads(run(*words, "--json").stdout)
        assert (found[0] if isinstance(found, list) else found)["precision"] == "float32"
    assert {engine.threads for engine in native.made} == {None, 1}


def test_commands_take_the_same_words(none_native: None, folder: Path, run: Ran, tmp_path: Path) -> None:
    """Each command that runs a model takes --precision and --threads, and refuses a word that it does not know."""
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    every: list[list[Any]] = [
        ["generate", folder, "-l", 1], ["write", folder], ["next", folder, "a"], ["score", folder, "--text", "a"],
        ["rank", folder, "a", "b"], ["evaluate", folder, file],
    ]  # fmt: skip
    for words in every:
        with pytest.raises(SettingsError, match="precision is 'half'"):
            run(*words, "--precision", "half")
        assert run(*words, "--threads", 0).exit_code == 2
        assert run(*words, "--precision", "float32", "--threads", 2).exit_code == 0
