"""A network's weights and what moves with them: averages and moments, the best weights so far, the last good ones.

It knows nothing of batches, nor of when anything is measured or saved.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from escriba.errors import TrainingError
from escriba.language import tr
from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.training.optimizer import Averager, build_optimizer, copy_into
from escriba.training.state import TrainingState, optimizer_tensors, restore_optimizer, restore_parameters

__all__ = ["Keeping", "Updated", "no_sound_step"]

LARGEST = 1e15
"""The longest gradient and the longest vector of all weights that are taken for sound: the squares of larger ones may overflow."""
GOOD = "good/"
"""What the names of the last good tensors begin with in a state."""


CLIPPED = 1e-6
"""What PyTorch adds to a gradient's length before it divides by it."""


class Updated(NamedTuple):
    """What an update met.

    Attributes:
        loss_nats: the loss before it.
        gradient_norm: the gradient's length before clipping.
        weights_norm: the length of all weights after it.
    """

    loss_nats: float
    gradient_norm: float
    weights_norm: float

    @property
    def is_sound(self) -> bool:
        """Whether all is finite and of a size at which moments stay finite too."""
        return math.isfinite(self.loss_nats) and self.gradient_norm < LARGEST and self.weights_norm < LARGEST


def no_sound_step(failed: Updated, step: int, rate: float, share: float, learning_rate: float) -> TrainingError:
    """What to say when step after step was no use, although the rate was brought to a share each time."""
    return TrainingError(
        tr(
            "the loss is {loss_nats:g}, the gradient's length {gradient_norm:g} at step {step}, rate {rate:.3g}: "
            "no sound step for the third time",
            loss_nats=failed.loss_nats,
            gradient_norm=failed.gradient_norm,
            step=step,
            rate=rate,
        ),
        expected=tr(
            "finite numbers; each time training went back to its last good weights, with {share:g} of the rate; nothing unsound was saved",
            share=share,
        ),
        hint=tr(
            "train anew with a smaller rate: --set train.learning_rate={learning_rate:.1g}, "
            "or with shorter gradients: --set train.clip_norm=1",
            learning_rate=learning_rate / 100,
        ),
    )


