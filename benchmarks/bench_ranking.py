"""Does a model of the Quijote know Spanish words and blanks from letters in another order, as the lesson's does?

Two things are asked of a model that learnt the book (header and licence left out), with the scores of `Model.score` and `Model.rank`:

- "la reina de inglaterra viaja en coche" must be likelier than "lareinadeinglaterraviajaencoche", both from nothing, by their whole
  log-likelihoods, as the lesson compares them. The second has the same letters and six symbols fewer, and every symbol costs: so it
  has the advantage, and loses it only if letters that run together surprise the model by more than six blanks do.
- Of 50 common words of four letters, at least 40 must stand among the first 3 of all different orders of their letters. An order is
  scored between blanks: read after one blank, its letters and the blank that ends it counted.

    python benchmarks/bench_ranking.py --minutes 5
    python benchmarks/bench_ranking.py --model models/quijote
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import escriba
from record import find_text, save

SENTENCE = "la reina de inglaterra viaja en coche"
WORDS = """
para como todo pero cosa este esta eran bien otro mano vida casa cada tres gran malo hizo dijo ella sino tuvo pues solo modo
fama amor algo alma buen cual puso dice hijo rato boca agua pies ojos unos nada poco toda vino cura caso loco años digo creo
"""
"""Fifty ordinary words that stand in the book; chosen before any model was asked."""
FIRST = 3
WANTED = 40


def place(model: escriba.Model, word: str) -> tuple[int, int]:
    """The place of a word among the different orders of its letters, 1 the likeliest, and how many there are."""
    orders = sorted({"".join(letters) for letters in itertools.permutations(word)})
    ranked = [score.text for score in model.rank([f"{order} " for order in orders], after=" ")]
    return ranked.index(f"{word} ") + 1, len(orders)


def main() -> None:
    """Asks a model, or trains one first, and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder; else one is trained")
    parser.add_argument("--minutes", type=float, default=5.0, help="to train one by the preset small")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.model is not None:
        model, command = escriba.load(options.model), f"--model {options.model}"
    else:
        book = escriba.read(find_text("quijote-latin1.txt"), encoding="latin-1", strip_gutenberg=True)
        model = escriba.train(text=book.text, minutes=options.minutes, seed=options.seed, watcher=lambda event: None)
        command = f"--minutes {options.minutes:g} --seed {options.seed}"
    with_blanks, without = (model.score(text).log_likelihood for text in (SENTENCE, SENTENCE.replace(" ", "")))
    words = WORDS.split()
    places = {word: place(model, word) for word in words}
    for word, (at, of) in places.items():
        print(f"{word}  {at:2} of {of}")
    known = sum(at <= FIRST for at, _ in places.values())
    print(f"{known} of {len(words)} words among the first {FIRST}; {WANTED} were wanted")
    row: dict[str, Any] = {
        "model": options.model or "small",
        "parameters": model.parameters,
        "with_blanks_nats": round(with_blanks, 2),
        "without_nats": round(without, 2),
        "words": len(words),
        "first": sum(at == 1 for at, _ in places.values()),
        f"among_first_{FIRST}": known,
        "others": ", ".join(f"{word} {at}" for word, (at, _) in places.items() if at > FIRST),
    }
    save("bench_ranking", f"python benchmarks/bench_ranking.py {command}", [row])
    if known < WANTED or with_blanks <= without:
        raise SystemExit("the model does not rank as was wanted")


if __name__ == "__main__":
    main()
