"""The n-gram that counts as a model like any other, and what a training is compared with."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import escriba
from escriba.baselines import compare, loss_on, measured_part
from escriba.checkpoint import load_folder
from escriba.cli.main import cli
from escriba.engine.counts import CountsEngine
from escriba.errors import CheckpointError, EscribaError, SettingsError, TextError, TrainingError
from escriba.text.corpus import Corpus, Parts, read
from escriba.text.packing import gzip_sizes, xz_sizes
from escriba.text.tokenizer import CharTokenizer, Tokenizer, WordTokenizer


def test_a_counted_model_is_kept_loaded_and_used(story: str, tmp_path: Path) -> None:
    """Trained, saved, loaded, it writes and scores the same; its run is finished; a copy saved elsewhere is the same model."""
    events: list[Any] = []
    model = escriba.train(text=story, cell="counts", order=4, out=tmp_path / "m", watcher=events.append)
    again = escriba.load(tmp_path / "m")
    assert isinstance(again.engine, CountsEngine)
    assert again.generate("The ", 80, seed=3) == model.generate("The ", 80, seed=3)
    assert again.score("the cat").log_likelihood == model.score("the cat").log_likelihood
    assert [type(event).__name__ for event in events] == ["Begun", "Counted", "Closed"]
    assert again.run.finished
    assert again.run.last("begun")["corpus"]["characters"] == len(story)
    assert again.run.last("finished")["bits_per_char"] == events[-1].bits_per_char
    assert again.run.last("finished")["compared"] == events[-1].compared
    assert again.parameters == events[0].parameters > 100
    assert "counts of order 4" in repr(again)
    escriba.load(again.save(tmp_path / "copy"))
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == (tmp_path / "m" / "model.safetensors").read_bytes()
    weights = load_folder(tmp_path / "m").weights
    assert {name: str(array.dtype) for name, array in weights.items()} == {
        "ngrams.keys": "int64", "ngrams.counts": "int32", "ngrams.discounts": "float64",
    }  # fmt: skip


def test_the_held_out_loss_is_that_of_its_own_scores(names: tuple[str, ...], story: str) -> None:
    """Documents are scored each from its beginning, ends included; of a stream all but the first symbol, after the text's own symbols."""
    for corpus in (read(documents=list(names)), read(text=story)):
        parts = corpus.parts()
        assert parts.held_out is not None
        given = {"documents": list(names)} if corpus.is_documents else {"text": story}
        model = escriba.train(**given, cell="counts", order=3, quiet=True)
        encoded = parts.held_out.encode(model.tokenizer)
        loss, count = loss_on(model.engine, encoded)
        eos = [model.tokenizer.eos_id] if corpus.is_documents else []
        total, symbols = 0.0, 0
        for number in range(encoded.count):
            ids = np.array([*eos, *encoded.document(number).tolist(), *eos])
            logits, _ = model.engine.advance(ids[None, :-1], model.engine.initial_state(1))
            total -= float(logits[0, np.arange(len(ids) - 1), ids[1:]].sum())
            symbols += len(ids) - 1
        assert (loss, count) == (pytest.approx(total / symbols, abs=1e-12), symbols)


