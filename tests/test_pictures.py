"""Models, scores, distributions and texts that show and draw themselves; a small model of random weights, no PyTorch."""

from __future__ import annotations

import json
import math
import sys
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escriba
from escriba.checkpoint import Config
from escriba.engine.reference import ReferenceEngine
from escriba.errors import MissingExtraError, SettingsError, TextError
from escriba.history import Run
from escriba.pictures import boxes
from escriba.results import Distribution, Score, Text
from escriba.settings import ModelSettings, TextSettings, TrainSettings
from escriba.text.tokenizer import CharTokenizer
from escriba.using import Model
from escriba.weights import count_parameters, tensor_specs

STORY = "the cat sat on the mat.\nThe dog ran; 7 birds sang $ & <b>.\n" * 5


def made(**settings: Any) -> Model:
    """A model of random weights."""
    tokenizer = CharTokenizer.fit(STORY)
    shape = ModelSettings(**{"hidden_size": 8, "embedding_dim": 6, **settings})
    random = np.random.default_rng(5)
    weights = {one.name: random.normal(0.0, 0.5, one.shape) for one in tensor_specs(shape, tokenizer.vocab_size)}
    config = Config(TextSettings(), shape, TrainSettings(), tokenizer.vocab_size)
    model = Model(ReferenceEngine(shape, weights), tokenizer, config=config)
    model._weights = weights
    return model


@pytest.fixture(scope="module")
def model() -> Model:
    """A small gru."""
    return made()


def history(folder: Path, **closing: Any) -> Run:
    """The history of a small training."""
    events: list[dict[str, Any]] = [{"event": "begun"}]
    events += [{"event": "progress", "step": step, "loss_nats": 3.0 / step} for step in range(1, 40)]
    events += [
        {"event": "evaluated", "step": step, "loss_nats": 3.5 / step, "bits_per_char": 3.5 / step / math.log(2) / 2} for step in (1, 20)
    ]
    events += [{"event": "progress", "step": 40, "loss_nats": None}]
    events += [{"event": "finished", "loss_nats": 0.2, "bits_per_char": 0.2 / math.log(2) / 2, **closing}]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, events)) + "\n", encoding="utf-8")
    return Run.read(folder)


# What comes next.


def test_a_distribution_knows_its_context_and_logits(model: Model) -> None:
    """The probabilities are the logits' softmax, the same as a writer's; the logits are the engine's own, not normalized."""
    found = model.next("the c")
    assert isinstance(found, Distribution)
    assert found.context == "the c"
    assert np.allclose(found.log_probs, model.writer("the c").next().log_probs, atol=1e-12)
    assert np.allclose(found.logits - found.log_probs, (found.logits - found.log_probs)[0])
    assert abs((found.logits - found.log_probs)[0]) > 1e-3
    assert found.rows(3) == [(symbol, share, found.logits[found.symbols.index(symbol)]) for symbol, share in found.top(3)]


def test_before_anything_the_frequencies_speak(model: Model) -> None:
    """From the beginning of a stream the logits are the log-probabilities."""
    found = model.next()
    assert found.logits is found.log_probs
    assert np.isclose(found.probabilities.sum(), 1.0)
    assert found.as_dict(2)["context"] == ""
    assert [one["symbol"] for one in found.as_dict(2)["next"]] == [symbol for symbol, _ in found.top(2)]


def test_a_distribution_shows_itself(model: Model) -> None:
    """As bars at a prompt, as bars of HTML in a notebook, escaped."""
    assert len(str(model.next("the")).splitlines()) == 10
    assert len(model.next("the").bars(3).splitlines()) == 3
    html = model.next("<b>$&")._repr_html_()
    assert "What comes after &lt;b&gt;$&amp;" in html


@pytest.mark.parametrize("n", [-1, 2.5, "3", True, None])
def test_a_wrong_number_of_symbols_is_told(model: Model, n: Any) -> None:
    """Neither a TypeError nor an empty list."""
    with pytest.raises(SettingsError, match="how many of the likeliest"):
        model.next("the").top(n)


def test_a_context_that_is_no_text_is_told(model: Model) -> None:
    """As everywhere; an unseen symbol is named in a warning."""
    with pytest.raises(TextError, match="the context is 3"):
        model.next(3)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="'水'"):
        model.next("水")


