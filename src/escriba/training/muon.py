"""Muon: matrices learn by their gradient's directions, all of the same length; everything else by AdamW.

It knows nothing of networks: two lists of parameters come in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

__all__ = ["FUSED", "Muon", "orthogonalized"]

FUSED = ("cpu", "cuda")
"""Devices on which an optimizer's update is one pass over memory; elsewhere, and for rmsprop, PyTorch takes several."""
STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that draws every singular value of 0 to 1 towards 1; steep at 0, so that few steps do."""
LIKE_ADAMW = 0.2
"""The root mean square of an AdamW update, about, as a share of the rate: so one rate serves both."""


class Muon(torch.optim.Optimizer):
    """The mean of the gradients, with Nesterov's look ahead, made orthogonal; and AdamW for what is no matrix of a layer.

    Source: Jordan et al. 2024 (Muon); Liu et al. 2025, arXiv 2502.16982 (the length of an update, so that AdamW's rates fit; weight decay).

    Args:
        matrices: parameters of two dimensions.
        others: groups of parameters for AdamW, each with its "weight_decay".
        rate: of both.
        momentum: what the mean of the matrices' gradients keeps of itself at each step, 0 to 1.
        weight_decay: of the matrices, times the rate.
        betas: of AdamW.
        epsilon: of AdamW.
        exact: orthogonal in float32; else in bfloat16, which is faster where the hardware multiplies it.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[dict[str, Any]],
        *,
        rate: float,
        momentum: float,
        weight_decay: float,
        betas: tuple[float, float],
        epsilon: float,
        exact: bool,
    ) -> None:
        groups = [{"params": list(matrices), "weight_decay": weight_decay, "orthogonal": True}]
        groups += [{**group, "orthogonal": False} for group in others]
        usual = {"lr": rate, "momentum": momentum, "betas": betas, "eps": epsilon, "exact": exact}
        usual["fused"] = True  # PyTorch then brings the counts of steps, too, to the device of what is loaded
        super().__init__([group for group in groups if group["params"]], usual)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            learning = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["orthogonal"]:
                self._orthogonal_step(group, learning)
            elif learning:
                self._adamw_step(group, learning)

    def _orthogonal_step(self, group: dict[str, Any], learning: list[nn.Parameter]) -> None:
        rate, momentum = group["lr"], group["momentum"]
        for parameter in learning:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            mean = state["momentum"].lerp_(parameter.grad, 1.0 - momentum)
            direction = orthogonalized(torch.lerp(parameter.grad, mean, momentum), exact=group["exact"])
            parameter.mul_(1.0 - rate * group["weight_decay"])
            parameter.add_(direction, alpha=-rate * LIKE_ADAMW * math.sqrt(max(parameter.shape)))

    def _adamw_step(self, group: dict[str, Any], learning: list[nn.Parameter]) -> None:
        for parameter in learning:
            if not (state := self.state[parameter]):
                state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        columns = [[self.state[parameter][name] for parameter in learning] for name in ("exp_avg", "exp_avg_sq", "step")]
        gradients = [parameter.grad for parameter in learning if parameter.grad is not None]
        adamw(
            list(learning),
            gradients,
            columns[0],
            columns[1],
            [],
            columns[2],
            fused=all(one.device.type in FUSED for one in learning),
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalized(matrix: Tensor, *, exact: bool) -> Tensor:
    """The matrix with singular values near 1 (0.7 to 1.2), and its directions as they are, in float32.

    Source: Jordan et al. 2024: Newton and Schulz's iteration with a polynomial of the fifth degree.

    Args:
        matrix: of any two sizes; of zeros it stays zero.
        exact: whether products are made in float32.
    """
    x = matrix if exact else matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (torch.linalg.vector_norm(matrix) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        square = x @ x.T
        polynomial = torch.addmm(square, square, square, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        x = polynomial @ x
    made: Tensor = (x.T if tall else x).float()
    return made
