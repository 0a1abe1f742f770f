"""What is written, by many rows at once: ends, seeds, rows that do not know each other, streams that join to the whole."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scripted import ScriptedEngine
from small_models import KINDS, TEXT, Pair, random_pair

from escriba.engine.sampling import log_softmax
from escriba.errors import SettingsError, UnknownSymbolError
from escriba.inference import generator as generator_module
from escriba.inference.generator import Generated, Generator
from escriba.inference.scorer import Scorer
from escriba.inference.writer import Writer
from escriba.settings import SampleSettings
from escriba.text.tokenizer import CharTokenizer, Tokenizer, WordTokenizer

OWN = SampleSettings(temperature=1.0)
"""The model's own distribution."""


def reciting(tokenizer: Tokenizer, text: str, *, eos: bool = False) -> Generator:
    """A generator that recites a text; with eos, a document that ends after it."""
    script = np.asarray(tokenizer.encode(text)).tolist()
    return Generator(ScriptedEngine(tokenizer.vocab_size, [*script, tokenizer.eos_id] if eos else script), tokenizer)


def joined(generator: Generator, prompts: object, **options: object) -> dict[int, str]:
    """The texts of a stream, joined from its pieces."""
    texts: dict[int, str] = {}
    for row, piece in generator.stream(prompts, **options):  # type: ignore[arg-type]
        assert piece
        texts[row] = texts.get(row, "") + piece
    return texts


@pytest.mark.parametrize("length", [0, 1, 2, 15, 16, 17, 48, 200])
def test_length_is_exact(pair: Pair, length: int) -> None:
    """A text has exactly the characters asked for, whatever a symbol is, unless its document ended before."""
    for made in Generator(*pair).generate("the ", length=length, samples=3, settings=OWN, seed=5):
        if made.finish_reason == "eos":
            assert len(made.text) < length or length == 0
        else:
            assert made.finish_reason == "length"
            assert len(made.text) == length
            assert pair.tokenizer.decode(made.ids).startswith(made.text) or length == 0


@pytest.mark.parametrize("prompts", ["", "the ", ["the cat", "", "s", "a" * 300]])
@pytest.mark.parametrize("stop", [(), ("t",), ("at", "he c", ".\n")])
def test_streamed_pieces_join_to_the_whole(pair: Pair, prompts: str | list[str], stop: tuple[str, ...]) -> None:
    """A stream's pieces join to the texts that `generate` gives, for every unit, prompt and stop; and it keeps the same records."""
    generator = Generator(*pair)
    options = {"samples": 2, "length": 70, "settings": OWN, "seed": 9, "stop": stop}
    whole = generator.generate(prompts, **options)
    texts = joined(generator, prompts, **options)
    assert [made.row for made in whole] == list(range(len(whole)))
    assert {made.row: made.text for made in whole if made.text} == texts
    stream = generator.stream(prompts, **options)
    list(stream)
    assert [stream.finished[row] for row in sorted(stream.finished)] == whole


