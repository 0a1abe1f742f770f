"""``escriba score`` and ``escriba rank``: by symbol, by line, by order of letters; what is data and what is talk."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import escriba

Run = Callable[..., Any]

EXACT = {"precision": "float32"}
"""What the JSON of a command that measures says besides the figures, where nobody asks for another precision."""


def the_json(text: str) -> Any:
    """One value of JSON."""
    return json.loads(text)


def test_symbols_as_a_table(run: Run, fox: Path) -> None:
    """Every symbol on a line of its own, blanks and newlines to be seen, with what was expected; the convention on stderr."""
    done = run("score", fox, "--text", "a \nñ", "--symbols", "--top", "2")
    assert done.code == 0
    _, head, *rows = done.out.splitlines()
    assert head.split() == ["symbol", "bits", "nats", "probability", "rank", "expected"]
    assert [row.split()[0] for row in rows] == ["a", "\u2423", "\u21b5", "ñ"]
    score = escriba.load(fox).score("a \nñ")
    for row, nats, rank in zip(rows, score.surprisals, score.ranks, strict=True):
        _, bits_shown, nats_shown, share, rank_shown, *expected = row.split()
        assert float(nats_shown) == pytest.approx(nats, abs=1e-3)
        assert float(bits_shown) == pytest.approx(nats / math.log(2), abs=1e-3)
        assert float(share) == pytest.approx(math.exp(-nats), rel=1e-2)
        assert int(rank_shown) == rank
        assert len(expected) == 4
    assert "convention: " in done.err
    assert "expected" not in run("score", fox, "--text", "a", "--symbols").out


def test_symbols_as_json(run: Run, fox: Path) -> None:
    """The score's own fields, and by_symbol: a list of objects."""
    found = the_json(run("score", fox, "--text", "The cat.", "--symbols", "--top", "3", "--json").out)
    score = escriba.load(fox).score("The cat.", top=3)
    assert {name: value for name, value in found.items() if name != "by_symbol"} == score.as_dict() | EXACT
    rows = found["by_symbol"]
    assert "".join(row["symbol"] for row in rows) == "The cat."
    assert [row["rank"] for row in rows] == list(score.ranks)
    assert [row["surprisal_nats"] for row in rows] == list(score.surprisals)
    assert [row["surprisal_bits"] for row in rows] == pytest.approx([nats / math.log(2) for nats in score.surprisals])
    assert [row["probability"] for row in rows] == list(score.probabilities)
    assert [[(one["symbol"], one["probability"]) for one in row["expected"]] for row in rows] == [list(one) for one in score.expected]
    assert "expected" not in the_json(run("score", fox, "--text", "a", "--symbols", "--json").out)["by_symbol"][0]


def test_symbols_of_bytes_and_ends(run: Run, saints: Path, here: Path) -> None:
    """A byte that completes no character is shown by its number, the end of a document by its name."""
    rows = the_json(run("score", saints, "--text", "ana", "--eos", "--symbols", "--json").out)["by_symbol"]
    assert [row["symbol"] for row in rows] == ["a", "n", "a", "<eos>"]
    tokenizer = escriba.ByteTokenizer.fit("año\n" * 5)
    escriba.Model(escriba.LanguageModel(tokenizer.vocab_size, embedding_dim=4, hidden_size=6), tokenizer).save("bytes")
    rows = the_json(run("score", "bytes", "--text", "ñ!", "--symbols", "--json").out)["by_symbol"]
    assert [row["symbol"] for row in rows] == ["0xc3", "ñ", "!"]


@pytest.mark.parametrize("carry", [False, True])
def test_per_line(run: Run, fox: Path, here: Path, carry: bool) -> None:
    """One line a line: nats, bits per character, symbols, the line; an empty one has no bits; the convention once, on stderr."""
    (here / "lines.txt").write_bytes(b"The cat.\r\n\r\nA\tdog.")
    way = ["--carry"] if carry else []
    done = run("score", fox, "lines.txt", "--per-line", *way)
    wanted = list(escriba.load(fox).score_lines(["The cat.", "", "A\tdog."], carry=carry))
    rows = [line.split("\t", 3) for line in done.out.splitlines()]
    assert [row[3] for row in rows] == ["The cat.", "", "A\tdog."]
    assert [float(row[0]) for row in rows] == pytest.approx([score.log_likelihood for score in wanted], abs=1e-5)
    assert [int(row[2]) for row in rows] == [score.symbols for score in wanted]
    assert float(rows[0][1]) == pytest.approx(wanted[0].bits_per_char, abs=1e-5)
    assert (rows[1][1] == "") is not carry
    assert done.err.count("convention: ") == 1
    assert wanted[0].convention in done.err
    found = [
        the_json(line) for line in run("score", fox, "-", "--per-line", "--json", *way, stdin=b"The cat.\n\nA\tdog.\n").out.splitlines()
    ]
    assert found == [score.as_dict() | EXACT for score in wanted]
    figures = ["line", "log_likelihood", "symbols", "characters", "unknown", "bits_per_char"]
    assert list(found[0]) == [*figures, "text", "convention", "precision"]


def test_per_line_of_documents(run: Run, saints: Path, here: Path) -> None:
    """--eos counts the end of each line, --after is read before each."""
    (here / "names.txt").write_text("ana\nxyz\n", encoding="utf-8")
    done = run("score", saints, "names.txt", "--per-line", "--eos", "--after", "ma")
    single = escriba.load(saints).score("ana", "ma", eos=True)
    assert float(done.out.split("\t")[0]) == pytest.approx(single.log_likelihood, abs=1e-5)
    assert "<eos> counted" in done.err
    assert the_json(run("score", saints, "--text", "ana", "--after", "ma", "--eos", "--json").out) == single.as_dict() | EXACT


