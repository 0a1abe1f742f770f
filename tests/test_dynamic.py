"""Dynamic evaluation: each symbol is scored before it is learnt from, what repeats is learnt, the model stays as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escriba
from escriba.cli.main import cli
from escriba.errors import SettingsError, TextError
from escriba.model.language_model import LanguageModel
from escriba.training import dynamic
from escriba.training.dynamic import SEGMENT, DynamicEngine

USUAL: dict[str, Any] = {"hidden_size": 16, "embedding_dim": 8, "batch_size": 8, "seq_len": 20, "steps": 80, "quiet": True}


@pytest.fixture(scope="module")
def place(story: str, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and a model of it."""
    folder = tmp_path_factory.mktemp("dynamic")
    (folder / "story.txt").write_text(story, encoding="utf-8")
    escriba.train(folder / "story.txt", out=folder / "model", **USUAL)
    return folder


def test_it_learns_what_repeats(place: Path) -> None:
    """Another text, of the same symbols, over and over: it foretells it better and better; and the model is as it was."""
    model = escriba.load(place / "model")
    text = "the bird sat by the river quickly. the mat ran on a tree. " * 60
    usual, learning = (model.evaluate(text=text, protocol=protocol, lanes=1) for protocol in ("stream", "dynamic"))
    assert learning.loss_nats < usual.loss_nats - 0.03
    assert learning.symbols == usual.symbols == len(text)
    assert "learns from every 64 symbols" in learning.convention
    assert model.evaluate(text=text, lanes=1).loss_nats == usual.loss_nats
    assert learning.protocol == "dynamic"


def test_nothing_is_learnt_before_it_is_scored() -> None:
    """The first segment is as without learning; and what comes later changes nothing before it."""
    net = LanguageModel(11, cell="gru", embedding_dim=5, hidden_size=9)
    ids_BT = np.random.default_rng(1).integers(0, 11, (1, 4 * SEGMENT + 1))
    other_BT = ids_BT.copy()
    other_BT[:, 2 * SEGMENT + 1 :] = (other_BT[:, 2 * SEGMENT + 1 :] + 1) % 11

    def losses(ids: np.ndarray, rate: float) -> np.ndarray:
        engine = DynamicEngine(net, rate)
        return -engine.read(ids[:, :-1], ids[:, 1:], engine.initial_state(1))[0].log_probs[0]

    learning, still, otherwise = losses(ids_BT, 0.01), losses(ids_BT, 1e-30), losses(other_BT, 0.01)
    np.testing.assert_allclose(learning[:SEGMENT], still[:SEGMENT], rtol=0, atol=1e-6)
    assert np.abs(learning[SEGMENT : 2 * SEGMENT] - still[SEGMENT : 2 * SEGMENT]).max() > 1e-3
    np.testing.assert_array_equal(learning[: 2 * SEGMENT], otherwise[: 2 * SEGMENT])


def test_an_update_is_that_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the gradient over the root of its mean square, then a share of the way back; by hand in float64."""
    monkeypatch.setattr(dynamic, "BACK", 0.1)
    net = LanguageModel(5, cell="rnn", embedding_dim=2, hidden_size=3)
    engine = DynamicEngine(net, 0.02)
    import torch

    start = [one.detach().double().clone() for one in net.parameters()]
    now, squares, random = [one.clone() for one in start], [torch.zeros_like(one) for one in start], torch.Generator().manual_seed(1)
    for update in range(1, 4):
        gradients = [torch.randn(one.shape, generator=random) for one in start]
        engine._learn(tuple(gradients))
        for at, gradient in enumerate(gradients):
            squares[at] = 0.99 * squares[at] + 0.01 * gradient.double() ** 2
            now[at] = now[at] - 0.02 * gradient.double() / ((squares[at] / (1 - 0.99**update)).sqrt() + 1e-8)
            now[at] = now[at] + 0.1 * (start[at] - now[at])
    for met, wanted in zip(engine.parameters, now, strict=True):
        torch.testing.assert_close(met.detach().double(), wanted, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(one.detach().double(), before) for one, before in zip(net.parameters(), start, strict=True))


def test_it_has_a_table_of_its_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line it is a protocol; of both others it is none."""
    words = ["evaluate", str(place / "model"), "--held-out", "--protocol"]
    for protocol, tables in (("dynamic", ["dynamic"]), ("both", ["stream", "window"])):
        with pytest.raises(SystemExit) as end:
            cli([*words, protocol])
        assert end.value.code == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if "bits" in line] == tables
    with pytest.raises(SystemExit):
        cli([*words, "dynamic", "--json"])
    assert json.loads(capsys.readouterr().out)["protocol"] == "dynamic"


def test_what_cannot_learn_on_is_refused(place: Path, names: tuple[str, ...], story: str) -> None:
    """Documents, lanes, counts, and several models."""
    model = escriba.load(place / "model")
    with pytest.raises(SettingsError, match="needs one order"):
        model.evaluate(protocol="dynamic", lanes=4)
    counts = escriba.train(place / "story.txt", out=place / "counts", cell="counts", quiet=True)
    for other in (counts, escriba.load(place / "model", place / "counts")):
        with pytest.raises(SettingsError, match="single network"):
            other.evaluate(text="the cat", protocol="dynamic")
    saints = escriba.train(documents=names, **USUAL)
    with pytest.raises(TextError, match="one stream"):
        saints.evaluate(text="mari", protocol="dynamic")
