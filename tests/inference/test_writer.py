"""One text that goes on: what comes next, what is pushed, what is written, and branches of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scripted import ScriptedEngine
from small_models import TEXT, Pair, fitted

from escriba.engine.protocol import Engine
from escriba.errors import SettingsError, UnknownSymbolError
from escriba.inference.scorer import Scorer
from escriba.inference.writer import Writer
from escriba.settings import SampleSettings
from escriba.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer, WordTokenizer
from escriba.using import Model

OWN = SampleSettings(temperature=1.0)


def reciting(tokenizer: Tokenizer, text: str, prompt: str, *, eos: bool = False) -> Writer:
    """A writer that recites a text after a prompt of one symbol (or after the <eos> of a document)."""
    script = np.asarray(tokenizer.encode(text)).tolist()
    engine = ScriptedEngine(tokenizer.vocab_size, [*script, tokenizer.eos_id] if eos else script)
    return Writer(engine, tokenizer, prompt, seed=1)


def test_next_is_the_models_own_distribution(pair: Pair) -> None:
    """The probabilities sum to one and are the engine's after the prompt; the likeliest come first; asking changes nothing."""
    writer = Writer(*pair, "the cat", seed=1, settings=SampleSettings(temperature=0.1))
    first = writer.next()
    assert abs(first.probabilities.sum() - 1) < 1e-9
    assert first.symbols == tuple(pair.tokenizer.symbols)
    top = first.top(4)
    assert [probability for _, probability in top] == sorted(first.probabilities, reverse=True)[:4]
    assert top[0][0] == first.symbols[int(first.log_probs.argmax())]
    assert len(first.top(10_000)) == pair.tokenizer.vocab_size
    assert repr(top[0][0]) in str(first)
    ids = np.asarray(pair.tokenizer.encode("the cat")).astype(np.int64)
    if pair.tokenizer.eos_id is not None:
        ids = np.concatenate([[pair.tokenizer.eos_id], ids])
    logits, _ = pair.engine.advance(ids[None], pair.engine.initial_state(1))
    wanted = logits[0, -1].astype(np.float64)
    np.testing.assert_allclose(first.log_probs, wanted - np.log(np.exp(wanted).sum()), atol=1e-6)
    first.log_probs[:] = 0.0  # the caller's own
    assert abs(writer.next().probabilities.sum() - 1) < 1e-9


def test_the_start(stream_pair: Pair, documents_pair: Pair) -> None:
    """Before anything, a stream's distribution is the training text's frequencies plus one; a document's is the network's after <eos>."""
    counts = stream_pair.tokenizer.frequencies + 1
    np.testing.assert_allclose(Writer(*stream_pair).next().probabilities, counts / counts.sum(), atol=1e-12)
    logits, _ = documents_pair.engine.step([documents_pair.tokenizer.eos_id], documents_pair.engine.initial_state(1))
    np.testing.assert_array_equal(np.argsort(Writer(*documents_pair).next().log_probs), np.argsort(logits[0].astype(np.float64)))


@pytest.mark.parametrize("prompt", ["", "the cat"])
def test_pieces_are_the_whole(pair: Pair, prompt: str) -> None:
    """However it is written, in one call or many, with looks between, the text and its likelihood are the same."""
    whole = Writer(*pair, prompt, seed=2, settings=OWN)
    text = whole.write(120)
    parts = Writer(*pair, prompt, seed=2, settings=OWN)
    pieces = ""
    lengths = itertools.cycle((1, 0, 2, 40, 7))
    while len(pieces) < len(text):
        pieces += parts.write(min(next(lengths), len(text) - len(pieces)))
        parts.next()
    assert pieces == text
    assert parts.ids == whole.ids
    assert math.isclose(parts.log_likelihood, whole.log_likelihood, abs_tol=1e-9)
    assert whole.text == prompt + text


