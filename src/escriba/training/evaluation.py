"""The loss of a network on a part of the text that it does not learn from.

It knows nothing of training: a network and ids come in, one number goes out, and the network is left as it was.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from escriba.engine.lanes import LANES, WARM_UP, read_in_lanes
from escriba.engine.opening import engine_of, has_native
from escriba.engine.protocol import Engine
from escriba.engine.torch import TorchEngine
from escriba.errors import CheckpointError, EscribaError, SettingsError, TextError
from escriba.language import tr, trn
from escriba.model.language_model import LanguageModel
from escriba.model.loss import InOtherUnits
from escriba.text.batches import documents
from escriba.text.encoded import EncodedText

__all__ = ["Evaluation", "engine_now", "evaluate_part"]

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


def engine_now(net: LanguageModel) -> Engine:
    """What runs a network as it is now, exactly: native code where there is any for it, on its weights of this moment; else PyTorch."""
    here, kind = net.output.weight.device.type, net.output.weight.dtype
    if type(net) is LanguageModel and here == "cpu" and kind == torch.float32 and has_native(net.settings):
        return engine_of(net.settings, net.vocab_size, net.get_weights(), threads=torch.get_num_threads())
    return TorchEngine(net)


def evaluate_part(net: LanguageModel, part: EncodedText) -> Evaluation:
    """The mean surprisal of a part, in nats a symbol, in float32, dropout off.

    A stream is cut into 16 lanes read at once; every lane but the first reads the 512 symbols before it unscored, so that
    the state is warm, and carries its state to its end: the stream's own loss to about a thousandth of a nat. The first
    symbol of the part is not scored. Documents are scored each from its beginning, `<eos>` at the end included. Where the network's
    numbers are not finite, the loss is no number.

    Raises:
        TextError: the part has fewer than two symbols.
    """
    count = len(part) - 1 if part.offsets is None else len(part) + part.count
    if count < 1:
        met = trn("a part of {n} symbols cannot be scored", "a part of {n} symbols cannot be scored", len(part))
        raise TextError(met, expected=tr("2 or more"))
    try:
        engine = engine_now(net)
        total = _stream(engine, np.asarray(part.ids)) if part.offsets is None else _documents(engine, part)
    except (CheckpointError, SettingsError):
        raise
    except EscribaError:  # numbers that are not finite
        total = math.nan
    return Evaluation(total / count, count)


def _stream(engine: Engine, ids_N: np.ndarray) -> float:
    targets = len(ids_N) - 1
    lanes = max(1, min(LANES, targets // WARM_UP))
    chunk = max(1, MOST_LOGITS // (lanes * engine.vocab_size))
    return -sum(float(log_probs.sum()) for _, log_probs in read_in_lanes(engine, ids_N, lanes, chunk, WARM_UP))


def _documents(engine: Engine, part: EncodedText) -> float:
    most = max(1, MOST_LOGITS // engine.vocab_size)  # symbols read at once
    assert part.offsets is not None
    seq_len = min(most, 1000, int(np.diff(part.offsets).max(initial=1)) + 1)
    data = documents(part, batch_size=max(1, min(128, most // seq_len)), seq_len=seq_len, seed=0)
    total = 0.0
    for batch in data:
        mask_BT = np.ones(batch.targets.shape, bool) if batch.mask is None else batch.mask
        reading, _ = engine.read(batch.inputs, batch.targets, engine.initial_state(len(mask_BT)))
        total -= float(reading.log_probs[mask_BT].sum())
    return total
