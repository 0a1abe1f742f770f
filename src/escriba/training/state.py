"""What going on with a training needs, as tensors and plain values, and back.

It knows nothing of files.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from escriba.errors import TrainingError
from escriba.language import tr
from escriba.model.language_model import ModelState
from escriba.training.optimizer import copy_into

__all__ = ["Tally", "TrainingState", "optimizer_tensors", "restore_optimizer", "restore_parameters"]


@dataclass(frozen=True)
class TrainingState:
    """A training between two steps.

    Attributes:
        tensors: by name: "weights/...", "averages/...", "moments/<parameter>/<slot>", "best/...", "carried/<layer>/<array>",
            "random/dropout"; and under "good/..." the first three once more, as they stood where a step back leads, if that is elsewhere.
        values: plain values by name: step, losses, counters; all that JSON can hold, and every number comes back from it bit for bit.
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
                tr("the saved training holds {there} of {wanted} tensors of {group}", there=len(there), wanted=len(members), group=name),
                hint=tr("begin anew without --resume"),
            )
        return there or None

    def carried(self, device: torch.device) -> ModelState | None:
        """The recurrent state at which the next batch goes on, or None."""
        layers: dict[int, dict[int, Tensor]] = {}
        for name, tensor in self.tensors.items():
            if name.startswith("carried/"):
                _, layer, index = name.split("/")
                # a copy: products differ in their last bits when memory is aligned otherwise, as that of a file's bytes is
                layers.setdefault(int(layer), {})[int(index)] = tensor.to(device, copy=True)
        return tuple(tuple(arrays[index] for index in sorted(arrays)) for _, arrays in sorted(layers.items())) or None


@dataclass
class Tally:
    """The plain numbers of a training that a step or an event changes; a state holds them all.

    Attributes:
        step: updates so far, those of earlier phases included.
        origin_step: the step at which this phase began: 0, or more where a finished training is trained further.
        origin_s: the seconds of training before this phase.
        symbols_seen: targets learnt from.
        best_loss: the lowest loss on the choosing part; None: none yet.
        smoothed_loss, last_loss: of the steps; None: no step yet.
        epoch_sum, epoch_symbols, epoch_last: the losses of the epoch under way: summed by symbols, over how many, the last ten.
        stale: evaluations since the best one.
        best_at: the step of the best one; -1: none yet.
        evaluations, samples: how many are behind, of those that are spread over the whole training.
        evaluated_at, sampled_at, saved_at: the step of the last evaluation, samples, checkpoint; -1: none yet.
        join_shift: once the choosing part is learnt too, by how many batches of the whole it is ahead of the steps; None: it is not.
        rescues, rate_factor: how often a step gave no finite number, and by what the rate is multiplied since.
    """

    step: int = 0
    origin_step: int = 0
    origin_s: float = 0.0
    symbols_seen: int = 0
    best_loss: float | None = None
    smoothed_loss: float | None = None
    last_loss: float | None = None
    epoch_sum: float = 0.0
    epoch_symbols: int = 0
    epoch_last: list[float] = field(default_factory=list)
    stale: int = 0
    best_at: int = -1
    evaluations: int = 0
    samples: int = 0
    evaluated_at: int = -1
    sampled_at: int = -1
    saved_at: int = -1
    join_shift: int | None = None
    rescues: int = 0
    rate_factor: float = 1.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Tally:
        """The numbers out of a state's values.

        Raises:
            TrainingError: some are missing.
        """
        values = {"join_shift": None, "best_at": -1, **values}  # older states do not know them
        missing = [one.name for one in fields(cls) if one.name not in values]
        if missing:
            raise TrainingError(
                tr("the saved training does not say {names}: another version wrote it", names=", ".join(missing)),
                hint=tr("begin anew without --resume"),
            )
        found = copy.deepcopy({one.name: values[one.name] for one in fields(cls)})  # a state is a value
        return cls(**found)

    def learnt(self, loss_nats: float, symbols: int) -> None:
        """Counts a step that was made."""
        self.symbols_seen += symbols
        self.last_loss = loss_nats
        self.smoothed_loss = loss_nats if self.smoothed_loss is None else 0.95 * self.smoothed_loss + 0.05 * loss_nats
        self.epoch_sum += loss_nats * symbols
        self.epoch_symbols += symbols
        self.epoch_last = [*self.epoch_last[-9:], loss_nats]

    def close_epoch(self) -> tuple[float, float]:
        """The mean loss of the epoch, weighed by symbols, and that of its last ten steps; the next epoch begins."""
        means = self.epoch_sum / self.epoch_symbols, sum(self.epoch_last) / len(self.epoch_last)
        self.epoch_sum, self.epoch_symbols, self.epoch_last = 0.0, 0, []
        return means

    def begin_phase(self, elapsed_s: float) -> None:
        """From here on the length, the schedule and all that is spread over a training count anew; what was learnt too stays learnt."""
        self.origin_step, self.origin_s = self.step, elapsed_s
        self.best_loss, self.stale, self.evaluations, self.samples = None, 0, 0, 0
        self.best_at = self.evaluated_at = self.sampled_at = self.saved_at = -1
        self.rescues, self.rate_factor = 0, 1.0


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments as "moments/<parameter>/<slot>"."""
    state = optimizer.state_dict()["state"]
    return {
        f"moments/{index}/{slot}": torch.as_tensor(value)
        for index, slots in state.items()
        for slot, value in slots.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts copies of moments back: a step writes into them, and a state is a value. Without any it is as new."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("moments/"):
            _, index, slot = name.split("/")
            moments.setdefault(int(index), {})[slot] = tensor.clone()
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def restore_parameters(parameters: list[nn.Parameter], values: list[Tensor] | None) -> None:
    """Writes saved weights into a network's parameters.

    Raises:
        TrainingError: there are none, or their shapes are others.
    """
    if values is None or any(value.shape != parameter.shape for value, parameter in zip(values, parameters, strict=True)):
        raise TrainingError(tr("the saved training is of another network"), hint=tr("begin anew without --resume"))
    copy_into(parameters, values)
