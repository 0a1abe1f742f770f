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
from escriba.presets import preset
from escriba.results import Begun
from escriba.tensorfile import read_tensors, tensor_bytes
from escriba.training import plan
from escriba.training.events import Progress
from escriba.training.probe import Compute

pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")

TINY: dict[str, Any] = {
    "cell": "gru", "hidden_size": 8, "embedding_dim": 4, "seq_len": 20, "batch_size": 8, "sample_length": 10, "threads": 1,
    "join": None,
}  # fmt: skip


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
    assert tuned.net is not None
    for name in ("embedding.weight", "output.weight"):
        learnt, before = tuned.net.get_weights()[name], dict(parent._weights or {})[name]
        for symbol in "eao ñ":
            here, there = tuned.tokenizer.symbols.index(symbol), parent.tokenizer.symbols.index(symbol)
            np.testing.assert_allclose(learnt[here], before[there], atol=1e-6, err_msg=f"{name} {symbol}")
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
    assert model.run.last("finished")["held_out_symbols"] == before["held_out_symbols"]
    assert model.run.last("more")["corpus"]["held_out_sha256"] == model.run.last("begun")["corpus"]["held_out_sha256"]


def elsewhere(folder: Path, **compute: Any) -> None:
    """Makes the last state of a training that of another machine."""
    name = json.loads((folder / "training" / "last.json").read_text(encoding="utf-8"))["state"]
    arrays, values = read_tensors(folder / "training" / name)
    values["compute"] = {**values["compute"], **compute}
    (folder / "training" / name).write_bytes(tensor_bytes(arrays, values, sealed=True))


def test_a_training_from_another_machine(place: Path) -> None:
    """A device that is not here is said, and allowed to be another; a finished model is trained further wherever it is."""
    escriba.train(place / "fox.txt", out=place / "m", steps=30, watcher=stopped_at(5), **TINY)
    for folder in ("m", "fox"):
        elsewhere(place / folder, device="cuda:7")
    with pytest.raises(SettingsError, match="ran on 'cuda:7', which is not here") as caught:
        escriba.train(place / "fox.txt", out=place / "m", resume=True)
    assert "--allow-inexact" in (caught.value.hint or "")
    model = escriba.train(place / "fox.txt", out=place / "m", resume=True, allow_inexact=True, quiet=True)
    assert model.run.last("finished")["steps"] == 30
    assert escriba.train(place / "fox.txt", more=place / "fox", steps=2, quiet=True).run.last("finished")["steps"] == 14


def test_what_another_model_learnt_is_not_held_out(place: Path) -> None:
    """Beginning with a model of the very same text needs the same part held out: else it would have been learnt."""
    with pytest.raises(TextError, match="learnt from this very text, with another part of it held out"):
        escriba.train(place / "fox.txt", init_from=place / "fox", out=place / "n", steps=2, val_fraction=0.2)
    assert escriba.train(place / "fox.txt", init_from=place / "fox", out=place / "n", steps=2, quiet=True)


def test_what_another_model_learnt_is_not_chosen_by(place: Path) -> None:
    """A model that learnt the choosing part too foretells it too well to choose by: who begins with it learns it, after a stop as well."""
    settings = {**TINY, "join": 0.5, "averaging": 0.9, "schedule": "linear"}
    escriba.train(place / "fox.txt", out=place / "all", steps=40, quiet=True, **settings)
    assert escriba.load(place / "all").run.last("joined")
    for parent, child in (("all", "child"), ("child", "grandchild")):
        escriba.train(place / "fox.txt", init_from=place / parent, out=place / child, steps=8, watcher=stopped_at(4), averaging=0.9)
        model = escriba.train(place / "fox.txt", out=place / child, resume=True, quiet=True)
        assert model.run.last("begun")["corpus"]["choosing_sha256"] is None
        assert model.run.evaluations == []
        assert model.run.last("finished")["kept"] == "averaged"
    packed = escriba.load(place / "all").pack(place / "packed", weights="float32", on=place / "fox.txt").path
    model = escriba.train(place / "fox.txt", init_from=packed, out=place / "of-packed", steps=4, quiet=True)
    assert model.run.evaluations == []
    assert escriba.train(place / "fox.txt", init_from=place / "fox", out=place / "n", steps=4, quiet=True).run.evaluations


def test_a_history_that_does_not_name_its_text_is_refused(place: Path) -> None:
    """Without it nobody knows whether the text is the same."""
    (place / "fox" / "metrics.jsonl").write_text('{"event":"begun"}\n{"event":"finished"}\n', encoding="utf-8")
    with pytest.raises(CheckpointError, match="does not say which text was learnt"):
        escriba.train(place / "fox.txt", more=place / "fox", steps=2)


