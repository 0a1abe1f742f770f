"""How well are titles of news learnt: by the lesson's network, by the default in the same time, and by an n-gram that counts?

All three see the titles of ag_news_test.csv, each a document, and foretell the held-out tenth. The lesson's network is an LSTM of 128
on one-hot symbols, RMSprop, eight titles a batch (the preset `titles`); the default is what `escriba train` gives by itself (`small`).
Each then writes 20 titles at each of five temperatures, which are kept in the record beside the figures; how many of them stand among the
titles that were learnt is counted.

    python benchmarks/bench_titles.py --minutes 3
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import escriba
from escriba.results import Closed
from record import find_text, save

MODELS: dict[str, dict[str, Any]] = {
    "the lesson's: LSTM 128, one-hot, RMSprop": {"preset": "titles", "sample_length": 0},
    "escriba train": {"sample_length": 0},
    "counting 6-gram": {"cell": "counts", "order": 6},
}
TEMPERATURES = (0.3, 0.8, 1.0, 1.3, 1.8)
EACH = 20


def main() -> None:
    """Trains, measures, lets each write, and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="for each network")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    titles = escriba.read(find_text("ag_news_test.csv"), header=False, column=("2",)).documents
    rows: list[dict[str, Any]] = []
    written: dict[str, dict[str, list[str]]] = {}
    for name, settings in MODELS.items():
        closing: list[Closed] = []
        length = {} if settings.get("cell") == "counts" else {"minutes": options.minutes}

        def watch(event: Any, closing: list[Closed] = closing) -> None:
            if isinstance(event, Closed):
                closing.append(event)

        model = escriba.train(documents=titles, seed=options.seed, watcher=watch, **length, **settings)
        (closed,) = closing
        texts = {
            f"{temperature:g}": [str(made) for made in model.generate("", 300, samples=EACH, temperature=temperature, seed=options.seed)]
            for temperature in TEMPERATURES
        }
        known = sum(not model.is_novel(text) for several in texts.values() for text in several)
        rows.append(
            {
                "model": name,
                "parameters": model.parameters,
                "minutes": round(closed.elapsed_s / 60, 2),
                "epochs": round(closed.epochs, 1),
                "train_loss_nats": None if closed.train_loss_nats is None else round(closed.train_loss_nats, 3),
                "bits_per_char": None if closed.bits_per_char is None else round(closed.bits_per_char, 3),
                "known_by_heart": f"{known} of {EACH * len(TEMPERATURES)}",
            }
        )
        written[name] = texts
        print(f"{name}: {rows[-1]}", file=sys.stderr, flush=True)
    path = save("bench_titles", f"python benchmarks/bench_titles.py --minutes {options.minutes:g} --seed {options.seed}", rows)
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "written": written}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