@pytest.mark.parametrize(
    ("options", "met"),
    [
        ({"resume": True}, "resume is True"),
        ({"more": "m"}, "more is 'm'"),
        ({"init_from": "m"}, "init_from is 'm'"),
        ({"hidden_size": 7}, "hidden_size is 7"),
        ({"order": 0}, "order is 0"),
        ({"order": 9}, "order is 9"),
        ({"window": 5}, "window is 5"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], met: str, story: str) -> None:
    """An n-gram has one setting, and nothing to go on with."""
    with pytest.raises(SettingsError, match=met):
        escriba.train(text=story, cell="counts", quiet=True, **options)


def test_texts_of_no_use_and_models_that_are_there(story: str, tmp_path: Path) -> None:
    """An empty text is refused; so is a model in the way, unless it may be replaced."""
    with pytest.raises(TextError):
        escriba.train(text="", cell="counts", quiet=True)
    escriba.train(text=story, cell="counts", out=tmp_path / "m", quiet=True)
    with pytest.raises(CheckpointError, match="is there already"):
        escriba.train(text=story, cell="counts", out=tmp_path / "m", quiet=True)
    escriba.train(text=story, cell="counts", order=2, out=tmp_path / "m", overwrite=True, quiet=True)
    assert escriba.load(tmp_path / "m").engine.settings.order == 2  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not a model folder"):
        escriba.train(text=story, cell="counts", out=tmp_path / "other", overwrite=True, quiet=True)


def test_a_damaged_file_is_refused(story: str, tmp_path: Path) -> None:
    """Whatever byte of the weights is another, and wherever the file ends: an error in words, or the very same model."""
    escriba.train(text=story, cell="counts", order=3, out=tmp_path / "m", quiet=True)
    file = tmp_path / "m" / "model.safetensors"
    whole, dice = file.read_bytes(), np.random.default_rng(5)
    for at in dice.integers(0, len(whole), 60).tolist():
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
        with pytest.raises(EscribaError):
            escriba.load(tmp_path / "m")
        file.write_bytes(whole[:at])
        with pytest.raises(EscribaError):
            escriba.load(tmp_path / "m")


def test_no_pytorch_is_needed(story: str, tmp_path: Path) -> None:
    """Counting, loading, writing and scoring load neither PyTorch nor filelock."""
    (tmp_path / "text.txt").write_text(story, encoding="utf-8")
    code = (
        "import sys; sys.modules['torch'] = sys.modules['filelock'] = None\n"
        "import escriba\n"
        "escriba.train('text.txt', cell='counts', out='m', quiet=True)\n"
        "escriba.train('text.txt', cell='counts', out='m', quiet=True, overwrite=True)\n"
        "print(escriba.load('m').generate('The ', 20, seed=1))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The ")


def test_the_commands(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train --cell counts --order`, `show` and `list` by n-grams, `doctor`."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(story, encoding="utf-8")
    run = CliRunner().invoke
    trained = run(cli, ["train", "text.txt", "--cell", "counts", "--order", "3", "--json"])
    assert trained.exit_code == 0, trained.output
    bits = json.loads(trained.stdout)["bits_per_char"]
    shown = json.loads(run(cli, ["show", "text", "--json"]).stdout)
    assert list(shown["layers"]) == ["1-grams", "2-grams", "3-grams"]
    assert (shown["parameters"], shown["bits_per_char"]) == (sum(shown["layers"].values()), bits)
    assert "3-grams" in run(cli, ["show", "text"]).stdout
    assert "n-grams" in run(cli, ["list"]).stdout
    assert run(cli, ["doctor", "text"]).exit_code == 0


def parted(corpus: Corpus, tokenizer: Tokenizer) -> tuple[Parts, Corpus, Any]:
    """The parts of a text, its held-out part, and what is measured of that."""
    parts = corpus.parts()
    assert parts.held_out is not None
    return parts, parts.held_out, measured_part(parts.held_out, parts.held_out.encode(tokenizer))


def test_what_a_training_is_compared_with(story: str) -> None:
    """The n-gram's figure is that of the model of the same order; the packers' are size(both) - size(seen); the line names all."""
    corpus = read(text=story)
    tokenizer = CharTokenizer.fit(corpus)
    parts, held_out, measured = parted(corpus, tokenizer)
    found = compare(parts.whole_train, measured)
    assert list(found.bits_per_char) == ["counting 6-gram", "xz", "gzip"]
    alone = escriba.train(text=story, cell="counts", quiet=True)
    assert isinstance(alone.engine, CountsEngine)
    loss, _ = loss_on(alone.engine, held_out.encode(tokenizer))
    assert found.bits_per_char["counting 6-gram"] == pytest.approx(loss / math.log(2), rel=1e-12)
    seen, new = parts.whole_train.text.encode(), held_out.text.encode()
    for name, sizes in (("xz", xz_sizes), ("gzip", gzip_sizes)):
        before, both = sizes(seen, new)
        assert before == sizes(seen, b"")[0] < both < before + sizes(new, b"")[0]
        assert found.bits_per_char[name] == 8 * (both - before) / held_out.characters
    assert found.note is None
    assert found.line(2.194).startswith("bits per character on the held-out part: this model 2.19, counting 6-gram ")


@pytest.mark.parametrize("order", [6, None])
def test_a_comparison_says_what_it_shortens(order: int | None, story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By limits of size alone: the n-gram's text and, with it or without, the packers'; a share of the limits is as much smaller."""
    corpus = read(text=story)
    parts, _, measured = parted(corpus, CharTokenizer.fit(corpus))
    monkeypatch.setattr("escriba.baselines.MOST_COUNTED", 10_000)
    monkeypatch.setattr("escriba.baselines.MOST_PACKED", 8_000)
    found = compare(parts.whole_train, measured, order=order, share=0.5)
    counted = ["the n-gram counted the last 5,000 characters of 10,800"] if order else []
    assert found.note == "; ".join([*counted, "xz and gzip saw the last 0.0 MB"])
    seen, new = parts.whole_train.text.encode()[-4_000:], measured.part.text.encode()
    before, both = xz_sizes(seen, new)
    assert found.bits_per_char["xz"] == 8 * (both - before) / measured.part.characters


def test_the_n_gram_of_a_comparison_keeps_to_its_memory(story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last characters hold too many different n-grams, half as many are counted, and half again."""
    corpus = read(text=story)
    parts, _, measured = parted(corpus, CharTokenizer.fit(corpus))
    monkeypatch.setattr("escriba.baselines.LEAST_COUNTED", 100)
    monkeypatch.setattr("escriba.baselines.MOST_NGRAMS", 2_000)
    found = compare(parts.whole_train, measured)
    assert found.note in [f"the n-gram counted the last {10_800 // part:,} characters of 10,800" for part in (4, 8, 16)]
    monkeypatch.setattr("escriba.baselines.LEAST_COUNTED", 100_000)
    found = compare(parts.whole_train, measured)
    assert list(found.bits_per_char) == ["xz", "gzip"]
    assert found.note == "without the n-gram: the text has more different n-grams than may be kept"


@pytest.mark.parametrize("error", [MemoryError(), TextError("it cannot be counted")])
def test_what_cannot_be_measured_is_noted(error: Exception, story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that is over never fails by its comparison."""
    corpus = read(text=story)
    parts, _, measured = parted(corpus, CharTokenizer.fit(corpus))

    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("escriba.baselines._counted", fails)
    found = compare(parts.whole_train, measured)
    assert list(found.bits_per_char) == ["xz", "gzip"]
    assert found.note in ("without the n-gram: there is not enough memory", "without the n-gram: it cannot be counted")


def test_no_word_is_cut_by_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a word is in no vocabulary: what is counted and what is measured begins and ends with whole ones."""
    text = "extraordinary circumstances,\nnevertheless " * 997
    corpus = read(text=text, unit="word", unknown=False)
    tokenizer = WordTokenizer.fit(corpus, unknown=False)
    parts, held_out, _ = parted(corpus, tokenizer)
    for characters in range(2_000, 2_045):
        monkeypatch.setattr("escriba.baselines.MOST_COUNTED", characters)
        measured = measured_part(held_out, held_out.encode(tokenizer), characters)
        assert tokenizer.decode(measured.encoded.ids) == measured.part.text
        assert 0 <= measured.part.characters - characters < 20
        assert "counting 6-gram" in compare(parts.whole_train, measured).bits_per_char
    note = compare(parts.whole_train, measured).note
    assert note is not None
    assert note.startswith(f"measured on the first {measured.part.characters:,} characters of {held_out.characters:,}; the n-gram counted")


def test_a_word_without_an_end_is_measured_whole() -> None:
    """Where no border is near, the part is measured whole rather than not at all."""
    corpus = read(text="a b " * 1_000 + "x" * 5_000, unit="word", unknown=False)
    encoded = corpus.encode(WordTokenizer.fit(corpus, unknown=False))
    assert measured_part(corpus, encoded, 6_000).part is corpus
    assert measured_part(corpus, encoded, 3_000).part.characters == 3_000


def test_the_last_documents_are_whole() -> None:
    """As many as fit, or the end of the last one."""
    corpus = read(documents=["one two", "three", "four five six"])
    assert corpus.ending(18).pieces == ("three", "four five six")
    assert corpus.ending(17).pieces == ("four five six",)
    assert corpus.ending(6).pieces == ("ve six",)
    assert corpus.ending(25) is corpus


def test_a_model_and_the_simple_ways_are_measured_on_the_same_part(story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the held-out part is shortened, it is so for all, and that is said; the comparison is repeated to the digit."""
    monkeypatch.setattr("escriba.baselines.measured_part.__defaults__", (500,))
    events: list[Any] = []
    model = escriba.train(text=story, cell="counts", watcher=events.append)
    parts, held_out, measured = parted(read(text=story), model.tokenizer)
    assert measured.part.text == held_out.text[:500]
    assert events[-1].held_out_symbols == 499
    assert events[-1].bits_per_char == compare(parts.whole_train, measured).bits_per_char["counting 6-gram"]
    assert events[-1].compared.endswith("(measured on the first 500 characters of 1,200)")


def test_a_single_symbol_is_nothing_to_measure_on(story: str, tmp_path: Path) -> None:
    """It is refused before anything is counted."""
    (tmp_path / "one.txt").write_text("mat", encoding="utf-8")
    with pytest.raises(TextError, match="held-out part is a single symbol"):
        escriba.train(text=story, cell="counts", unit="word", val=tmp_path / "one.txt", watcher=pytest.fail)


def test_too_little_memory_is_an_error_in_words(story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to type."""

    def fails(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("escriba.counted.count_ngrams", fails)
    with pytest.raises(TrainingError, match="10,800 characters") as met:
        escriba.train(text=story, cell="counts", quiet=True)
    assert "--order" in str(met.value.hint)


def test_what_is_typical_is_warned_of_where_it_cannot_be_kept(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is kept all the same."""

    def fails(*_: Any, **__: Any) -> None:
        raise CheckpointError("typical.json could not be written: No space left on device")

    monkeypatch.setattr("escriba.closing.save_typical", fails)
    with pytest.warns(UserWarning, match="typical of the text is not kept.*No space left"):
        escriba.train(text=story * 5, cell="counts", out=tmp_path / "m", quiet=True)
    assert escriba.load(tmp_path / "m").run.finished


def test_a_model_that_cannot_take_its_place_is_not_lost(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the folder that holds it, and that folder is there."""
    real = Path.rename

    def rename(self: Path, to: Path) -> Path:
        if to == tmp_path / "m":
            raise OSError("it is in use")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(CheckpointError, match="holds the new model"):
        escriba.train(text=story, cell="counts", out=tmp_path / "m", quiet=True)
    monkeypatch.undo()
    assert escriba.load(tmp_path / ".m.partial").run.finished


def test_two_without_a_lock_do_not_write_one_folder(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package that locks is not installed, who comes second is refused, and the folder of the first is left alone."""
    monkeypatch.setitem(sys.modules, "filelock", None)
    monkeypatch.delitem(sys.modules, "escriba.training.lock", raising=False)
    (tmp_path / ".m.partial").mkdir()
    (tmp_path / ".m.partial" / "config.json").write_text("of the first", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"another training is about to write") as met:
        escriba.train(text=story, cell="counts", out=tmp_path / "m", quiet=True)
    assert "delete that folder" in str(met.value.hint)
    assert (tmp_path / ".m.partial" / "config.json").read_text(encoding="utf-8") == "of the first"


def test_a_length_is_noted_as_meaningless(story: str) -> None:
    """Minutes, steps and epochs are of networks."""
    events: list[Any] = []
    escriba.train(text=story, cell="counts", minutes=1.0, watcher=events.append)
    assert events[0].notes[-1] == "minutes means nothing to an n-gram that counts: it goes through the text once"


def test_an_n_gram_cannot_be_trained_further(story: str, tmp_path: Path) -> None:
    """Nor can a network begin with it; the error says what it is."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    (tmp_path / "text.txt").write_text(story, encoding="utf-8")
    escriba.train(tmp_path / "text.txt", cell="counts", out=tmp_path / "m", quiet=True)
    for asked in ({"more": tmp_path / "m"}, {"init_from": tmp_path / "m", "out": tmp_path / "n"}):
        with pytest.raises(SettingsError, match="an n-gram that counts, which cannot be trained further"):
            escriba.train(tmp_path / "text.txt", quiet=True, steps=2, **asked)


TINY: dict[str, Any] = {"hidden_size": 8, "embedding_dim": 4, "seq_len": 20, "batch_size": 8, "sample_length": 0, "threads": 1}


def test_a_network_and_the_n_gram_are_measured_on_the_same_part(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long held-out part is shortened for both, which is said and recorded."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.setattr("escriba.teaching.MOST_HELD_OUT", 500)
    model = escriba.train(text=story, steps=2, out=tmp_path / "m", quiet=True, **TINY)
    figures = model.run.last("finished")
    assert figures["held_out_symbols"] == 499
    assert figures["compared"].endswith("(measured on the first 500 characters of 1,200)")
    parts, held_out, _ = parted(read(text=story), model.tokenizer)
    beside = compare(parts.whole_train, measured_part(held_out, held_out.encode(model.tokenizer), 500))
    assert figures["baselines"] == beside.bits_per_char


def test_what_cannot_be_measured_on_is_refused_before_a_network_learns(story: str, tmp_path: Path) -> None:
    """A text to hold out, or to choose by, of a single symbol."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    (tmp_path / "one.txt").write_text("mat", encoding="utf-8")
    (tmp_path / "more.txt").write_text("the cat sat on the mat", encoding="utf-8")
    for own, part in (({"val": "one.txt"}, "held-out"), ({"val": "one.txt", "test": "more.txt"}, "choosing")):
        given = {name: tmp_path / file for name, file in own.items()}
        with pytest.raises(TextError, match=f"{part} part is a single symbol"):
            escriba.train(text=story, unit="word", steps=2, watcher=pytest.fail, **given, **TINY)


def test_the_demo_writes_before_it_measures(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the n-gram writes is there before the comparison begins, which takes longer; the text may come from a pipe."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)

    def measures(*_: Any, **__: Any) -> None:
        raise TextError("now it measures")

    monkeypatch.setattr("escriba.counted.measured_part", measures)
    done = CliRunner().invoke(cli, ["demo", "-", "-o", "d"], input=story)
    assert isinstance(done.exception, TextError)
    assert len(done.stdout.partition("---\n")[2]) > 290


def test_the_demo_begins_with_the_n_gram_and_needs_no_pytorch_for_it(story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyTorch the demonstration writes by counting, says what to install, and ends well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    Path("text.txt").write_text(story, encoding="utf-8")
    done = CliRunner().invoke(cli, ["demo", "text.txt", "-o", "d"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("--- an n-gram that counts")
    assert "escriba[train]" in done.stderr
    assert escriba.load("d-counts").run.finished
