"""Labels as context: a table's column comes first in each document, and a text is written for a label."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import escriba
from escriba.cli.main import cli
from escriba.errors import SettingsError

pytest.importorskip("torch", reason="PyTorch is not installed")

WORDS = {"sea": "waves and wind", "town": "streets, stones"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of two kinds, each with its label behind it."""
    path = tmp_path_factory.mktemp("labels") / "lines.csv"
    rows = [f'"{text}",{label}' for _ in range(60) for label, text in WORDS.items()]
    path.write_text("text,kind\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(table: Path, one_thread: None) -> Path:
    """A model that learnt them by heart."""
    out = table.parent / "model"
    settings = {"hidden_size": 32, "embedding_dim": 16, "learning_rate": 0.02, "batch_size": 16, "seed": 3}
    escriba.train(table, out=out, label_column="kind", steps=150, quiet=True, device="cpu", **settings)
    return out


def test_a_text_for_a_label(folder: Path) -> None:
    """The likeliest text is that of the label; the label stands in the prompt, and without one the model begins with one itself."""
    model = escriba.load(folder)
    assert model.labels == {"sea": 60, "town": 60}
    for label, text in WORDS.items():
        made = model.generate(label=label, temperature=0)
        assert (made.prompt, made.continuation) == (f"{label}\t", text)
    begun = model.generate("stre", label="town", temperature=0)
    assert (begun.prompt, begun.continuation) == ("town\tstre", "ets, stones")
    assert [one.prompt for one in model.generate(["w", "a"], 3, label="sea")] == ["sea\tw", "sea\ta"]
    assert model.generate(temperature=0).continuation in {f"{label}\t{text}" for label, text in WORDS.items()}
    assert model.score("waves and wind", after="sea\t").log_likelihood > model.score("waves and wind", after="town\t").log_likelihood


def test_a_label_that_is_not_known(folder: Path, tmp_path: Path) -> None:
    """It is refused, with the labels there are; so is any label for a model without labels."""
    model = escriba.load(folder)
    with pytest.raises(SettingsError, match="there is no label 'twon'") as error:
        model.generate(label="twon")
    assert "'sea', 'town'" in str(error.value)
    assert "did you mean 'town'?" in str(error.value)
    plain = escriba.train(text="ab " * 200, steps=1, hidden_size=4, quiet=True, cell="rnn")
    assert plain.labels is None
    with pytest.raises(SettingsError, match="have no labels"):
        plain.generate(label="sea")


def test_the_commands(table: Path, folder: Path) -> None:
    """`corpus` tells the labels; `generate --label` writes for one, streamed, in a block, and by a beam."""
    run = CliRunner().invoke
    told = run(cli, ["corpus", str(table), "--label-column", "kind"])
    assert told.exit_code == 0, told.output
    assert "'sea' 60  'town' 60" in told.stdout
    for more in ([], ["-n", "2"], ["--json"], ["--beam", "2"]):
        words = ["generate", str(folder), "--label", "sea", *more, *([] if "--beam" in more else ["--temperature", "0"])]
        made = run(cli, words)
        assert made.exit_code == 0, made.output
        assert "waves and wind" in made.stdout
    wrong = run(cli, ["generate", str(folder), "--label", "see"])
    assert isinstance(wrong.exception, SettingsError)
    assert "did you mean 'sea'?" in str(wrong.exception)


def test_the_labels_of_a_text_beside_it(table: Path, folder: Path) -> None:
    """A table that is evaluated is read with its labels too."""
    measured = escriba.load(folder).evaluate(table)
    assert measured.bits_per_char is not None
    assert measured.bits_per_char < 0.5
