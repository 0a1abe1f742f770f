"""`escriba evaluate` and `escriba score --typical`: what they print, as a table and as JSON, and what they refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_one_model_and_one_protocol_is_an_object(run: Run, fox: Path, text: str) -> None:
    """The JSON of one measurement is an object with the figures; the loss of one lane is that of the score."""
    done = run("evaluate", fox, text, "--lanes", 1, "--json")
    found = json.loads(done.out)
    scored = json.loads(run("score", fox, text, "--json").out)
    assert done.code == 0
    assert found["protocol"] == "stream"
    assert math.isclose(found["loss_nats"], -scored["log_likelihood"] / scored["symbols"], rel_tol=1e-5)
    assert {"standard_error", "bits_per_char", "perplexity", "convention"} <= set(found)


def test_several_are_a_list_and_a_table_the_best_first(run: Run, fox: Path, saints: Path, text: str) -> None:
    """Both protocols of two models are four objects; the table has the best first and the difference of the other."""
    found = json.loads(run("evaluate", fox, saints, text, "--protocol", "both", "--json").out)
    assert [(one["model"], one["protocol"]) for one in found] == [
        (str(model), protocol) for model in (fox, saints) for protocol in ("stream", "window")
    ]
    done = run("evaluate", saints, fox, text)
    lines = done.out.splitlines()
    assert lines[1].startswith(str(fox))
    assert "±" in lines[2].removeprefix(str(saints))
    assert done.err.count("convention: ") == 2


def test_the_held_out_part(run: Run, fox: Path, saints: Path, story: str) -> None:
    """--held-out measures on what the training held out; of a text given in Python it says that it is not known."""
    found = json.loads(run("evaluate", fox, "--held-out", "--json").out)
    assert found["characters"] == len(story) - int(0.9 * len(story))
    done = run("evaluate", saints, "--held-out")
    assert done.code == 1
    assert "in Python" in done.err


def test_a_file_is_asked_for(run: Run, fox: Path) -> None:
    """A model alone is told what to type; standard input cannot be read twice; --typical stands alone."""
    for words in ([fox], [fox, fox, "-"], [fox, "-", "--protocol", "both"], [fox, "--typical", "--held-out"]):
        assert run("evaluate", *words).code == 2


def test_figures_of_different_texts(run: Run, fox: Path, text: str, here: Path) -> None:
    """Models whose held-out parts differ are listed with a note, and without a difference."""
    (here / "other.txt").write_text("a bird sang by the river.\n" * 400, encoding="utf-8")
    assert run("train", "other.txt", "-o", "other", "--cell", "counts", "--quiet").code == 0
    done = run("evaluate", fox, "other", "--held-out")
    assert done.code == 0
    assert "figures of different texts" in done.err
    assert all(line.count("±") <= 2 for line in done.out.splitlines())
    assert "different texts" not in run("evaluate", fox, "other", text).err


def test_a_model_is_no_file(run: Run, fox: Path) -> None:
    """Where the file was forgotten, the last model is not read as a text."""
    done = run("evaluate", fox, fox)
    assert done.code == 2
    assert "is a model: a FILE" in done.err


def test_standard_input(run: Run, fox: Path, story: str) -> None:
    """- is standard input."""
    found = json.loads(run("evaluate", fox, "-", "--json", stdin=story[:600].encode()).out)
    assert found["symbols"] == 600


def test_typical(run: Run, fox: Path, text: str) -> None:
    """--typical keeps the file and prints what is typical by length; then a score can say whether a text is."""
    (fox / "typical.json").unlink(missing_ok=True)
    before = run("score", fox, "--text", "the cat sat", "--typical", 0.05)
    assert before.code == 1
    assert "--typical" in before.err
    done = run("evaluate", fox, text, "--typical")
    assert done.code == 0
    assert (fox / "typical.json").is_file()
    assert "symbols" in done.out
    assert json.loads(run("evaluate", fox, text, "--typical", "--json").out)["groups"][0]["length"] == 1
    found = json.loads(run("score", fox, "--text", "the cat sat", "--typical", 0.05, "--json").out)
    assert found["typical"]["at"] == 0.05
    assert found["typical"]["share"] == found["more_surprising_than"]
    shown = run("score", fox, "--text", "the cat sat", "--typical", 0.05)
    assert "held-out texts were called not typical" in shown.out
    (fox / "typical.json").unlink()


@pytest.mark.parametrize("words", [("--after", "the"), ("--typical", "0.03"), ("--typical", "x")])
def test_what_is_not_typical_to_ask(run: Run, fox: Path, words: tuple[str, str]) -> None:
    """A verdict after a context, or at a share that was not measured, is refused."""
    assert run("score", fox, "--text", "the cat", "--typical", 0.05, *words).code in (1, 2)
