"""What a training will be, before it begins: parts, vocabulary, batches, network, size and time.

It knows nothing of folders; a text that was read and settings come in. How fast this machine is, `probe.py` measures.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from escriba.errors import SettingsError
from escriba.language import later, tr
from escriba.model.language_model import LanguageModel
from escriba.presets import Preset
from escriba.settings import ModelSettings, Settings, TrainSettings
from escriba.text.batches import Batches, documents, streams, windows
from escriba.text.corpus import Corpus, Parts
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import Tokenizer
from escriba.training.parts import characters_per_symbol, encoded_part, fit_tokenizer, sort_settings
from escriba.training.probe import Compute, pinned, probe
from escriba.training.step import estimate_speed
from escriba.weights import count_parameters

__all__ = ["Plan", "characters_per_symbol", "fit_tokenizer", "fitting_size", "make_batches", "prepare", "sort_settings"]

AMPLE = 1.5
"""How many times as long as is of use a time must be for the text's length to take its place: what it takes is only foretold."""
LEAST_STEPS = 150
"""Steps that even the shortest text is worth."""
LEAST_BATCH, SLOWER = 2, 1.6
"""Rows that a batch is made smaller to at most, and how much longer the same text takes in batches of half as many; both measured."""
NETWORK_SIZE = ("hidden_size", "embedding_dim", "num_layers")
"""The settings that are a network's size: who names one chooses them all."""
LEARNING_SHARE = 0.85
"""The share of a time that goes into learning; the rest is for reading, evaluations, samples and the last measurement."""


def make_batches(encoded: EncodedText, settings: TrainSettings) -> Batches:
    """The batches of the settings: "auto" is documents for documents and streams for a stream.

    Raises:
        SettingsError: documents are asked for, but the text is one stream.
    """
    mode = settings.examples
    if mode == "auto" and encoded.offsets is not None:
        batch_size, seq_len = documents_shape(encoded.offsets, settings)
        return documents(encoded, seq_len=seq_len, batch_size=batch_size, seed=settings.seed)
    if mode == "auto":
        mode = "streams"
    if mode == "documents" and encoded.offsets is None:
        raise SettingsError(
            tr("examples is 'documents', but the text is one stream"),
            expected=tr("a text of several documents"),
            hint=tr("--documents line, or paragraph"),
        )
    make = {"windows": windows, "streams": streams, "documents": documents}[mode]
    return make(encoded, seq_len=settings.seq_len, batch_size=settings.batch_size, seed=settings.seed)


def documents_shape(offsets: NDArray[np.int64], settings: TrainSettings) -> tuple[int, int]:
    """How many documents a batch, and their longest piece: about as many symbols a step as the settings' streams have.

    Names are short, so more of them are learnt from at once, up to 8 times batch_size; long documents are cut at 1,000 symbols.
    """
    lengths = np.diff(offsets) + 1
    seq_len = int(min(lengths.max(), max(settings.seq_len, 1000)))
    fitting = settings.batch_size * settings.seq_len / float(np.minimum(lengths, seq_len).mean())
    return int(np.clip(fitting, min(8, settings.batch_size), 8 * settings.batch_size)), seq_len


@dataclass(frozen=True)
class Plan:
    """A training that is ready to begin.

    Attributes:
        corpus: the text that was read.
        parts: its training, choosing and held-out parts.
        tokenizer: its symbols.
        encoded: the training part as ids.
        choosing: the choosing part as ids, or None.
        held_out: the held-out part as ids, or None.
        data: the batches.
        net: the network, untrained.
        train: how it will learn.
        compute: where it will learn, and how fast.
        notes: what was chosen for this machine, as sentences.
        whole: the batches of the training part and the choosing part that was cut from it, where both are to be learnt in the end.
        by_time: whether a time was asked for, by which much was chosen, even if epochs took its place.
    """

    corpus: Corpus
    parts: Parts
    tokenizer: Tokenizer
    encoded: EncodedText
    choosing: EncodedText | None
    held_out: EncodedText | None
    data: Batches
    net: LanguageModel
    train: TrainSettings
    compute: Compute
    notes: tuple[str, ...] = ()
    whole: Batches | None = None
    by_time: bool = False

    @property
    def parameters(self) -> int:
        """How many numbers the network learns."""
        return count_parameters(self.net.settings, self.tokenizer.vocab_size)

    def symbols_to_learn(self) -> float | None:
        """How many symbols training goes through, or None when a time is the measure."""
        if self.train.steps is not None:
            return self.train.steps * self.data.symbols_per_epoch / len(self.data)
        return (
            None
            if self.train.epochs is None
            else math.ceil(self.train.epochs * len(self.data)) * self.data.symbols_per_epoch / len(self.data)
        )

    def speed(self) -> float:
        """Symbols learnt a second: as the probe measured it, or else measured in two steps that leave the network as it was."""
        if self.compute.measured and self.compute.symbols_per_s > 0:
            return self.compute.symbols_per_s
        return estimate_speed(self.net, self.data, pinned(self.train, self.compute))


