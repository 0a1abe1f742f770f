"""How each row draws, as the native library takes it. It knows nothing of what is drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from escriba._native.engine import Draw
from escriba.engine.sampling import Sampling, checked_banned

__all__ = ["native_draws"]


def native_draws(samplings: Sequence[Sampling], vocab_size: int) -> tuple[object, list[npt.NDArray[np.int32]]]:
    """The samplings as the library takes them, and the arrays in which the banned ids lie: they must outlive the call.

    Raises:
        SettingsError: a banned id is not in the vocabulary.
    """
    draws, kept = (Draw * len(samplings))(), []
    for draw, sampling in zip(draws, samplings, strict=True):
        checked_banned(sampling, vocab_size)
        draw.temperature, draw.top_k = sampling.temperature, min(sampling.top_k or 0, vocab_size)
        draw.top_p, draw.min_p = sampling.top_p or 0.0, -1.0 if sampling.min_p is None else sampling.min_p
        if sampling.banned:
            kept.append(np.array(sampling.banned, np.int32))
            draw.banned, draw.banned_count = kept[-1].ctypes.data, len(kept[-1])
    return draws, kept
