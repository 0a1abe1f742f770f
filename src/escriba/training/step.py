"""One step's work: a batch as tensors, the ordinary step, on which device and in which precision, and how fast it is.

It knows nothing of optimizers or of how long training takes; what is fastest here is measured in `probe.py`.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import contextlib
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from escriba.errors import SettingsError
from escriba.language import tr, trn
from escriba.model.language_model import LanguageModel, ModelState
from escriba.model.loss import cross_entropy
from escriba.settings import TrainSettings
from escriba.text.batches import Batch, Batches

__all__ = [
    "StepFunction",
    "TensorBatch",
    "autocast",
    "best_precision",
    "chosen_device",
    "chosen_precision",
    "devices_here",
    "estimate_speed",
    "has_bf16",
    "seconds_of_a_step",
    "symbols_of",
    "training_step",
    "typical_batch",
]

FIRST_BATCHES = 16
"""Batches among which a typical one is sought."""


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


def devices_here() -> list[str]:
    """The kinds of devices that this PyTorch finds on this machine, the likely fastest first; "cpu" is always there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a driver that is too old is the same as none
        found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(name for name, there in found.items() if there), "cpu"]


def chosen_device(settings: TrainSettings) -> torch.device:
    """The settings' device; "auto" is the first of `devices_here`.

    Raises:
        SettingsError: the device is not there.
    """
    here = devices_here()
    if settings.device == "auto":
        return torch.device(here[0])
    device = torch.device(settings.device)
    count = torch.cuda.device_count() if device.type == "cuda" and "cuda" in here else 1
    if device.type not in here or (device.index or 0) >= count:
        if device.type in here:
            met = trn(
                "device is {device!r}, but this PyTorch has only {n} CUDA devices",
                "device is {device!r}, but this PyTorch has only {n} CUDA devices",
                count,
                device=settings.device,
            )
        elif device.type == "cuda":
            met = tr("device is {device!r}, but this PyTorch has no CUDA device", device=settings.device)
        else:
            met = tr("device is {device!r}, but this PyTorch has no Apple GPU", device=settings.device)
        raise SettingsError(
            met,
            expected=tr("auto, {first} or {last}", first=", ".join(here[:-1]), last=here[-1]) if len(here) > 1 else f"auto, {here[0]}",
            hint=tr("leave device at auto; a GPU needs PyTorch's build for it and its driver: https://pytorch.org/get-started/locally"),
        )
    return device


def has_bf16(device: str) -> bool:
    """Whether the hardware itself multiplies bfloat16: AMX, AVX512-BF16, Arm's BF16, a GPU of 2020 or later.

    Elsewhere it is emulated, tens of times slower than float32.
    """
    if device.startswith("cuda"):
        return "cuda" in devices_here() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    checks = [getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")]
    return any(check is not None and check() for check in checks) or _has_arm_bf16()


def _has_arm_bf16() -> bool:
    """Arm's BF16, as PyTorch tells it from 2.13 on, and Linux before."""
    if platform.machine().lower() not in ("aarch64", "arm64"):
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get("bf16", False))
    try:
        return " bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def best_precision(device: str) -> str:
    """The precision where nothing is measured: "bf16" where the hardware multiplies it, but on a Mac's processor, else "float32"."""
    return "bf16" if has_bf16(device) and platform.system() != "Darwin" else "float32"


def chosen_precision(settings: TrainSettings, device: torch.device | None = None) -> str:
    """The settings' precision; "auto" is `best_precision` of the device, or else of the settings' device.

    Raises:
        SettingsError: the settings' device is not there.
    """
    if settings.precision != "auto":
        return settings.precision
    return best_precision(str(device or chosen_device(settings)))


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Products in bfloat16 inside, if that is the precision; sums, losses and weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def estimate_speed(net: LanguageModel, data: Batches, settings: TrainSettings) -> float:
    """Symbols learnt a second, from one step forward and back after one to warm up; the network is left as it was.

    Raises:
        SettingsError: the settings' device is not there.
    """
    device, batch = chosen_device(settings), typical_batch(data)
    precision = chosen_precision(settings, device)
    with left_as_it_was(net, device):
        seconds = min(seconds_of_a_step(net, batch, device, precision) for _ in range(2))
    return symbols_of(batch) / max(seconds, 1e-9)


def symbols_of(batch: Batch) -> int:
    """The targets that count."""
    return batch.targets.size if batch.mask is None else int(batch.mask.sum())


def typical_batch(data: Batches) -> Batch:
    """The batch by which a speed is measured: of the first `FIRST_BATCHES` the one with a number of targets nearest to the mean.

    Documents come in batches of short and of long ones, and a short batch has fewer targets a second.
    """
    mean = data.symbols_per_epoch / len(data)
    return min((data.batch(step) for step in range(min(FIRST_BATCHES, len(data)))), key=lambda one: abs(symbols_of(one) - mean))


def seconds_of_a_step(
    net: LanguageModel, batch: Batch, device: torch.device, precision: str, clock: Callable[[], float] = time.perf_counter
) -> float:
    """How long one step forward and back takes, of a network that is on the device; its gradients are cleared, nothing is learnt."""
    began = clock()
    with autocast(device, precision):
        loss, _ = training_step(net, TensorBatch.of(batch, device))
    loss.backward()  # type: ignore[no-untyped-call]
    net.zero_grad(set_to_none=True)
    float(loss.detach())  # a GPU answers only when it is done with all before
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - began


@contextlib.contextmanager
def left_as_it_was(net: LanguageModel, device: torch.device) -> Iterator[None]:
    """Inside, the network is on the device and in training, with draws of its own for dropout; after it, it is as it was before."""
    home, was_training, generator = net.output.weight.device, net.training, net.dropout.generator
    try:
        net.to(device).train()  # cuDNN goes back only through a network in training
        net.dropout.generator = torch.Generator(device).manual_seed(1)
        yield
    finally:
        net.dropout.generator = generator
        net.to(home).train(was_training)