def test_rows_do_not_know_each_other(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row k of a call is the same text alone (by a writer) and among others, with few places or many, in short chunks or long."""
    generator = Generator(*pair)
    prompts = ["the cat", "", "dog " * 10]
    together = generator.generate(prompts, samples=4, length=60, seed=3, stop=["on"], settings=OWN)
    assert len({made.text for made in together}) > 6
    fewer = generator.generate(prompts[:1], samples=2, length=60, seed=3, stop=["on"], settings=OWN)
    assert fewer == together[:2]
    monkeypatch.setattr(generator_module, "_ROWS_AT_ONCE", 2)
    assert generator.generate(prompts, samples=4, length=60, seed=3, stop=["on"], settings=OWN) == together
    monkeypatch.setattr(generator_module, "_FIRST_CHUNK", 1)
    monkeypatch.setattr(generator_module, "_LARGEST_CHUNK", 3)
    assert generator.generate(prompts, samples=4, length=60, seed=3, stop=["on"], settings=OWN) == together


def test_a_row_is_what_a_writer_writes() -> None:
    """Row k of a call with seed s is the text of a writer with that seed and row."""
    for kind in ("char-stream", "char-documents"):
        engine, tokenizer = random_pair(kind)
        made = Generator(engine, tokenizer).generate(["the cat", ""], samples=2, length=80, seed=11, settings=OWN, stop=["sat"])
        for row, prompt in enumerate(["the cat", "the cat", "", ""]):
            writer = Writer(engine, tokenizer, prompt, seed=11, row=row, settings=OWN)
            assert writer.write(80, stop=["sat"]) == made[row].text
            assert math.isclose(writer.log_likelihood, made[row].log_likelihood, abs_tol=1e-9)


def test_seeds(stream_pair: Pair) -> None:
    """The same seed repeats a call; another seed, or none, gives other texts; the seed is told, and repeats what nobody chose."""
    generator = Generator(*stream_pair)
    one = generator.generate("the", seed=1, settings=OWN)[0]
    assert one == generator.generate("the", seed=1, settings=OWN)[0]
    assert one.text != generator.generate("the", seed=2, settings=OWN)[0].text
    free = generator.generate("the", settings=OWN)[0]
    assert free.text != generator.generate("the", settings=OWN)[0].text
    assert free == generator.generate("the", seed=free.seed, settings=OWN)[0]
    stream = generator.stream("the", settings=OWN)
    text = "".join(piece for _, piece in stream)
    assert text == generator.generate("the", seed=stream.seed, settings=OWN)[0].text
    for wrong in (-1, 1.5, True, "1"):
        with pytest.raises(SettingsError, match="seed"):
            generator.generate("the", seed=wrong)  # type: ignore[arg-type]


def test_score_of_what_was_written() -> None:
    """The log-likelihood of a written text equals its score after the prompt: with a prompt and without, in streams and documents."""
    for kind in ("char-stream", "char-documents"):
        engine, tokenizer = random_pair(kind, seed=1)
        scorer = Scorer(engine, tokenizer)
        settings = SampleSettings(temperature=0.6, top_k=6, top_p=0.95)
        for made in Generator(engine, tokenizer).generate(
            ["the cat", "", "zz"], samples=3, length=90, settings=settings, seed=4, stop=["t."]
        ):
            if not made.text:
                assert made.log_likelihood == 0.0
                continue
            score = scorer.score(made.text, made.prompt)
            assert math.isclose(made.log_likelihood, score.log_likelihood, abs_tol=1e-9)
            assert made.ids == tuple(score.ids.tolist())


def test_the_score_of_what_was_written_in_every_unit(pair: Pair) -> None:
    """The log-likelihood is that of the ids, whatever ended the text; it is the text's score wherever the text is cut into these ids."""
    scorer, same, cases = Scorer(*pair), 0, 0
    for length, stop, begins in ((2, (), ""), (2, (), "the"), (40, ("at ", "og"), ""), (41, (), "cat sat ")):
        if len(begins) > length:
            length += len(begins)
        for made in Generator(*pair).generate(["the cat", ""], samples=6, length=length, stop=stop, begins=begins, settings=OWN, seed=3):
            before = np.asarray(pair.tokenizer.encode(made.prompt)).tolist()
            before = before if pair.tokenizer.eos_id is None else [pair.tokenizer.eos_id, *before]
            if before and made.ids:
                ids = np.array([*before, *made.ids])
                logits, _ = pair.engine.advance(ids[None, :-1], pair.engine.initial_state(1))
                log_probs = log_softmax(logits[0])[np.arange(len(ids) - 1), ids[1:]]
                assert math.isclose(made.log_likelihood, log_probs[len(before) - 1 :].sum(), abs_tol=1e-9)
            if made.text:
                cases += 1
                if np.asarray(pair.tokenizer.encode(made.text)).tolist() == list(made.ids):
                    same += 1
                    assert math.isclose(made.log_likelihood, scorer.score(made.text, made.prompt).log_likelihood, abs_tol=1e-9)
    assert same == cases if pair.tokenizer.kind == "char" else 0 < same < cases


def test_stop_strings() -> None:
    """A stop string ends a text and is not in it: the first that is complete counts, across symbols and chunks, for a lone string too."""
    tokenizer = CharTokenizer.fit(TEXT)
    generator = reciting(tokenizer, TEXT)  # a stream: its first symbol is drawn by frequency, so give it as a prompt
    for stop, text in (("sat", "the cat "), (["mat", "cat s", "zz"], "the "), ("the dog", "the cat sat on the mat.\n"), (["t"], "")):
        (made,) = generator.generate("x", stop=stop, length=200)
        assert (made.text, made.finish_reason) == (text, "stop")
        assert tokenizer.decode(made.ids) == text
    (made,) = generator.generate("x", stop="the dog", length=26)
    assert (made.text, made.finish_reason) == (TEXT[:26], "length")
    (made,) = generator.generate("x", stop="the dog", length=31)
    assert (made.text, made.finish_reason) == ("the cat sat on the mat.\n", "stop")


def test_stop_strings_within_words() -> None:
    """Where a symbol is a word, a stop string is found within it and across words, and the text is cut there exactly."""
    tokenizer = WordTokenizer.fit(TEXT)
    generator = reciting(tokenizer, TEXT)
    for stop, text in (("he", "t"), ("t sa", "the ca"), ("on the ma", "the cat sat ")):
        (made,) = generator.generate("dog", stop=stop, length=200)
        assert (made.text, made.finish_reason) == (text, "stop")
    (made,) = generator.generate("dog", length=6)
    assert made.text == "the ca"
    assert tokenizer.decode(made.ids) == "the cat"


def test_stop_strings_are_not_looked_for_in_the_prompt() -> None:
    """A prompt that holds a stop string, or ends with the beginning of one, does not end the text."""
    generator = reciting(CharTokenizer.fit(TEXT), "at on the mat")
    (made,) = generator.generate("s", stop="sat", length=13)
    assert (made.text, made.finish_reason) == ("at on the mat", "length")
    (made,) = reciting(CharTokenizer.fit(TEXT), "e" * 9).generate("the sat, th", stop=["the", "sat"], length=6)
    assert (made.text, made.finish_reason) == ("eeeeee", "length")


def test_stop_strings_are_normalized_as_texts_are() -> None:
    """A stop string typed with a combining accent, or with a Windows line end, finds what the model writes."""
    tokenizer = CharTokenizer.fit("caf\u00e9\nx", normalization="NFC", newlines="lf")
    (made,) = reciting(tokenizer, "xxcaf\u00e9\n").generate("x", stop="e\u0301", length=50)
    assert made.text == "xxcaf"
    (made,) = reciting(tokenizer, "xxcaf\u00e9\n").generate("x", stop="\u00e9\r\n", length=50)
    assert made.text == "xxcaf"


def test_streams_hold_back_no_more_than_they_must() -> None:
    """A stream shows at once what cannot begin a stop string any more, and never shows a part of a stop string."""
    generator = reciting(CharTokenizer.fit(TEXT), "the cat sat")
    pieces = []
    for _, piece in generator.stream("x", stop="sat", length=100):
        pieces.append(piece)
    assert "".join(pieces) == "the cat "
    endless = generator.stream("x", stop="zz", length=None)
    first = "".join(piece for _, piece in itertools.islice(endless, 2))
    assert len(first) >= 8  # the first two chunks: nothing is held back


def test_eos_ends_a_document() -> None:
    """A document ends where the model says so; the <eos> is neither in the text nor in the ids nor in the likelihood."""
    tokenizer = CharTokenizer.fit(TEXT.splitlines())
    generator = reciting(tokenizer, "the hat", eos=True)
    (made,) = generator.generate(length=100)
    assert (made.text, made.finish_reason, len(made.ids)) == ("the hat", "eos", 7)
    assert tokenizer.eos_id not in made.ids
    (made,) = generator.generate(length=7)
    assert (made.text, made.finish_reason) == ("the hat", "length")
    (made,) = generator.generate(length=100, stop="at")
    assert (made.text, made.finish_reason) == ("the h", "stop")
    assert joined(generator, "", length=None) == {0: "the hat"}
    (made,) = reciting(tokenizer, "", eos=True).generate(length=100)
    assert (made.text, made.finish_reason, made.ids, made.log_likelihood) == ("", "eos", (), 0.0)


def test_a_document_begins_with_eos_and_a_stream_with_a_frequency(stream_pair: Pair, documents_pair: Pair) -> None:
    """Without a prompt a document is written from <eos>, and a stream from a symbol drawn by the training text's frequencies."""
    tokenizer = documents_pair.tokenizer
    logits, _ = documents_pair.engine.step([tokenizer.eos_id], documents_pair.engine.initial_state(1))
    logits[0, 0] = -np.inf
    (made,) = Generator(*documents_pair).generate(length=1, settings=SampleSettings(temperature=0.0))
    assert made.finish_reason == "eos" or made.ids[0] == int(logits[0].argmax())
    tokenizer = stream_pair.tokenizer
    made_many = Generator(*stream_pair).generate(length=1, samples=4000, seed=1, settings=OWN)
    counts = np.bincount([made.ids[0] for made in made_many], minlength=tokenizer.vocab_size)
    wanted = tokenizer.frequencies + 1.0
    wanted[0] = 0.0
    expected = wanted / wanted.sum() * 4000
    assert counts[0] == 0
    chi_square = (((counts - expected) ** 2)[1:] / expected[1:]).sum()
    freedom = len(wanted) - 2
    assert chi_square < freedom + 6 * math.sqrt(2 * freedom) + 20  # far beyond one false alarm in a million


def test_unknown_is_never_written() -> None:
    """<unk> is not written, however likely: not first in a stream, not later; where nothing else is left, the rest is certain."""
    tokenizer = CharTokenizer.fit("aaaab" * 3)
    generator = Generator(ScriptedEngine(tokenizer.vocab_size, [0]), tokenizer)
    for prompt in ("", "a"):
        for made in generator.generate(prompt, samples=20, length=50, settings=OWN, seed=2):
            assert set(made.text) <= {"a", "b"}
            assert made.log_likelihood < -50 * 40  # the model's own: what it was all but certain of was banned
    greedy = generator.generate("b", length=30, settings=SampleSettings(temperature=0.0))
    assert greedy[0].text == "a" * 30


def test_a_vocabulary_of_one() -> None:
    """With one symbol beside <unk>, that symbol is all there is to write."""
    tokenizer = CharTokenizer(["a"], [0, 5], unknown=True, eos=False)
    (made,) = Generator(ScriptedEngine(2, [0]), tokenizer).generate("", length=40, settings=OWN)
    assert made.text == "a" * 40


def test_unseen_symbols_of_a_prompt(stream_pair: Pair) -> None:
    """They are read as <unk>, and a notice names them; without an <unk> they are an error; the prompt stays as it was given."""
    generator = Generator(*stream_pair)
    made, plain = generator.generate(["ñandú ñ", "the"], length=5)
    assert made.prompt == "ñandú ñ"
    assert len(made.notices) == 1
    assert "'ñ' (2 times)" in made.notices[0]
    assert "'ú'" in made.notices[0]
    assert plain.notices == ()
    assert generator.stream(["ñ", "ñ", "the"]).notices == generator.generate("ñ", length=0)[0].notices
    many = generator.generate("ÀÈÌÒÙÁÉÍÓÚÝÄ", length=1)[0].notices[0]
    assert "and 2 others" in many
    strict = CharTokenizer.fit(TEXT, unknown=False)
    with pytest.raises(UnknownSymbolError, match="ñ"):
        Generator(ScriptedEngine(strict.vocab_size, [1]), strict).stream("ñ")


def test_prompts_of_any_length(stream_pair: Pair) -> None:
    """A long prompt is read to its first symbol: another beginning, with the same end, changes what is likely."""
    engine, tokenizer = stream_pair
    prompt = "the cat sat on the mat.\n" * 300
    (made,) = Generator(engine, tokenizer).generate(prompt, length=20, seed=1, settings=OWN)
    ids = np.asarray(tokenizer.encode(prompt + made.text)).astype(np.int64)
    logits, _ = engine.advance(ids[None, :-1], engine.initial_state(1))
    wanted = logits[0].astype(np.float64)
    wanted -= np.log(np.exp(wanted).sum(axis=1, keepdims=True))
    own = wanted[np.arange(len(ids) - 1), ids[1:]][-20:].sum()
    assert math.isclose(made.log_likelihood, own, abs_tol=1e-6)


def test_one_step_a_symbol() -> None:
    """A row costs one step a symbol, prompt included, and at most a chunk more: never the prefix again; samples share the prompt."""
    tokenizer = CharTokenizer.fit(TEXT)
    engine = ScriptedEngine(tokenizer.vocab_size, np.asarray(tokenizer.encode(TEXT)).tolist())
    Generator(engine, tokenizer).generate("the cat", length=300, samples=2)
    assert engine.rows_read == 6 + 2 * 300


def test_a_stream_may_never_stop(stream_pair: Pair) -> None:
    """Without a length a stream goes on; all its rows do, however many; and nothing is kept of it. `generate` must have a length."""
    generator = Generator(*stream_pair)
    stream = generator.stream("the", length=None, seed=1, settings=OWN)
    endless = ""
    while len(endless) < 1000:
        endless += next(stream)[1]
    assert stream.finished == {}
    assert generator.generate("the", length=1000, seed=1, settings=OWN)[0].text == endless[:1000]
    with pytest.raises(SettingsError, match="length is None"):
        generator.generate("the", length=None)  # type: ignore[arg-type]


def test_wrong_calls_are_told_at_once(stream_pair: Pair) -> None:
    """A wrong value is an error when the call is made, not when the first piece is asked for."""
    generator = Generator(*stream_pair)
    for options in ({"length": -1}, {"samples": 0}, {"stop": [""]}, {"seed": -1}, {"stop": [1]}, {"samples": 1.5}):
        with pytest.raises(SettingsError):
            generator.stream("the", **options)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="prompts holds 5"):
        generator.stream([5])  # type: ignore[list-item]
    with pytest.raises(SettingsError, match="same vocabulary"):
        Generator(ScriptedEngine(3, [0]), stream_pair.tokenizer)
    assert generator.generate([]) == []


