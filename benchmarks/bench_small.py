"""How much better is `small` than the lessons' `tutorial` in the same minutes on the same text?

Both train for so many minutes (the whole command) on Tiny Shakespeare; then each reads the held-out tenth as one stream, every
symbol once, the state carried from its first to its last, and the mean surprisal is the figure.

    python tools/dev.py bench small
    python benchmarks/bench_small.py --minutes 2
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import escriba
from escriba.results import Closed
from record import find_text, save

GAIN = 0.05
"""Nats by which `small` must be better."""


def train(preset: str, minutes: float, seed: int) -> dict[str, Any]:
    """One model: its closing figures, and its exact loss on the held-out stream."""
    closing: list[Closed] = []
    corpus = escriba.read(find_text("shakespeare.txt"))
    began = time.perf_counter()
    model = escriba.train(
        text=corpus.text,
        preset=preset,
        minutes=minutes,
        seed=seed,
        watcher=lambda event: closing.append(event) if isinstance(event, Closed) else None,
    )
    seconds = time.perf_counter() - began
    held_out = corpus.parts(seed=seed).held_out
    assert held_out is not None
    score = model.score(held_out.text)
    (closed,) = closing
    return {
        "preset": preset,
        "minutes": minutes,
        "seconds": round(seconds, 1),
        "steps": closed.steps,
        "epochs": round(closed.epochs, 2),
        "parameters": model.parameters,
        "characters_per_s": round(closed.symbols_seen / closed.elapsed_s),
        "train_loss_nats": round(closed.train_loss_nats or 0.0, 4),
        "stream_loss_nats": round(-score.log_likelihood / score.symbols, 4),
        "bits_per_char": round(score.bits_per_char or 0.0, 4),
        "lanes_loss_nats": round(closed.loss_nats or 0.0, 4),
    }


def main() -> None:
    """Trains both, one after the other, and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows = []
    for preset in ("tutorial", "small"):
        rows.append(train(preset, options.minutes, options.seed))
        print(rows[-1], flush=True)
    gain = rows[0]["stream_loss_nats"] - rows[1]["stream_loss_nats"]
    rows[1]["gain_nats"] = round(gain, 4)
    save("bench_small", f"python benchmarks/bench_small.py --minutes {options.minutes:g} --seed {options.seed}", rows)
    if gain < GAIN:
        raise SystemExit(f"small is better by {gain:.4f} nats; {GAIN} were wanted")


if __name__ == "__main__":
    main()
