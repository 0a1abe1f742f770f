"""A training that is stopped or killed at any moment, and goes on, ends with the very files of one that was left alone."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from equal import STEPS, Train, hashes, history, sittings

from escriba.training.place import sibling

pytestmark = pytest.mark.slow

MODES = ("windows", "streams", "documents")
STOPPED, AT_ONCE = 10, 11
"""The exit status of a job that was asked to stop, and did; and of one that was asked twice."""

NeverStopped = Callable[[str], tuple[Path, list[str]]]


def seeded() -> random.Random:
    """Dice of another seed every day the tests run; the seed is shown where a test fails."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    return random.Random(seed)


def finish(train: Train, mode: str, out: Path, dice: random.Random, events: int, chance: float) -> int:
    """Goes on until the training is finished, killed again now and then at any event; how often it was killed."""
    killed = 0
    while True:
        again = dice.random() < chance
        at = {"event": "any", "number": dice.randint(1, events), "signal": "SIGKILL"} if again else {}
        if (status := train(mode, out, resume=True, at=at)) == 0:
            return killed
        assert (status, again) == (-signal.SIGKILL, True)
        killed += 1


def assert_equal(out: Path, whole: Path) -> None:
    """The same files with the same content."""
    assert history(out) == history(whole)
    assert hashes(out) == hashes(whole)
    assert not list(out.rglob(".*"))
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")] == []


def holds_the_old_one(out: Path) -> bool:
    """Whether the old model of two steps is still there, whole: in its place, or moved aside with nothing in its place yet."""
    there = out if (out / "config.json").is_file() else sibling(out, "old")
    return there.is_dir() and json.loads((there / "config.json").read_bytes())["train"]["steps"] == 2


def test_never_stopped(train: Train, never_stopped: NeverStopped, tmp_path: Path) -> None:
    """Two trainings that nobody stops are equal, and everything happened in them; with another seed they are not."""
    whole, events = never_stopped("streams")
    assert {"Begun", "Progress", "Evaluated", "EpochEnded", "Sampled", "CheckpointDue", "Closed"} <= set(events)
    assert events.count("Progress") == STEPS
    assert set(hashes(whole)) == {
        *["config.json", "tokenizer.json", "model.safetensors", "metrics.jsonl", "samples.txt", "typical.json"],
        *["kept/step-16.safetensors", "kept/step-32.safetensors"],
    }
    assert train("streams", tmp_path / "again") == 0
    assert_equal(tmp_path / "again", whole)
    assert train("streams", tmp_path / "other", settings={"seed": 5}) == 0
    assert hashes(tmp_path / "other")["model.safetensors"] != hashes(whole)["model.safetensors"]


@pytest.mark.parametrize("mode", MODES)
def test_asked_to_stop_at_ten_steps(mode: str, train: Train, never_stopped: NeverStopped, tmp_path: Path) -> None:
    """SIGINT at ten random steps, in two trainings of five stops each: it is saved at that very step, and goes on from there."""
    whole, _ = never_stopped(mode)
    dice = seeded()
    for number in range(2):
        out, before = tmp_path / f"stopped-{number}", 0
        steps = sorted(dice.sample(range(1, STEPS), 5))
        for step in steps:
            at = {"event": "Progress", "number": step - before, "signal": "SIGINT"}
            assert train(mode, out, resume=before > 0, at=at) == STOPPED
            pointer = json.loads((out / "training" / "last.json").read_text(encoding="utf-8"))
            assert pointer == {"state": f"step-{step:08d}.safetensors"}
            before = step
        assert train(mode, out, resume=True) == 0
        assert sittings(out) == ["began", *["interrupted", "resumed"] * 5]
        assert_equal(out, whole)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_asked_twice(name: str, train: Train, never_stopped: NeverStopped, tmp_path: Path) -> None:
    """A second signal stops at once: nothing more is saved, what was saved before is whole, and it goes on from there."""
    whole, _ = never_stopped("streams")
    out = tmp_path / "fox"
    assert train("streams", out, at={"event": "Progress", "number": 15, "signal": name, "times": 2}) == AT_ONCE
    assert sittings(out) == ["began"]
    assert json.loads((out / "training" / "last.json").read_text(encoding="utf-8")) == {"state": "step-00000012.safetensors"}
    assert train("streams", out, resume=True) == 0
    assert_equal(out, whole)


@pytest.mark.parametrize("mode", MODES)
def test_killed_at_ten_steps(mode: str, train: Train, never_stopped: NeverStopped, tmp_path: Path) -> None:
    """SIGKILL at ten random steps, the first of them before anything was saved; at times killed again while it goes on."""
    whole, events = never_stopped(mode)
    dice = seeded()
    for number, step in enumerate([1, *dice.sample(range(2, STEPS + 1), 9)]):
        out = tmp_path / f"killed-{number}"
        assert train(mode, out, at={"event": "Progress", "number": step, "signal": "SIGKILL"}) == -signal.SIGKILL
        finish(train, mode, out, dice, len(events), 0.2)
        assert_equal(out, whole)


def test_killed_at_any_event(train: Train, never_stopped: NeverStopped, tmp_path: Path) -> None:
    """One training that is killed again and again, at whatever it was just doing."""
    whole, events = never_stopped("streams")
    dice, out = seeded(), tmp_path / "killed"
    for _ in range(6):  # at most half the events are over before a kill, so the end is not reached by then
        at = {"event": "any", "number": dice.randint(1, len(events) // 12), "signal": "SIGKILL"}
        assert train("streams", out, resume=True, at=at) == -signal.SIGKILL
    assert finish(train, "streams", out, dice, len(events), 0.0) == 0
    assert_equal(tmp_path / "killed", whole)


@pytest.mark.parametrize("overwrites", [False, True])
def test_killed_while_it_saves(overwrites: bool, train: Train, never_stopped: NeverStopped, tmp_path: Path) -> None:
    """SIGKILL just before a random file is opened for writing, renamed or deleted, also while it takes an old model's place."""
    whole, _ = never_stopped("windows")
    dice = seeded()
    for number, write in enumerate(sorted(dice.sample(range(1, 50), 6))):
        out, settings = tmp_path / f"killed-{number}", {}
        if overwrites:
            assert train("windows", out, settings={"steps": 2}) == 0
            settings = {"overwrite": True}
        assert train("windows", out, at={"write": write, "signal": "SIGKILL"}, settings=settings) == -signal.SIGKILL
        if overwrites and holds_the_old_one(out):
            assert train("windows", out, resume=False, settings=settings) == 0
        else:
            again = {"write": dice.randint(1, 40), "signal": "SIGKILL"}
            assert train("windows", out, resume=True, at=again) == -signal.SIGKILL
            assert train("windows", out, resume=True) == 0
        assert_equal(out, whole)