# Scores and texts.


def test_a_score_draws_itself(model: Model, tmp_path: Path) -> None:
    """A page with everything asked for; a part of a notebook; a picture."""
    score = model.score("the <b> & cat\n", top=3)
    page = score.page(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('class="b') >= len(score.text)
    assert "expected:" in page
    assert escape(score.convention) in page
    assert "&lt;b&gt;" not in page.split("<body>")[0].split("<style>")[1]
    assert "the &lt;b&gt; &amp; cat" in page.split("</title>")[0]
    assert f"{score.log_likelihood:,.3f} nats" in score._repr_html_()
    assert score.places()[4].bits == pytest.approx(score.surprisals[4] / math.log(2))
    with pytest.raises(SettingsError, match=r"\.html"):
        score.page(tmp_path / "page.txt")


def test_a_score_without_places_still_shows_its_totals() -> None:
    """One that was made by hand, or of nothing."""
    bare = Score("", 0.0, 0, None, None, None, 0, "none", ())
    assert "convention" in bare._repr_html_()


def test_a_text_is_shown_in_a_box() -> None:
    """Escaped, the prompt bold, the seed told, so that it can be written again."""
    text = Text.of("<i>", "a & b", log_likelihood=-3.0, seed=7, row=0, finish_reason="length")
    assert "<b>&lt;i&gt;</b>a &amp; b" in text._repr_html_()
    assert "seed 7" in text._repr_html_()


# Models.


def test_a_model_shows_itself(model: Model) -> None:
    """Its network and its vocabulary, whether it has a folder or none."""
    html = model._repr_html_()
    assert "gru of 8" in html
    assert f"{model.parameters:,}" in html
    assert "folder" not in html


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["input", "embedding", "gru 1", "output"]),
        ({"cell": "lstm", "num_layers": 2}, ["input", "embedding", "lstm 1", "lstm 2", "output"]),
        ({"cell": "rnn", "embedding_dim": None}, ["input", "one-hot", "rnn 1", "output"]),
        ({"cell": "ngram", "codes": True}, ["input", "codes", "ngram 1", "output"]),
        ({"cell": "gru", "hidden_size": 6, "tied": True}, ["input", "embedding", "gru 1", "output"]),
        ({"cell": "mingru", "num_layers": 2}, ["input", "embedding", "mingru 1", "mingru 2", "output"]),
        ({"cell": "mingru", "residual": True}, ["input", "embedding", "entry", "mingru 1", "norm", "output"]),
        ({"cell": "gru", "residual": True, "embedding_dim": None, "conv": None}, ["input", "one-hot", "entry", "gru 1", "norm", "output"]),
        ({"cell": "lstm", "residual": True, "embedding_dim": 8, "mlp": None}, ["input", "embedding", "lstm 1", "norm", "output"]),
    ],
)
def test_the_boxes_hold_all_parameters(settings: dict[str, Any], names: list[str]) -> None:
    """The parts in the order of the data's flow; their counts are the network's; the shapes go from ids to logits."""
    shape = ModelSettings(**{"hidden_size": 8, "embedding_dim": 6, **settings})
    found = boxes(shape, 20)
    assert [box.name for box in found] == names
    assert sum(box.parameters or 0 for box in found) == count_parameters(shape, 20)
    assert found[0].shape == "(batch, time)"
    assert found[-1].shape == "(batch, time, 20) logits"
    assert f"(batch, time, {shape.hidden_size})" in [box.shape for box in found]


def test_the_boxes_of_counts_tell_the_order() -> None:
    """A counting n-gram has no layers."""
    found = boxes(ModelSettings(cell="counts", order=4), 20)
    assert [box.name for box in found] == ["input", "counts"]
    assert "4 symbols" in found[1].does


