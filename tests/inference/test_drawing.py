"""What of a drawing depends on the text: temperatures in turn, and runs of symbols that are not written twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedEngine
from small_models import TEXT, Pair

from escriba.engine.sampling import repeats
from escriba.errors import SettingsError
from escriba.inference import drawing as drawing_module
from escriba.inference import generator as generator_module
from escriba.inference.drawing import Drawing
from escriba.inference.generator import Generator
from escriba.inference.writer import Writer
from escriba.settings import SampleSettings
from escriba.text.tokenizer import CharTokenizer

OWN = SampleSettings(temperature=1.0)
CYCLE = SampleSettings(temperature_cycle=(0.0, 1.5, 0.3))
NO_REPEAT = SampleSettings(temperature=1.0, no_repeat=3)
BOTH = SampleSettings(temperature_cycle=(0.2, 3.0), no_repeat=4, top_k=6)


def slow_repeats(ids: list[int], run: int) -> list[int]:
    """The definition: of every run in the text that begins with the text's last symbols, the last symbol."""
    tail = ids[len(ids) - run + 1 :]
    runs = [ids[at : at + run] for at in range(len(ids) - run + 1)]
    return sorted({one[-1] for one in runs if one[:-1] == tail})


@given(st.lists(st.integers(0, 2), max_size=30), st.integers(2, 6))
def test_repeats_are_what_the_definition_says(ids: list[int], run: int) -> None:
    """`repeats` finds, for any text, just the symbols that would complete a run that is there."""
    assert repeats(ids, run).tolist() == (slow_repeats(ids, run) if len(ids) >= run else [])


def runs_of(ids: object, run: int) -> list[tuple[int, ...]]:
    """All runs of a text."""
    array = np.asarray(ids).tolist()
    return [tuple(array[at : at + run]) for at in range(len(array) - run + 1)]


def test_no_run_is_written_twice(pair: Pair) -> None:
    """With no_repeat no run that the model completes stood before, in the text or its prompt; without, some does; for every unit."""
    prompt = "the cat sat on the mat. the "
    before = len(pair.tokenizer.encode(prompt))
    met = 0
    for settings in (GREEDY_NO_REPEAT, GREEDY):
        (made,) = Generator(*pair).generate(prompt, length=60, settings=settings, seed=1)
        ids = [*np.asarray(pair.tokenizer.encode(prompt)).tolist(), *made.ids]
        runs = runs_of(ids, 6)
        again = [at for at, one in enumerate(runs) if one in runs[:at] and at + 6 > before]
        if settings is GREEDY_NO_REPEAT:
            assert again == []
        else:
            met = len(again)
    assert met or pair.tokenizer.kind == "word", "the test would see nothing"


GREEDY = SampleSettings(temperature=0.0)
GREEDY_NO_REPEAT = SampleSettings(temperature=0.0, no_repeat=6)


def test_a_recital_is_broken_off() -> None:
    """A model that recites for ever is made to leave its text at the first run that stands in the prompt."""
    tokenizer = CharTokenizer.fit(TEXT)
    recite = Generator(ScriptedEngine(tokenizer.vocab_size, np.asarray(tokenizer.encode("cat ")).tolist()), tokenizer)
    (free,) = recite.generate("cat ", length=8, settings=GREEDY)
    assert free.text == "cat cat " or free.text[4:] == free.text[:4]
    (made,) = recite.generate("cat ", length=8, settings=SampleSettings(temperature=0.0, no_repeat=3))
    assert "cat" not in made.text


def test_the_rule_yields_where_nothing_would_be_left() -> None:
    """Where every symbol would repeat, one is written all the same: a text of two letters goes on for ever."""
    tokenizer = CharTokenizer.fit("ab" * 10, unknown=False)
    engine = ScriptedEngine(tokenizer.vocab_size, np.asarray(tokenizer.encode("ab")).tolist())
    (made,) = Generator(engine, tokenizer).generate("a", length=40, settings=SampleSettings(temperature=0.0, no_repeat=2))
    assert len(made.text) == 40
    drawing = Drawing(SampleSettings(no_repeat=2), (), 2, [0, 0, 1, 0])
    assert drawing.sampling().banned == ()
    assert Drawing(SampleSettings(no_repeat=2), (), 3, [0, 0, 1, 0]).sampling().banned == (0, 1)
    assert Drawing(SampleSettings(no_repeat=2), (2,), 3, [0, 0, 1, 0]).sampling().banned == (2,)


