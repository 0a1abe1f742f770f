"""Bars and coloured text in a terminal, and symbols as they can be seen."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len

from escriba.outputs.bars import Row, bars, coloured, marked, print_surprisal
from escriba.outputs.heat import mark, on_white, strength
from escriba.text.printed import code_points, printable


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        (" ", "␣"),
        ("\n", "↵"),
        ("\t", "⇥"),
        ("\x07", "U+0007"),
        ("\u200b", "U+200B"),
        ("\ud800", "U+D800"),
        ("\u0301", "◌\u0301"),
        ("e\u0301", "e\u0301"),
        ("of the", "of␣the"),
        ("水", "水"),
        ("", '""'),
        ("<unk>", "<unk>"),
    ],
)
def test_each_symbol_can_be_seen(symbol: str, shown: str) -> None:
    """What leaves no ink has a sign or its number, a mark alone has a ring, all else is itself."""
    assert printable(symbol) == shown


def test_code_points_are_written_as_unicode_writes_them() -> None:
    """At least four digits, parted by blanks."""
    assert code_points("水😀a") == "U+6C34 U+1F600 U+0061"


@pytest.mark.parametrize("width", [40, 80, 133])
def test_bars_fill_the_width_whatever_the_symbols_take(width: int) -> None:
    """All lines are equally wide, the likeliest fills it, wide characters take two columns, and half as likely is half as long."""
    lines = bars([Row("水", 0.5, 1.25), Row("a", 0.25, 0.5), Row(" ", 0.0, -3.0), Row("w" * 60, 1e-9, -20.0)], width).splitlines()
    assert {cell_len(line) for line in lines} == {width}
    full = lines[0].count("█")
    assert abs(lines[1].count("█") - full / 2) <= 1
    assert "█" not in lines[2]
    assert "▏" not in lines[2], "nothing is nothing"
    assert "▏" in lines[3], "what is not quite nothing can be seen"
    assert "w…" in lines[3]
    assert lines[0].endswith("50.00%     1.250")


def test_bars_of_nothing_are_no_lines() -> None:
    """An empty distribution prints nothing."""
    assert bars([]) == ""


def test_the_marks_stand_under_their_symbols() -> None:
    """In a pipe each symbol has its whole bits below it, a wide one at its first column, none for less than one bit."""
    assert marked(["水", "a", "\n", "b", " "], [3.9, 12.0, 0.1, 0.99, float("inf")]) == "水a↵\n3 +\nb \n +"


def test_a_long_line_is_broken_with_its_marks() -> None:
    """No line is wider than asked for, and nothing of the text is lost."""
    lines = marked(list("abcdefgh"), [1.0] * 8, 5).splitlines()
    assert lines == ["abcde", "11111", "fgh", "111"]


def test_the_colour_grows_with_the_bits() -> None:
    """From white to the strongest at 12 bits, and no further; what is no number is as strong as can be."""
    assert [strength(bits) for bits in (-1.0, 0.0, 6.0, 12.0, 50.0, float("inf"), float("nan"))] == [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    assert on_white(0.0) == "#ffffff"
    assert on_white(12.0) == "#e66101"
    assert [mark(bits) for bits in (0.99, 1.0, 9.99, 10.0, float("inf"))] == [" ", "1", "9", "+", "+"]


def test_a_terminal_gets_colours_and_a_pipe_gets_none() -> None:
    """Colours in a terminal are the bits'; nothing that a terminal obeys comes out of the text itself."""
    pieces, bits = ["a", "\x1b", "\n", "b"], [0.0, 12.0, 3.0, 6.0]
    pipe, terminal = io.StringIO(), io.StringIO()
    print_surprisal(pieces, bits, pipe, colour=None)
    print_surprisal(pieces, bits, terminal, colour=True)
    assert "\x1b" not in pipe.getvalue()
    assert pipe.getvalue().startswith("aU+001B↵\n")
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b\n" not in terminal.getvalue().replace("\x1b[", "")
    assert [str(span.style) for span in coloured(pieces, bits).spans[:2]] == ["black on #ffffff", "black on #e66101"]


@pytest.mark.parametrize(
    ("surroundings", "colours"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True),
        ({"TERM": "xterm"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
    ],
    ids=str,
)
def test_what_has_not_our_colours_gets_marks(surroundings: dict[str, str], colours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 16 colours, one that says nothing, and one whose owner wants no colours."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    print_surprisal(["a", "b"], [3.5, 12.0], stream)
    assert ("\x1b[" in stream.getvalue()) == colours
    assert (stream.getvalue() == "ab\n3+\n") == (not colours)
