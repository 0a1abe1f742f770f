#!/usr/bin/env python3
"""How the native code of Escriba is built: which file with which flags; setup.py asks, and so may a developer who builds it by hand.

    tools/native.py build      builds it anew, where native/ changed, for this checkout
    tools/native.py sanitize   builds it with the sanitizers of addresses and of undefined behaviour, and runs its tests under them
    tools/native.py flags      prints the flags, a line for each file

It knows nothing of what the code computes, and uses nothing but the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "native"
PACKAGE = ROOT / "src" / "escriba" / "_native"
BUILT = ROOT / "build" / "native"
STAMP = BUILT / "built.json"
SANITIZED = ROOT / "build" / "sanitized"

UNIX = ("-O3", "-fno-wrapv", "-fPIC", "-fvisibility=hidden", "-g0", "-Wall", "-Wextra")
UNIX_CPP = ("-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-pthread")
"""No rounding is left out: a level must not depend on what the compiler likes to join."""
MSVC = ("/O2", "/W3", "/GL-", "/MT")
"""Levels are not mixed when linking; and the C++ runtime, which not every Windows has, is within the library."""
MSVC_CPP = ("/std:c++17", "/EHsc", "/fp:precise")
SANITIZERS = "-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1"

TESTED = ("tests/native", "tests/engine/test_native*.py", "tests/model/test_kernels*.py", "tests/model/test_fused*.py")
"""The tests that run native code."""


class Level(NamedTuple):
    """A level of x86-64 processors: what stands for it in dispatch.cpp, and what compilers must be told to build it."""

    macro: str
    unix: tuple[str, ...]
    msvc: tuple[str, ...]


QUIET = ("-Wno-unknown-warning-option", "-Wno-uninitialized", "-Wno-maybe-uninitialized")
"""GCC 12 warns, without reason, of its own header of AVX-512; Clang does not know the words for it."""
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", *QUIET)
LEVELS = {
    "level_avx2.cpp": Level("HAVE_AVX2", AVX2, ("/arch:AVX2",)),
    "level_avx512.cpp": Level("HAVE_AVX512", AVX2 + AVX512, ("/arch:AVX512",)),
    "level_avx512_bf16.cpp": Level("HAVE_AVX512_BF16", AVX2 + AVX512 + ("-mavx512bf16",), ("/arch:AVX512",)),
    "level_amx.cpp": Level(
        "HAVE_AMX", AVX2 + AVX512 + ("-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16"), ("/arch:AVX512",)
    ),
}  # fmt: skip
DISPATCH = "dispatch.cpp"


def for_x86_64() -> bool:
    """Whether what is built is for x86-64: as the system, or who builds for another one, says."""
    return sysconfig.get_platform().lower().endswith(("x86_64", "amd64"))


def sources(*, x86_64: bool) -> list[Path]:
    """Every file to be compiled; on other processors than x86-64 the plain level is all, which compilers turn into NEON and the like."""
    found = sorted([*NATIVE.glob("*.c"), *NATIVE.glob("*.cpp")])
    return [path for path in found if x86_64 or path.name not in LEVELS]


def headers() -> list[Path]:
    """What the sources include."""
    return sorted([*NATIVE.glob("*.h"), *NATIVE.glob("*.inl")])


def flags(source: Path, *, msvc: bool = False, x86_64: bool = True) -> list[str]:
    """What a compiler must be told for one file."""
    found = list(MSVC if msvc else UNIX)
    if source.suffix == ".cpp":
        found += MSVC_CPP if msvc else UNIX_CPP
    if source.name in LEVELS:
        found += LEVELS[source.name].msvc if msvc else LEVELS[source.name].unix
    if source.name == DISPATCH and x86_64 and not msvc:
        found.append("-mxsave")  # it asks which registers the system saves
    return found


# For developers: built in place, and again when something changed.


def fingerprint(*, x86_64: bool) -> str:
    """What the built library depends on, as one word."""
    known = hashlib.sha256(sys.version.encode())
    for path in [*sources(x86_64=x86_64), *headers(), ROOT / "setup.py", Path(__file__).resolve()]:
        known.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return known.hexdigest()


def built_library() -> Path | None:
    """The library in the package's folder."""
    found = sorted(one for one in PACKAGE.glob("_kernels*") if one.suffix in {".so", ".pyd"})
    return found[0] if found else None


