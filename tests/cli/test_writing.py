"""``generate`` with what is more than drawing, and ``write``, where a person picks: as they are typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import escriba

Run = Callable[..., Any]


# --- generate ---


def test_a_beam_is_the_librarys(run: Run, fox: Path) -> None:
    """--beam prints the best text, or as many as asked for, and no seed; --json tells their scores."""
    model = escriba.load(fox, precision="float32")
    found = model.beam("The ", 30, width=4, length_penalty=0.5, no_repeat=5)
    words = (
        "generate",
        fox,
        "-p",
        "The ",
        "-l",
        "30",
        "--beam",
        "4",
        "--length-penalty",
        "0.5",
        "--no-repeat",
        "5",
        "--precision",
        "float32",
    )
    done = run(*words)
    assert done.out.startswith(found[0] + "\n")
    assert done.err == ""
    assert run(*words).out == done.out
    texts = json.loads(run(*words, "-n", "3", "--json").out)["texts"]
    assert [one["text"] for one in texts] == [one.continuation for one in found[:3]]
    assert [one["normalized"] for one in texts] == [one.normalized for one in found[:3]]
    assert {(one["seed"], one["temperature"]) for one in texts} == {(None, None)}
    greedy = run("generate", fox, "-p", "The ", "-l", "30", "--temperature", "0", "--no-prompt").out
    assert run("generate", fox, "-p", "The ", "-l", "30", "--beam", "1", "--no-prompt").out.startswith(greedy)


def test_drawing_by_the_text(run: Run, fox: Path) -> None:
    """--temperature-cycle and --no-repeat are the settings of the library, in one text, in several and as JSON."""
    model = escriba.load(fox)
    words = ("generate", fox, "-p", "The ", "-l", "60", "--seed", "3", "--temperature-cycle", "0,1.5,0.4", "--no-repeat", "6")
    settings = {"temperature_cycle": (0, 1.5, 0.4), "no_repeat": 6}
    assert run(*words).out == model.generate("The ", 60, seed=3, **settings) + "\n"
    texts = json.loads(run(*words, "-n", "2", "--json").out)["texts"]
    assert [one["text"] for one in texts] == [one.continuation for one in model.generate("The ", 60, samples=2, seed=3, **settings)]
    assert texts[0]["temperature"] is None


def test_which_texts_are_kept(run: Run, saints: Path) -> None:
    """--unique, --min-length, --max-length and --begins: one document a line, all different, of the lengths, with that beginning."""
    done = run(
        "generate",
        saints,
        "-n",
        "8",
        "--unique",
        "--min-length",
        "4",
        "--max-length",
        "9",
        "--begins",
        "ma",
        "--seed",
        "1",
        "--temperature",
        "1.5",
    )
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(set(lines)) == len(lines) == 8
    assert all(4 <= len(line) <= 9 and line.startswith("ma") for line in lines)
    expected = escriba.load(saints).generate(
        length=None, samples=8, seed=1, temperature=1.5, unique=True, min_length=4, max_length=9, begins="ma"
    )
    assert lines == expected
    one = run("generate", saints, "--begins", "lu", "--seed", "4", "-l", "12")
    assert one.out == escriba.load(saints).generate(seed=4, length=12, begins="lu") + "\n"


def test_fewer_than_asked_for_is_said(run: Run, fox: Path) -> None:
    """What could be kept is printed, and a note says that it is less."""
    done = run("generate", fox, "-p", "The ", "-l", "10", "-n", "3", "--unique", "--temperature", "0")
    assert done.code == 0
    assert done.out.count("The ") == 1
    assert "note: 1 of the 3 texts asked for: with temperature 0 or top_k 1 a prompt has but one text" in done.err


def test_nothing_that_could_be_kept(run: Run, fox: Path) -> None:
    """Where no text could be kept, nothing is printed, a note says why, and the command has failed; JSON is JSON all the same."""
    words = ("generate", fox, "-p", "The ", "-n", "2", "--stop", " ", "--min-length", "30", "-l", "30", "--temperature", "0")
    done = run(*words)
    assert (done.code, done.out) == (1, "")
    assert "note: 0 of the 2 texts asked for: of 2 that were written, 2 too short" in done.err
    done = run(*words, "--json")
    assert (done.code, json.loads(done.out)["texts"]) == (1, [])


def test_new_lines_of_a_stream(run: Run, fox: Path, text: str, story: str) -> None:
    """--novel writes lines that are not in the training text, one a text; with a length of one's own texts without such a line."""
    known = set(story[: int(0.9 * len(story))].split("\n"))
    words = ("generate", fox, "-p", "\n", "--no-prompt", "--novel", "--against", text, "--seed", "1", "--temperature", "0.3")
    done = run(*words, "-n", "6")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) == 6
    assert all(line.strip() and line not in known for line in lines)
    one = run(*words)
    assert one.out == lines[0] + "\n"
    long = run(*words, "-l", "150", "--temperature", "1")
    assert len(long.out) == 151
    assert not known.intersection(line for line in long.out.split("\n") if line.strip())
    assert json.loads(run(*words, "--stop", "z", "-l", "9", "--json").out)["texts"][0]["text"]


