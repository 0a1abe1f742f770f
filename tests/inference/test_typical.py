"""What is typical by length: quantiles and measured false alarms, what is claimed and what not, and the file that keeps them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from implementations import tiny_engine
from small_models import Pair

from escriba.errors import CheckpointError, SettingsError, TextError
from escriba.inference.scorer import Scorer
from escriba.inference.typical import (
    ATS,
    FILE,
    LEVELS,
    Group,
    Typicality,
    load_typical,
    measure_typical,
    save_typical,
    weights_sha256,
)
from escriba.tensorfile import tensor_bytes
from escriba.text import corpus
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import TOKENIZERS, CharTokenizer

WORDS = ["the", "a", "cat", "dog", "bird", "ñandú", "sat", "ran", "sang", "on", "under", "by", "mat", "tree", "river", "quickly"]


def sentences(count: int, seed: int = 1) -> list[str]:
    """Lines of random words."""
    dice = np.random.default_rng(seed)
    return [" ".join(dice.choice(WORDS, dice.integers(2, 12))) for _ in range(count)]


def pair_for(unit: str, documents: bool, count: int = 600) -> tuple[Pair, EncodedText]:
    """A random network of a unit, and a held-out part in its form."""
    lines = sentences(count)
    part = corpus.read(documents=lines, unit=unit) if documents else corpus.read(text="\n".join(lines), documents="stream", unit=unit)
    tokenizer = TOKENIZERS[unit].fit(part)
    return Pair(tiny_engine(tokenizer.vocab_size), tokenizer), part.encode(tokenizer)


@pytest.fixture(scope="module", params=["char-stream", "char-documents", "word-stream", "word-documents", "byte-stream", "byte-documents"])
def measured(request: pytest.FixtureRequest) -> tuple[Pair, EncodedText, Typicality]:
    """A model of each kind, its held-out part, and what is typical for it."""
    unit, _, form = request.param.partition("-")
    pair, held_out = pair_for(unit, form == "documents")
    return pair, held_out, measure_typical(*pair, held_out, seed=3, most_symbols=30_000)


def made(bits: np.ndarray, *, length: float = 10.0) -> Group:
    """A group with the quantiles of some figures, and no alarms."""
    return Group(length, tuple(np.quantile(bits, LEVELS, method="weibull").tolist()), len(bits), 100, (0,) * len(ATS))


def test_pieces_are_scored_as_scorer_does(measured: tuple[Pair, EncodedText, Typicality]) -> None:
    """The least and the most surprising of a length are texts of the held-out part, with the bits per character that `Scorer` gives."""
    pair, held_out, typicality = measured
    tokenizer, scorer = pair.tokenizer, Scorer(*pair)
    if held_out.offsets is None:
        group = next(one for one in typicality.groups if one.length == 8)
        ids = np.asarray(held_out.ids)
        texts = [tokenizer.decode(ids[at : at + 8]) for at in range(len(ids) - 8)]
        texts = [text for text in dict.fromkeys(texts) if "\ufffd" not in text]
    else:
        group = typicality.groups[0]
        texts = list(dict.fromkeys(tokenizer.decode(held_out.document(i)) for i in range(held_out.count)))
    found = [one.bits_per_char for one in scorer.score_many(texts)]
    for extreme in (group.quantiles[0], group.quantiles[-1]):
        nearest = min(range(len(found)), key=lambda at: abs(found[at] - extreme))
        assert abs(scorer.score(texts[nearest]).bits_per_char - extreme) < 1e-4


def test_the_measured_rates_are_those_aimed_at(measured: tuple[Pair, EncodedText, Typicality]) -> None:
    """Among n texts that the quantiles have not seen about n * at are alarms.

    The standard deviation is that of n draws and of a quantile from as many: sqrt(2 n at (1 - at)). A right measurement leaves four of
    them, and three texts for small counts, less than once in 5,000 figures; the seeds are given. Texts of few symbols are often equal,
    and equal ones are no alarm: there may be fewer.
    """
    _, _, typicality = measured
    for group in typicality.groups:
        assert abs(group.pieces - group.fitted) <= 1
        for at, alarms in zip(ATS, group.alarms, strict=True):
            if at * (group.fitted + 1) > 1:
                margin = 4 * math.sqrt(2 * group.pieces * at * (1 - at)) + 3
                assert alarms <= at * group.pieces + margin
                assert alarms >= at * group.pieces - margin or group.length < 16


def test_gibberish_is_an_alarm_where_the_language_is_not() -> None:
    """A model that knows which letters there are finds those that hardly ever come atypical, by the first symbol alone."""
    tokenizer = CharTokenizer.fit("ab " * 3000 + "z")
    held_out = EncodedText(tokenizer.encode("ab " * 3000), None, tokenizer)
    typicality = measure_typical(tiny_engine(tokenizer.vocab_size), tokenizer, held_out)
    assert not typicality.is_alarm(Scorer(tiny_engine(tokenizer.vocab_size), tokenizer).score("a").bits_per_char, 1, 0.01)
    assert typicality.is_alarm(Scorer(tiny_engine(tokenizer.vocab_size), tokenizer).score("z").bits_per_char, 1, 0.01)


def test_a_share_is_that_of_the_texts_below() -> None:
    """Of figures of a known distribution the share below is found, equal ones do not count as below, and it grows with the bits."""
    bits = np.arange(1, 1000) / 100.0
    typicality = Typicality("", (made(bits),))
    for share in (0.05, 0.37, 0.5, 0.93, 0.99):
        assert abs(typicality.share(10.0 * share, 10) - share) < 2e-3
    shares = [typicality.share(one, 10) for one in np.linspace(0.0, 11.0, 200)]
    assert shares == sorted(shares)
    equal = Typicality("", (made(np.repeat([1.0, 2.0], 500)),))
    assert equal.share(1.0, 10) == 1 / 1001  # none is below
    assert abs(equal.share(2.0, 10) - 0.5) < 0.11  # half is below, as near as the levels tell


def test_no_more_is_claimed_than_the_texts_support() -> None:
    """Beyond all n texts the share is n / (n + 1), below all 1 / (n + 1); an alarm rarer than that cannot be asked for."""
    typicality = Typicality("", (made(np.linspace(1, 2, 150)),))
    assert typicality.share(100.0, 10) == 1 - 1 / 151
    assert typicality.share(0.0, 10) == pytest.approx(1 / 151)
    assert typicality.is_alarm(100.0, 10, 0.01)
    with pytest.raises(SettingsError, match="150 texts"):
        typicality.false_alarms(0.005, 10)
    for wrong in (0.03, 0, 1, True, "0.01", None):
        with pytest.raises(SettingsError, match="at is"):
            typicality.false_alarms(wrong, 10)  # type: ignore[arg-type]


def test_lengths_between_are_interpolated() -> None:
    """Between two lengths the quantiles lie between, over the logarithm of the length; beyond the ends they are those of the ends."""
    bits = np.linspace(0, 1, 999)
    typicality = Typicality("", (made(bits + 2, length=10), made(bits + 1, length=1000)))
    assert typicality.share(2.5, 10) == typicality.share(2.5, 3) == pytest.approx(0.5, abs=1e-3)
    assert typicality.share(2.0, 100) == pytest.approx(0.5, abs=1e-3)
    assert typicality.share(1.5, 1000) == typicality.share(1.5, 10**6) == pytest.approx(0.5, abs=1e-3)


def test_the_alarms_are_those_of_the_nearest_length() -> None:
    """The measured false alarms are told of the length that is nearest, as a ratio."""
    groups = tuple(
        Group(length, made(np.linspace(0, 1, 999)).quantiles, 999, pieces, (1,) * len(ATS)) for length, pieces in ((10, 7), (1000, 9))
    )
    typicality = Typicality("", groups)
    assert [typicality.false_alarms(0.01, length)[1] for length in (1, 10, 90, 110, 10**5)] == [7, 7, 7, 9, 9]


def test_little_is_read() -> None:
    """No more symbols are read than allowed: the longest pieces are left out, and pieces of a length do not overlap."""
    pair, held_out = pair_for("char", False, 1500)
    whole, told = measure_typical(*pair, held_out, most_symbols=60_000), []
    few = measure_typical(*pair, held_out, most_symbols=10_000, progress=lambda *one: told.append(one))
    assert told[-1][0] == told[-1][1] <= 10_000
    assert few.groups[-1].length < whole.groups[-1].length
    pair, held_out = pair_for("char", False, 250)
    for group in measure_typical(*pair, held_out, most_symbols=100_000).groups:
        assert (group.fitted + group.pieces) * group.length <= len(held_out)


def test_too_short_a_part_is_refused() -> None:
    """Where there are not 200 pieces, nothing is said to be typical."""
    pair, held_out = pair_for("char", False, 10)
    with pytest.raises(TextError, match="too short"):
        measure_typical(*pair, held_out)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 1.5}, {"seed": True}, {"most_symbols": 0}, {"most_symbols": "many"}])
def test_wrong_numbers(wrong: dict[str, object]) -> None:
    """A seed or a number of symbols that is none is refused by name; too few symbols are named as what is too short."""
    pair, held_out = pair_for("char", False)
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        measure_typical(*pair, held_out, **wrong)  # type: ignore[arg-type]
    with pytest.raises(TextError, match="of which 7 are read"):
        measure_typical(*pair, held_out, most_symbols=7)


def test_what_is_left_out_takes_no_symbols() -> None:
    """Documents of a length of which there are too few are not read: longer ones are measured all the same."""
    part = corpus.read(documents=["ab"] * 395 + ["ab" * 10] * 50 + ["ab" * 10 + "c"] * 755)
    tokenizer = CharTokenizer.fit(part)
    groups = measure_typical(tiny_engine(tokenizer.vocab_size), tokenizer, part.encode(tokenizer), most_symbols=5_000).groups
    assert [group.length for group in groups] == [2, 21]


def test_the_texts_beside_which_one_stands() -> None:
    """Beyond the lengths that were measured they are named by their own."""
    typicality = Typicality("", (made(np.linspace(1, 2, 999), length=4.4), made(np.linspace(1, 2, 999), length=512)))
    named = {length: typicality.beside(length) for length in (4, 5, 512, 513)}
    assert named[5] == named[512] == "held-out texts of about this length"
    assert "about 4 symbols, the shortest" in named[4]
    assert "about 512 symbols, the longest" in named[513]


def test_text_without_blanks() -> None:
    """Where no blanks part words, a piece may begin at any character, never within one."""
    tokenizer = TOKENIZERS["byte"].fit("春眠不覺曉" * 2000)
    held_out = EncodedText(tokenizer.encode("春眠不覺曉" * 2000), None, tokenizer)
    assert [group.length for group in measure_typical(tiny_engine(tokenizer.vocab_size), tokenizer, held_out).groups][:4] == [1, 2, 4, 8]


def weights_in(folder: Path, number: float = 1.0) -> Path:
    """A folder with a file of weights."""
    (folder / "model.safetensors").write_bytes(tensor_bytes({"output.bias": np.full(3, number, np.float32)}, {}, sealed=True))
    return folder


def test_the_file_keeps_it_whole(measured: tuple[Pair, EncodedText, Typicality], tmp_path: Path) -> None:
    """What is saved is loaded; the same measurement makes the same bytes; of other weights it is refused; no file is nothing."""
    pair, held_out, typicality = measured
    assert load_typical(tmp_path) is None
    save_typical(weights_in(tmp_path), typicality)
    assert load_typical(tmp_path) == typicality
    before = (tmp_path / FILE).read_bytes()
    save_typical(tmp_path, measure_typical(*pair, held_out, seed=3, most_symbols=30_000))
    assert (tmp_path / FILE).read_bytes() == before
    sealed = weights_sha256({"output.bias": np.ones(3)})  # a network may learn in float64: it is kept in float32
    assert load_typical(tmp_path, sealed) == typicality
    weights_in(tmp_path, 2.0)
    with pytest.raises(CheckpointError, match="other weights"):
        load_typical(tmp_path)
    assert load_typical(tmp_path, sealed) == typicality  # in memory are still those of which it tells
    with pytest.raises(CheckpointError, match="holds other weights"):
        save_typical(tmp_path, typicality, sealed)
    assert json.loads((tmp_path / FILE).read_text())["weights_sha256"] == sealed
    assert sealed == read_seal(weights_in(tmp_path) / "model.safetensors")


def read_seal(path: Path) -> str:
    """The hash of the numbers that stands in a file of weights."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return str(json.loads(header["__metadata__"]["escriba"])["data_sha256"])


