"""What can be set, with its default, its bounds and a sentence of help, said once for every face.

It knows nothing of how a setting is used; the presets are in `presets.py` beside it.
"""

from __future__ import annotations

import re
import types
import typing
from typing import Any, Literal

from escriba.fields import Settings, setting
from escriba.language import tr

__all__ = ["ModelSettings", "SampleSettings", "Settings", "TextSettings", "TrainSettings"]


def one_column(value: object) -> object:
    """The names of columns; one may be given alone."""
    return (value,) if isinstance(value, str) else value


def epoch_or_number(value: object) -> object:
    """The word epoch, or a number of steps as it is typed."""
    typed = str(value).strip() if isinstance(value, int | str) else ""
    if value is not None and not re.fullmatch("epoch|[1-9][0-9]{0,8}", typed):
        raise ValueError(tr("the word epoch, or a number of steps, 1 to 999,999,999"))
    return None if value is None else typed


def known_device(value: object) -> object:
    """A device that there could be."""
    if isinstance(value, str) and not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?|mps", value):
        raise ValueError(tr("auto, cpu, cuda, mps, or one of several GPUs as cuda:1"))
    return value


def auto_is_none(value: object) -> object:
    """The word auto means what None means: measured."""
    return None if value == "auto" else value


class TextSettings(Settings):
    """How a text is read and cut into symbols."""

    unit: Literal["char", "word", "byte"] = setting("char", description="what one symbol is: a character, a word, or a byte")
    documents: Literal["auto", "stream", "line", "paragraph"] = setting(
        "auto", description="take a plain text as one stream, or each line or paragraph as a document"
    )
    column: tuple[str, ...] = setting(
        (), description="column of a table, by name or number from 1; several are joined with a blank", before=one_column
    )
    label_column: str | None = setting(
        None, min_length=1, max_length=1000, description="column of a table that comes first in each document, as its label"
    )
    header: bool = setting(True, description="whether the first row of a table holds the names of its columns")
    encoding: str = setting("utf-8", min_length=1, max_length=40, description="encoding of the text, any codec of Python")
    newlines: Literal["lf", "keep"] = setting("lf", description="turn CRLF and CR into LF, or keep them")
    normalization: Literal["NFC", "none"] = setting("NFC", description="Unicode normalization (never NFKC: it changes texts)")
    from_line: int | None = setting(None, ge=1, description="first line to read, from 1")
    to_line: int | None = setting(None, ge=1, description="last line to read")
    strip_gutenberg: bool = setting(False, description="leave out a Project Gutenberg header and licence")
    min_count: int = setting(1, ge=1, le=1_000_000, description="symbols rarer than this in the training part become <unk>")
    max_vocab_size: int | None = setting(
        None, ge=3, le=10_000_000, description="most symbols, special ones included; the rarest others become <unk>; none: all"
    )
    unknown: bool = setting(True, description="keep id 0 for symbols never seen; without it an unseen symbol is an error")
    fingerprint: bool = setting(True, description="keep hashes of the documents that were learnt, so that new ones can be told")
    val_fraction: float = setting(0.1, ge=0.0, le=0.5, description="share of the text that is held out and only ever measured")

    def _consistent(self) -> None:
        if self.from_line is not None and self.to_line is not None and self.to_line < self.from_line:
            raise ValueError(tr("to_line is {to_line}, before from_line, {from_line}", to_line=self.to_line, from_line=self.from_line))
        if not self.unknown and self.min_count > 1:
            raise ValueError(tr("min_count is {min_count}, but without <unk> every symbol must be kept", min_count=self.min_count))
        if not self.unknown and self.max_vocab_size is not None:
            raise ValueError(tr("max_vocab_size is {most}, but without <unk> every symbol must be kept", most=self.max_vocab_size))


