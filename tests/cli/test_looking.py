"""``escriba next`` and ``escriba plot``: bars in the terminal, pictures in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_next_prints_bars(run, fox: Path) -> None:
    """A line a symbol: bar, probability, logit; as many as asked for; nothing on standard error."""
    done = run("next", fox, "The ", "--top", 4)
    assert done.code == 0
    assert len(done.out.splitlines()) == 4
    assert all("%" in line for line in done.out.splitlines())
    assert "█" in done.out
    assert done.err == ""


def test_next_from_the_beginning_as_json(run, fox: Path, saints: Path) -> None:
    """An empty context is the beginning, of a stream as of a document; probabilities fall and are the model's own."""
    for model in (fox, saints):
        found = json.loads(run("next", model, "", "--json", "--top", 10_000).out)
        shares = [one["probability"] for one in found["next"]]
        assert found["context"] == ""
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1.0)


def test_next_names_what_it_does_not_know(run, fox: Path) -> None:
    """An unseen symbol is a note, not an error."""
    assert "水" in run("next", fox, "水").err


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["curve", "-o", "x.png", "--baseline", "n-gram=2.5"], b"\x89PNG"),
        (["architecture", "-o", "x.svg"], b"<?xml"),
        (["embedding", "-o", "x.pdf", "--top", "9"], b"%PDF"),
        (["surprisal", "--text", "The cat", "-o", "x.png"], b"\x89PNG"),
        (["surprisal", "--text", "The cat", "-o", "x.html"], b"<!DOCTYPE html>"),
        (["next", "--context", "The", "-o", "x.png", "--top", "5"], b"\x89PNG"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_plot_writes_each_picture(run, fox: Path, here: Path, words: list[str], begins: bytes) -> None:
    """By the ending of the file; what was written is told on standard error alone."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    done = run("plot", fox, *words)
    assert done.code == 0, done.err
    file = here / words[words.index("-o") + 1]
    assert file.read_bytes().startswith(begins)
    assert done.out == ""
    assert done.err == f"drawn: {file.name}\n"


def test_next_draws_too(run, fox: Path, here: Path) -> None:
    """The bars are printed as well."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert "█" in run("next", fox, "The", "--plot", "x.png").out
    assert (here / "x.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_terminal_can_show_needs_no_file(run, fox: Path, here: Path) -> None:
    """The surprisal as marks in a pipe, from a file or standard input; the curve as a row of bars."""
    (here / "a.txt").write_text("The cat\nran", encoding="utf-8")
    for words, given in ((["--text", "The cat\nran"], b""), (["--file", "a.txt"], b""), (["--file", "-"], b"The cat\nran")):
        done = run("plot", fox, "surprisal", *words, stdin=given)
        assert done.out.splitlines()[0] == "The cat↵"
        assert "bits per character" in done.err
    assert "nats a symbol" in run("plot", fox, "curve").out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["curv"], 1, "did you mean 'curve'?"),
        (["architecture"], 2, "-o architecture.png"),
        (["next"], 2, "-o next.png"),
        (["surprisal"], 2, "--text TEXT"),
        (["surprisal", "--text", "a", "--file", "b"], 2, "not both"),
        (["curve", "-o", "x.jpg"], 1, ".png, .svg, .pdf"),
        (["curve", "-o", "x.png", "--text", "a"], 1, "no option 'text'"),
        (["curve", "-o", "x.png", "--baseline", "n=many"], 1, "NAME=BITS"),
        (["curve", "-o", "x.png", "--baseline", "n=-2"], 1, "more than 0"),
        (["embedding", "-o", "missing/x.png"], 1, "no folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_plot_cannot_do_is_told(run, fox: Path, words: list[str], code: int, told: str) -> None:
    """Without a traceback, with what would be right, and nothing is written."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    done = run("plot", fox, *words)
    assert done.code == code
    assert told in done.err
    assert done.out == ""
