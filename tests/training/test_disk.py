"""A disk that is full, that may not be written to, or from which the folder goes away: in words, and nothing that was saved is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from escriba.checkpoint import Config, load_folder
from escriba.errors import CheckpointError
from escriba.model.language_model import LanguageModel
from escriba.settings import TextSettings, TrainSettings
from escriba.text.batches import Batches
from escriba.text.tokenizer import CharTokenizer
from escriba.training.run import RunFolder
from escriba.training.trainer import Fit, fit

MakeNet = Callable[..., LanguageModel]


@pytest.fixture
def training(make_net: MakeNet, data: Batches) -> Fit:
    """A training of the small network, at its third step."""
    training = fit(make_net(), data, steps=50)
    while training.step < 3:
        next(training)
    return training


@pytest.fixture
def begun(make_net: MakeNet, tokenizer: CharTokenizer) -> Callable[[Path], RunFolder]:
    """Begins a run of it in a folder."""
    config = Config(TextSettings(), make_net().settings, TrainSettings(), tokenizer.vocab_size)
    return lambda target: RunFolder.create(target, config, tokenizer)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 200 kB; only an administrator of Linux can make one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be made here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, leaving: int = 0) -> Path:
    """Fills a disk but for so many bytes."""
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(b"x" * max(0, free - leaving))
    return disk / "filler"


def test_a_full_disk(small_disk: Path, begun: Callable[[Path], RunFolder], training: Fit) -> None:
    """Every way of writing says which file and why; after some space is freed it goes on from the last whole state."""
    run = begun(small_disk / "fox")
    run.record("begun")
    run.checkpoint(training.kept_weights(), training.state())
    weights = load_folder(run.path).weights
    before = {log: (run.path / log).read_bytes() for log in ("metrics.jsonl",)}
    fill(small_disk)
    next(training)
    long = "x" * 10_000
    for write in (
        lambda: run.record("progress", text=long),
        lambda: run.session("interrupted", text=long),
        lambda: run.sample("step 4", long),
        lambda: run.checkpoint(training.kept_weights(), training.state()),
        lambda: run.keep("step-4", training.kept_weights()),
    ):
        with pytest.raises(CheckpointError, match=r"could not be (written|made).*: No space left") as caught:
            write()
        assert "free some space" in (caught.value.hint or "")
    for name, array in load_folder(run.path).weights.items():
        np.testing.assert_array_equal(array, weights[name])
    run.close()
    (small_disk / "filler").unlink()
    again, state = RunFolder.reopen(run.target)
    assert (state.values["step"], again.notes) == (3, ())
    assert {log: (run.path / log).read_bytes() for log in before} == before
    again.checkpoint(training.kept_weights(), training.state())
    again.close()
    assert not list(small_disk.rglob(".*"))


def test_full_at_every_moment_of_saving(small_disk: Path, begun: Callable[[Path], RunFolder], training: Fit) -> None:
    """However much space is left when a state is saved, a whole one can be read afterwards, and the model loads."""
    run = begun(small_disk / "fox")
    run.checkpoint(training.kept_weights(), training.state())
    met = set()
    for leaving in range(0, 60_000, 4096):
        filler = fill(small_disk, leaving)
        step = next(training).step
        try:
            run.checkpoint(training.kept_weights(), training.state())
            met.add("saved")
        except CheckpointError as error:
            met.add(error.met.split(":")[0].rpartition("/")[2].replace(f"{step:08d}", "N"))
        run.close()
        filler.unlink()
        run, state = RunFolder.reopen(run.target)
        assert state.values["step"] <= step
        assert run.notes == ()
        load_folder(run.path)
    run.close()
    assert {"saved", "step-N.safetensors could not be written", "model.safetensors could not be written"} <= met


def test_full_before_the_first_state(small_disk: Path, begun: Callable[[Path], RunFolder], training: Fit) -> None:
    """A model that never held weights leaves nothing behind."""
    fill(small_disk, 8192)
    with pytest.raises(CheckpointError, match="No space left"), begun(small_disk / "fox") as run:
        run.checkpoint(training.kept_weights(), training.state())
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    fill(small_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        begun(small_disk / "fox")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


LIMITED = """
import resource, sys, pathlib
from escriba.errors import CheckpointError
from escriba.training.run import RunFolder
run, state = RunFolder.reopen(pathlib.Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
for write in (lambda: run.sample("step", "x" * 10_000), lambda: run.checkpoint({}, state)):
    try:
        write()
    except CheckpointError as error:
        print(error.met)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits here")
def test_a_limit_of_size(tmp_path: Path, begun: Callable[[Path], RunFolder], training: Fit) -> None:
    """A quota, or a limit of the shell's, is told as a full disk is; what was saved is whole, and the torn log is mended."""
    with begun(tmp_path / "fox") as run:
        run.sample("step 0", "abc")
        run.checkpoint(training.kept_weights(), training.state())
    before = (run.path / "samples.txt").read_bytes()
    done = subprocess.run([sys.executable, "-c", LIMITED, str(run.path)], capture_output=True, text=True, check=True)
    assert [line.split(": ")[0].rpartition(os.sep)[2] for line in done.stdout.splitlines()] == [
        "samples.txt could not be written",
        "step-00000003.safetensors could not be written",
    ]
    assert (run.path / "samples.txt").stat().st_size == 3000
    again, state = RunFolder.reopen(run.target)
    again.close()
    assert state.values["step"] == 3
    assert (run.path / "samples.txt").read_bytes() == before


UNPRIVILEGED = """
import ctypes, json, os, sys, pathlib
from escriba.checkpoint import load_folder
from escriba.errors import CheckpointError
from escriba.training.run import RunFolder
if os.geteuid() == 0:  # an administrator may write everywhere, unless he lays that right (CAP_DAC_OVERRIDE and its like) down
    header, sets, system = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(), ctypes.CDLL(None)
    assert system.capget(header, sets) == 0
    sets[0] &= ~0b110
    assert system.capset(header, sets) == 0
old = load_folder(pathlib.Path(sys.argv[1]))
said = []
for begin in (lambda: RunFolder.create(old.path.parent / "wolf", old.config, old.tokenizer),
              lambda: RunFolder.create(old.path, old.config, old.tokenizer, overwrite=True),
              lambda: RunFolder.reopen(old.path)[0].record("progress")):
    try:
        begin()
    except CheckpointError as error:
        said.append([error.met, error.hint])
print(json.dumps(said))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="rights are others there")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path, begun: Callable[[Path], RunFolder], training: Fit) -> None:
    """Neither a new model nor going on with one is possible there, which is told at once; nothing has changed."""
    if os.geteuid() == 0 and not sys.platform.startswith("linux"):
        pytest.skip("an administrator may write everywhere")
    with begun(tmp_path / "models" / "fox") as run:
        run.record("begun")
        run.checkpoint(training.kept_weights(), training.state())
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    everything = [tmp_path / "models", *(tmp_path / "models").rglob("*")]
    rights = [path.stat().st_mode for path in everything]
    for path, mode in zip(everything, rights, strict=True):
        path.chmod(mode & 0o555)
    try:
        command = [sys.executable, "-c", UNPRIVILEGED, str(run.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        for path, mode in zip(everything, rights, strict=True):
            path.chmod(mode)
    said = json.loads(done.stdout)
    assert len(said) == 3
    for met, hint in said:
        assert met.endswith("Permission denied")
        assert "may write to" in hint
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["fox"]


@pytest.mark.parametrize("moved", [True, False])
def test_a_folder_that_goes_away(moved: bool, tmp_path: Path, begun: Callable[[Path], RunFolder], training: Fit) -> None:
    """Whoever moves or deletes the folder of a training ends it in words; a moved one goes on elsewhere."""
    run = begun(tmp_path / "fox")
    run.record("begun")
    run.checkpoint(training.kept_weights(), training.state())
    if moved:
        run.path.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(run.path)
    for write in (
        lambda: run.record("progress"),
        lambda: run.sample("step", "abc"),
        lambda: run.session("interrupted"),
        lambda: run.checkpoint(training.kept_weights(), training.state()),
        lambda: run.keep("step-3", training.kept_weights()),
    ):
        with pytest.raises(CheckpointError, match=r"fox.* could not be (written|made).*: No such file|fox.* cannot find") as caught:
            write()
        assert "moved or deleted" in (caught.value.hint or "")
    run.close()
    assert [path.name for path in tmp_path.iterdir()] == (["elsewhere"] if moved else [])
    if moved:
        again, state = RunFolder.reopen(tmp_path / "elsewhere")
        again.close()
        assert (state.values["step"], again.notes) == (3, ())


def test_the_training_folder_may_be_deleted(tmp_path: Path, begun: Callable[[Path], RunFolder], training: Fit) -> None:
    """What only resuming needs may be deleted while it trains; the next state is there again."""
    with begun(tmp_path / "fox") as run:
        run.checkpoint(training.kept_weights(), training.state())
        shutil.rmtree(run.path / "training")
        run.session("interrupted")
        shutil.rmtree(run.path / "training")
        run.checkpoint(training.kept_weights(), training.state())
    again, state = RunFolder.reopen(run.target)
    again.close()
    assert state.values["step"] == 3
