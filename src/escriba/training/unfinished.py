"""Whether a model folder holds a training that can go on, and whether it came to its end.

It knows nothing of what is in a state, and needs no PyTorch.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["has_state", "is_finished", "states"]

STATE = re.compile(r"step-\d{8,}\.safetensors")


def has_state(folder: Path) -> bool:
    """Whether a model folder holds a training to go on with."""
    return bool(states(folder))


def is_finished(folder: Path) -> bool:
    """Whether the training of a model folder came to its end, and was not taken further since; without a state there is none to end."""
    last = None
    try:
        with (folder / "metrics.jsonl").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(('{"event":"begun"', '{"event":"more"', '{"event":"finished"')) and line.endswith("}\n"):
                    last = line[10 : line.index('"', 10)]
    except OSError:
        pass
    return last == "finished" or not has_state(folder)


def states(folder: Path) -> list[str]:
    """The names of the states in a folder, the newest first."""
    names = [path.name for path in (folder / "training").glob("step-*.safetensors") if STATE.fullmatch(path.name)]
    return sorted(names, key=lambda name: (len(name), name), reverse=True)
