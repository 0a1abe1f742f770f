"""A model measured on whole texts: its held-out part found again, its loss with an error, and what is typical of its language.

It does not know how the model reads, nor how it was trained; `Model` in `using.py` hands its calls on to here.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escriba.archive import has_file, is_archive
from escriba.errors import CheckpointError, TextError, typed
from escriba.inference.evaluating import Measured, Progress, measure
from escriba.inference.typical import FILE, MOST_SYMBOLS, Typicality, load_typical, measure_typical, save_typical, weights_sha256
from escriba.language import later, tr
from escriba.settings import TextSettings
from escriba.text.again import held_out_text, was_a_table
from escriba.text.corpus import Corpus, read, read_beside
from escriba.text.vocabulary import normalized

if TYPE_CHECKING:
    from escriba.results import Score
    from escriba.using import Model

__all__ = ["Evaluation", "Typical", "Usual", "evaluate", "is_typical", "judged", "learn_typical", "text_to_measure"]

Source = str | os.PathLike[str] | Corpus | None


@dataclass(frozen=True)
class Evaluation:
    """How well a model foretells a whole text.

    Attributes:
        protocol: "stream" (the state carried through the text, or through each document), "window" (fresh windows), or "dynamic" (a stream
            from which the model goes on learning: not to be compared with the others).
        loss_nats: mean surprisal of a symbol, nats.
        standard_error: of loss_nats, as blocks of the text differ; None: there is only one block.
        bits_per_char: the same in bits, for each character.
        bits_per_byte: for each byte of the text in UTF-8.
        perplexity: exp(loss_nats); None where no number holds it.
        symbols: how many were scored.
        characters: for how many they stand.
        unknown: symbols that the model does not know, scored as <unk>.
        convention: in one line, what was measured.
        text_sha256: hash of the text without its blanks: the same for models that read one file, each in its way.
        blocks: nats, symbols and characters of each block, of which the standard error is made.
    """

    protocol: str
    loss_nats: float
    standard_error: float | None
    bits_per_char: float
    bits_per_byte: float
    perplexity: float | None
    symbols: int
    characters: int
    unknown: int
    convention: str
    text_sha256: str
    blocks: tuple[tuple[float, int, float], ...] = field(repr=False)

    @classmethod
    def of(cls, protocol: str, measured: Measured, part: Corpus) -> Evaluation:
        """The figures of what was measured on a text."""
        loss_nats = measured.loss_nats
        bits = loss_nats * measured.symbols / math.log(2)
        blocks = zip(
            measured.block_nats.tolist(), measured.block_symbols.tolist(), measured.block_characters.tolist(), strict=True
        )  # fmt: skip
        return cls(
            protocol,
            loss_nats,
            measured.standard_error,
            bits / max(1, measured.characters),
            bits / max(1, measured.bytes),
            math.exp(loss_nats) if loss_nats < 700.0 else None,
            measured.symbols,
            measured.characters,
            measured.unknown,
            measured.convention,
            _text_sha256(part),
            tuple(blocks),
        )

    @property
    def standard_error_bits(self) -> float | None:
        """The standard error of bits_per_char."""
        return None if self.standard_error is None else self.standard_error * self.bits_per_char / self.loss_nats if self.loss_nats else 0.0

    def minus(self, other: Evaluation) -> tuple[float, float | None]:
        """The difference in bits per character, and its standard error.

        Where both measured the same blocks of a text the error is that of the paired differences: what makes a passage hard for both
        falls out of it. Else the errors of the two are added as those of independent figures, which is too large for the same text.

        Returns:
            This one's bits per character less the other's, and the error; None: an error is not known.

        Raises:
            TextError: the two were measured on different texts.
        """
        if self.text_sha256 != other.text_sha256:
            raise TextError(
                tr(
                    "figures of different texts: {characters:,} characters (sha256 {sha256}) and {other_characters:,} ({other_sha256})",
                    characters=self.characters,
                    sha256=self.text_sha256[:12],
                    other_characters=other.characters,
                    other_sha256=other.text_sha256[:12],
                ),
                expected=tr("two evaluations on one text"),
            )
        difference = self.bits_per_char - other.bits_per_char
        mine, theirs = ([(symbols, characters) for _, symbols, characters in one.blocks] for one in (self, other))
        if mine == theirs and len(mine) > 1:
            nats = [a[0] - b[0] for a, b in zip(self.blocks, other.blocks, strict=True)]
            mean = sum(nats) / sum(characters for _, characters in mine)
            squares = sum((one - mean * characters) ** 2 for one, (_, characters) in zip(nats, mine, strict=True))
            return difference, math.sqrt(len(mine) / (len(mine) - 1) * squares) / math.log(2) / self.characters
        errors = (self.standard_error_bits, other.standard_error_bits)
        return difference, None if errors[0] is None or errors[1] is None else math.hypot(*errors)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        """The fields as ``escriba evaluate --json`` prints them."""
        return {name: value for name, value in asdict(self).items() if name != "blocks"}

    def __str__(self) -> str:
        figures = {"protocol": self.protocol, "loss": self.loss_nats, "bits": self.bits_per_char, "convention": self.convention}
        if self.standard_error is None:
            return tr("{protocol}: loss {loss:.4f} nats, {bits:.4f} bits per character ({convention})", **figures)
        return tr(
            "{protocol}: loss {loss:.4f} ± {error:.4f} nats, {bits:.4f} bits per character ({convention})",
            error=self.standard_error,
            **figures,
        )


@dataclass(frozen=True)
class Typical:
    """Whether a text is like those that the model was measured on. It is true if so.

    Attributes:
        share: of held-out texts that surprise the model less, 0 to 1.
        at: the share of typical texts that may be called atypical.
        beside: which held-out texts these are, in words: of about its length, or the longest or the shortest that were measured.
        false_alarm_rate: the share of held-out texts of the nearest length that was called atypical, as measured.
        pieces: among how many texts.
        bits_per_char: of the text.
        symbols: how many it has.
        convention: in one line, what was measured.
    """

    share: float
    at: float
    beside: str
    false_alarm_rate: float
    pieces: int
    bits_per_char: float
    symbols: int
    convention: str

    def __bool__(self) -> bool:
        return self.share <= 1.0 - self.at

    def as_dict(self) -> dict[str, Any]:
        """The fields as ``escriba score --typical --json`` prints them, the verdict first."""
        return {"typical": bool(self), **asdict(self)}

    def __str__(self) -> str:
        said = (
            later(
                "typical: more surprising than {share:.1f} % of {beside} "
                "(at {at:g}, where {alarms:.1f} % of {pieces:,} held-out texts were called not typical)"
            )
            if self
            else later(
                "not typical: more surprising than {share:.1f} % of {beside} "
                "(at {at:g}, where {alarms:.1f} % of {pieces:,} held-out texts were called not typical)"
            )
        )
        return tr(said, share=100 * self.share, beside=self.beside, at=self.at, alarms=100 * self.false_alarm_rate, pieces=self.pieces)


def _text_sha256(part: Corpus) -> str:
    """A hash of a text without its blanks, in which models that read one and the same file may differ."""
    digest = hashlib.sha256()
    for piece in part.pieces:
        digest.update("".join(normalized(piece, "NFC", "keep").split()).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _recorded(model: Model) -> object:
    """What the history of a model's training says of its text."""
    return model.run.last("begun").get("corpus")