@pytest.mark.parametrize(
    ("kind", "options"), [("architecture", {}), ("embedding", {"n": 5}), ("surprisal", {"text": "the cat"}), ("next", {})]
)
def test_each_picture_of_a_model_is_a_file(model: Model, kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    """The figure comes back, and the file is written."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    figure = model.plot(kind, tmp_path / "x.png", **options)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[union-attr]
    assert (tmp_path / "x.png").stat().st_size > 5000


def test_the_surprisal_is_also_a_page(model: Model, tmp_path: Path) -> None:
    """By the ending; it needs no matplotlib."""
    assert model.plot("surprisal", tmp_path / "x.HTML", text="the") == tmp_path / "x.HTML"


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("curv", {}, "did you mean 'curve'"),
        (3, {}, "there is no picture of the kind 3"),
        ("curve", {}, "no record"),
        ("curve", {"baselines": {"x": -1.0}}, "bits a character"),
        ("embedding", {"n": 2}, "3 or more"),
        ("embedding", {"m": 2}, "no option 'm'"),
        ("surprisal", {}, "text="),
        ("next", {"contxt": "a"}, "did you mean 'context'"),
    ],
)
def test_what_cannot_be_drawn_is_told(model: Model, kind: Any, options: dict[str, Any], told: str) -> None:
    """What was met, and the nearest that there is."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with pytest.raises(SettingsError) as error:
        model.plot(kind, **options)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("kind", "options"), [("curve", {}), ("architecture", {}), ("embedding", {}), ("surprisal", {"text": "the"}), ("next", {})]
)
def test_a_file_that_is_none_is_told_for_every_picture(model: Model, kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    """A path of a wrong type, and a page of what has none, before anything is drawn."""
    for path in (3, tmp_path / ("x.jpg" if kind == "surprisal" else "x.html")):
        with pytest.raises(SettingsError, match="picture"):
            model.plot(kind, path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["curve", "architecture", "embedding", "surprisal", "next"])
def test_without_matplotlib_every_picture_names_the_extra(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model whose training is recorded; the page of a surprisal needs none."""
    history(tmp_path)
    found = made()
    found.folder = tmp_path
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    options = {"text": "the cat"} if kind == "surprisal" else {}
    with pytest.raises(MissingExtraError, match="needs the Python package 'matplotlib'"):
        found.plot(kind, tmp_path / "x.png", **options)
    if options:
        assert found.plot(kind, tmp_path / "x.html", **options) == tmp_path / "x.html"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "gru of 8"),
        ({"cell": "ngram"}, "neural 3-gram of 8"),
        ({"cell": "lstm", "num_layers": 2}, "lstm of 8, 2 layers"),
        ({"cell": "mingru", "residual": True, "num_layers": 2}, "residual mingru of 8, 2 layers"),
    ],
    ids=str,
)
def test_a_network_has_one_name(settings: dict[str, Any], named: str) -> None:
    """In a picture's title and in a notebook; with its parameters in both."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    found = made(**settings)
    title = found.plot("architecture").axes[0].get_title()  # type: ignore[union-attr]
    assert title == f"{named}: {found.parameters:,} parameters"
    assert f"<div>{named}</div>" in found._repr_html_()


@pytest.mark.parametrize(
    ("settings", "why"), [({"embedding_dim": None}, "one-hot"), ({"cell": "ngram", "codes": True}, "codes")], ids=["one-hot", "codes"]
)
def test_a_model_without_an_embedding_says_why(settings: dict[str, Any], why: str) -> None:
    """There is nothing to make a map of."""
    with pytest.raises(SettingsError, match=f"no embedding: its symbols enter .*{why}"):
        made(**settings).plot("embedding")


# Histories.


def test_a_history_draws_its_curves(tmp_path: Path) -> None:
    """What was learnt from, the choosing part, the held-out result, a baseline in bits a character by the length of a symbol."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    run = history(tmp_path)
    assert {name: len(losses) for name, losses in run.curves().items()} == {"learnt from": 39, "choosing part": 2}
    figure = run.plot(tmp_path / "curve.svg", baselines={"n-gram": 1.0})
    legend = [one.get_text() for one in figure.axes[0].get_legend().get_texts()]
    assert legend[2].startswith("held-out part: 0.200 nats")
    assert legend[3] == f"n-gram: {math.log(2) * 2:.3f} nats, 1.000 bits a character"
    assert (tmp_path / "curve.svg").is_file()


def test_the_names_of_results_are_where_they_were() -> None:
    """The history moved into a module of its own; `results` still gives it."""
    assert escriba.results.Run is Run  # type: ignore[attr-defined]
