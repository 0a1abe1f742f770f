"""Texts of a length, unlike each other, or that pass a test: which are kept, how long it is tried, what is said when fewer are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scripted import ScriptedEngine
from small_models import TEXT, Pair, random_pair

from escriba.errors import EscribaError, SettingsError
from escriba.inference import collecting as collecting_module
from escriba.inference.collecting import Wanted, collect
from escriba.inference.generator import Generated, Generator
from escriba.inference.scorer import Scorer
from escriba.settings import SampleSettings
from escriba.text.tokenizer import CharTokenizer
from escriba.using import Model

OWN = SampleSettings(temperature=1.0)

WILD = SampleSettings(temperature=4.0)
"""At which random models of documents end soon and say many things."""


def test_what_wants_nothing_is_what_is_written(pair: Pair) -> None:
    """Without a condition the texts are those of the generator, row by row."""
    generator = Generator(*pair)
    options = {"samples": 3, "length": 30, "settings": OWN, "seed": 4, "stop": "at"}
    assert collect(generator, ["the ", ""], wanted=Wanted(), **options).texts == generator.generate(["the ", ""], **options)


def test_unique(documents_pair: Pair) -> None:
    """No two texts are alike; they are the first different ones of the seed's rows, and more of them begin with the same ones."""
    generator = Generator(*documents_pair)
    options = {"length": 3, "settings": SampleSettings(temperature=0.5), "seed": 1}
    found = collect(generator, "th", wanted=Wanted(unique=True), samples=12, **options)
    texts = [made.text for made in found.texts]
    assert len(set(texts)) == len(texts) == 12
    assert found.notice is None
    rows = generator.generate("th", samples=found.written, **options)
    assert len({made.text for made in rows}) < len(rows), "the test would see nothing"
    assert texts == list(dict.fromkeys(made.text for made in rows))[:12]
    assert [made.row for made in found.texts] == sorted(made.row for made in found.texts)
    fewer = collect(generator, "th", wanted=Wanted(unique=True), samples=5, **options)
    assert fewer.texts == found.texts[:5]
    assert found.refused == {"there already": found.written - 12}


