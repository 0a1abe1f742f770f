#!/usr/bin/env python3
"""The developer's one tool: makes the virtual environment, then checks, tests, shows or measures the project.

It knows nothing of what Escriba does, and uses nothing but the standard library, so that it works on a bare clone, on every system.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import native

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "installed.json"
CONSTRAINTS = ROOT / "constraints.txt"
WHEELS = ROOT / "build" / "wheel"
WINDOWS = os.name == "nt"
OLDEST = (3, 11)
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

EPILOG = """\
commands:
  quick   format, lint, types and the fast tests: the inner loop, under 90 seconds; [ARGS] go to pytest
  test    format, lint, types, the tests with branch coverage, the wheel in a clean environment; [ARGS] go to pytest
  test-all  everything that `test` does, and the checks that take minutes (the tests marked `long`); [ARGS] go to pytest
  lint    format, lint and types
  fix     formats the code and mends what ruff can mend
  demo    trains a small model for two minutes and writes with it; [ARGS] go to `escriba demo`
  bench   [NAME...] [ARGS]: runs benchmarks/bench_NAME.py, or all of them
  sanitize  the tests of the native code under the sanitizers of addresses and undefined behaviour; [ARGS] go to pytest
  setup   makes the virtual environment, builds the native code and does no more

On Linux without an NVIDIA card PyTorch's CPU build is taken (about 192 MB, not 3 GB), if its index can be reached and pip has not been told
of an index of your own. --torch-index URL before the command, or the variable ESCRIBA_TORCH_INDEX, names another; `default` is pip's own.
"""


def say(text: str) -> None:
    """Says on stderr what is being done."""
    print(f"dev: {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], **environment: str) -> int:
    """Runs a command in the root of the repository and gives its exit status.

    Ctrl-C reaches the command itself, which may save its work: it is waited for, and ended only by a second Ctrl-C.
    """
    words = [str(word) for word in command]
    say(" ".join(f'"{word}"' if " " in word else word for word in (word.replace(f"{ROOT}{os.sep}", "") for word in words)))
    interrupts = 0
    with subprocess.Popen(words, cwd=ROOT, env={**os.environ, **environment}) as process:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts > 1:
                    process.terminate()
    if interrupts or process.returncode == -signal.SIGINT:
        return 130
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


# The virtual environment.


def suitable_python() -> str:
    """This Python, or when it is too old a newer one that is on the PATH."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for minor in (13, 12, 11, 14, 15):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    met = platform.python_version()
    raise SystemExit(
        f"error: this is Python {met}\nexpected: Python {OLDEST[0]}.{OLDEST[1]} or newer\nhint: https://www.python.org/downloads/"
    )


def program(name: str) -> Path:
    """Where a program of the virtual environment lies."""
    return VENV / ("Scripts" if WINDOWS else "bin") / (f"{name}.exe" if WINDOWS else name)


def pip(*words: str | Path, **environment: str) -> int:
    """Runs the virtual environment's pip."""
    return run([program("python"), "-m", "pip", *words], PIP_DISABLE_PIP_VERSION_CHECK="1", **environment)


def prepare(*extras: str, torch_index: str | None = None) -> None:
    """Makes .venv and installs Escriba into it, editable, unless that is done already.

    Args:
        *extras: the extras that are needed.
        torch_index: where to take PyTorch from; "default": where pip takes everything; None: as `cpu_build_index` says.
    """
    key = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))).hexdigest()
    installed = json.loads(STAMP.read_text(encoding="utf-8")) if STAMP.exists() else {}
    if installed.get("key") == key and installed.get("root") == str(ROOT):
        if set(extras) <= set(installed["extras"]):
            return
        extras = tuple(sorted({*extras, *installed["extras"]}))
    started = time.monotonic()
    if not program("python").exists():
        say(f"making the virtual environment {VENV.name}")
        checked(run([suitable_python(), "-m", "venv", "--clear", VENV]), "on Debian and Ubuntu: sudo apt install python3-venv")
    say("installing what the project needs: once, a few minutes the first time")
    install_torch(torch_index)
    # the native code is built by what is then installed, so that what did not change is not built again
    words = ("install", "-c", CONSTRAINTS, "setuptools", "-e", f".[{','.join(extras)}]")
    checked(pip(*words, ESCRIBA_BUILD_NATIVE="off"), "is the network reachable?")
    STAMP.write_text(json.dumps({"key": key, "root": str(ROOT), "extras": sorted(extras)}), encoding="utf-8")
    say(f"installed in {time.monotonic() - started:.0f} s")


def checked(status: int, hint: str) -> None:
    """Ends the tool with a status that is not 0."""
    if status:
        say(f"that failed with status {status}" + ("" if status == 130 else f"; hint: {hint}"))
        raise SystemExit(130 if status == 130 else 1)