def prepare(
    corpus: Corpus,
    chosen: Preset,
    *,
    held_out: Corpus | None = None,
    choosing: Corpus | None = None,
    compute: Compute | None = None,
    named: Collection[str] = (),
    vocabulary: Tokenizer | None = None,
    choosing_is_learnt: bool = False,
) -> Plan:
    """Everything that training needs, from a text that was read and a preset.

    Args:
        corpus: the text.
        chosen: how large a network is to be, and how it is to learn.
        held_out: a part of the user's own to hold out, instead of the last tenth.
        choosing: a part of the user's own to choose the best weights by.
        compute: where to learn, as in an earlier run, whose size is then the preset's; None: measured.
        named: the settings that the user named: they are not chosen by the text and the machine; minutes may be more than is of use.
        vocabulary: the tokenizer to use; None: one is fitted to the text.
        choosing_is_learnt: the weights to begin with have learnt the choosing part: it is learnt from too, and nothing is chosen.

    Raises:
        SettingsError, TextError: the settings do not fit the text, or this machine.
    """
    parts = corpus.parts(seed=chosen.train.seed, held_out=held_out, choosing=choosing)
    if choosing_is_learnt and parts.choosing is not None:
        note = tr("the model to begin with has learnt the choosing part too: it is learnt from, and nothing is chosen by it")
        parts = replace(parts, train=parts.whole_train, choosing=None, notes=(*parts.notes, note))
    tokenizer = fit_tokenizer(corpus, parts) if vocabulary is None else vocabulary
    encoded = parts.train.encode(tokenizer)
    choosing_ids, held_out_ids = encoded_part(parts.choosing, tokenizer, "choosing"), encoded_part(parts.held_out, tokenizer, "held-out")
    data = make_batches(encoded, chosen.train)
    model, is_new, rows = chosen.model, compute is None, chosen.train.batch_size
    notes: tuple[str, ...] = ()
    if is_new and chosen.sizes and chosen.train.minutes is not None and not set(NETWORK_SIZE) & set(named):
        model, compute, notes = _sized(tokenizer.vocab_size, data, chosen, characters_per_symbol(parts.train, encoded))
    compute = compute or probe(LanguageModel(tokenizer.vocab_size, model), data, chosen.train)
    if is_new and not {"batch_size", "seq_len"} & set(named):
        chosen, data, compute = _in_small_batches(chosen, encoded, data, compute, named)
    epochs, most = _epochs(chosen.train, data, compute), _most_epochs(chosen, data)
    fitted = min(epochs, most) * math.sqrt(rows / chosen.train.batch_size)  # half the rows are twice the updates
    against = chosen.against_overfitting(fitted, data.symbols_per_epoch) if is_new and epochs else {}
    against = {name: value for name, value in against.items() if name not in named}
    net = LanguageModel(tokenizer.vocab_size, model.but(**_of(model, against)), seed=chosen.train.seed)
    train = chosen.train.but(**_of(chosen.train, against))
    if train.sample_length:  # a prompt that cannot be read is met now, not when the first sample is due
        tokenizer.encode(tokenizer.normalize(train.sample_prompt))
    whole = None
    if train.join is not None and parts.whole_train is not parts.train:
        whole = make_batches(parts.whole_train.encode(tokenizer), train)
    if is_new and epochs > AMPLE * most:
        train = train.but(minutes=None, epochs=round(most, 2))
        words = later("the text is read {epochs:.1f} times, which does not take {minutes:g} minutes: more would only be learnt by heart")
        notes += (tr(words, epochs=most, minutes=chosen.train.minutes),)
    return Plan(
        corpus,
        parts,
        tokenizer,
        encoded,
        choosing_ids,
        held_out_ids,
        data,
        net,
        train,
        compute,
        notes,
        whole,
        chosen.train.minutes is not None,
    )


