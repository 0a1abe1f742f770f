"""The loss: cross-entropy under a mask, against sums by hand; and its units."""

from __future__ import annotations

import math

import pytest
import torch

from escriba.model.loss import bits, cross_entropy, perplexity

PROBABILITIES = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], [[0.2, 0.2, 0.6], [0.3, 0.3, 0.4]]])
LOGITS = PROBABILITIES.log() + 5.0
TARGETS = torch.tensor([[0, 2], [1, 2]])


def test_by_hand() -> None:
    """The mean of minus the logarithms of the targets' probabilities."""
    expected = -(math.log(0.5) + math.log(0.8) + math.log(0.2) + math.log(0.4)) / 4
    assert float(cross_entropy(LOGITS, TARGETS)) == pytest.approx(expected, abs=1e-6)


def test_by_hand_under_a_mask() -> None:
    """Only what the mask counts is summed, and only that divides: the mean is over symbols, not over rows."""
    mask = torch.tensor([[True, True], [True, False]])
    expected = -(math.log(0.5) + math.log(0.8) + math.log(0.2)) / 3
    assert float(cross_entropy(LOGITS, TARGETS, mask)) == pytest.approx(expected, abs=1e-6)


def test_padding_never_counts() -> None:
    """Whatever stands under the mask, logits or targets, neither the loss nor any gradient that counts changes."""
    mask = torch.tensor([[True, False], [True, False]])
    losses, gradients = [], []
    for filler, target in ((0.0, 0), (1e4, 1), (-3.0, 2)):
        logits = LOGITS.clone()
        logits[:, 1] = torch.tensor([filler, -filler, 1.0])
        logits.requires_grad_()
        loss = cross_entropy(logits, torch.where(mask, TARGETS, target), mask)
        losses.append(float(loss.detach()))
        gradients.append(torch.autograd.grad(loss, logits)[0])
    assert losses[0] == losses[1] == losses[2]
    for gradient in gradients:
        assert torch.count_nonzero(gradient[:, 1]) == 0
        torch.testing.assert_close(gradient[:, 0], gradients[0][:, 0], rtol=0, atol=0)


def test_a_full_mask_is_no_mask() -> None:
    """A mask that counts everything gives the loss without one."""
    assert float(cross_entropy(LOGITS, TARGETS, torch.ones_like(TARGETS, dtype=torch.bool))) == pytest.approx(
        float(cross_entropy(LOGITS, TARGETS)), abs=1e-7
    )


def test_logits_of_low_precision() -> None:
    """From bfloat16 the loss is computed in float32, from float64 in float64."""
    loss = cross_entropy(LOGITS.bfloat16(), TARGETS)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(LOGITS.bfloat16().float(), TARGETS), rtol=0, atol=0)
    assert cross_entropy(LOGITS.double(), TARGETS).dtype == torch.float64


def test_units() -> None:
    """A nat is 1.4427 bits; e to the loss is the perplexity, infinite where no float holds it."""
    assert bits(math.log(2.0)) == 1.0
    assert bits(1.0) == pytest.approx(1.442695)
    assert perplexity(math.log(66.0)) == pytest.approx(66.0)
    assert perplexity(1e6) == math.inf
