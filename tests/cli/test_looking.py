"""``escriba next`` and ``escriba plot``: bars in the terminal, pictures in files."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from escriba.cli.main import main
from escriba.cli.options import print_json


def test_a_model_saved_by_hand(run, fox: Path, here: Path) -> None:
    """It has no record of a training, which is neither finished nor unfinished."""
    import escriba

    model = escriba.load(fox)
    noise = escriba.Model(escriba.LanguageModel(model.tokenizer.vocab_size, cell="gru", embedding_dim=6, hidden_size=8), model.tokenizer)
    noise.save(here / "models" / "noise")
    assert "MB, no record of a training" in run("show", "noise").out
    assert "finished" not in run("list").out
    assert json.loads(run("show", "noise", "--json").out)["finished"] is None


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


def test_json_has_no_controls_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    """Those above 126, which JSON lets stand, are escaped as the others are; programs read the same."""
    print_json({"symbol": "\x1b\x7f\x9bñ水"})
    shown = capsys.readouterr().out
    assert shown == '{"symbol": "\\u001b\\u007f\\u009bñ水"}\n'
    assert json.loads(shown) == {"symbol": "\x1b\x7f\x9bñ水"}


@pytest.mark.parametrize(("value", "red"), [("1", False), ("", True)])
def test_errors_are_red_unless_no_color_is_set(value: str, red: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal; an empty NO_COLOR is none."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(SystemExit):
        main(["show", "no-such"])
    assert ("\x1b[31m" in sys.stderr.getvalue()) == red
    assert "there is no model" in sys.stderr.getvalue()


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


def test_the_curve_is_no_wider_than_the_terminal(run, fox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many steps there were; of `show` too."""
    model = shutil.copytree(fox, tmp_path / "long")
    lines = [{"event": kind, "step": step, "loss_nats": 3.0 - step / 500} for step in range(1, 500) for kind in ("progress", "evaluated")]
    (model / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "90")
    drawn = run("plot", model, "curve").out.splitlines()
    assert [len(line) for line in drawn] == [90, 90]
    (shown,) = [line for line in run("show", model).out.splitlines() if "█" in line]
    assert len(shown) == 90


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["curv"], 1, "did you mean 'curve'?"),
        (["architecture"], 2, "-o architecture.png"),
        (["next"], 2, "-o next.png"),
        (["surprisal"], 2, "--text TEXT"),
        (["surprisal", "--text", "a", "--file", "b"], 2, "not both"),
        (["curve", "-o", "x.jpg"], 1, ".png, .svg, .pdf"),
        (["curve", "-o", "x.png", "--text", "a"], 2, "--text goes with surprisal"),
        (["surprisal", "--text", "a", "--top", "3"], 2, "--top goes with embedding and next"),
        (["next", "--file", "a.txt"], 2, "--file goes with surprisal"),
        (["curve", "-o", "x.png", "--baseline", "n=many"], 1, "NAME=BITS"),
        (["curve", "-o", "x.png", "--baseline", "n=-2"], 1, "more than 0"),
        (["curve", "-o", "x.png", "--baseline", "n=2", "--baseline", "n=3"], 2, "a name of its own"),
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
