"""Errors as people read them, commands as they type them, and what to type for what is not installed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from escriba.errors import EscribaError, MissingExtraError, install_hint, near_name, typed

PLAIN = ["book.txt", "--resume", "train.learning_rate=0.002", "año.txt", "天地", "a\\b", "-", "~"]
SPECIAL = ["models/my book", "it's", 'say "no"', "100%", "why!", "a$b", "a`b", "(1)", "a;b", "a&b", "*", "", "tab\tin"]
BACKSLASHES = ["C:\\Users\\José María\\", "back\\\\", "end\\", 'q"\\']
WORDS = [*PLAIN, *SPECIAL, *BACKSLASHES]


def windows_words(line: str) -> list[str]:
    """The arguments that a program sees, by the rules of Microsoft's C runtime (from 2008 on), for what is quoted from end to end."""
    words: list[str] = []
    at = 0
    while at < len(line):
        word, quoted = "", False
        while at < len(line) and (quoted or line[at] != " "):
            backslashes = len(line[at:]) - len(line[at:].lstrip("\\"))
            if backslashes and line[at + backslashes : at + backslashes + 1] == '"':
                word, at = word + "\\" * (backslashes // 2), at + backslashes
                if backslashes % 2:
                    word, at = word + '"', at + 1
            elif backslashes:
                word, at = word + "\\" * backslashes, at + backslashes
            elif line[at] == '"' and quoted and line[at + 1 : at + 2] == '"':
                word, at = word + '"', at + 2
            elif line[at] == '"':
                quoted, at = not quoted, at + 1
            else:
                word, at = word + line[at], at + 1
        words.append(word)
        at += 1
    return words


def test_an_error_has_three_parts() -> None:
    """What was met, what was expected and what to do stand on lines of their own; what is not known is left out."""
    assert str(EscribaError("met", expected="this", hint="that")) == "met\nexpected: this\nhint: that"
    assert str(EscribaError("met")) == "met"


def test_typed_for_a_posix_shell() -> None:
    """The shell gives back the very words; what needs no quotes has none."""
    assert shlex.split(typed(*WORDS, windows=False)) == WORDS
    assert typed("escriba", "train", "book.txt", "-o", "my models", windows=False) == "escriba train book.txt -o 'my models'"
    assert typed(Path("my book")) == typed("my book")


def test_typed_for_windows() -> None:
    """Double quotes alone, which cmd and PowerShell share; a program sees the very words, those with quotes and last backslashes too."""
    assert typed("escriba", "train", "año.txt", "-o", "C:\\my models\\", windows=True) == 'escriba train año.txt -o "C:\\my models\\\\"'
    for word in WORDS:
        line = typed("escriba", word, "after", windows=True)
        assert windows_words(line) == ["escriba", word, "after"], line
        assert "'" not in line.replace(word, "")
    for special in ("a b", "a&b", "(1)", "50%", "a;b", "a,b", "@x", "$x", "#x", "it's", ""):
        assert typed(special, windows=True) == f'"{special}"'


def test_typed_on_this_system() -> None:
    """By itself it is for this system's shell, which gives the words back to a program."""
    assert typed("a b") == typed("a b", windows=os.name == "nt")
    words = ["my book", "año", "it's", "100%x", "a&b", "(1)"]
    code = "import sys; sys.stdout.buffer.write('|'.join(sys.argv[1:]).encode())"
    done = subprocess.run(f'"{sys.executable}" -c "{code}" {typed(*words)}', shell=True, capture_output=True, check=True)
    assert done.stdout.decode() == "|".join(words)


@pytest.mark.parametrize(
    ("system", "machine", "nvidia", "lines"),
    [("Linux", "x86_64", False, 3), ("Linux", "x86_64", True, 1), ("Linux", "aarch64", False, 1), ("Windows", "AMD64", False, 1)],
)
def test_how_to_install_pytorch(system: str, machine: str, nvidia: bool, lines: int) -> None:
    """One line of pip; on Linux without an NVIDIA card PyTorch's CPU build comes before it, for pip itself would bring 3 GB."""
    hint = install_hint("train", system=system, machine=machine, nvidia=nvidia)
    assert 'python -m pip install "escriba[train]"' in hint
    assert len(hint.splitlines()) == lines
    assert ("https://download.pytorch.org/whl/cpu" in hint) == (lines == 3)
    assert "download.pytorch.org" not in install_hint("plot", system=system, machine=machine, nvidia=nvidia)


def test_an_intel_mac_is_told_that_it_cannot_train() -> None:
    """Where PyTorch has no build, no line is given that cannot work; who has a Python for Intel by mistake is told of the right one."""
    hint = install_hint("train", system="Darwin", machine="x86_64", nvidia=False)
    assert hint.startswith("PyTorch has no recent build for Macs with an Intel processor")
    assert "Python for arm64" in hint
    assert install_hint("train", system="Darwin", machine="arm64", nvidia=False) == 'python -m pip install "escriba[train]"'


def test_a_missing_extra_gives_the_hint_of_this_machine() -> None:
    """The error names what was asked for and the module, and says what to type here."""
    error = MissingExtraError("training", "train", "torch")
    assert "training needs the Python package 'torch'" in error.met
    assert error.hint == install_hint("train")
    assert isinstance(error, ImportError)


def test_near_name() -> None:
    """The nearest spelling, or none."""
    assert near_name("trian", ["train", "score"]) == "train"
    assert near_name("xyz", ["train", "score"]) is None
