"""The public face: `train`, `load` and `Model`, and that `train` is no more than the small public steps."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escriba
from escriba.errors import CheckpointError, MissingExtraError, SettingsError, TextError, UnknownSymbolError
from escriba.results import Begun, Closed, Sampled

pytest.importorskip("torch", reason="PyTorch is not installed")

from escriba import Model
from escriba.training.events import CheckpointDue, Evaluated, Finished, Progress

TINY: dict[str, Any] = {
    "cell": "gru",
    "hidden_size": 8,
    "embedding_dim": 6,
    "batch_size": 8,
    "seq_len": 20,
    "learning_rate": 0.02,
    "precision": "float32",
    "sample_length": 20,
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread: None) -> None:
    """All tests of this module."""


@pytest.fixture(scope="module")
def fox(story: str, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small model of a stream, trained for a few steps into a folder."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "fox.txt").write_text(story, encoding="utf-8")
    return escriba.train(folder / "fox.txt", out=folder / "fox", steps=40, keep_every="20", **TINY)


@pytest.fixture(scope="module")
def loaded(fox: Model) -> Model:
    """The same, from its folder."""
    assert fox.folder is not None
    return escriba.load(fox.folder)


@pytest.fixture(scope="module")
def saints(names: tuple[str, ...]) -> Model:
    """A small model of documents, in memory."""
    return escriba.train(documents=names, steps=30, **TINY)


def weights(model: Model) -> dict[str, np.ndarray]:
    """A model's weights, live or from a folder."""
    return dict(model.net.get_weights() if model.net is not None else model._weights or {})


def assert_same_weights(one: Model, other: Model) -> None:
    """Bit for bit."""
    assert weights(one).keys() == weights(other).keys()
    for name, array in weights(one).items():
        np.testing.assert_array_equal(array, weights(other)[name])


def test_trained_in_memory(saints: Model, names: tuple[str, ...]) -> None:
    """Documents given as such make a model without a folder, which writes and scores, and knows what it learnt."""
    assert saints.folder is None
    assert saints.run.events == ()
    written = saints.generate(samples=5, seed=1)
    assert {one.finish_reason for one in written} <= {"eos", "length"}
    assert saints.score("maria").log_likelihood > saints.score("xyzzy").log_likelihood
    new = [name for name in names if saints.is_novel(name)]
    assert 0 < len(set(new)) < 0.2 * len(set(names))
    assert saints.recall(next(name for name in names if name not in new)).new_lines == 0


def test_trained_to_a_folder(fox: Model) -> None:
    """The folder holds the model, its history, its samples and what resuming needs, and nothing half made is left."""
    folder = fox.folder
    assert folder is not None
    assert sorted(path.name for path in folder.iterdir()) == [
        *["config.json", "kept", "metrics.jsonl", "model.safetensors", "samples.txt", "tokenizer.json", "training", "typical.json"]
    ]
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []
    run = fox.run
    assert run.finished
    assert run.events[0]["event"] == "begun"
    assert run.last("begun")["corpus"]["characters"] == 12_000
    assert run.last("finished")["steps"] == 40
    losses = [line["loss_nats"] for line in run.evaluations]
    assert losses[0] == pytest.approx(math.log(fox.tokenizer.vocab_size), rel=0.02)
    assert run.best["loss_nats"] == min(losses) < losses[0] - 0.1
    assert "=== step 40, temperature 0.5\n" in (folder / "samples.txt").read_text(encoding="utf-8")


