"""Tells texts that were learnt from new ones by their hashes: documents by `fingerprint.safetensors`, lines of a stream by `KnownLines`.

It knows nothing of how a text is read and brought into its Unicode form: texts come as they were learnt. The file is told of in
docs/reference/format.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from escriba.errors import CheckpointError
from escriba.tensorfile import read_tensors, replace_file, sha256, tensor_bytes

__all__ = ["FINGERPRINT", "KnownLines", "contains", "load_fingerprint", "make_fingerprint", "save_fingerprint"]

FINGERPRINT = "fingerprint.safetensors"
VERSION = 1
MOST_BYTES = 2_000_000_000
LINE_END = re.compile(r"\r\n|\r|\n")
Hashes = NDArray[np.uint64]


def make_fingerprint(documents: Iterable[str]) -> Hashes:
    """The hashes of documents, sorted, each once; a second or two for a million.

    A hash is the BLAKE2b digest of 8 bytes of the document in UTF-8, the first byte the highest. A document that is not among D others has
    the hash of one of them with a chance of D / 2^64.

    Args:
        documents: in the Unicode form in which they were learnt.

    Returns:
        uint64, (D,), rising; D: how many different ones there are.
    """
    return np.unique(_hashes(documents))


def _hashes(texts: Iterable[str]) -> Hashes:
    blake2b = hashlib.blake2b
    digests = b"".join(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def contains(hashes: Hashes, text: str) -> bool:
    """Whether a text is one of the documents of a fingerprint, as it stands or without the line ends after it."""
    own = _hashes([text, text.rstrip("\r\n")])
    places = np.searchsorted(hashes, own)
    return bool((hashes[np.minimum(places, len(hashes) - 1)] == own).any()) if len(hashes) else False


def save_fingerprint(folder: Path, hashes: Hashes) -> None:
    """Writes the hashes into a model folder, bound by hashes to its config.json and tokenizer.json, which must be there.

    Raises:
        CheckpointError: the folder is none of a model, or cannot be written to.
    """
    arrays = {"documents": hashes.view(np.int64)}  # safetensors in NumPy knows no unsigned ones everywhere
    replace_file(folder / FINGERPRINT, tensor_bytes(arrays, _binding(folder), sealed=True))


def load_fingerprint(folder: Path) -> Hashes | None:
    """The hashes of a model folder; None: it keeps none.

    Raises:
        CheckpointError: the file is damaged, of another model or of a newer version.
    """
    path = folder / FINGERPRINT
    if not path.exists():
        return None
    if (size := path.stat().st_size) > MOST_BYTES:
        raise CheckpointError(f"{path} has {size:,} bytes", expected=f"at most {MOST_BYTES:,}")
    arrays, metadata = read_tensors(path)
    for name, value in _binding(folder).items():
        if (met := metadata.pop(name, None)) != value:
            if name == "fingerprint_version":
                raise CheckpointError(f"{path}: {name} is {met!r}", expected=f"{value}", hint="upgrade Escriba, or delete the file")
            file = name.replace("_sha256", ".json")
            raise CheckpointError(f"{path} was not written for this {file}", expected="files of one and the same model, unchanged")
    if metadata:
        raise CheckpointError(f"{path} has unknown metadata: {', '.join(metadata)}", expected="a file that Escriba wrote")
    found = {name: (str(array.dtype), array.ndim) for name, array in arrays.items()}
    if found != {"documents": ("int64", 1)}:
        raise CheckpointError(f"{path} holds {found}", expected="the one tensor documents, of type I64, with one axis")
    hashes = arrays["documents"].view(np.uint64)
    if not (hashes[1:] > hashes[:-1]).all():
        raise CheckpointError(f"{path}: the hashes are not sorted", expected="rising numbers, each once")
    return hashes


def _binding(folder: Path) -> dict[str, Any]:
    """What the metadata say: the file's version, and the hashes of the two files for which it was written."""
    try:
        hashes = {f"{name}_sha256": sha256((folder / f"{name}.json").read_bytes()) for name in ("config", "tokenizer")}
    except OSError as error:
        raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}", expected="a whole model folder") from error
    return {"fingerprint_version": VERSION, **hashes}


class KnownLines:
    """The lines of a stream, by their hashes in order.

    Args:
        pieces: the stream, which they make joined.
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        parts, rest = [], ""
        for piece in pieces:
            *lines, rest = LINE_END.split(rest + piece)
            parts.append(_hashes(lines))
        self._in_order: Hashes = np.concatenate([*parts, _hashes([rest])])
        self._order = np.argsort(self._in_order, kind="stable")
        self._sorted = self._in_order[self._order]

    def contains(self, text: str) -> bool:
        """Whether a text stands there as a whole line, or as several, one after the other; line ends around it do not count."""
        own = _hashes(LINE_END.split(text.strip("\r\n")))
        first, last = np.searchsorted(self._sorted, own[0], "left"), np.searchsorted(self._sorted, own[0], "right")
        starts = self._order[first:last]
        for i, line in enumerate(own[1:], 1):
            starts = starts[starts + i < len(self._in_order)]
            starts = starts[self._in_order[starts + i] == line]
        return bool(len(starts))
