"""Windows, streams and documents: what a batch holds, and that it depends on the seed and the step alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escriba.errors import SettingsError, TextError
from escriba.text.batches import Batch, Batches, documents, streams, windows
from escriba.text.corpus import read
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import CharTokenizer, WordTokenizer


def encoded_documents(lengths: list[int]) -> EncodedText:
    """Documents of these lengths, in which every symbol tells its document and its place."""
    starts = np.cumsum([0, *lengths])
    text = "".join(chr(0x4E00 + i) for i in range(int(starts[-1])))
    pieces = [text[a:b] for a, b in pairwise(starts)]
    tokenizer = CharTokenizer.fit(pieces)
    return EncodedText(*tokenizer.encode_documents(pieces), tokenizer)


MAKERS: list[Callable[..., Batches]] = [
    lambda **more: windows(np.arange(500), **more),
    lambda **more: streams(np.arange(500), **more),
    lambda **more: documents(encoded_documents([3, 9, 1, 4, 30, 7, 5] * 9), **more),
]


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal."""
    pairs = [(one.inputs, other.inputs), (one.targets, other.targets)]
    if one.mask is not None and other.mask is not None:
        pairs.append((one.mask.astype(np.int64), other.mask.astype(np.int64)))
    return one.carry == other.carry and (one.mask is None) == (other.mask is None) and all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("make", MAKERS)
def test_a_batch_depends_on_seed_and_step_alone(make: Callable[..., Batches]) -> None:
    """Asked for in any order, in a new object, a step gives the same batch; another seed gives another order."""
    size = {"seq_len": 6, "batch_size": 4}
    data = make(seed=5, **size)
    steps = [3 * len(data) + 1, 0, len(data), 1, 0]
    assert all(same(data.batch(step), make(seed=5, **size).batch(step)) for step in steps)
    other = make(seed=6, **size)
    assert not all(same(data.batch(step), other.batch(step)) for step in range(3 * len(data)))
    assert not all(same(data.batch(step), data.batch(step + len(data))) for step in range(len(data)))
    assert len(list(data)) == len(data)
    assert all(same(one, data.batch(step)) for step, one in enumerate(data))
    assert all(same(one, data.batch(2 * len(data) + step)) for step, one in enumerate(data.epoch(2)))
    assert data.at_epoch(3 * len(data)) == 3.0


@pytest.mark.parametrize("make", MAKERS)
def test_batches_are_int64_and_targets_follow_inputs(make: Callable[..., Batches]) -> None:
    """Within a row each target is the next input, wherever the mask has both."""
    data = make(seq_len=6, batch_size=4)
    for batch in data:
        assert batch.inputs.dtype == batch.targets.dtype == np.int64
        assert batch.inputs.shape == batch.targets.shape
        assert batch.inputs.shape[1] <= 6
        both = np.ones(batch.inputs[:, 1:].shape, bool) if batch.mask is None else batch.mask[:, 1:]
        assert np.array_equal(batch.targets[:, :-1][both], batch.inputs[:, 1:][both])


@given(n=st.integers(2, 200), seq_len=st.integers(1, 20), batch_size=st.integers(1, 8), epoch=st.integers(0, 3))
def test_windows_are_pieces_of_the_text(n: int, seq_len: int, batch_size: int, epoch: int) -> None:
    """Each example of an epoch is another piece from a multiple of seq_len + 1; only what fills no batch is missing."""
    data = windows(np.arange(n), seq_len=seq_len, batch_size=batch_size)
    rows = [data.batch(epoch * len(data) + i) for i in range(len(data))]
    firsts = np.concatenate([one.inputs[:, 0] for one in rows])
    assert len(data) >= 1
    assert len(set(firsts.tolist())) == len(firsts) == len(data) * data.batch_size
    assert (firsts % (data.seq_len + 1) == 0).all()
    assert data.examples_per_epoch - len(firsts) < data.batch_size
    assert all(one.mask is None and not one.carry and np.array_equal(one.targets, one.inputs + 1) for one in rows)
    assert sum(one.targets.size for one in rows) == data.symbols_per_epoch


@given(n=st.integers(2, 200), seq_len=st.integers(1, 20), batch_size=st.integers(1, 8), epoch=st.integers(0, 3))
def test_streams_go_on_where_they_ended(n: int, seq_len: int, batch_size: int, epoch: int) -> None:
    """Within an epoch every row goes on after its last symbol; no two rows meet; only an epoch's first batch is fresh."""
    data = streams(np.arange(n), seq_len=seq_len, batch_size=batch_size)
    rows = [data.batch(epoch * len(data) + i) for i in range(len(data))]
    assert [one.carry for one in rows] == [False] + [True] * (len(data) - 1)
    assert all(np.array_equal(a.targets[:, -1], b.inputs[:, 0]) for a, b in pairwise(rows))
    inputs = np.concatenate([one.inputs.ravel() for one in rows])
    assert len(np.unique(inputs)) == len(inputs) == data.symbols_per_epoch
    assert all(one.inputs.shape == (data.batch_size, data.seq_len) for one in rows)


def test_streams_leave_nothing_out_for_ever() -> None:
    """What one epoch leaves of a lane has its turn in another."""
    data = streams(np.arange(160), seq_len=10, batch_size=1)
    seen = {int(symbol) for step in range(60 * len(data)) for symbol in data.batch(step).targets.ravel()}
    assert len(data) == 15
    assert seen == set(range(1, 160))


