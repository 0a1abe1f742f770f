"""The reference stack as people write it in PyTorch: nn modules, autograd, a loop over time. The rival of `bench_speed.py`.

Four blocks of 256: RMS norm, causal convolution of 4, minGRU in linear space, gate; RMS norm, gated MLP of 2. It knows nothing of Escriba
but the names of its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SEEN = 4
State = tuple[Tensor, Tensor]


class PlainBlock(nn.Module):
    """One block."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.mlp_norm = nn.RMSNorm(size, 1e-6), nn.RMSNorm(size, 1e-6)
        self.entering = nn.Linear(size, 2 * size, bias=False)
        self.conv = nn.Conv1d(size, size, SEEN, groups=size)
        self.gates = nn.Linear(size, 2 * size)
        self.leaving = nn.Linear(size, size, bias=False)
        self.up, self.down = nn.Linear(size, 4 * size, bias=False), nn.Linear(2 * size, size, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The stream after the block, (B, T, H), and its state."""
        h, tail = state
        value, gate = self.entering(self.norm(x)).chunk(2, -1)
        seen = torch.cat([tail.to(value.dtype), value], 1)
        z, n = self.gates(self.conv(seen.transpose(1, 2)).transpose(1, 2)).float().chunk(2, -1)
        z = torch.sigmoid(z)
        keep, add, outputs = 1 - z, z * n, []
        for kept, added in zip(keep.unbind(1), add.unbind(1), strict=True):
            h = torch.addcmul(added, kept, h)
            outputs.append(h)
        x = x + self.dropout(self.leaving(torch.stack(outputs, 1) * functional.silu(gate)))
        inner, gate = self.up(self.mlp_norm(x)).chunk(2, -1)
        return x + self.dropout(self.down(inner * functional.silu(gate))), (h, seen[:, seen.shape[1] - SEEN + 1 :])


class PlainStack(nn.Module):
    """The whole network."""

    def __init__(self, vocab_size: int, size: int = 256, layers: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(vocab_size, size)
        self.blocks = nn.ModuleList(PlainBlock(size, dropout) for _ in range(layers))
        self.norm, self.output, self.dropout = nn.RMSNorm(size, 1e-6), nn.Linear(size, vocab_size), nn.Dropout(dropout)

    def initial_state(self, rows: int) -> list[State]:
        """Zeros."""
        return [(torch.zeros(rows, self.size), torch.zeros(rows, SEEN - 1, self.size)) for _ in self.blocks]

    def forward(self, ids: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        """Logits (B, T, V), and the state after the last symbol."""
        x, after = self.dropout(self.embedding(ids)), []
        for block, before in zip(self.blocks, state, strict=True):
            x, one = block(x, before)
            after.append(one)
        return self.output(self.dropout(self.norm(x))), after

    def load(self, weights: Mapping[str, np.ndarray]) -> PlainStack:
        """Takes the weights of a model of Escriba."""
        tensors = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
        mine = {"norm": "norm.weight", "weight_in": "entering.weight", "conv_bias": "conv.bias", "weight_ih": "gates.weight",
                "bias": "gates.bias", "weight_out": "leaving.weight", "mlp_norm": "mlp_norm.weight", "weight_up": "up.weight",
                "weight_down": "down.weight"}  # fmt: skip
        found = {name: tensors[name] for name in ("embedding.weight", "norm.weight", "output.weight", "output.bias")}
        for at in range(len(self.blocks)):
            found |= {f"blocks.{at}.{name}": tensors[f"layers.{at}.{theirs}"] for theirs, name in mine.items()}
            found[f"blocks.{at}.conv.weight"] = tensors[f"layers.{at}.conv_weight"][:, None]
        self.load_state_dict(found)
        return self
