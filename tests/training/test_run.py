"""A run on disk: the folder it grows in, its logs, its states, and what it refuses."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from escriba.checkpoint import Config, load_folder
from escriba.errors import CheckpointError
from escriba.model.language_model import LanguageModel
from escriba.settings import TextSettings, TrainSettings
from escriba.text.batches import Batches
from escriba.text.tokenizer import CharTokenizer
from escriba.training.run import RunFolder, has_state, is_finished, recover
from escriba.training.state import TrainingState
from escriba.training.trainer import Fit, fit

MakeNet = Callable[..., LanguageModel]


@pytest.fixture
def config(make_net: MakeNet, tokenizer: CharTokenizer) -> Config:
    """The settings of the small network."""
    return Config(TextSettings(), make_net().settings, TrainSettings(), tokenizer.vocab_size)


@pytest.fixture
def make_run(tmp_path: Path, config: Config, tokenizer: CharTokenizer) -> Iterator[Callable[..., RunFolder]]:
    """A new run in tmp_path/"fox"; what was made before is closed first, as a process does it at its end."""
    made: list[RunFolder] = []

    def make(**options: Any) -> RunFolder:
        for one in made:
            one.close()
        made.append(RunFolder.create(tmp_path / "fox", config, tokenizer, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@contextmanager
def reopened(run: RunFolder) -> Iterator[tuple[RunFolder, TrainingState]]:
    """The same folder, closed and opened again to go on."""
    run.close()
    again, state = RunFolder.reopen(run.target)
    with again:
        yield again, state


@pytest.fixture
def training(make_net: MakeNet, data: Batches) -> Fit:
    """A training whose steps are taken by `advance`."""
    return fit(make_net(cell="gru"), data, steps=50, averaging=0.9)


def advance(training: Fit, to: int) -> Fit:
    """The training, so many steps on."""
    while training.step < to:
        next(training)
    return training


def files(folder: Path) -> list[str]:
    """Every file below a folder, by its path in it."""
    return sorted(str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file())


def test_it_grows_beside_its_place(tmp_path: Path, make_run: Callable[..., RunFolder], training: Fit) -> None:
    """Until the first weights the folder is hidden, with the two heads in it; then it has its name and all its files."""
    run = make_run()
    partial = tmp_path / ".fox.partial"
    assert run.path == partial
    assert files(partial) == ["config.json", "tokenizer.json"]
    run.record("begun")
    run.sample("step 0", "abc")
    assert not (tmp_path / "fox").exists()
    run.checkpoint(advance(training, 3).kept_weights(), training.state())
    assert not partial.exists()
    assert run.path == tmp_path / "fox"
    assert files(run.path) == [
        *["config.json", "metrics.jsonl", "model.safetensors", "samples.txt", "tokenizer.json"],
        *["training/last.json", "training/step-00000003.safetensors"],
    ]
    assert load_folder(run.path).weights.keys() == training.net.get_weights().keys()


def test_what_is_saved_is_what_is_kept(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """The model holds the weights that would be kept; the state the raw ones beside the averages, all of it bit for bit."""
    run = make_run()
    state = advance(training, 4).state()
    run.checkpoint(training.kept_weights(), state)
    for name, array in load_folder(run.path).weights.items():
        np.testing.assert_array_equal(array, state.tensors[f"averages/{name}"].numpy())
    with reopened(run) as (_, found):
        pass
    assert found.values == json.loads(json.dumps(state.values))
    assert found.tensors.keys() == state.tensors.keys()
    for name, tensor in state.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def test_resumed_from_the_disk(make_run: Callable[..., RunFolder], training: Fit, make_net: MakeNet, data: Batches) -> None:
    """Going on from the folder gives the weights of a training that never stopped."""
    run = make_run()
    run.checkpoint(advance(training, 6).kept_weights(), training.state())
    advance(training, 9)
    with reopened(run) as (_, state):
        pass
    again = advance(fit(make_net(seed=3), data, steps=50, averaging=0.9, resume=state), 9)
    for name, array in again.kept_weights().items():
        np.testing.assert_array_equal(array, training.kept_weights()[name])


def test_the_two_newest_states_are_kept(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """Older states go, the pointer names the newest, and no temporary file is left."""
    run = make_run()
    for step in (1, 2, 9, 10, 11):
        run.checkpoint(advance(training, step).kept_weights(), training.state())
    assert files(run.path / "training") == ["last.json", "step-00000010.safetensors", "step-00000011.safetensors"]
    assert json.loads((run.path / "training" / "last.json").read_text(encoding="utf-8")) == {"state": "step-00000011.safetensors"}


def test_kept_moments(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """Weights kept under a name are a file of their own, loaded by `at`."""
    run = make_run()
    run.checkpoint(advance(training, 2).kept_weights(), training.state())
    early = training.kept_weights()
    run.keep("step-2", early)
    run.checkpoint(advance(training, 5).kept_weights(), training.state())
    for name, array in load_folder(run.path, "step:2").weights.items():
        np.testing.assert_array_equal(array, early[name])
        assert not np.array_equal(array, load_folder(run.path).weights[name]) or not array.any()


def test_logs_are_cut_on_reopening(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """What was written after the last state, a torn line among it, is taken back; what was before it stays."""
    run = make_run()
    run.record("begun", n=1)
    run.sample("step 0, temperature 1", "ñandú\n")
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    kept = {name: (run.path / name).read_bytes() for name in ("metrics.jsonl", "samples.txt")}
    run.record("progress", step=2)
    run.sample("step 2", "later")
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"event":"prog')
    with reopened(run) as (again, _):
        assert again.notes == ()
        assert {name: (run.path / name).read_bytes() for name in kept} == kept
        assert kept["samples.txt"].decode("utf-8") == "=== step 0, temperature 1\nñandú\n\n\n"
        again.record("progress")
    lines = (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["begun", "progress"]


def test_a_finished_history_is_not_cut(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """The end was written after the last state; opening the folder, to train it further, does not take it back."""
    run = make_run()
    run.record("begun")
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    run.record("finished")
    before = (run.path / "metrics.jsonl").read_bytes()
    with reopened(run):
        assert (run.path / "metrics.jsonl").read_bytes() == before
        assert is_finished(run.path)


def test_sittings_are_not_history(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """What only one sitting had stands in a file of its own, which reopening does not cut."""
    run = make_run()
    run.record("begun")
    run.session("began", date="today")
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    run.session("interrupted", date="today")
    with reopened(run) as (again, _):
        again.session("resumed", date="tomorrow")
    lines = (run.path / "training" / "sessions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["began", "interrupted", "resumed"]
    assert len((run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_what_a_killed_writer_left_goes(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """Half-written siblings of a process that was killed are cleared on reopening; nothing else is."""
    run = make_run()
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    before = files(run.path)
    for place in ("", "training", "kept"):
        (run.path / place).mkdir(exist_ok=True)
        (run.path / place / ".step-00000002.safetensors.4711.tmp").write_bytes(b"half")
    with reopened(run):
        assert files(run.path) == before


def test_logs_that_are_gone(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A log that was deleted, or is shorter than it was, is no obstacle, and is told."""
    run = make_run()
    run.record("begun")
    run.sample("step 0", "abc")
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    (run.path / "samples.txt").unlink()
    (run.path / "metrics.jsonl").write_bytes(b"{}\n")
    with reopened(run) as (again, _):
        assert again.notes == ("metrics.jsonl has lost its end", "samples.txt has lost its end")
    assert (run.path / "metrics.jsonl").read_bytes() == b"{}\n"