class ModelSettings(Settings):
    """The shape of a network. The vocabulary's size is not among them: the tokenizer gives it."""

    cell: Literal["rnn", "gru", "lstm", "mingru", "ngram", "counts"] = setting(
        "gru",
        description=(
            "the recurrent cell; mingru learns in parallel over time, best in a residual stack; ngram: a neural n-gram; "
            "counts: an n-gram that counts (Kneser-Ney), learnt in seconds"
        ),
    )
    embedding_dim: int | None = setting(256, ge=1, le=16_384, description="numbers per symbol at the input; none: one-hot input")
    hidden_size: int = setting(1024, ge=1, le=16_384, description="numbers in the state of one layer")
    num_layers: int = setting(1, ge=1, le=32, description="recurrent layers, one upon the other")
    dropout: float = setting(0.0, ge=0.0, le=0.95, description="share of activations dropped in training, before each layer and the output")
    symbol_dropout: float = setting(0.0, ge=0.0, le=0.95, description="share of input symbols blotted out in training: zeros enter there")
    activation: Literal["auto", "tanh", "relu", "sigmoid"] = setting(
        "auto", description="activation of the rnn cell and of the ngram's hidden layer; auto: tanh for rnn, sigmoid for ngram"
    )
    reset: Literal["after", "before"] = setting(
        "after", description="gru: the reset gate works after the recurrent product (two biases) or before it (one)"
    )
    embedding_scale: float = setting(
        0.05,
        gt=0.0,
        le=10.0,
        description="the embedding's first weights are uniform in plus or minus this; 0.05 is the lessons', 1 learns sooner",
    )
    tied: bool = setting(False, description="the output layer uses the embedding's weights; needs embedding_dim = hidden_size")
    window: int = setting(3, ge=1, le=64, description="ngram: how many symbols it sees")
    codes: bool = setting(
        False, description="ngram: each symbol enters as its id, one number, as in the lesson; neither embedded nor one-hot"
    )
    order: int = setting(6, ge=1, le=8, description="counts: the longest n-gram that is counted, the next symbol included")
    residual: bool = setting(
        False, description="each layer is a block whose output is added to its input: norm, convolution, cell, gate, MLP"
    )
    conv: int | None = setting(
        4, ge=1, le=64, description="residual: symbols that the convolution before each cell sees; none: no convolution"
    )
    mlp: int | None = setting(
        2, ge=1, le=16, description="residual: inner width of the gated MLP after each cell, times hidden_size; none: no MLP"
    )

    @property
    def hidden_activation(self) -> Literal["tanh", "relu", "sigmoid"]:
        """The activation of an rnn cell or of an ngram's hidden layer, with auto made out."""
        if self.activation == "auto":
            return "sigmoid" if self.cell == "ngram" else "tanh"
        return self.activation

    def _consistent(self) -> None:
        if self.tied and self.embedding_dim != self.hidden_size:
            raise ValueError(
                tr(
                    "a tied output needs embedding_dim ({embedding_dim}) equal to hidden_size ({hidden_size})",
                    embedding_dim=self.embedding_dim,
                    hidden_size=self.hidden_size,
                )
            )
        if self.cell not in ("rnn", "ngram") and self.activation not in ("auto", "tanh"):
            raise ValueError(
                tr(
                    "activation {activation!r} is for the rnn cell and the ngram; {cell} has its own",
                    activation=self.activation,
                    cell=self.cell,
                )
            )
        if self.cell != "gru" and self.reset != "after":
            raise ValueError(tr("reset {reset!r} is for the gru cell, not for {cell}", reset=self.reset, cell=self.cell))
        for name, cell in (("window", "ngram"), ("codes", "ngram"), ("order", "counts")):
            if self.cell != cell and getattr(self, name) != self.fields[name].default:
                raise ValueError(tr("{name} is for {cell}, not for {other}", name=name, cell=cell, other=self.cell))
        if self.codes and self.tied:
            raise ValueError(tr("a tied output needs an embedding, and codes is the input without one"))
        self._consistent_stack()

    def _consistent_stack(self) -> None:
        """Refuses what does not fit into a residual stack, and what fits nowhere else."""
        if self.residual and (self.codes or self.cell == "counts"):
            raise ValueError(tr("{what} does not fit into a residual stack", what="codes" if self.codes else self.cell))
        for name in ("conv", "mlp"):
            if not self.residual and getattr(self, name) != self.fields[name].default:
                raise ValueError(tr("{name} is for a residual stack: residual=yes", name=name))


