"""How good is what `escriba train` gives by itself, beside other cells, an LSTM of PyTorch's, n-grams that count, and xz?

Every network trains for so many minutes (from the text in memory to its last measurement, `whole_s` as the clock showed it; the LSTM of
PyTorch's learns, and is measured on the choosing part, for that long), the n-grams take what time they need. Each then foretells the
held-out tenth in both protocols: as one stream, and in fresh windows of 256 symbols; names and titles are documents. xz is conditional:
the size of the whole text less that of the text without its held-out part. Of several seeds mean and standard deviation are kept. Rows
are kept as they come: what was measured before and is not measured again stays in the record, each row with its minutes, seeds and date.

    python benchmarks/bench_scoreboard.py --texts shakespeare --models "escriba train"
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import json
import lzma
import math
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import escriba
from escriba.inference.evaluating import measure
from escriba.results import Closed
from plain_lstm import PlainEngine, train_plain_lstm
from record import RESULTS, ROOT, find_text, save

TEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "shakespeare": ("shakespeare.txt", {}),
    "quijote": ("quijote-latin1.txt", {"encoding": "latin-1", "strip_gutenberg": True}),
    "names": ("names.txt", {"documents": "line"}),
    "titles": ("ag_news_test.csv", {"header": False, "column": ("2",)}),
}
"""Each text's file, and how it is read: the book without its header and licence."""

BOOKS = ("shakespeare", "quijote")
USUAL = "escriba train"
APART = "escriba train, join=none"
"""Without learning the choosing part in the end, as the lessons' preset and PyTorch's LSTM do without it."""
TOGETHER = "three of them together"
RIVAL = "nn.LSTM, 2 x 512"
RIVAL_JOINED = "nn.LSTM, 2 x 512, join=0.7, rate to 0"
TUTORIAL = "tutorial"
TUTORIAL_JOINED = "tutorial, join=0.7"
CELLS: dict[str, dict[str, Any]] = {
    "rnn": {"cell": "rnn"},
    "gru": {"cell": "gru"},
    "lstm": {"cell": "lstm"},
    "neural 3-gram": {"cell": "ngram", "window": 3},
}
ORDERS = range(3, 9)
WINDOW = 256
Figures = dict[str, float]


class Task(NamedTuple):
    """One row: what is trained on which text, for how long (0: as long as it takes), with which seeds."""

    text: str
    model: str
    minutes: float
    seeds: Sequence[int]
    run: Callable[[escriba.Corpus, float, Sequence[int]], list[Figures]]


def tasks(short: float, long: float, seeds: int) -> Iterator[Task]:
    """Every row, text by text."""
    for text in TEXTS:
        usual = {**CELLS, USUAL: {}, APART: {"join": None}}
        if text not in BOOKS:
            usual = {name: usual[name] for name in ("gru", "lstm", USUAL)}
        for name, settings in usual.items():
            yield Task(text, name, short, (1,), trained_with(settings))
        if text in BOOKS:
            yield Task(text, USUAL, long, range(1, seeds + 1), trained_with({}))
            yield Task(text, TOGETHER, long, range(1, seeds + 1), together)
            yield Task(text, RIVAL, long, range(1, seeds + 1), rival)
            yield Task(text, RIVAL_JOINED, long, (1,), annealed_rival)
            yield Task(text, TUTORIAL, long, (1,), trained_with({"preset": "tutorial"}))
            yield Task(text, TUTORIAL_JOINED, long, (1,), trained_with({"preset": "tutorial", "join": 0.7}))
        for order in ORDERS:
            yield Task(text, f"Kneser-Ney {order}", 0.0, (1,), trained_with({"cell": "counts", "order": order}))
        if text in BOOKS:
            yield Task(text, "xz", 0.0, (1,), compressed)


def trained_with(settings: dict[str, Any]) -> Callable[[escriba.Corpus, float, Sequence[int]], list[Figures]]:
    """What trains with these settings, once for each seed."""
    return lambda corpus, minutes, seeds: [trained(corpus, settings, minutes, seed) for seed in seeds]


