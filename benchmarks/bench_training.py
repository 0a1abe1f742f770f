"""How fast does Escriba train the lessons' network, beside plain PyTorch and beside Keras?

Four train the same network (embedding 256, GRU 1024, one output a symbol; 64 windows of 100 a step, Adam) on Tiny Shakespeare, in
turns, and the medians of their rounds in characters a second are compared: the `tutorial` preset through `escriba.fit`; a plain loop
over nn.Embedding, nn.GRU and nn.Linear under bf16 autocast; the same in float32; and the lessons' own model in Keras on TensorFlow,
with model.fit in a process of its own. A bf16 that the processor only emulates is slow: then float32 is the rival that counts.

    python tools/dev.py bench training
    python benchmarks/bench_training.py --rounds 3 --seconds 4 --keras-env build/keras-env
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import escriba
from escriba.presets import preset
from escriba.training.events import Progress
from escriba.training.trainer import Fit
from record import ROOT, find_text, save

BATCH, LENGTH, EMBEDDING, HIDDEN = 64, 100, 256, 1024
LEAST = {"plain PyTorch, bf16": 1.0, "plain PyTorch, the faster of both": 1.0, "Keras": 2.0}
"""How many times as fast as each rival Escriba must be."""
TENSORFLOW = "tensorflow-cpu==2.21.*"

Contender = Callable[[float], float]
"""Trains for so many seconds, one step at the least, and says how many characters a second that were."""


def timed(steps: Iterator[Any], seconds: float) -> float:
    """Takes steps until the time is over: characters a second."""
    began = time.perf_counter()
    for count, _ in enumerate(steps, 1):
        passed = time.perf_counter() - began
        if passed >= seconds:
            return count * BATCH * LENGTH / passed
    raise AssertionError("the steps came to an end")


def ours(ids: np.ndarray, vocab_size: int) -> tuple[Fit, Contender]:
    """Escriba, as `train` trains: every cost of a step, its events too."""
    chosen = preset("tutorial", train={"steps": 1_000_000, "sample_length": 0})
    assert (chosen.train.batch_size, chosen.train.seq_len) == (BATCH, LENGTH)
    assert (chosen.model.embedding_dim, chosen.model.hidden_size) == (EMBEDDING, HIDDEN)
    net = escriba.LanguageModel(vocab_size, chosen.model)
    training = escriba.fit(net, escriba.windows(ids, seq_len=LENGTH, batch_size=BATCH), chosen.train)
    steps = (event for event in training if isinstance(event, Progress))
    return training, lambda seconds: timed(steps, seconds)


class PlainNet(nn.Module):
    """The same network out of PyTorch's own parts."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, EMBEDDING)
        self.gru = nn.GRU(EMBEDDING, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, vocab_size)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits of every next symbol."""
        logits: torch.Tensor = self.output(self.gru(self.embedding(inputs))[0])
        return logits


def plain_steps(ids: np.ndarray, vocab_size: int, *, bf16: bool) -> Iterator[float]:
    """A loop as people write it."""
    torch.manual_seed(1)
    net = PlainNet(vocab_size)
    optimizer, criterion = torch.optim.Adam(net.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    pieces = torch.from_numpy(ids[: len(ids) // (LENGTH + 1) * (LENGTH + 1)].astype(np.int64)).view(-1, LENGTH + 1)
    while True:
        for rows in torch.randperm(len(pieces)).split(BATCH):
            if len(rows) < BATCH:
                continue
            batch = pieces[rows]
            with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
                loss = criterion(net(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def plain(ids: np.ndarray, vocab_size: int, *, bf16: bool) -> Contender:
    """Plain PyTorch."""
    steps = plain_steps(ids, vocab_size, bf16=bf16)
    return lambda seconds: timed(steps, seconds)


def keras_python(folder: Path) -> Path:
    """The Python of an environment with TensorFlow; it is made if it is not there."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"{folder} is made, with {TENSORFLOW}", flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", TENSORFLOW], check=True)
    return python


@contextlib.contextmanager
def keras(python: Path, vocab_size: int) -> Iterator[Contender]:
    """The lessons' own model in a process of its own, which trains when it is told to and waits for the others otherwise."""
    script = Path(__file__).with_name("keras_lesson.py")
    command = [python, script, find_text("shakespeare.txt"), *map(str, (vocab_size, BATCH, LENGTH, EMBEDDING, HIDDEN))]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    environment.pop("PYTHONPATH", None)  # that of this Python is none of its business
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        orders, answers = child.stdin, child.stdout

        def train(seconds: float) -> float:
            print(seconds, file=orders, flush=True)
            line = answers.readline()
            if not line:
                raise SystemExit("the process with Keras ended")
            answer = json.loads(line)
            return answer["steps"] * BATCH * LENGTH / float(answer["seconds"])

        yield train
        orders.close()


def main() -> None:
    """Lets all train in turns, and keeps the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a round")
    parser.add_argument(
        "--keras-env", type=Path, default=ROOT / "build" / "keras-env", help="a virtual environment; made if it is not there"
    )
    options = parser.parse_args()
    text = escriba.read(find_text("shakespeare.txt"))
    tokenizer = escriba.CharTokenizer.fit(text)
    ids = np.asarray(text.encode(tokenizer).ids)
    training, escriba_round = ours(ids, tokenizer.vocab_size)
    with keras(keras_python(options.keras_env), tokenizer.vocab_size) as keras_round:
        contenders = {
            "Escriba": escriba_round,
            "plain PyTorch, bf16": plain(ids, tokenizer.vocab_size, bf16=True),
            "plain PyTorch, float32": plain(ids, tokenizer.vocab_size, bf16=False),
            "Keras": keras_round,
        }
        speeds: dict[str, list[float]] = {name: [] for name in contenders}
        for number, (name, train) in itertools.product(range(options.rounds + 1), contenders.items()):
            speed = train(0.0 if number == 0 else options.seconds)  # the first step of each is to warm up
            print(f"round {number}: {name}: {speed:,.0f} characters a second", flush=True)
            if number:
                speeds[name].append(speed)
    median = {name: statistics.median(found) for name, found in speeds.items()}
    rows: list[dict[str, Any]] = [
        {"what": name, "characters_per_s": round(median[name]), "slowest": round(min(found)), "fastest": round(max(found))}
        for name, found in speeds.items()
    ]
    rows[0]["precision"] = training.precision
    rivals = {
        "plain PyTorch, bf16": median["plain PyTorch, bf16"],
        "plain PyTorch, the faster of both": max(median["plain PyTorch, bf16"], median["plain PyTorch, float32"]),
        "Keras": median["Keras"],
    }
    ratios = {name: median["Escriba"] / speed for name, speed in rivals.items()}
    rows += [{"what": f"Escriba / {name}", "ratio": round(ratio, 3), "least": LEAST[name]} for name, ratio in ratios.items()]
    save("bench_training", f"python benchmarks/bench_training.py --rounds {options.rounds} --seconds {options.seconds:g}", rows)
    slow = [f"{ratio:.3f} times as fast as {name}, not {LEAST[name]:g}" for name, ratio in ratios.items() if ratio < LEAST[name]]
    if slow:
        sys.exit("Escriba is " + "; ".join(slow))


if __name__ == "__main__":
    main()
