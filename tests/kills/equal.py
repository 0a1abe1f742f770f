"""What must be the same after a training that was stopped and one that was not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 40

SETTINGS: dict[str, Any] = {
    "cell": "gru",
    "hidden_size": 8,
    "embedding_dim": 6,
    "dropout": 0.2,
    "batch_size": 16,
    "seq_len": 20,
    "steps": STEPS,
    "eval_every": 6,
    "sample_every": 7,
    "sample_length": 20,
    "sample_temperatures": [0.8],
    "keep_every": "16",
    "averaging": 0.9,
    "precision": "float32",
    "device": "cpu",
    "threads": 1,
}
"""A training in which everything happens, each thing at steps of its own: evaluations, samples, kept moments, the end of an epoch."""

Train = Callable[..., int]


def timeless(line: str) -> str:
    """A line of the history without its times."""
    return json.dumps({name: value for name, value in json.loads(line).items() if name not in ("elapsed_s", "date")})


def hashes(folder: Path) -> dict[str, str]:
    """What a stopped training must have the same of as one that was not: every file but training/, of the history all but times."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "training"):
        content = path.read_bytes()
        if path.name == "metrics.jsonl":
            content = "\n".join(map(timeless, content.decode("utf-8").splitlines())).encode()
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def history(folder: Path) -> list[str]:
    """The history without its times, to see a difference."""
    return [timeless(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def sittings(folder: Path) -> list[str]:
    """The events of training/sessions.jsonl."""
    return [json.loads(line)["event"] for line in (folder / "training" / "sessions.jsonl").read_text(encoding="utf-8").splitlines()]