def test_push_is_as_good_as_prompt_and_score(pair: Pair) -> None:
    """What is pushed changes what comes next as a longer prompt would, and counts in the likelihood as its score does."""
    writer = Writer(*pair, "the ", seed=3)
    for piece in ("cat", "", " ", "sat on"):
        writer.push(piece)
    assert writer.text == "the cat sat on"
    prompted = Writer(*pair, "the cat sat on", seed=3)
    np.testing.assert_allclose(writer.next().log_probs, prompted.next().log_probs, atol=1e-9)
    assert writer.ids == prompted.ids
    assert math.isclose(writer.log_likelihood, Scorer(*pair).score("cat sat on", "the ").log_likelihood, abs_tol=1e-9)
    assert prompted.log_likelihood == 0.0
    empty = Writer(*pair, seed=3)
    empty.push("the cat")
    assert math.isclose(empty.log_likelihood, Scorer(*pair).score("the cat").log_likelihood, abs_tol=1e-9)


def test_forks_are_strangers(pair: Pair) -> None:
    """A branch goes on as its origin would; then what one does, the other does not feel. With a seed of its own it goes its own way."""
    writer = Writer(*pair, "the ", seed=4, settings=OWN)
    writer.write(10)
    if writer.finished:
        writer.push("a")
    branch, other, control = writer.fork(), writer.fork(seed=99), writer.fork()
    ids = writer.ids
    branch.push("zzz")
    branch.write(50)
    assert writer.ids == ids
    assert other.write(60) != (text := control.write(60)) or not text
    assert writer.write(60) == text
    assert branch.text.startswith(control.text[:4])
    assert writer.ids == control.ids
    assert (other.seed, writer.seed) == (99, 4)


def test_stop_and_on() -> None:
    """A text ends before a stop string, the writer stands there, and goes on when the stop string is pushed."""
    writer = reciting(CharTokenizer.fit(TEXT), "he cat sat on the mat.", "t")
    assert writer.write(100, stop="sat") == "he cat "
    assert writer.text == "the cat "
    assert writer.next().top(1)[0][0] == "s"
    writer.push("sat")
    assert writer.write(100, stop=["mat", "zz"]) == " on the "
    assert writer.log_likelihood > -1e-6
    assert writer.write(100, stop="m") == ""
    assert writer.finished is None


def test_stop_strings_are_normalized_as_texts_are() -> None:
    """A stop string typed with a combining accent and a Windows line end finds what the model writes."""
    assert reciting(CharTokenizer.fit("caf\u00e9\nx"), "xcaf\u00e9\n", "x").write(50, stop="e\u0301\r\n") == "xcaf"


def test_stop_over_many_chunks() -> None:
    """A stop string far away, longer than a chunk, is found, and the writer wound back to before it, without reading all again."""
    tokenizer = CharTokenizer.fit(TEXT)
    script = "he cat " * 100 + "sat on the dog " * 10
    writer = reciting(tokenizer, script, "t")
    stop = "sat on the dog " * 5
    assert writer.write(5000, stop=stop) == "he cat " * 100
    engine = writer._reader.engine
    assert isinstance(engine, ScriptedEngine)
    assert engine.rows_read < 700 + len(stop) + 4 * 32
    assert writer.write(15) == "sat on the dog "