def test_lines_of_a_known_place(run: Run, fox: Path, here: Path) -> None:
    """Every file of a folder, in its encoding; what was noticed while reading is said on stderr."""
    (here / "texts").mkdir()
    (here / "texts" / "a.txt").write_bytes("año\n".encode("utf-16"))
    (here / "texts" / "b.txt").write_bytes(b"dog")
    done = run("score", fox, "texts", "--per-line")
    assert [line.split("\t")[3] for line in done.out.splitlines()] == ["año", "dog"]
    assert "note: texts/a.txt begins with the byte-order mark" in done.err


def test_a_bar_where_it_is_of_use(run: Run, fox: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar moves on standard error where that is a terminal; standard output stays data."""
    (here / "lines.txt").write_text("The cat.\n" * 300, encoding="utf-8")
    plain = run("score", fox, "lines.txt", "--per-line")
    assert "scoring" not in plain.err
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    barred = run("score", fox, "lines.txt", "--per-line")
    assert "scoring" in barred.err
    assert "2.7" in barred.err  # kB, all of them
    assert barred.out == plain.out


def test_an_unseen_symbol_names_its_line(run: Run, here: Path) -> None:
    """Without <unk> the error says in which line; the lines before it were scored."""
    tokenizer = escriba.CharTokenizer.fit("abc", unknown=False)
    escriba.Model(escriba.LanguageModel(tokenizer.vocab_size, embedding_dim=4, hidden_size=6), tokenizer).save("strict")
    done = run("score", "strict", "-", "--per-line", stdin=b"abc\nab\naxc\n")
    assert done.code == 1
    assert len(done.out.splitlines()) == 2
    assert "error: line 3: 'x'" in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["score", "FOX", "--text", "a", "--per-line"], 2, "--per-line scores the lines of a FILE"),
        (["score", "FOX", "a.txt", "--per-line", "--symbols"], 2, "without --symbols"),
        (["score", "FOX", "--text", "a", "--carry"], 2, "--carry goes with --per-line"),
        (["score", "FOX", "--text", "a", "--top", "2"], 2, "--top goes with --symbols"),
        (["score", "FOX", "--text", "a", "--eos"], 1, "knows no documents"),
        (["score", "FOX", "no-such.txt", "--per-line"], 1, "no-such.txt"),
        (["rank", "FOX"], 2, "give several TEXTs"),
        (["rank", "FOX", "a", "--permutations", "b"], 2, "and not both"),
        (["rank", "FOX", "--permutations", "abcdefghi"], 1, "362,880 orders"),
        (["rank", "FOX", "a", ""], 1, "nothing to score"),
        (["rank", "FOX", "a", "--top", "0"], 2, "--top"),
    ],
)
def test_mistakes(words: list[str], code: int, message: str, run: Run, fox: Path) -> None:
    """A mistake is said on stderr with the exit code of its kind; stdout stays empty."""
    done = run(*(fox if word == "FOX" else word for word in words))
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_rank(run: Run, fox: Path) -> None:
    """The likeliest first, numbered; from the command line and from standard input the same."""
    texts = ["tac ehT.", "The cat.", "The tac."]
    done = run("rank", fox, *texts)
    ranked = escriba.load(fox).rank(texts)
    assert [line.split(None, 1)[0] for line in done.out.splitlines()] == ["1", "2", "3"]
    assert [float(line.split()[1]) for line in done.out.splitlines()] == pytest.approx([s.log_likelihood for s in ranked], abs=1e-3)
    assert done.out.splitlines()[0].endswith("'The cat.'")
    assert "convention: " in done.err
    assert run("rank", fox, "-", stdin="\r\n".join([*texts, ""]).encode()).out == done.out
    found = the_json(run("rank", fox, *texts, "--top", "2", "--after", "A dog. ", "--json").out)
    wanted = escriba.load(fox).rank(texts, "A dog. ")[:2]
    assert found == [{"rank": at, "text": score.text, **score.as_dict(), **EXACT} for at, score in enumerate(wanted, 1)]


def test_rank_of_nothing(run: Run, fox: Path) -> None:
    """Where standard input has no texts, that is an error; what was noticed in reading it is told."""
    assert "holds no text to rank" in run("rank", fox, "-", stdin=b"\n\r\n").err
    done = run("rank", fox, "-", stdin="The cat.\n".encode("utf-16"))
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    assert "note: standard input" in done.err


def test_every_convention_is_told(run: Run, fox: Path) -> None:
    """Where one of the texts has unseen symbols, what was measured is not the same for all."""
    for words in (["rank", fox, "The cat.", "The 水."], ["score", fox, "--text", "The cat.", "--text", "The 水."]):
        said = run(*words).err
        assert "no unseen symbols" in said
        assert "1 unseen scored as <unk>" in said


def test_rank_permutations(run: Run, fox: Path) -> None:
    """All orders of a word's letters, and at what place the word itself stands."""
    done = run("rank", fox, "--permutations", " cat ")
    assert len(done.out.splitlines()) == 6
    ranked = [score.text for score in escriba.load(fox).permutations(" cat ")]
    assert [line.split("'")[1] for line in done.out.splitlines()] == ranked
    assert f"' cat ' is number {ranked.index(' cat ') + 1} of 6 orders" in done.err
    found = the_json(run("rank", fox, "--permutations", " cat ", "--json").out)
    assert [row["text"] for row in found if row["given"]] == [" cat "]
    assert len(run("rank", fox, "--permutations", " cat ", "--top", "2").out.splitlines()) == 2
