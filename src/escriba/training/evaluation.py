"""The loss of a network on a part of the text that it does not learn from.

It knows nothing of training: a network and ids come in, one number goes out, and the network is left as it was.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from escriba.errors import TextError
from escriba.language import tr, trn
from escriba.model.language_model import LanguageModel
from escriba.model.loss import InOtherUnits, cross_entropy
from escriba.text.batches import documents
from escriba.text.encoded import EncodedText

__all__ = ["Evaluation", "evaluate_part"]

LANES = 16
WARM_UP = 512
MOST_LOGITS = 16_000_000
"""Numbers in an array of logits: 64 MB of float32."""


@dataclass(frozen=True)
class Evaluation(InOtherUnits):
    """A loss and over how many symbols it is the mean.

    Attributes:
        loss_nats: mean surprisal in nats a symbol.
        symbols: how many were scored.
    """

    loss_nats: float
    symbols: int


@torch.inference_mode()
def evaluate_part(net: LanguageModel, part: EncodedText) -> Evaluation:
    """The mean surprisal of a part, in nats a symbol, in float32, dropout off.

    A stream is cut into 16 lanes read at once; every lane but the first reads the 512 symbols before it unscored, so that
    the state is warm, and carries its state to its end: the stream's own loss to about a thousandth of a nat. The first
    symbol of the part is not scored. Documents are scored each from its beginning, `<eos>` at the end included.

    Raises:
        TextError: the part has fewer than two symbols.
    """
    was_training = net.training
    net.eval()
    try:
        total, count = _documents(net, part) if part.offsets is not None else _stream(net, np.asarray(part.ids))
    finally:
        net.train(was_training)
    return Evaluation(total / count, count)


def _stream(net: LanguageModel, ids_N: np.ndarray) -> tuple[float, int]:
    targets = len(ids_N) - 1
    if targets < 1:
        met = trn("a part of {n} symbols cannot be scored", "a part of {n} symbols cannot be scored", len(ids_N))
        raise TextError(met, expected=tr("2 or more"))
    lanes = max(1, min(LANES, targets // WARM_UP))
    length = math.ceil(targets / lanes)
    warm_up = WARM_UP if lanes > 1 else 0
    device = net.output.weight.device
    starts_B = np.arange(lanes) * length
    chunk = max(1, min(256, MOST_LOGITS // (lanes * net.vocab_size)))
    state, total, count = net.initial_state(lanes), 0.0, 0
    for begin in (*range(-warm_up, 0, chunk), *range(0, length, chunk)):
        end = min(begin + chunk, 0 if begin < 0 else length)
        positions_BT = starts_B[:, None] + np.arange(begin, end)[None, :]
        exists_BT = (positions_BT >= 0) & (positions_BT < targets)
        counted_BT = exists_BT & (np.arange(begin, end) >= 0)[None, :]
        safe_BT = np.where(exists_BT, positions_BT, 0)
        inputs_BT = torch.from_numpy(ids_N[safe_BT].astype(np.int64)).to(device)
        logits_BTV, state = net(inputs_BT, state)
        if begin < 0:
            fresh_B = torch.from_numpy(starts_B == 0).to(device)  # the first lane has nothing before it: it begins from zero
            state = tuple(tuple(array_BH.masked_fill(fresh_B[:, None], 0.0) for array_BH in layer) for layer in state)
        counted = int(counted_BT.sum())
        if counted:
            targets_BT = torch.from_numpy(ids_N[np.where(exists_BT, positions_BT + 1, 0)].astype(np.int64)).to(device)
            loss = cross_entropy(logits_BTV, targets_BT, torch.from_numpy(counted_BT).to(device))
            total, count = total + float(loss) * counted, count + counted
    return total, count


def _documents(net: LanguageModel, part: EncodedText) -> tuple[float, int]:
    device = net.output.weight.device
    most = max(1, MOST_LOGITS // net.vocab_size)  # symbols read at once
    assert part.offsets is not None
    seq_len = min(most, 1000, int(np.diff(part.offsets).max(initial=1)) + 1)
    data = documents(part, batch_size=max(1, min(128, most // seq_len)), seq_len=seq_len, seed=0)
    total, count = 0.0, 0
    for batch in data:
        mask_BT = np.ones(batch.targets.shape, bool) if batch.mask is None else batch.mask
        logits_BTV, _ = net(torch.from_numpy(batch.inputs).to(device))
        loss = cross_entropy(logits_BTV, torch.from_numpy(batch.targets).to(device), torch.from_numpy(mask_BT).to(device))
        counted = int(mask_BT.sum())
        total, count = total + float(loss) * counted, count + counted
    return total, count
