"""How much memory does training on 200 MB of text take?

A text of 200 MB in UTF-8, with accents and one emoji, is trained on for a few steps in a process of its own, whose anonymous
memory (its own, not that of files it maps) is sampled every 50 ms, its children's included. Linux tells it; elsewhere this skips.

    python tools/dev.py bench memory
    python benchmarks/bench_memory.py --megabytes 200 --steps 20
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from record import ROOT, find_text, save

BAR_MB = 1200
EVERY_S = 0.05
STAGES = ("reading", "learning", "closing")


def make_text(path: Path, megabytes: float) -> int:
    """Writes the Quijote again and again, a numbered line before each time, one emoji near the middle; its characters."""
    book = find_text("quijote-latin1.txt").read_text(encoding="latin-1")
    size, characters, number, emoji = 0, 0, 0, False
    with path.open("wb") as file:
        while size < megabytes * 1_000_000:
            number += 1
            head = f"\nVez número {number}.\n"
            if not emoji and size >= megabytes * 500_000:
                head, emoji = head + "😀\n", True
            data = (head + book).encode("utf-8")
            file.write(data)
            size += len(data)
            characters += len(head) + len(book)
    return characters


def anonymous_mb(process: int) -> float:
    """The anonymous memory of a process and of its children, in megabytes."""
    total = 0.0
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Anonymous:"):
                total += int(line.split()[1]) * 1024 / 1e6
        for task in Path(f"/proc/{process}/task").iterdir():
            total += sum(anonymous_mb(int(child)) for child in (task / "children").read_text(encoding="ascii").split())
    except OSError:  # it ended meanwhile
        pass
    return total


def main() -> None:
    """Trains in a child, samples its memory, and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200.0)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").is_file():
        print("skipped: this system does not tell the anonymous memory of a process")
        return
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text.txt")
        characters = make_text(text, options.megabytes)
        command = [sys.executable, "-m", "escriba", "train", str(text), "--preset", "small", "--steps", str(options.steps)]
        command += ["--set", "train.sample_length=0", "-o", str(Path(folder, "model"))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"}
        began = time.perf_counter()
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment)
        stage = [STAGES[0]]

        def listen() -> None:
            assert child.stderr is not None
            for line in child.stderr:
                print(line, end="", file=sys.stderr)
                if line.startswith("step"):  # the first step: all has been read and made ready
                    stage[0] = STAGES[1]
                if f"step {options.steps:,} " in line or line.startswith("ended"):
                    stage[0] = STAGES[2]

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        peaks = dict.fromkeys(STAGES, 0.0)
        samples = 0
        while child.poll() is None:
            peaks[stage[0]] = max(peaks[stage[0]], anonymous_mb(child.pid))
            samples += 1
            time.sleep(EVERY_S)
        listener.join()
        size = text.stat().st_size
    if child.returncode:
        raise SystemExit(f"escriba train ended with {child.returncode}")
    peak = max(peaks.values())
    row = {
        "megabytes": round(size / 1e6, 1),
        "characters": characters,
        "steps": options.steps,
        "peak_mb": round(peak),
        **{f"peak_{name}_mb": round(value) for name, value in peaks.items()},
        "bar_mb": BAR_MB,
        "samples": samples,
        "seconds": round(time.perf_counter() - began, 1),
    }
    save("bench_memory", f"python benchmarks/bench_memory.py --megabytes {options.megabytes:g} --steps {options.steps}", [row])
    if peak > BAR_MB:
        raise SystemExit(f"the peak is {peak:.0f} MB; at most {BAR_MB} were wanted")


if __name__ == "__main__":
    main()