def test_the_default_folder(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder of its own a model of a file is kept under models/, by the text's name."""
    monkeypatch.chdir(tmp_path)
    Path("Mi libro 2.es.txt").write_text(story, encoding="utf-8")
    model = escriba.train("Mi libro 2.es.txt", steps=1, **TINY)
    assert model.folder == Path("models") / "Mi-libro-2"
    assert_same_weights(escriba.load("Mi-libro-2"), model)


def test_train_is_the_small_public_steps(story: str) -> None:
    """Read, cut in parts, fit a tokenizer, encode, make streams and a network, fit: the weights are bit for bit those of `train`."""
    whole = escriba.train(text=story, steps=30, dropout=0.2, averaging=0.9, seed=4, **TINY)

    corpus = escriba.read(text=story)
    parts = corpus.parts(seed=4)
    tokenizer = escriba.CharTokenizer.fit(corpus, count_in=parts.whole_train)
    data = escriba.streams(parts.train.encode(tokenizer), seq_len=20, batch_size=8, seed=4)
    net = escriba.LanguageModel(tokenizer.vocab_size, cell="gru", hidden_size=8, embedding_dim=6, dropout=0.2, seed=4, **rest("model"))
    assert parts.choosing is not None
    both = {
        "choosing": parts.choosing.encode(tokenizer),
        "whole": escriba.streams(parts.whole_train.encode(tokenizer), seq_len=20, batch_size=8, seed=4),
    }
    for event in escriba.fit(net, data, **both, steps=30, averaging=0.9, seed=4, **rest("train")):
        assert event.step <= 30
    by_hand = Model(net, tokenizer)

    assert_same_weights(by_hand, whole)
    assert by_hand.tokenizer == whole.tokenizer
    assert by_hand.score("the cat").log_likelihood == pytest.approx(whole.score("the cat").log_likelihood, abs=1e-4)


def rest(stage: str) -> dict[str, Any]:
    """The preset's other settings, as `train` uses them."""
    small = escriba.preset("small", model={"cell": "gru"})
    if stage == "model":
        return {
            name: value for name, value in small.model.as_dict().items() if name not in ("cell", "hidden_size", "embedding_dim", "dropout")
        }
    ours = {"learning_rate": 0.02, "precision": "float32", "minutes": None, "sample_length": 20}
    theirs = small.train.as_dict()
    return {name: ours.get(name, value) for name, value in theirs.items() if name not in ("steps", "averaging", "seed")}


def test_what_is_watched(story: str) -> None:
    """A watcher is told how it begins, every event, every sample, and how it closes."""
    seen: list[Any] = []
    escriba.train(text=story, steps=10, watcher=seen.append, sample_temperatures=(0.3, 0.9), sample_prompt="The ", **TINY)
    assert isinstance(seen[0], Begun)
    assert isinstance(seen[-1], Closed)
    assert isinstance(seen[-2], Finished)
    assert {type(event) for event in seen} >= {Progress, Evaluated, CheckpointDue, Sampled}
    assert (seen[0].folder, seen[0].restored, seen[0].characters_per_symbol) == (None, None, 1.0)
    assert seen[0].parameters * 4 / 1e6 == seen[0].megabytes
    samples = [event for event in seen if isinstance(event, Sampled)]
    assert {event.temperature for event in samples} == {0.3, 0.9}
    assert all(event.text.startswith("The ") and len(event.text) == 24 for event in samples)
    closed = seen[-1]
    assert (closed.reason, closed.steps, closed.held_out_symbols) == ("length", 10, 1199)
    assert closed.loss_nats is not None
    assert closed.bits_per_char == pytest.approx(closed.loss_nats / math.log(2))
    assert closed.perplexity == pytest.approx(math.exp(closed.loss_nats))


def test_the_same_training_gives_the_same_bytes(story: str, tmp_path: Path) -> None:
    """Two trainings alike write the same config.json, tokenizer.json and model.safetensors; another seed other weights."""
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        escriba.train(text=story, out=tmp_path / name, steps=6, seed=seed, dropout=0.2, **TINY)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "model.safetensors").read_bytes() != (tmp_path / "three" / "model.safetensors").read_bytes()


def test_loaded_is_as_trained(fox: Model, loaded: Model) -> None:
    """From the folder come the same weights, settings, text and score."""
    assert_same_weights(loaded, fox)
    assert loaded.config == fox.config
    assert loaded.parameters == fox.parameters == sum(array.size for array in weights(fox).values())
    for prompt in ("", "The cat", "ñ"):
        assert loaded.generate(prompt, 80, seed=3) == fox.generate(prompt, 80, seed=3)
    assert loaded.score("The cat sat.") == fox.score("The cat sat.")
    assert repr(loaded) == f"<Model: gru 8, {fox.parameters:,} parameters, {fox.tokenizer.vocab_size} symbols, {fox.folder}>"


def test_a_kept_moment(fox: Model, story: str) -> None:
    """`at` opens the weights as they were then: those of a training that ended there."""
    assert fox.folder is not None
    early = escriba.load(fox.folder, at="step:20")
    assert early.score("The cat.").log_likelihood != fox.score("The cat.").log_likelihood
    with pytest.raises(CheckpointError, match="keeps no weights of 'step:21'"):
        escriba.load(fox.folder, at="step:21")


