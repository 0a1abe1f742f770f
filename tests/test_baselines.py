"""The n-gram that counts as a model like any other, and what a training is compared with."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import escriba
from escriba.baselines import compare, loss_on
from escriba.checkpoint import load_folder
from escriba.cli.main import cli
from escriba.engine.counts import CountsEngine
from escriba.errors import CheckpointError, EscribaError, SettingsError, TextError
from escriba.text.corpus import read
from escriba.text.packing import gzip_sizes, more_bits, xz_sizes
from escriba.text.tokenizer import CharTokenizer


def test_a_counted_model_is_kept_loaded_and_used(story: str, tmp_path: Path) -> None:
    """Trained, saved, loaded, it writes and scores the same; its run is finished; a copy saved elsewhere is the same model."""
    events: list[Any] = []
    model = escriba.train(text=story, cell="counts", order=4, out=tmp_path / "m", watcher=events.append)
    again = escriba.load(tmp_path / "m")
    assert isinstance(again.engine, CountsEngine)
    assert again.generate("The ", 80, seed=3) == model.generate("The ", 80, seed=3)
    assert again.score("the cat").log_likelihood == model.score("the cat").log_likelihood
    assert [type(event).__name__ for event in events] == [*["Counting"] * 4, "Begun", "Closed"]
    assert again.run.finished
    assert again.run.last("begun")["corpus"]["characters"] == len(story)
    assert again.run.last("finished")["bits_per_char"] == events[-1].bits_per_char
    assert again.parameters == events[-2].parameters > 100
    assert "counts of order 4" in repr(again)
    escriba.load(again.save(tmp_path / "copy"))
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == (tmp_path / "m" / "model.safetensors").read_bytes()
    weights = load_folder(tmp_path / "m").weights
    assert {name: str(array.dtype) for name, array in weights.items()} == {
        "ngrams.keys": "int64", "ngrams.counts": "int32", "ngrams.discounts": "float64",
    }  # fmt: skip


def test_the_held_out_loss_is_that_of_its_own_scores(names: tuple[str, ...], story: str) -> None:
    """Documents are scored each from its beginning, ends included; of a stream all but the first symbol, after the text's own symbols."""
    for corpus in (read(documents=list(names)), read(text=story)):
        parts = corpus.parts()
        assert parts.held_out is not None
        given = {"documents": list(names)} if corpus.is_documents else {"text": story}
        model = escriba.train(**given, cell="counts", order=3, quiet=True)
        encoded = parts.held_out.encode(model.tokenizer)
        loss, count = loss_on(model.engine, encoded)
        eos = [model.tokenizer.eos_id] if corpus.is_documents else []
        total, symbols = 0.0, 0
        for number in range(encoded.count):
            ids = np.array([*eos, *encoded.document(number).tolist(), *eos])
            logits, _ = model.engine.advance(ids[None, :-1], model.engine.initial_state(1))
            total -= float(logits[0, np.arange(len(ids) - 1), ids[1:]].sum())
            symbols += len(ids) - 1
        assert (loss, count) == (pytest.approx(total / symbols, abs=1e-12), symbols)