def _held_out_hash(model: Model) -> object:
    recorded = _recorded(model)
    return recorded.get("held_out_sha256") if isinstance(recorded, dict) else None


def text_to_measure(model: Model, source: Source, text: str | None, encoding: str | None) -> Corpus:
    """What is to be measured on: a text read as the model's own was, or what it held out."""
    if source is not None and text is not None:
        raise TextError(tr("a source and a text at once"), expected=tr("one of them"))
    if source is None and text is None:
        command = typed("escriba", "evaluate", model.folder or "MODEL", "FILE")
        hint = tr("give a text: {command} (in Python: model.evaluate('FILE'))", command=command)
        if model.config is None:
            raise TextError(tr("it is not known how this model's text was read"), hint=hint)
        if len({_held_out_hash(one) for one in model.members}) > 1:
            raise TextError(tr("these models held out different texts, so some may have learnt what others held out"), hint=hint)
        return held_out_text(_recorded(model), model.config.text, model.config.train.seed, hint)
    if isinstance(source, Corpus):
        return source
    is_documents = model.tokenizer.eos_id is not None
    tokenizer = model.tokenizer
    settings = TextSettings(unit=tokenizer.kind) if model.config is None else model.config.text
    settings = settings.but(normalization=tokenizer.normalization, newlines=tokenizer.newlines)
    if encoding is not None:
        settings = settings.but(encoding=encoding)
    if source is not None:
        if not isinstance(source, str | os.PathLike):
            raise TextError(
                tr("the text to measure on is {source!r:.60}", source=source), expected=tr("a file, a text that was read, or text=...")
            )
        like = Corpus((), is_documents, (), (), settings)
        return read_beside([source], like, from_tables=bool(settings.column) and was_a_table(_recorded(model)))
    by = settings.documents if is_documents and settings.documents in ("line", "paragraph") else "line" if is_documents else "stream"
    corpus = read(text=text, settings=settings.but(from_line=None, to_line=None, documents=by, column=()))
    return corpus if corpus.is_documents == is_documents else replace(corpus, is_documents=True, pieces=("".join(corpus.pieces),))


