"""Arrays in a file, and files replaced in one piece: what is written comes back, and what is damaged is refused by name."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escriba import tensorfile
from escriba.errors import CheckpointError
from escriba.tensorfile import canonical_json, data_sha256, map_tensor, read_json, read_tensors, replace_file, sha256, tensor_bytes

ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([1.5, -2.5], dtype=np.float32),
}
SHAPES = {"a": (2,), "b": (2, 3)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small file of two arrays."""
    path = tmp_path / "small.safetensors"
    path.write_bytes(tensor_bytes(ARRAYS, {"n": 1, "text": "ñ"}))
    return path


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """A file's header and its data."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def joined(header: object, data: bytes) -> bytes:
    """The opposite of `parts`."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_round_trip(file: Path) -> None:
    """Names, shapes, types and numbers come back, and so do the metadata."""
    arrays, metadata = read_tensors(file, SHAPES)
    assert metadata == {"n": 1, "text": "ñ"}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_other_types_round_trip(tmp_path: Path) -> None:
    """Without prescribed shapes every type of a training's state comes back, a single number and an empty array too."""
    arrays = {
        "f64": np.array([1 / 3, np.inf]),
        "i64": np.array([-(2**60)]),
        "i32": np.array([[7]], dtype=np.int32),
        "u8": np.arange(5, dtype=np.uint8),
        "bool": np.array([True, False]),
        "scalar": np.array(4.0, dtype=np.float32),
        "empty": np.zeros((0, 3), dtype=np.float32),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(tensor_bytes(arrays, {}))
    found, _ = read_tensors(path)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name], array)
        found[name][...] = 0  # an array of its own: it can be written to


def test_bfloat16_comes_back_as_float32(tmp_path: Path) -> None:
    """Each number of 16 bits is the float32 with those upper bits."""
    header = {"__metadata__": {"escriba": "{}"}, "a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}
    path = tmp_path / "x.safetensors"
    path.write_bytes(joined(header, struct.pack("<3H", 0x3FC0, 0xC000, 0x0000)))
    arrays, _ = read_tensors(path, {"a": (3,)})
    assert arrays["a"].dtype == np.float32
    assert arrays["a"].tolist() == [1.5, -2.0, 0.0]


def test_metadata_are_canonical_under_one_key(file: Path) -> None:
    """The header holds one key of metadata, whose text is the same for the same value in whatever order it was made."""
    header, _ = parts(file.read_bytes())
    assert header["__metadata__"] == {"escriba": '{"n":1,"text":"\\u00f1"}'}
    assert tensor_bytes(ARRAYS, {"text": "ñ", "n": 1}) == tensor_bytes(dict(reversed(ARRAYS.items())), {"n": 1, "text": "ñ"})


def test_canonical_json() -> None:
    """Sorted keys, no blanks, ASCII; what JSON has no word for is refused."""
    assert canonical_json({"b": [1, 2.5, None], "a": "ñ"}) == '{"a":"\\u00f1","b":[1,2.5,null]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))


def test_sha256() -> None:
    """The published hash of the empty text."""
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_every_truncation_is_refused(file: Path) -> None:
    """Cut at any byte the file is refused, by its name."""
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"small\.safetensors"):
            read_tensors(file, SHAPES)
    file.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match=r"small\.safetensors"):
        read_tensors(file, SHAPES)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_every_flipped_byte_of_the_head_is_refused_or_harmless(file: Path, mask: int) -> None:
    """Before the numbers, a changed byte is refused by the file's name, or the arrays are still what they were."""
    whole = file.read_bytes()
    _, data = parts(whole)
    seen = 0
    for at in range(len(whole) - len(data)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
        try:
            arrays, _ = read_tensors(file, SHAPES)
        except CheckpointError as error:
            assert "small.safetensors" in error.met  # noqa: PT017  either outcome is right
            seen += 1
        else:
            for name, array in ARRAYS.items():
                np.testing.assert_array_equal(arrays[name], array)
    assert seen > 100


def test_a_seal_finds_every_flipped_byte(tmp_path: Path) -> None:
    """With a seal, a changed byte anywhere is refused, or has changed nothing but the caller's metadata; the seal itself stays inside."""
    path = tmp_path / "small.safetensors"
    whole = tensor_bytes(ARRAYS, {"n": 1}, sealed=True)
    path.write_bytes(whole)
    assert read_tensors(path)[1] == {"n": 1}
    _, data = parts(whole)
    for at in range(len(whole) - len(data), len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match=r"small\.safetensors is damaged"):
            read_tensors(path)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({**SHAPES, "c": (1,)}, "lacks a tensor of the model: 'c'"),
        ({"a": (2,)}, "holds a tensor that the model does not have: 'b'"),
        ({"a": (2,), "b": (3, 2)}, r"b is F32 of shape \(2, 3\)"),
        ({"a": (2, 1), "b": (2, 3)}, r"a is F32 of shape \(2,\)"),
    ],
)
def test_other_tensors_are_refused(file: Path, shapes: dict[str, tuple[int, ...]], message: str) -> None:
    """A tensor missing, one too many, or one of another shape is named."""
    with pytest.raises(CheckpointError, match=message):
        read_tensors(file, shapes)


