"""One model used by many at once: by threads, by the child of a fork, under asyncio. Each gets what it gets alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escriba
from escriba.checkpoint import Config, save_head, save_weights
from escriba.settings import ModelSettings, TextSettings, TrainSettings
from escriba.text.corpus import Corpus
from escriba.text.tokenizer import CharTokenizer
from escriba.training.counting import count_ngrams
from escriba.weights import tensor_specs

SYMBOLS = "abcdefghij klmnop\n"
SHAPES = {
    "gru": ModelSettings(cell="gru", embedding_dim=8, hidden_size=48),
    "lstm of two layers": ModelSettings(cell="lstm", embedding_dim=8, hidden_size=32, num_layers=2),
    "ngram": ModelSettings(cell="ngram", embedding_dim=8, hidden_size=32),
    "residual": ModelSettings(cell="mingru", residual=True, embedding_dim=32, hidden_size=32, num_layers=2),
    "counts": ModelSettings(cell="counts", order=4),
}


def save(folder: Path, settings: ModelSettings) -> Path:
    """A model of random weights, or of the n-grams of a random text."""
    tokenizer, random = CharTokenizer.fit(SYMBOLS), np.random.default_rng(3)
    folder.mkdir()
    save_head(folder, Config(TextSettings(), settings, TrainSettings(), tokenizer.vocab_size), tokenizer)
    if settings.cell == "counts":
        save_weights(folder, count_ngrams(random.integers(1, tokenizer.vocab_size, 5000), tokenizer.vocab_size, settings.order))
    else:
        specs = tensor_specs(settings, tokenizer.vocab_size)
        save_weights(folder, {one.name: random.normal(0.0, 0.3, one.shape).astype(np.float32) for one in specs})
    return folder


@pytest.fixture(params=SHAPES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small model of each kind."""
    return save(tmp_path / "fox", SHAPES[request.param])


@pytest.fixture
def gru(tmp_path: Path) -> Path:
    """A small network."""
    return save(tmp_path / "gru", SHAPES["gru"])


Work = Callable[[escriba.Model], Any]

WORK: tuple[Work, ...] = (
    *(lambda model, seed=seed: model.generate("abc def", 60, seed=seed, temperature=0.9) for seed in range(4)),
    lambda model: model.generate(["abc", "ponm", ""], 40, samples=2, seed=5, top_k=5),
    lambda model: "".join(model.stream("k", 50, seed=6)),
    lambda model: model.generate("", 30, seed=7, temperature=0.0),
    lambda model: model.beam("abc", 12, width=3),
    lambda model: model.score("abc def ghi jkl mnop " * 5, top=2),
    lambda model: [score.text for score in model.rank(["abc", "cba", "bca", "acb"], after="k")],
    lambda model: model.next("abc de").probabilities.tolist(),
    lambda model: list(model.score_lines(["abc", "def ghi", ""], carry=True)),
    lambda model: model.evaluate(text="abc def\nghi jkl\n" * 20).loss_nats,
)
"""What is done with a model; each by the one thread or task."""


def shown(results: list[Any]) -> list[str]:
    """Results that can be compared: every digit of every number."""
    return [repr(one) for one in results]


def alone(folder: Path) -> list[str]:
    """What each of the works gives when nobody else is at it."""
    return shown([work(escriba.load(folder)) for work in WORK])


def at_once(model: escriba.Model, times: int = 3) -> list[list[str]]:
    """All the works, so many times, by as many threads, which begin together."""
    gate = threading.Barrier(len(WORK))

    def run(work: Work) -> Any:
        gate.wait(30)
        return work(model)

    with ThreadPoolExecutor(len(WORK)) as threads:
        return [shown(list(threads.map(run, WORK))) for _ in range(times)]


def test_threads_get_what_each_gets_alone(folder: Path) -> None:
    """Writing, streaming, scoring, ranking and measuring at once, from the first call on, when the engine is not yet made."""
    expected = alone(folder)
    for found in at_once(escriba.load(folder)):
        assert found == expected


def test_threads_open_the_same_packed_model(gru: Path, tmp_path: Path) -> None:
    """A zip file is read by many at once as a folder is."""
    packed = escriba.load(gru).pack(tmp_path / "fox.zip").path
    expected = escriba.load(packed).generate("abc", 30, seed=1)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: escriba.load(packed).generate("abc", 30, seed=1), range(24)))
    assert found == [expected] * 24