def test_rounds_leave_no_trace(documents_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found for a prompt does not depend on how many texts are tried at once, nor, if they differ, on the other prompts."""
    generator = Generator(*documents_pair)
    wanted = Wanted(unique=True, min_length=4, max_length=30)
    options = {"wanted": wanted, "samples": 6, "length": None, "settings": WILD, "seed": 8}
    both = collect(generator, ["the ", "do"], **options)
    monkeypatch.setattr(collecting_module, "_MOST_AT_ONCE", 1)
    assert collect(generator, ["the ", "do"], **options) == both
    assert [made.prompt for made in both.texts] == ["the "] * 6 + ["do"] * 6
    for made in both.texts:  # each is what its row is, for its prompt, whatever was written with it
        (again,) = generator.rows([(generator.start(made.prompt), made.row)], length=31, settings=WILD, seed=8)
        assert again == made
    assert len({made.row for made in both.texts}) == 12


def test_lengths_of_documents(documents_pair: Pair) -> None:
    """Texts that end by themselves within the lengths, none cut; and what is refused is counted."""
    found = collect(Generator(*documents_pair), wanted=Wanted(min_length=3, max_length=9), samples=40, length=None, settings=WILD, seed=2)
    lengths = [len(made.text) for made in found.texts]
    assert len(lengths) == 40
    assert min(lengths) >= 3
    assert max(lengths) <= 9
    assert len(set(lengths)) > 3
    assert {made.finish_reason for made in found.texts} == {"eos"}
    assert found.refused.keys() == {"too short", "too long"}
    assert found.written == 40 + sum(found.refused.values())


def test_a_text_of_just_the_longest_is_kept() -> None:
    """max_length counts the characters of the text, not its end: neither <eos> nor a stop string."""
    documents = CharTokenizer.fit(TEXT.splitlines())
    script = [*np.asarray(documents.encode("the hat")).tolist(), documents.eos_id]
    recite = Generator(ScriptedEngine(documents.vocab_size, script), documents)
    assert [made.text for made in collect(recite, wanted=Wanted(max_length=7), length=None).texts] == ["the hat"]
    assert collect(recite, wanted=Wanted(max_length=6), length=None).texts == []
    stream = CharTokenizer.fit(TEXT)
    recite = Generator(ScriptedEngine(stream.vocab_size, np.asarray(stream.encode("the cat sat")).tolist()), stream)
    assert [made.text for made in collect(recite, "x", wanted=Wanted(max_length=4), length=None, stop="cat").texts] == ["the "]
    assert collect(recite, "x", wanted=Wanted(max_length=3), length=None, stop="cat").texts == []


def test_keep_is_asked_last_and_fewer_is_said() -> None:
    """A test that nothing passes ends the search, which says how many were written and why none was kept."""
    model = Model(*random_pair("char-documents"))
    asked: list[str] = []

    def never(text: str) -> bool:
        asked.append(text)
        return False

    with pytest.warns(UserWarning, match=r"0 of the 2 texts asked for: of 500 that were written, .*not wanted"):
        assert model.generate("th", samples=2, seed=1, length=20, keep=never, min_length=5) == []
    assert asked
    assert all(len(text) >= 2 + 5 and text.startswith("th") for text in asked)
    with pytest.raises(EscribaError, match="0 of the 1 texts asked for: of 500"):
        model.generate("th", seed=1, length=20, keep=never)


def test_texts_that_cannot_all_be_different() -> None:
    """Where there are fewer different texts than are asked for, those that are come, once each, and it is said."""
    model = Model(*random_pair("char-stream"))
    with pytest.warns(UserWarning, match=r"1 of the 5 texts asked for: with temperature 0 or top_k 1 a prompt has but one text"):
        texts = model.generate("the", 10, samples=5, temperature=0.0, unique=True)
    assert len(texts) == 1


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_k": 1}, {"temperature_cycle": (0.0, 0.0)}])
def test_without_chance_nothing_is_tried_again(settings: dict[str, object], stream_pair: Pair) -> None:
    """Where every text would be the same, one that is not wanted is not written again and again; two equal ones may be wanted."""
    options = {"settings": SampleSettings(**settings), "length": 10, "seed": 1}  # type: ignore[arg-type]
    found = collect(Generator(*stream_pair), "the", wanted=Wanted(keep=lambda made: False), **options)
    assert (found.texts, found.written) == ([], 1)
    assert found.notice is not None
    assert "of 1 that were written, 1 not wanted; with temperature 0 or top_k 1 a prompt has but one text" in found.notice
    found = collect(Generator(*stream_pair), ["the", "cat"], wanted=Wanted(unique=True), samples=4, **options)
    assert ([made.prompt for made in found.texts], found.written) == (["the", "cat"], 2)
    found = collect(Generator(*stream_pair), "the", wanted=Wanted(min_length=3), samples=4, **options)
    assert len(found.texts) == 4
    wild = collect(Generator(*stream_pair), "the", wanted=Wanted(unique=True), samples=4, length=10, seed=1, settings=OWN)
    assert len(wild.texts) == 4


def test_a_predicate_of_ones_own(documents_pair: Pair) -> None:
    """`keep` is given the Text, and only what it says True of comes."""
    model = Model(*documents_pair)
    texts = model.generate(samples=6, seed=3, length=30, temperature=1.0, keep=lambda text: text.continuation.count("t") > 1)
    assert len(texts) == 6
    assert all(text.count("t") > 1 for text in texts)
    assert isinstance(model.generate(seed=3, length=30, keep=lambda text: "t" in text), str)


@pytest.mark.parametrize("kind", ["char-stream", "char-documents", "word-documents", "byte-stream"])
def test_begins(kind: str) -> None:
    """A text begins with what it has to, counts it in its length and its likelihood, and goes on as after a prompt of it."""
    engine, tokenizer = random_pair(kind)
    generator = Generator(engine, tokenizer)
    options = {"settings": OWN, "seed": 6, "samples": 3}
    for made in generator.generate("the ", length=20, begins="cat ", stop="t", **options):
        assert made.prompt == "the "
        assert made.text.startswith("cat ")
        assert "t" not in made.text[4:]
        assert len(made.text) <= 20
        assert tokenizer.decode(made.ids).startswith(made.text)
        if kind.startswith("char"):
            assert math.isclose(made.log_likelihood, Scorer(engine, tokenizer).score(made.text, "the ").log_likelihood, abs_tol=1e-9)
    begun = generator.generate("the ", length=20, begins="cat ", **options)
    assert [made.text[4:] for made in begun] == [made.text for made in generator.generate("the cat ", length=16, **options)]
    stream = generator.stream("the ", length=20, begins="cat ", **options)
    pieces: dict[int, str] = {}
    for row, piece in stream:
        pieces[row] = pieces.get(row, "") + piece
    assert pieces == {made.row: made.text for made in begun}
    assert [stream.finished[row] for row in range(3)] == begun
    for made in generator.generate(length=5, begins="cat", **options):  # also from nothing
        assert made.text.startswith("cat")


def test_begins_is_measured_as_it_is_written() -> None:
    """An accent apart from its letter is one character with it; what is longer than max_length is refused, not written in vain."""
    tokenizer = CharTokenizer.fit(["caf\u00e9", "th\u00e9"])
    engine = ScriptedEngine(tokenizer.vocab_size, [tokenizer.eos_id or 0])
    generator, typed = Generator(engine, tokenizer), "caf" + "e\u0301"
    found = collect(generator, begins=typed, wanted=Wanted(max_length=4), length=None)
    assert [made.text for made in found.texts] == ["caf\u00e9"]
    assert generator.generate(begins=typed, length=4)[0].text == "caf\u00e9"
    with pytest.raises(SettingsError, match="begin with 4 characters and to have 3"):
        collect(generator, begins=typed, wanted=Wanted(max_length=3), length=None)


def test_begins_and_its_room(documents_pair: Pair) -> None:
    """What texts begin with must fit into them; of just their length it is the text; unseen symbols are told."""
    generator = Generator(*documents_pair)
    assert generator.generate(begins="cat", length=3, seed=1)[0].text == "cat"
    with pytest.raises(SettingsError, match="begin with 3 characters and to have 2"):
        generator.generate(begins="cat", length=2)
    for wrong in (None, 3, ["a", "b"]):
        with pytest.raises(SettingsError, match="begins is"):
            generator.generate(begins=wrong)  # type: ignore[arg-type]
    (made,) = generator.generate(begins="ñ", length=4)
    assert "'ñ'" in made.notices[0]
    assert made.text[0] == "ñ"
    found = collect(generator, begins="ca", wanted=Wanted(min_length=4, max_length=12), length=None, samples=5, seed=1)
    assert all(made.text.startswith("ca") and 4 <= len(made.text) <= 12 for made in found.texts)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"min_length": -1}, "min_length is -1"),
        ({"max_length": 2.5}, r"max_length is 2\.5"),
        ({"min_length": True}, "min_length is True"),
        ({"min_length": 9, "max_length": 8}, "min_length is 9 and max_length 8"),
        ({"min_length": 21, "length": 20}, "min_length is 21 and length 20"),
        ({"max_length": 20, "length": 20}, "every text would be cut"),
        ({"length": None}, "length is None"),
        ({"unique": True, "length": None}, "so is max_length"),
        ({"unique": True, "samples": 0}, "samples is 0"),
        ({"unique": True, "seed": -1}, "seed is -1"),
        ({"unique": True, "begins": 3}, "begins is 3"),
        ({"keep": "short"}, "keep is .short."),
    ],
)
def test_values_that_contradict_each_other(values: dict[str, object], said: str, documents_pair: Pair) -> None:
    """Each is refused, with its value."""
    with pytest.raises(SettingsError, match=said):
        Model(*documents_pair).generate(**values)  # type: ignore[call-overload]


def test_a_stream_never_ends_within_a_length(stream_pair: Pair) -> None:
    """max_length of a model of one stream needs a stop string, before which its texts end."""
    model = Model(*stream_pair)
    with pytest.raises(SettingsError, match="never end by themselves"):
        model.generate(max_length=30, length=None)
    texts = model.generate(max_length=30, min_length=2, length=None, samples=5, stop="t", seed=1, temperature=4.0)
    assert len(texts) == 5
    assert all(2 <= len(text) <= 30 and text.finish_reason == "stop" for text in texts)


def test_generated_rows_are_told_apart() -> None:
    """No two texts tried have the same row, for any number of prompts and samples."""
    rows = [collecting_module._row(prompt, k, 4, 3) for prompt in range(3) for k in range(50)]
    assert sorted(rows) == list(range(150))


def test_generated_is_given_to_keep(documents_pair: Pair) -> None:
    """In the layer below, `keep` is asked of what was generated."""
    met: list[Generated] = []
    collect(Generator(*documents_pair), wanted=Wanted(keep=lambda made: not met.append(made)), samples=2, length=9, seed=1)
    assert [made.row for made in met] == [0, 1]
