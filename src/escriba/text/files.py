"""Finds text files and turns their bytes into text: folders, patterns, compression, encodings.

It knows nothing of what a text holds: tables are for `tables.py`, everything else for `plain.py`.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import encodings.aliases
import glob
import gzip
import lzma
import os
import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from escriba.errors import TextDecodingError, TextError, near_name

__all__ = ["STDIN", "TextFile", "decoded", "find", "load"]

STDIN = "-"
PACKED = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00"}
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".csv", ".tsv", ".jsonl", ".ndjson")
# the longer marks first: that of UTF-32-LE begins with that of UTF-16-LE
MARKS = {
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
NOT_TEXT = {
    b"PK\x03\x04": "a zip archive or an office document (.docx, .odt, .epub)",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old office document (.doc, .xls)",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"SQLite format 3": "a database",
}
GUESSED = [
    *("latin_1", "cp1252", "iso8859_2", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "mac_roman", "cp437"),
]
LONGEST_PATH = 4096
SAMPLE = 32_768  # bytes on either side of the fault that the guess looks at
LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class TextFile:
    """A file as text.

    Attributes:
        name: as the user gave it, with slashes; "standard input".
        text: all of it.
        encoding: the encoding that was used.
        size: bytes, after unpacking.
        suffix: in small letters, without that of a compression, such as ".csv".
        notes: what was noticed, as sentences.
    """

    name: str
    text: str
    encoding: str
    size: int
    suffix: str
    notes: tuple[str, ...] = ()


def find(sources: Iterable[str | os.PathLike[str]]) -> list[Path | None]:
    """The files that paths, folders and patterns stand for, each once, in an order that does not depend on the system.

    Args:
        sources: paths; folders, for all files in them with the suffix of a text; patterns with ``*``, ``?``, ``[]``
            and ``**``; "-" for standard input.

    Returns:
        the files; None is standard input.

    Raises:
        TextError: there is no such file, or none that fits.
    """
    found: dict[Path | None, Path | None] = {}
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            raise TextError(f"a source of type {type(source).__name__}", expected="paths; or text=..., documents=[...]")
        name = os.fspath(source)
        try:
            for path in _files_of(name):
                found.setdefault(path and path.resolve(), path)
        except OSError as error:
            raise TextError(f"{name[:80]} cannot be read: {error.strerror or error}") from error
    return list(found.values())


def _files_of(name: str) -> Sequence[Path | None]:
    if name == STDIN:
        return [None]
    if not name.strip():
        raise TextError("a path that is empty", expected="a file, a folder, a pattern or - for standard input")
    if "\n" in name or "\0" in name or len(name) > LONGEST_PATH:
        raise TextError(f"what was given as a path looks like a text: {name[:40]!r}...", hint="a text itself is given as text=...")
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # of ~ where no home is known: then it is a name like others
        path = path.expanduser()
    if path.is_dir():
        return _files_in(path)
    if path.exists():
        return [path]
    if glob.has_magic(name):
        # Path.glob would also find hidden files, and takes no pattern that begins at the root
        fitting = (Path(one) for one in glob.glob(str(path), recursive=True))  # noqa: PTH207
        if files := sorted((one for one in fitting if one.is_file()), key=Path.as_posix):
            return files
        raise TextError(f"no file fits {name!r}", hint="** stands for any folders within folders")
    if re.match(r"https?://", name):
        raise TextError(f"{name!r} is an address, not a file", hint="download it first")
    if not path.parent.is_dir():
        raise TextError(f"there is no folder {path.parent.as_posix()!r}, so no file {path.name!r} in it")
    near = near_name(path.name, sorted(one.name for one in path.parent.iterdir()))
    hint = f"did you mean {path.with_name(near).as_posix()!r}?" if near else None
    raise TextError(f"there is no file {path.as_posix()!r}", expected="a file, a folder, a pattern or - for standard input", hint=hint)


def _files_in(folder: Path) -> list[Path]:
    files: list[Path] = []
    for here, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(".")]
        files += [Path(here, one) for one in names if not one.startswith(".") and _suffix(Path(one)) in TEXT_SUFFIXES]
    if not files:
        raise TextError(
            f"the folder {folder.as_posix()!r} holds no text",
            expected="files that end in " + ", ".join(TEXT_SUFFIXES),
            hint=f"other files can be given by a pattern, such as {(folder / '*.py').as_posix()!r}",
        )
    return sorted(files, key=Path.as_posix)


def _suffix(path: Path) -> str:
    """The suffix of a file in small letters, without that of a compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED else suffix


def load(path: Path | None, encoding: str) -> TextFile:
    """A file as text; None is standard input. What gzip, bzip2 or xz packed is unpacked, whatever its name.

    Raises:
        TextError: it cannot be read, or holds no text.
        TextDecodingError: its bytes are not in the encoding.
    """
    name = "standard input" if path is None else path.as_posix()
    try:
        data = _standard_input() if path is None else path.read_bytes()
    except OSError as error:
        raise TextError(f"{name} cannot be read: {error.strerror or error}") from error
    data = _unpacked(data, name)
    text, used, notes = decoded(data, encoding, name)
    return TextFile(name, text, used, len(data), "" if path is None else _suffix(path), tuple(notes))


