"""Dynamic evaluation: a model that goes on learning from what it has just read, each symbol scored before it is learnt from.

It knows nothing of files and texts: it is an engine that reads. What it learnt is gone with it.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import copy

import numpy.typing as npt
import torch

from escriba.engine.protocol import Reading, State
from escriba.engine.torch import TorchEngine, reading_of_logits, state_to_numpy
from escriba.model.language_model import LanguageModel
from escriba.model.loss import cross_entropy

__all__ = ["DynamicEngine"]

SEGMENT = 64
"""Symbols that are scored before the model learns from them."""
RATE = 1e-4
DECAY = 0.99
"""What the mean of squared gradients keeps of itself at each update."""
BACK = 5e-3
"""The share of the way back to the trained weights that each update goes."""
EPSILON = 1e-8


class DynamicEngine(TorchEngine):
    """A network that reads and learns: after each segment its weights move against the gradient and a little back to where they were.

    The gradient is divided by the root of the mean of its squares, number by number. The given network is left as it is.

    Source: Krause et al. 2018, Dynamic Evaluation of Neural Sequence Models, equations 5 to 7; the mean is here that of what was read,
    for the training text need not be at hand.

    Args:
        net: the trained network.
        rate: how far a number moves at an update, about.
    """

    def __init__(self, net: LanguageModel, rate: float = RATE) -> None:
        super().__init__(copy.deepcopy(net).cpu().eval())  # cuDNN goes back only through a network in training
        self.rate = rate
        self.parameters = list(self.net.parameters())
        self.trained = [parameter.detach().clone() for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.updates = 0

    def read(self, ids: npt.ArrayLike, targets: npt.ArrayLike, state: State, *, ranks: bool = False, top: int = 0) -> tuple[Reading, State]:
        """How likely each symbol was, under the model as it had become before its segment. See `Engine.read`."""
        ids_BT, targets_BT = self.checked_targets(ids, targets, state)
        live, parts = self._state_to_torch(state), []
        for start in range(0, ids_BT.shape[1], SEGMENT):
            inputs, wanted = (self._to_torch(one[:, start : start + SEGMENT]) for one in (ids_BT, targets_BT))
            logits_BTV, after = self.net(inputs, live)
            loss = cross_entropy(logits_BTV, wanted)
            gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            parts.append(reading_of_logits(logits_BTV.detach(), wanted, ranks, top))
            live = tuple(tuple(array.detach() for array in layer) for layer in after)
            self._learn(gradients)
        return Reading.joined(parts), state_to_numpy(live)

    @torch.no_grad()
    def _learn(self, gradients: tuple[torch.Tensor | None, ...]) -> None:
        """One update."""
        self.updates += 1
        young = 1.0 - DECAY**self.updates
        for parameter, start, squares, gradient in zip(self.parameters, self.trained, self.squares, gradients, strict=True):
            if gradient is None:
                continue
            squares.lerp_(gradient.square(), 1.0 - DECAY)
            parameter.addcdiv_(gradient, (squares / young).sqrt_().add_(EPSILON), value=-self.rate)
            parameter.lerp_(start, BACK)
