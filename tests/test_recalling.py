"""A model is asked what it recites: its training text is found again, its held-out part is not part of it, and hashes need no text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from escriba.checkpoint import Config, save_head, save_weights
from escriba.engine.reference import ReferenceEngine
from escriba.errors import CheckpointError, TextError
from escriba.inference.fingerprint import FINGERPRINT, make_fingerprint, save_fingerprint
from escriba.settings import ModelSettings, TrainSettings
from escriba.text.corpus import Corpus, read
from escriba.text.tokenizer import CharTokenizer
from escriba.using import Model
from escriba.weights import tensor_specs

NETWORK = ModelSettings(embedding_dim=2, hidden_size=2)


def model_of(corpus: Corpus, folder: Path, sources: tuple[str, ...], *, own: Corpus | None = None) -> Model:
    """A model with a history that says it was trained on a text, and the hashes of its documents; `own`: a held-out text of its own."""
    parts = corpus.parts(TrainSettings().seed, held_out=own)
    tokenizer = CharTokenizer.fit(corpus)
    config = Config(corpus.settings, NETWORK, TrainSettings(), tokenizer.vocab_size)
    weights = {spec.name: np.zeros(spec.shape, np.float32) for spec in tensor_specs(NETWORK, tokenizer.vocab_size)}
    folder.mkdir()
    save_head(folder, config, tokenizer)
    save_weights(folder, weights)
    known = {"sources": sources, "characters": corpus.characters, "sha256": corpus.sha256}
    known["held_out_sha256"] = None if parts.held_out is None else parts.held_out.sha256
    (folder / "metrics.jsonl").write_text(json.dumps({"event": "begun", "corpus": known}) + "\n", encoding="utf-8")
    if corpus.is_documents:
        save_fingerprint(folder, make_fingerprint(parts.whole_train.pieces))
    model = Model(ReferenceEngine(NETWORK, weights), tokenizer, config=config, folder=folder)
    model._weights = weights
    return model


@pytest.fixture
def book(story: str, tmp_path: Path) -> Path:
    """A text of one stream."""
    path = tmp_path / "story.txt"
    path.write_text(story, encoding="utf-8")
    return path


@pytest.fixture
def stream(book: Path, tmp_path: Path) -> Model:
    """A model of the stream."""
    return model_of(read(book), tmp_path / "stream", (str(book),))


@pytest.fixture
def saints(names: tuple[str, ...], tmp_path: Path) -> Model:
    """A model of documents that were given in Python."""
    return model_of(read(documents=names), tmp_path / "saints", ())


def test_the_training_text_is_found_again(stream: Model, story: str) -> None:
    """A passage of what was learnt is recited, with its line; one of the held-out part is no part of the training text."""
    learnt, held_out = story[3000:3300], story[11_500:11_800]
    found = stream.recall(learnt)
    assert found.longest is not None
    assert (found.longest.length, found.longest.position, found.longest.line) == (300, 3000, story.count("\n", 0, 3000) + 1)
    assert found.training_characters == int(0.9 * len(story))
    assert set(found.novel_share.values()) == {0.0}
    longest = stream.recall(held_out).longest
    assert longest is not None
    assert longest.length < 100


def test_a_held_out_text_of_the_users_own_takes_nothing_away(story: str, book: Path, tmp_path: Path) -> None:
    """With --val the whole text was learnt, so its end is recited, too."""
    own = read(text="Another story, told by another person.\n" * 20)
    model = model_of(read(book), tmp_path / "whole", (str(book),), own=own)
    assert model.recall(story[-300:]).novel_share[100] == 0.0


def test_lines_of_a_stream_are_new_or_not(stream: Model, story: str) -> None:
    """A whole line that was learnt is not new, nor are lines one after another; a part of a line, other lines and held-out ones are."""
    lines = story[: int(0.9 * len(story))].split("\n")
    assert not stream.is_novel(lines[5])
    assert not stream.is_novel(lines[5] + "\r\n")
    assert not stream.is_novel("\n".join(lines[5:8]))
    assert stream.is_novel("\n".join([lines[5], lines[7]]))
    assert stream.is_novel(lines[5][:-1])
    held_out = [line for line in story[int(0.9 * len(story)) :].split("\n")[1:-1] if line not in lines]
    assert held_out
    assert all(stream.is_novel(line) for line in held_out)
    assert not stream.is_novel(" \n")


def test_texts_are_compared_in_the_form_that_was_learnt(stream: Model, story: str) -> None:
    """A letter and its accent are the accented letter that was learnt, CRLF is LF."""
    line = next(line for line in story.split("\n") if "ñ" in line)
    assert not stream.is_novel(line.replace("ñ", "n\u0303"))
    found = stream.recall(story[3000:3300].replace("\n", "\r\n").replace("ñ", "n\u0303"))
    assert found.longest is not None
    assert found.longest.length == 300


def test_documents_are_known_by_their_hashes(saints: Model, names: tuple[str, ...]) -> None:
    """A model of documents tells new ones without any text: those that were learnt are known, held-out and other ones are new."""
    learnt = set(read(documents=names).parts(1).whole_train.pieces)
    assert all(saints.is_novel(name) == (name not in learnt) for name in names)
    assert any(name not in learnt for name in names)
    assert saints.is_novel("Nobody")


def test_without_hashes_the_text_is_asked_for(saints: Model, names: tuple[str, ...]) -> None:
    """Where --no-fingerprint left them out, the documents are read again; where they were given in Python, one must say which."""
    assert saints.folder is not None
    (saints.folder / FINGERPRINT).unlink()
    with pytest.raises(TextError, match="was given in Python") as caught:
        saints.is_novel("Nobody")
    assert "--against" in str(caught.value.hint)
    corpus = read(documents=names)
    learnt = corpus.parts(1).whole_train.pieces
    assert not saints.is_novel(learnt[0], against=corpus)
    assert [name for name in names if saints.is_novel(name, against=corpus)] == [name for name in names if name not in set(learnt)]


def test_a_damaged_fingerprint_is_not_believed(saints: Model) -> None:
    """The error names the file."""
    assert saints.folder is not None
    (saints.folder / FINGERPRINT).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=FINGERPRINT):
        saints.is_novel("Nobody")


def test_a_text_that_changed_is_refused(stream: Model, book: Path, story: str, tmp_path: Path) -> None:
    """A text that is gone or another one now is told of, and what to give; where it is now may be given, and is held to be the same."""
    moved = tmp_path / "moved.txt"
    book.rename(moved)
    with pytest.raises(TextError, match="cannot be read again") as caught:
        stream.recall("the cat")
    assert "against=" in str(caught.value.hint)
    assert stream.recall("the cat", against=moved).training_characters == int(0.9 * len(story))
    book.write_text(story + "One more line.\n", encoding="utf-8")
    with pytest.raises(TextError, match="is not the text that this model learnt from"):
        stream.is_novel("the cat")
    assert stream.recall("the cat", against=[book]).training_characters == len(story) + 15


def test_the_text_is_read_once(stream: Model, book: Path) -> None:
    """The training text is kept for the next call, which works though the file is gone."""
    first = stream.recall("the cat sat")
    assert stream.is_novel("nothing of the kind")
    book.unlink()
    assert stream.recall("the cat sat") == first
    assert stream.is_novel("nothing of the kind")


def test_a_saved_copy_keeps_the_hashes(saints: Model, names: tuple[str, ...], tmp_path: Path) -> None:
    """A model of documents that is saved elsewhere knows them there, too."""
    learnt = read(documents=names).parts(1).whole_train.pieces
    saints.save(tmp_path / "copy")
    assert (tmp_path / "copy" / FINGERPRINT).is_file()
    assert not saints.is_novel(learnt[0])
    saints.save(tmp_path / "copy", overwrite=True)
    assert not saints.is_novel(learnt[0])


@pytest.mark.parametrize("against", [3, [], [3], b"story.txt"])
def test_what_is_no_text_is_refused(against: object, stream: Model) -> None:
    """What is no path is told of by its value."""
    with pytest.raises(TextError, match="against is"):
        stream.recall("the cat", against=against)  # type: ignore[arg-type]
    with pytest.raises(TextError, match="of type int"):
        stream.is_novel(3)  # type: ignore[arg-type]


def test_a_model_without_a_history_asks_for_the_text(saints: Model) -> None:
    """A model in memory, of which nothing is recorded, recalls what it is given."""
    bare = Model(saints.engine, saints.tokenizer)
    with pytest.raises(TextError, match="not recorded"):
        bare.recall("mari")
    told: list[int] = []
    found = bare.recall("marilu", against=read(text="so marilu said, and marilu sang"), watch=told.append)
    assert told == [31]
    assert found.longest is not None
    assert found.longest.passage == "marilu"