def test_novel(run: Run, saints: Path, names: tuple[str, ...], here: Path) -> None:
    """--novel prints only documents that are not in the training text, which may be given."""
    (here / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    words = ("generate", saints, "-n", "30", "--seed", "1", "--temperature", "1")
    model = escriba.load(saints)
    plain = run(*words).out.splitlines()
    done = run(*words, "--novel", "--against", "names.txt")
    assert any(not model.is_novel(line, against="names.txt") for line in plain), "the test would see nothing"
    assert len(done.out.splitlines()) == 30, done.err
    assert all(model.is_novel(line, against="names.txt") for line in done.out.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--beam", "0"], "width of the beam is 0"),
        (["--beam", "65"], "width of the beam is 65"),
        (["--beam", "4", "--temperature", "0.5"], "--beam with --temperature"),
        (["--beam", "4", "--seed", "1", "--top-k", "5"], "--beam with --top-k, --seed"),
        (["--beam", "4", "--unique", "--begins", "a"], "--beam with --begins, --unique"),
        (["--beam", "4", "--temperature-cycle", "0.5,1"], "--beam with --temperature-cycle"),
        (["--beam", "4", "--length", "none"], "--length none with --beam"),
        (["--beam", "2", "-n", "3"], "samples is 3 and the width of the beam 2"),
        (["--beam", "2", "--length-penalty", "3"], "length_penalty is 3"),
        (["--length-penalty", "1"], "--length-penalty without --beam"),
        (["--against", "x.txt"], "--against without --novel"),
        (["--temperature-cycle", "0.5,hot"], "temperature_cycle"),
        (["--temperature-cycle", ","], "--temperature-cycle names no temperature"),
        (["--temperature-cycle", "0.5,1", "--temperature", "0.3"], "--temperature with --temperature-cycle"),
        (["--no-repeat", "1"], "no_repeat is '1'"),
        (["--min-length", "9", "--max-length", "3"], "min_length is 9 and max_length 3"),
        (["--max-length", "30"], "never end by themselves"),
        (["--begins", "long", "--length", "3"], "begin with 4 characters"),
    ],
)
def test_what_does_not_go_together(words: list[str], said: str, run: Run, fox: Path) -> None:
    """Each is an error that names the options, and nothing is printed."""
    done = run("generate", fox, *words)
    assert (done.code, done.out) == (1, "")
    assert said in done.err


# --- write ---


def test_write(run: Run, fox: Path) -> None:
    """Picks, a text of one's own and the way back: the text comes to standard output, all talk to standard error."""
    done = run("write", fox, "-p", "The ", stdin=b"1\n\n=cat sat\\n\nb\n=dog\nq\n")
    assert done.code == 0
    model = escriba.load(fox)
    from escriba.inference.picking import Picker

    picker = Picker(model.writer("The ", seed=1))
    picker.pick(1)
    picker.pick(1)
    picker.push("dog")
    assert done.out == picker.text + "\n"
    assert "a number takes that choice" in done.err
    assert "word> " in done.err
    assert "cat sat" in done.err
    words = [line for line in done.err.splitlines() if line.startswith("  1  ")]
    assert len(words) == 6
    assert all(re.fullmatch("  1  .*[␣↵…]  [0-9.]+%", word) for word in words), "a word ends with a blank, or is marked as unfinished"


