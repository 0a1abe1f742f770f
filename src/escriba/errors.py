"""Every error that Escriba raises on purpose, each with what was met, what was expected and what to do.

It knows nothing of texts, models or files: only how an error is built and shown, and how a command is typed on this system.

The tree:

    EscribaError
    ├── SettingsError            a setting out of its range, misspelt or in conflict (also a ValueError)
    ├── TextError                a text that cannot be read or is of no use (also a ValueError)
    │   ├── TextDecodingError    bytes that are not in the encoding
    │   └── UnknownSymbolError   a symbol outside a vocabulary that has no <unk>
    ├── CheckpointError          a model folder that is missing, damaged, of another format or in use
    ├── TrainingError            training that cannot start or go on
    └── MissingExtraError        an optional part that is not installed (also an ImportError)
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from escriba.language import tr

__all__ = [
    "CheckpointError",
    "EscribaError",
    "MissingExtraError",
    "SettingsError",
    "TextDecodingError",
    "TextError",
    "TrainingError",
    "UnknownSymbolError",
    "install_hint",
    "near_name",
    "typed",
]

CPU_BUILD = "python -m pip install torch --index-url https://download.pytorch.org/whl/cpu"
"""What takes PyTorch's build without CUDA."""


class EscribaError(Exception):
    """The base of all errors of Escriba.

    Args:
        met: what was met, with its value: one sentence without a final stop.
        expected: what would have been right.
        hint: what to type or do next.
    """

    def __init__(self, met: str, *, expected: str | None = None, hint: str | None = None) -> None:
        self.met = met
        self.expected = expected
        self.hint = hint
        super().__init__(met)

    def __str__(self) -> str:
        lines = [self.met]
        if self.expected:
            lines.append(tr("expected: {expected}", expected=self.expected))
        if self.hint:
            lines.append(tr("hint: {hint}", hint=self.hint))
        return "\n".join(lines)


class SettingsError(EscribaError, ValueError):
    """A setting is out of its range, misspelt, or in conflict with another."""


class TextError(EscribaError, ValueError):
    """A text cannot be read, or is of no use for what was asked."""


class TextDecodingError(TextError):
    """Bytes are not in the encoding: the message names the file, the byte offset and the line."""


class UnknownSymbolError(TextError):
    """A symbol is not in a vocabulary that was made without ``<unk>``."""


class CheckpointError(EscribaError):
    """A model folder is missing, damaged, of another format, or in use."""


class TrainingError(EscribaError):
    """Training cannot start or cannot go on."""


class MissingExtraError(EscribaError, ImportError):
    """An optional part is not installed.

    Args:
        what: what was asked for, as a noun, in the language that is spoken.
        extra: the extra of the package that brings it.
        module: the module that is missing.
    """

    def __init__(self, what: str, extra: str, module: str) -> None:
        super().__init__(
            tr("{what} needs the Python package {module!r}, which is not installed", what=what, module=module),
            hint=install_hint(extra),
        )
        self.extra = extra
        self.module = module


def near_name(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that is spelt most like `name`, or None when none is near."""
    import difflib

    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return near[0] if near else None


def typed(*words: str | os.PathLike[str], windows: bool | None = None) -> str:
    """A command line as a person types it in a shell of this system; it can be copied from an error into a terminal.

    Args:
        *words: the command and its arguments, unquoted.
        windows: for cmd and PowerShell, which have only the double quotes in common, or for a POSIX shell; None: for this system.
    """
    plain = [os.fspath(word) for word in words]
    windows = os.name == "nt" if windows is None else windows
    return " ".join(map(_quoted_for_windows, plain)) if windows else shlex.join(plain)


def _quoted_for_windows(word: str) -> str:
    """A word in double quotes where it needs them; a quote inside is doubled, and so are backslashes that would hide the last quote."""
    if re.fullmatch(r"[\w./\\:+-]+", word):
        return word
    doubled = word.replace('"', '""')
    last = len(doubled) - len(doubled.rstrip("\\"))
    return f'"{doubled}{doubled[len(doubled) - last :]}"'


def install_hint(extra: str, *, system: str | None = None, machine: str | None = None, nvidia: bool | None = None) -> str:
    """What to type to install an extra on this machine, or that it cannot be had there.

    Args:
        extra: the extra of the package, such as "train".
        system: as `platform.system` names it; None: this one.
        machine: as `platform.machine` names it; None: this one.
        nvidia: whether there is an NVIDIA card; None: whether one is seen.
    """
    line = f'python -m pip install "escriba[{extra}]"'
    if extra == "plot":
        return line
    import platform
    import shutil

    system, machine = system or platform.system(), machine or platform.machine()
    if system == "Darwin" and machine == "x86_64":
        return tr(
            "PyTorch has no recent build for Macs with an Intel processor: there Escriba writes and scores, and trains nothing; "
            "train on another machine and copy the model folder. If this Mac has an Apple processor, its Python is one for Intel: "
            "take Python for arm64, then {command}",
            command=line,
        )
    if nvidia is None:
        nvidia = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()
    if system == "Linux" and machine == "x86_64" and not nvidia:
        why = tr("(the first line takes PyTorch's build for processors alone: 192 MB instead of 3 GB)")
        return f"\n{' ' * len(tr('hint: {hint}', hint=''))}".join((CPU_BUILD, line, why))  # each below the first, after the word hint
    return line