def test_draws_do_not_depend_on_chunks(stream_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stop the next call's draws are the same whatever the size of a chunk."""
    texts = set()
    for chunk in (1, 5, 32, 1000):
        monkeypatch.setattr("escriba.inference.writer._CHUNK", chunk)
        writer = Writer(*stream_pair, "the", seed=6, settings=OWN)
        texts.add(tuple(writer.write(60, stop=["a", "he"]) for _ in range(6)))
    assert len(texts) == 1
    assert len(set(texts.pop())) > 1


def test_words_are_not_cut() -> None:
    """A writer of words ends at a whole word: the length is reached, and a word in which a stop string begins is taken back."""
    tokenizer = WordTokenizer.fit(TEXT)
    writer = reciting(tokenizer, " cat sat on the mat", "the")
    assert writer.write(6) == " cat sat"
    assert writer.write(100, stop="he") == " on "
    assert writer.text == "the cat sat on "
    assert writer.next().top(1)[0][0] == "the"


def test_bytes_wait_for_their_character() -> None:
    """A character of several bytes appears when its last byte is written; what is pushed in its midst stands after its replacement."""
    tokenizer = ByteTokenizer.fit("x")
    writer = reciting(tokenizer, "xñ€yz", "x")
    assert [writer.write(1) for _ in range(4)] == ["x", "ñ", "€", "y"]
    engine = ScriptedEngine(256, [0xC3, 0x41, 0xE2])
    writer = Writer(engine, tokenizer, "x")
    assert writer.write(1) == "\ufffdA"
    engine.script = [0xE2] * 5
    writer = Writer(engine, tokenizer, "x")
    assert writer.write(1) == "\ufffd"
    branch = writer.fork()
    writer.push("ok")
    assert writer.text == "x\ufffd\ufffdok"
    assert tokenizer.decode(writer.ids) == writer.text
    assert branch.write(1) == "\ufffd"
    assert len(branch.ids) == len("x") + 3


def test_the_end_of_a_document() -> None:
    """At <eos> the writer has finished and writes nothing more; after a push it goes on."""
    writer = reciting(CharTokenizer.fit(TEXT.splitlines()), "the hat", "", eos=True)
    assert writer.write(100) == "the hat"
    assert writer.finished == "eos"
    assert writer.write(100) == ""
    assert len(writer.ids) == 7
    writer.push("s")
    assert writer.finished is None
    assert writer.write(3) == "the"


def test_unseen_symbols(stream_pair: Pair) -> None:
    """They are read as <unk>, kept as they were given, and named in notices; without an <unk> the error changes nothing."""
    writer = Writer(*stream_pair, "año", seed=1)
    writer.push("é")
    assert writer.text == "añoé"
    assert ["ñ" in writer.notices[0], "é" in writer.notices[1]] == [True, True]
    strict = CharTokenizer.fit(TEXT, unknown=False)
    careful = Writer(ScriptedEngine(strict.vocab_size, [3]), strict, "the")
    with pytest.raises(UnknownSymbolError):
        careful.push("cañ")
    assert (careful.text, careful.write(2)) == ("the", strict.decode([3, 3]))


def test_unknown_is_never_written() -> None:
    """<unk> is shown among what may come next, and never written."""
    tokenizer = CharTokenizer.fit("ab")
    writer = Writer(ScriptedEngine(3, [0]), tokenizer, "a", seed=1, settings=OWN)
    assert writer.next().top(1)[0][0] == "<unk>"
    assert set(writer.write(50)) == {"a", "b"}


def test_an_interruption_leaves_the_writer_where_it_was(stream_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the midst of writing: the writer stands where it stood, and writes then what it would have written."""
    writer = Writer(*stream_pair, "the", seed=7, settings=OWN)
    control = writer.fork()
    calls = 0
    write = type(stream_pair.engine).write

    def interrupted(self: Engine, *arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return write(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(stream_pair.engine), "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.write(500)
    monkeypatch.undo()
    assert writer.text == "the"
    np.testing.assert_array_equal(writer.next().log_probs, control.next().log_probs)
    assert writer.write(100) == control.write(100)


def test_settings_of_one_call(stream_pair: Pair) -> None:
    """Settings given to a call count for it alone."""
    writer = Writer(*stream_pair, "the", seed=8, settings=OWN)
    greedy = writer.fork().write(30, settings=SampleSettings(temperature=0.0))
    assert greedy == writer.fork(seed=9).write(30, settings=SampleSettings(temperature=0.0))
    assert greedy != writer.write(30)
    assert writer.settings == OWN


def test_wrong_calls_change_nothing(stream_pair: Pair) -> None:
    """A wrong length or stop string is an error; vocabularies that do not match are one too."""
    writer = Writer(*stream_pair, "the", seed=1)
    for options in ({"length": -1}, {"length": None}, {"stop": ""}, {"stop": [""]}):
        with pytest.raises(SettingsError):
            writer.write(**options)  # type: ignore[arg-type]
    assert writer.text == "the"
    with pytest.raises(SettingsError, match="same vocabulary"):
        Writer(ScriptedEngine(3, [0]), fitted("char-stream"))


def test_a_models_writer_shows_what_comes_next(stream_pair: Pair) -> None:
    """The distribution of a model's writer, and of its branches, is one that shows itself in a notebook, after the text so far."""
    model = Model(*stream_pair)
    writer = model.writer("the ", seed=1).fork()
    writer.push("c")
    found = writer.next()
    np.testing.assert_allclose(found.log_probs, model.next("the c").log_probs, atol=1e-9)
    assert found.context == "the c"
    assert "What comes after the␣c" in found._repr_html_()
