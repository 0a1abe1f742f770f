"""Pictures of a model: its learning curve, its network, its embedding, what it expects next, what surprises it in a text.

It gathers what is to be drawn; how it is drawn stands in `outputs`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from escriba.errors import SettingsError, near_name
from escriba.language import later, tr
from escriba.outputs.drawings import Box, architecture
from escriba.outputs.figures import checked_file, kept
from escriba.outputs.page import table
from escriba.outputs.plots import embedding_map
from escriba.outputs.wording import duration
from escriba.settings import ModelSettings
from escriba.weights import parameters_by_part

if TYPE_CHECKING:
    from escriba.outputs.figures import Figure
    from escriba.using import Model

__all__ = ["KINDS", "boxes", "checked_kind", "draw", "summary"]

KINDS: Mapping[str, tuple[str, ...]] = {
    "curve": ("baselines",),
    "architecture": (),
    "embedding": ("n",),
    "surprisal": ("text", "after"),
    "next": ("context", "n"),
}
"""The pictures of a model, each with its options."""

OF_ONE = ("curve", "architecture", "embedding")
"""Those that show one network or its training."""

GATES: Mapping[str, str] = {
    "before": later("gates r, z, n; reset before the product"),
    "after": later("gates r, z, n; reset after the product"),
}
"""What a gru does, by where it resets."""

DOES: Mapping[str, str] = {
    "lstm": later("gates i, f, g, o; state h and c"),
    "mingru": later("gates z, n of the input alone"),
}
"""What the other cells do that have gates."""

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
    if model.members and kind in OF_ONE:
        raise SettingsError(
            tr("several models together have no picture of the kind {kind!r}", kind=kind),
            expected=tr("one of them, or {names}", names=", ".join(one for one in KINDS if one not in OF_ONE)),
        )
    if kind == "curve":
        return model.run.plot(path, **options)
    if kind == "next":
        return model.next(options.get("context", "")).plot(path, n=options.get("n"))
    if kind == "surprisal":
        if "text" not in options:
            raise SettingsError(tr("there is no text of which the surprisal is to be drawn"), expected="text=...")
        score = model.score(options["text"], options.get("after", ""), top=3)
        return score.page(path) if path is not None and path.suffix.lower() == ".html" else score.plot(path)
    if kind == "embedding":
        return _embedding(model, path, **options)
    config = _config(model)
    named = later("{network}: {count:,} n-grams") if config.model.cell == "counts" else later("{network}: {count:,} parameters")
    title = tr(named, network=_network(config.model), count=model.parameters)
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
    logits = _shape(vocab_size)
    first = Box(tr("input"), tr("ids of symbols"), tr("(batch, time)"), None)
    if settings.cell == "counts":
        what = tr("n-grams of up to {order} symbols, interpolated modified Kneser-Ney", order=settings.order)
        return [first, Box(tr("counts"), what, tr("{shape} log-probabilities", shape=logits), None)]
    counts = parameters_by_part(settings, vocab_size)
    found = [first]
    if settings.codes:
        found.append(Box(tr("codes"), tr("each symbol as its id, one number"), _shape(1), 0))
    elif settings.embedding_dim is None:
        found.append(Box(tr("one-hot"), tr("each symbol as a one among zeros"), logits, 0))
    else:
        found.append(Box(tr("embedding"), tr("each symbol as a vector"), _shape(settings.embedding_dim), counts["embedding"]))
    wide = _shape(settings.hidden_size)
    if "entry" in counts:
        found.append(Box(tr("entry"), tr("linear, to the width of the stack"), wide, counts["entry"]))
    for layer in range(settings.num_layers):
        part = f"{settings.cell} {layer + 1}"
        found.append(Box(part, _in_a_block(settings) if settings.residual else _does(settings), wide, counts[part]))
    if "norm" in counts:
        found.append(Box(tr("norm"), tr("each vector brought to one length, and weighed"), wide, counts["norm"]))
    weights = tr("the embedding's weights, and a bias") if settings.tied else tr("linear; softmax makes probabilities of the logits")
    return [*found, Box(tr("output"), weights, tr("{shape} logits", shape=logits), counts["output"])]


def _does(settings: ModelSettings) -> str:
    """What a layer does, by its cell."""
    if settings.cell == "ngram":
        return tr("the last {window} together, {activation}", window=settings.window, activation=settings.hidden_activation)
    if settings.cell == "rnn":
        return settings.hidden_activation
    return tr(GATES[settings.reset] if settings.cell == "gru" else DOES[settings.cell])


def _in_a_block(settings: ModelSettings) -> str:
    """What a block of a residual stack does."""
    steps = [tr("cell")]
    if settings.conv is not None:
        steps.insert(0, tr("convolution of {symbols}", symbols=settings.conv))
    if settings.mlp is not None:
        steps.append(tr("MLP of {width:,}", width=settings.mlp * settings.hidden_size))
    return tr("adds {steps}", steps=", ".join(steps))


def _shape(size: int) -> str:
    """The shape of what comes out of a part."""
    return tr("(batch, time, {size})", size=size)


def summary(model: Model) -> str:
    """A model as a notebook shows it: its network, its text, how its training went."""
    rows = []
    if model.members:
        names = ", ".join(str(one.folder) for one in model.members if one.folder is not None)
        rows = [(tr("together"), names or str(len(model.members))), (tr("parameters"), f"{model.parameters:,}")]
    elif model.config is not None:
        rows = [(tr("network"), _network(model.config.model)), (tr("parameters"), f"{model.parameters:,}")]
    vocabulary = tr("{count:,} symbols ({unit})", count=model.tokenizer.vocab_size, unit=model.tokenizer.kind)
    rows.append((tr("vocabulary"), vocabulary))
    if model.members:
        return table(rows, title=tr("Escriba model"))
    begun, closing = model.run.last("begun").get("corpus", {}), model.run.last("finished") if model.run.finished else {}
    if begun:
        sources = ", ".join(begun["sources"][:5]) or "Python"
        rows.append((tr("text"), tr("{characters:,} characters from {sources}", characters=begun["characters"], sources=sources)))
    if closing.get("steps") is not None:
        spent = duration(closing.get("elapsed_s") or 0.0)
        rows.append((tr("trained"), tr("{steps:,} steps, {duration}", steps=closing["steps"], duration=spent)))
    if closing.get("loss_nats") is not None:
        loss, bits = closing["loss_nats"], closing["bits_per_char"]
        rows.append((tr("held out"), tr("{loss:.4f} nats a symbol, {bits:.4f} bits a character", loss=loss, bits=bits)))
    if model.folder is not None:
        rows.append((tr("folder"), str(model.folder)))
    return table(rows, title=tr("Escriba model"))


def _embedding(model: Model, path: str | os.PathLike[str] | None, n: int | None = None) -> Figure:
    """The map of the most frequent symbols."""
    settings = _config(model).model
    if settings.cell == "counts" or settings.codes or settings.embedding_dim is None:
        if settings.cell == "counts":
            why = tr("this model has no embedding: it counts, and knows no vectors")
        elif settings.codes:
            why = tr("this model has no embedding: its symbols enter as their codes")
        else:
            why = tr("this model has no embedding: its symbols enter one-hot")
        raise SettingsError(why, expected=tr("a model with an embedding (embedding_dim)"))
    most = ON_A_MAP if n is None else n
    if isinstance(most, bool) or not isinstance(most, int) or most < 3:
        raise SettingsError(tr("n is {n!r}: symbols on the map", n=most), expected=tr("an integer, 3 or more"))
    weights = model.net.get_weights() if model.net is not None else model._weights
    if weights is None:
        raise SettingsError(
            tr("this model's weights are not known here, so its embedding cannot be drawn"), expected=tr("a model that was loaded")
        )
    vectors, symbols = np.asarray(weights["embedding.weight"]), model.tokenizer.symbols
    counts = np.asarray(model.tokenizer.frequencies, dtype=np.float64)
    met = int(np.count_nonzero(counts)) or len(counts)  # what the text never had was never learnt
    often = np.argsort(-counts, kind="stable")[: min(most, met)]
    title = (
        tr("The embedding as a map")
        if len(often) == met
        else tr("The embedding as a map: the {shown} most frequent of {count:,} symbols", shown=len(often), count=len(symbols))
    )
    return kept(path, lambda: embedding_map(vectors[often], [symbols[at] for at in often], title=title))


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
    if not settings.dropout:
        return ""
    if settings.residual:
        return tr("in training, dropout {share:g} of what enters, of what each block adds, and before the output", share=settings.dropout)
    return tr("in training, dropout {share:g} before each layer and the output", share=settings.dropout)


def _network(settings: ModelSettings) -> str:
    """A network by its name."""
    if settings.cell == "counts":
        return tr("counting n-gram of order {order}", order=settings.order)
    name = tr("neural {window}-gram", window=settings.window) if settings.cell == "ngram" else settings.cell
    name = tr("residual {cell}", cell=name) if settings.residual else name
    if settings.num_layers > 1:
        return tr("{cell} of {size:,}, {layers} layers", cell=name, size=settings.hidden_size, layers=settings.num_layers)
    return tr("{cell} of {size:,}", cell=name, size=settings.hidden_size)
