"""How good are the cells, an n-gram that learns, n-grams that count, and xz, on the same texts?

The networks (rnn, lstm, gru, and the neural n-gram with a window of 3) train for so many minutes each by the preset `small`, which
chooses its size by the machine's speed; Kneser-Ney counts of the orders 3 to 8 take what time they need. Each then foretells the
held-out tenth in both protocols: as one stream, and in fresh windows of 256 symbols. xz is conditional: the size of the whole text
less that of the text without its held-out part. Of several seeds mean and standard deviation are kept.

    python tools/dev.py bench scoreboard
    python benchmarks/bench_scoreboard.py --minutes 3 --seeds 1 --texts shakespeare,quijote
"""

from __future__ import annotations

import argparse
import gc
import lzma
import math
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import escriba
from escriba.results import Closed
from record import find_text, save

TEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "shakespeare": ("shakespeare.txt", {}),
    "quijote": ("quijote-latin1.txt", {"encoding": "latin-1", "strip_gutenberg": True}),
}
"""Each text's file, and how it is read: the book without its header and licence."""

NETWORKS: dict[str, dict[str, Any]] = {
    "rnn": {"cell": "rnn"},
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "neural 3-gram": {"cell": "ngram", "window": 3},
}
ORDERS = range(3, 9)
WINDOW = 256


def progress(line: str) -> None:
    """A line for who waits."""
    print(line, file=sys.stderr, flush=True)


def trained(corpus: escriba.Corpus, settings: dict[str, Any]) -> dict[str, float]:
    """One model: how it learnt, and its losses on the held-out part."""
    closing: list[Closed] = []
    model = escriba.train(text=corpus.text, **settings, watcher=lambda event: closing.append(event) if isinstance(event, Closed) else None)
    (closed,) = closing
    held_out = corpus.parts(seed=settings.get("seed", 1)).held_out
    assert held_out is not None
    assert model.config is not None
    figures = {
        "hidden": 0 if settings["cell"] == "counts" else model.config.model.hidden_size,
        "parameters": model.parameters or 0,
        "characters_per_s": closed.symbols_seen / max(closed.elapsed_s, 1e-3),
        "minutes": closed.elapsed_s / 60,
    }
    bits = 0.0
    for protocol in ("stream", "window"):
        measured = model.evaluate(held_out, protocol=protocol, window=WINDOW)
        figures[f"{protocol}_loss_nats"] = measured.loss_nats
        bits = bits or measured.bits_per_char or 0.0
    return {**figures, "bits_per_char": bits}


def summed_up(text: str, name: str, runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The row of one model: the mean of its runs, and of several the standard deviation of the stream's loss."""
    mean = {key: statistics.fmean(run[key] for run in runs) for key in runs[0]}
    row: dict[str, Any] = {"text": text, "model": name}
    row |= {key: round(mean[key]) for key in ("hidden", "parameters", "characters_per_s") if mean[key]}
    row["minutes"] = round(mean["minutes"], 2)
    row |= {key: round(mean[key], 4) for key in ("stream_loss_nats", "window_loss_nats", "bits_per_char")}
    if len(runs) > 1:
        row |= {"seeds": len(runs), "stream_loss_sd": round(statistics.stdev(run["stream_loss_nats"] for run in runs), 4)}
    return row


def compressed(text: str, corpus: escriba.Corpus) -> dict[str, Any]:
    """The row of xz: what the held-out part adds to the size of the rest."""
    held_out = corpus.parts(seed=1).held_out
    assert held_out is not None
    began = time.perf_counter()
    whole = corpus.text
    sizes = [len(lzma.compress(part.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)) for part in (whole, whole[: -held_out.characters])]
    minutes = (time.perf_counter() - began) / 60
    bits = 8 * (sizes[0] - sizes[1]) / held_out.characters
    row = {"text": text, "model": "xz", "minutes": round(minutes, 2)}
    return {**row, "stream_loss_nats": round(bits * math.log(2), 4), "bits_per_char": round(bits, 4)}


def board(text: str, minutes: float, seeds: int) -> list[dict[str, Any]]:
    """Every row of one text."""
    name, reading = TEXTS[text]
    corpus = escriba.read(find_text(name), **reading)
    rows = []
    plans = {name: [{**cell, "minutes": minutes, "seed": seed} for seed in range(1, seeds + 1)] for name, cell in NETWORKS.items()}
    plans |= {f"Kneser-Ney {order}": [{"cell": "counts", "order": order}] for order in ORDERS}
    for model, plan in plans.items():
        rows.append(summed_up(text, model, [trained(corpus, settings) for settings in plan]))
        gc.collect()
        progress(f"{text}, {model}: {rows[-1]['bits_per_char']:.4f} bits a character")
    rows.append(compressed(text, corpus))
    progress(f"{text}, xz: {rows[-1]['bits_per_char']:.4f} bits a character")
    return rows


def main() -> None:
    """Every model on every text, and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="for each network")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--texts", default=",".join(TEXTS), help="names with commas between them")
    options = parser.parse_args()
    texts = options.texts.split(",")
    if options.seeds < 1 or not set(texts) <= set(TEXTS):
        parser.error(f"--seeds is 1 or more, --texts of {', '.join(TEXTS)}")
    rows = [row for text in texts for row in board(text, options.minutes, options.seeds)]
    command = f"python benchmarks/bench_scoreboard.py --minutes {options.minutes:g} --seeds {options.seeds} --texts {options.texts}"
    save("bench_scoreboard", command, rows)


if __name__ == "__main__":
    main()
