"""A model is asked what it recites: its training text is found again, its held-out part is not part of it, and hashes need no text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import escriba
from escriba.checkpoint import Config, save_head, save_weights
from escriba.engine.reference import ReferenceEngine
from escriba.errors import CheckpointError, TextError
from escriba.inference.fingerprint import FINGERPRINT, make_fingerprint, save_fingerprint
from escriba.recalling import Before
from escriba.results import Text
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
    """A whole line that was learnt is not new, nor is a text with such a line; a part of a line, other lines and held-out ones are."""
    lines = story[: int(0.9 * len(story))].split("\n")
    assert not stream.is_novel(lines[5])
    assert not stream.is_novel(lines[5] + "\r\n")
    assert not stream.is_novel("\n".join(lines[5:8]))
    assert not stream.is_novel("Nobody says this.\n\n" + lines[5] + "\nNor that.")
    assert stream.is_novel("Nobody says this.\n\nNor that.\n")
    assert stream.is_novel(lines[5][:-1])
    held_out = [line for line in story[int(0.9 * len(story)) :].split("\n")[1:-1] if line not in lines]
    assert held_out
    assert all(stream.is_novel(line) for line in held_out)
    assert not stream.is_novel(" \n")


def test_the_lines_of_a_prompt_are_not_the_models(stream: Model, story: str) -> None:
    """Of a generated text the lines count in which something was written: not those that were given, but the one that goes on."""
    first, second = [line for line in story.split("\n") if len(line) > 9][:2]
    options = {"log_likelihood": 0.0, "seed": 1, "row": 0, "finish_reason": "stop"}
    assert stream.is_novel(Text.of(first + "\n", "Nobody says this.", **options))  # type: ignore[arg-type]
    assert not stream.is_novel(Text.of(first + "\n", second, **options))  # type: ignore[arg-type]
    assert not stream.is_novel(Text.of(first + "\n" + second[:5], second[5:], **options))  # type: ignore[arg-type]
    assert not stream.is_novel(Text.of(first + "\n", " \n", **options))  # type: ignore[arg-type]


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


def test_an_empty_text_is_refused(stream: Model) -> None:
    """Of nothing nothing can be told."""
    with pytest.raises(TextError, match="is empty"):
        stream.recall("")


def test_a_model_in_memory_knows_what_it_learnt(saints: Model, names: tuple[str, ...], tmp_path: Path) -> None:
    """What was just learnt and cannot be read again is kept with the model, after it was saved, too; its hashes go into the folder."""
    corpus = read(documents=names)
    learnt = corpus.parts(1).whole_train
    model = Model(saints.engine, saints.tokenizer, config=saints.config)
    model._weights = saints._weights
    model.learnt.take(learnt)
    for _ in range(2):
        assert model.recall(learnt.pieces[3]).lines[0].is_new is False
        assert [name for name in names if model.is_novel(name)] == [name for name in names if name not in set(learnt.pieces)]
        model.save(tmp_path / "kept", overwrite=True)
    assert not Model(saints.engine, saints.tokenizer, folder=tmp_path / "kept").is_novel(learnt.pieces[3])
    silent = replace(learnt, settings=learnt.settings.but(fingerprint=False))
    model = Model(saints.engine, saints.tokenizer, config=saints.config)
    model._weights = saints._weights
    model.learnt.take(silent)
    assert not model.is_novel(learnt.pieces[3])
    model.save(tmp_path / "silent")
    assert not (tmp_path / "silent" / FINGERPRINT).exists()


def test_what_was_learnt_before_is_told_of(saints: Model, stream: Model, names: tuple[str, ...]) -> None:
    """Documents of the model that a training began with are known by its hashes; where there are none, a note names its text."""
    assert saints.folder is not None
    assert stream.folder is not None
    before = Before.of(saints.folder, "other", hashed=True)
    (first,) = before.models
    assert (first["model"], first["sources"], first["hashes"]) == (str(saints.folder), [], True)
    assert Before.of(saints.folder, first["sha256"], hashed=True).models == ()  # it is the very text
    child = Model(saints.engine, saints.tokenizer)
    learnt = read(documents=["Nobody", "Somebody"])
    child.learnt.take(learnt, before)
    old = read(documents=names).parts(1).whole_train.pieces[0]
    assert not child.is_novel(old)
    assert not child.is_novel("Nobody")
    assert child.is_novel("Everybody")
    with pytest.warns(UserWarning, match=r"began with the weights of .*saints, .* is not looked at; .*--against"):
        assert child.recall(old).lines[0].is_new

    later = Before.of(stream.folder, "other", hashed=True)
    assert later.hashes is None
    child = Model(saints.engine, saints.tokenizer)
    child.learnt.take(learnt, later)
    with pytest.warns(UserWarning, match=r"stream, and what that learnt \(.*story.txt\) is not looked at"):
        assert child.is_novel("Everybody")
    assert child.is_novel("Everybody", against=learnt)


def test_models_before_the_one_before_are_told_of(saints: Model, names: tuple[str, ...]) -> None:
    """The history names them all; hashes that are not handed on are none."""
    assert saints.folder is not None
    earlier = {"model": "models/first", "sources": ["first.txt"], "sha256": "f", "hashes": True}
    history = saints.folder / "metrics.jsonl"
    line = json.loads(history.read_text(encoding="utf-8"))
    history.write_text(json.dumps({**line, "init_from": [earlier]}) + "\n", encoding="utf-8")
    for hashed in (True, False):
        models = Before.of(saints.folder, "other", hashed=hashed).models
        assert [(one["model"], one["hashes"]) for one in models] == [("models/first", hashed), (str(saints.folder), hashed)]
    assert not saints.is_novel(read(documents=names).parts(1).whole_train.pieces[0])  # hashes are there, so there is nothing to tell of
    (saints.folder / FINGERPRINT).unlink()
    assert [one["hashes"] for one in Before.of(saints.folder, "other", hashed=True).models] == [False, False]


def test_what_was_counted_is_known_too(names: tuple[str, ...], tmp_path: Path) -> None:
    """A model that counted a text given in Python knows it, and saved it knows its documents."""
    model = escriba.train(documents=names, cell="counts", order=2, quiet=True)
    learnt = read(documents=names).parts(1).whole_train.pieces
    assert model.recall(learnt[5]).new_lines == 0
    model.save(tmp_path / "m")
    again = escriba.load(tmp_path / "m")
    assert not again.is_novel(learnt[5])
    again.save(tmp_path / "copy")
    assert not escriba.load(tmp_path / "copy").is_novel(learnt[5])


def test_another_text_is_read_as_the_training_text_was(stream: Model, tmp_path: Path) -> None:
    """Of one in another encoding it is said what to do: the encoding that is asked for elsewhere is that of the text to look at."""
    (tmp_path / "old.txt").write_bytes("El ingenioso señor\n".encode("latin-1") * 9)
    with pytest.raises(TextError, match=r"old\.txt") as caught:
        stream.recall("señor", against=tmp_path / "old.txt")
    assert "in utf-8: convert it" in str(caught.value.hint)
