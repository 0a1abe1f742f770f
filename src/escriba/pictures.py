"""Pictures of a model: its learning curve, its network, its embedding, what it expects next, what surprises it in a text.

It gathers what is to be drawn; how it is drawn stands in `outputs`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from escriba.engine.sampling import log_softmax
from escriba.errors import SettingsError, near_name
from escriba.inference.reading import Reader
from escriba.language import tr
from escriba.outputs.drawings import Box, architecture
from escriba.outputs.figures import checked_file, kept
from escriba.outputs.page import table
from escriba.outputs.plots import embedding_map
from escriba.outputs.wording import duration
from escriba.results import Distribution
from escriba.settings import ModelSettings
from escriba.weights import parameters_by_part

if TYPE_CHECKING:
    from escriba.outputs.figures import Figure
    from escriba.using import Model

__all__ = ["KINDS", "boxes", "checked_kind", "distribution", "draw", "summary"]

KINDS: Mapping[str, tuple[str, ...]] = {
    "curve": ("baselines",),
    "architecture": (),
    "embedding": ("n",),
    "surprisal": ("text", "after"),
    "next": ("context", "n"),
}
"""The pictures of a model, each with its options."""

ON_A_MAP = 200
"""Symbols of an embedding that are shown, the most frequent of more."""


def draw(model: Model, kind: str, path: str | os.PathLike[str] | None = None, **options: Any) -> Figure | Path:
    """A picture of a model. See `Model.plot`."""
    checked_kind(kind)
    for name in options:
        if name not in KINDS[kind]:
            near = near_name(name, KINDS[kind])
            raise SettingsError(
                tr("a picture of the kind {kind!r} has no option {name!r}", kind=kind, name=name),
                expected=", ".join(KINDS[kind]) or tr("none"),
                hint=tr("did you mean {near!r}?", near=near) if near else None,
            )
    if path is not None:
        path = checked_file(path, *([".html"] if kind == "surprisal" else []))
    if kind == "curve":
        return model.run.plot(path, **options)
    if kind == "next":
        return model.next(options.get("context", "")).plot(path, n=options.get("n"))
    if kind == "surprisal":
        if "text" not in options:
            raise SettingsError(tr("there is no text of which the surprisal is to be drawn"), expected=tr("text=..."))
        score = model.score(options["text"], options.get("after", ""), top=3)
        return score.page(path) if path is not None and path.suffix.lower() == ".html" else score.plot(path)
    if kind == "embedding":
        return _embedding(model, path, **options)
    config = _config(model)
    title = f"{_network(config.model)}: {model.parameters:,} {'n-grams' if config.model.cell == 'counts' else 'parameters'}"
    return kept(path, lambda: architecture(boxes(config.model, config.vocab_size), title=title, below=_below(config.model)))


def checked_kind(kind: object) -> str:
    """The kind of a picture.

    Raises:
        SettingsError: there is no such kind; the nearest is suggested.
    """
    if isinstance(kind, str) and kind in KINDS:
        return kind
    near = near_name(kind, KINDS) if isinstance(kind, str) else None
    raise SettingsError(
        tr("there is no picture of the kind {kind!r}", kind=kind),
        expected=", ".join(KINDS),
        hint=tr("did you mean {near!r}?", near=near) if near else None,
    )


def boxes(settings: ModelSettings, vocab_size: int) -> list[Box]:
    """The parts of a network in the order in which data flow, with the shape of what comes out of each and its count.

    Args:
        settings: the shape of the network.
        vocab_size: symbols in the vocabulary.
    """
    logits = f"(batch, time, {vocab_size})"
    first = Box("input", "ids of symbols", "(batch, time)", None)
    if settings.cell == "counts":
        what = f"n-grams of up to {settings.order} symbols, interpolated modified Kneser-Ney"
        return [first, Box("counts", what, f"{logits} log-probabilities", None)]
    counts = parameters_by_part(settings, vocab_size)
    found = [first]
    if settings.codes:
        found.append(Box("codes", "each symbol as its id, one number", "(batch, time, 1)", 0))
    elif settings.embedding_dim is None:
        found.append(Box("one-hot", "each symbol as a one among zeros", logits, 0))
    else:
        found.append(Box("embedding", "each symbol as a vector", f"(batch, time, {settings.embedding_dim})", counts["embedding"]))
    for layer in range(settings.num_layers):
        part = f"{settings.cell} {layer + 1}"
        if settings.cell == "ngram":
            does = f"the last {settings.window} together, {settings.hidden_activation}"
        else:
            does = {"rnn": settings.hidden_activation, "gru": f"gates r, z, n; reset {settings.reset} the product"}.get(
                settings.cell, "gates i, f, g, o; state h and c"
            )
        found.append(Box(part, f"{does}", f"(batch, time, {settings.hidden_size})", counts[part]))
    weights = "the embedding's weights, and a bias" if settings.tied else "linear; softmax makes probabilities of the logits"
    return [*found, Box("output", weights, f"{logits} logits", counts["output"])]


def distribution(model: Model, context: str) -> Distribution:
    """The distribution of the symbol after a context, with its logits."""
    from escriba.writing import as_string, warn_once

    reader = Reader(model.engine, model.tokenizer)
    ids, unknown = reader.encode(as_string(context, "the context"))
    warn_once([(reader.notice(unknown),)] if unknown else [])
    position = reader.skip(reader.begin(), ids)
    symbols = tuple(model.tokenizer.symbols)
    if position.last is None:  # the start of a stream, which the network does not know
        log_probs, _ = reader.next_log_probs(position)
        return Distribution(log_probs, symbols, context)
    logits, _ = model.engine.step(np.array([position.last]), position.state)
    return Distribution(log_softmax(logits[0]), symbols, context, np.asarray(logits[0], dtype=np.float64))


def summary(model: Model) -> str:
    """A model as a notebook shows it: its network, its text, how its training went."""
    rows = []
    if model.config is not None:
        rows = [("network", _network(model.config.model)), ("parameters", f"{model.parameters:,}")]
    rows.append(("vocabulary", f"{model.tokenizer.vocab_size:,} symbols ({model.tokenizer.kind})"))
    begun, closing = model.run.last("begun").get("corpus", {}), model.run.last("finished") if model.run.finished else {}
    if begun:
        rows.append(("text", f"{begun['characters']:,} characters from {', '.join(begun['sources'][:5]) or 'Python'}"))
    if closing.get("steps") is not None:
        rows.append(("trained", f"{closing['steps']:,} steps, {duration(closing.get('elapsed_s') or 0.0)}"))
    if closing.get("loss_nats") is not None:
        rows.append(("held out", f"{closing['loss_nats']:.4f} nats a symbol, {closing['bits_per_char']:.4f} bits a character"))
    if model.folder is not None:
        rows.append(("folder", str(model.folder)))
    return table(rows, title="Escriba model")


def _embedding(model: Model, path: str | os.PathLike[str] | None, n: int | None = None) -> Figure:
    """The map of the most frequent symbols."""
    settings = _config(model).model
    why = {"counts": "it counts, and knows no vectors", "ngram": "its symbols enter as their codes"}.get(settings.cell, "")
    if settings.cell == "counts" or settings.codes or settings.embedding_dim is None:
        raise SettingsError(
            tr(
                "this model has no embedding: {codes}",
                codes=why if settings.cell == "counts" or settings.codes else "its symbols enter one-hot",
            ),
            expected=tr("a model with an embedding (embedding_dim)"),
        )
    most = ON_A_MAP if n is None else n
    if isinstance(most, bool) or not isinstance(most, int) or most < 3:
        raise SettingsError(tr("n is {most!r}: symbols on the map", most=most), expected=tr("an integer, 3 or more"))
    weights = model.net.get_weights() if model.net is not None else model._weights
    if weights is None:
        raise SettingsError(
            tr("this model's weights are not known here, so its embedding cannot be drawn"), expected=tr("a model that was loaded")
        )
    vectors, symbols = np.asarray(weights["embedding.weight"]), model.tokenizer.symbols
    counts = np.asarray(model.tokenizer.frequencies, dtype=np.float64)
    met = int(np.count_nonzero(counts)) or len(counts)  # what the text never had was never learnt
    often = np.argsort(-counts, kind="stable")[: min(most, met)]
    of_all = "" if len(often) == met else f": the {len(often)} most frequent of {len(symbols):,} symbols"
    return kept(path, lambda: embedding_map(vectors[often], [symbols[at] for at in often], title=f"The embedding as a map{of_all}"))


def _config(model: Model) -> Any:
    """How the model came to be.

    Raises:
        SettingsError: that is not known.
    """
    if model.config is None:
        raise SettingsError(
            tr("the shape of this model's network is not known"), expected=tr("a model that was loaded, trained, or made of a network")
        )
    return model.config


def _below(settings: ModelSettings) -> str:
    """What the boxes do not tell."""
    return f"in training, dropout {settings.dropout:g} before each layer and the output" if settings.dropout else ""


def _network(settings: ModelSettings) -> str:
    """A network by its name."""
    if settings.cell == "counts":
        return f"counting n-gram of order {settings.order}"
    name = f"neural {settings.window}-gram" if settings.cell == "ngram" else settings.cell
    layers = f", {settings.num_layers} layers" if settings.num_layers > 1 else ""
    return f"{name} of {settings.hidden_size:,}{layers}"
