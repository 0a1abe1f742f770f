"""How many instructions do the native kernels take? Counted by valgrind, so that a busy machine does not matter.

A product's count is shared out among its multiply-adds, that of an elementwise kernel among its numbers. Each is counted doing its work
once and five times, and a fourth of the difference is what once takes: starting up does not count. The levels that valgrind can run are
counted: plain and AVX2 (it has no AVX-512). The counts are the same in every run with the same compiler.

    python benchmarks/count_instructions.py

Where valgrind, or a compiler with the words of GCC, is missing, it says so and records nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from record import ROOT, save

NATIVE = ROOT / "native"
LEVELS = {"plain": 0, "avx2": 1}
PRODUCTS = ("product_f32", "product_bf16", "product_int8")
SHAPES = ((1, 1024, 3072), (1, 256, 512), (16, 256, 512), (64, 256, 512))
"""Rows, K and N."""
ELEMENTWISE = ("gru_cell", "mingru_cell", "sum_exp", "quantize")
"""sum_exp: exp of each number, and their sum, as the draw of a symbol takes it."""
NUMBERS = 1024
TIMES = (1, 5)
MISSING_LEVEL = 2


def compiler() -> list[str]:
    """The C++ compiler's command."""
    return os.environ.get("CXX", "c++").split()


def build(folder: Path) -> Path:
    """Compiles the levels and the program that does the work, with the flags of the package.

    Raises:
        CalledProcessError: it cannot be compiled.
    """
    told = subprocess.run([sys.executable, str(ROOT / "tools" / "native.py"), "flags"], capture_output=True, encoding="utf-8", check=True)
    flags = {name: words for name, *words in (line.split() for line in told.stdout.splitlines())}
    files = ["level_plain.cpp", *(["level_avx2.cpp"] if "level_avx2.cpp" in flags else [])]
    macros = ["-DHAVE_AVX2"] if len(files) > 1 else []
    jobs = [[*compiler(), *flags[name], *macros, "-c", name, "-o", str(folder / f"{name}.o")] for name in [*files, "dispatch.cpp"]]
    jobs.append([*compiler(), *flags["level_plain.cpp"], "-c", "tests/count.cpp", "-o", str(folder / "count.o")])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda words: subprocess.run(words, cwd=NATIVE, check=True), jobs))
    program = folder / "count"
    subprocess.run([*compiler(), "-pthread", *map(str, sorted(folder.glob("*.o"))), "-o", str(program)], check=True)
    return program


def instructions(program: Path, level: str, kernel: str, sizes: tuple[int, ...]) -> float | None:
    """How many a kernel takes to do its work once; None where valgrind has no such level.

    Raises:
        RuntimeError: valgrind or the program failed.
    """
    counts = []
    for times in TIMES:
        words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), str(LEVELS[level]), kernel, str(times)]
        done = subprocess.run([*words, *map(str, sizes)], capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode == MISSING_LEVEL:
            return None
        found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
        if done.returncode or found is None:
            raise RuntimeError(f"{kernel} on {level}: {done.returncode}\n{done.stderr[-2000:]}")
        counts.append(int(found[1]))
    return (counts[1] - counts[0]) / (TIMES[1] - TIMES[0])


def rows(program: Path) -> Iterator[dict[str, Any]]:
    """The counts, one kernel and shape after the other."""
    for level in LEVELS:
        for kernel, sizes in [(name, shape) for name in PRODUCTS for shape in SHAPES] + [(name, (NUMBERS,)) for name in ELEMENTWISE]:
            taken = instructions(program, level, kernel, sizes)
            if taken is None:
                print(f"{level}: not here", file=sys.stderr)
                break
            units = 1
            for size in sizes:
                units *= size
            per = "multiply-add" if kernel in PRODUCTS else "number"
            yield {
                "level": level, "kernel": kernel, "shape": " x ".join(map(str, sizes)), "instructions": round(taken),
                "each": round(taken / units, 4), "per": per,
            }  # fmt: skip


def main() -> int:
    """Builds, counts and keeps the record."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for program, hint in (("valgrind", "apt-get install valgrind"), (compiler()[0], "apt-get install g++")):
        if os.name == "nt" or shutil.which(program) is None:
            print(f"{program} is not here: nothing is counted ({hint})", file=sys.stderr)
            return 0
    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(build(Path(folder))))
    save("count_instructions", "python benchmarks/count_instructions.py", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
