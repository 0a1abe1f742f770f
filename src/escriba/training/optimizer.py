"""What turns gradients into better weights: optimizers, schedules of the rate, clipping, averaging of weights.

It knows nothing of batches or of when training ends: a share of the way done comes in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.training.muon import FUSED, Muon
from escriba.training.step import chosen_precision

__all__ = ["Averager", "Plateau", "build_optimizer", "copy_into", "learning_rate"]


def build_optimizer(net: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of the settings. Weight decay acts on matrices, never on biases.

    Source: Kingma and Ba 2015 (adam); Loshchilov and Hutter 2019 (adamw); Tieleman and Hinton 2012 (rmsprop); muon: see `muon.py`.
    """
    matrices = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in net.parameters() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    betas, rate, epsilon = (settings.beta1, settings.beta2), settings.learning_rate, settings.epsilon
    fused = all(parameter.device.type in FUSED for parameter in net.parameters()) or None  # None: PyTorch's own choice
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(groups, rate, betas, epsilon, fused=fused)
        case "adamw":
            return torch.optim.AdamW(groups, rate, betas, epsilon, fused=fused)
        case "muon":
            inner = net.inner_matrices() if isinstance(net, LanguageModel) else matrices
            known = set(map(id, inner))
            outer = [one for one in matrices if id(one) not in known]
            others = [{"params": outer, "weight_decay": 0.0}, groups[1]]
            # a symbol's vector learns only where it stands: decay between would take the rare ones away
            exact = chosen_precision(settings, matrices[0].device) == "float32"
            return Muon(
                inner, others, rate=rate, momentum=betas[0], weight_decay=settings.weight_decay, betas=betas, epsilon=epsilon, exact=exact
            )
        case "rmsprop":
            return torch.optim.RMSprop(groups, rate, alpha=settings.beta2, eps=epsilon)
        case "sgd":
            return torch.optim.SGD(groups, rate, momentum=settings.beta1, fused=fused)


def learning_rate(settings: TrainSettings, step: int, done: float) -> float:
    """The rate of the update after `step` updates, when the share `done` (0 to 1) of the training is over.

    Source: the cosine is Loshchilov and Hutter 2017, equation 5, without restarts.
    """
    rate = settings.learning_rate
    if step < settings.warmup_steps:
        return rate * (step + 1) / (settings.warmup_steps + 1)
    match settings.schedule:
        case "cosine":
            share = 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
        case "linear":
            share = 1.0 - min(1.0, done)
        case _:
            share = 1.0
    return rate * (settings.final_rate + (1.0 - settings.final_rate) * share)


class Plateau:
    """Halves the rate whenever the loss has not gained for some evaluations."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.stale = 0
        self.factor = 1.0

    def evaluated(self, gained: bool) -> None:
        """Tells it whether an evaluation was better than all before."""
        self.stale = 0 if gained else self.stale + 1
        if self.stale > self.patience:
            self.factor, self.stale = self.factor / 2.0, 0


class Averager:
    """An exponential average of the weights over the steps; young averages forget faster.

    Source: Polyak and Juditsky 1992; the warm-up (1 + t) / (10 + t) is TensorFlow's.

    Args:
        parameters: the weights that are averaged.
        decay: share of the old average that each step keeps, 0 to 1.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.parameters = parameters
        self.averages = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after `step` updates."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        torch._foreach_lerp_(self.averages, [parameter.detach() for parameter in self.parameters], 1.0 - decay)


@torch.no_grad()
def copy_into(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    """Writes values over parameters, one by one."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