@pytest.mark.parametrize(
    ("options", "met"),
    [
        ({"resume": True}, "resume is True"),
        ({"more": "m"}, "more is 'm'"),
        ({"init_from": "m"}, "init_from is 'm'"),
        ({"hidden_size": 7}, "hidden_size is 7"),
        ({"order": 0}, "order is 0"),
        ({"order": 9}, "order is 9"),
        ({"window": 5}, "window is 5"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], met: str, story: str) -> None:
    """An n-gram has one setting, and nothing to go on with."""
    with pytest.raises(SettingsError, match=met):
        escriba.train(text=story, cell="counts", quiet=True, **options)


def test_texts_of_no_use_and_models_that_are_there(story: str, tmp_path: Path) -> None:
    """An empty text is refused; so is a model in the way, unless it may be replaced."""
    with pytest.raises(TextError):
        escriba.train(text="", cell="counts", quiet=True)
    escriba.train(text=story, cell="counts", out=tmp_path / "m", quiet=True)
    with pytest.raises(CheckpointError, match="is there already"):
        escriba.train(text=story, cell="counts", out=tmp_path / "m", quiet=True)
    escriba.train(text=story, cell="counts", order=2, out=tmp_path / "m", overwrite=True, quiet=True)
    assert escriba.load(tmp_path / "m").engine.settings.order == 2  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not a model folder"):
        escriba.train(text=story, cell="counts", out=tmp_path / "other", overwrite=True, quiet=True)


def test_a_damaged_file_is_refused(story: str, tmp_path: Path) -> None:
    """Whatever byte of the weights is another, and wherever the file ends: an error in words, or the very same model."""
    escriba.train(text=story, cell="counts", order=3, out=tmp_path / "m", quiet=True)
    file = tmp_path / "m" / "model.safetensors"
    whole, dice = file.read_bytes(), np.random.default_rng(5)
    for at in dice.integers(0, len(whole), 60).tolist():
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
        with pytest.raises(EscribaError):
            escriba.load(tmp_path / "m")
        file.write_bytes(whole[:at])
        with pytest.raises(EscribaError):
            escriba.load(tmp_path / "m")


def test_no_pytorch_is_needed(story: str, tmp_path: Path) -> None:
    """Counting, loading, writing and scoring load neither PyTorch nor filelock."""
    (tmp_path / "text.txt").write_text(story, encoding="utf-8")
    code = (
        "import sys; sys.modules['torch'] = sys.modules['filelock'] = None\n"
        "import escriba\n"
        "escriba.train('text.txt', cell='counts', out='m', quiet=True)\n"
        "escriba.train('text.txt', cell='counts', out='m', quiet=True, overwrite=True)\n"
        "print(escriba.load('m').generate('The ', 20, seed=1))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The ")


def test_the_commands(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train --cell counts --order`, `show` and `list` by n-grams, `doctor`."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(story, encoding="utf-8")
    run = CliRunner().invoke
    trained = run(cli, ["train", "text.txt", "--cell", "counts", "--order", "3", "--json"])
    assert trained.exit_code == 0, trained.output
    bits = json.loads(trained.stdout)["bits_per_char"]
    shown = json.loads(run(cli, ["show", "text", "--json"]).stdout)
    assert list(shown["layers"]) == ["1-grams", "2-grams", "3-grams"]
    assert (shown["parameters"], shown["bits_per_char"]) == (sum(shown["layers"].values()), bits)
    assert "3-grams" in run(cli, ["show", "text"]).stdout
    assert "n-grams" in run(cli, ["list"]).stdout
    assert run(cli, ["doctor", "text"]).exit_code == 0


def test_what_a_training_is_compared_with(story: str) -> None:
    """The n-gram's figure is that of the model of the same order; the packers' are size(both) - size(seen); the line names all."""
    corpus = read(text=story)
    parts, tokenizer = corpus.parts(), CharTokenizer.fit(corpus)
    assert parts.held_out is not None
    found = compare(parts.whole_train, parts.held_out, tokenizer)
    assert list(found.bits_per_char) == ["counting 6-gram", "xz", "gzip"]
    alone = escriba.train(text=story, cell="counts", quiet=True)
    loss, _ = loss_on(alone.engine, parts.held_out.encode(tokenizer))
    assert found.bits_per_char["counting 6-gram"] == pytest.approx(loss / math.log(2), rel=1e-12)
    seen, new = parts.whole_train.text.encode(), parts.held_out.text.encode()
    for name, sizes in (("xz", xz_sizes), ("gzip", gzip_sizes)):
        before, both = sizes(seen, new, math.inf)
        assert before == sizes(seen, b"", math.inf)[0] < both < before + sizes(new, b"", math.inf)[0]
        assert found.bits_per_char[name] == 8 * (both - before) / parts.held_out.characters
    assert found.note is None
    assert found.line(2.194).startswith("bits per character on the held-out part: this model 2.19, counting 6-gram ")


def test_a_comparison_keeps_to_its_time(story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no time, what was left out is named; where a text is long, what was used of it."""
    corpus = read(text=story)
    parts, tokenizer = corpus.parts(), CharTokenizer.fit(corpus)
    assert parts.held_out is not None
    assert more_bits(b"a" * 100_000, b"b" * 100, xz_sizes, -1.0) == (None, None)
    found = compare(parts.whole_train, parts.held_out, tokenizer, most_seconds=0.0)
    assert list(found.bits_per_char) == ["counting 6-gram"]
    assert found.note == "no time for gzip; no time for xz"
    monkeypatch.setattr("escriba.baselines.MOST_TRAIN", 5000)
    found = compare(parts.whole_train, parts.held_out, tokenizer)
    assert found.note == "the n-gram counted the last 5,000 characters of 10,800"


def test_the_demo_begins_with_the_n_gram_and_needs_no_pytorch_for_it(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyTorch the demonstration writes by counting, says what to install, and ends well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    Path("text.txt").write_text(story, encoding="utf-8")
    done = CliRunner().invoke(cli, ["demo", "text.txt", "-o", "d"])
    assert done.exit_code == 0, done.output
    assert done.stdout.index("an n-gram that counts") < done.stdout.index("The ")
    assert "escriba[train]" in done.stderr
    assert escriba.load("d-counts").run.finished