def build(python: str | Path | None = None, *, say: bool = True) -> int:
    """Builds the library into the source tree, unless it is there and native/ is as it was.

    Args:
        python: the Python to build for, which has setuptools; None: this one.
        say: whether to tell about it.

    Returns:
        0, also where there is no compiler: Escriba works without native code, and this says so.
    """
    key = fingerprint(x86_64=for_x86_64())
    if STAMP.is_file() and json.loads(STAMP.read_text(encoding="utf-8")) == {"key": key, "built": built_library() is not None}:
        return 0
    if say:
        print("native: building", file=sys.stderr, flush=True)
    places = ["--build-temp", str(BUILT / "objects"), "--build-lib", str(BUILT / "lib")]
    words = [str(python or sys.executable), "setup.py", "-q", "build_ext", "--inplace", *places]
    for old in [*PACKAGE.glob("_kernels*"), *BUILT.glob("lib/**/_kernels*")]:
        old.unlink()  # so that what cannot be built is not there, rather than old
    done = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False)
    library = built_library()
    if library is None:
        print(
            f"{done.stdout}{done.stderr}native: no library was built, as told above. Escriba works without it, more slowly; "
            "`escriba doctor` says what to install to have it.",
            file=sys.stderr,
        )
        return 0
    if done.stderr:  # warnings, and levels that were left out
        print(done.stderr, file=sys.stderr, end="")
    BUILT.mkdir(parents=True, exist_ok=True)
    STAMP.write_text(json.dumps({"key": key, "built": True}), encoding="utf-8")
    return 0


def sanitizer_library(name: str) -> Path | None:
    """Where the compiler keeps a library of its sanitizers, which a Python that was built without must load before all else."""
    compiler = os.environ.get("CXX", "c++").split()[0]
    if os.name == "nt" or sys.platform == "darwin" or shutil.which(compiler) is None:
        return None
    asked = [compiler, f"-print-file-name={name}"]
    found = Path(subprocess.run(asked, capture_output=True, encoding="utf-8", check=False).stdout.strip())
    return found.resolve() if found.is_absolute() and found.is_file() else None


def tests_of_native_code() -> list[str]:
    """The tests that are there."""
    return sorted(str(path.relative_to(ROOT)) for pattern in TESTED for path in ROOT.glob(pattern))


def sanitized(python: str | Path | None = None) -> dict[str, str] | None:
    """Builds the library with the sanitizers.

    Args:
        python: the Python to build for; None: this one.

    Returns:
        The variables of the environment in which Python runs with it; None where the compiler has no sanitizers.

    Raises:
        CalledProcessError: it cannot be built.
    """
    loaded = [path for name in ("libasan.so", "libubsan.so") if (path := sanitizer_library(name))]
    if len(loaded) < 2:
        print("native: the compiler has no sanitizers here: left out", file=sys.stderr)
        return None
    places = ["--build-temp", str(SANITIZED / "objects"), "--build-lib", str(SANITIZED / "lib")]
    environment = {**os.environ, "ESCRIBA_BUILD_NATIVE": "required", "ESCRIBA_BUILD_FLAGS": SANITIZERS}
    subprocess.run([str(python or sys.executable), "setup.py", "-q", "build_ext", *places], cwd=ROOT, env=environment, check=True)
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(map(str, loaded)),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # Python leaves much to the end of the process
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # so that what Python gives to the library is watched, too
        "ESCRIBA_NATIVE_LIBRARY": str(next((SANITIZED / "lib").rglob("_kernels*"))),
    }


def sanitize(arguments: Sequence[str], python: str | Path | None = None) -> int:
    """Builds the library with the sanitizers, and runs the tests of the native code under them.

    Args:
        arguments: for pytest: other tests than all of the native code's, or options.
        python: the Python to test with; None: this one.

    Returns:
        The tests' exit status; 0 where the compiler has no sanitizers.
    """
    try:
        environment = sanitized(python)
    except subprocess.CalledProcessError as error:
        return error.returncode
    if environment is None:
        return 0
    chosen = list(arguments) if any(not one.startswith("-") for one in arguments) else [*tests_of_native_code(), *arguments]
    words = [str(python or sys.executable), "-m", "pytest", "-q", "-m", "not long and not network", "-p", "no:cacheprovider", *chosen]
    return subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode


def main() -> int:
    """Reads the command line and does it."""
    parser = argparse.ArgumentParser(prog="native.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["build", "sanitize", "flags"], metavar="COMMAND")
    asked, rest = parser.parse_known_args()
    if asked.command == "flags":
        for source in sources(x86_64=for_x86_64()):
            print(source.name, *flags(source, x86_64=for_x86_64()))
        return 0
    if importlib.util.find_spec("setuptools") is None:
        print("error: setuptools is not installed\nhint: python tools/dev.py setup", file=sys.stderr)
        return 2
    return build() if asked.command == "build" else sanitize(rest)


if __name__ == "__main__":
    raise SystemExit(main())
