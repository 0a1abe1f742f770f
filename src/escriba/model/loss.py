"""The loss: cross-entropy in nats under a mask, and its other units.

It knows nothing of networks: logits and targets come in, one number goes out.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

__all__ = ["InOtherUnits", "bits", "cross_entropy", "perplexity"]


def cross_entropy(logits_BTV: Tensor, targets_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Mean surprisal of the targets in nats, in float32 or better; where the mask is False nothing counts.

    Source: Shannon 1948; the mean is over counted symbols, not over rows.
    """
    logits_NV = logits_BTV.flatten(0, -2)
    if logits_NV.element_size() < 4:
        logits_NV = logits_NV.float()
    if mask_BT is None:
        return nn.functional.cross_entropy(logits_NV, targets_BT.flatten())
    losses_N = nn.functional.cross_entropy(logits_NV, targets_BT.flatten(), reduction="none")
    mask_N = mask_BT.flatten()
    return (losses_N * mask_N).sum() / mask_N.sum()


def bits(loss_nats: float) -> float:
    """Nats as bits."""
    return loss_nats / math.log(2.0)


def perplexity(loss_nats: float) -> float:
    """Among how many equally likely symbols the model hesitates on average; infinity where no float holds it."""
    return math.exp(loss_nats) if loss_nats < 700.0 else math.inf


class InOtherUnits:
    """A record with a loss in nats, which can be read in other units."""

    loss_nats: float

    @property
    def bits_per_symbol(self) -> float:
        """The loss in bits; for a text cut into characters these are bits per character."""
        return bits(self.loss_nats)

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return perplexity(self.loss_nats)
