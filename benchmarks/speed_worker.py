"""Does the tasks of `bench_speed.py` in a process of its own, by Escriba or by plain PyTorch, when it is told to.

It is called with who does them (escriba or torch), with a folder of models and with a text. It reads lines of two words, a task and
seconds, and answers each with a line of JSON: characters a second. ESCRIBA_NATIVE in its environment says what native code may be used.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import escriba
from escriba.checkpoint import load_folder
from escriba.engine.opening import engine_of, has_native
from escriba.engine.protocol import Engine
from escriba.engine.sampling import Sampling
from escriba.model.loss import cross_entropy
from escriba.presets import preset
from escriba.training.events import Progress
from plain_stack import PlainStack

LINES, STREAM = 10_000, 1_000_000
TEMPERATURE = 0.8
STACK = {"cell": "mingru", "residual": True, "embedding_dim": 256, "hidden_size": 256, "num_layers": 4}
STACK_TRAIN = {"examples": "streams", "batch_size": 16, "seq_len": 256, "optimizer": "adamw", "learning_rate": 4e-3, "clip_norm": 1.0}

Task = Callable[[float], float]
"""Works for so many seconds, one piece at the least, and says how many characters a second that were."""


def until(pieces: Iterator[int], seconds: float) -> float:
    """Takes pieces, each so many characters, until the time is over."""
    began, done = time.perf_counter(), 0
    for characters in pieces:
        done += characters
        passed = time.perf_counter() - began
        if passed >= seconds:
            return done / passed
    raise AssertionError("the pieces came to an end")


class Escriba:
    """The tasks by Escriba, with whatever native code there is."""

    def __init__(self, folder: Path, text: Path) -> None:
        self.models = {name: escriba.load(folder / name) for name in ("tutorial", "stack")}
        self.files = {name: load_folder(folder / name) for name in ("tutorial", "stack")}
        self.folder, self.text = folder, text.read_text(encoding="utf-8")
        self.threads = torch.get_num_threads()

    def engine(self, model: str, precision: str) -> Engine:
        """A model's engine in a precision; the reference where there is no native code."""
        files = self.files[model]
        return engine_of(files.config.model, files.config.vocab_size, files.weights, precision=precision)

    def loaded(self, name: str, precision: str) -> escriba.Model:
        """A model in a precision; in float32 where there is no native code."""
        return escriba.load(self.folder / name, precision=precision if has_native(self.files[name].config.model) else "float32")

    def writing(self, model: str, rows: int) -> Task:
        """Symbols drawn by the engine, in chunks as the generator asks for them."""
        engine = self.engine(model, "auto")
        state, ids = engine.initial_state(rows), np.ones(rows, np.int64)
        samplings, random = [Sampling(TEMPERATURE, banned=(0,))] * rows, np.random.default_rng(1)

        def pieces() -> Iterator[int]:
            nonlocal state, ids
            while True:
                written, _, state = engine.write(ids, state, samplings, random.random((rows, 256)))
                ids = written[:, -1]
                yield written.size

        work = pieces()
        return lambda seconds: until(work, seconds)

    def write_one(self) -> Task:
        """One text, the lessons' network."""
        return self.writing("tutorial", 1)

    def write_one_stack(self) -> Task:
        """One text, the reference stack."""
        return self.writing("stack", 1)

    def write_64(self) -> Task:
        """64 texts at once, the lessons' network."""
        return self.writing("tutorial", 64)

    def generate(self) -> Task:
        """One text through all of `Model.generate`, with its endings and decoding."""
        model = self.models["tutorial"]
        work = (len(model.generate("ROMEO:", 5000, seed=seed)) for seed in itertools.count())
        return lambda seconds: until(work, seconds)

    def score_stream(self) -> Task:
        """A long text as one stream, int8."""
        model = self.loaded("tutorial", "int8")
        pieces = [self.text[start : start + 50_000] for start in range(0, STREAM, 50_000)]

        def work() -> Iterator[int]:
            for piece in itertools.cycle(pieces):
                model.score(piece)
                yield len(piece)

        scored = work()
        return lambda seconds: until(scored, seconds)

    def score_lines(self) -> Task:
        """Ten thousand lines, bf16."""
        model, lines = self.loaded("tutorial", "bf16"), lines_of(self.text)

        def work() -> Iterator[int]:
            while True:
                list(model.score_lines(lines))
                yield sum(map(len, lines))

        scored = work()
        return lambda seconds: until(scored, seconds)

    def training(self, net: Any, data: Any, settings: Any) -> Task:
        """Steps as `train` takes them: every cost of a step, its events too."""
        size = settings.batch_size * settings.seq_len
        steps = (size for event in escriba.fit(net, data, settings) if isinstance(event, Progress))
        return lambda seconds: until(steps, seconds)

    def train_tutorial(self) -> Task:
        """The preset `tutorial`."""
        chosen = preset("tutorial", train={"steps": 10_000_000, "sample_length": 0, "eval_every": 10_000_000})
        ids, vocab_size = self.ids()
        data = escriba.windows(ids, seq_len=chosen.train.seq_len, batch_size=chosen.train.batch_size)
        return self.training(escriba.LanguageModel(vocab_size, chosen.model), data, chosen.train)

    def train_stack(self) -> Task:
        """The reference stack."""
        chosen = preset("small", model={**STACK, "dropout": 0.1}, train={**STACK_TRAIN, "steps": 10_000_000, "sample_length": 0})
        ids, vocab_size = self.ids()
        data = escriba.streams(ids, batch_size=chosen.train.batch_size, seq_len=chosen.train.seq_len)
        return self.training(escriba.LanguageModel(vocab_size, chosen.model), data, chosen.train.but(eval_every=10_000_000))

    def ids(self) -> tuple[np.ndarray, int]:
        """The text in ids."""
        tokenizer = self.models["tutorial"].tokenizer
        return np.asarray(tokenizer.encode(self.text), np.int64), tokenizer.vocab_size