def _standard_input() -> bytes:
    if sys.stdin is None:  # as in a Windows program without a console
        raise TextError("there is no standard input")
    # a notebook's standard input has no bytes beneath it
    return sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode("utf-8")


def _unpacked(data: bytes, name: str) -> bytes:
    try:
        if data.startswith(PACKED[".gz"]):
            return gzip.decompress(data)
        if data.startswith(PACKED[".bz2"]) and data[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
            return bz2.decompress(data)
        if data.startswith(PACKED[".xz"]):
            return lzma.decompress(data)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise TextError(f"{name} is compressed, and damaged: {error}", hint="fetch or pack it anew") from error
    return data


def decoded(data: bytes, encoding: str, name: str) -> tuple[str, str, list[str]]:
    """The text of bytes, the encoding that was used, and what was noticed.

    A byte-order mark is left out of the text. Where UTF-8 was asked for, or nothing, the mark says the encoding.

    Raises:
        TextError: there is no such encoding, or the bytes are no text.
        TextDecodingError: the bytes are not in the encoding; it names the byte offset and the line.
    """
    asked = _codec(encoding)
    for magic, what in NOT_TEXT.items():
        if data.startswith(magic):
            raise TextError(f"{name} is {what}, not a text", hint="save it as plain text (.txt, UTF-8) first")
    used, notes = asked, []
    marked = next((one for one, mark in MARKS.items() if data.startswith(mark)), None)
    if marked and asked == "utf-8":
        used = marked
        if used != "utf-8":
            notes.append(f"{name} begins with the byte-order mark of {used} and was read so.")
    elif marked == "utf-8" and not asked.startswith("utf"):
        notes.append(f"{name} begins with the byte-order mark of utf-8, but was read as {encoding}.")
    try:
        text = data.decode(used)
    except LookupError:
        raise TextError(f"{encoding!r} is not an encoding of texts", expected="one such as utf-8, latin-1, cp1252, gb18030") from None
    except UnicodeError as error:
        raise _decoding_error(data, used, name, error) from None
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise _binary(data, text, used, name)
    return text, used, notes


def _codec(encoding: str) -> str:
    """The usual name of an encoding."""
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        near = near_name(encoding.lower(), [*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "latin-1", "utf-8"])
        raise TextError(
            f"there is no encoding {encoding!r}",
            expected="one such as utf-8, latin-1, cp1252, gb18030",
            hint=f"did you mean {near!r}?" if near else None,
        ) from None
    return {"utf-8-sig": "utf-8", "iso8859-1": "latin-1"}.get(name, name)


def _decoding_error(data: bytes, used: str, name: str, error: UnicodeError) -> TextDecodingError:
    if not isinstance(error, UnicodeDecodeError):
        return TextDecodingError(f"{name} is not in {used}: {error}")
    at = error.start
    before = data[:at].decode(used, "ignore")
    line = len(LINE_END.findall(before)) + 1
    guess = _guess(data[max(0, at - SAMPLE) : at + SAMPLE])
    hint = f'it looks like {guess}: --encoding {guess} (in Python encoding="{guess}")' if guess and guess != used else None
    return TextDecodingError(
        f"{name}: the byte 0x{data[at]:02x} at offset {at:,}, in line {line:,}, does not belong there in {used}",
        expected=f"a text in {used}",
        hint=hint or "say the encoding: --encoding NAME",
    )


def _guess(sample: bytes) -> str | None:
    """The likeliest encoding of a sample."""
    from charset_normalizer import from_bytes

    fits = [one for one in from_bytes(sample, cp_isolation=GUESSED) if one.encoding in GUESSED]
    if not fits:
        return None
    best = {one.encoding for one in fits if (one.chaos, one.coherence) == (fits[0].chaos, fits[0].coherence)}
    if best & {"latin_1", "cp1252"}:
        # the two differ in 0x80 to 0x9f alone, which Latin-1 leaves to control characters
        return "cp1252" if re.search(rb"[\x80-\x9f]", sample) else "latin-1"
    return fits[0].encoding.replace("_", "-")


def _binary(data: bytes, text: str, used: str, name: str) -> TextError:
    even, odd = data[0:4096:2], data[1:4096:2]
    guess = None
    if used == "utf-8" and len(odd) > 1:
        # Latin letters in UTF-16 have a zero for every other byte
        guess = "utf-16-le" if odd.count(0) > len(odd) // 2 > even.count(0) else None
        guess = "utf-16-be" if even.count(0) > len(even) // 2 > odd.count(0) else guess
    return TextError(
        f"{name} holds zero bytes (the first after {text.index(chr(0)):,} characters), as no text does",
        expected=f"a text in {used}",
        hint=f"it looks like {guess}: --encoding {guess}" if guess else "is it a text at all?",
    )
