"""Arrays in a safetensors file, and any file replaced in one piece; what is read is checked before it is believed.

It knows nothing of models: names, shapes and what they mean come from the caller. What is read may lie in a zip file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from escriba.archive import file_bytes, is_archive, open_file
from escriba.errors import CheckpointError
from escriba.language import tr
from escriba.quantized import MOST_INT8, bf16_bits, dequantized, from_bf16, quantized

__all__ = [
    "DTYPES",
    "canonical_json",
    "data_sha256",
    "json_hashes",
    "map_tensor",
    "read_json",
    "read_tensors",
    "replace_file",
    "sha256",
    "tensor_bytes",
    "tensor_types",
]

MOST_HEADER = 1_000_000
MOST_JSON = 256_000_000
MOST_OPEN = 2**31
"""Numbers in a tensor whose size the file decides."""
SEAL = "data_sha256"
PAUSES_S = (0.01, 0.02, 0.04, 0.08, 0.15, 0.2, 0.25, 0.25)
DTYPES: Mapping[str, str] = {"F64": "<f8", "F32": "<f4", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
SCALE = ".scale"
"""What follows the name of a matrix of int8 in that of the scales of its rows."""


def sha256(content: bytes) -> str:
    """The hash of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def json_hashes(folder: Path, *names: str) -> dict[str, str]:
    """The hashes of JSON files of a folder, by which another file is bound to them: `config_sha256` of config.json.

    Raises:
        CheckpointError: one of them cannot be read.
    """
    try:
        return {f"{name}_sha256": sha256(file_bytes(folder / f"{name}.json", MOST_JSON)) for name in names}
    except OSError as error:
        raise CheckpointError(
            tr("{path} cannot be read: {error}", path=error.filename, error=error.strerror),
            expected=tr("a whole model folder"),
        ) from error


def canonical_json(value: Any) -> str:
    """JSON that is the same for the same value: sorted keys, no blanks, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file in one piece: a sibling is written and flushed, then takes its name. A reader sees the old or the new, never half.

    Raises:
        CheckpointError: the disk is full, the folder cannot be written to, another program keeps the file open (on Windows).
    """
    sibling = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with sibling.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _take_name(sibling, path)
    except OSError as error:
        hint = tr("free some space, or choose another folder with -o")
        if isinstance(error, PermissionError) and sibling.exists():
            hint = tr("close the program that has it open (a synchronized folder, a virus scanner), or choose another folder with -o")
        raise CheckpointError(tr("{path} could not be written: {error}", path=path, error=error.strerror or error), hint=hint) from error
    finally:  # it is there no more, unless something failed
        with contextlib.suppress(OSError):
            sibling.unlink(missing_ok=True)


def _take_name(sibling: Path, path: Path) -> None:
    """Renames, again and again for a second: Windows refuses as long as a reader, an indexer or a virus scanner has the old file open."""
    for pause_s in PAUSES_S:
        try:
            sibling.replace(path)
        except PermissionError:
            time.sleep(pause_s)
        else:
            return
    sibling.replace(path)