def test_a_kept_moment_is_not_the_best(story: str, tmp_path: Path) -> None:
    """When training makes the model worse, the model is the best one, and the kept moment what the weights were then."""
    settings = {**TINY, "learning_rate": 3.0, "schedule": "constant", "warmup_steps": 0}
    model = escriba.train(text=story, out=tmp_path / "m", steps=5, keep_every="5", **settings)
    assert model.run.best["step"] == 0
    assert not weights(escriba.load(tmp_path / "m"))["output.bias"].any()
    assert weights(escriba.load(tmp_path / "m", at="step:5"))["output.bias"].any()


def test_generate(loaded: Model) -> None:
    """One prompt gives a text; several, or samples, a list, prompt by prompt; each knows where it came from."""
    exact = escriba.load(str(loaded.folder), precision="float32")
    one = exact.generate("The ", 50, seed=5, temperature=0.7)
    assert isinstance(one, str)
    assert (str(one), len(one.continuation)) == ("The " + one.continuation, 50)
    assert (one.prompt, one.seed, one.row, one.finish_reason) == ("The ", 5, 0, "length")
    assert one.log_likelihood == pytest.approx(loaded.score(one.continuation, after="The ").log_likelihood, abs=1e-3)
    several = exact.generate(["The ", "A "], 50, samples=2, seed=5, temperature=0.7)
    assert [made.prompt for made in several] == ["The ", "The ", "A ", "A "]
    assert [made.row for made in several] == [0, 1, 2, 3]
    assert several[0] == one
    assert isinstance(loaded.generate(["The "], 3), list)
    assert isinstance(loaded.generate("The ", 3, samples=1), list)
    assert json.loads(json.dumps(one.as_dict()))["text"] == one.continuation


def test_a_seed_nobody_chose(loaded: Model) -> None:
    """Without a seed texts differ, and each tells the seed that writes it again."""
    one, other = loaded.generate("", 60), loaded.generate("", 60)
    assert one != other
    assert loaded.generate("", 60, seed=one.seed) == one


def test_stop(loaded: Model) -> None:
    """A text ends before the first of several strings, and says that it was stopped."""
    whole = loaded.generate("The ", 300, seed=1)
    end = min(whole.continuation.index("."), whole.continuation.index("a"))
    made = loaded.generate("The ", 300, seed=1, stop=[".", "a"])
    assert (made.continuation, made.finish_reason) == (whole.continuation[:end], "stop")
    assert loaded.generate("The ", 300, seed=1, stop=".").continuation == whole.continuation[: whole.continuation.index(".")]


def test_stream(loaded: Model) -> None:
    """The pieces join to what is written whole; without a length there is no end."""
    pieces = list(loaded.stream("The ", 200, seed=2))
    assert len(pieces) > 3
    assert "".join(pieces) == loaded.generate("The ", 200, seed=2).continuation
    endless = "".join(itertools.islice(loaded.stream("The ", None, seed=2), 40))
    assert endless.startswith("".join(pieces))


def test_writer_and_next(loaded: Model) -> None:
    """A writer goes on step by step; the next symbol's probabilities are those that a score is made of."""
    writer = loaded.writer("The ", seed=3)
    fork = writer.fork()
    top = writer.next().top(3)
    assert len(top) == 3
    assert top[0][1] >= top[1][1] >= top[2][1]
    symbol, probability = escriba.load(str(loaded.folder), precision="float32").next("The ").top(1)[0]
    assert loaded.score(symbol, after="The ").log_likelihood == pytest.approx(math.log(probability), abs=1e-5)
    writer.push("cat")
    assert writer.text == "The cat"
    assert fork.write(10) == loaded.writer("The ", seed=3).write(10)


def test_score(loaded: Model) -> None:
    """The parts of a score agree with each other, and a text after a context with the two together."""
    score = loaded.score("The cat.")
    assert score.symbols == len(score.surprisals) == 8
    assert score.log_likelihood == pytest.approx(-sum(score.surprisals))
    assert score.bits_per_char == pytest.approx(-score.log_likelihood / 8 / math.log(2))
    assert score.perplexity == pytest.approx(math.exp(-score.log_likelihood / 8))
    whole = loaded.score("The cat. The dog.").log_likelihood
    assert loaded.score(" The dog.", after="The cat.").log_likelihood == pytest.approx(whole - score.log_likelihood, abs=1e-4)
    assert set(score.as_dict()) == {
        *["log_likelihood", "symbols", "bits_per_char", "bits_per_byte", "perplexity", "unknown", "convention", "more_surprising_than"]
    }
    assert f"{score.log_likelihood:.3f} nats" in str(score)


