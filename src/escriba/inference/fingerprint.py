"""Tells texts that were learnt from new ones by their hashes: documents by `fingerprint.safetensors`, lines of a stream by `KnownLines`.

It knows nothing of how a text is read and brought into its Unicode form: texts come as they were learnt. The file is told of in
docs/reference/format.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from escriba.archive import file_size, has_file
from escriba.errors import CheckpointError
from escriba.inference.lines import lines_in
from escriba.language import tr
from escriba.tensorfile import json_hashes, read_tensors, replace_file, tensor_bytes

__all__ = ["FINGERPRINT", "Hashes", "KnownLines", "contains", "load_fingerprint", "make_fingerprint", "save_fingerprint"]

FINGERPRINT = "fingerprint.safetensors"
VERSION = 1
MOST_BYTES = 2_000_000_000
Hashes = NDArray[np.uint64]


def make_fingerprint(documents: Iterable[str], before: Hashes | None = None) -> Hashes:
    """The hashes of documents, sorted, each once; a second or two for a million.

    A hash is the BLAKE2b digest of 8 bytes of the document in UTF-8, the first byte the highest. A document that is not among D others has
    the hash of one of them with a chance of D / 2^64.

    Args:
        documents: in the Unicode form in which they were learnt.
        before: hashes of documents that were learnt before them.

    Returns:
        uint64, (D,), rising; D: how many different ones there are.
    """
    own = np.unique(_hashes(documents))
    return own if before is None else np.union1d(own, before)


def _hashes(texts: Iterable[str]) -> Hashes:
    blake2b, digests = hashlib.blake2b, bytearray()
    for text in texts:
        digests += blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
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
    if not has_file(path):
        return None
    try:
        return _read(path)
    except CheckpointError as error:
        hint = error.hint or tr("delete the file: the text is read again then")
        raise CheckpointError(error.met, expected=error.expected, hint=hint) from error


def _read(path: Path) -> Hashes:
    if (size := file_size(path)) > MOST_BYTES:
        raise CheckpointError(tr("{path} has {size:,} bytes", path=path, size=size), expected=tr("at most {most:,}", most=MOST_BYTES))
    arrays, metadata = read_tensors(path)
    for name, value in _binding(path.parent).items():
        if (met := metadata.pop(name, None)) != value:
            if name == "fingerprint_version":
                raise CheckpointError(
                    tr("{path}: {name} is {met!r}", path=path, name=name, met=met),
                    expected=f"{value}",
                    hint=tr("upgrade Escriba, or delete the file"),
                )
            file = name.replace("_sha256", ".json")
            raise CheckpointError(
                tr("{path} was not written for this {file}", path=path, file=file),
                expected=tr("files of one and the same model, unchanged"),
            )
    if metadata:
        raise CheckpointError(
            tr("{path} has unknown metadata: {metadata}", path=path, metadata=", ".join(metadata)), expected=tr("a file that Escriba wrote")
        )
    found = {name: (str(array.dtype), array.ndim) for name, array in arrays.items()}
    if found != {"documents": ("int64", 1)}:
        raise CheckpointError(
            tr("{path} holds {found}", path=path, found=found), expected=tr("the one tensor documents, of type I64, with one axis")
        )
    hashes = arrays["documents"].view(np.uint64)
    if not (hashes[1:] > hashes[:-1]).all():
        raise CheckpointError(tr("{path}: the hashes are not sorted", path=path), expected=tr("rising numbers, each once"))
    return hashes


def _binding(folder: Path) -> dict[str, Any]:
    """What the metadata say: the file's version, and the hashes of the two files for which it was written."""
    return {"fingerprint_version": VERSION, **json_hashes(folder, "config", "tokenizer")}


class KnownLines:
    """The lines of a stream, by their hashes.

    Args:
        pieces: the stream, which they make joined.
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        self._hashes = make_fingerprint(lines_in(pieces))

    def contains(self, line: str) -> bool:
        """Whether a line stands there whole."""
        return contains(self._hashes, line)