class Torch(Escriba):
    """The same tasks as people write them in PyTorch, eager."""

    def __init__(self, folder: Path, text: Path) -> None:
        super().__init__(folder, text)
        files = self.files["stack"]
        self.stack = PlainStack(files.config.vocab_size).load(files.weights).eval()
        files = self.files["tutorial"]
        source = escriba.LanguageModel(files.config.vocab_size, files.config.model)
        source.set_weights(dict(files.weights))
        layer = source.layers[0]
        self.embedding, self.output = source.embedding, source.output
        self.gru = nn.GRU(layer.weight_ih.shape[1], layer.hidden_size, batch_first=True)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(self.gru, f"{name}_l0").data.copy_(getattr(layer, name).data)

    def sampled(self, step: Callable[[torch.Tensor, Any], tuple[torch.Tensor, Any]], state: Any, rows: int) -> Task:
        """Step, soften, draw, one symbol a row at a time."""

        def work() -> Iterator[int]:
            ids, now = torch.ones(rows, dtype=torch.long), state
            while True:
                with torch.inference_mode():
                    for _ in range(20):
                        logits, now = step(ids, now)
                        ids = torch.multinomial(torch.softmax(logits / TEMPERATURE, -1), 1)[:, 0]
                yield 20 * rows

        pieces = work()
        return lambda seconds: until(pieces, seconds)

    def writing(self, model: str, rows: int) -> Task:
        """With nn.GRU, or with the stack."""
        if model == "stack":

            def one(ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
                logits, state = self.stack(ids[:, None], state)
                return logits[:, 0], state

            return self.sampled(one, self.stack.initial_state(rows), rows)

        def step(ids: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            out, h = self.gru(self.embedding(ids)[:, None], h)
            return self.output(out[:, 0]), h

        return self.sampled(step, torch.zeros(1, rows, self.gru.hidden_size), rows)

    def log_likelihoods(self, ids: torch.Tensor, h: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Of every symbol but the first."""
        with torch.inference_mode():
            out, h = self.gru(self.embedding(ids[:, :-1]), h)
            return torch.log_softmax(self.output(out), -1).gather(-1, ids[:, 1:, None])[..., 0], h

    def score_stream(self) -> Task:
        """A long text in pieces of 4,096, the state carried, float32."""
        ids, _ = self.ids()

        def work() -> Iterator[int]:
            while True:
                h = None
                for start in range(0, STREAM, 4096):
                    _, h = self.log_likelihoods(torch.from_numpy(ids[start : start + 4097])[None], h)
                    yield 4096

        pieces = work()
        return lambda seconds: until(pieces, seconds)

    def score_lines(self) -> Task:
        """Lines sorted by length, 64 at once, padded, float32."""
        tokenizer = self.models["tutorial"].tokenizer
        encoded = sorted((np.asarray(tokenizer.encode("\n" + line)) for line in lines_of(self.text)), key=len)

        def work() -> Iterator[int]:
            while True:
                for start in range(0, len(encoded), 64):
                    rows = encoded[start : start + 64]
                    padded = np.zeros((len(rows), max(map(len, rows))), np.int64)
                    for row, ids in zip(padded, rows, strict=True):
                        row[: len(ids)] = ids
                    self.log_likelihoods(torch.from_numpy(padded), None)
                    yield sum(len(ids) - 1 for ids in rows)

        pieces = work()
        return lambda seconds: until(pieces, seconds)

    def train_stack(self) -> Task:
        """The stack in PyTorch under bf16 autocast, the state carried: forward, loss, backward, clipping, AdamW."""
        ids, vocab_size = self.ids()
        net = PlainStack(vocab_size)
        optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, fused=True)
        data = escriba.streams(ids, batch_size=16, seq_len=256)

        def work() -> Iterator[int]:
            state = net.initial_state(16)
            for number in itertools.count():
                batch = data.batch(number % 200)
                with torch.autocast("cpu", torch.bfloat16):
                    logits, state = net(torch.from_numpy(batch.inputs).long(), state)
                    state = [(h.detach(), tail.detach()) for h, tail in state]
                    loss = cross_entropy(logits, torch.from_numpy(batch.targets).long())
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                loss.item()
                yield batch.inputs.size

        pieces = work()
        return lambda seconds: until(pieces, seconds)

    def peak_bf16(self) -> Task:
        """Products of bfloat16, the fastest of a few shapes: operations a second, in millions."""
        shapes = ((4096, 1024, 256), (4096, 256, 512), (2048, 2048, 2048), (3072, 1024, 6400))
        factors = [(torch.randn(m, k).bfloat16(), torch.randn(n, k).bfloat16().T) for m, n, k in shapes]

        def measure(seconds: float) -> float:
            best = 0.0
            for (a, b), (m, n, k) in zip(factors, shapes, strict=True):
                began, times = time.perf_counter(), []
                while len(times) < 3 or time.perf_counter() - began < seconds / len(shapes):
                    start = time.perf_counter()
                    a @ b
                    times.append(time.perf_counter() - start)
                best = max(best, 2e-6 * m * n * k / float(np.median(times)))
            return best

        return measure


def lines_of(text: str) -> list[str]:
    """Ten thousand lines that are not empty."""
    return [line for line in text.splitlines() if line][:LINES]


def main() -> None:
    """Waits for orders."""
    who, folder, text = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    worker = {"escriba": Escriba, "torch": Torch}[who](folder, text)
    tasks: dict[str, Task] = {}
    for line in sys.stdin:
        name, seconds = line.split()
        if name not in tasks:
            tasks[name] = getattr(worker, name)()
        print(json.dumps(tasks[name](float(seconds))), flush=True)


if __name__ == "__main__":
    main()
