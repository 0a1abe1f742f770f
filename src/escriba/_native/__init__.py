"""The library of native code: found, opened with ctypes, held to its own plain form, and asked for the level of this processor.

It knows nothing of what the functions compute: the modules beside it call them. Where there is no library, or one that cannot be used,
nothing fails: `library()` gives None, `why_missing()` says why, and the NumPy reference does the work.

The variable ``ESCRIBA_NATIVE`` chooses: "off", or a level by its name; ``ESCRIBA_NATIVE_LIBRARY`` names another file.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import os
from pathlib import Path
from typing import NamedTuple

from escriba.errors import EscribaError
from escriba.language import tr

__all__ = ["INTERFACE", "LEVELS", "level", "level_number", "levels", "library", "the_library", "usable_threads", "why_missing"]

LEVELS = ("plain", "avx2", "avx512", "avx512_bf16", "amx")
"""From the one that every processor has to the fastest, in the order of `escriba::Level`; each needs those before it."""
INTERFACE = 3
"""Of the functions and their arguments, as ESCRIBA_INTERFACE in native/export.h."""
QUOTA = Path("/sys/fs/cgroup/cpu.max")


class _Opened(NamedTuple):
    """What was found: a library and its levels, or why there is none."""

    library: ctypes.CDLL | None
    levels: tuple[str, ...]
    why: str | None


def library() -> ctypes.CDLL | None:
    """The library, or None where it was not built, does not load, or is switched off.

    Raises:
        EscribaError: `ESCRIBA_NATIVE` names a level that is not here.
    """
    return None if _asked() == "off" else _opened(os.environ.get("ESCRIBA_NATIVE_LIBRARY")).library


def the_library() -> ctypes.CDLL:
    """The library, where it is known that there is one."""
    found = library()
    assert found is not None, "whoever calls asks first whether there is a library"
    return found


def why_missing() -> str | None:
    """Why there is no library, in words; None where there is one."""
    if _asked() == "off":
        return tr("it is switched off: the variable ESCRIBA_NATIVE is off")
    return _opened(os.environ.get("ESCRIBA_NATIVE_LIBRARY")).why


def levels() -> list[str]:
    """The levels that were built, that this processor has, and that compute what the plain one computes; the fastest last."""
    return list(_opened(os.environ.get("ESCRIBA_NATIVE_LIBRARY")).levels)


def level() -> str:
    """The level that is used: the fastest, or the one that `ESCRIBA_NATIVE` names.

    Raises:
        EscribaError: there is no library, or the level that is named is not here.
    """
    asked, opened = _asked(), _opened(os.environ.get("ESCRIBA_NATIVE_LIBRARY"))
    if asked == "off" or opened.library is None:
        raise EscribaError(tr("there is no native code: {why}", why=why_missing()), hint="escriba doctor")
    return asked or opened.levels[-1]


def level_number(name: str | None = None) -> int:
    """A level as the library's functions take it.

    Args:
        name: the level; None: the one that is used.

    Raises:
        EscribaError: it is not here.
    """
    return LEVELS.index(level() if name is None else _checked(name))


def usable_threads() -> int:
    """How many threads are of use: the processors that this process may use, at most what ``OMP_NUM_THREADS`` says."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = min(found, _quota() or found)
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(1, min(found, int(asked))) if asked.isdecimal() else found


def _asked() -> str | None:
    """What `ESCRIBA_NATIVE` says: "off", a level that is here, or None.

    Raises:
        EscribaError: it is none of them.
    """
    asked = os.environ.get("ESCRIBA_NATIVE", "").strip().lower()
    return asked if asked == "off" else None if asked in {"", "auto"} else _checked(asked)


def _checked(name: str) -> str:
    """A level, once it is known to be here."""
    opened = _opened(os.environ.get("ESCRIBA_NATIVE_LIBRARY"))
    if name not in opened.levels:
        met = tr("there is no native code of the level {name!r} here", name=name)
        if opened.why and name in LEVELS:
            raise EscribaError(tr("{met}: {why}", met=met, why=opened.why), hint="escriba doctor")
        raise EscribaError(met, expected=", ".join(("off", *opened.levels)))
    return name


@functools.cache
def _opened(named: str | None) -> _Opened:
    """Opens the library, once.

    Args:
        named: its file; None: the one that was built into this package.
    """
    found = Path(named) if named else _built()
    if found is None:
        return _Opened(None, (), tr("it was not built: there was no C++ compiler, or it failed, when Escriba was installed"))
    try:
        opened = ctypes.CDLL(str(found.absolute()))
        interface = int(opened.escriba_interface())
        if interface != INTERFACE:
            why = tr("it was built from other sources (its interface is {met}, not {wanted})", met=interface, wanted=INTERFACE)
            return _Opened(None, (), why)
        here = [name for number, name in enumerate(LEVELS) if opened.escriba_check_level(number)]
    except (OSError, AttributeError) as error:
        return _Opened(None, (), tr("it does not load: {error}", error=error))
    if "plain" not in here:
        return _Opened(None, (), tr("it does not compute what it should"))
    return _Opened(opened, tuple(here), None)


def _built() -> Path | None:
    """The library that was built into this package."""
    places = (Path(__file__).with_name(f"_kernels{suffix}") for suffix in importlib.machinery.EXTENSION_SUFFIXES)
    return next((one for one in places if one.is_file()), None)


def _quota() -> int | None:
    """How many processors' time a container on Linux is given, rounded up; None: as much as there is."""
    try:
        most, period = QUOTA.read_text(encoding="ascii").split()
        return None if most == "max" else max(1, -(-int(most) // int(period)))
    except (OSError, ValueError):
        return None
