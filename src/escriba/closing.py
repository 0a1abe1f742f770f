"""What every training keeps beside its weights when it ends: what is typical of the text, and the hashes of its documents.

It knows nothing of how the model learnt.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from escriba.engine.protocol import Engine
from escriba.errors import TextError
from escriba.inference.fingerprint import make_fingerprint, save_fingerprint
from escriba.inference.typical import MOST_SYMBOLS, Typicality, measure_typical, save_typical
from escriba.text.corpus import Corpus, Parts
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import Tokenizer

__all__ = ["keep_fingerprint", "keep_typical"]

TYPICAL_SHARE = 0.15
"""Symbols on which is measured what is typical, as a share of those learnt from: reading is several times as fast as learning."""
LEAST_TYPICAL = 20_000


def keep_typical(
    folder: Path | None, engine: Engine, tokenizer: Tokenizer, held_out: EncodedText, *, seed: int, learnt: int
) -> Typicality | None:
    """Measures how surprising held-out texts of each length are, and keeps it beside the weights, which must be there already.

    Args:
        folder: the model's; None: it is kept nowhere.
        engine: the trained model.
        tokenizer: its symbols.
        held_out: the part that was held out.
        seed: by which pieces of it are drawn.
        learnt: how many symbols were learnt from; what is measured costs a small share of that.

    Returns:
        None for a part that is too short to tell.
    """
    most = int(np.clip(TYPICAL_SHARE * learnt, LEAST_TYPICAL, MOST_SYMBOLS))
    try:
        found = measure_typical(engine, tokenizer, held_out, seed=seed, most_symbols=most)
    except TextError:
        return None
    if folder is not None:
        save_typical(folder, found)
    return found


def keep_fingerprint(folder: Path, corpus: Corpus, parts: Parts) -> None:
    """Keeps the hashes of the documents that were learnt from, if there are documents and nobody said not to."""
    if corpus.is_documents and corpus.settings.fingerprint:
        save_fingerprint(folder, make_fingerprint(parts.whole_train.pieces))
