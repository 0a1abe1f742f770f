"""What every training keeps beside its weights when it ends: what is typical of the text, and the hashes of its documents.

It knows nothing of how the model learnt.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from escriba.engine.protocol import Engine
from escriba.errors import EscribaError, TextError
from escriba.inference.fingerprint import Hashes, make_fingerprint, save_fingerprint
from escriba.inference.typical import MOST_SYMBOLS, Typicality, measure_typical, save_typical
from escriba.language import tr
from escriba.text.corpus import Corpus, Parts
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import Tokenizer

__all__ = ["keep_fingerprint", "keep_typical", "keeps_fingerprint", "typical_symbols"]

TYPICAL_SHARE = 0.15
"""Symbols on which is measured what is typical, as a share of those learnt from: reading is several times as fast as learning."""
LEAST_TYPICAL = 20_000


def typical_symbols(learnt: float) -> int:
    """How many symbols at most are read to tell what is typical.

    Args:
        learnt: how many symbols were learnt from.
    """
    return int(np.clip(TYPICAL_SHARE * learnt, LEAST_TYPICAL, MOST_SYMBOLS))


def keep_typical(
    folder: Path | None, engine: Engine, tokenizer: Tokenizer, held_out: EncodedText, *, seed: int, learnt: int
) -> Typicality | None:
    """Measures how surprising held-out texts of each length are, and keeps it beside the weights, which must be there already.

    A training never fails by it: what cannot be measured or kept is warned of.

    Args:
        folder: the model's; None: it is kept nowhere.
        engine: the trained model.
        tokenizer: its symbols.
        held_out: the part that was held out.
        seed: by which pieces of it are drawn.
        learnt: how many symbols were learnt from; what is measured costs a small share of that.

    Returns:
        None for a part that is too short to tell, and where it could not be measured or kept.
    """
    try:
        found = measure_typical(engine, tokenizer, held_out, seed=seed, most_symbols=typical_symbols(learnt))
        if folder is not None:
            save_typical(folder, found)
    except TextError:
        return None
    except (EscribaError, MemoryError) as error:
        why = error.met if isinstance(error, EscribaError) else tr("there is not enough memory")
        warnings.warn(tr("what is typical of the text is not kept: {why}", why=why), UserWarning, stacklevel=2)
        return None
    return found


def keeps_fingerprint(corpus: Corpus) -> bool:
    """Whether hashes of a text are kept: there are documents, and nobody said not to."""
    return corpus.is_documents and corpus.settings.fingerprint


def keep_fingerprint(folder: Path, corpus: Corpus, parts: Parts, before: Hashes | None = None) -> None:
    """Keeps the hashes of the documents that are learnt from, if they are to be kept.

    Args:
        folder: the model's.
        corpus: the text.
        parts: its parts.
        before: hashes of documents that were learnt before them; None: none.
    """
    if keeps_fingerprint(corpus):
        save_fingerprint(folder, make_fingerprint(parts.whole_train.pieces, before))