class TrainSettings(Settings):
    """How a network learns."""

    examples: Literal["auto", "windows", "streams", "documents"] = setting(
        "auto", description="shuffled windows, continuous streams with the state carried, or padded documents"
    )
    batch_size: int = setting(64, ge=1, le=65_536, description="sequences learnt from at once")
    seq_len: int = setting(100, ge=1, le=100_000, description="symbols per sequence; for documents the longest piece")
    optimizer: Literal["adam", "adamw", "muon", "rmsprop", "sgd"] = setting(
        "adam", description="the optimizer; muon: orthogonal updates for the layers' matrices, adamw for the rest"
    )
    learning_rate: float = setting(1e-3, gt=0.0, le=10.0, description="the highest learning rate")
    beta1: float = setting(0.9, ge=0.0, lt=1.0, description="decay of the mean of gradients (adam, adamw, muon), momentum (sgd)")
    beta2: float = setting(0.999, ge=0.0, lt=1.0, description="decay of the mean of squared gradients (adam, adamw, muon, rmsprop)")
    epsilon: float = setting(1e-8, gt=0.0, le=1.0, description="added to the divisor of adam, adamw, muon and rmsprop")
    weight_decay: float = setting(
        0.0, ge=0.0, le=10.0, description="weight decay on matrices (adamw, sgd), on those between vectors of the network (muon)"
    )
    schedule: Literal["constant", "cosine", "linear", "plateau"] = setting(
        "constant", description="how the learning rate goes after the warm-up"
    )
    final_rate: float = setting(0.0, ge=0.0, le=1.0, description="the last rate of cosine and linear, as a share of the highest")
    warmup_steps: int = setting(0, ge=0, le=1_000_000, description="steps over which the rate rises to its highest")
    plateau_patience: int = setting(3, ge=1, le=1000, description="plateau: evaluations without gain before the rate is halved")
    clip_norm: float | None = setting(None, gt=0.0, le=1e6, description="longest gradient; a longer one is shortened; none: never")
    averaging: float | None = setting(
        None, gt=0.0, lt=1.0, description="decay of an average of the weights, kept instead of the last; none: off"
    )
    join: float | None = setting(
        None,
        ge=0.0,
        lt=1.0,
        description="share of the training after which the choosing part is learnt too, unless the network overfits; none: never",
    )
    steps: int | None = setting(None, ge=0, le=1_000_000_000, description="steps (updates) to train")
    epochs: float | None = setting(None, gt=0.0, le=100_000.0, description="times through the training text")
    minutes: float | None = setting(None, gt=0.0, le=100_000.0, description="minutes for the whole command")
    patience: int | None = setting(
        None, ge=1, le=10_000, description="evaluations without gain, an epoch at least, before training stops early; none: never"
    )
    eval_every: int | None = setting(None, ge=1, description="steps between evaluations; none: ten in all")
    sample_every: int | None = setting(None, ge=1, description="steps between samples; none: with every other evaluation")
    sample_length: int = setting(200, ge=0, le=100_000, description="characters in a sample; 0: no samples")
    sample_temperatures: tuple[float, ...] = setting((0.5, 0.8, 1.0), description="temperatures of the samples")
    sample_prompt: str = setting("", max_length=10_000, description="what the samples go on from")
    keep_every: str | None = setting(
        None, description="also keep the weights of every epoch, or of every N steps: epoch, or a number", before=epoch_or_number
    )
    scheduled_sampling: float = setting(
        0.0, ge=0.0, le=1.0, description="share of inputs that are the network's own symbols at the end of training; it rises from 0"
    )
    seed: int = setting(1, ge=0, lt=2**63, description="seed of weights, order and dropout")
    precision: Literal["auto", "float32", "bf16"] = setting(
        "auto", description="precision of the products in training; auto: the fastest, bf16 only where the hardware multiplies it"
    )
    device: str = setting(
        "auto", description="where to train: cpu, cuda, cuda:1 or mps; auto: the fastest that is there", before=known_device
    )
    threads: int | None = setting(
        None, ge=1, le=1024, description="threads of the processor; none, or auto: the fastest number", before=auto_is_none
    )

    def _consistent(self) -> None:
        lengths = {"steps": self.steps, "epochs": self.epochs, "minutes": self.minutes}
        given = [f"{name} ({value:g})" for name, value in lengths.items() if value is not None]
        if len(given) > 1:
            raise ValueError(tr("give one of steps, epochs and minutes, not {given}", given=tr(" and ").join(given)))
        if not all(0.0 <= temperature <= 100.0 for temperature in self.sample_temperatures):
            raise ValueError(_out_of_range("sample_temperatures", self.sample_temperatures))


class SampleSettings(Settings):
    """How symbols are drawn from the model's distribution."""

    temperature: float = setting(0.8, ge=0.0, le=100.0, description="0 always takes the likeliest; 1 is the model's own; more is wilder")
    top_k: int | None = setting(None, ge=1, description="draw from the k likeliest symbols only")
    top_p: float | None = setting(None, gt=0.0, le=1.0, description="draw from the fewest symbols whose probabilities reach p")
    min_p: float | None = setting(None, ge=0.0, le=1.0, description="leave out symbols less likely than this share of the likeliest")
    temperature_cycle: tuple[float, ...] = setting(
        (), max_length=1000, description="temperatures used in turn, one for each next symbol, instead of temperature"
    )
    no_repeat: int | None = setting(
        None, ge=2, le=100_000, description="never write a run of so many symbols that already stands in the text, its prompt included"
    )

    def _consistent(self) -> None:
        if not all(0.0 <= temperature <= 100.0 for temperature in self.temperature_cycle):
            raise ValueError(_out_of_range("temperature_cycle", self.temperature_cycle))
        if self.temperature_cycle and self.temperature != self.fields["temperature"].default:
            raise ValueError(
                tr(
                    "temperature is {temperature:g} and temperature_cycle {cycle}; give one of them",
                    temperature=self.temperature,
                    cycle=self.temperature_cycle,
                )
            )


def _out_of_range(name: str, temperatures: tuple[float, ...]) -> str:
    return tr("{name} is {temperatures}; each must lie in 0 to 100", name=name, temperatures=temperatures)


def field_help(settings: type[Settings], name: str) -> str:
    """The sentence of help of one setting, with its default."""
    field = settings.fields[name]
    return tr("{described} [default: {default}]", described=tr(field.description or name), default=shown(field.default))


def shown(value: object) -> str:
    """A value as a person types it: none for None, commas for tuples."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def from_typed(settings: type[Settings], name: str, typed: str) -> Any:
    """A value typed by a person, for the field `name`: ``none`` is off, commas make a tuple, ``yes``/``no`` a truth."""
    kind = settings.fields[name].annotation
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if typed.lower() == "none" and type(None) in kinds:
        return None
    if any(typing.get_origin(one) is tuple for one in kinds):
        return tuple(part.strip() for part in typed.split(",") if part.strip())
    if bool in kinds and typed.lower() in ("yes", "no"):
        return typed.lower() == "yes"
    return typed
