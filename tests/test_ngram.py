"""The neural n-gram as a person meets it: trained, kept, loaded, written with, scored, gone on with, from Python and the command line."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escriba
from escriba.errors import CheckpointError, SettingsError

pytest.importorskip("torch", reason="PyTorch is not installed")

from escriba import Model
from escriba.training.events import Progress

TINY: dict[str, Any] = {
    "cell": "ngram",
    "hidden_size": 24,
    "embedding_dim": 8,
    "batch_size": 8,
    "seq_len": 20,
    "learning_rate": 0.02,
    "precision": "float32",
    "threads": 1,
    "sample_length": 20,
    "quiet": True,
}
INPUTS: dict[str, dict[str, Any]] = {"embedded": {}, "one-hot": {"embedding_dim": None}, "codes": {"codes": True, "learning_rate": 0.01}}


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread: None) -> None:
    """All tests of this module."""


@pytest.fixture(scope="module")
def book(story: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The story in a file."""
    path = tmp_path_factory.mktemp("ngram") / "story.txt"
    path.write_text(story, encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=INPUTS)
def model(request: pytest.FixtureRequest, story: str) -> Model:
    """A small n-gram of each kind of input, trained in memory."""
    return escriba.train(text=story, **{**TINY, "steps": 200, **INPUTS[request.param]})


def held_out_loss(model: Model, story: str) -> float:
    """Nats a symbol of the story's last tenth."""
    score = model.score(story[-1200:])
    return -score.log_likelihood / score.symbols


def test_it_learns(model: Model, story: str) -> None:
    """The loss of the held-out part falls from ln V to well below what symbols alone would give; codes, a poor input, learn less."""
    counts = np.unique(list(story[:10_800]), return_counts=True)[1]
    shares = counts / counts.sum()
    symbols_alone = float(-(shares * np.log(shares)).sum())
    assert model.config is not None
    assert held_out_loss(model, story) < symbols_alone - (0.1 if model.config.model.codes else 1.0) < math.log(len(counts))


def test_saved_it_is_the_same(model: Model, tmp_path: Path) -> None:
    """Loaded from its folder it scores and writes as before, bit for bit."""
    again = escriba.load(model.save(tmp_path / "saved"))
    text = "The cat sat on a mat.\n"
    assert again.score(text).log_likelihood == model.score(text).log_likelihood
    assert again.generate("The ", 60, seed=3) == model.generate("The ", 60, seed=3)
    assert again.parameters == model.parameters == sum(parameter.numel() for parameter in model.net.parameters())  # type: ignore[union-attr]


def test_it_sees_its_window_and_no_more(model: Model) -> None:
    """After contexts that end in the same three symbols the next symbol is as likely; after another third symbol it is not."""
    one, same, other = (model.next(context).probabilities for context in ("The cat sat", "A dog and a bsat", "The cat lat"))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-4


def test_begun_with_another_models_weights(model: Model, story: str, tmp_path: Path) -> None:
    """On a text with a new symbol among the others it begins better than anew, symbol by symbol; with codes that is refused."""
    folder = model.save(tmp_path / "first")
    assert model.config is not None
    own = {name: getattr(model.config.model, name) for name in ("cell", "hidden_size", "embedding_dim", "codes", "window")}
    options = {**TINY, **own, "steps": 0, "text": story + "Why? Who? What?\n", "val_fraction": 0.2}
    if own["codes"]:
        with pytest.raises(CheckpointError, match="codes"):
            escriba.train(init_from=folder, **options)
        return
    begun, anew = escriba.train(init_from=folder, **options), escriba.train(**options)
    assert held_out_loss(begun, story) < held_out_loss(anew, story) - 1.0
    assert held_out_loss(begun, story) == pytest.approx(held_out_loss(model, story), abs=0.3)


@pytest.mark.parametrize("inputs", INPUTS)
def test_a_training_that_was_stopped_goes_on(inputs: str, book: Path, tmp_path: Path) -> None:
    """Stopped and resumed, with dropout and a carried window, it ends with the very weights of one that never stopped; more goes on."""
    options = {**TINY, **INPUTS[inputs], "dropout": 0.2, "steps": 30, "eval_every": 10}
    whole = escriba.train(book, out=tmp_path / "whole", **options)

    def stop(event: Any) -> None:
        if isinstance(event, Progress) and event.step == 13:
            signal.raise_signal(signal.SIGINT)

    escriba.train(book, out=tmp_path / "parts", watcher=stop, **{name: value for name, value in options.items() if name != "quiet"})
    resumed = escriba.train(book, out=tmp_path / "parts", resume=True, quiet=True)
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (tmp_path / "parts" / "model.safetensors").read_bytes()
    assert resumed.run.last("finished")["steps"] == 30
    more = escriba.train(more=tmp_path / "whole", steps=10, quiet=True)
    assert more.run.last("finished")["steps"] == 40
    assert whole.score("the cat").log_likelihood != more.score("the cat").log_likelihood


def test_documents(names: tuple[str, ...]) -> None:
    """Names are documents: each begins with an empty window, and ends."""
    model = escriba.train(documents=names, **{**TINY, "steps": 60})
    texts = model.generate("", 200, samples=20, seed=1)
    assert sum(text.finish_reason == "eos" for text in texts) > 10
    assert model.score("maria").log_likelihood > model.score("mmmmm").log_likelihood


def test_the_command_line(book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`train --cell ngram` with its window and its codes keeps what was asked for, and `show` tells it."""
    from escriba.cli.main import main

    tiny = ["--hidden-size", "8", "--steps", "2", "--set", "train.batch_size=8", "--set", "train.seq_len=20", "--quiet"]
    train = ["train", str(book), "-o", str(tmp_path / "m"), "--cell", "ngram", "--window", "4", "--codes", *tiny]
    for arguments in (train, ["show", str(tmp_path / "m"), "--json"]):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["cell"] == "ngram"
    assert shown["settings"]["model"]["window"] == 4
    assert shown["settings"]["model"]["codes"] is True
    assert shown["layers"] == {"ngram 1": 8 * 4 + 8, "output": 9 * shown["vocab_size"]}


@pytest.mark.parametrize(
    ("settings", "met"),
    [({"window": 0}, "window is 0"), ({"window": 65}, "window is 65"), ({"cell": "gru", "window": 5}, "window is for ngram"),
     ({"cell": "lstm", "codes": True}, "codes is for ngram"), ({"codes": True, "tied": True, "embedding_dim": 24}, "tied"),
     ({"reset": "before"}, "reset 'before' is for the gru")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(settings: dict[str, Any], met: str) -> None:
    """A window out of its range, and settings of one cell with another, are refused by name."""
    with pytest.raises(SettingsError, match=met):
        escriba.train(text="a text", **{**TINY, **settings})