def test_runs_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is forgotten once so many symbols have followed it, so an endless text needs no endless memory."""
    monkeypatch.setattr(drawing_module, "REMEMBERED", 400)
    dice = np.random.default_rng(1)
    ids = dice.integers(0, 4, 3000).tolist()
    for start in (0, 350, 1000):
        drawing = Drawing(SampleSettings(no_repeat=4), (), 99, ids[:start])
        for at in range(start, len(ids)):
            assert list(drawing.sampling().banned) == slow_repeats(ids[max(0, at - 400) : at], 4)
            drawing.push(ids[at])
        assert len(drawing._ids) <= 2000


def test_temperatures_are_used_in_turn(stream_pair: Pair) -> None:
    """Every third symbol after the prompt is the greedy one under a cycle that begins with 0; and the samplings are those of the cycle."""
    (made,) = Generator(*stream_pair).generate("the c", length=60, settings=CYCLE, seed=3)
    text = "the c" + made.text
    free = 0
    for at in range(60):
        likeliest = Writer(*stream_pair, text[: 5 + at]).next()
        probabilities = likeliest.probabilities.copy()
        probabilities[list(Writer(*stream_pair).banned)] = 0.0
        greedy = stream_pair.tokenizer.symbols[int(probabilities.argmax())]
        if at % 3 == 0:
            assert text[5 + at] == greedy
        free += text[5 + at] != greedy
    assert free > 3
    drawing = Drawing(CYCLE, (), 9, place=1)
    met = []
    for _ in range(4):
        met.append(drawing.sampling().temperature)
        drawing.push(0)
    assert met == [1.5, 0.3, 0.0, 1.5]


def test_a_cycle_of_one_is_that_temperature(pair: Pair) -> None:
    """A cycle of one temperature writes what that temperature writes, bit for bit."""
    generator = Generator(*pair)
    plain = generator.generate(["the ", ""], samples=2, length=40, settings=SampleSettings(temperature=0.7), seed=2)
    cycled = generator.generate(["the ", ""], samples=2, length=40, settings=SampleSettings(temperature_cycle=(0.7,)), seed=2)
    assert plain == cycled


@pytest.mark.parametrize("settings", [CYCLE, NO_REPEAT, BOTH], ids=["cycle", "no-repeat", "both"])
def test_rows_do_not_know_each_other(settings: SampleSettings, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is the same alone, by a writer, streamed, and among others, in short chunks and in long."""
    generator = Generator(*pair)
    options = {"length": 40, "seed": 3, "stop": ["on"], "settings": settings}
    together = generator.generate(["the cat", "", "dog "], samples=3, **options)
    assert generator.generate("the cat", samples=2, **options) == together[:2]
    pieces: dict[int, str] = {}
    for row, piece in generator.stream(["the cat", "", "dog "], samples=3, **options):
        pieces[row] = pieces.get(row, "") + piece
    assert pieces == {made.row: made.text for made in together if made.text}
    if pair.tokenizer.kind == "char":  # a writer keeps whole symbols where a row cuts them
        for row, prompt in enumerate(["the cat"] * 3 + [""] * 3):
            assert Writer(*pair, prompt, seed=3, row=row, settings=settings).write(40, stop=["on"]) == together[row].text
    monkeypatch.setattr(generator_module, "_ROWS_AT_ONCE", 2)
    monkeypatch.setattr(generator_module, "_FIRST_CHUNK", 1)
    monkeypatch.setattr(generator_module, "_LARGEST_CHUNK", 3)
    assert generator.generate(["the cat", "", "dog "], samples=3, **options) == together


@pytest.mark.parametrize("settings", [CYCLE, NO_REPEAT, BOTH], ids=["cycle", "no-repeat", "both"])
def test_a_writer_goes_on_where_it_was(settings: SampleSettings, stream_pair: Pair) -> None:
    """A text written in several calls is the text written in one: the cycle and the runs go on."""
    for cuts in ([10, 30], [1, 39], [13, 13, 14]):
        parts, whole = (Writer(*stream_pair, "the", seed=5, settings=settings) for _ in range(2))
        assert "".join(parts.write(length) for length in cuts) == whole.write(40)


def test_an_endless_stream_goes_on(stream_pair: Pair) -> None:
    """Without a length, rows with these settings stream as others do."""
    stream = Generator(*stream_pair).stream("the", length=None, settings=BOTH, seed=1)
    endless = "".join(piece for _, piece in itertools.islice(stream, 4))
    assert endless == Generator(*stream_pair).generate("the", length=len(endless), settings=BOTH, seed=1)[0].text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"no_repeat": 1}, "no_repeat is 1"),
        ({"no_repeat": 2.5}, "no_repeat"),
        ({"temperature_cycle": (0.5, -1.0)}, "temperature_cycle"),
        ({"temperature_cycle": (101.0,)}, "temperature_cycle"),
        ({"temperature_cycle": ("hot",)}, "temperature_cycle"),
        ({"temperature": 0.5, "temperature_cycle": (0.5,)}, "give one of them"),
    ],
)
def test_settings_out_of_range(values: dict[str, object], said: str) -> None:
    """Each is refused by name."""
    with pytest.raises(SettingsError, match=said):
        SampleSettings(**values)