def test_write_by_symbols_and_lines(run: Run, fox: Path) -> None:
    """s, w and l switch; --by begins with one; t sets the temperature of lines; the same seed offers the same."""
    done = run("write", fox, "--by", "symbol", "--seed", "2", "-n", "3", stdin=b"2\nl\nt 0\n1\nw\n")
    kinds = [line[: line.index(">")] for line in done.err.splitlines() if line.startswith(("symbol>", "word>", "line>"))]
    assert kinds == ["symbol", "symbol", "line", "line", "line", "word"]
    lines = [line for line in done.err.splitlines() if line.endswith("bits a character")]
    assert any(re.search("[^ ␣] [^ ␣]", line[5:-23]) for line in lines), "blanks between words are blanks"
    assert done.out == run("write", fox, "--by", "symbol", "--seed", "2", "-n", "3", stdin=b"2\nl\nt 0\n1\nw\n").out
    first = escriba.load(fox).next().top(3)[1][0]
    assert done.out.startswith(first)


def test_write_takes_mistakes(run: Run, fox: Path) -> None:
    """A number that is not there, a word that is none, a temperature that is none, a way back from the beginning: each is said."""
    done = run("write", fox, "-p", "The ", stdin="77\nfrog\nt hot\nb\n=ññ€\nb\n".encode())
    assert (done.code, done.out) == (0, "The \n")
    for said in ("there is no choice 77", "this is where the text began", "temperature is nan", "'€'"):
        assert said in done.err
    assert done.err.count("a number takes that choice") == 2


def test_write_takes_bytes_that_are_no_text(run: Run, fox: Path) -> None:
    """Input that is not UTF-8, that begins with a byte-order mark, or is a number too long for Python, is no crash."""
    done = run("write", fox, "-p", "The ", stdin=b"\xef\xbb\xbf=old \n=caf\xe9\n" + b"9" * 5000 + b"\nq\n")
    assert (done.code, done.out) == (0, "The old caf\ufffd\n")
    assert "error: " in done.err


def test_write_shows_no_controls(run: Run, fox: Path) -> None:
    """What a terminal would obey is shown by its number; what is printed at the end is the text."""
    done = run("write", fox, "-p", "The \x9b2J\x07cat", stdin=b"q\n")
    assert done.out == "The \x9b2J\x07cat\n"
    assert "The U+009B2JU+0007cat" in done.err
    assert "\x07" not in done.err


def test_write_picks_from_standard_input_alone(run: Run, fox: Path) -> None:
    """The prompt cannot come from standard input, too."""
    done = run("write", fox, "--prompt-file", "-", stdin=b"The cat\nq\n")
    assert (done.code, done.out) == (1, "")
    assert "--prompt-file -" in done.err


def test_write_into_a_file(run: Run, saints: Path, here: Path) -> None:
    """-o takes the text; a document can end; the end of the input ends it."""
    done = run("write", saints, "-o", "name.txt", "--by", "symbol", "-n", "40", stdin=b"=maria\r\n")
    assert (done.code, done.out) == (0, "")
    assert (here / "name.txt").read_text(encoding="utf-8") == "maria\n"
    choices = [line for line in run("write", saints, "-p", "maria", "--by", "symbol", "-n", "40").err.splitlines() if "<eos>" in line]
    number = choices[0].split()[0]
    done = run("write", saints, "-p", "maria", "--by", "symbol", "-n", "40", stdin=f"{number}\n1\nq\n".encode())
    assert done.out == "maria\n"
    assert "the document has ended" in done.err
    assert "there is no choice 1" in done.err
    wrong = run("write", saints, "-o", "no/such/folder.txt")
    assert wrong.code == 1
    assert "cannot be written" in wrong.err


def test_write_keeps_the_text_when_interrupted(run: Run, fox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130, and what was written stands on standard output all the same."""
    from escriba.inference.picking import Picker

    def interrupted(self: Picker, number: int = 1) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Picker, "pick", interrupted)
    done = run("write", fox, "-p", "The ", stdin=b"=old\n1\n")
    assert (done.code, done.out) == (130, "The old\n")
