"""The files of a model: in a folder, or in one zip file that stands for it. They are read by name into memory; nothing is extracted.

It knows nothing of what the files hold. A path leads into a zip file as into a folder: fox.zip/config.json.
"""

from __future__ import annotations

import errno
import io
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from escriba.errors import CheckpointError
from escriba.language import tr

if TYPE_CHECKING:
    import zipfile

__all__ = ["archive_bytes", "file_bytes", "file_size", "has_file", "is_archive", "open_file"]

BEGINNING = b"PK\x03\x04"
"""What a zip file with anything in it begins with."""
METHODS = (0, 8)
"""Stored, deflated."""
MOST_MEMBERS = 1000
MOST_RATIO = 100
"""How many times as large as packed a file may be: weights and names shrink by 10 at most."""
FREE_BYTES = 2**24
"""Up to so many bytes that is not asked."""
MADE = (1980, 1, 1, 0, 0, 0)
"""The time of all that is packed: the first that a zip file knows. So the same model gives the same bytes, and tells nobody's hours."""


def is_archive(path: Path) -> bool:
    """Whether a path is a zip file, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def has_file(path: Path) -> bool:
    """Whether there is such a file, in a folder or in a zip file.

    Raises:
        CheckpointError: the zip file is damaged.
    """
    if not is_archive(path.parent):
        return path.is_file()
    with _unpacking(path.parent) as archive:
        return path.name in _members(archive, path.parent)


def file_size(path: Path) -> int:
    """The bytes of a file, unpacked.

    Raises:
        OSError: there is none.
        CheckpointError: the zip file is damaged, or what is in it is refused.
    """
    if not is_archive(path.parent):
        return path.stat().st_size
    with _unpacking(path.parent) as archive:
        return _member(archive, path).file_size


@contextmanager
def open_file(path: Path) -> Iterator[IO[bytes]]:
    """A file, open for reading from its beginning.

    Raises:
        OSError, CheckpointError: as `file_size`.
    """
    if not is_archive(path.parent):
        with path.open("rb") as file:
            yield file
        return
    with _unpacking(path.parent) as archive, archive.open(_member(archive, path)) as file:
        yield file


def file_bytes(path: Path, most: int, expected: str | None = None) -> bytes:
    """What is in a file.

    Args:
        path: the file.
        most: bytes that it may have.
        expected: what is said of that; None: just the number.

    Raises:
        OSError, CheckpointError: as `file_size`, or it is larger.
    """
    if (size := file_size(path)) > most:
        raise CheckpointError(tr("{path} has {size:,} bytes", path=path, size=size), expected=expected or tr("at most {most:,}", most=most))
    with open_file(path) as file:
        content = file.read()
    if len(content) != size and is_archive(path.parent):
        raise CheckpointError(
            tr("{path} has {size:,} bytes", path=path, size=len(content)), expected=tr("{size:,}, as the zip file tells", size=size)
        )
    return content


def archive_bytes(files: Mapping[str, bytes]) -> bytes:
    """A zip file in memory: the same bytes for the same files.

    Args:
        files: what is in them, by name.
    """
    import zipfile  # only where there is such a file: it takes its time to load

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            one = zipfile.ZipInfo(name, MADE)
            one.create_system, one.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is packed: a file that all may read
            one.compress_type = zipfile.ZIP_STORED if _looks_like_a_bomb(content) else zipfile.ZIP_DEFLATED
            archive.writestr(one, content)
    return packed.getvalue()


def _looks_like_a_bomb(content: bytes) -> bool:
    """Whether it shrinks so far that it would be refused when it is read: weights that are all zero."""
    return len(content) > FREE_BYTES and len(zlib.compress(content, 1)) * MOST_RATIO // 2 < len(content)


@contextmanager
def _unpacking(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file, open; what is wrong with it is said by its name."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise CheckpointError(
            tr("{path} cannot be read: {error}", path=path, error=error), expected=tr("a zip file, whole, as escriba pack writes it")
        ) from error


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The files of a model in a zip file, by name; they may all be in one folder of it, as where a person packed a folder."""
    infos = [one for one in archive.infolist() if not one.is_dir()]
    if len(infos) > MOST_MEMBERS:
        raise CheckpointError(
            tr("{path} holds {files:,} files", path=path, files=len(infos)), expected=tr("at most {most:,}", most=MOST_MEMBERS)
        )
    names = [one.filename for one in infos]
    folders = [name.rpartition("/")[0] for name in names if name.count("/") == 1 and name.endswith("/config.json")]
    inside = f"{folders[0]}/" if "config.json" not in names and len(folders) == 1 else ""
    found = {one.filename.removeprefix(inside): one for one in infos if one.filename.startswith(inside)}
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise CheckpointError(tr("{path} holds {name!r} twice", path=path, name=twice[0]), expected=tr("each file once"))
    return {name: one for name, one in found.items() if "/" not in name and "\\" not in name}


def _member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """What a zip file says of one file in it, which is held against what it can be.

    Raises:
        FileNotFoundError: it has none of that name.
        CheckpointError: it is of another form, or far larger than what is packed.
    """
    info = _members(archive, path.parent).get(path.name)
    if info is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if info.flag_bits & 1 or info.compress_type not in METHODS:
        met = tr("{path} is encrypted", path=path) if info.flag_bits & 1 else tr("{path} is packed in a way that is not read", path=path)
        raise CheckpointError(met, expected=tr("files that are deflated, or stored"))
    if info.header_offset + info.compress_size > path.parent.stat().st_size:
        raise CheckpointError(tr("{path} is cut short", path=path), expected=tr("a zip file, whole, as escriba pack writes it"))
    if info.file_size > FREE_BYTES and info.file_size > MOST_RATIO * info.compress_size:
        raise CheckpointError(
            tr("{path} has {packed:,} bytes packed, and {size:,} unpacked", path=path, packed=info.compress_size, size=info.file_size),
            expected=tr("at most {most} times as many", most=MOST_RATIO),
        )
    return info
