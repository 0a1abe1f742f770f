"""Hashes of documents and lines: the same everywhere, kept in a model folder, checked before they are believed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escriba.errors import CheckpointError
from escriba.inference.fingerprint import FINGERPRINT, KnownLines, contains, load_fingerprint, make_fingerprint, save_fingerprint
from escriba.tensorfile import replace_file, sha256, tensor_bytes

EXPECTED = [4685583983243665353, 4758185216457903464, 5114997636336052790]
"""Of Ana, Muñoz and half a pair, made by b2sum -l 64 (the half being the bytes ED A0 80)."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a fingerprint needs of a model folder."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text("{ }", encoding="utf-8")
    return tmp_path


def binding(folder: Path) -> dict[str, object]:
    """What the metadata of a whole fingerprint say."""
    return {
        "fingerprint_version": 1,
        "config_sha256": sha256((folder / "config.json").read_bytes()),
        "tokenizer_sha256": sha256((folder / "tokenizer.json").read_bytes()),
    }


def test_the_hashes_are_those_of_every_machine() -> None:
    """The hashes of three documents are these numbers, sorted, each once; halves of surrogate pairs have one, too."""
    assert make_fingerprint(["Ana", "Muñoz", "Ana", "\ud800"]).tolist() == EXPECTED


@given(documents=st.lists(st.text(max_size=8)), others=st.lists(st.text(max_size=8)))
def test_just_the_documents_are_known(documents: list[str], others: list[str]) -> None:
    """A text is known if it is a document, or is one once the line ends after it are gone, and no other text is."""
    hashes = make_fingerprint(documents)
    assert len(hashes) == len(set(documents))
    for text in [*documents, *others]:
        assert contains(hashes, text) == (text in documents or text.rstrip("\r\n") in documents)


def test_a_line_end_after_it_does_not_make_a_document_new() -> None:
    """A text with its line end is the document without it; a line end before it, or within, is another text."""
    hashes = make_fingerprint(["Ana", "Maria\n"])
    assert all(contains(hashes, text) for text in ("Ana", "Ana\n", "Ana\r\n", "Maria\n"))
    assert not any(contains(hashes, text) for text in ("\nAna", "A\nna", "Maria", ""))
    assert not contains(make_fingerprint([]), "Ana")


def test_what_was_learnt_before_is_added() -> None:
    """Hashes of earlier documents are taken in, each once, in order."""
    before = make_fingerprint(["Zoë", "Ana"])
    np.testing.assert_array_equal(make_fingerprint(["Maria", "Ana"], before), make_fingerprint(["Ana", "Maria", "Zoë"]))


def test_what_is_saved_is_loaded(folder: Path) -> None:
    """The hashes come back as they were; a folder without the file has none; an empty list of documents is one, too."""
    assert load_fingerprint(folder) is None
    for documents in (["Ana", "Maria", "Zoë"], []):
        save_fingerprint(folder, make_fingerprint(documents))
        loaded = load_fingerprint(folder)
        assert loaded is not None
        np.testing.assert_array_equal(loaded, make_fingerprint(documents))
        assert loaded.dtype == np.uint64


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_it_belongs_to_one_model(file: str, folder: Path) -> None:
    """A fingerprint beside other settings or another tokenizer is refused, and the file that differs is named."""
    save_fingerprint(folder, make_fingerprint(["Ana"]))
    (folder / file).write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"not written for this {file}"):
        load_fingerprint(folder)


@pytest.mark.parametrize(
    ("arrays", "changes", "message"),
    [
        ({"documents": np.array([3, 2], np.int64)}, {}, "not sorted"),
        ({"documents": np.array([2, 2], np.int64)}, {}, "not sorted"),
        ({"documents": np.array([-2, 2], np.int64)}, {}, "not sorted"),  # as unsigned the first is the larger
        ({"documents": np.zeros((1, 1), np.int64)}, {}, "one axis"),
        ({"documents": np.zeros(1, np.int32)}, {}, "one axis"),
        ({"names": np.zeros(1, np.int64)}, {}, "the one tensor"),
        ({"documents": np.zeros(1, np.int64), "more": np.zeros(1, np.int64)}, {}, "the one tensor"),
        ({"documents": np.zeros(1, np.int64)}, {"fingerprint_version": 2}, "upgrade"),
        ({"documents": np.zeros(1, np.int64)}, {"more": 2}, "unknown metadata: more"),
    ],
)
def test_a_wrong_file_is_refused(arrays: dict[str, np.ndarray], changes: dict[str, object], message: str, folder: Path) -> None:
    """A file with other tensors, unsorted numbers, another version or more metadata is told of, with what was expected."""
    replace_file(folder / FINGERPRINT, tensor_bytes(arrays, {**binding(folder), **changes}, sealed=True))
    with pytest.raises(CheckpointError) as caught:
        load_fingerprint(folder)
    assert message in f"{caught.value.met} {caught.value.expected} {caught.value.hint}"


def test_a_damaged_file_is_refused(folder: Path) -> None:
    """A changed number is noticed by the seal, a torn file by its length."""
    save_fingerprint(folder, make_fingerprint(["Ana", "Maria"]))
    whole = (folder / FINGERPRINT).read_bytes()
    for content in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-3], b""):
        (folder / FINGERPRINT).write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            load_fingerprint(folder)
        assert "delete the file" in str(caught.value.hint)


def test_a_folder_without_a_head_takes_none(tmp_path: Path) -> None:
    """Where there is no config.json a fingerprint can neither be written nor believed."""
    with pytest.raises(CheckpointError, match="whole model folder"):
        save_fingerprint(tmp_path, make_fingerprint(["Ana"]))


@given(whole=st.text("ab\r\n", max_size=40), size=st.integers(1, 20))
def test_lines_are_known_whole(whole: str, size: int) -> None:
    """Just the lines of a stream are known, in whatever pieces it comes; CR, LF and CRLF each end one, and the last end begins no other."""
    known = KnownLines([whole[at : at + size] for at in range(0, len(whole), size)])
    lines = whole.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    texts = ["".join(letters) for length in range(4) for letters in itertools.product("ab", repeat=length)]
    assert [text for text in texts if known.contains(text)] == [text for text in texts if text in lines]


def test_a_stream_of_one_line_is_gone_through_once() -> None:
    """A line that comes in twenty thousand pieces is not copied for each of them, which would take minutes."""
    known = KnownLines(["a letter from Ana " * 30] * 20_000)
    assert known.contains("a letter from Ana " * 600_000)
    assert not known.contains("a letter from Ana ")
