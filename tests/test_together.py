"""Several models together: one command, one model, whose probabilities are averaged."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import click
import pytest

import escriba
from escriba.cli.main import cli
from escriba.errors import CheckpointError, EscribaError, SettingsError, TextError


@pytest.fixture(scope="module")
def places(story: str, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A text, and two small models of it, with other seeds and cells."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "story.txt").write_text(story, encoding="utf-8")
    usual: dict[str, Any] = {"hidden_size": 12, "embedding_dim": 6, "batch_size": 8, "seq_len": 20, "steps": 60, "quiet": True}
    for name, settings in {"a": {"cell": "gru", "seed": 1}, "b": {"cell": "lstm", "seed": 2}}.items():
        escriba.train(folder / "story.txt", out=folder / name, **usual, **settings)
    return {name: folder / name for name in ("a", "b", "story.txt")}


def test_scores_are_those_of_the_mean(places: dict[str, Path]) -> None:
    """Symbol by symbol."""
    text = "the cat sat."
    apart = [escriba.load(places[name]).score(text).surprisals for name in "ab"]
    mixed = escriba.load(places["a"], places["b"]).score(text).surprisals
    for one, other, both in zip(*apart, mixed, strict=True):
        if (one, other) != (apart[0][0], apart[1][0]):  # the first symbol is scored by the training text's frequencies
            assert math.exp(-both) == pytest.approx((math.exp(-one) + math.exp(-other)) / 2, rel=1e-6)
    assert mixed != apart[0]


def test_evaluate_is_better_than_the_mean_of_both(places: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """In both protocols, on what both held out; and it is said which models there are."""
    losses = {}
    for names in ("a", "b", "ab"):
        first, *others = (str(places[name]) for name in names)
        words = ["evaluate", first, *(word for other in others for word in ("--with", other)), "--held-out", "--protocol", "both", "--json"]
        with pytest.raises(SystemExit):
            cli(words)
        found = json.loads(capsys.readouterr().out)
        losses[names] = [one["loss_nats"] for one in found]
        assert {one["model"] for one in found} == {" + ".join((first, *others))}
    for mine, one, other in zip(losses["ab"], losses["a"], losses["b"], strict=True):
        assert mine < (one + other) / 2


def test_the_loss_is_that_of_the_mean_by_hand(places: dict[str, Path]) -> None:
    """Symbol by symbol over the whole held-out part."""
    held_out = escriba.read(places["story.txt"]).parts().held_out
    assert held_out is not None
    apart = [escriba.load(places[name]).score(held_out.text).surprisals for name in "ab"]
    mixed = [-math.log((math.exp(-one) + math.exp(-other)) / 2) for one, other in zip(*apart, strict=True)]
    found = escriba.load(places["a"], places["b"]).evaluate(held_out, lanes=1)
    assert found.loss_nats == pytest.approx(sum(mixed) / len(mixed), rel=1e-6)


def test_score_takes_them_on_the_command_line(places: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The figures are those of Python; what is typical is asked of one model."""
    words = ["score", str(places["a"]), "--with", str(places["b"]), "--text", "the cat sat.", "--json"]
    with pytest.raises(SystemExit):
        cli(words)
    found = json.loads(capsys.readouterr().out)
    wanted = escriba.load(places["a"], places["b"]).score("the cat sat.")
    assert found["log_likelihood"] == pytest.approx(wanted.log_likelihood, abs=1e-6)
    assert found["log_likelihood"] != pytest.approx(escriba.load(places["a"]).score("the cat sat.").log_likelihood, abs=1e-3)
    with pytest.raises(click.UsageError, match="not with --with"):
        cli([*words, "--typical", "0.01"], standalone_mode=False)


def test_of_documents_the_seed_draws_what_is_held_out(tmp_path: Path, one_thread: None) -> None:
    """So models with other seeds do not agree, models with one seed do, and a model of a stream has not their symbols."""
    names = [f"{first}{second}n" for first in "abcdefgh" for second in ("ri", "ola", "es", "um", "iti")] * 16
    usual: dict[str, Any] = {"hidden_size": 8, "embedding_dim": 4, "steps": 10, "quiet": True}
    for place, settings in {"a": {"cell": "gru", "seed": 1}, "b": {"cell": "lstm", "seed": 1}, "c": {"cell": "gru", "seed": 2}}.items():
        escriba.train(documents=names, out=tmp_path / place, **usual, **settings)
    held_out = escriba.read(documents=names).parts(seed=1).held_out
    apart = [escriba.load(tmp_path / name).evaluate(held_out).loss_nats for name in "ab"]
    assert escriba.load(tmp_path / "a", tmp_path / "b").evaluate(held_out).loss_nats < sum(apart) / 2
    with pytest.raises(TextError, match="held out different texts"):
        escriba.load(tmp_path / "a", tmp_path / "c").evaluate()
    escriba.train(text="".join(names), out=tmp_path / "stream", cell="counts", quiet=True)
    with pytest.raises(SettingsError, match="not the same symbols"):
        escriba.load(tmp_path / "a", tmp_path / "stream")