def test_streams_in_turn(gru: Path) -> None:
    """Texts that are written piece by piece, now one and now the other, in one thread or in several, do not meet."""
    model = escriba.load(gru)
    expected = [model.generate("abc", 80, seed=seed)[3:] for seed in range(6)]
    streams, found = [model.stream("abc", 80, seed=seed) for seed in range(6)], [""] * 6
    with ThreadPoolExecutor(6) as threads:
        while any(pieces := list(threads.map(lambda stream: next(stream, ""), streams))):
            found = [text + piece for text, piece in zip(found, pieces, strict=True)]
    assert found == expected


def test_under_asyncio(folder: Path) -> None:
    """asyncio.to_thread: the loop goes on while a model writes."""
    expected, model = alone(folder), escriba.load(folder)

    async def all_of_it() -> tuple[list[Any], int]:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.001)
                beats += 1

        heart = asyncio.create_task(beat())
        done = await asyncio.gather(*(asyncio.to_thread(work, model) for work in WORK))
        heart.cancel()
        return done, beats

    done, beats = asyncio.run(all_of_it())
    assert shown(done) == expected
    assert beats > 0


def test_texts_to_hold_against_are_not_mixed_up(gru: Path) -> None:
    """Each thread recalls against the text that it named, though only the last one is kept."""
    model = escriba.load(gru)
    texts = [Corpus((letter * 50,), False, (), (), TextSettings()) for letter in "abcd"]
    wrong: list[str] = []

    def ask(text: Corpus) -> None:
        for _ in range(400):
            if (met := model.learnt.text(model, text)) is not text:
                wrong.append(met.text)

    pause = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(texts)) as threads:
            list(threads.map(ask, texts))
    finally:
        sys.setswitchinterval(pause)
    assert wrong == []


def test_a_live_network_in_many_threads() -> None:
    """PyTorch's too: that one has done does not bring the dropout of learning back for the others."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tokenizer = CharTokenizer.fit(SYMBOLS)
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = escriba.LanguageModel(tokenizer.vocab_size, cell="gru", hidden_size=32, num_layers=2, dropout=0.5)
        model = escriba.Model(net, tokenizer)
        net.train()
        expected = shown([work(model) for work in WORK])
        for found in at_once(model, 5):
            assert found == expected
        assert all(module.training for module in net.modules())
    finally:
        torch.set_num_threads(threads)


FORKED = """\
import os, pickle, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: a fork while there are threads
sys.path.insert(0, sys.argv[2])
import escriba
from test_concurrency import WORK, alone, shown

folder = sys.argv[1]
expected = alone(folder)
model, fresh = escriba.load(folder), escriba.load(folder)
used = shown([work(model) for work in WORK])
assert used == expected
over = threading.Event()

def busy(seed):
    while not over.is_set():  # other threads are inside, and hold whatever locks there are, while the process forks
        escriba.load(folder).generate("abc", 30, seed=seed)
        model.generate("abc", 30, seed=seed)

threads = [threading.Thread(target=busy, args=(seed,), daemon=True) for seed in range(3)]
for thread in threads:
    thread.start()
unseeded = []
for _ in range(4):
    time.sleep(0.02)
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # one that waits for ever ends here
        try:
            one = [shown([work(which) for work in WORK]) for which in (model, fresh)] + [model.generate("abc", 40)]
            with os.fdopen(into, "wb") as pipe:
                pickle.dump([*one[:2], str(one[2])], pipe)
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        found = pickle.load(pipe)
    os.waitpid(child, 0)
    assert found[:2] == [expected, expected], "the child wrote otherwise"
    unseeded.append(found[2])
over.set()
for thread in threads:
    thread.join()
assert len(set(unseeded)) == 4, "children drew the same"
assert shown([work(model) for work in WORK]) == expected
print("forked")
"""
"""Run in a Python of its own: a model that was used, and one that was not, in children of a process with busy threads."""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork(folder: Path) -> None:
    """A child writes and scores as its parent does, whatever other threads of the parent were at; without a seed each draws its own."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(folder), str(Path(__file__).parent)],
        capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "forked\n"
