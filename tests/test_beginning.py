"""How a training begins: resumed, further after its end, with another model's weights, with texts of one's own to hold out."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escriba
from escriba.errors import CheckpointError, SettingsError, TextError
from escriba.results import Begun
from escriba.training.events import Progress

pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")

TINY: dict[str, Any] = {"hidden_size": 8, "embedding_dim": 4, "seq_len": 20, "batch_size": 8, "sample_length": 10, "threads": 1}


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory, story: str) -> Path:
    """A place with a text, fox.txt, and a finished model of it, fox."""
    place = tmp_path_factory.mktemp("fox")
    (place / "fox.txt").write_text(story, encoding="utf-8")
    escriba.train(place / "fox.txt", out=place / "fox", steps=12, quiet=True, **TINY)
    return place


@pytest.fixture
def place(fox: Path, tmp_path: Path) -> Path:
    """A copy of that place, to be changed."""
    return shutil.copytree(fox, tmp_path / "place")


def files(folder: Path) -> dict[str, Any]:
    """What two trainings that are alike must have alike: the files, the history without its times."""
    found: dict[str, Any] = {
        name: (folder / name).read_bytes() for name in ("config.json", "tokenizer.json", "model.safetensors", "samples.txt")
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {**found, "metrics": [{name: value for name, value in line.items() if name not in ("date", "elapsed_s")} for line in lines]}


def stopped_at(step: int) -> Any:
    """A watcher that presses Ctrl-C at a step."""

    def watch(event: Any) -> None:
        if isinstance(event, Progress) and event.step == step:
            signal.raise_signal(signal.SIGINT)

    return watch


def begun(*arguments: Any, **settings: Any) -> tuple[escriba.Model, Begun]:
    """A training, and what it said at its beginning."""
    seen: list[Any] = []
    model = escriba.train(*arguments, watcher=seen.append, **settings)
    (first,) = [event for event in seen if isinstance(event, Begun)]
    return model, first


@pytest.mark.parametrize("examples", ["windows", "streams", "documents"])
def test_stopped_twice_and_resumed_is_as_never_stopped(examples: str, place: Path) -> None:
    """All files but the training state, and the history without its times, are the same to the byte, in every example mode."""
    settings = {
        **TINY,
        "steps": 30,
        "eval_every": 7,
        "dropout": 0.3,
        "examples": examples,
        "documents": "line" if examples == "documents" else "auto",
    }
    whole, parts = place / "whole", place / "parts"
    escriba.train(place / "fox.txt", out=whole, quiet=True, **settings)
    escriba.train(place / "fox.txt", out=parts, watcher=stopped_at(5), **settings)
    escriba.train(place / "fox.txt", out=parts, resume=True, watcher=stopped_at(18), **settings)
    _, first = begun(place / "fox.txt", out=parts, resume=True)
    assert (first.restored or "").startswith("step 18: weights, optimizer, order and random states")
    assert files(parts) == files(whole)


def test_resume_of_nothing_says_so(place: Path) -> None:
    """Where there is nothing to go on with, training begins, and its first line says so; a model without its state is refused."""
    _, first = begun(place / "fox.txt", out=place / "new", resume=True, steps=2, **TINY)
    assert "nothing" in (first.restored or "")
    shutil.rmtree(place / "fox" / "training")
    with pytest.raises(CheckpointError, match="not the training/ folder"):
        escriba.train(place / "fox.txt", out=place / "fox", resume=True)


def test_resume_of_a_finished_training_changes_nothing(place: Path) -> None:
    """It says that all is done, gives the closing figures again, and touches no file."""
    before, seen = files(place / "fox"), []
    with pytest.warns(UserWarning, match="is finished; .*--more"):
        model = escriba.train(place / "fox.txt", out=place / "fox", resume=True, watcher=seen.append)
    assert files(place / "fox") == before
    assert (seen[-1].steps, seen[-1].reason) == (12, "length")
    assert model.generate("The ", 5, seed=1)


def test_another_number_of_threads_is_refused_unless_allowed(place: Path) -> None:
    """The threads of a training are recorded; with others the bits would differ."""
    settings = {**TINY, "steps": 30}
    escriba.train(place / "fox.txt", out=place / "m", watcher=stopped_at(5), **settings)
    with pytest.raises(SettingsError, match=r"threads is 2, but the training to resume ran with 1") as caught:
        escriba.train(place / "fox.txt", out=place / "m", resume=True, threads=2)
    assert "--allow-inexact" in (caught.value.hint or "")
    _, first = begun(place / "fox.txt", out=place / "m", resume=True, threads=2, allow_inexact=True)
    assert "not exact" in (first.restored or "")
    assert first.threads == 2


def test_a_finished_model_is_trained_further(place: Path) -> None:
    """Steps and history go on, the model is better or the same, and the folder is the same one; stopped in it, it resumes exactly."""
    before = escriba.load(place / "fox")
    best = before.run.best["loss_nats"]
    twin = shutil.copytree(place / "fox", place / "twin")
    model, first = begun(place / "fox.txt", more=place / "fox", steps=30, eval_every=7)
    assert "after 12 steps" in (first.restored or "")
    assert model.run.last("finished")["steps"] == 42
    assert model.run.best["loss_nats"] < best
    assert [line["step"] for line in model.run.events if line["event"] == "progress"] == [10, 20, 30, 40]
    assert not (place / ".fox.partial").exists()
    escriba.train(place / "fox.txt", more=twin, steps=30, eval_every=7, watcher=stopped_at(25))
    assert not escriba.load(twin).run.finished
    escriba.train(place / "fox.txt", out=twin, resume=True, quiet=True)
    assert files(twin) == files(place / "fox")


def test_more_into_another_folder_leaves_the_first(place: Path) -> None:
    """With `out` the finished model stays as it is."""
    before = files(place / "fox")
    escriba.train(place / "fox.txt", more=place / "fox", out=place / "longer", steps=5, quiet=True)
    assert files(place / "fox") == before
    assert escriba.load(place / "longer").run.last("finished")["steps"] == 17


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"hidden_size": 9}, SettingsError, "hidden_size is 9, but the model to train further has 8"),
        ({"batch_size": 9}, SettingsError, "batch_size is 9"),
        ({"resume": True}, SettingsError, "resume and more at once"),
        ({"more": "nowhere"}, CheckpointError, "no model 'nowhere'"),
        ({"more": 5}, SettingsError, "more is 5"),
    ],
    ids=str,
)
def test_more_refuses_what_cannot_be(settings: dict[str, Any], error: type[Exception], message: str, place: Path) -> None:
    """The network and the cut of examples stay; nothing is changed by a refusal."""
    before = files(place / "fox")
    with pytest.raises(error, match=message):
        escriba.train(place / "fox.txt", **{"more": place / "fox", **settings})
    assert files(place / "fox") == before


def test_more_and_resume_refuse_another_text(place: Path, story: str) -> None:
    """The held-out part must stay unlearnt: another text is refused with the difference, and --init-from is named."""
    (place / "other.txt").write_text(story[:-5], encoding="utf-8")
    with pytest.raises(TextError, match=r"not the text of the training in .*: 11,995 characters .* there 12,000") as caught:
        escriba.train(place / "other.txt", more=place / "fox", steps=2)
    assert "--init-from" in (caught.value.hint or "")


def test_an_unfinished_model_is_resumed_not_trained_further(place: Path) -> None:
    """`more` of a training that is not finished shows the line that finishes it."""
    escriba.train(place / "fox.txt", out=place / "m", steps=30, watcher=stopped_at(5), **TINY)
    with pytest.raises(CheckpointError, match="not finished") as caught:
        escriba.train(place / "fox.txt", more=place / "m")
    assert "--resume" in (caught.value.hint or "")


def test_a_new_text_begins_with_another_models_weights(place: Path, story: str) -> None:
    """Symbols are mapped by name and new ones added: before any step the first loss is that of the old model, not of noise."""
    (place / "new.txt").write_text(story[3000:9000].replace("river", "ríó @"), encoding="utf-8")
    tuned, first = begun(place / "new.txt", init_from=place / "fox", out=place / "tuned", steps=1, learning_rate=1e-9)
    parent = escriba.load(place / "fox")
    assert set(parent.tokenizer.symbols) < set(tuned.tokenizer.symbols)
    assert "@" in tuned.tokenizer.symbols
    assert "symbols mapped by name" in (first.restored or "")
    assert tuned.config is not None
    assert tuned.config.model.hidden_size == 8
    sentence = "The cat sat on the mat.\n"
    assert abs(tuned.score(sentence).surprisals[5] - parent.score(sentence).surprisals[5]) < 0.5
    with pytest.raises(SettingsError, match="hidden_size is 9, but the model to begin with has 8"):
        escriba.train(place / "new.txt", init_from=place / "fox", out=place / "n", hidden_size=9)
    with pytest.raises(CheckpointError, match="unit 'char', the text is cut into 'word'"):
        escriba.train(place / "new.txt", init_from=place / "fox", out=place / "n", unit="word")


def test_texts_of_ones_own_are_held_out(place: Path, story: str) -> None:
    """One of `val` and `test` is held out; with both the test text is, and the other is chosen by; nothing is cut from the text."""
    (place / "val.txt").write_text(story[:1000], encoding="utf-8")
    (place / "test.txt").write_text(story[5000:5600], encoding="utf-8")
    sizes = {}
    for name, own in {
        "none": {},
        "val": {"val": place / "val.txt"},
        "test": {"test": [place / "test.txt"]},
        "both": {"val": place / "val.txt", "test": place / "test.txt"},
    }.items():
        model = escriba.train(place / "fox.txt", out=place / name, steps=1, quiet=True, **own, **TINY)
        corpus = model.run.last("begun")["corpus"]
        sizes[name] = tuple(corpus[f"{part}_symbols"] for part in ("train", "choosing", "held_out"))
    assert sizes == {"none": (10584, 216, 1200), "val": (11760, 240, 1000), "test": (11760, 240, 600), "both": (12000, 1000, 600)}


def test_the_loss_before_and_after_is_on_the_same_text(place: Path) -> None:
    """The held-out figure of a model trained further is measured on the very part of before."""
    before = escriba.load(place / "fox").run.last("finished")
    model = escriba.train(place / "fox.txt", more=place / "fox", steps=20, quiet=True)
    after = model.run.last("finished")
    assert after["held_out_symbols"] == before["held_out_symbols"]
    assert np.isfinite(after["loss_nats"])
