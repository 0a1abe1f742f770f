"""The loss of a network on a part of the text that it does not learn from.

It knows nothing of training: a network and ids come in, one number goes out, and the network is left as it was.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from escriba.engine.lanes import LANES, WARM_UP, read_in_lanes
from escriba.engine.opening import engine_of, has_native
from escriba.engine.protocol import Engine
from escriba.engine.torch import TorchEngine
from escriba.errors import TextError
from escriba.language import tr, trn
from escriba.model.language_model import LanguageModel
from escriba.model.loss import InOtherUnits
from escriba.text.batches import documents
from escriba.text.encoded import EncodedText

__all__ = ["Evaluation", "engine_for", "evaluate_part"]

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


def engine_for(net: LanguageModel) -> Engine:
    """What runs a network as it is now, exactly: native code where there is any for it, on its weights of this moment; else PyTorch."""
    if net.output.weight.device.type == "cpu" and net.output.weight.dtype == torch.float32 and has_native(net.settings):
        return engine_of(net.settings, net.vocab_size, net.get_weights())
    return TorchEngine(net)


def evaluate_part(net: LanguageModel, part: EncodedText) -> Evaluation:
    """The mean surprisal of a part, in nats a symbol, in float32, dropout off.

    A stream is cut into 16 lanes read at once; every lane but the first reads the 512 symbols before it unscored, so that
    the state is warm, and carries its state to its end: the stream's own loss to about a thousandth of a nat. The first
    symbol of the part is not scored. Documents are scored each from its beginning, `<eos>` at the end included.

    Raises:
        TextError: the part has fewer than two symbols.
    """
    engine = engine_for(net)
    total, count = _documents(engine, part) if part.offsets is not None else _stream(engine, np.asarray(part.ids))
    return Evaluation(total / count, count)


def _stream(engine: Engine, ids_N: np.ndarray) -> tuple[float, int]:
    targets = len(ids_N) - 1
    if targets < 1:
        met = trn("a part of {n} symbols cannot be scored", "a part of {n} symbols cannot be scored", len(ids_N))
        raise TextError(met, expected=tr("2 or more"))
    lanes = max(1, min(LANES, targets // WARM_UP))
    chunk = max(1, MOST_LOGITS // (lanes * engine.vocab_size))
    return -sum(float(log_probs.sum()) for _, log_probs in read_in_lanes(engine, ids_N, lanes, chunk, WARM_UP)), targets


def _documents(engine: Engine, part: EncodedText) -> tuple[float, int]:
    most = max(1, MOST_LOGITS // engine.vocab_size)  # symbols read at once
    assert part.offsets is not None
    seq_len = min(most, 1000, int(np.diff(part.offsets).max(initial=1)) + 1)
    data = documents(part, batch_size=max(1, min(128, most // seq_len)), seq_len=seq_len, seed=0)
    total, count = 0.0, 0
    for batch in data:
        mask_BT = np.ones(batch.targets.shape, bool) if batch.mask is None else batch.mask
        reading, _ = engine.read(batch.inputs, batch.targets, engine.initial_state(len(mask_BT)))
        total, count = total - float(reading.log_probs[mask_BT].sum()), count + int(mask_BT.sum())
    return total, count