class Keeping:
    """The weights of one training: those being trained are the network's own, all others are kept here.

    Attributes:
        parameters: the network's own, in its order.
        optimizer: what updates them; its moments are kept with them.
        averager: what averages them, or None.
        best: the best weights so far, or None.
        good_step: the step after which the last good weights stood.

    Args:
        net: the network, on its device.
        settings: which optimizer, and whether averages are made.
    """

    def __init__(self, net: LanguageModel, settings: TrainSettings) -> None:
        self.net = net
        self.names = [name for name, _ in net.named_parameters()]
        self.parameters = list(net.parameters())
        self.optimizer = build_optimizer(net, settings)
        self.averager = None if settings.averaging is None else Averager(self.parameters, settings.averaging)
        self.best: list[Tensor] | None = None
        self.good_step = 0
        self._good: dict[str, Tensor] = {}
        self._raw: list[Tensor] | None = None

    @property
    def kind(self) -> str:
        """Which weights are kept: the "best"; while there are none the "averaged", or else the "last"."""
        if self.best is not None:
            return "best"
        return "last" if self.averager is None else "averaged"

    def kept(self) -> list[Tensor] | None:
        """The weights to keep, or None for those the network holds."""
        if self.best is not None:
            return self.best
        return self.measured()

    def measured(self) -> list[Tensor] | None:
        """The weights that are measured: the averaged ones, or None for those the network holds."""
        return None if self.averager is None else self.averager.averages

    def present(self) -> list[Tensor]:
        """Copies of the weights that are measured now."""
        return [tensor.detach().clone() for tensor in self.measured() or self.parameters]

    @contextlib.contextmanager
    def holding(self, weights: list[Tensor] | None) -> Iterator[None]:
        """Inside, the network holds these weights; None: its own."""
        if weights is None or self._raw is not None:
            yield
            return
        self._raw = [parameter.detach().clone() for parameter in self.parameters]
        copy_into(self.parameters, weights)
        try:
            yield
        finally:
            copy_into(self.parameters, self._raw)
            self._raw = None

    def kept_arrays(self) -> dict[str, np.ndarray]:
        """The weights to keep, by name; once they were left in the network, what it holds."""
        with self.holding(self.kept()):
            return self.net.get_weights()

    def present_arrays(self) -> dict[str, np.ndarray]:
        """The weights that are measured now, by name."""
        with self.holding(self.measured()):
            return self.net.get_weights()

    def leave(self, weights: list[Tensor] | None) -> None:
        """Writes weights into the network for good (None: it keeps its own); `tensors` still knows those being trained."""
        self._raw = [parameter.detach().clone() for parameter in self.parameters]
        copy_into(self.parameters, weights or self._raw)

    def _living(self) -> dict[str, Tensor]:
        """All that a step changes: the weights being trained, their averages, the moments."""
        groups = {"weights": self._raw or self.parameters, "averages": self.measured() or []}
        named = {f"{group}/{name}": one for group, members in groups.items() for name, one in zip(self.names, members, strict=False)}
        return {**named, **optimizer_tensors(self.optimizer)}

    def update(self, loss: Tensor, rate: float, clip_norm: float | None, step: int) -> Updated:
        """Takes a loss down: gradient, clipping, optimizer, averages. Whoever calls steps back if it was not sound.

        Args:
            loss: one number with a gradient.
            rate: the learning rate.
            clip_norm: the longest gradient, or None.
            step: the steps made, this one included.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = get_total_norm([parameter.grad for parameter in self.parameters if parameter.grad is not None])
        if clip_norm is not None and (norm.device.type != "cpu" or float(norm) + CLIPPED >= clip_norm):  # a GPU would have to be waited for
            clip_grads_with_norm_(self.parameters, clip_norm, norm)
        self.optimizer.step()
        if self.averager is not None:
            self.averager.update(step)
        figures = [one.float().to(self.parameters[0].device) for one in (loss.detach(), norm, get_total_norm(self.parameters))]
        return Updated(*torch.stack(figures).tolist())  # the one moment of a step at which a GPU is waited for

    def check(self) -> None:
        """Sees that the weights being trained are all finite, and of ordinary size.

        Raises:
            TrainingError: they are not.
        """
        if not float(get_total_norm(self.parameters)) < LARGEST:
            raise TrainingError(
                tr("the network's weights are not all finite before the first step"),
                expected=tr("numbers of ordinary size"),
                hint=tr("make the network anew: escriba.LanguageModel(...)"),
            )

    @torch.no_grad()
    def remember(self, step: int) -> None:
        """Takes the present weights, averages and moments for good ones, to which `step_back` leads; there is one such copy."""
        living = self._living()
        if self._good.keys() != living.keys():
            self._good = {name: torch.empty_like(tensor) for name, tensor in living.items()}
        for name, tensor in living.items():
            self._good[name].copy_(tensor)
        self.good_step = step

    @property
    def has_good(self) -> bool:
        """Whether there is something to step back to."""
        return bool(self._good)

    def step_back(self) -> None:
        """Goes back to the last good weights, averages and moments."""
        self._put(self._good)

    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        state = TrainingState(dict(tensors), {})
        restore_parameters(self.parameters, state.group("weights", self.names))
        if self.averager is not None:  # copies: averaging writes into them; a state without averages begins them here
            averages = state.group("averages", self.names) or self.parameters
            self.averager.averages = [tensor.detach().to(self.net.output.weight.device, copy=True) for tensor in averages]
        restore_optimizer(self.optimizer, tensors)

    def tensors(self, step: int) -> dict[str, Tensor]:
        """All of it by name, for a state after `step` steps; the good weights only where they are others than the present ones."""
        best = {f"best/{name}": tensor for name, tensor in zip(self.names, self.best or (), strict=False)}
        good = {} if self.good_step == step else {f"{GOOD}{name}": tensor for name, tensor in self._good.items()}
        return {**self._living(), **best, **good}

    def restore(self, state: TrainingState, step: int, good_step: int) -> None:
        """Goes on, or back, to a state.

        Raises:
            TrainingError: it is of another network.
        """
        self._put(state.tensors)
        best, device = state.group("best", self.names), self.net.output.weight.device
        self.best = None if best is None else [tensor.to(device, copy=True) for tensor in best]
        good = {name.removeprefix(GOOD): tensor for name, tensor in state.tensors.items() if name.startswith(GOOD)}
        self._good = {name: tensor.to(device, copy=True) for name, tensor in good.items()}
        self.good_step = good_step
        if not good:
            self.remember(step)

    def begin_with_kept(self, step: int) -> None:
        """Makes the kept weights those being trained, with the moments as they are; which are best is open again."""
        start = self.kept()
        if start is not None:
            copy_into(self.parameters, start)
        if self.averager is not None:
            self.averager.averages = [parameter.detach().clone() for parameter in self.parameters]
        self.best = None
        self.remember(step)
