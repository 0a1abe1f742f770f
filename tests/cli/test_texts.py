"""``escriba texts`` as a person types it: the list, fetching, and known texts and addresses in the other commands."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import escriba.api
from escriba.cli import texts
from escriba.errors import TextError
from escriba.text.known import KNOWN

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "text"))
from serving import Server, serving

Run = Callable[..., Any]
LETTER = "Señor: la niña escribió una canción.\n" * 60


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no proxies."""
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "cache" / "texts"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on localhost."""
    with serving() as server:
        yield server


@pytest.fixture
def quijote(server: Server, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A short text of the test's own in the place of Don Quijote, in Latin-1 too."""
    body = LETTER.encode("latin-1")
    facts = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "address": server.serve("/quijote.txt", body)}
    monkeypatch.setitem(KNOWN, "quijote", dataclasses.replace(KNOWN["quijote"], **facts))
    return body


def test_the_list(run: Run) -> None:
    """Every text with its language, size, licence, encoding and how it is read; a word on what to do goes to standard error."""
    done = run("texts")
    assert done.code == 0
    for text in KNOWN.values():
        for said in (text.name, text.title, text.licence, f"{text.bytes / 1e6:.1f} MB", text.encoding, text.how):
            assert said in done.out
    assert "escriba train text:NAME" in done.err
    assert "fetched" not in done.out


def test_the_list_says_what_is_there(run: Run, quijote: bytes) -> None:
    """A text in the cache is marked, in the list and in its JSON."""
    run("texts", "get", "quijote")
    (line,) = (line for line in run("texts").out.splitlines() if "(fetched)" in line)
    assert line.startswith("quijote")
    (listed,) = run("texts", "--json").out.splitlines()
    found = json.loads(listed)
    assert [one["name"] for one in found] == list(KNOWN)
    assert [one["name"] for one in found if one["cached"]] == ["quijote"]
    keys = ["name", "title", "author", "language", "bytes", "sha256", "address", "licence", "encoding", "reading", "cached"]
    assert list(found[0]) == keys
    assert found[1]["reading"] == {"encoding": "latin-1", "strip_gutenberg": True}


def test_get_prints_the_file(run: Run, quijote: bytes, cache: Path, server: Server) -> None:
    """Standard output has the path alone; what was done goes to standard error, and only when something was."""
    done = run("texts", "get", "quijote")
    assert done.out == f"{cache / 'quijote.txt'}\n"
    assert (cache / "quijote.txt").read_bytes() == quijote
    assert f"fetched text:quijote: {len(quijote):,} bytes" in done.err
    again = run("texts", "get", "text:quijote")
    assert (again.out, again.err) == (done.out, "")
    assert len(server.asked) == 1


def test_get_several_as_json(run: Run, quijote: bytes, cache: Path, server: Server) -> None:
    """Names and addresses, each with its file, size and hash."""
    address = server.serve("/book.txt", b"a book")
    done = run("texts", "get", "quijote", address, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [one["name"] for one in found] == ["quijote", address]
    assert found[0] == {
        "name": "quijote",
        "path": str(cache / "quijote.txt"),
        "bytes": len(quijote),
        "sha256": hashlib.sha256(quijote).hexdigest(),
    }


def test_get_copies(run: Run, quijote: bytes, server: Server, here: Path) -> None:
    """-o makes a copy, and into a folder several; a file that is there is never replaced."""
    done = run("texts", "get", "quijote", "-o", "mine.txt")
    assert done.out == "mine.txt\n"
    assert Path("mine.txt").read_bytes() == quijote
    Path("mine.txt").write_bytes(b"changed")
    refused = run("texts", "get", "quijote", "-o", "mine.txt")
    assert refused.code == 1
    assert "mine.txt is there already" in refused.err
    assert Path("mine.txt").read_bytes() == b"changed"
    Path("folder").mkdir()
    address = server.serve("/book.txt", b"a book")
    assert run("texts", "get", "quijote", address, "-o", "folder").code == 0
    assert len(list(Path("folder").iterdir())) == 2
    several = run("texts", "get", "quijote", address, "-o", "one.txt")
    assert several.code == 1
    assert "expected: a folder that is there, or one text alone" in several.err


def test_slips_are_answered(run: Run, server: Server) -> None:
    """A wrong name, a text in the place of a command, an address that gives nothing: no traceback, and what to type."""
    wrong = run("texts", "get", "quixote")
    assert wrong.code == 1
    assert "hint: did you mean text:quijote?" in wrong.err
    place = run("texts", "quijote")
    assert place.code == 2
    assert "escriba texts get quijote" in place.err
    address = server.address("/book.txt")
    missing = run("corpus", address)
    assert missing.code == 1
    assert missing.err.startswith("error: ")
    assert "404" in missing.err
    assert address in missing.err


def test_a_changed_file_is_said(run: Run, quijote: bytes, cache: Path) -> None:
    """A note on standard error, not a warning with lines of code."""
    run("texts", "get", "quijote")
    (cache / "quijote.txt").write_bytes(b"changed")
    done = run("texts", "get", "quijote")
    assert done.code == 0
    assert f"note: {cache / 'quijote.txt'} is not as it was fetched any more" in done.err
    assert (cache / "quijote.txt").read_bytes() == quijote


def test_a_note_is_said_though_the_command_fails(run: Run, quijote: bytes, cache: Path, server: Server) -> None:
    """Why something was fetched at all is not lost because it could not be."""
    run("texts", "get", "quijote")
    (cache / "quijote.txt").write_bytes(b"changed")
    server.answers.clear()
    done = run("texts", "get", "quijote")
    assert done.code == 1
    assert "is not as it was fetched any more" in done.err
    assert "404" in done.err


def test_a_copy_that_fails_takes_nothing_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was there stays, whatever went wrong; half a copy goes, also after Ctrl-C."""
    (tmp_path / "mine.txt").write_bytes(b"mine")
    with pytest.raises(TextError, match="could not be written"):
        texts._copied(tmp_path / "gone.txt", tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_bytes() == b"mine"

    def interrupted(source: Any, copy: Any) -> None:
        copy.write(source.read(2))
        raise KeyboardInterrupt

    monkeypatch.setattr(texts.shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        texts._copied(tmp_path / "mine.txt", tmp_path / "copy.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_demo_says_what_it_fetches(run: Run, quijote: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it trains, as the other commands do."""

    def train(*_: Any, **__: Any) -> None:
        raise TextError("enough")

    monkeypatch.setattr(escriba.api, "train", train)
    done = run("demo", "text:quijote")
    assert f"fetched text:quijote: {len(quijote):,} bytes" in done.err
    assert "enough" in done.err


@pytest.mark.parametrize("options", [(), ("--documents", "line")])
def test_corpus_reads_a_known_text_as_it_is_read(run: Run, quijote: bytes, options: tuple[str, ...]) -> None:
    """Nobody has to know its encoding, and what is typed besides does not take that away."""
    done = run("corpus", "text:quijote", *options, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["documents"] == (60 if options else None)
    assert found["characters"] == len(LETTER) - (60 if options else 0)
    assert any("header or licence of Project Gutenberg" in note for note in found["notes"])  # that it was looked for


def test_corpus_reads_an_address(run: Run, server: Server) -> None:
    """An address works where a file does."""
    done = run("corpus", server.serve("/letter.txt", LETTER.encode()), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["characters"] == len(LETTER)
