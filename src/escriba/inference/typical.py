"""What is usual: how surprising held-out texts of each length are to a model, kept as quantiles, with the false alarms measured.

It does not know how the held-out part was chosen, nor what is judged by it. The file is told in docs/reference/format.md.

Shapes: V vocabulary, N symbols, P pieces.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from escriba.archive import has_file
from escriba.engine.protocol import Engine, Floats, Ids
from escriba.errors import CheckpointError, SettingsError, TextError, typed
from escriba.inference.evaluating import Progress, characters_by_id
from escriba.inference.reading import Reader
from escriba.language import later, tr
from escriba.tensorfile import DTYPES, canonical_json, data_sha256, read_json, read_tensors, replace_file
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import ByteTokenizer, Tokenizer
from escriba.weights import COUNTED

__all__ = ["ATS", "FILE", "Group", "Typicality", "load_typical", "measure_typical", "save_typical", "weights_sha256"]

FILE = "typical.json"
FORMAT_VERSION = 1
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Symbols of the pieces of a stream; documents are cut at the last."""
ATS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
"""Shares of typical texts that may be called atypical; for each the share that really is was measured."""
LEVELS = (
    *(0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
    *(0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0),
)  # fmt: skip
FEWEST = 200
"""Pieces of a length, both halves together, below which nothing is said of it: a hundred to tell 1 in 100 by, and a hundred to check."""
MOST = 2_000
DIGITS = 4
"""Decimals of bits that are kept and compared: the last bits differ between batches and machines, and equal texts must stay equal."""
MOST_SYMBOLS = 300_000
GROUPS = 8
"""Lengths into which documents are sorted, at most."""
_CONVENTION = {
    False: later("pieces of the held-out part from the beginning of a word or line, scored from nothing, first symbol by frequencies"),
    True: later("held-out documents from their beginning, of long ones the first 512 symbols; <eos> not counted"),  # LENGTHS[-1]
}


@dataclass(frozen=True)
class Group:
    """Held-out texts of one length.

    Attributes:
        length: their symbols; of documents the geometric mean.
        quantiles: their bits per character at each of `LEVELS`.
        fitted: how many texts the quantiles are of.
        pieces: how many other texts the false alarms were counted among.
        alarms: how many of these were called atypical at each of `ATS`.
    """

    length: float
    quantiles: tuple[float, ...]
    fitted: int
    pieces: int
    alarms: tuple[int, ...]


@dataclass(frozen=True)
class Typicality:
    """Held-out bits per character by length.

    Attributes:
        convention: what was measured, in a line: English, as the file has it, and said by `tr`.
        groups: one or more, the shortest texts first.
    """

    convention: str
    groups: tuple[Group, ...]

    def share(self, bits_per_char: float, length: int) -> float:
        """The share of held-out texts of about this length that surprise the model less, 0 to 1.

        Quantiles are interpolated over the logarithm of the length; beyond the longest texts that were measured, theirs are taken, which
        spread wider than those of longer texts. Of n texts the share is never said to be below 1 / (n + 1) or above n / (n + 1).

        Args:
            bits_per_char: of the text, as `Scorer` measures it from nothing.
            length: its symbols, 1 or more.
        """
        below, above, weight = self._around(length)
        bits_per_char = round(bits_per_char, DIGITS)
        quantiles = (1.0 - weight) * np.array(below.quantiles) + weight * np.array(above.quantiles)
        at = int(np.searchsorted(quantiles, bits_per_char, side="left"))  # the first that is no less: equal ones do not surprise less
        if at == 0:
            found = 0.0
        elif at == len(LEVELS):
            found = 1.0
        else:
            step = (bits_per_char - quantiles[at - 1]) / (quantiles[at] - quantiles[at - 1])
            found = LEVELS[at - 1] + step * (LEVELS[at] - LEVELS[at - 1])
        least = 1.0 / (min(below.fitted, above.fitted) + 1)
        return float(min(max(found, least), 1.0 - least))

    def beside(self, length: int) -> str:
        """The held-out texts beside which one of a length is judged, in words."""
        first, last = self.groups[0].length, self.groups[-1].length
        if first <= length <= last:
            return tr("held-out texts of about this length")
        if length < first:
            return tr("held-out texts of about {symbols:,.0f} symbols, the shortest that were measured", symbols=first)
        return tr("held-out texts of about {symbols:,.0f} symbols, the longest that were measured", symbols=last)

    def is_alarm(self, bits_per_char: float, length: int, at: float) -> bool:
        """Whether a text surprises more than all but the share `at` of held-out texts of about its length."""
        return self.share(bits_per_char, length) > 1.0 - at

    def false_alarms(self, at: float, length: int) -> tuple[int, int]:
        """How many held-out texts of the measured length nearest to this were called atypical, and among how many.

        Raises:
            SettingsError: `at` is none of those that were measured, or too small for so few texts.
        """
        below, above, weight = self._around(length)
        usable = [one for one in ATS if one * (min(below.fitted, above.fitted) + 1) > 1.0]
        if isinstance(at, bool) or at not in usable:
            few = later("at is {at!r}: there are quantiles of {texts:,} texts of about {symbols:,} symbols")
            met = tr(few, at=at, texts=min(below.fitted, above.fitted), symbols=length) if at in ATS else tr("at is {at!r}", at=at)
            raise SettingsError(met, expected=tr("one of {choices}", choices=", ".join(map(str, usable))))
        nearest = below if weight < 0.5 else above
        return nearest.alarms[ATS.index(at)], nearest.pieces

    def table(self) -> list[dict[str, float]]:
        """For each length the bits per character that 1 %, half and 99 % of held-out texts stay below, and the alarms at 0.01."""
        levels = {"low": LEVELS.index(0.01), "half": LEVELS.index(0.5), "high": LEVELS.index(0.99)}
        return [
            {"length": one.length, "fitted": one.fitted, "pieces": one.pieces, "alarms": one.alarms[ATS.index(0.01)]}
            | {name: one.quantiles[level] for name, level in levels.items()}
            for one in self.groups
        ]

    def _around(self, length: int) -> tuple[Group, Group, float]:
        """The groups below and above a length, and how far it stands from the one to the other, 0 to 1."""
        lengths = [group.length for group in self.groups]
        above = int(np.searchsorted(lengths, length))
        if above in (0, len(lengths)):
            only = self.groups[min(above, len(lengths) - 1)]
            return only, only, 0.0
        low, high = lengths[above - 1], lengths[above]
        return self.groups[above - 1], self.groups[above], math.log(length / low) / math.log(high / low)

    def to_json(self) -> dict[str, Any]:
        """The content of typical.json, but for the weights to which it belongs."""
        groups = [
            {"length": one.length, "quantiles": list(one.quantiles), "fitted": one.fitted, "pieces": one.pieces, "alarms": list(one.alarms)}
            for one in self.groups
        ]
        return {"convention": self.convention, "levels": list(LEVELS), "ats": list(ATS), "groups": groups}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Typicality:
        """The opposite of `to_json`.

        Raises:
            CheckpointError: a key is missing or unknown, or a number is of the wrong kind or out of its range.
        """
        _keys(value, {"convention", "levels", "ats", "groups"}, later("it holds {value!r:.60}"))
        convention, groups = value["convention"], value["groups"]
        _see(isinstance(convention, str) and len(convention) <= 1000 and "\n" not in convention, tr("its convention is no line of text"))
        kept = tr("{levels} and {ats}", levels=list(LEVELS), ats=list(ATS))
        _see(value["levels"] == list(LEVELS) and value["ats"] == list(ATS), tr("its levels are others"), kept)
        are_groups = isinstance(groups, list) and 1 <= len(groups) <= 100
        _see(are_groups, tr("its groups are no list of lengths"), tr("1 to 100 of them"))
        found = tuple(_group(group) for group in groups)
        _see(all(one.length < other.length for one, other in pairwise(found)), tr("its lengths do not grow"), tr("the shortest first"))
        return cls(convention, found)


def _see(right: bool, met: str, expected: str | None = None) -> None:
    if not right:
        raise CheckpointError(met, expected=expected)


def _keys(value: Any, names: set[str], other: str) -> None:
    there = isinstance(value, Mapping)
    _see(there and set(value) == names, tr(other, value=sorted(value) if there else value), f"{sorted(names)}")


def _group(value: Any) -> Group:
    """One group of the file, checked."""
    _keys(value, {"length", "quantiles", "fitted", "pieces", "alarms"}, later("a group holds {value!r:.60}"))
    length, quantiles, alarms = value["length"], value["quantiles"], value["alarms"]
    long = tr("a group's length is {length!r:.60}", length=length)
    _see(_is_number(length) and 1 <= length <= 1e9, long, tr("symbols, 1 or more"))
    are_bits = isinstance(quantiles, list) and all(_is_number(one) and 0 <= one <= 1e6 for one in quantiles)
    bits = tr("{count} numbers of bits, 0 or more", count=len(LEVELS))
    _see(are_bits and len(quantiles) == len(LEVELS), tr("a group's quantiles are not those of its levels"), bits)
    _see(sorted(quantiles) == quantiles, tr("a group's quantiles fall"), tr("numbers that never fall"))
    for name in ("fitted", "pieces"):
        is_count = type(value[name]) is int and 1 <= value[name] <= 10**9
        _see(is_count, tr("a group's {name} is {value!r:.60}", name=name, value=value[name]), tr("a whole number, 1 or more"))
    are_counts = isinstance(alarms, list) and all(type(one) is int and 0 <= one <= value["pieces"] for one in alarms)
    counts = tr("{count} whole numbers, 0 to {most}", count=len(ATS), most=value["pieces"])
    _see(are_counts and len(alarms) == len(ATS), tr("a group's alarms are not those of its pieces"), counts)
    return Group(float(length), tuple(map(float, quantiles)), value["fitted"], value["pieces"], tuple(alarms))


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def measure_typical(
    engine: Engine,
    tokenizer: Tokenizer,
    held_out: EncodedText,
    *,
    seed: int = 1,
    most_symbols: int = MOST_SYMBOLS,
    progress: Progress | None = None,
) -> Typicality:
    """Scores pieces of a held-out part, each from nothing as `Scorer` does, and keeps their bits per character by length.

    Pieces of a length do not overlap. One half, drawn by the seed, gives the quantiles; among the other half the false alarms are
    counted. A length is kept if there are 200 pieces of it; at most 2,000 are read.

    Args:
        engine: what runs the model.
        tokenizer: what its ids mean.
        held_out: a text that the model has not learnt from.
        seed: what pieces are drawn from, and which half each is of; 0 or more.
        most_symbols: how many symbols are read at most, 1 or more; with fewer, the longest pieces are left out first.
        progress: called as symbols are read.

    Raises:
        TextError: there are not 200 pieces of any length.
        SettingsError: the seed or the number of symbols is none.
    """
    for name, value, least in (("seed", seed, 0), ("most_symbols", most_symbols, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            whole = tr("a whole number, {least} or more", least=least)
            raise SettingsError(tr("{name} is {value!r}", name=name, value=value), expected=whole)
    samples = list(_samples(tokenizer, held_out, seed, most_symbols))
    if not samples:
        short = later("a held-out part of {symbols:,} symbols, of which {read:,} are read, is too short to tell what is typical")
        met = tr(short, symbols=len(held_out), read=min(most_symbols, len(held_out)))
        raise TextError(met, expected=tr("{fewest} words or documents", fewest=FEWEST))
    reader, lengths_V = Reader(engine, tokenizer), characters_by_id(tokenizer)
    total, done, groups, others = sum(len(row) for _, rows in samples for row in rows), 0, [], []
    for length, rows in samples:
        bits_P = np.empty(len(rows))
        for p, reading in enumerate(reader.look_many(reader.begin(), rows)):
            bits_P[p] = -reading.log_probs.sum() / math.log(2) / max(1.0, float(lengths_V[rows[p]].sum()))
        half = len(rows) // 2
        groups.append(Group(round(length, 6), _quantiles(bits_P[:half]), half, len(rows) - half, ()))
        others.append([(float(bits_P[p]), len(rows[p])) for p in range(half, len(rows))])
        done += sum(map(len, rows))
        if progress is not None:
            progress(done, total)
    fitted = Typicality(_CONVENTION[held_out.offsets is not None], tuple(groups))
    counted = [tuple(sum(fitted.is_alarm(bits, length, at) for bits, length in texts) for at in ATS) for texts in others]
    return replace(fitted, groups=tuple(replace(group, alarms=alarms) for group, alarms in zip(groups, counted, strict=True)))


def _quantiles(bits_P: Floats) -> tuple[float, ...]:
    """The quantiles of some texts' bits per character at each of `LEVELS`.

    Quantile p of n texts is where the text of rank p (n + 1) stands, so that a new one lies above it with probability 1 - p.
    Source: Weibull's plotting positions (1939); Hyndman and Fan, Sample Quantiles in Statistical Packages (1996), definition 6.
    """
    quantiles = np.maximum(np.quantile(bits_P, LEVELS, method="weibull"), 0.0)
    return tuple(round(float(one), DIGITS) for one in quantiles)


def _samples(tokenizer: Tokenizer, held_out: EncodedText, seed: int, most_symbols: int) -> list[tuple[float, list[Ids]]]:
    """Lengths with their pieces in an order drawn by the seed, the shortest first, no more symbols together than allowed."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed])))
    ids_N = np.asarray(held_out.ids).astype(np.int64)
    share = most_symbols / (len(LENGTHS) + 2)  # the longest, of which there must be so many, take more than theirs
    if held_out.offsets is None:
        starts = _beginnings(tokenizer, ids_N)
        cut = {float(length): [(at, at + length) for at in _apart(starts, length, len(ids_N))] for length in LENGTHS}
    else:
        cut = _documents_by_length(held_out)
    kept: list[tuple[float, list[Ids]]] = []
    left = most_symbols
    for length, places in cut.items():
        many = min(len(places), MOST, max(FEWEST, int(share / length)))
        chosen = [places[p] for p in random.permutation(len(places))[:many]]
        size = sum(stop - start for start, stop in chosen)
        if many >= FEWEST and size <= left:
            left -= size
            kept.append((length, [ids_N[start:stop] for start, stop in chosen]))
    return kept


def _beginnings(tokenizer: Tokenizer, ids_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a piece of a stream may begin: at a symbol after a blank; where blanks are rare, at any character."""
    if isinstance(tokenizer, ByteTokenizer):
        blank_V = np.isin(np.arange(tokenizer.vocab_size), [0x20, 0x0A, 0x0D, 0x09])
        whole_V = characters_by_id(tokenizer) > 0
    else:
        blank_V = np.array([symbol.isspace() for symbol in tokenizer.symbols])
        whole_V = np.ones(tokenizer.vocab_size, dtype=np.bool_)
    blank_N = blank_V[ids_N]
    starts = np.flatnonzero(blank_N[:-1] & ~blank_N[1:]) + 1
    return starts if len(starts) * 20 >= len(ids_N) else np.flatnonzero(whole_V[ids_N])


def _apart(starts: NDArray[np.int64], length: int, end: int) -> list[int]:
    """Beginnings of pieces of a length that do not overlap, from the first on."""
    found: list[int] = []
    at = 0
    while at < len(starts) and starts[at] + length <= end:
        found.append(int(starts[at]))
        at = int(np.searchsorted(starts, starts[at] + length))
    return found


def _documents_by_length(held_out: EncodedText) -> dict[float, list[tuple[int, int]]]:
    """Documents in groups of like length, each group by the geometric mean of its lengths; from where to where each stands."""
    assert held_out.offsets is not None
    begins, lengths = held_out.offsets[:-1], np.minimum(np.diff(held_out.offsets), LENGTHS[-1])
    order = np.argsort(lengths, kind="stable")
    groups = max(1, min(GROUPS, len(order) // (2 * FEWEST)))
    borders = np.unique(lengths[order[[len(order) * g // groups for g in range(groups)]]])  # like lengths stay together
    number = np.searchsorted(borders, lengths, side="right") - 1
    found = {}
    for g in range(len(borders)):
        inside = np.flatnonzero(number == g)
        mean = float(np.exp(np.log(lengths[inside]).mean()))
        found[mean] = [(int(begins[i]), int(begins[i] + lengths[i])) for i in inside]
    return found


def weights_sha256(weights: Mapping[str, np.ndarray]) -> str:
    """The hash of a model's weights as its folder keeps them, by which they are known again."""
    return data_sha256({name: np.asarray(array, DTYPES[COUNTED.get(name, "F32")], order="C") for name, array in weights.items()})


def _sealed_in(folder: Path) -> str:
    return weights_sha256(read_tensors(folder / "model.safetensors")[0])


def save_typical(folder: Path, typicality: Typicality, sealed: str | None = None) -> None:
    """Writes typical.json into a model folder, bound by a hash to the weights that are there.

    Args:
        folder: the model's.
        typicality: what is written.
        sealed: the hash of the weights on which it was measured; None: those that are there.

    Raises:
        CheckpointError: the folder has no weights, or other ones, or cannot be written to.
    """
    there = _sealed_in(folder)
    if sealed not in (None, there):
        other = later("{folder} holds other weights than this model, so what is typical for it cannot be kept there")
        raise CheckpointError(tr(other, folder=folder), hint=tr("load the model anew, or save this one in a folder of its own"))
    value = {"format": "escriba typical", "format_version": FORMAT_VERSION, "weights_sha256": there, **typicality.to_json()}
    lines = [f"  {canonical_json(name)}: {canonical_json(value[name])}" for name in value]
    replace_file(folder / FILE, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def load_typical(folder: Path, sealed: str | None = None) -> Typicality | None:
    """What typical.json of a model folder says; None if there is none.

    Args:
        folder: the model's.
        sealed: the hash of the weights of which it must tell; None: those that are there.

    Raises:
        CheckpointError: it is damaged, of a newer version, or of other weights.
    """
    path = folder / FILE
    if not has_file(path):
        return None
    value = read_json(path)
    try:
        if not isinstance(value, dict) or value.pop("format", None) != "escriba typical":
            raise CheckpointError(tr("it is not what Escriba wrote"), expected='"format": "escriba typical"')
        if (version := value.pop("format_version", None)) != FORMAT_VERSION or type(version) is not int:
            raise CheckpointError(tr("format_version is {version!r:.60}", version=version), expected=f"{FORMAT_VERSION}")
        measured = value.pop("weights_sha256", None)
        found = Typicality.from_json(value)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.met}", expected=error.expected, hint=_again(folder)) from error
    if measured != (sealed or _sealed_in(folder)):
        raise CheckpointError(tr("{path} was measured on other weights than this model's", path=path), hint=_again(folder))
    return found


def _again(folder: Path) -> str:
    return tr("measure it anew: {command}", command=typed("escriba", "evaluate", folder, "--typical"))
