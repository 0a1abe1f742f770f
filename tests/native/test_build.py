"""How the native code is built, found and chosen: also where there is no compiler, a broken library, or a level that computes wrongly."""

from __future__ import annotations

import _ctypes
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from escriba import _native
from escriba.cli.doctor import check_installation, compiler_hint
from escriba.errors import EscribaError

ROOT = Path(__file__).resolve().parents[2]
built = pytest.mark.skipif(_native.library() is None, reason="the native code was not built")
in_checkout = pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="needs the source tree")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is asked for by variables, and what a test opens is forgotten."""
    for name in ("ESCRIBA_NATIVE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    yield
    monkeypatch.undo()
    _native._opened.cache_clear()


def native_row() -> dict[str, Any]:
    """What `escriba doctor` says of the native code."""
    (row,) = (one for one in check_installation() if one["what"] == "native code")
    return row


# --- which level ---


@built
def test_the_fastest_level_is_used() -> None:
    """Levels come in their order, from the one that every processor has."""
    here = _native.levels()
    assert here[0] == "plain"
    assert here == [name for name in _native.LEVELS if name in here]
    assert _native.level() == here[-1]
    assert _native.level_number() == _native.LEVELS.index(here[-1])
    assert _native.why_missing() is None


@built
@pytest.mark.parametrize("name", _native.levels())
def test_a_level_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ESCRIBA_NATIVE names the level."""
    monkeypatch.setenv("ESCRIBA_NATIVE", name.upper())
    assert _native.level() == name
    assert _native.library() is not None
    assert f"used: {name}," in native_row()["found"]


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """ESCRIBA_NATIVE=off: no library, no error, and the doctor sees nothing to mend."""
    monkeypatch.setenv("ESCRIBA_NATIVE", "off")
    assert _native.library() is None
    assert "switched off" in str(_native.why_missing())
    row = native_row()
    assert row["ok"]
    assert "hint" not in row
    with pytest.raises(EscribaError, match="switched off"):
        _native.level()


@pytest.mark.parametrize("name", ["amx2", "fast", "0"])
def test_a_level_that_does_not_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told with what there is, wherever it is met first."""
    monkeypatch.setenv("ESCRIBA_NATIVE", name)
    for ask in (_native.library, _native.level, _native.why_missing):
        with pytest.raises(EscribaError, match=f"no native code of the level '{name}' here") as caught:
            ask()
        assert str(caught.value.expected).startswith("off")
    assert not native_row()["ok"]


class Library:
    """In the place of a library: the levels that it says agree with the plain one."""

    def __init__(self, *agree: int, interface: int = _native.INTERFACE) -> None:
        self.escriba_interface: Callable[[], int] = lambda: interface
        self.escriba_check_level: Callable[[int], int] = lambda number: int(number in agree)


def opened(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    """The library is opened in place of the real one."""
    monkeypatch.setattr(_native, "_built", lambda: Path("somewhere"))
    monkeypatch.setattr(ctypes, "CDLL", lambda _path: library)
    monkeypatch.delenv("ESCRIBA_NATIVE_LIBRARY", raising=False)
    _native._opened.cache_clear()


def test_a_level_that_computes_wrongly_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next lower one is used; if the plain one itself is wrong, none."""
    opened(monkeypatch, Library(0, 1, 3))
    assert _native.levels() == ["plain", "avx2", "avx512_bf16"]
    assert _native.level() == "avx512_bf16"
    monkeypatch.setenv("ESCRIBA_NATIVE", "avx512")
    with pytest.raises(EscribaError, match="level 'avx512'"):
        _native.library()
    monkeypatch.delenv("ESCRIBA_NATIVE")
    opened(monkeypatch, Library(1, 2))
    assert _native.library() is None
    assert "does not compute" in str(_native.why_missing())


def test_a_library_of_other_sources_is_left_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that was built before an update is not called with arguments that it does not know."""
    opened(monkeypatch, Library(0, interface=_native.INTERFACE + 1))
    assert _native.library() is None
    assert "other sources" in str(_native.why_missing())


@built
def test_every_level_is_held_to_the_plain_one() -> None:
    """What processor and system do not have is never called, not even to try; numbers that are no level are none."""
    library = _native.library()
    assert library is not None
    for number in (-1, len(_native.LEVELS), 99):
        assert library.escriba_check_level(number) == library.escriba_has_level(number) == library.escriba_built(number) == 0
    for number, name in enumerate(_native.LEVELS):
        assert library.escriba_check_level(number) == library.escriba_has_level(number) == (name in _native.levels())


# --- no library ---


@pytest.mark.parametrize("broken", ["absent", "text", "other"])
def test_a_library_that_does_not_load(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, a file that is none, and a library of something else: nothing fails but what asks for a level by its name."""
    path = tmp_path / "kernels.so"
    if broken == "text":
        path.write_text("no library")
    monkeypatch.setenv("ESCRIBA_NATIVE_LIBRARY", str(_ctypes.__file__ if broken == "other" else path))
    assert _native.library() is None
    assert _native.levels() == []
    assert str(_native.why_missing()).startswith("it does not load")
    row = native_row()
    assert row["ok"]
    assert "pip install" in row["hint"]
    monkeypatch.setenv("ESCRIBA_NATIVE", "plain")
    with pytest.raises(EscribaError, match="it does not load"):
        _native.library()