def test_generated_is_plain_data(stream_pair: Pair) -> None:
    """A text's record says what it was made of."""
    (made,) = Generator(*stream_pair).generate("the", length=3, seed=8)
    assert isinstance(made, Generated)
    assert (made.prompt, made.seed, made.row, len(made.ids), made.notices) == ("the", 8, 0, 3, ())
    assert all(type(one) is int for one in made.ids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "largest", "soon"), [(1, 1, 0.0), (3, 7, float("inf")), (64, 64, 0.0)])
def test_chunks_leave_no_trace(kind: str, first: int, largest: int, soon: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts, their ids, their likelihood and their ends are the same however many symbols are asked of the engine at once."""
    generator = Generator(*random_pair(kind))
    asked: Any = {"samples": 5, "length": 60, "seed": 3, "stop": ("at", "e\n"), "settings": SampleSettings(temperature=1.1)}
    usual = generator.generate("the ", **asked)
    for name in ("_FIRST_CHUNK", "_SMALLEST_CHUNK"):
        monkeypatch.setattr(f"escriba.inference.generator.{name}", first)
    monkeypatch.setattr("escriba.inference.generator._LARGEST_CHUNK", largest)
    monkeypatch.setattr("escriba.inference.generator._PIECE_S", soon)
    assert generator.generate("the ", **asked) == usual
    stream = generator.stream("the ", **asked)
    pieces = list(stream)
    assert [stream.finished[row] for row in range(5)] == usual
    assert ["".join(piece for of, piece in pieces if of == row) for row in range(5)] == [one.text for one in usual]


def test_texts_that_end_soon_are_not_written_far_behind_their_ends() -> None:
    """Where documents are short, the chunks stay short: no more than twice as many symbols are read as are written."""
    tokenizer = CharTokenizer.fit(["abcdefgh"])
    engine = ScriptedEngine(tokenizer.vocab_size, [*tokenizer.encode("abcdefg").tolist(), tokenizer.eos_id])
    made = Generator(engine, tokenizer).generate(samples=600, length=500, settings=SampleSettings(temperature=0.0), seed=1)
    assert {one.text for one in made} == {"abcdefg"}
    assert engine.rows_read < 2 * 600 * 8
