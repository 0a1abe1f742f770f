"""``escriba recall``: what is printed, and what is said when there is nothing to hold a text against."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_text_is_held_against_what_was_learnt(run: Callable[..., object], fox: Path, story: str, text: str) -> None:
    """A line that was learnt is marked =, another +; the passage is shown with its line; standard input, a file and --text are alike."""
    line = story.split("\n")[7]
    given = f"{line}\nA line of my own.\n"
    done = run("recall", fox, "-", stdin=given.encode())
    assert done.code == 0
    assert f"\n= {line}\n+ A line of my own.\n" in done.out
    assert "longest verbatim passage:" in done.out
    Path("page.txt").write_text(given, encoding="utf-8")
    assert run("recall", fox, "page.txt").out == done.out
    assert run("recall", fox, "--text", given).out == done.out
    figures = json.loads(run("recall", fox, "--text", given, "--json").out)
    assert set(figures) == {"longest", "passages", "novel_share", "lines", "training_characters", "is_documents"}
    assert [one["is_new"] for one in figures["lines"]] == [False, True]
    assert list(figures["novel_share"])[:3] == ["4", "8", "12"]


@pytest.mark.slow
def test_documents_that_were_given_in_python_must_be_given_again(run: Callable[..., object], saints: Path) -> None:
    """The error says so, and --against takes a file."""
    done = run("recall", saints, "--text", "Maria")
    assert done.code == 1
    assert "--against" in done.err
    Path("saints.txt").write_text("maria\nlunate\njosebe\n" * 40, encoding="utf-8")
    done = run("recall", saints, "--text", "maria\nmario", "--against", "saints.txt")
    assert done.code == 0, done.err
    assert "\n= maria\n+ mario\n" in done.out


@pytest.mark.slow
def test_one_text_is_asked_for(run: Callable[..., object], fox: Path) -> None:
    """Neither and both are a matter of usage."""
    assert run("recall", fox).code == 2
    assert run("recall", fox, "a.txt", "--text", "a").code == 2
