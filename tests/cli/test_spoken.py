"""Every word that a command says goes through the catalogue: seen with one that puts marks around all that is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import escriba.language

pytestmark = pytest.mark.slow

Run = Callable[..., Any]

INNERMOST = re.compile(r"⟦[^⟦⟧]*⟧")
ENGLISH = re.compile(r"[a-z]{3,},? [a-z]{3,}|^[a-z]{3,}(?=  )")
"""Two words in a row, or one that heads a row."""


class Marked:
    """A language in which every sentence is English between marks."""

    def gettext(self, message: str) -> str:
        """The sentence, marked."""
        return f"⟦{message}⟧"

    def ngettext(self, one: str, many: str, n: int) -> str:
        """The sentence, marked."""
        return f"⟦{one if n == 1 else many}⟧"


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is said is marked."""
    monkeypatch.setattr(escriba.language, "_catalogue", lambda name: Marked())


def unmarked(said: str, data: set[str]) -> list[str]:
    """The lines in which English is left once what is marked, and the words of the data, are taken away."""
    while INNERMOST.search(said):
        said = INNERMOST.sub(" ", said)
    said = re.sub(r"escriba [a-z].*", "", said)  # a command, to be typed
    lines = (re.sub(r"[a-z]+", lambda word: "" if word[0] in data else word[0], line) for line in said.splitlines())
    return [line for line in lines if ENGLISH.search(line)]


COMMANDS = [
    ("list",),
    ("show", "{fox}"),
    ("doctor",),
    ("doctor", "{fox}"),
    ("corpus", "{text}"),
    ("corpus", "{text}", "--examples", "2"),
    ("score", "{fox}", "--text", "the cat sat"),
    ("score", "{fox}", "{text}", "--per-line"),
    ("next", "{fox}", "the c"),
    ("rank", "{fox}", "cat", "dog", "bird"),
    ("evaluate", "{fox}", "{text}"),
    ("evaluate", "{fox}", "{text}", "--protocol", "window"),
    ("recall", "{fox}", "{text}", "--against", "{text}"),
    ("generate", "{fox}", "--prompt", "the ~", "--length", "20"),
    ("pack", "{fox}", "-o", "packed.zip", "--on", "{text}"),
    ("pack", "{fox}", "-o", "{fox}"),
    ("generate", "{fox}", "--length", "3", "--precision", "half"),
    ("train", "{text}", "--cell", "counts", "--order", "3", "-o", "counted"),
    ("train", "{text}", "--steps", "2", "--hidden-size", "8", "-o", "net"),
    ("plot", "{fox}", "architecture", "-o", "network.png"),
    ("show", "nowhere"),
    ("score", "{fox}", "--text", ""),
    ("train", "nowhere.txt"),
    ("train", "{text}", "--hidden-size", "0"),
    ("train", "{text}", "--set", "train.nothing=1"),
    ("generate", "{fox}", "--temperature", "-1"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_is_said_is_marked(words: tuple[str, ...], run: Run, fox: Path, text: str, story: str, here: Path, marked: None) -> None:
    """No English is left outside the marks."""
    data = {*re.findall(r"[a-z]+", story.lower()), *re.findall(r"[a-z]+", str(here)), "stream", "window"}  # the protocols are codes
    done = run(*(word.format(fox=fox, text=text) for word in words))
    written = "" if words[0] == "generate" else done.out  # what a model wrote is nobody's sentence
    assert unmarked(written + "\n" + done.err, data) == []


def test_what_is_not_marked_is_found() -> None:
    """What the test above relies on."""
    assert unmarked("⟦held out ⟦3 lines⟧ here⟧ the cat", {"the", "cat"}) == []
    assert unmarked("⟦held out⟧ over three lines", set()) != []
    assert unmarked("cells  3", set()) != []
