"""How fast does Escriba score, beside PyTorch's own GRU; and how fast does it find what stands verbatim in a long text?

A megabyte of Tiny Shakespeare as one stream, and 10,000 lines of it, each from the beginning, are scored by a `Model` with random weights,
one layer of GRU of 512 and of 1,024; beside it nn.Embedding, nn.GRU and nn.Linear with log_softmax and gather read the
same ids in the same run: the stream in the same chunks, the lines padded in batches of as many lines, in the order of the file. They
take turns, and the medians of the rounds are compared. A text of 10,000 characters is then looked for in 10 MB.

    python tools/dev.py bench scoring
    python benchmarks/bench_scoring.py --rounds 3 --megabytes 1
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

import escriba
from escriba.engine import torch as torch_engine
from escriba.inference import reading
from escriba.inference.recall import recall
from escriba.settings import ModelSettings
from record import find_text, save

MOST = {"stream": 1.3, "lines": 1.0}
"""How many times as long as plain PyTorch Escriba may take."""
MOST_RECALL_S = 2.0
LINES = 10_000
RECALLED, RECALLED_IN = 10_000, 10_000_000


class PlainNet(nn.Module):
    """The same network out of PyTorch's own parts."""

    def __init__(self, vocab_size: int, model: ModelSettings) -> None:
        super().__init__()
        assert model.embedding_dim is not None
        self.embedding = nn.Embedding(vocab_size, model.embedding_dim)
        self.gru = nn.GRU(model.embedding_dim, model.hidden_size, batch_first=True)
        self.output = nn.Linear(model.hidden_size, vocab_size)

    def take(self, weights: Mapping[str, np.ndarray]) -> PlainNet:
        """Takes a model's weights."""
        names = {"embedding.weight": "embedding.weight", "output.weight": "output.weight", "output.bias": "output.bias"}
        names |= {f"layers.0.{name}": f"gru.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        self.load_state_dict({names[name]: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        return self.eval()

    def log_probs(self, ids: torch.Tensor, targets: torch.Tensor, state: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-probabilities of the targets (B, T), and the state."""
        h, state = self.gru(self.embedding(ids), state)
        found = torch.log_softmax(self.output(h), -1).gather(-1, targets[..., None])[..., 0]
        assert state is not None
        return found, state


def plain_stream(net: PlainNet, ids: torch.Tensor, chunk: int) -> float:
    """The log-likelihood of all but the first symbol."""
    total, state = 0.0, None
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, chunk):
            end = min(start + chunk, len(ids) - 1)
            found, state = net.log_probs(ids[None, start:end], ids[None, start + 1 : end + 1], state)
            total += float(found.double().sum())
    return total


def plain_lines(net: PlainNet, lines: list[torch.Tensor], batch: int) -> float:
    """The log-likelihood of all but the first symbols, padded in the order of the file."""
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(lines), batch):
            some = lines[start : start + batch]
            ids = nn.utils.rnn.pad_sequence(some, batch_first=True)
            if ids.shape[1] < 2:
                continue
            found, _ = net.log_probs(ids[:, :-1], ids[:, 1:], None)
            counted = torch.arange(1, ids.shape[1])[None] < torch.tensor([len(line) for line in some])[:, None]
            total += float(found.double()[counted].sum())
    return total


def in_turns(contenders: dict[str, Callable[[], float]], rounds: int, what: str) -> tuple[dict[str, float], dict[str, float]]:
    """The median seconds of each, and what each found."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    found = {}
    for number in range(rounds):
        names = list(contenders) if number % 2 == 0 else list(contenders)[::-1]
        for name in names:
            began = time.perf_counter()
            found[name] = contenders[name]()
            seconds[name].append(time.perf_counter() - began)
            print(f"round {number + 1}: {what}: {name}: {seconds[name][-1]:.3f} s", flush=True)
    return {name: statistics.median(times) for name, times in seconds.items()}, found


def rows_of(size: int, text: str, lines: list[str], rounds: int) -> list[dict[str, Any]]:
    """A network of this size, on the stream and on the lines."""
    settings, name = ModelSettings(cell="gru", embedding_dim=size // 4, hidden_size=size), f"GRU {size}"
    tokenizer = escriba.CharTokenizer.fit(text)
    model = escriba.Model(escriba.LanguageModel(tokenizer.vocab_size, settings), tokenizer)
    assert model.net is not None
    plain = PlainNet(tokenizer.vocab_size, settings).take(model.net.get_weights())
    ids = torch.from_numpy(tokenizer.encode(text).astype(np.int64))
    ids_of_lines = [torch.from_numpy(tokenizer.encode(line).astype(np.int64)) for line in lines]
    chunk = torch_engine._MOST_NUMBERS // max(tokenizer.vocab_size, 4 * settings.hidden_size)
    log_counts = np.log((tokenizer.frequencies + 1.0) / (tokenizer.frequencies + 1.0).sum())
    firsts = {"stream": float(log_counts[ids[0]]), "lines": float(sum(log_counts[line[0]] for line in ids_of_lines))}
    model.score(text[:1000]), plain_stream(plain, ids[:1000], chunk)  # to warm up
    works: dict[str, dict[str, Callable[[], float]]] = {
        "stream": {"Escriba": lambda: model.score(text).log_likelihood, "PyTorch": lambda: plain_stream(plain, ids, chunk)},
        "lines": {
            "Escriba": lambda: sum(score.log_likelihood for score in model.score_lines(lines)),
            "PyTorch": lambda: plain_lines(plain, ids_of_lines, reading._MOST_ROWS),
        },
    }
    rows = []
    for what, contenders in works.items():
        seconds, found = in_turns(contenders, rounds, f"{name}, {what}")
        symbols = len(text) if what == "stream" else sum(map(len, lines))
        if abs(found["Escriba"] - found["PyTorch"] - firsts[what]) > 1e-5 * symbols:
            sys.exit(f"the two do not find the same of {what}: {found}, and {firsts[what]} for the first symbols")
        rows.append(
            {
                "what": f"{name}: " + (f"{symbols:,} characters as one stream" if what == "stream" else f"{len(lines):,} lines"),
                "escriba_s": round(seconds["Escriba"], 3),
                "pytorch_s": round(seconds["PyTorch"], 3),
                "characters_per_s": round(symbols / seconds["Escriba"]),
                "ratio": round(seconds["Escriba"] / seconds["PyTorch"], 3),
                "most": MOST[what],
            }
        )
    return rows


def recall_row(rounds: int) -> dict[str, Any]:
    """A text of 10,000 characters, half of it copied from 10 MB, looked for there."""
    book = find_text("quijote-latin1.txt").read_text(encoding="latin-1")
    pieces, size = [], 0
    while size < RECALLED_IN:
        pieces.append(book[: RECALLED_IN - size])
        size += len(pieces[-1])
    half = RECALLED // 2
    dice = np.random.default_rng(1)
    text = book[300_000 : 300_000 + half] + "".join(np.array(list(book[:half]))[dice.permutation(half)])
    seconds = []
    for number in range(rounds):
        began = time.perf_counter()
        found = recall(text, pieces)
        seconds.append(time.perf_counter() - began)
        print(f"round {number + 1}: recall: {seconds[-1]:.3f} s", flush=True)
    if found.longest is None or found.longest.length < half:
        sys.exit(f"the passage that was copied was not found: {found.longest}")
    return {
        "what": f"recall of {len(text):,} characters in {size:,}",
        "escriba_s": round(statistics.median(seconds), 3),
        "most": MOST_RECALL_S,
    }


def main() -> None:
    """Measures, and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=1.0, help="of the stream; of the lines in the same measure")
    parser.add_argument("--sizes", default="512,1024", help="hidden sizes of the networks")
    options = parser.parse_args()
    whole = find_text("shakespeare.txt").read_text(encoding="utf-8")
    text = whole[: int(options.megabytes * 1_000_000)]
    lines = [line for line in whole.split("\n") if line][: max(1, int(LINES * min(1.0, options.megabytes)))]
    rows = [row for size in map(int, options.sizes.split(",")) for row in rows_of(size, text, lines, options.rounds)]
    rows.append(recall_row(options.rounds))
    given = f"--rounds {options.rounds} --megabytes {options.megabytes:g} --sizes {options.sizes}"
    save("bench_scoring", f"python benchmarks/bench_scoring.py {given}", rows)
    slow = [
        f"{row['what']}: {row.get('ratio', row['escriba_s'])}, not {row['most']:g}"
        for row in rows
        if row.get("ratio", row["escriba_s"]) > row["most"]
    ]
    if slow:
        sys.exit("Escriba is too slow: " + "; ".join(slow))


if __name__ == "__main__":
    main()
