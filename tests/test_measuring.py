"""A model measured on whole texts, on real ones where they are there: its held-out part found again, typical and not, files that moved."""

from __future__ import annotations

import json
import math
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import escriba
from escriba.errors import CheckpointError, EscribaError, SettingsError, TextError
from escriba.measuring import Evaluation
from escriba.text import corpus


@pytest.fixture(scope="module")
def english(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> escriba.Model:
    """A counting model of Shakespeare, and what is typical for it."""
    model = escriba.train(shared_data("shakespeare.txt"), out=tmp_path_factory.mktemp("models") / "english", cell="counts", quiet=True)
    model.measure_typical()
    return model


@pytest.fixture
def small(story: str, tmp_path: Path) -> escriba.Model:
    """A counting model of a small text, which lies beside it."""
    (tmp_path / "story.txt").write_text(story, encoding="utf-8")
    return escriba.train(tmp_path / "story.txt", out=tmp_path / "model", cell="counts", order=3, quiet=True)


def pieces_of(text: str, length: int, count: int, seed: int = 1) -> list[str]:
    """Pieces of a text, each from the beginning of a word."""
    dice = random.Random(seed)
    starts = [at + 1 for at in range(len(text) - length - 1) if text[at].isspace() and not text[at + 1].isspace()]
    return [text[at : at + length] for at in dice.sample(starts, count)]


def test_held_out_english_is_typical(english: escriba.Model, shared_data: Callable[[str], Path]) -> None:
    """Of 300 pieces of the held-out part at most about 5 in 100 are not typical at 0.05.

    They are drawn from the very texts on which the quantiles rest, so their number has mean 15 and a standard deviation below 6; above 39,
    four of these, it comes less than once in 10,000 draws.
    """
    held_out = shared_data("shakespeare.txt").read_text(encoding="utf-8")[-111_000:]
    alarms = sum(not english.is_typical(text, at=0.05) for text in pieces_of(held_out, 40, 300))
    assert alarms <= 39


def test_gibberish_is_not_typical(english: escriba.Model, shared_data: Callable[[str], Path]) -> None:
    """The same pieces with their letters shuffled are not typical at 0.01, but for a few."""
    dice = random.Random(3)
    held_out = shared_data("shakespeare.txt").read_text(encoding="utf-8")[-111_000:]
    shuffled = ["".join(dice.sample(text, len(text))) for text in pieces_of(held_out, 40, 100)]
    assert sum(not english.is_typical(text) for text in shuffled) >= 97


def test_another_language_is_not_typical(english: escriba.Model, shared_data: Callable[[str], Path]) -> None:
    """Spanish is not typical for a model of English: at 0.01 in 64 letters nearly always."""
    spanish = shared_data("quijote-latin1.txt").read_text(encoding="latin-1")[5_000:400_000].replace("\n", " ")
    assert sum(not english.is_typical(text) for text in pieces_of(spanish, 64, 100)) >= 95


def test_a_score_says_how_surprising_it_is(english: escriba.Model) -> None:
    """`score` knows the share that surprises less, but not after a context, where nothing was measured; it is the share of `is_typical`."""
    usual, odd = english.score("What is the matter, my good lord?"), english.score("Zxq vbk jjw qpl zzkx wv.")
    assert usual.more_surprising_than is not None
    assert odd.more_surprising_than is not None
    assert usual.more_surprising_than < 0.9
    assert odd.more_surprising_than > 0.99
    assert english.score("good", after="my ").more_surprising_than is None
    verdict = english.is_typical("Zxq vbk jjw qpl zzkx wv.", at=0.05)
    assert not verdict
    assert verdict.share == odd.more_surprising_than
    assert verdict.as_dict()["typical"] is False
    assert f"{verdict.pieces:,} held-out texts" in str(verdict)
    assert str(verdict).startswith("not typical")


def test_the_typical_file_goes_with_the_weights(small: escriba.Model, tmp_path: Path) -> None:
    """It is written into the folder, read by `load`, taken along by `save`; damaged, it is a note to a score and an error to a verdict."""
    measured = small.measure_typical(text=" ".join(["a cat sat on the mat under the tree by the river"] * 60))
    assert small.folder is not None
    again = escriba.load(small.folder)
    assert again.usual.find() == measured
    saved = again.save(tmp_path / "copy")
    assert escriba.load(saved).usual.find() == measured
    (saved / "typical.json").write_text("{}")
    broken = escriba.load(saved)
    with pytest.warns(UserWarning, match=r"typical\.json"):
        assert broken.score("a cat").more_surprising_than is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is told of once
        assert broken.score("a cat").more_surprising_than is None
    with pytest.raises(CheckpointError, match=r"typical\.json"):
        broken.is_typical("a cat")
    assert broken.measure_typical(text="a cat sat on the mat " * 200) == escriba.load(saved).usual.find()
    assert broken.is_typical("a cat")


def test_what_is_typical_belongs_to_the_weights_in_memory(small: escriba.Model, story: str, tmp_path: Path) -> None:
    """A model that was loaded before its folder got other weights neither takes their typical.json nor writes over it."""
    assert small.folder is not None
    small.measure_typical(text=story)
    old = escriba.load(small.folder)
    escriba.train(tmp_path / "story.txt", out=small.folder, cell="counts", order=2, quiet=True, overwrite=True).measure_typical(text=story)
    new = (small.folder / "typical.json").read_bytes()
    with pytest.raises(CheckpointError, match="other weights"):
        old.is_typical("a cat")
    with pytest.warns(UserWarning, match="other weights"):
        assert old.score("a cat").more_surprising_than is None
    with pytest.raises(CheckpointError, match="holds other weights"):
        old.measure_typical(text=story)
    assert (small.folder / "typical.json").read_bytes() == new
    assert old.is_typical("a cat") is not None
    assert escriba.load(old.save(tmp_path / "old")).usual.find() == old.usual.find()
    assert escriba.load(small.folder).is_typical("a cat") is not None


def test_a_verdict_names_the_texts_beside_which_it_stands(small: escriba.Model, story: str) -> None:
    """Of a text longer than all that were measured it is said that the longest stand in for it."""
    longest = int(small.measure_typical(text=story).groups[-1].length)
    short, long = small.is_typical(story[:20], at=0.2), small.is_typical(story[: longest + 1], at=0.2)
    assert "of held-out texts of about this length" in str(short)
    assert f"of held-out texts of about {longest} symbols, the longest that were measured" in str(long)
    assert long.as_dict()["beside"] == long.beside


def test_what_is_typical_must_have_been_measured(small: escriba.Model) -> None:
    """Without typical.json a verdict is an error that says what to type; a score says nothing of it."""
    assert small.folder is not None
    (small.folder / "typical.json").unlink(missing_ok=True)
    model = escriba.load(small.folder)
    assert model.score("a cat").more_surprising_than is None
    with pytest.raises(CheckpointError, match="not measured") as error:
        model.is_typical("a cat")
    assert "--typical" in str(error.value)


def test_the_held_out_part_is_found_again(small: escriba.Model, story: str) -> None:
    """Without a text the model is measured on what its training held out: the same as that text given."""
    held_out = story[int(0.9 * len(story)) :]
    found, given = small.evaluate(), small.evaluate(text=held_out)
    assert found.loss_nats == given.loss_nats
    assert found.characters == len(held_out)
    assert math.isclose(found.loss_nats, -small.score(held_out).log_likelihood / len(held_out), rel_tol=1e-6)


def test_a_text_that_moved_or_changed(small: escriba.Model, tmp_path: Path) -> None:
    """Then the error says that, and how to give the text."""
    source = tmp_path / "story.txt"
    whole = source.read_text(encoding="utf-8")
    source.write_text(whole + "more", encoding="utf-8")
    with pytest.raises(TextError, match="is not the text that") as error:
        small.evaluate()
    assert "escriba evaluate" in str(error.value)
    source.unlink()
    with pytest.raises(TextError, match="cannot be read again"):
        small.evaluate()
    with pytest.raises(TextError, match="cannot be read again"):
        small.measure_typical()


DAMAGES = [
    *(7, [], "text", {}, {"sha256": 7}, {"sha256": "a" * 64, "held_out_sha256": "b"}),
    *({"sha256": "a" * 64, "held_out_sha256": "b", "sources": one} for one in (7, "story.txt", [7], {})),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=repr)
def test_a_damaged_history_says_nothing(small: escriba.Model, damage: object) -> None:
    """What it tells of the text may be anything: then it is not recorded, and the error says how to give a text."""
    assert small.folder is not None
    (small.folder / "metrics.jsonl").write_text(json.dumps({"event": "begun", "corpus": damage}) + "\n" + "[" * 100_000, encoding="utf-8")
    with pytest.raises(TextError, match=r"not recorded|held nothing out") as error:
        escriba.load(small.folder).evaluate()
    assert "escriba evaluate" in str(error.value.hint)


def test_a_file_is_read_as_the_models_text_was(names: tuple[str, ...], tmp_path: Path) -> None:
    """For a model of documents each line of a file is one, even a single line; a text that was read may be given itself."""
    model = escriba.train(documents=list(names), out=tmp_path / "names", cell="counts", order=3, quiet=True)
    (tmp_path / "new.txt").write_text("maria\nluna\n", encoding="utf-8")
    (tmp_path / "one.txt").write_text("maria\n", encoding="utf-8")
    two, one = model.evaluate(tmp_path / "new.txt"), model.evaluate(tmp_path / "one.txt")
    assert (two.symbols, one.symbols) == (11, 6)
    assert "<eos> counted" in two.convention
    assert model.evaluate(text="maria").loss_nats == one.loss_nats
    assert model.evaluate(corpus.read(documents=["maria", "luna"])).loss_nats == two.loss_nats
    with pytest.raises(EscribaError, match="in Python"):
        model.evaluate()


TABLE = "label,text\n" + "".join(f"{i},a cat sat on the mat number {i}\n" for i in range(80))


@pytest.mark.parametrize("source", ["table.csv", "folder", "*.csv"])
def test_a_plain_file_beside_a_table_is_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """A model that learnt a column of a table reads a .txt as lines, with their commas; another table by its column."""
    monkeypatch.chdir(tmp_path)
    for name in ("table.csv", "folder/table.csv"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(TABLE, encoding="utf-8")
    model = escriba.train(source, column=("text",), out="m", cell="counts", order=2, quiet=True)
    Path("plain.txt").write_text("a mat, a cat\nand, 7\n", encoding="utf-8")
    assert model.evaluate("plain.txt").characters == len("a mat, a cat") + len("and, 7")
    Path("other.csv").write_text("text,label\na cat,1\non the mat,2\n", encoding="utf-8")
    assert model.evaluate("other.csv").characters == len("a cat") + len("on the mat")


def test_a_plain_file_that_was_a_table_is_one_again(tmp_path: Path) -> None:
    """A model that learnt a column of a file whose name does not say that it is a table reads the like by its column, too."""
    (tmp_path / "table.txt").write_text(TABLE, encoding="utf-8")
    (tmp_path / "other.txt").write_text("text,label\na cat,1\non the mat,2\n", encoding="utf-8")
    model = escriba.train(tmp_path / "table.txt", column=("text",), out=tmp_path / "m", cell="counts", order=2, quiet=True)
    assert model.evaluate(tmp_path / "other.txt").characters == len("a cat") + len("on the mat")


@pytest.mark.parametrize("wrong", [{"text": "a", "source": "b"}, {"source": 7}, {"source": "nowhere.txt"}, {"text": ""}, {"text": 7}])
def test_wrong_texts(small: escriba.Model, wrong: dict[str, object]) -> None:
    """What is no text to measure on is refused with an error of the package."""
    with pytest.raises(TextError):
        small.evaluate(**wrong)  # type: ignore[arg-type]


def test_windows_are_those_of_pytorch(story: str) -> None:
    """Protocol window is the loss of the network itself on windows laid end to end, each from a state of zero."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tokenizer = escriba.CharTokenizer.fit(story)
    net = escriba.LanguageModel(tokenizer.vocab_size, cell="gru", hidden_size=12, seed=4)
    ids = np.asarray(tokenizer.encode(story[:1000])).astype(np.int64)
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, 64):
            inputs = torch.from_numpy(ids[None, start : min(start + 64, len(ids) - 1)])
            targets = torch.from_numpy(ids[start + 1 : start + 1 + inputs.shape[1]])
            logits, _ = net(inputs)
            total += float(torch.nn.functional.cross_entropy(logits[0], targets, reduction="sum"))
    found = escriba.Model(net, tokenizer).evaluate(text=story[:1000], protocol="window", window=64)
    assert math.isclose(found.loss_nats, total / 999, rel_tol=1e-6)
    assert found.perplexity == math.exp(found.loss_nats)


def made(nats: np.ndarray, symbols: int = 100) -> Evaluation:
    """An evaluation from the nats of its blocks."""
    blocks = tuple((float(one), symbols, float(symbols)) for one in nats)
    loss = float(nats.mean()) / symbols
    error = float(nats.std(ddof=1)) / symbols / math.sqrt(len(nats))
    bits = loss / math.log(2)
    return Evaluation("stream", loss, error, bits, bits, None, symbols * len(nats), symbols * len(nats), 0, "made", "its hash", blocks)


def test_differences_are_paired_where_the_blocks_are_the_same() -> None:
    """Over 1,000 pairs of models whose blocks are hard together, the true difference lies within 1.96 errors in 95 % of them.

    The count has a standard deviation of 7; outside 910 to 980 a right estimate falls less than once in 10,000 runs; the dice are seeded.
    The error of blocks that are not the same is the larger one of independent figures.
    """
    dice, inside = np.random.default_rng(2), 0
    for _ in range(1000):
        hard = dice.normal(200, 40, 80)
        one, other = made(hard + dice.normal(7, 5, 80)), made(hard + dice.normal(0, 5, 80))
        difference, error = one.minus(other)
        assert error is not None
        inside += abs(difference - 0.07 / math.log(2)) < 1.96 * error
    assert 910 <= inside <= 980
    _, apart = one.minus(made(np.append(hard, 200.0)))
    assert apart is not None
    assert apart > 3 * error


def test_figures_of_different_texts_have_no_difference(small: escriba.Model, story: str) -> None:
    """Texts of one length are told apart, though their blocks are alike; one text is the same in other protocols and other forms."""
    one, other = (small.evaluate(text=text) for text in (story[:3000], story[3000:6000]))
    with pytest.raises(TextError, match="different texts: 3,000 characters"):
        one.minus(other)
    assert one.minus(small.evaluate(text=story[:3000]))[0] == 0.0
    assert one.minus(small.evaluate(text=story[:3000], protocol="window"))[0] < 0.0


def test_a_file_is_one_text_however_it_is_read(small: escriba.Model, story: str, tmp_path: Path) -> None:
    """As a stream, as lines that are documents, with other line ends: the hash is that of the text."""
    (tmp_path / "dos.txt").write_bytes(story.replace("\n", "\r\n").encode())
    (tmp_path / "unix.txt").write_text(story, encoding="utf-8", newline="\n")
    lines = escriba.train(documents=story.split("\n"), cell="counts", order=2, quiet=True)
    found = [model.evaluate(tmp_path / name) for model in (small, lines) for name in ("dos.txt", "unix.txt")]
    assert len({one.text_sha256 for one in found}) == 1
    assert found[0].text_sha256 != small.evaluate(text=story[1:]).text_sha256
    assert found[0].minus(found[2])[1] is not None


def test_evaluations_as_json(small: escriba.Model) -> None:
    """The fields can be printed as JSON, without the blocks; a wrong option is an error that names it."""
    fields = small.evaluate(text="a cat sat.", protocol="window").as_dict()
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    assert {"protocol", "loss_nats", "standard_error", "bits_per_char", "perplexity", "convention"} <= set(fields)
    assert "blocks" not in fields
    with pytest.raises(SettingsError, match="protocol"):
        small.evaluate(text="a cat sat.", protocol="both")
