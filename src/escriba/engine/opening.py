"""The engine that runs a model folder: by its cell.

It does not know how either engine works, nor where the weights came from.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from escriba.engine.counts import CountsEngine
from escriba.engine.protocol import Engine
from escriba.engine.reference import ReferenceEngine
from escriba.settings import ModelSettings

__all__ = ["engine_of"]


def engine_of(settings: ModelSettings, vocab_size: int, weights: Mapping[str, np.ndarray]) -> Engine:
    """An engine that runs without PyTorch.

    Args:
        settings: the shape of the model.
        vocab_size: symbols in its vocabulary.
        weights: its arrays by the names of `weights.py`.

    Raises:
        CheckpointError, SettingsError: the arrays are not those of such a model.
    """
    return CountsEngine(settings, vocab_size, weights) if settings.cell == "counts" else ReferenceEngine(settings, weights)