def test_records_are_json(make_run: Callable[..., RunFolder]) -> None:
    """A line is JSON whatever stands in it: no NaN, no line end inside, text in every script, half a surrogate pair too."""
    run = make_run()
    run.record("evaluated", loss_nats=math.nan, perplexity=math.inf, text="a\nb 日本")
    run.sample("odd", "\udce9")
    (line,) = (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"event": "evaluated", "loss_nats": None, "perplexity": None, "text": "a\nb 日本"}


def test_an_existing_model_is_not_overwritten_unasked(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """Unasked it is an error; asked, the old model stays until the new one holds weights, and then is gone whole."""
    old = make_run()
    old.checkpoint(advance(training, 1).kept_weights(), training.state())
    (old.path / "samples.txt").write_text("old", encoding="utf-8")
    before = files(old.target)
    with pytest.raises(CheckpointError, match="is there already"):
        make_run()
    new = make_run(overwrite=True)
    assert files(old.target) == before
    new.checkpoint(advance(training, 2).kept_weights(), training.state())
    assert "samples.txt" not in files(new.target)
    assert "training/step-00000001.safetensors" not in files(new.target)


@pytest.fixture(params=["a folder of one's own", "a file"])
def stranger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Something that is not a model, where the model should go."""
    if request.param == "a file":
        mine = tmp_path / "fox"
    else:
        (tmp_path / "fox").mkdir()
        mine = tmp_path / "fox" / "thesis.txt"
    mine.write_text("precious", encoding="utf-8")
    yield mine
    assert mine.read_text(encoding="utf-8") == "precious"


def test_what_is_no_model_is_never_overwritten(stranger: Path, make_run: Callable[..., RunFolder]) -> None:
    """A folder with other things in it, or a file, is refused even when overwriting is asked for."""
    with pytest.raises(CheckpointError, match="is not a model folder"):
        make_run(overwrite=True)


def test_an_empty_folder_is_taken(tmp_path: Path, make_run: Callable[..., RunFolder], training: Fit) -> None:
    """There is nothing to lose in it."""
    (tmp_path / "fox").mkdir()
    make_run(overwrite=True).checkpoint(advance(training, 1).kept_weights(), training.state())
    assert (tmp_path / "fox" / "model.safetensors").is_file()


def test_what_a_killed_run_left_is_cleared(tmp_path: Path, make_run: Callable[..., RunFolder]) -> None:
    """A partial folder of an earlier run does not mix with the new one."""
    (tmp_path / ".fox.partial" / "kept").mkdir(parents=True)
    (tmp_path / ".fox.partial" / "kept" / "epoch-1.safetensors").write_bytes(b"")
    assert files(make_run().path) == ["config.json", "tokenizer.json"]


def test_a_place_that_cannot_be_written_to(tmp_path: Path, config: Config, tokenizer: CharTokenizer) -> None:
    """It is an error in words that says what to do."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CheckpointError, match="could not be made") as caught:
        RunFolder.create(tmp_path / "file" / "fox", config, tokenizer)
    assert "-o" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("pointer", "note"),
    [
        (None, "last.json does not exist"),
        ("{}", "points to None"),
        ('{"state": "../model.safetensors"}', "points to '../model.safetensors'"),
        ('{"state": "/step-1.safetensors"}', "points to '/step-1.safetensors'"),
        ('{"state": "step-00000009.safetensors"}', "which is not there"),
        ('{"state": ["step-00000001.safetensors"]}', "points to ["),
        ("[1]", "points to None"),
        ("{", "cannot be read"),
    ],
)
def test_a_pointer_that_is_wrong(pointer: str | None, note: str, make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A pointer that is missing, damaged, out of the folder or to nothing is told; the newest state is found without it."""
    run = make_run()
    for step in (1, 2):
        run.checkpoint(advance(training, step).kept_weights(), training.state())
    path = run.path / "training" / "last.json"
    path.unlink()
    if pointer is not None:
        path.write_text(pointer, encoding="utf-8")
    with reopened(run) as (again, state):
        assert state.values["step"] == 2
        assert note in again.notes[0]
        assert again.notes[1:] == ("so it goes on from step 2",)


def test_the_pointer_is_believed(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A state that was written when the process died before it moved the pointer is not the one to go on from."""
    run = make_run()
    for step in (1, 2):
        run.checkpoint(advance(training, step).kept_weights(), training.state())
    (run.path / "training" / "last.json").write_text('{"state":"step-00000001.safetensors"}', encoding="utf-8")
    with reopened(run) as (again, state):
        assert (state.values["step"], again.notes) == (1, ())


def test_a_state_that_is_damaged(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A state cut short, or with a single changed byte, is named, and the one before it is taken, with the logs as they were then."""
    run = make_run()
    run.record("begun")
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    run.record("progress", step=2)
    run.checkpoint(advance(training, 2).kept_weights(), training.state())
    path = run.path / "training" / "step-00000002.safetensors"
    whole, log = path.read_bytes(), (run.path / "metrics.jsonl").read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]):
        path.write_bytes(damaged)
        (run.path / "metrics.jsonl").write_bytes(log)
        with reopened(run) as (again, state):
            assert state.values["step"] == 1
            assert "step-00000002" in again.notes[0]
        assert (run.path / "metrics.jsonl").read_bytes() == b'{"event":"begun"}\n'
    path.write_bytes(whole)
    with reopened(run) as (again, state):
        assert (state.values["step"], again.notes[0]) == (2, "metrics.jsonl has lost its end")


def test_no_state_at_all(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """Without a whole state there is nothing to go on with; the folder stays as it is, and unlocked."""
    run = make_run()
    run.record("begun")
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    run.close()
    (state,) = (run.path / "training").glob("step-*")
    assert has_state(run.path)
    state.write_bytes(state.read_bytes()[:-1])
    before = files(run.path)
    for message in ("holds no training to go on with: .*step-00000001", "holds no training to go on with$"):
        with pytest.raises(CheckpointError) as caught:
            RunFolder.reopen(run.target)
        assert re.search(message, caught.value.met)
        assert files(run.path) == before
        state.unlink(missing_ok=True)
        before = files(run.path)
    assert not has_state(run.path)
    make_run(overwrite=True)


def test_a_state_of_something_else(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A file of tensors by the name of a state, which is none, is refused."""
    run = make_run()
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    shutil.copyfile(run.path / "model.safetensors", run.path / "training" / "step-00000001.safetensors")
    run.close()
    with pytest.raises(CheckpointError, match="is no state of a training"):
        RunFolder.reopen(run.target)


def test_is_finished(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A run is unfinished while there is something to go on with and the log has no end after its last beginning."""
    run = make_run()
    run.record("begun")
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    assert not is_finished(run.target)
    run.record("progress", text='"event":"finished"')
    assert not is_finished(run.target)
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"event":"finished","rea')  # torn
    assert not is_finished(run.target)
    with reopened(run) as (again, _):
        again.record("finished", reason="length")
        assert is_finished(run.target)
        again.record("more")
        assert not is_finished(run.target)
        again.record("finished", reason="length")
        for step in range(10):
            again.record("evaluated", step=step)
        assert is_finished(run.target)
    shutil.rmtree(run.path / "training")
    (run.path / "metrics.jsonl").write_text('{"event":"begun"}\n', encoding="utf-8")
    assert is_finished(run.target)


def test_more_of_a_finished_model(make_run: Callable[..., RunFolder], training: Fit, config: Config) -> None:
    """A model trained further begins with the history, samples and kept moments of before, bound to its own settings; until it holds
    weights the old one stays, and then is gone.
    """
    old = make_run()
    old.record("begun")
    old.session("began")
    old.sample("step 0", "abc")
    old.checkpoint(advance(training, 2).kept_weights(), training.state())
    early = training.kept_weights()
    old.keep("step-2", early)
    old.record("finished")
    old.close()
    before = {name: (old.path / name).read_bytes() for name in files(old.path)}
    new = RunFolder.create(
        old.target, replace(config, train=TrainSettings(steps=99)), load_folder(old.path).tokenizer, overwrite=True, continues=old.path
    )
    with new:
        new.record("more")
        assert {name: (old.path / name).read_bytes() for name in files(old.path)} == before
        new.checkpoint(advance(training, 5).kept_weights(), training.state())
    lines = (new.place / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["begun", "finished", "more"]
    assert (new.place / "samples.txt").read_bytes() == before["samples.txt"]
    assert (new.place / "training" / "sessions.jsonl").read_bytes() == before["training/sessions.jsonl"]
    assert load_folder(new.place).config.train.steps == 99
    for name, array in load_folder(new.place, "step:2").weights.items():
        np.testing.assert_array_equal(array, early[name])
    assert [path.name for path in new.place.parent.iterdir()] == ["fox"]


def test_a_replacement_that_was_cut_short(tmp_path: Path, make_run: Callable[..., RunFolder], training: Fit) -> None:
    """The old model is back before it is looked for, before another takes its place, and before going on; a busy one is left alone."""
    run = make_run()
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    aside = tmp_path / ".fox.old"
    run.place.rename(aside)
    with pytest.raises(CheckpointError, match="is being trained by this same program"):
        recover(run.target)
    run.close()
    recover(run.target)
    recover(run.target)
    recover(Path("/"))
    assert has_state(run.target)
    run.place.rename(aside)
    with pytest.raises(CheckpointError, match="is there already"):
        make_run()
    assert has_state(run.target)
    run.place.rename(aside)
    with reopened(run) as (_, state):
        assert state.values["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["fox"]