def test_a_library_that_was_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said why, and what to do."""
    monkeypatch.delenv("ESCRIBA_NATIVE_LIBRARY", raising=False)
    monkeypatch.setattr(_native, "_built", lambda: None)
    _native._opened.cache_clear()
    assert "no C++ compiler" in str(_native.why_missing())
    assert "pip install" in native_row()["hint"]


@pytest.mark.parametrize(
    ("system", "installer", "said"),
    [
        ("Windows", None, "winget install"),
        ("Darwin", None, "xcode-select --install"),
        ("Linux", "apt-get", "sudo apt install g++"),
        ("Linux", "apk", "apk add g++"),
        ("Linux", None, "install a C++ compiler"),
    ],
)
def test_what_to_install(system: str, installer: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each system the line that installs a compiler, then the one that builds."""
    monkeypatch.setattr(shutil, "which", lambda name: "/it" if name == installer else None)
    lines = compiler_hint(system).splitlines()
    assert lines[0].startswith(said)
    assert lines[1].strip() == "python -m pip install --no-deps --force-reinstall ."


# --- how many threads ---


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("3,2", 3), ("64", 8), ("0", 1), ("", 8), ("many", 8)])
def test_threads_of_use(asked: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than processors, and than OMP_NUM_THREADS, which PyTorch heeds too."""
    monkeypatch.setattr(_native, "QUOTA", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert _native.usable_threads() == threads


@pytest.mark.parametrize(("quota", "threads"), [("max 100000", 8), ("150000 100000", 2), ("10000 100000", 1), ("nonsense", 8)])
def test_threads_in_a_container(quota: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that is given the time of two processors uses two threads."""
    monkeypatch.setattr(_native, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert _native.usable_threads() == threads


# --- the sources ---


@in_checkout
def test_the_sources_keep_to_the_standard() -> None:
    """Standard C++: nothing that only one compiler knows; files that can be read."""
    files = [path for kind in ("*.h", "*.inl", "*.cpp", "*.c") for path in (ROOT / "native").rglob(kind)]
    assert files
    odd = re.compile(r"__attribute__|__declspec\((?!dllexport)|#pragma (?!once)|\basm\b|__builtin_|vector_size|-ffast-math")
    faults = []
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > 400:
            faults.append(f"{path.name}: {len(lines)} lines")
        faults += [f"{path.name}:{number}: {line}" for number, line in enumerate(lines, 1) if odd.search(line) or len(line) > 140]
    assert faults == []


@in_checkout
def test_interface_and_levels_are_those_of_the_sources() -> None:
    """The numbers that Python and C++ must agree on."""
    text = (ROOT / "native" / "export.h").read_text(encoding="utf-8")
    assert f"#define ESCRIBA_INTERFACE {_native.INTERFACE}\n" in text
    (declared,) = re.findall(r"enum class Level : int \{(.*)\}", (ROOT / "native" / "kernels.h").read_text(encoding="utf-8"))
    assert declared.strip() == ", ".join(f"{name.upper()} = {number}" for number, name in enumerate(_native.LEVELS))


@in_checkout
def test_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a level's own file may be told of its instructions; on Arm no level but the plain one is built."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    native: Any = __import__("native")
    for path in native.sources(x86_64=True):
        flags = native.flags(path)
        assert path.name in native.LEVELS or not [one for one in flags if one.startswith(("-mavx", "-mfma", "-march", "-mamx"))]
    on_arm = native.sources(x86_64=False)
    assert not {path.name for path in on_arm} & set(native.LEVELS)
    assert not [one for path in on_arm for one in native.flags(path, x86_64=False) if one.startswith("-m")]
    assert all(one.startswith("/") for path in on_arm for one in native.flags(path, msvc=True))


# --- an installation without a compiler ---


@pytest.mark.slow
@in_checkout
@pytest.mark.skipif(os.name == "nt", reason="there the compiler is not found by a variable")
def test_an_installation_without_a_compiler(tmp_path: Path, story: str) -> None:
    """`pip install .` succeeds, `doctor` says what to do, and the reference engine writes."""
    pytest.importorskip("setuptools", reason="builds the package")
    pytest.importorskip("babel", reason="builds the package")
    tree = tmp_path / "tree"
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        tree.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    for name in ("native", "tools", "src", "docs/lessons"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "*.egg-info"))
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    library = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    (library / "others.pth").write_text(sysconfig.get_path("purelib"))  # what Escriba needs; its own editable link does not work from there

    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "ESCRIBA_NATIVE"))}
    clean |= {"CC": str(tmp_path / "no-cc"), "CXX": str(tmp_path / "no-cxx"), "ESCRIBA_LANG": "en"}

    def run(*words: str | Path) -> SimpleNamespace:
        done = subprocess.run(list(map(str, words)), cwd=tmp_path, env=clean, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return SimpleNamespace(out=done.stdout, err=done.stderr)

    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--no-index", "--no-build-isolation", "--no-deps", tree)
    assert list(library.glob("escriba-*.dist-info"))
    assert not [*(library / "escriba" / "_native").glob("_kernels*")]

    escriba = (python, "-m", "escriba")
    (row,) = (one for one in json.loads(run(*escriba, "doctor", "--json").out)["checks"] if one["what"] == "native code")
    assert row["ok"]
    assert row["found"] == (
        "not used, it was not built: there was no C++ compiler, or it failed, when Escriba was installed; "
        "everything works without it, more slowly"
    )
    assert "python -m pip install --no-deps --force-reinstall ." in row["hint"]
    (tmp_path / "story.txt").write_text(story, encoding="utf-8")
    run(*escriba, "train", "story.txt", "-o", "story", "--hidden-size", "16", "--steps", "3", "--seed", "1")
    written = json.loads(run(*escriba, "generate", "story", "-l", "30", "--seed", "1", "--json").out)["texts"]
    assert len(written) == 1