def test_pictures_are_of_one(places: dict[str, Path]) -> None:
    """Neither network nor curve of the first stands for both."""
    both = escriba.load(places["a"], places["b"])
    with pytest.raises(SettingsError, match="several models together have no picture of the kind 'architecture'"):
        both.plot("architecture")
    shown = both._repr_html_()
    assert str(places["b"]) in shown
    assert "held out" not in shown
    assert "held out" in escriba.load(places["a"])._repr_html_()


def test_it_writes_the_same_from_the_same_seed(places: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """In Python and on the command line; another text than each writes alone."""
    model = escriba.load(places["a"], places["b"], precision="float32")
    text = model.generate("the ", 60, seed=3)
    with pytest.raises(SystemExit):
        cli(["generate", str(places["a"]), "--with", str(places["b"]), "-p", "the ", "-l", "60", "--seed", "3", "--precision", "float32"])
    assert capsys.readouterr().out == f"{text}\n"
    assert text != escriba.load(places["a"], precision="float32").generate("the ", 60, seed=3)
    assert model.is_novel("zyx zyx zyx\n")


def test_it_is_a_model_of_its_own(places: dict[str, Path], tmp_path: Path) -> None:
    """It counts the parameters of both, survives pickling, knows no typical texts, and is kept nowhere."""
    both = escriba.load(places["a"], places["b"])
    assert both.parameters == sum(escriba.load(places[name]).parameters or 0 for name in "ab")
    assert "2 together" in repr(both)
    again = pickle.loads(pickle.dumps(both.engines))
    assert again.exact().vocab_size == both.tokenizer.vocab_size
    assert both.score("the cat").more_surprising_than is None
    with pytest.raises(CheckpointError, match="typical for several models together is kept nowhere"):
        both.is_typical("the cat")
    with pytest.raises(CheckpointError, match="weights are not known"):
        both.save(tmp_path / "both")


def test_other_symbols_are_refused(places: dict[str, Path], tmp_path: Path) -> None:
    """A model of another vocabulary says other things by the same numbers."""
    escriba.train(text="abcdefgh " * 300, out=tmp_path / "other", cell="counts", quiet=True)
    with pytest.raises(SettingsError, match="not the same symbols"):
        escriba.load(places["a"], tmp_path / "other")


def test_held_out_parts_must_agree(places: dict[str, Path], tmp_path: Path) -> None:
    """What one of them held out another may have learnt."""
    escriba.train(places["story.txt"], out=tmp_path / "c", cell="counts", val_fraction=0.3, quiet=True)
    with pytest.raises(TextError, match="held out different texts"):
        escriba.load(places["a"], tmp_path / "c").evaluate()


def test_counts_can_be_among_them(places: dict[str, Path], tmp_path: Path) -> None:
    """A network and an n-gram that counts."""
    escriba.train(places["story.txt"], out=tmp_path / "counts", cell="counts", quiet=True)
    both = escriba.load(places["a"], tmp_path / "counts")
    assert both.evaluate().loss_nats < escriba.load(places["a"]).evaluate().loss_nats
    assert len(both.generate("the ", 30, seed=1).continuation) == 30


@pytest.mark.parametrize("words", [["evaluate", "a", "b", "--held-out", "--with", "b"], ["evaluate", "a", "--typical", "--with", "b"]])
def test_with_goes_with_one_model(places: dict[str, Path], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Which of several would it belong to?"""
    with pytest.raises(SystemExit) as end:
        cli([str(places.get(word, word)) for word in words])
    assert end.value.code == 2
    assert "--with goes with one MODEL" in capsys.readouterr().err


def test_a_missing_one_is_named(places: dict[str, Path]) -> None:
    """As if it were alone."""
    with pytest.raises(EscribaError, match="nowhere"):
        escriba.load(places["a"], "nowhere")
