"""Reads once more the text that a model learnt from: what is recorded of it says where it is, and whether it is the same.

It knows nothing of models and their folders: what was recorded comes as it stands in the history of the training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from escriba.errors import TextError
from escriba.settings import TextSettings
from escriba.text.corpus import Corpus, read

__all__ = ["learnt_text"]

HINT = "give the text: --against FILE (in Python against=)"


def learnt_text(
    known: Mapping[str, Any], settings: TextSettings, seed: int, against: Sequence[str | os.PathLike[str]] | Corpus | None = None
) -> Corpus:
    """What a model learnt from: all of its text but what was held out.

    Args:
        known: what the history of its training says of the text: `sources`, `sha256`, `held_out_sha256`.
        settings: how the text was read.
        seed: of the training, by which documents were drawn.
        against: another text, or where the text is now; None: where it was then. The text of the training itself, wherever it is, is
            taken without its held-out part, any other text whole.

    Raises:
        TextError: it is not known where the text is, it is there no more, or it is another one now.
        TextDecodingError: its bytes are not in the encoding.
    """
    if isinstance(against, Corpus):
        corpus = against
    elif against is not None:
        corpus = read(*against, settings=settings)
    else:
        corpus = _where_it_was(known, settings)
    if corpus.sha256 != known.get("sha256"):
        return corpus
    parts = corpus.parts(seed)
    held_out = None if parts.held_out is None else parts.held_out.sha256
    # another one was the user's own (--val, --test), and none was cut from this text
    return parts.whole_train if held_out == known.get("held_out_sha256") else corpus


def _where_it_was(known: Mapping[str, Any], settings: TextSettings) -> Corpus:
    sources = tuple(known.get("sources", ()))
    if "sha256" not in known:
        raise TextError("it is not recorded which text this model learnt from", hint=HINT)
    if not sources or "-" in sources:
        how = "from standard input" if sources else "in Python"
        raise TextError(f"the text that this model learnt from was given {how}, and is not kept with it", hint=HINT)
    try:
        corpus = read(*sources, settings=settings)
    except TextError as error:
        raise TextError(
            f"the text that this model learnt from cannot be read again: {error.met}", expected=error.expected, hint=HINT
        ) from error
    if corpus.sha256 != known["sha256"]:
        raise TextError(
            f"{', '.join(sources)[:80]} is not the text that this model learnt from: {corpus.characters:,} characters "
            f"(sha256 {corpus.sha256[:12]}), then {known.get('characters')} ({known['sha256'][:12]})",
            expected="the very same text",
            hint=HINT,
        )
    return corpus