def test_other_types_are_refused(tmp_path: Path) -> None:
    """Where weights are expected, whole numbers are refused; a type that Escriba never writes is refused everywhere."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(tensor_bytes({"a": np.array([1, 2])}, {}))
    with pytest.raises(CheckpointError, match="a is I64"):
        read_tensors(path, {"a": (2,)})
    header = {"__metadata__": {"escriba": "{}"}, "a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}
    path.write_bytes(joined(header, b"\0\0"))
    with pytest.raises(CheckpointError, match="a is of type F16"):
        read_tensors(path)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"other": "{}"}, {"escriba": "[]"}, {"escriba": "1"}, {"escriba": "{"}, {"escriba": "[" * 100_000}], ids=repr
)
def test_other_metadata_are_refused(tmp_path: Path, metadata: object) -> None:
    """A file without Escriba's metadata, or with damaged ones, is refused and not taken for something else."""
    header = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": metadata}
    for made in (header, {"a": header["a"]}):
        path = tmp_path / "x.safetensors"
        path.write_bytes(joined(made, b"\0" * 4))
        with pytest.raises(CheckpointError, match=r"x\.safetensors"):
            read_tensors(path)


def test_what_is_too_large_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file larger than its tensors can be is refused by its size, and a header larger than any of Escriba's by its length."""
    monkeypatch.setattr(tensorfile, "MOST_HEADER", 50)
    with pytest.raises(CheckpointError, match=r"bytes\n.*at most 82"):
        read_tensors(file, SHAPES)
    with pytest.raises(CheckpointError, match="a header of over 50 bytes"):
        read_tensors(file)


def test_what_is_not_there(tmp_path: Path) -> None:
    """A missing file, and a folder in a file's place, are errors in words."""
    for read in (read_tensors, read_json):
        with pytest.raises(CheckpointError, match=r"gone\.x does not exist"):
            read(tmp_path / "gone.x")
        with pytest.raises(CheckpointError, match="cannot be read"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b'{"a": 1', "cannot be read"),
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b'{"a": {"b": 1, "b": 1}}', "a key stands twice"),
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b"[-Infinity]", "-Infinity is not a number of JSON"),
        (b'{"a": "\xe9"}', "cannot be read"),
        (b"[" * 200_000, "cannot be read"),
        (b"1" * 10_000, "cannot be read"),
    ],
)
def test_json_that_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """What is cut, ambiguous, no number, not UTF-8 or nested beyond reason is refused by the file's name."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_json(path)
    assert "x.json" in caught.value.met


def test_json_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of absurd size is not even read."""
    path = tmp_path / "x.json"
    path.write_bytes(b"[1, 2, 3]")
    assert read_json(path) == [1, 2, 3]
    monkeypatch.setattr(tensorfile, "MOST_JSON", 8)
    with pytest.raises(CheckpointError, match="has 9 bytes"):
        read_json(path)


def test_a_file_is_replaced_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last moment fails, the old file is whole and nothing is left beside it; else the new one is there alone."""
    path = tmp_path / "x.json"
    replace_file(path, b"old")
    with monkeypatch.context() as broken:

        def fail(self: Path, target: Path) -> None:
            assert self.parent == target.parent
            raise OSError(28, "No space left on device")

        broken.setattr(Path, "replace", fail)
        with pytest.raises(CheckpointError, match="No space left on device"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    """A file in no folder is an error in words."""
    with pytest.raises(CheckpointError, match="could not be written"):
        replace_file(tmp_path / "no" / "x", b"")


def test_one_array_is_looked_at_alone(file: Path) -> None:
    """It is the array that was written, whatever else is damaged; what is not there, and no such file, is an error that names it."""
    np.testing.assert_array_equal(map_tensor(file, "b"), ARRAYS["b"])
    np.testing.assert_array_equal(map_tensor(file, "a"), ARRAYS["a"])
    with pytest.raises(CheckpointError, match="small"):
        map_tensor(file, "c")
    header, data = parts(file.read_bytes())
    for damaged in (
        {**header, "b": 7},
        {**header, "b": {**header["b"], "dtype": "F7"}},
        {**header, "b": {**header["b"], "shape": [7]}},
        [],
    ):
        file.write_bytes(joined(damaged, data))
        with pytest.raises(CheckpointError, match="small"):
            map_tensor(file, "b")
    for content in (b"", b"\xff" * 8, b"\x00" * 30, joined(header, b"")):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="small"):
            map_tensor(file, "b")
    file.unlink()
    with pytest.raises(CheckpointError, match="small"):
        map_tensor(file, "b")


def test_the_hash_of_arrays_is_the_seal_of_their_file(tmp_path: Path) -> None:
    """By names, shapes and numbers."""
    content = tensor_bytes(ARRAYS, {}, sealed=True)
    header, _ = parts(content)
    assert json.loads(header["__metadata__"]["escriba"])["data_sha256"] == data_sha256(ARRAYS)
    assert data_sha256({**ARRAYS, "a": ARRAYS["a"] + 1}) != data_sha256(ARRAYS) != data_sha256({"a": ARRAYS["a"]})