def test_the_text_may_be_left_out_where_it_is_known(place: Path, story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished model and an unfinished one know where their text was; a text given in Python has to be given again."""
    monkeypatch.chdir(place)
    assert escriba.train(more="fox", steps=2, quiet=True).run.last("finished")["steps"] == 14
    escriba.train(text=story, out="m", steps=30, watcher=stopped_at(5), **TINY)
    with pytest.raises(TextError, match="was given in Python"):
        escriba.train(out="m", resume=True)
    assert escriba.train(text=story, out="m", resume=True, quiet=True).run.finished


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((["a.txt", "b.txt"],), {}, TextError, "source of type list"),
        ((5,), {}, TextError, "source of type int"),
        (("fox.txt",), {"val": 5}, TextError, "5 is no path"),
        (("fox.txt",), {"sample_prompt": "@", "unknown": False}, TextError, "'@' at position 0 is not in the vocabulary"),
        (("fox.txt",), {"more": "fox", "averaging": None, "clip_norm": None, "batch_size": None}, SettingsError, "batch_size"),
        (("fox.txt",), {"more": "fox", "preset": "smal"}, SettingsError, "no preset 'smal'"),
        (("fox.txt",), {"init_from": "fox", "embedding_dim": None}, SettingsError, "embedding_dim is None"),
    ],
    ids=str,
)
def test_slips(
    arguments: tuple[Any, ...], settings: dict[str, Any], error: type[Exception], message: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slips are told in words, and no folder is made."""
    monkeypatch.chdir(place)
    with pytest.raises(error, match=message):
        escriba.train(*arguments, out=place / "slip", steps=2, **settings)
    assert not (place / "slip").exists()


def test_saving_over_a_model_leaves_nothing_of_it(place: Path) -> None:
    """The saved model has its own history and samples; the old one's would be taken for those of its weights. What is no model stays."""
    model = escriba.load(place / "fox")
    escriba.train(place / "fox.txt", out=place / "other", steps=3, quiet=True, **TINY)
    model.save(place / "other", overwrite=True)
    assert sorted(path.name for path in (place / "other").iterdir()) == [
        *["config.json", "metrics.jsonl", "model.safetensors", "samples.txt", "tokenizer.json", "typical.json"]
    ]
    assert files(place / "other") == files(place / "fox")
    assert model.run.last("finished")["steps"] == 12
    assert escriba.load(place / "other").score("The cat") == model.score("The cat")
    (place / "mine").mkdir()
    (place / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(CheckpointError, match="is not a model folder"):
        model.save(place / "mine", overwrite=True)
    assert (place / "mine" / "letter.txt").is_file()


@pytest.mark.parametrize("own", [{"val": "fox.txt"}, {"test": ["val.txt", "fox.txt"]}, {"val": "val.txt", "test": "./val.txt"}], ids=str)
def test_a_text_that_is_learnt_from_is_not_held_out(own: dict[str, Any], place: Path, story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is given twice, to learn from and to measure on, is refused by its name: the figure would be of text that was learnt."""
    monkeypatch.chdir(place)
    (place / "val.txt").write_text(story[:1000], encoding="utf-8")
    with pytest.raises(TextError, match=r"(fox|val)\.txt is given twice"):
        escriba.train("fox.txt", out="n", steps=2, **own, **TINY)


def test_weights_that_were_changed_are_saved_without_a_history(place: Path) -> None:
    """History, samples and what is typical are those of other weights then; so with those of an earlier moment."""
    model = escriba.train(place / "fox.txt", out=place / "m", steps=4, keep_every="2", quiet=True, **TINY)
    escriba.load(place / "m", at="step:2").save(place / "earlier")
    assert model.net is not None
    weights = model.net.get_weights()
    model.net.set_weights({**weights, "output.bias": weights["output.bias"] + 1.0})
    model.save(place / "changed")
    for name in ("earlier", "changed"):
        assert sorted(path.name for path in (place / name).iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    again = escriba.load(place / "m")
    again.save(place / "m", overwrite=True)
    assert again.run.last("finished")["steps"] == 4


def documents(letters: str) -> list[str]:
    """Many short documents."""
    return [f"{a}{b}{c} of {c}{b}" for a in letters for b in letters for c in letters]


def test_hashes_are_kept_from_the_beginning(place: Path) -> None:
    """A training of documents that was stopped has its hashes, resumed and trained further it keeps them; `init_from` adds to them."""
    old, new = documents("aeioulr"), documents("mnbvcxz")
    model = escriba.train(documents=old, out=place / "m", steps=30, watcher=stopped_at(5), **TINY)
    learnt = [one for one in old if not escriba.load(place / "m").is_novel(one)]
    assert len(old) * 0.85 < len(learnt) < len(old)
    assert model.recall(learnt[0]).lines[0].is_new is False
    escriba.train(documents=old, out=place / "m", resume=True, quiet=True)
    escriba.train(documents=old, more=place / "m", steps=2, quiet=True)
    child = escriba.train(documents=new, init_from=place / "m", out=place / "child", steps=2, quiet=True)
    escriba.train(documents=new, more=place / "child", steps=2, quiet=True)
    loaded = escriba.load(place / "child")
    for one in (escriba.load(place / "m"), child, loaded):
        assert [text for text in old if not one.is_novel(text)] == learnt
    assert not all(loaded.is_novel(text) for text in new)
    assert loaded.is_novel("mnb of vcx")
    with pytest.warns(UserWarning, match=r"began with the weights of .*m, .* is not looked at"):
        assert child.recall(learnt[0]).lines[0].is_new


def test_a_short_text_ends_before_its_minutes(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read as often as is of use, which is said; also when it was stopped and is gone on with."""
    monkeypatch.setattr(plan, "probe", lambda net, data, settings: Compute("cpu", "float32", 1, 1e6, measured=True))
    small = {**TINY, "cell": "mingru", "num_layers": 1, "minutes": 1.0, "sample_length": 0}
    (tmp_path / "fox.txt").write_text(story, encoding="utf-8")
    seen: list[Any] = []
    stop = stopped_at(3)

    def watch(event: Any) -> None:
        seen.append(event)
        stop(event)

    escriba.train(tmp_path / "fox.txt", out=tmp_path / "fox", watcher=watch, **small)
    assert any("more would only be learnt by heart" in note for note in seen[0].notes)
    model = escriba.train(tmp_path / "fox.txt", out=tmp_path / "fox", resume=True, quiet=True, minutes=1.0)  # as it was begun
    finished = model.run.last("finished")
    assert finished["reason"] == "length"
    assert finished["elapsed_s"] < 10
    assert finished["epochs"] == pytest.approx(preset().most_epochs(10_500), abs=0.1)