def evaluate(
    model: Model,
    source: Source = None,
    *,
    text: str | None = None,
    protocol: str = "stream",
    window: int = 256,
    lanes: int | None = None,
    encoding: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """The loss of a model on a whole text. See `Model.evaluate`."""
    part = text_to_measure(model, source, text, encoding)
    if protocol == "dynamic":
        from escriba.dynamic import measure_dynamic

        return Evaluation.of(protocol, measure_dynamic(model, part, lanes=lanes, progress=progress), part)
    engine = model.engine_for(part.characters)
    measured = measure(engine, model.tokenizer, part, protocol=protocol, window=window, lanes=lanes, progress=progress)
    return Evaluation.of(protocol, measured, part)


class Usual:
    """What is typical for a model, read from its folder when it is first asked for.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: Typicality | CheckpointError | None = None
        self._sealed: str | None = None  # the hash of the weights of which it is known
        self._looked = self._warned = False

    def take(self, typicality: Typicality) -> None:
        """Takes what was measured just now."""
        self._known, self._looked, self._sealed = typicality, True, self._hash()

    def _hash(self) -> str | None:
        """Of the weights in memory, where they are known: those in the folder may be others by now."""
        weights = self._model._weights if self._model.net is None else self._model.net.get_weights()
        return None if weights is None else weights_sha256(weights)

    def find(self) -> Typicality | None:
        """What is typical; None: it was never measured.

        Raises:
            CheckpointError: the file is damaged, or of other weights.
        """
        if not self._looked:
            of_one = self._model.at is None and not self._model.members  # what was measured of a model is not that of several together
            folder = self._model.folder if of_one else None
            if folder is not None and has_file(folder / FILE):
                self._sealed = self._hash()
                try:
                    self._known = load_typical(folder, self._sealed)
                except CheckpointError as error:
                    self._known = error
            self._looked = True
        if isinstance(self._known, CheckpointError):
            raise self._known
        return self._known

    def find_or_warn(self) -> Typicality | None:
        """The same, but a file that cannot be used is told of, once, and not used."""
        try:
            return self.find()
        except CheckpointError as error:
            if not self._warned:
                warnings.warn(tr("{met}, so it is not used", met=error.met), UserWarning, stacklevel=4)
                self._warned = True
            return None

    def beside(self, symbols: int) -> str:
        """The held-out texts beside which one of so many symbols stands, in words."""
        typicality = self.find_or_warn()
        return tr("held-out texts") if typicality is None else typicality.beside(symbols)

    def write(self, folder: Path) -> None:
        """Writes it beside the weights of a folder, if it is known.

        Raises:
            CheckpointError: it is damaged, the folder holds other weights than those on which it was measured, or cannot be written to.
        """
        if (found := self.find()) is not None:
            save_typical(folder, found, self._sealed)

    def keep(self, folder: Path) -> None:
        """The same for a new folder, in which it may as well be missing."""
        with contextlib.suppress(CheckpointError):
            self.write(folder)


def judged(model: Model, score: Score) -> Score:
    """The score of a whole text from nothing, with the share of held-out texts that surprise less, where that is known."""
    typicality = model.usual.find_or_warn()
    if typicality is None or score.bits_per_char is None:
        return score
    return replace(score, more_surprising_than=typicality.share(score.bits_per_char, score.symbols))


def is_typical(model: Model, text: str, at: float) -> Typical:
    """Whether a text is typical. See `Model.is_typical`.

    Raises:
        TextError: the text is empty.
        CheckpointError: what is typical was not measured, or its file is damaged.
        SettingsError: the share is none of those that were measured.
    """
    typicality = model.usual.find()
    if typicality is None:
        of = model.folder or tr("this model")
        if model.members:
            words = tr("what is typical for several models together is kept nowhere")
            raise CheckpointError(words, hint=tr("measure it: in Python: model.measure_typical()"))
        if model.at:
            raise CheckpointError(
                tr("it was not measured what is typical for {model} at {moment}", model=of, moment=model.at),
                hint=tr("measure it: in Python: model.measure_typical()"),
            )
        command = typed("escriba", "evaluate", model.folder or "MODEL", "--typical")
        raise CheckpointError(
            tr("it was not measured what is typical for {model}", model=of),
            hint=tr("measure it: {command}; in Python: model.measure_typical()", command=command),
        )
    score = model.score(text)
    if score.bits_per_char is None:
        raise TextError(tr("an empty text is neither typical nor not"), expected=tr("a text of one symbol or more"))
    alarms, pieces = typicality.false_alarms(at, score.symbols)
    share = typicality.share(score.bits_per_char, score.symbols)
    beside, convention = typicality.beside(score.symbols), f"{score.convention}; {tr(typicality.convention)}"
    return Typical(share, at, beside, alarms / pieces, pieces, score.bits_per_char, score.symbols, convention)


def learn_typical(
    model: Model,
    source: Source = None,
    *,
    text: str | None = None,
    encoding: str | None = None,
    seed: int = 1,
    most_symbols: int = MOST_SYMBOLS,
    progress: Progress | None = None,
) -> Typicality:
    """Measures what is typical, and keeps it in the model's folder. See `Model.measure_typical`."""
    part = text_to_measure(model, source, text, encoding)
    if part.is_documents != (model.tokenizer.eos_id is not None):
        raise TextError(
            tr("{part!r} has not the form of the model's text", part=part), expected=tr("documents for documents, a stream for a stream")
        )
    engine = model.engine_for(min(MOST_SYMBOLS, part.characters))
    found = measure_typical(engine, model.tokenizer, part.encode(model.tokenizer), seed=seed, most_symbols=most_symbols, progress=progress)
    model.usual.take(found)
    if model.folder is not None and is_archive(model.folder):
        words = tr("{path} is one file, in which nothing more is kept: what is typical is forgotten at the end", path=model.folder)
        warnings.warn(words, UserWarning, stacklevel=3)
    elif model.folder is not None and model.at is None and not model.members:
        model.usual.write(model.folder)
    return found