@given(lengths=st.lists(st.integers(1, 25), min_size=1, max_size=40), seq_len=st.integers(1, 12), batch_size=st.integers(1, 6))
def test_documents_are_each_learnt_once(lengths: list[int], seq_len: int, batch_size: int) -> None:
    """In an epoch each symbol of each document and each <eos> is a target once, after the symbol before it."""
    encoded = encoded_documents(lengths)
    eos = encoded.tokenizer.eos_id
    expected = []
    for i in range(encoded.count):
        whole = [eos, *encoded.document(i).tolist(), eos]
        expected += list(pairwise(whole))
    data = documents(encoded, seq_len=seq_len, batch_size=batch_size)
    learnt = []
    for one in data:
        assert one.mask is not None
        assert one.mask.any(axis=0).all(), "padded further than the longest"
        assert one.mask[:, 0].all()
        assert not one.inputs[~one.mask].any()
        assert not one.targets[~one.mask].any()
        assert not one.carry
        learnt += list(zip(one.inputs[one.mask].tolist(), one.targets[one.mask].tolist(), strict=True))
    assert sorted(learnt) == sorted(expected)
    assert len(expected) == data.symbols_per_epoch
    assert max(one.inputs.shape[1] for one in data) == data.seq_len <= seq_len


def test_like_lengths_come_together() -> None:
    """Of 2,000 documents of 1 to 50 symbols hardly a place is padding, though the order is random."""
    lengths = np.random.default_rng(3).integers(1, 51, 2000).tolist()
    data = documents(encoded_documents(lengths), batch_size=16, seq_len=100)
    masks = [one.mask for one in data if one.mask is not None]
    assert sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks) > 0.95
    widths = [mask.shape[1] for mask in masks]
    assert widths[:32] != sorted(widths[:32])


def test_a_short_text_takes_smaller_numbers_and_says_so() -> None:
    """Numbers too great for the text become the greatest that fit."""
    data = windows(np.arange(30), seq_len=9, batch_size=64)
    assert (data.batch_size, data.seq_len, len(data)) == (3, 9, 1)
    assert data.notes == ("The text is short: batch_size is 3 instead of 64.",)
    assert repr(data).endswith(data.notes[0])
    lanes = streams(np.arange(30))
    assert (lanes.batch_size, lanes.seq_len, len(lanes)) == (1, 29, 1)
    assert len(lanes.notes) == 2
    assert documents(encoded_documents([3, 4]), batch_size=64).batch_size == 2
    assert windows(np.arange(500), seq_len=9, batch_size=4).notes == ()


@pytest.mark.parametrize("ids", [[1], [], [[1, 2], [3, 4]], [0.5, 1.5]])
def test_what_cannot_be_learnt_from(ids: list[Any]) -> None:
    """Fewer than two ids, tables and fractions are refused."""
    for make in (windows, streams):
        with pytest.raises(TextError):
            make(ids)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"seq_len": -1}, {"seq_len": 1.5}, {"seed": -1}, {"batch_size": True}])
@pytest.mark.parametrize("make", MAKERS)
def test_numbers_out_of_range(make: Callable[..., Batches], wrong: dict[str, Any]) -> None:
    """A number out of its range is refused by name, and so is a step before the first."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        make(**wrong)
    with pytest.raises(SettingsError, match="step is -1"):
        make().batch(-1)


def test_documents_want_documents() -> None:
    """A stream, bare numbers and a tokenizer without <eos> are refused."""
    corpus = read(documents=["ab", "cd"])
    with pytest.raises(TextError, match="one stream"):
        documents(read(text="abc").encode(CharTokenizer.fit("abc")))
    with pytest.raises(TextError, match="one stream"):
        documents(np.arange(9))  # type: ignore[arg-type]
    with pytest.raises(TextError, match="no <eos>"):
        documents(corpus.encode(CharTokenizer.fit(corpus, eos=False)))


def test_documents_as_a_stream_are_parted_by_their_ends() -> None:
    """Windows and streams of documents have one <eos> between two of them, and one before and after all."""
    corpus = read(documents=["ab", "c"])
    encoded = corpus.encode(CharTokenizer.fit(corpus))
    assert encoded.with_ends().tolist() == [4, 1, 2, 4, 3, 4]
    assert streams(encoded).batch(0).targets.tolist() == [[1, 2, 4, 3, 4]]


def test_encoded_text() -> None:
    """An encoded text is an array, and gives its documents."""
    corpus = read(documents=["a b", "b"])
    encoded = corpus.encode(WordTokenizer.fit(corpus))
    assert np.asarray(encoded).tolist() == encoded.ids.tolist()
    assert (len(encoded), encoded.count) == (4, 2)
    assert encoded.document(1).tolist() == encoded.tokenizer.encode("b").tolist()
    with pytest.raises(TextError, match="no document 2"):
        encoded.document(2)
    assert "2 documents" in repr(encoded)


def test_it_shows_the_lesson_of_each_step() -> None:
    """The table names each input and its target, by id and, where the tokenizer is known, by symbol."""
    corpus = read(text="abcb")
    data = streams(corpus.encode(CharTokenizer.fit(corpus)))
    assert data.show(2) == "step    0  input 1 'a' -> target 2 'b'\nstep    1  input 2 'b' -> target 3 'c'"
    assert streams(np.array([7, 8, 9])).show().split("\n")[-1] == "step    1  input 8 -> target 9"
    with pytest.raises(SettingsError, match="n is -1"):
        data.show(-1)
    assert repr(data).startswith("<Streams: 1 examples, 1 batches an epoch, batch_size 1, seq_len 3>  The text is short: ")
    assert repr(streams(np.arange(9), seq_len=4, batch_size=2)) == "<Streams: 2 examples, 1 batches an epoch, batch_size 2, seq_len 4>"
