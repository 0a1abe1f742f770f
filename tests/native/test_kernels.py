"""The C++ tests of native/tests/: every level that the processor has, as the package is built and under the sanitizers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
COMPILER = os.environ.get("CXX", "c++").split()[0]
X86_64 = platform.machine().lower() in {"x86_64", "amd64"}
SANITIZERS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
FORMULAS = {"0": "level_plain.cpp", "2": "level_avx2.cpp", "512": "level_avx512.cpp"}
"""What test_formulas.cpp calls a level, and the file with whose flags it is built."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt" or shutil.which(COMPILER) is None, reason="needs a compiler with the words of GCC"),
    pytest.mark.skipif(not NATIVE.is_dir(), reason="needs the source tree"),
]


def flags_of_build() -> dict[str, list[str]]:
    """What every file of native/ is built with."""
    words = [sys.executable, str(ROOT / "tools" / "native.py"), "flags"]
    told = subprocess.run(words, capture_output=True, encoding="utf-8", check=True).stdout
    return {name: flags for name, *flags in (line.split() for line in told.splitlines())}


def compiled(flags: list[str], *words: str) -> None:
    """Compiles in native/; what the compiler says of an error is shown."""
    done = subprocess.run([COMPILER, *flags, *words], cwd=NATIVE, capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def has_sanitizers(folder: Path) -> bool:
    """Whether the compiler can link a program with them."""
    source = folder / "empty.cpp"
    source.write_text("int main() {}\n", encoding="utf-8")
    words = [COMPILER, *SANITIZERS, str(source), "-o", str(folder / "empty")]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0 and passes(folder / "empty") is None


def passes(program: Path) -> str | None:
    """Runs a program of tests; what it wrote, where it failed."""
    done = subprocess.run([str(program)], capture_output=True, encoding="utf-8", errors="replace", check=False)
    return None if done.returncode == 0 else f"{program.name}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


def built(folder: Path, *, sanitized: bool) -> list[Path]:
    """The programs of tests, with every level; that of AMX with its instructions emulated."""
    known = flags_of_build()
    changed = ["-DESCRIBA_PRODUCTS_ONLY", *(SANITIZERS if sanitized else ())]
    levels = [name for name in known if name.startswith("level_")]
    macros = [f"-DHAVE_{name[len('level_') : -len('.cpp')].upper()}" for name in levels if name not in {"level_plain.cpp", "level_amx.cpp"}]
    emulated = ["-DESCRIBA_EMULATED_AMX"] if X86_64 else []
    objects = [folder / f"{name}.o" for name in [*levels, "dispatch.cpp"]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(compiled, [*known[path.stem], *changed, *macros, *emulated], "-c", path.stem, "-o", str(path)) for path in objects
        ]
        for name, source in FORMULAS.items():
            if source in known:
                words = (f"-DESCRIBA_LEVEL={name}", "tests/test_formulas.cpp", "-o", str(folder / f"formulas_{name}"))
                jobs.append(pool.submit(compiled, [*known[source], *changed], *words))
        for job in jobs:
            job.result()
    programs = [folder / name for name in ("products", "conversions")]
    for program in programs:
        words = (f"tests/test_{program.name}.cpp", *map(str, objects), "-o", str(program))
        compiled([*known["level_plain.cpp"], *changed, *emulated], *words)
    return [*programs, *sorted(folder.glob("formulas_*[0-9]"))]


def levels_of_formulas(program: Path) -> bool:
    """Whether this processor can run a program of one level's formulas."""
    from escriba import _native

    needed = {"formulas_2": "avx2", "formulas_512": "avx512"}.get(program.name)
    return needed is None or needed in _native.levels()


@pytest.mark.parametrize("sanitized", [False, pytest.param(True, marks=pytest.mark.long)], ids=["as built", "sanitized"])
def test_every_level_computes_what_plain_arithmetic_does(tmp_path: Path, sanitized: bool) -> None:
    """Products against sums in double and in whole numbers, the same bits however the rows are shared out, conversions, packing, exp."""
    if sanitized and not has_sanitizers(tmp_path):
        pytest.skip("the compiler has no sanitizers here")
    programs = built(tmp_path, sanitized=sanitized)
    assert [failed for program in programs if levels_of_formulas(program) and (failed := passes(program))] == []