DAMAGES = {
    "no JSON": lambda value: "{",
    "a list": lambda value: [],
    "another format": lambda value: {**value, "format": "x"},
    "a newer version": lambda value: {**value, "format_version": 2},
    "true for 1": lambda value: {**value, "format_version": True},
    "an unknown key": lambda value: {**value, "extra": 1},
    "a missing key": lambda value: {name: one for name, one in value.items() if name != "groups"},
    "no groups": lambda value: {**value, "groups": []},
    "groups in disorder": lambda value: {**value, "groups": value["groups"] * 2},
    "other levels": lambda value: {**value, "levels": value["levels"][:-1]},
    "other shares": lambda value: {**value, "ats": []},
    "two lines": lambda value: {**value, "convention": "a\nb"},
    "a length of 0": lambda value: with_group(value, length=0),
    "a length beyond all numbers": lambda value: with_group(value, length=10**400),
    "a quantile beyond all numbers": lambda value: with_group(value, quantiles=[*value["groups"][0]["quantiles"][:-1], 10**400]),
    "a length that is none": lambda value: with_group(value, length="8"),
    "a quantile less": lambda value: with_group(value, quantiles=value["groups"][0]["quantiles"][1:]),
    "quantiles that fall": lambda value: with_group(value, quantiles=value["groups"][0]["quantiles"][::-1]),
    "a negative quantile": lambda value: with_group(value, quantiles=[-1.0, *value["groups"][0]["quantiles"][1:]]),
    "a huge quantile": lambda value: with_group(value, quantiles=[*value["groups"][0]["quantiles"][:-1], 1e300]),
    "a word for a quantile": lambda value: with_group(value, quantiles=["x"] * len(LEVELS)),
    "no pieces": lambda value: with_group(value, pieces=0),
    "a broken count": lambda value: with_group(value, fitted=1.5),
    "more alarms than pieces": lambda value: with_group(value, alarms=[10**6] * len(ATS)),
    "an alarm too few": lambda value: with_group(value, alarms=[0]),
    "a group that is none": lambda value: {**value, "groups": [7]},
}


def with_group(value: dict, **changes: object) -> dict:
    """The file with its first group changed."""
    return {**value, "groups": [{**value["groups"][0], **changes}, *value["groups"][1:]]}


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_a_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    """Whatever is wrong with it, an error names the file and says how to make it anew."""
    groups = (made(np.linspace(0.1, 1, 999), length=2.0), made(np.linspace(0.1, 1, 999), length=4.0))
    save_typical(weights_in(tmp_path), Typicality("a line", groups))
    assert load_typical(tmp_path) is not None
    value = DAMAGES[damage](json.loads((tmp_path / FILE).read_text()))
    (tmp_path / FILE).write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(CheckpointError, match=FILE):
        load_typical(tmp_path)