def _in_small_batches(
    chosen: Preset, encoded: EncodedText, data: Batches, compute: Compute, named: Collection[str]
) -> tuple[Preset, Batches, Compute]:
    """A short text in smaller batches, so that it comes to enough updates, as long as there is time for that.

    The rate goes with the root of the rows; the speed is foretold, not measured again.
    """
    train, rows = chosen.train, chosen.train.batch_size
    while (
        train.batch_size > LEAST_BATCH
        and len(data) * _most_epochs(chosen, data) < chosen.enough_steps
        and _epochs(train, data, compute) > AMPLE * SLOWER * _most_epochs(chosen, data)
    ):
        train = train.but(batch_size=train.batch_size // 2)
        data = make_batches(encoded, train)
        compute = replace(compute, symbols_per_s=compute.symbols_per_s / SLOWER)
    if "learning_rate" not in named:
        train = train.but(learning_rate=float(f"{train.learning_rate * math.sqrt(train.batch_size / rows):.2g}"))
    return chosen._replace(train=train), data, compute


def _most_epochs(chosen: Preset, data: Batches) -> float:
    """How often the text is read at most."""
    return math.inf if chosen.train.minutes is None else max(chosen.most_epochs(data.symbols_per_epoch), LEAST_STEPS / len(data))


def _epochs(train: TrainSettings, data: Batches, compute: Compute) -> float:
    """How often the text will be read; 0 where that cannot be foretold."""
    if train.minutes is not None:
        return 60.0 * train.minutes * LEARNING_SHARE * compute.symbols_per_s / data.symbols_per_epoch
    return train.epochs or (train.steps or 0) / len(data)


def _of(settings: Settings, values: Mapping[str, float]) -> dict[str, float]:
    """Those of the values that are settings of this kind."""
    return {name: value for name, value in values.items() if name in settings.fields}


def fitting_size(parameters: Sequence[int], symbols: Sequence[float], needed: float, most: float = math.inf) -> int:
    """Which of several sizes to take, the smallest first: the last that learns from enough symbols, or else the first.

    Where that one would have read the text as often as is of use before the time is over, the next larger one needs less, down to half.

    Args:
        parameters: of a network of each size.
        symbols: how many each could learn from in the time there is.
        needed: symbols for each parameter.
        most: symbols that are of use, those that are read again counted again.
    """
    at = max((at for at, count in enumerate(parameters) if symbols[at] >= needed * count), default=0)
    while at + 1 < len(parameters) and symbols[at] > most:
        if symbols[at + 1] < needed * parameters[at + 1] * max(0.5, most / symbols[at]):
            break
        at += 1
    return at


def _sized(vocab_size: int, data: Batches, chosen: Preset, characters: float) -> tuple[ModelSettings, Compute, tuple[str, ...]]:
    """The network of the size that fits the time on this machine, where it learns, and a sentence if it is not the preset's own.

    The preset's own network is measured; by its speed, for work goes with the parameters, a size is chosen, measured itself, and
    by that measurement chosen again. How large a network should be depends on its inner parameters, not on the vocabulary's.
    """
    train, own = chosen.train, (chosen.model.num_layers, chosen.model.hidden_size)
    models = [_of_size(chosen.model, *size) for size in sorted({*chosen.sizes, own})]
    work, inner = ([count_parameters(model, symbols) for model in models] for symbols in (vocab_size, 1))
    seconds = 60.0 * (train.minutes or 0.0) * LEARNING_SHARE
    most = chosen.most_epochs(data.symbols_per_epoch) * data.symbols_per_epoch
    at = models.index(chosen.model)

    def measured(at: int, train: TrainSettings) -> Compute:
        return probe(LanguageModel(vocab_size, models[at], seed=train.seed), data, train)

    def chosen_by(compute: Compute, at: int) -> int:
        done = seconds * compute.symbols_per_s * work[at]
        return fitting_size(inner, [done / count for count in work], chosen.symbols_per_parameter, most)

    compute = measured(at, pinned(train))
    if not compute.measured:
        return chosen.model, compute, ()
    first = chosen_by(compute, at)
    compute = measured(first, train)
    at = chosen_by(compute, first)
    if at != first:
        compute = measured(at, pinned(train, compute))
    model = models[at]
    if model == chosen.model:
        return model, compute, ()
    per_s = compute.symbols_per_s * characters
    words = {
        "size": model.hidden_size,
        "own": own[1],
        "layers": model.num_layers,
        "own_layers": own[0],
        "per_second": _rounded(per_s),
        "characters": _rounded(per_s * seconds),
        "minutes": train.minutes,
    }
    several = later(
        "{layers} layers of {size} instead of {own_layers} of {own}: this machine learns about {per_second:,} characters a second with "
        "them, {characters:,} in {minutes:g} minutes; too few for more (--num-layers and --hidden-size take it all the same)"
    )
    one = later(
        "hidden_size {size} instead of {own}: this machine learns about {per_second:,} characters a second with it, "
        "{characters:,} in {minutes:g} minutes; too few for {own} (hidden_size {own} takes it all the same)"
    )
    return model, compute, (tr(several if model.residual else one, **words),)


def _of_size(model: ModelSettings, layers: int, size: int) -> ModelSettings:
    """The same kind of network, with the embedding as much smaller as the state."""
    embedding = model.embedding_dim
    return model.but(num_layers=layers, hidden_size=size, embedding_dim=embedding and max(1, embedding * size // model.hidden_size))


def _rounded(value: float) -> int:
    """To two digits: more would look exact."""
    return int(float(f"{value:.2g}"))