def read_json(path: Path) -> Any:
    """The value in a JSON file of UTF-8.

    Raises:
        CheckpointError: the file is missing, too large, not UTF-8, not JSON, nested too deep, or a key stands twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(tr("a key stands twice"))
        return found

    def no_constant(name: str) -> Any:
        raise ValueError(tr("{name} is not a number of JSON", name=name))

    try:
        return json.loads(file_bytes(path, MOST_JSON).decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant)
    except FileNotFoundError as error:
        raise CheckpointError(tr("{path} does not exist", path=path), expected=tr("a whole model folder")) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            tr("{path} cannot be read: {error}", path=path, error=error), expected=tr("JSON in UTF-8, as Escriba wrote it")
        ) from error


def tensor_bytes(
    arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any], *, sealed: bool = False, packed: Mapping[str, str] | None = None
) -> bytes:
    """A safetensors file in memory. All metadata stand under the one key "escriba": the library orders several at random.

    Args:
        arrays: by name.
        metadata: what JSON can hold.
        sealed: whether the metadata also hold a hash of the numbers, by which `read_tensors` notices a changed one.
        packed: by name the matrices that are written as "int8", with the scales of their rows, or as "bf16"; the others as they are.
    """
    kinds, contiguous = packed or {}, dict[str, np.ndarray]()
    for name, array in arrays.items():
        if kinds.get(name) == "int8":
            contiguous[name], contiguous[name + SCALE] = quantized(array)
        else:
            contiguous[name] = bf16_bits(array) if kinds.get(name) == "bf16" else np.asarray(array, order="C")
    if sealed:
        metadata = {**metadata, SEAL: data_sha256(contiguous)}
    content = safetensors.numpy.save(contiguous, {"escriba": canonical_json(metadata)})
    return _as_bf16(content, [name for name, kind in kinds.items() if kind == "bf16"])


def _as_bf16(content: bytes, names: Sequence[str]) -> bytes:
    """A safetensors file in whose header some tensors of U16 are called BF16: NumPy has no such type, so the library cannot write it."""
    if not names:
        return content
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    for name in names:
        header[name]["dtype"] = "BF16"
    said = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    said += b" " * (-len(said) % 8)
    return len(said).to_bytes(8, "little") + said + content[8 + size :]


def data_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """The hash of the names, shapes and numbers of some arrays, which a sealed file of them holds too."""
    return _seal({name: (array.shape, array.tobytes()) for name, array in arrays.items()})


def _seal(arrays: Mapping[str, tuple[Sequence[int], bytes | bytearray]]) -> str:
    """A hash of names, shapes and numbers."""
    digest = hashlib.sha256()
    for name, (shape, data) in sorted(arrays.items()):
        digest.update(f"{name}:{list(shape)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def read_tensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None, dtypes: Mapping[str, str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a safetensors file and its metadata; bfloat16, and int8 with the scales of its rows, come back as float32.

    Args:
        path: the file.
        shapes: if given, just these names with these shapes must stand there, as float32, bfloat16, or (matrices) int8 with scales; the
            file's size is held against them before anything is read. A size of -1 is any, up to 2^31.
        dtypes: by name the types of those that are of another, such as "I64".

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    try:
        most, expected = sys.maxsize, None
        if shapes is not None:
            most = sum(_most_bytes(shape, (dtypes or {}).get(name, "F32")) for name, shape in shapes.items()) + MOST_HEADER
            expected = tr("at most {most:,} for this model", most=most)
        content = file_bytes(path, most, expected)
        if len(content) >= 8 and int.from_bytes(content[:8], "little") > MOST_HEADER:
            raise CheckpointError(
                tr("{path} has a header of over {most:,} bytes", path=path, most=MOST_HEADER),
                expected=tr("a file that Escriba wrote"),
            )
        entries = dict(safetensors.deserialize(content))  # type: ignore[no-untyped-call]
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = json.loads((header.get("__metadata__") or {}).get("escriba", "null"))
    except FileNotFoundError as error:
        raise CheckpointError(tr("{path} does not exist", path=path), expected=tr("a whole model folder")) from error
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            tr("{path} cannot be read: {error}", path=path, error=error), expected=tr("a safetensors file, whole, as Escriba wrote it")
        ) from error
    if not isinstance(metadata, dict):
        raise CheckpointError(tr("{path} has no metadata of Escriba", path=path), expected=tr("a safetensors file that Escriba wrote"))
    scales = _scales(path, entries)
    if shapes is not None:
        _check(path, {name: entry for name, entry in entries.items() if name not in scales.values()}, shapes, dtypes or {})
    if SEAL in metadata and metadata.pop(SEAL) != _seal({name: (entry["shape"], entry["data"]) for name, entry in entries.items()}):
        raise CheckpointError(tr("{path} is damaged: its numbers are not those that were written", path=path))
    found = {name: _array(path, name, entry) for name, entry in entries.items()}
    for name, of_rows in scales.items():
        whole, numbers = found[name], found.pop(of_rows)
        if (whole < -MOST_INT8).any() or not (np.isfinite(numbers) & (numbers >= 0)).all():
            raise CheckpointError(
                tr("{path}: {name} holds numbers that Escriba does not write", path=path, name=name),
                expected=tr("whole numbers from -127 to 127, and scales of 0 or more"),
            )
        found[name] = dequantized(whole, numbers)
    return found, metadata


def tensor_types(path: Path) -> dict[str, str]:
    """The types of the arrays of a safetensors file by their names, such as "F32"; only its header is read, and not checked.

    Raises:
        CheckpointError: the file cannot be read.
    """
    with _reading_the_header(path), open_file(path) as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(size, MOST_HEADER)))
        return {name: str(entry["dtype"]) for name, entry in header.items() if name != "__metadata__"}


@contextlib.contextmanager
def _reading_the_header(path: Path, expected: str | None = None) -> Iterator[None]:
    """Inside, whatever a damaged header leads to is an error that names the file."""
    try:
        yield
    except (OSError, OverflowError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            tr("{path} cannot be read: {error}", path=path, error=error),
            expected=expected or tr("a safetensors file, whole, as Escriba wrote it"),
        ) from error


def map_tensor(path: Path, name: str) -> np.ndarray:
    """One array of a safetensors file, of which only those numbers are read that are looked at; nothing else is checked.

    Raises:
        CheckpointError: the file cannot be read, or has no such array.
    """
    with _reading_the_header(path, tr("a safetensors file that holds {name!r}", name=name)):
        with open_file(path) as file:
            size = int.from_bytes(file.read(8), "little")
            entry = json.loads(file.read(min(size, MOST_HEADER)))[name]
        begin, end = entry["data_offsets"]
        if is_archive(path.parent):  # there all of it is read
            array = np.frombuffer(file_bytes(path, sys.maxsize), np.uint8, end - begin, 8 + size + begin)
        else:
            array = np.memmap(path, np.uint8, "r", 8 + size + begin, (end - begin,))
        return np.asarray(array).view(DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _most_bytes(shape: tuple[int, ...], dtype: str) -> int:
    """The bytes of a tensor, or of its numbers as int8 and their scales, which for a matrix of one column are a few more."""
    scales = 4 * shape[0] if dtype == "F32" and len(shape) == 2 and shape[1] == 1 else 0
    return scales + np.dtype(DTYPES[dtype]).itemsize * int(np.prod([MOST_OPEN if size == -1 else size for size in shape], dtype=np.int64))


def _fits(found: Sequence[int], shape: tuple[int, ...]) -> bool:
    """Whether a tensor has the shape that it must have."""
    sizes_fit = (one == size or (size == -1 and one <= MOST_OPEN) for one, size in zip(found, shape, strict=False))
    return len(found) == len(shape) and all(sizes_fit)


def _check(path: Path, entries: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str]) -> None:
    for name in sorted(set(entries) ^ set(shapes)):
        if name in entries:
            met = tr("{path} holds a tensor that the model does not have: {name!r}", path=path, name=name)
        else:
            met = tr("{path} lacks a tensor of the model: {name!r}", path=path, name=name)
        raise CheckpointError(met, expected=", ".join(shapes))
    for name, shape in shapes.items():
        kinds = (dtypes[name],) if dtypes.get(name, "F32") != "F32" else ("F32", "BF16", "I8")[: 2 + (len(shape) == 2)]
        if not _fits(entries[name]["shape"], shape) or entries[name]["dtype"] not in kinds:
            raise CheckpointError(
                tr(
                    "{path}: {name} is {type} of shape {shape}",
                    path=path,
                    name=name,
                    type=entries[name]["dtype"],
                    shape=tuple(entries[name]["shape"]),
                ),
                expected=tr("{types} of shape {shape}", types=tr(" or ").join(kinds), shape=shape),
            )


def _scales(path: Path, entries: Mapping[str, Any]) -> dict[str, str]:
    """By the names of the matrices of int8 those of the scales of their rows, which must be there."""
    found = {name: name + SCALE for name, entry in entries.items() if entry["dtype"] == "I8"}
    for name, of_rows in found.items():
        shape = tuple(entries[name]["shape"])
        if len(shape) != 2:
            raise CheckpointError(
                tr("{path}: {name} is {type} of shape {shape}", path=path, name=name, type="I8", shape=shape), expected=tr("a matrix")
            )
        if of_rows not in entries:
            raise CheckpointError(tr("{path} lacks a tensor of the model: {name!r}", path=path, name=of_rows))
        met = (entries[of_rows]["dtype"], tuple(entries[of_rows]["shape"]))
        if met != ("F32", shape[:1]):
            raise CheckpointError(
                tr("{path}: {name} is {type} of shape {shape}", path=path, name=of_rows, type=met[0], shape=met[1]),
                expected=tr("{types} of shape {shape}", types="F32", shape=shape[:1]),
            )
    return found


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] not in DTYPES:
        raise CheckpointError(
            tr("{path}: {name} is of type {type}", path=path, name=name, type=entry["dtype"]),
            expected=tr("one of {names}", names=", ".join(DTYPES)),
        )
    array = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return from_bf16(array) if entry["dtype"] == "BF16" else array.copy()