def test_rank(loaded: Model) -> None:
    """Texts from the likeliest to the least likely."""
    texts = ["ÑÑÑÑ", "The cat.", "tac ehT.", "a "]
    ranked = loaded.rank(iter(texts), after="The ")
    assert sorted(score.text for score in ranked) == sorted(texts)
    assert [score.log_likelihood for score in ranked] == sorted((score.log_likelihood for score in ranked), reverse=True)
    assert ranked[0] == loaded.score(ranked[0].text, after="The ")
    assert ranked[-1].log_likelihood < ranked[0].log_likelihood - 1


def test_unseen_symbols(loaded: Model, saints: Model) -> None:
    """A prompt's unseen symbols are named in one warning; a score counts them."""
    with pytest.warns(UserWarning, match="日") as caught:
        loaded.generate("日", 5, samples=3)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="日"):
        list(loaded.stream("日", 5))
    assert loaded.score("the 日本").unknown == 2
    with pytest.warns(UserWarning, match="Q"):
        saints.generate("Q", 5)


def test_without_unknown(story: str) -> None:
    """A vocabulary without <unk> makes an unseen symbol an error that names it."""
    model = escriba.train(text=story, steps=1, unknown=False, **TINY)
    assert model.tokenizer.unk_id is None
    with pytest.raises(UnknownSymbolError, match="日"):
        model.generate("日", 5)


def test_save(saints: Model, tmp_path: Path) -> None:
    """A model in memory is saved whole, never over another unasked, and opens as the same; so does one that was opened."""
    folder = saints.save(tmp_path / "saints")
    assert sorted(path.name for path in folder.iterdir()) == [
        *["config.json", "fingerprint.safetensors", "model.safetensors", "tokenizer.json", "typical.json"]
    ]
    again = escriba.load(folder)
    assert_same_weights(again, saints)
    with pytest.raises(CheckpointError, match="is there already"):
        saints.save(folder)
    saints.save(folder, overwrite=True)
    assert (escriba.load(again.save(tmp_path / "copy"))).score("maria") == again.score("maria")
    saints.folder = None


def test_a_vocabulary_that_leaves_much_out_is_told(story: str) -> None:
    """More than a hundredth of the held-out words are outside it: the bits flatter the model, and the first lines say so."""
    notes: dict[int, list[str]] = {}
    for most in (6, 1000):
        escriba.train(
            text=story, unit="word", max_vocab_size=most, steps=1, hidden_size=8, embedding_dim=6,
            watcher=lambda event, most=most: notes.setdefault(most, list(event.notes)) if hasattr(event, "notes") else None,
        )  # fmt: skip
    assert any("of the held-out symbols are not in the vocabulary" in note for note in notes[6])
    assert not any("not in the vocabulary" in note for note in notes[1000])


def test_an_untrained_model(tmp_path: Path) -> None:
    """A network without training writes noise, scores ln V a symbol within 2 %, and can be saved."""
    text = "the quick brown fox jumps over the lazy dog. " * 20
    tokenizer = escriba.CharTokenizer.fit(text)
    model = Model(escriba.LanguageModel(tokenizer.vocab_size, cell="lstm", embedding_dim=6, hidden_size=8), tokenizer)
    score = model.score("the lazy fox jumps over the brown dog", after=" ")
    assert -score.log_likelihood / score.symbols == pytest.approx(math.log(tokenizer.vocab_size), rel=0.02)
    assert len(model.generate("", 100, seed=1)) == 100
    probabilities = np.exp(model.next("the ").log_probs)
    assert probabilities.max() < 2 * probabilities.min()
    assert escriba.load(model.save(tmp_path / "noise")).score("the").log_likelihood == pytest.approx(
        model.score("the").log_likelihood, abs=1e-4
    )


def test_an_engine_alone(loaded: Model) -> None:
    """Any engine with a tokenizer makes a model; what is not known of it is said, not guessed."""
    model = Model(loaded.engine, loaded.tokenizer)
    assert model.generate("The ", 20, seed=1) == loaded.generate("The ", 20, seed=1)
    assert model.parameters is None
    with pytest.raises(CheckpointError, match="cannot be saved"):
        model.save("nowhere")


