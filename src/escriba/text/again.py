"""Reads once more the text that a model learnt from: what is recorded of it says where it is, and whether it is the same.

It knows nothing of models and their folders: what was recorded comes as it stands in the history of the training.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from escriba.errors import EscribaError, TextError
from escriba.language import later, tr
from escriba.settings import TextSettings
from escriba.text.corpus import Corpus, read
from escriba.text.files import STDIN, find, suffix_of
from escriba.text.known import PREFIX, is_fetched, known
from escriba.text.tables import is_named_a_table

__all__ = ["held_out_text", "learnt_text", "was_a_table"]

HINT = later("give the text: --against FILE (in Python against=)")


def learnt_text(
    recorded: object, settings: TextSettings, seed: int, against: Sequence[str | os.PathLike[str]] | Corpus | None = None
) -> Corpus:
    """What a model learnt from: all of its text but what was held out.

    Args:
        recorded: what the history of its training says of the text: `sources`, `sha256`, `held_out_sha256`.
        settings: how the text was read.
        seed: of the training, by which documents were drawn.
        against: another text, or where the text is now; None: where it was then. The text of the training itself, wherever it is, is
            taken without its held-out part, any other text whole.

    Raises:
        TextError: it is not known where the text is, it is there no more, or it is another one now.
        TextDecodingError: its bytes are not in the encoding.
    """
    facts = _checked(recorded)
    if isinstance(against, Corpus):
        corpus = against
    elif against is not None:
        corpus = read(*against, settings=settings)
    else:
        corpus = _where_it_was(facts, settings, tr(HINT))
    if corpus.sha256 != facts.get("sha256"):
        return corpus
    parts = corpus.parts(seed)
    held_out = None if parts.held_out is None else parts.held_out.sha256
    # another one was the user's own (--val, --test), and none was cut from this text
    return parts.whole_train if held_out == facts.get("held_out_sha256") else corpus


def held_out_text(recorded: object, settings: TextSettings, seed: int, hint: str) -> Corpus:
    """What the training of a model held out.

    Args:
        recorded: as in `learnt_text`.
        settings: how the text was read.
        seed: of the training, by which documents were drawn.
        hint: how a text is given instead.

    Raises:
        TextError: it is not known where the text is, it is there no more, or another one now; or no part of it was held out.
    """
    facts = _checked(recorded)
    if "sha256" in facts and "held_out_sha256" not in facts:
        raise TextError(tr("the training of this model held nothing out"), hint=hint)
    part = _where_it_was(facts, settings, hint).parts(seed).held_out
    if part is None or part.sha256 != facts["held_out_sha256"]:
        raise TextError(tr("what was held out was a text of its own (--val or --test)"), hint=hint)
    return part


def was_a_table(recorded: object) -> bool:
    """Whether the text, as far as is known of it, was a file named as a table (.csv, .tsv, .jsonl), or several."""
    return any(map(_is_a_table, _checked(recorded).get("sources", ())))


def _is_a_table(source: str) -> bool:
    with contextlib.suppress(EscribaError, OSError):  # what is there no more is judged by its name
        if source.startswith(PREFIX):
            return "column" in known(source).reading
        if source != STDIN and not is_fetched(source):
            return any(is_named_a_table(suffix_of(path)) for path in find([source]) if path is not None)
    return is_named_a_table(suffix_of(Path(source)))


def _checked(recorded: object) -> dict[str, Any]:
    """What was recorded, without what is of another kind than it should be: a damaged history says nothing."""
    facts = recorded if isinstance(recorded, dict) else {}
    kinds = {"sha256": str, "held_out_sha256": str, "characters": int}
    found = {name: facts[name] for name, kind in kinds.items() if isinstance(facts.get(name), kind)}
    sources = facts.get("sources")
    if isinstance(sources, list | tuple) and all(isinstance(one, str) for one in sources):
        found["sources"] = tuple(sources)
    return found


def _where_it_was(facts: dict[str, Any], settings: TextSettings, hint: str) -> Corpus:
    sources = facts.get("sources")
    if "sha256" not in facts or sources is None:
        raise TextError(tr("it is not recorded which text this model learnt from"), hint=hint)
    if not sources or STDIN in sources:
        piped = tr("the text that this model learnt from was given from standard input, and is not kept with it")
        in_python = tr("the text that this model learnt from was given in Python, and is not kept with it")
        raise TextError(piped if sources else in_python, hint=hint)
    try:
        corpus = read(*sources, settings=settings)
    except (EscribaError, OSError) as error:
        met, expected = (error.met, error.expected) if isinstance(error, EscribaError) else (str(error), None)
        raise TextError(
            tr("the text that this model learnt from cannot be read again: {reason}", reason=met), expected=expected, hint=hint
        ) from error
    if corpus.sha256 != facts["sha256"]:
        raise TextError(
            tr(
                "{files} is not the text that this model learnt from: {characters:,} characters (sha256 {sha}), then {before} ({old_sha})",
                files=", ".join(sources)[:80],
                characters=corpus.characters,
                sha=corpus.sha256[:12],
                before=facts.get("characters"),
                old_sha=facts["sha256"][:12],
            ),
            expected=tr("the very same text"),
            hint=hint,
        )
    return corpus
