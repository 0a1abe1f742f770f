"""What going on with a training needs, as tensors and plain values, and back.

It knows nothing of files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from escriba.errors import TrainingError
from escriba.model.language_model import ModelState
from escriba.training.optimizer import copy_into

__all__ = ["TrainingState", "optimizer_tensors", "restore_optimizer"]


@dataclass(frozen=True)
class TrainingState:
    """A training between two steps.

    Attributes:
        tensors: by name: "weights/...", "averages/...", "best/...", "moments/<parameter>/<slot>", "carried/<layer>/<array>",
            "random/dropout".
        values: plain values by name: step, epoch losses, counters; all that JSON can hold.
    """

    tensors: dict[str, Tensor] = field(repr=False)
    values: dict[str, Any]

    def group(self, name: str, members: Sequence[str]) -> list[Tensor] | None:
        """The tensors of one group in the order of its members, or None if the group is not there.

        Raises:
            TrainingError: some are there and some are not.
        """
        found = [self.tensors.get(f"{name}/{member}") for member in members]
        there = [tensor for tensor in found if tensor is not None]
        if there and len(there) < len(members):
            raise TrainingError(
                f"the saved training holds {len(there)} of {len(members)} tensors of {name}", hint="begin anew without --resume"
            )
        return there or None

    def carried(self, device: torch.device) -> ModelState | None:
        """The recurrent state at which the next batch goes on, or None."""
        layers: dict[int, dict[int, Tensor]] = {}
        for name, tensor in self.tensors.items():
            if name.startswith("carried/"):
                _, layer, index = name.split("/")
                layers.setdefault(int(layer), {})[int(index)] = tensor.to(device)
        return tuple(tuple(arrays[index] for index in sorted(arrays)) for _, arrays in sorted(layers.items())) or None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments as "moments/<parameter>/<slot>"."""
    state = optimizer.state_dict()["state"]
    return {
        f"moments/{index}/{slot}": torch.as_tensor(value)
        for index, slots in state.items()
        for slot, value in slots.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts copies of moments back: a step writes into them, and a state is a value."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("moments/"):
            _, index, slot = name.split("/")
            moments.setdefault(int(index), {})[slot] = tensor.clone()
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def finite_or_none(value: float) -> float | None:
    """A number for JSON: None stands for infinity."""
    return value if math.isfinite(value) else None


def restore_parameters(parameters: list[nn.Parameter], values: list[Tensor] | None) -> None:
    """Writes saved weights into a network's parameters.

    Raises:
        TrainingError: there are none, or their shapes are others.
    """
    if values is None or any(value.shape != parameter.shape for value, parameter in zip(values, parameters, strict=True)):
        raise TrainingError("the saved training is of another network", hint="begin anew without --resume")
    copy_into(parameters, values)