def place_of(corpus: escriba.Corpus, minutes: float, seed: int) -> Path:
    """Where a model of the usual settings is kept, for the row of several together: out of sight of git."""
    return ROOT / "build" / "scoreboard" / f"{corpus.sha256[:12]}-{minutes:g}-{seed}"


def trained(corpus: escriba.Corpus, settings: dict[str, Any], minutes: float, seed: int) -> Figures:
    """One model: how it learnt, and its losses on the held-out part."""
    closing: list[Closed] = []
    length = {"minutes": minutes} if minutes else {}
    source = {"documents": corpus.documents} if corpus.is_documents else {"text": corpus.text}

    def watch(event: Any) -> None:
        if isinstance(event, Closed):
            closing.append(event)

    out = None if settings else place_of(corpus, minutes, seed)
    began = time.perf_counter()
    model = escriba.train(**source, **settings, **length, seed=seed, out=out, overwrite=True, watcher=watch)
    whole_s = time.perf_counter() - began
    (closed,) = closing
    assert model.config is not None
    network = model.config.model
    figures = {
        **({} if network.cell == "counts" else {"layers": network.num_layers, "hidden": network.hidden_size}),
        "parameters": model.parameters or 0,
        "characters_per_s": closed.symbols_seen / max(closed.elapsed_s, 1e-3),
        "epochs": closed.epochs,
        "whole_s": whole_s,
    }
    return {**figures, **losses(model, held_out_of(corpus, seed))}


def held_out_of(corpus: escriba.Corpus, seed: int) -> escriba.Corpus:
    """The tenth that is measured on."""
    held_out = corpus.parts(seed=seed).held_out
    assert held_out is not None
    return held_out


def losses(model: Any, held_out: escriba.Corpus) -> Figures:
    """The losses of a model: of a book in both protocols, of documents each from its beginning."""
    stream = model.evaluate(held_out)
    figures = {"stream_loss_nats": stream.loss_nats, "bits_per_char": stream.bits_per_char}
    if not held_out.is_documents:
        figures["window_loss_nats"] = model.evaluate(held_out, protocol="window", window=WINDOW).loss_nats
    return figures


def together(corpus: escriba.Corpus, minutes: float, seeds: Sequence[int]) -> list[Figures]:
    """The models of all seeds, as the row before left them, their probabilities averaged."""
    for seed in seeds:
        if not place_of(corpus, minutes, seed).is_dir():
            trained(corpus, {}, minutes, seed)
    model = escriba.load(*(place_of(corpus, minutes, seed) for seed in seeds))
    return [{"parameters": model.parameters or 0, **losses(model, held_out_of(corpus, 1))}]


def annealed_rival(corpus: escriba.Corpus, minutes: float, seeds: Sequence[int]) -> list[Figures]:
    """The same with a rate that goes to zero, and the choosing part learnt in the end."""
    return rival(corpus, minutes, seeds, annealed=True)


def rival(corpus: escriba.Corpus, minutes: float, seeds: Sequence[int], annealed: bool = False) -> list[Figures]:
    """PyTorch's own LSTM, trained the ordinary way on the same parts of the text."""
    found = []
    for seed in seeds:
        parts = corpus.parts(seed=1)
        tokenizer = escriba.train(text=corpus.text, cell="counts", order=1, quiet=True).tokenizer
        train, choosing = (np.asarray(part.encode(tokenizer).ids) for part in (parts.train, parts.choosing) if part is not None)
        net, seen, seconds = train_plain_lstm(train, choosing, tokenizer.vocab_size, minutes, seed, annealed)
        engine, held_out = PlainEngine(net), held_out_of(corpus, 1)
        stream, window = (measure(engine, tokenizer, held_out, protocol=one, window=WINDOW) for one in ("stream", "window"))
        figures = {"parameters": sum(one.numel() for one in net.parameters()), "characters_per_s": seen / seconds}
        bits = stream.loss_nats / math.log(2)
        found.append({**figures, "stream_loss_nats": stream.loss_nats, "bits_per_char": bits, "window_loss_nats": window.loss_nats})
    return found


