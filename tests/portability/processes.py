"""What the tests of processes have in common: how one ended, its surroundings, the shortest training."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

TINY = ("--steps", "2", "--hidden-size", "8", "--set", "train.sample_length=20", "--set", "model.embedding_dim=6", "--precision", "float32")
"""Options of the shortest training."""

Words = Callable[..., "Done"]


class Done(NamedTuple):
    """How a process ended, and what it wrote."""

    code: int
    out: str
    err: str


def environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """The variables of a process: those of this one, and changes; None takes one away."""
    merged = {**os.environ, "OMP_NUM_THREADS": "1", **changes}
    return {name: value for name, value in merged.items() if value is not None}
