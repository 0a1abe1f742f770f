"""How soon does a command answer, and how soon is its first symbol there?

Each is a process of its own that begins from nothing, in turns with one that only imports NumPy, without which no model runs here, and one
that imports PyTorch, which none of them does. Compiled modules lie ready, as they do after an installation. The model is the lessons' own
network in bench_speed's folder: the largest of the two.

    python tools/dev.py bench start
    python benchmarks/bench_start.py --rounds 12
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench_speed import MODELS, train_models
from record import find_text, save

MUST: Mapping[str, float] = {"escriba --help": 0.2, "import escriba": 0.3, "load": 0.3, "generate, the first symbol": 0.4}
"""Seconds, at most."""


def seconds_until_output(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """How long a process takes until it has written something, or has ended."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        found = time.perf_counter() - began
        child.stdout.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return found


def measure(rounds: int) -> list[dict[str, Any]]:
    """The medians of all commands."""
    model, python = str(MODELS / "tutorial"), sys.executable
    commands = {
        "import numpy": [python, "-c", "import numpy; print(1)"],
        "import torch": [python, "-c", "import torch; print(1)"],
        "escriba --help": [python, "-m", "escriba", "--help"],
        "import escriba": [python, "-c", "import escriba; print(1)"],
        "load": [python, "-c", f"import escriba; escriba.load({model!r}); print(1)"],
        "generate, the first symbol": [python, "-m", "escriba", "generate", model, "--length", "200", "--seed", "1"],
    }
    spent: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = compiled
        for number in range(rounds + 1):
            for name, command in commands.items():
                found = seconds_until_output(command, environment)
                if number:
                    spent[name].append(found)
    rows = []
    for name, found in spent.items():
        row: dict[str, Any] = {"what": name, "seconds": round(statistics.median(found), 3), "least": round(min(found), 3)}
        rows.append({**row, **({"must": MUST[name]} if name in MUST else {})})
    return rows


def main() -> None:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="how often each is begun")
    options = parser.parse_args()
    train_models(find_text("shakespeare.txt"), 2.0)
    rows = measure(options.rounds)
    for row in rows:
        print(row)
    save("bench_start", f"python benchmarks/bench_start.py --rounds {options.rounds}", rows)
    late = [row["what"] for row in rows if row["seconds"] >= row.get("must", math.inf)]
    if late:
        sys.exit("not reached: " + "; ".join(late))


if __name__ == "__main__":
    main()
