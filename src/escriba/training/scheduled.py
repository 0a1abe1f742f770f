"""Scheduled sampling: some inputs of a batch become symbols that the network itself foretold, so that it learns to go on from its own.

It knows nothing of how large the share of them is at a moment; `trainer.py` says that.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from escriba.model.language_model import LanguageModel
from escriba.training.step import TensorBatch

__all__ = ["with_own_symbols"]


def with_own_symbols(
    net: LanguageModel, batch: TensorBatch, share: float, generator: torch.Generator, *, never: Sequence[int] = ()
) -> TensorBatch:
    """The batch with a share of its inputs drawn from what the network foretold after the inputs before them.

    The network reads step by step, without dropout and without gradients. At each place but a row's first a coin is thrown: with
    the probability `share` the true input is replaced by a symbol drawn from the network's distribution (temperature 1), which has
    read the replacements so far. The targets stay: after a wrong symbol the network learns what should have come.

    Args:
        net: the network; it is left as it was.
        batch: what would be learnt from; its mask and state stay.
        share: the probability of a replacement, 0 to 1.
        generator: where chance comes from.
        never: ids that are not drawn, such as those of ``<unk>`` and ``<eos>``; a true input that is one of them stays.

    Source: Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", section 2.4.
    """
    if share <= 0.0:
        return batch
    inputs_BT, training = batch.inputs.clone(), net.training
    rows, times = inputs_BT.shape
    coins_BT = torch.rand(rows, times, generator=generator, device=inputs_BT.device) < share
    for one in never:
        coins_BT &= inputs_BT != one
    net.eval()
    try:
        with torch.no_grad():
            state = net.initial_state(rows) if batch.state is None else batch.state
            for time in range(times - 1):
                logits_BV, state = net.step(inputs_BT[:, time], state)
                logits_BV = logits_BV.float().index_fill(
                    1, torch.tensor(list(never), dtype=torch.long, device=logits_BV.device), -torch.inf
                )
                drawn_B = torch.multinomial(logits_BV.softmax(1), 1, generator=generator)[:, 0]
                inputs_BT[:, time + 1] = torch.where(coins_BT[:, time + 1], drawn_B, inputs_BT[:, time + 1])
    finally:
        net.train(training)
    return batch._replace(inputs=inputs_BT)