def compressed(corpus: escriba.Corpus, minutes: float, seeds: Sequence[int]) -> list[Figures]:
    """What the held-out part adds to the size of the rest."""
    held_out, whole = held_out_of(corpus, 1), corpus.text
    sizes = [len(lzma.compress(part.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)) for part in (whole, whole[: -held_out.characters])]
    bits = 8 * (sizes[0] - sizes[1]) / held_out.characters
    return [{"stream_loss_nats": bits * math.log(2), "bits_per_char": bits}]


def row_of(task: Task, runs: Sequence[Figures], minutes: float) -> dict[str, Any]:
    """The row of one model: the mean of its runs, and of several the standard deviation of the stream's loss."""
    mean = {key: statistics.fmean(run[key] for run in runs) for key in runs[0]}
    row: dict[str, Any] = {"text": task.text, "model": task.model, "minutes": task.minutes or round(minutes, 2), "seeds": len(task.seeds)}
    row |= {key: round(mean[key]) for key in ("layers", "hidden", "parameters", "characters_per_s", "whole_s") if mean.get(key)}
    row |= {key: round(mean[key], 1) for key in ("epochs",) if mean.get(key)}
    row |= {key: round(mean[key], 4) for key in ("stream_loss_nats", "window_loss_nats", "bits_per_char") if key in mean}
    if len(runs) > 1:
        row |= {f"{name}_sd": round(statistics.stdev(run[f"{name}_nats"] for run in runs), 4) for name in ("stream_loss", "window_loss")}
    return {**row, "date": dt.datetime.now().astimezone().date().isoformat()}


def main() -> None:
    """Every model on every text, and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="for each cell")
    parser.add_argument("--long-minutes", type=float, default=10.0, help="for what `escriba train` gives, and its rivals")
    parser.add_argument("--seeds", type=int, default=3, help="of the long ones")
    parser.add_argument("--texts", default=",".join(TEXTS), help="names with commas between them")
    parser.add_argument("--models", default="", help="only the rows whose model this regular expression finds")
    parser.add_argument("--length", choices=["short", "long", "both"], default="both", help="only the rows of so many minutes")
    options = parser.parse_args()
    texts = options.texts.split(",")
    if options.seeds < 1 or not set(texts) <= set(TEXTS):
        parser.error(f"--seeds is 1 or more, --texts of {', '.join(TEXTS)}")
    wanted = {"short": (0.0, options.minutes), "long": (options.long_minutes,), "both": (0.0, options.minutes, options.long_minutes)}
    file = RESULTS / "bench_scoreboard.json"
    kept = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else []
    order = [(task.text, task.model, task.minutes) for task in tasks(options.minutes, options.long_minutes, options.seeds)]
    for task in tasks(options.minutes, options.long_minutes, options.seeds):
        if task.text not in texts or task.minutes not in wanted[options.length] or not re.search(options.models, task.model):
            continue
        name, reading = TEXTS[task.text]
        began = time.perf_counter()
        corpus = escriba.read(find_text(name), **reading)
        row = row_of(task, task.run(corpus, task.minutes, task.seeds), (time.perf_counter() - began) / 60)
        gc.collect()
        print(f"{task.text}, {task.model}: {row['bits_per_char']:.4f} bits a character", file=sys.stderr, flush=True)
        same = [task.text, task.model] + [task.minutes] * bool(task.minutes)
        kept = [one for one in kept if [one["text"], one["model"], one["minutes"]][: len(same)] != same] + [row]
        known = {(text, model): place for place, (text, model, _) in enumerate(order)}
        kept = [one for one in kept if (one["text"], one["model"]) in known]
        kept.sort(key=lambda one: (known[one["text"], one["model"]], one["minutes"]))
        save("bench_scoreboard", "python benchmarks/bench_scoreboard.py", kept)


if __name__ == "__main__":
    main()