def install_torch(index: str | None) -> None:
    """Installs PyTorch alone from an index of its own, where there is reason to; what remains of it, pip's own index brings."""
    index = index or os.environ.get("ESCRIBA_TORCH_INDEX")
    asked = index is not None
    index = cpu_build_index() if index is None else index
    if index is None or index == "default":
        return
    pinned = re.search(r"^torch==\S+$", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    if pinned is None:
        raise SystemExit("error: constraints.txt does not pin torch")
    patience = [] if asked else ["--retries", "0", "--timeout", "5"]
    status = pip("install", "--no-deps", *patience, "--index-url", index, pinned[0])
    if asked or status == 130:
        checked(status, f"does {index} have {pinned[0]}?")
    elif status:
        say("PyTorch's own index cannot be reached: taking the build that pip's index has")


def cpu_build_index() -> str | None:
    """PyTorch's index of CPU builds, on a Linux that has no use for the others; None to leave the choice to pip."""
    if sys.platform != "linux" or os.environ.get("CI"):
        return None
    if shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists():
        return None
    settings = subprocess.run([str(program("python")), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    if re.search(r"\.(index-url|extra-index-url|find-links|no-index)=", settings):
        return None
    say("no NVIDIA card: asking for PyTorch's CPU build")
    return TORCH_CPU_INDEX


# The checks.

Step = tuple[str, Callable[[], int]]


def python(*words: str | Path) -> int:
    """Runs the virtual environment's Python."""
    return run([program("python"), *words])


def lint_steps() -> list[Step]:
    """Format, lint, types."""
    return [
        ("format", lambda: python("-m", "ruff", "format", "--check", ".")),
        ("lint", lambda: python("-m", "ruff", "check", ".")),
        ("types", lambda: python("-m", "mypy")),
    ]


def quick_steps(arguments: Sequence[str]) -> list[Step]:
    """The inner loop."""
    return [*lint_steps(), ("tests", lambda: python("-m", "pytest", "-q", "-m", "not slow and not long and not network", *arguments))]


def test_steps(arguments: Sequence[str], *, long: bool) -> list[Step]:
    """Everything that a change must pass; with `long`, the tests that take minutes too."""
    chosen = "not network" if long else "not network and not long"
    return [
        *lint_steps(),
        *([("peers", install_peers)] if long else []),
        *([("sanitizers", lambda: native.sanitize([], program("python")))] if long else []),
        ("tests", lambda: python("-m", "coverage", "run", "-m", "pytest", "-m", chosen, "--durations=10", *arguments)),
        ("coverage", lambda: python("-m", "coverage", "report")),
        ("wheel", build_wheel),
        ("install", lambda: python("tools/wheel_check.py", WHEELS)),
    ]


def install_peers() -> int:
    """Other people's programs that must be compiled, to which some tests hold Escriba; without a compiler those tests are skipped."""
    if is_installed("kenlm"):
        return 0
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        say("no cmake or no C++ compiler: the tests against kenlm will be skipped")
        return 0
    # Not in isolation: it would compile a cmake of its own for a quarter of an hour.
    if pip("install", "-q", "-c", CONSTRAINTS, "--no-build-isolation", "--no-deps", "kenlm"):
        say("kenlm could not be compiled here: the tests against it will be skipped")
    return 0


def is_installed(name: str) -> bool:
    """Whether the virtual environment has a package."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return subprocess.run([str(program("python")), "-c", code], check=False).returncode == 0


def build_wheel() -> int:
    """Builds the source archive, and the wheel from it, so that both are complete."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    return python("-m", "build", "--quiet", "--outdir", WHEELS)


def perform(steps: Sequence[Step]) -> int:
    """Does every step, even after one that failed, and closes with a line for each."""
    lines: list[str] = []
    failed = False
    began = time.monotonic()
    for name, step in steps:
        say(f"--- {name}")
        started = time.monotonic()
        status = step()
        if status == 130:
            say("interrupted")
            return 130
        failed = failed or status != 0
        lines.append(f"{'ok    ' if status == 0 else 'FAILED'} {name:<10} {time.monotonic() - started:6.1f} s")
    for line in lines:
        say(line)
    say(f"{'FAILED' if failed else 'ok'}: {len(steps)} steps in {time.monotonic() - began:.0f} s")
    return int(failed)


def bench(arguments: Sequence[str]) -> int:
    """Runs the benchmarks named first among the arguments, or all; the other arguments are for them."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted((ROOT / "benchmarks").glob("bench_*.py"))}
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        say(f"no benchmark {unknown[0]!r}; there are: {', '.join(known)}" if unknown else "there are no benchmarks yet")
        return 2 if unknown else 0
    return perform([(name, functools.partial(python, known[name], *arguments[len(names) :])) for name in names or known])


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks for; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/dev.py", description="Works on Escriba.", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = ("quick", "test", "test-all", "lint", "fix", "demo", "bench", "sanitize", "setup")
    parser.add_argument("--torch-index", metavar="URL", help="where to take PyTorch from")
    parser.add_argument("command", choices=commands, metavar="COMMAND", help="|".join(commands))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="for what the command runs")
    asked = parser.parse_args(arguments)
    rest = list(asked.arguments)
    prepare(*(["all"] if asked.command == "demo" else ["all", "dev"]), torch_index=asked.torch_index)
    if asked.command not in {"lint", "fix"}:
        native.build(program("python"))
    if asked.command == "setup":
        return 0
    if asked.command == "sanitize":
        return native.sanitize(rest, program("python"))
    if asked.command == "demo":
        return python("-m", "escriba", "demo", *rest)
    if asked.command == "bench":
        return bench(rest)
    if asked.command == "fix":
        return perform(
            [("mend", lambda: python("-m", "ruff", "check", "--fix", ".")), ("format", lambda: python("-m", "ruff", "format", "."))]
        )
    if asked.command == "lint":
        return perform(lint_steps())
    return perform(quick_steps(rest) if asked.command == "quick" else test_steps(rest, long=asked.command == "test-all"))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
