"""An LSTM as people train it in PyTorch: two layers of nn.LSTM, shuffled windows, AdamW, the best weights by the choosing part.

Annealed, its rate goes to zero, in the last three tenths it learns the choosing part too, and its last weights stay: as good as it gets.
The rival of `bench_scoreboard.py`. It knows nothing of Escriba but what an engine is, by which it is measured as all others are.
"""

from __future__ import annotations

import copy
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from escriba.engine.protocol import Array, Engine, State

HIDDEN, LAYERS, EMBEDDING, DROPOUT = 512, 2, 128, 0.2
BATCH, WINDOW, RATE = 64, 128, 2e-3
EVALUATIONS = 20
JOIN = 0.7
LearntState = tuple[Tensor, Tensor]


class PlainLstm(nn.Module):
    """Embedding, nn.LSTM, output."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, batch_first=True, dropout=DROPOUT)
        self.dropout, self.output = nn.Dropout(DROPOUT), nn.Linear(HIDDEN, vocab_size)

    def forward(self, ids: Tensor, state: LearntState | None = None) -> tuple[Tensor, LearntState]:
        """Logits (B, T, V), and the state after the last symbol."""
        out, state = self.lstm(self.dropout(self.embedding(ids)), state)
        return self.output(self.dropout(out)), state


class PlainEngine(Engine):
    """The same behind the protocol of engines, so that it is measured as all others."""

    def __init__(self, net: PlainLstm) -> None:
        self.net, self.vocab_size = net.eval(), net.output.out_features

    def initial_state(self, batch_size: int) -> State:
        """Zeros."""
        return (tuple(np.zeros((batch_size, LAYERS, HIDDEN), np.float32) for _ in range(2)),)

    def step(self, ids: object, state: State) -> tuple[Array, State]:
        """One symbol a row."""
        logits, state = self.advance(np.asarray(ids)[:, None], state)
        return logits[:, 0], state

    def advance(self, ids: object, state: State) -> tuple[Array, State]:
        """T symbols a row."""
        with torch.inference_mode():
            before = [torch.from_numpy(np.ascontiguousarray(one.swapaxes(0, 1))) for one in state[0]]
            logits, after = self.net(torch.as_tensor(np.asarray(ids)), (before[0], before[1]))
        return logits.numpy(), (tuple(one.numpy().swapaxes(0, 1).copy() for one in after),)


def train_plain_lstm(
    train: np.ndarray, choosing: np.ndarray, vocab_size: int, minutes: float, seed: int, annealed: bool
) -> tuple[PlainLstm, int, float]:
    """The network, the characters that it learnt from, and the seconds that learning took."""
    torch.manual_seed(seed)
    net = PlainLstm(vocab_size)
    optimizer = torch.optim.AdamW(net.parameters(), RATE)
    random, began, seen, best, kept, evaluated = np.random.default_rng(seed), time.perf_counter(), 0, float("inf"), None, 0
    learnt, whole = train, np.concatenate([train, choosing])
    while (done := (time.perf_counter() - began) / (60 * minutes)) < 1.0:
        if annealed:
            optimizer.param_groups[0]["lr"] = RATE * (1.0 - done)
            learnt = whole if done >= JOIN else train
        starts = random.integers(len(learnt) - WINDOW, size=BATCH)
        rows = torch.from_numpy(learnt[starts[:, None] + np.arange(WINDOW + 1)].astype(np.int64))
        logits, _ = net(rows[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        seen += BATCH * WINDOW
        if not annealed and done >= (evaluated + 1) / EVALUATIONS:
            evaluated += 1
            if (found := loss_on(net, choosing)) < best:
                best, kept = found, copy.deepcopy(net.state_dict())
    seconds = time.perf_counter() - began
    if kept is not None and loss_on(net, choosing) > best:
        net.load_state_dict(kept)
    return net, seen, seconds


def loss_on(net: PlainLstm, ids: np.ndarray) -> float:
    """The mean loss of a stream, in nats."""
    engine = PlainEngine(net)
    reading, _ = engine.read(ids[None, :-1].astype(np.int64), ids[None, 1:].astype(np.int64), engine.initial_state(1))
    net.train()
    return float(-reading.log_probs.mean())
