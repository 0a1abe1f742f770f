"""Finds text files (names, folders, patterns) and gives each as a text that comes bit by bit.

It knows nothing of what a text holds: tables are for `tables.py`, everything else for `plain.py`. Bytes are fetched in
`opening.py` and become text in `decoding.py`.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from escriba.errors import TextError, near_name
from escriba.language import tr
from escriba.text.decoding import Decoding
from escriba.text.known import KNOWN, PREFIX, is_fetched
from escriba.text.opening import PACKED, STANDARD_INPUT, bytes_of, name_said

__all__ = ["STDIN", "TextFile", "find", "suffix_of"]

STDIN = "-"
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".csv", ".tsv", ".jsonl", ".ndjson")
LONGEST_PATH = 4096


class TextFile:
    """A file as text, read once and bit by bit.

    Args:
        path: the file; None is standard input.
        encoding: what it is taken to be in, unless its byte-order mark says otherwise.

    Attributes:
        name: as the user gave it, with slashes; "standard input".
        suffix: in small letters, without that of a compression, such as ".csv".
        notes: what was noticed so far, as sentences.

    Raises:
        TextError: there is no such encoding.
    """

    def __init__(self, path: Path | None, encoding: str) -> None:
        self.path = path
        self.name = STANDARD_INPUT if path is None else _asked_for(path)
        self.suffix = "" if path is None else suffix_of(path)
        self.notes: list[str] = []
        self._decoding = Decoding(encoding, name_said(self.name))

    @property
    def encoding(self) -> str:
        """The encoding, once reading has begun."""
        return self._decoding.used

    @property
    def size(self) -> int:
        """The bytes read so far, after unpacking."""
        return self._decoding.size

    def texts(self) -> Iterator[str]:
        """The text, in pieces as they come.

        Raises:
            TextError: it cannot be read, or holds no text.
            TextDecodingError: its bytes are not in the encoding.
        """
        yield from self._decoding.texts(bytes_of(self.path, self.name, self.notes))
        self.notes[:0] = self._decoding.notes


def _asked_for(path: Path) -> str:
    """What a file is called: a known text by its name, not by its place in the cache; another by its path, with slashes."""
    name = path.name.split(".")[0]
    if name not in KNOWN or path.parent.name != "texts":
        return path.as_posix()
    from escriba.text.cached import texts_folder

    return f"{PREFIX}{name}" if path.parent == texts_folder() else path.as_posix()


def find(sources: Iterable[str | os.PathLike[str]]) -> list[Path | None]:
    """The files that paths, folders and patterns stand for, each once, in an order that does not depend on the system.

    Args:
        sources: paths; folders, for all files in them with the suffix of a text; patterns with ``*``, ``?``, ``[]``
            and ``**``; "-" for standard input; known texts as ``text:quijote``, and addresses, which are fetched.

    Returns:
        the files; None is standard input.

    Raises:
        TextError: there is no such file, or none that fits.
    """
    found: dict[Path | None, Path | None] = {}
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            raise TextError(tr("a source of type {type}", type=type(source).__name__), expected=tr("paths; or text=..., documents=[...]"))
        name = os.fspath(source)
        try:
            for path in _files_of(name):
                found.setdefault(path and path.resolve(), path)
        except OSError as error:
            raise TextError(tr("{name} cannot be read: {reason}", name=name[:80], reason=error.strerror or error)) from error
    return list(found.values())


def _files_of(name: str) -> Sequence[Path | None]:
    if name == STDIN:
        return [None]
    if not name.strip():
        raise TextError(tr("a path that is empty"), expected=tr("a file, a folder, a pattern or - for standard input"))
    if "\n" in name or "\0" in name or len(name) > LONGEST_PATH:
        raise TextError(
            tr("what was given as a path looks like a text: {name!r}...", name=name[:40]), hint=tr("a text itself is given as text=...")
        )
    if is_fetched(name):  # a known text as text:NAME, or an address; what fetches takes its time to load
        from escriba.text.cached import local_copy

        return [local_copy(name)]
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
        raise TextError(tr("no file fits {pattern!r}", pattern=name), hint=tr("** stands for any folders within folders"))
    if not path.parent.is_dir():
        raise TextError(tr("there is no folder {folder!r}, so no file {file!r} in it", folder=path.parent.as_posix(), file=path.name))
    near = near_name(path.name, sorted(one.name for one in path.parent.iterdir()))
    hint = tr("did you mean {near!r}?", near=path.with_name(near).as_posix()) if near else None
    raise TextError(
        tr("there is no file {file!r}", file=path.as_posix()),
        expected=tr("a file, a folder, a pattern or - for standard input"),
        hint=hint,
    )


def _files_in(folder: Path) -> list[Path]:
    files: list[Path] = []
    for here, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [one for one in folders if not one.startswith(".")]
        files += [Path(here, one) for one in names if not one.startswith(".") and suffix_of(Path(one)) in TEXT_SUFFIXES]
    if not files:
        raise TextError(
            tr("the folder {folder!r} holds no text", folder=folder.as_posix()),
            expected=tr("files that end in {suffixes}", suffixes=", ".join(TEXT_SUFFIXES)),
            hint=tr("other files can be given by a pattern, such as {pattern!r}", pattern=(folder / "*.py").as_posix()),
        )
    return sorted(files, key=Path.as_posix)


def _unreadable(error: OSError) -> None:
    """Stops at a folder that cannot be looked into, whose texts would be missing without a word."""
    raise TextError(
        tr("the folder {folder!r} cannot be read: {reason}", folder=Path(error.filename).as_posix(), reason=error.strerror or error),
        hint=tr("a pattern, such as 'texts/*.txt', leaves out the folders within"),
    ) from error


def suffix_of(path: Path) -> str:
    """The suffix of a file in small letters, without that of a compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED else suffix