def test_resume(story: str, tmp_path: Path) -> None:
    """A training that was stopped goes on to the weights of one that never was, with one history."""
    (tmp_path / "fox.txt").write_text(story, encoding="utf-8")
    settings = {"steps": 40, "eval_every": 10, "dropout": 0.3, **TINY}
    source, out = tmp_path / "fox.txt", tmp_path / "fox"

    class Stopped(Exception):
        """What a crash is to the training."""

    def crash(event: Any) -> None:
        if isinstance(event, Progress) and event.step == 25:
            raise Stopped

    with pytest.raises(Stopped):
        escriba.train(source, out=out, watcher=crash, **settings)
    seen: list[Any] = []
    resumed = escriba.train(source, out=out, resume=True, watcher=seen.append)
    assert seen[0].restored.startswith("step 20:")
    assert_same_weights(resumed, escriba.train(source, out=tmp_path / "whole", **settings))
    steps = [line["step"] for line in resumed.run.events if line["event"] == "progress"]
    assert steps == [10, 20, 30, 40]
    assert resumed.run.finished
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (out / "samples.txt").read_bytes() == (tmp_path / "whole" / "samples.txt").read_bytes()


def test_resume_refuses_what_is_not_the_same(story: str, tmp_path: Path) -> None:
    """Another text, another held-out text or another setting is refused with the difference; the same setting is none."""
    for name, text in (("fox", story), ("val", story[:500]), ("other", story[:-1])):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    out, val = tmp_path / "m", tmp_path / "val.txt"
    escriba.train(tmp_path / "fox.txt", out=out, val=val, steps=4, **TINY)

    def resume(name: str = "fox", val: Any = val, **settings: Any) -> Model:
        return escriba.train(tmp_path / f"{name}.txt", out=out, val=val, resume=True, **settings)

    with pytest.raises(TextError, match="not the text of the training"):
        resume("other")
    for other in ((), tmp_path / "other.txt"):
        with pytest.raises(TextError, match="held-out text is not that of the training"):
            resume(val=other)
    with pytest.raises(SettingsError, match="hidden_size is 9, but the training to resume has 8"):
        resume(hidden_size=9)
    with pytest.raises(SettingsError, match="steps is 5"):
        resume(steps=5)
    with pytest.warns(UserWarning, match="is finished"):
        resume(hidden_size="8", steps=4)


def test_an_existing_model(fox: Model, story: str) -> None:
    """A finished one is not overwritten unasked; asked, it is replaced. Without training an unfinished one shows how to go on."""
    assert fox.folder is not None
    before = (fox.folder / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="is there already") as caught:
        escriba.train(text=story, out=fox.folder, steps=1, **TINY)
    assert "--overwrite" in (caught.value.hint or "")
    assert (fox.folder / "model.safetensors").read_bytes() == before


def test_overwrite_and_resume_of_nothing(story: str, tmp_path: Path) -> None:
    """`overwrite` replaces a model; `resume` without anything to go on with begins."""
    out = tmp_path / "m"
    escriba.train(text=story, out=out, steps=1, resume=True, **TINY)
    first = escriba.load(out).score("the")
    second = escriba.train(text=story, out=out, steps=2, overwrite=True, **TINY)
    assert escriba.load(out).run.last("finished")["steps"] == 2
    assert first != second.score("the")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda story: escriba.train(text=story, hiden_size=8), SettingsError, "no setting 'hiden_size'"),
        (lambda story: escriba.train(text=story, preset="smal"), SettingsError, "no preset 'smal'"),
        (lambda story: escriba.train(text=story, steps=1, epochs=1), SettingsError, "one of steps, epochs and minutes"),
        (lambda story: escriba.train(text=story, examples="documents", **TINY), SettingsError, "the text is one stream"),
        (lambda story: escriba.train(text=""), TextError, "empty"),
        (lambda story: escriba.train(text="aaaa"), TextError, "the only character"),
        (lambda story: escriba.train(), TextError, "nothing to read"),
        (lambda story: escriba.train("no-such-file.txt"), TextError, "no-such-file"),
        (lambda story: escriba.train(documents=[1, 2]), TextError, "document 0 is of type int"),
        (lambda story: escriba.load("no-such-model"), CheckpointError, "no model 'no-such-model'"),
    ],
)
def test_errors(
    call: Callable[[str], Any], error: type[Exception], message: str, story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's mistake is an error of Escriba, and leaves nothing behind on the disk."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        call(story)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_use(loaded: Model) -> None:
    """Wrong values in use are refused by name."""
    with pytest.raises(SettingsError, match="temperature is -1"):
        loaded.generate("", 5, temperature=-1)
    with pytest.raises(SettingsError, match="temprature"):
        loaded.generate("", 5, temprature=1)
    with pytest.raises(SettingsError, match="length"):
        loaded.generate("", -5)
    with pytest.raises(SettingsError, match="is 5, of type int"):
        loaded.generate(5)  # type: ignore[call-overload]
    with pytest.raises(TextError, match="empty"):
        loaded.score("")


def test_without_torch(monkeypatch: pytest.MonkeyPatch, story: str) -> None:
    """Training without PyTorch says what to install, quoted."""
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError) as caught:
        escriba.train(text=story)
    assert 'python -m pip install "escriba[train]"' in (caught.value.hint or "")


