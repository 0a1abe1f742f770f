"""What can be expected of texts of other sizes and of other times? The page docs/what-to-expect.md is made from this record.

Each text is trained on by `escriba train` with nothing but its minutes (and no samples on the way). Kept are the bits a character of the
held-out tenth, beside them those of the counting 6-gram and those of the two together (their probabilities averaged), 300 characters that
the model writes at temperature 0.8 (seed 1, after a line's end), and how much of 10,000 characters it writes is copied: the share of
stretches of 32 characters that stand in the training text.

    python benchmarks/bench_expect.py
    python benchmarks/bench_expect.py --only 800KB-10
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import escriba
from escriba.results import Closed
from record import RESULTS, find_text, save

FILE = RESULTS / "bench_expect.json"
WRITTEN, SHOWN, STRETCH = 10_000, 300, 32


class Case(NamedTuple):
    """A text by its file, as many of its characters as are taken (none: all), how it is read, and the minutes."""

    name: str
    text: str
    file: str
    characters: int | None
    reading: dict[str, Any]
    minutes: float


TEXTS: dict[str, tuple[str, str, int | None, dict[str, Any]]] = {
    "100KB": ("100 KB of Shakespeare", "shakespeare.txt", 100_000, {}),
    "800KB": ("800 KB of Shakespeare", "shakespeare.txt", 800_000, {}),
    "2MB": ("Don Quijote, 2 MB", "quijote-latin1.txt", None, {"encoding": "latin-1", "strip_gutenberg": True}),
}
MINUTES = {"100KB": (2, 10), "800KB": (2, 10), "2MB": (2, 10, 60)}
CASES = [Case(f"{name}-{minutes}", *text, minutes) for name, text in TEXTS.items() for minutes in MINUTES[name]]


def measured(case: Case) -> dict[str, Any]:
    """One row."""
    corpus = escriba.read(find_text(case.file), **case.reading)
    corpus = corpus.shortened(case.characters) if case.characters else corpus
    held_out = corpus.parts().held_out
    assert held_out is not None
    closing: list[Closed] = []

    def watch(event: Any) -> None:
        if isinstance(event, Closed):
            closing.append(event)

    with tempfile.TemporaryDirectory() as folder:
        network, counts = Path(folder) / "network", Path(folder) / "counts"
        model = escriba.train(text=corpus.text, minutes=case.minutes, sample_length=0, out=network, watcher=watch)
        escriba.train(text=corpus.text, cell="counts", order=6, out=counts, quiet=True)
        together = escriba.load(network, counts).evaluate(held_out)
        written = str(model.generate("\n", WRITTEN, temperature=0.8, seed=1))
        novel = model.recall(written).novel_share[STRETCH]
    (closed,) = closing
    assert closed.baselines is not None
    assert model.config is not None
    shape = model.config.model
    return {
        "case": case.name,
        "text": case.text,
        "minutes": case.minutes,
        "network": f"{shape.num_layers} x {shape.hidden_size}",
        "epochs": round(closed.epochs, 1),
        "characters_per_s": round(closed.symbols_seen / closed.elapsed_s),
        "bits_per_char": round(closed.bits_per_char or 0.0, 3),
        "counting_6_gram": round(closed.baselines["counting 6-gram"], 3),
        "together": round(together.bits_per_char or 0.0, 3),
        "copied": round(1.0 - novel, 4),
        "date": dt.datetime.now().astimezone().date().isoformat(),
        "written": written[1 : SHOWN + 1],
    }


def main() -> None:
    """Every case that is wanted; what was measured before stays in the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("--only", default=",".join(names), help="cases with commas between them")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if not set(wanted) <= set(names):
        parser.error(f"--only is of {', '.join(names)}")
    rows = {row["case"]: row for row in (json.loads(FILE.read_text(encoding="utf-8"))["rows"] if FILE.is_file() else [])}
    for case in CASES:
        if case.name in wanted:
            rows[case.name] = measured(case)
            print({name: value for name, value in rows[case.name].items() if name != "written"}, file=sys.stderr, flush=True)
            save("bench_expect", "python benchmarks/bench_expect.py", [rows[name] for name in names if name in rows])


if __name__ == "__main__":
    main()
