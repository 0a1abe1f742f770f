"""A run on disk: the folder it grows in, its logs, its states, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from escriba.checkpoint import Config, load_folder
from escriba.errors import CheckpointError
from escriba.model.language_model import LanguageModel
from escriba.settings import TextSettings, TrainSettings
from escriba.text.batches import Batches
from escriba.text.tokenizer import CharTokenizer
from escriba.training.run import RunFolder, is_finished
from escriba.training.trainer import Fit, fit

MakeNet = Callable[..., LanguageModel]


@pytest.fixture
def config(make_net: MakeNet, tokenizer: CharTokenizer) -> Config:
    """The settings of the small network."""
    return Config(TextSettings(), make_net().settings, TrainSettings(), tokenizer.vocab_size)


@pytest.fixture
def make_run(tmp_path: Path, config: Config, tokenizer: CharTokenizer) -> Callable[..., RunFolder]:
    """A new run in tmp_path/"fox"."""
    return lambda **options: RunFolder.create(tmp_path / "fox", config, tokenizer, **options)


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
    _, found = RunFolder.reopen(run.path)
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
    _, state = RunFolder.reopen(run.path)
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
    reopened, _ = RunFolder.reopen(run.path)
    assert {name: (run.path / name).read_bytes() for name in kept} == kept
    assert kept["samples.txt"].decode("utf-8") == "=== step 0, temperature 1\nñandú\n\n\n"
    reopened.record("resumed")
    lines = (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["begun", "resumed"]


def test_logs_that_are_gone(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A log that was deleted, or is shorter than it was, is no obstacle."""
    run = make_run()
    run.record("begun")
    run.sample("step 0", "abc")
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    (run.path / "samples.txt").unlink()
    (run.path / "metrics.jsonl").write_bytes(b"{}\n")
    RunFolder.reopen(run.path)
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
    ("pointer", "message"),
    [
        (None, "no training to go on with"),
        ("{}", "points to"),
        ('{"state": "../model.safetensors"}', "points to"),
        ('{"state": "/step-1.safetensors"}', "points to"),
        ('{"state": "step-00000009.safetensors"}', "does not exist"),
        ("[1]", "points to"),
        ("{", "cannot be read"),
    ],
)
def test_a_pointer_that_is_wrong(pointer: str | None, message: str, make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A pointer that is missing, damaged, out of the folder or to nothing is refused in words."""
    run = make_run()
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    path = run.path / "training" / "last.json"
    path.unlink()
    if pointer is not None:
        path.write_text(pointer, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        RunFolder.reopen(run.path)


def test_a_state_that_is_damaged(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A state cut short, and one with a single changed byte among its numbers, is refused by its name."""
    run = make_run()
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    path = run.path / "training" / "step-00000001.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="step-00000001"):
            RunFolder.reopen(run.path)
    path.write_bytes(whole)
    RunFolder.reopen(run.path)


def test_is_finished(make_run: Callable[..., RunFolder], training: Fit) -> None:
    """A run is unfinished while there is something to go on with and the log has no end."""
    run = make_run()
    run.record("begun")
    run.checkpoint(advance(training, 1).kept_weights(), training.state())
    assert not is_finished(run.target)
    run.record("interrupted")
    assert not is_finished(run.target)
    run.record("finished", reason="length")
    assert is_finished(run.target)
