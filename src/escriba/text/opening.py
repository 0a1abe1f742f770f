"""Opens what a text is read from (a file, a named pipe, standard input) and gives its bytes, unpacked, bit by bit.

It knows nothing of encodings: bytes become text in `decoding.py`.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from escriba.errors import TextError
from escriba.language import later, tr

__all__ = ["PACKED", "STANDARD_INPUT", "bytes_of", "name_said"]

STANDARD_INPUT = later("standard input")
"""The name of what has none; `name_said` says it."""
PACKED = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00"}
HEAD = 16  # bytes that tell a compression
CHUNK = 1 << 20  # bytes read at once
BOMB_BYTES, BOMB_RATIO = 100_000_000, 200  # texts shrink to a third or a tenth; what swells so far is made to fill memories
PIPE_WAIT_S = 60.0  # how long a named pipe may have no writer


def name_said(name: str) -> str:
    """The name of a source in a sentence: a file's own; that of standard input in the language that is spoken."""
    return tr(name) if name == STANDARD_INPUT else name


class _Raw:
    """The bytes as they lie there: of a file no more than it had when it was opened."""

    def __init__(self, path: Path | None, name: str) -> None:
        self.name = name
        self._is_own = path is not None
        self.seen = 0
        self.size: int | None = None
        self._first = b""
        if path is None:
            self._file = _standard_input()
            return
        mode = path.stat().st_mode
        if stat.S_ISFIFO(mode):
            self._file, self._first = _named_pipe(path, name)
        elif stat.S_ISREG(mode):
            self._file = path.open("rb")
            # in /proc and the like the size is 0 whatever there is to read
            self.size = os.fstat(self._file.fileno()).st_size or None
        else:
            raise TextError(
                tr("{name} is a device, a socket or the like", name=name),
                expected=tr("a file, a folder, a named pipe, or - for standard input"),
            )

    def head(self) -> bytes:
        """The first bytes, which `read` gives again."""
        data = self.read(HEAD)
        self.seen -= len(data)
        self._first = data + self._first
        return data

    def read(self, size: int) -> bytes:
        """As many bytes, fewer only at the end."""
        if self.size is not None:
            size = min(size, self.size - self.seen)
        data, self._first = self._first[:size], self._first[size:]
        if len(data) < size:
            data += self._file.read(size - len(data))
        self.seen += len(data)
        return data

    def changed(self) -> str | None:
        """What befell the file while it was read, as a sentence."""
        if self.size is None:
            return None
        now = os.fstat(self._file.fileno()).st_size
        if now < self.size and self.seen < self.size:
            return tr(
                "{name} became shorter while it was read: {seen:,} of {size:,} bytes were there.",
                name=self.name,
                seen=self.seen,
                size=self.size,
            )
        if now > self.size:
            return tr("{name} grew while it was read: its first {size:,} bytes were taken.", name=self.name, size=self.size)
        return None

    def close(self) -> None:
        """Closes what was opened here."""
        if self._is_own:
            self._file.close()


def _standard_input() -> IO[bytes]:
    if sys.stdin is None:  # as in a Windows program without a console
        raise TextError(tr("there is no standard input"))
    if sys.stdin.isatty():
        raise TextError(
            tr("standard input is the keyboard, so there is nothing to read"),
            expected=tr("a text that another program or a file brings"),
            hint=tr("give the file's name; or bring it: escriba corpus - < book.txt"),
        )
    # a notebook's standard input has no bytes beneath it
    return cast(IO[bytes], sys.stdin.buffer) if hasattr(sys.stdin, "buffer") else io.BytesIO(sys.stdin.read().encode("utf-8"))


def _named_pipe(path: Path, name: str) -> tuple[IO[bytes], bytes]:
    """A named pipe, opened once somebody writes into it, and what had come by then.

    Opened in the usual way, it would wait for a writer for ever, without a word.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    began = time.monotonic()
    first = b""
    while not first:
        try:
            first = os.read(number, CHUNK)
        except BlockingIOError:  # there is a writer, who has not written yet
            break
        if not first:
            if time.monotonic() - began > PIPE_WAIT_S:
                os.close(number)
                raise TextError(
                    tr("nobody wrote into the named pipe {name} for {seconds:g} seconds", name=name, seconds=PIPE_WAIT_S),
                    expected=tr("another program that writes into it"),
                    hint=tr("start that program first, such as: zcat book.gz > {name} &", name=name),
                )
            time.sleep(0.02)
    os.set_blocking(number, True)
    return os.fdopen(number, "rb"), first


def bytes_of(path: Path | None, name: str, notes: list[str]) -> Iterator[bytes]:
    """The bytes of a file in chunks of at most a megabyte; None is standard input. What is packed is unpacked, whatever its name.

    Args:
        path: the file.
        name: the name for what is said of it.
        notes: where it is noted that the file changed while it was read.

    Raises:
        TextError: it cannot be read, is no file or pipe, is damaged, or swells beyond all measure.
    """
    name = name_said(name) if path is None else name
    try:
        raw = _Raw(path, name)
    except OSError as error:
        raise _unreadable(name, error) from error
    with contextlib.closing(raw):
        try:
            head = raw.head()
        except OSError as error:
            raise _unreadable(name, error) from error
        unpacker = _unpacker(head, raw)
        while True:
            try:
                data = (unpacker or raw).read(CHUNK)
            except (EOFError, ValueError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
                raise TextError(
                    tr("{name} is compressed, and damaged: {error}", name=name, error=error), hint=tr("fetch or pack it anew")
                ) from error
            except OSError as error:
                if unpacker is not None and error.errno is None:  # so the unpackers speak of data, the system never
                    raise TextError(
                        tr("{name} is compressed, and damaged: {error}", name=name, error=error), hint=tr("fetch or pack it anew")
                    ) from error
                raise _unreadable(name, error) from error
            if not data:
                break
            yield data
            if unpacker is not None:
                _refuse_bomb(unpacker.tell(), raw)
        notes += [changed] if (changed := raw.changed()) else []


def _unpacker(head: bytes, raw: _Raw) -> IO[bytes] | None:
    packed = cast(IO[bytes], raw)
    if head.startswith(PACKED[".gz"]):
        return cast(IO[bytes], gzip.GzipFile(fileobj=packed, mode="rb"))
    if head.startswith(PACKED[".bz2"]) and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return cast(IO[bytes], bz2.BZ2File(packed))
    return cast(IO[bytes], lzma.LZMAFile(packed)) if head.startswith(PACKED[".xz"]) else None


def _refuse_bomb(unpacked: int, raw: _Raw) -> None:
    packed = raw.size or raw.seen
    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
        raise TextError(
            tr(
                "{name} has {packed:,} bytes packed, but more than {unpacked:,} unpacked: texts do not shrink so far",
                name=raw.name,
                packed=packed,
                unpacked=unpacked,
            ),
            expected=tr("at most {times} times the packed size, or {size:,} bytes", times=BOMB_RATIO, size=BOMB_BYTES),
            hint=tr("if it is meant so, unpack it yourself and give the unpacked file"),
        )


def _unreadable(name: str, error: OSError) -> TextError:
    return TextError(tr("{name} cannot be read: {error}", name=name, error=error.strerror or error))