@pytest.mark.parametrize(("unit", "length"), [("word", 60), ("byte", 60)])
def test_other_units(unit: str, length: int, story: str, tmp_path: Path) -> None:
    """Words and bytes train, are kept, write and score; lengths are in characters, and figures a character."""
    model = escriba.train(text=story, unit=unit, out=tmp_path / unit, steps=20, **TINY)
    again = escriba.load(tmp_path / unit)
    assert len(again.generate("The ", length, seed=1).continuation) == length
    score = again.score("The cat sat.")
    assert score.bits_per_char == pytest.approx(-score.log_likelihood / 12 / math.log(2))
    assert model.run.last("finished")["bits_per_char"] > 0


def test_no_parts_of_a_short_text() -> None:
    """A text too short to hold anything out trains all the same, and says so."""
    seen: list[Any] = []
    model = escriba.train(text="abcd " * 30, steps=3, watcher=seen.append, **TINY)
    assert seen[-1].loss_nats is None
    assert any("too short for a held-out part" in note for note in seen[0].notes)
    assert not any(isinstance(event, Evaluated) for event in seen)
    assert len(model.generate("", 10)) == 10


def test_no_steps_at_all(story: str, tmp_path: Path) -> None:
    """Zero steps keep the untrained model."""
    model = escriba.train(text=story, out=tmp_path / "m", steps=0, **TINY)
    assert model.score("the cat sat", after=" ").log_likelihood == pytest.approx(-11 * math.log(model.tokenizer.vocab_size), rel=0.03)
    assert escriba.load(tmp_path / "m").run.last("finished")["steps"] == 0


def test_minutes_hold(story: str, tmp_path: Path) -> None:
    """A length in minutes is that of the whole call: it is over soon after, and the closing figures tell the steps."""
    import time

    began = time.perf_counter()
    seen: list[Any] = []
    escriba.train(text=story, minutes=0.04, watcher=seen.append, **TINY)
    assert time.perf_counter() - began < 2.4 + 10
    assert seen[-1].steps > 5
    assert seen[-1].reason == "length"


def test_interrupted(story: str, tmp_path: Path) -> None:
    """Ctrl-C in Python returns the model as it is, saved; the folder is unfinished and goes on."""
    import signal

    def stop(event: Any) -> None:
        if isinstance(event, Progress) and event.step == 7:
            signal.raise_signal(signal.SIGINT)

    seen: list[Any] = []
    (tmp_path / "fox.txt").write_text(story, encoding="utf-8")
    settings = {"steps": 30, **TINY}
    source, out = tmp_path / "fox.txt", tmp_path / "fox"
    model = escriba.train(source, out=out, watcher=lambda event: (seen.append(event), stop(event)), **settings)
    assert (seen[-1].reason, seen[-1].steps) == ("interrupted", 7)
    assert_same_weights(escriba.load(out), model)
    assert not model.run.finished
    with pytest.raises(CheckpointError, match="not finished") as caught:
        escriba.train(source, out=out, **settings)
    assert "--resume" in (caught.value.hint or "")
    resumed = escriba.train(source, out=out, resume=True)
    assert resumed.run.last("finished")["steps"] == 30
