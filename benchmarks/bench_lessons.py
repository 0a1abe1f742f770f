"""Do the lessons' own network and training give the lessons' own losses?

The `tutorial` preset on the whole of Tiny Shakespeare: on shuffled windows the mean loss of epochs 2 to 5 is held against the
lesson that prints means after one warm epoch; on streams with the state carried, the last steps of epochs 2 to 5 against the
lesson that prints the last batch.

    python tools/dev.py bench lessons
    python benchmarks/bench_lessons.py --modes windows
"""

from __future__ import annotations

import argparse
from typing import Any

import escriba
from escriba.training.events import EpochEnded
from record import find_text, save

EXPECTED: dict[str, dict[str, Any]] = {
    "windows": {"losses": (1.988, 1.707, 1.546, 1.447), "figure": "loss_nats", "within": 0.06, "unknown": True},
    "streams": {"losses": (1.81, 1.61, 1.49, 1.40), "figure": "last_loss_nats", "within": 0.1, "unknown": False},
}
"""Epochs 2 to 5 as the lessons print them, and how near ours must be."""


def train(mode: str, precision: str) -> list[dict[str, Any]]:
    """Five epochs in one mode: a row an epoch."""
    expected, epochs = EXPECTED[mode], []

    def watch(event: Any) -> None:
        if isinstance(event, EpochEnded):
            epochs.append(event)
            losses = f"mean {event.loss_nats:.4f}, last ten steps {event.last_loss_nats:.4f}"
            print(f"{mode} epoch {event.number}: {losses}, {event.elapsed_s:.0f} s", flush=True)

    text = escriba.read(find_text("shakespeare.txt")).text
    escriba.train(
        text=text, preset="tutorial", examples=mode, epochs=5, val_fraction=0.0, unknown=expected["unknown"], precision=precision,
        sample_length=0, watcher=watch,
    )  # fmt: skip
    rows = []
    for event, lesson in zip(epochs[1:], expected["losses"], strict=True):
        loss = getattr(event, expected["figure"])
        rows.append(
            {
                "mode": mode,
                "epoch": event.number,
                "loss_nats": round(loss, 4),
                "lesson": lesson,
                "difference": round(loss - lesson, 4),
                "within": expected["within"],
                "ok": abs(loss - lesson) <= expected["within"],
            }
        )
    return rows


def main() -> None:
    """Runs the modes one after the other and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", default="windows,streams")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    modes = options.modes.split(",")
    rows = [row for mode in modes for row in train(mode, options.precision)]
    save("bench_lessons", f"python benchmarks/bench_lessons.py --modes {options.modes} --precision {options.precision}", rows)
    if not all(row["ok"] for row in rows):
        raise SystemExit("not within the bounds")


if __name__ == "__main__":
    main()
