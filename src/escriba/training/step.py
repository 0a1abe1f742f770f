"""One step's work: a batch as tensors, the ordinary step, in which precision, and how fast it is.

It knows nothing of optimizers or of how long training takes.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from escriba.model.language_model import LanguageModel, ModelState
from escriba.model.loss import cross_entropy
from escriba.settings import TrainSettings
from escriba.text.batches import Batch, Batches

__all__ = ["StepFunction", "TensorBatch", "autocast", "best_precision", "chosen_precision", "estimate_speed", "training_step"]


class TensorBatch(NamedTuple):
    """What one step learns from.

    Attributes:
        inputs: (B, T) ids.
        targets: (B, T) ids, each the one after its input.
        mask: (B, T) truths, False where padding stands; None: everything counts.
        state: the network's state before the first input; None: the beginning.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor | None
    state: ModelState | None

    @classmethod
    def of(cls, batch: Batch, device: torch.device, state: ModelState | None = None) -> TensorBatch:
        """A batch of arrays as tensors on a device."""
        mask = None if batch.mask is None else torch.from_numpy(batch.mask).to(device)
        return cls(torch.from_numpy(batch.inputs).to(device), torch.from_numpy(batch.targets).to(device), mask, state)


StepFunction = Callable[[Any, TensorBatch], Tensor | tuple[Tensor, ModelState]]
"""A user's own step: the network and a batch give the loss to go down, and the state after the batch where streams need it."""


def training_step(net: LanguageModel, batch: TensorBatch) -> tuple[Tensor, ModelState]:
    """The ordinary step: the mean surprisal of the batch's targets in nats, and the state after it."""
    logits_BTV, state = net(batch.inputs, batch.state)
    return cross_entropy(logits_BTV, batch.targets, batch.mask), state


def best_precision(device: str) -> str:
    """Gives "bf16" where the machine multiplies it itself (AMX, AVX512-BF16, a GPU), else "float32": bf16 is far slower there."""
    if device != "cpu":
        return "bf16" if device.startswith("cuda") and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
    able = [getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")]
    return "bf16" if any(check is not None and check() for check in able) else "float32"


def chosen_precision(settings: TrainSettings) -> str:
    """The settings' precision, "auto" resolved for this machine."""
    return best_precision(settings.device) if settings.precision == "auto" else settings.precision


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Products in bfloat16 inside, if that is the precision; sums, losses and weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def estimate_speed(net: LanguageModel, data: Batches, settings: TrainSettings) -> float:
    """Symbols learnt a second, from one step forward and back after one to warm up; the network is left as it was."""
    device, precision = torch.device(settings.device), chosen_precision(settings)
    net.to(device).eval()
    batch = TensorBatch.of(data.batch(0), device)
    seconds = math.inf
    for _ in range(2):
        began = time.perf_counter()
        with autocast(device, precision):
            loss, _ = training_step(net, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        net.zero_grad(set_to_none=True)
        seconds = min(seconds, time.perf_counter() - began)
    net.train()
    return batch.targets.numel() / max(seconds, 1e-9)
