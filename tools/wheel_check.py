"""Installs the built wheel into a clean environment without extras, and uses it there as a person would.

It knows nothing of the source tree: what it runs is what the wheel brought. The Python that runs this file trains the model that is read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
HELP_LIMIT_S = 0.6
"""`escriba --help` answers in under 0.3 s on a quiet machine; the check leaves room for a busy one."""

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 60


class CheckError(Exception):
    """Something that the wheel should do, and did not."""


def demand(holds: bool, what: str) -> None:
    """Ends the check unless `holds`."""
    if not holds:
        raise CheckError(what)


class Installed:
    """A clean environment with the wheel in it, and nothing but what the wheel depends on."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.home, self.wheel = folder, wheel
        environment = folder / "env"
        venv.create(environment, with_pip=True, symlinks=os.name != "nt")
        programs = environment / ("Scripts" if os.name == "nt" else "bin")
        suffix = ".exe" if os.name == "nt" else ""
        self.python = programs / f"python{suffix}"
        self.escriba = programs / f"escriba{suffix}"
        self.run(str(self.python), "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), str(wheel))

    def run(self, *words: str, status: int = 0, stdin: str = "", native: str = "auto") -> subprocess.CompletedProcess[str]:
        """Runs a command away from the source tree, with the native code of a level, and demands its exit status."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE", "COV_"))}
        clean |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "ESCRIBA_LANG": "en", "ESCRIBA_NATIVE": native}
        clean.pop("ESCRIBA_NATIVE_LIBRARY", None)
        done = subprocess.run(words, cwd=self.home, env=clean, input=stdin, capture_output=True, encoding="utf-8", check=False)
        shown = f"{' '.join(words)}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        demand(done.returncode == status, f"status {done.returncode}, not {status}: {shown}")
        demand("Traceback" not in done.stderr, f"a traceback: {shown}")
        return done

    def __call__(self, *words: str, status: int = 0, stdin: str = "", native: str = "auto") -> subprocess.CompletedProcess[str]:
        """Runs `escriba`."""
        return self.run(str(self.escriba), *words, status=status, stdin=stdin, native=native)


def check_clean(escriba: Installed, _model: Path) -> None:
    """No torch, no matplotlib: so nothing below can lean on them."""
    code = "import importlib.util as u, sys; sys.exit(any(u.find_spec(name) for name in ('torch', 'matplotlib', 'pytest')))"
    escriba.run(str(escriba.python), "-c", code)


def check_version(escriba: Installed, _model: Path) -> None:
    """`escriba --version` and `python -m escriba --version` say the version of the wheel."""
    code = "from importlib.metadata import version; print(version('escriba'))"
    version = escriba.run(str(escriba.python), "-c", code).stdout.strip()
    demand(version in escriba("--version").stdout, f"--version does not name {version}")
    demand(version in escriba.run(str(escriba.python), "-m", "escriba", "--version").stdout, f"python -m escriba does not name {version}")


def check_lessons(escriba: Installed, _model: Path) -> None:
    """The wheel brings the lessons: `escriba lessons` puts notebooks, or scripts, into a folder."""
    escriba("lessons", "--lang", "es", "--to", "lecciones")
    made = sorted(path.name for path in (escriba.home / "lecciones").iterdir())
    demand(len(made) >= 5 and all(name.endswith((".ipynb", "glossary.md")) for name in made), f"the lessons are {made}")
    escriba("lessons", "--lang", "zh-Hant", "--to", "zh", "--scripts")
    demand([path.suffix for path in (escriba.home / "zh").iterdir()] == [".py"], "there is no script of the Chinese lesson")


def check_help(escriba: Installed, _model: Path) -> None:
    """`escriba --help` names the commands, and soon; no arguments show the same."""
    demand("generate" in escriba("--help").stdout, "--help does not name generate")
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        escriba("--help")
        seconds.append(time.perf_counter() - started)
    print(f"    escriba --help: {min(seconds):.2f} s, the best of {len(seconds)}")
    demand(min(seconds) < HELP_LIMIT_S, f"--help takes {min(seconds):.2f} s")


def check_spanish(escriba: Installed, _model: Path) -> None:
    """The wheel brings its catalogue: help and errors in Spanish."""
    demand("Entrena un modelo" in escriba("--lang", "es", "--help").stdout, "--lang es --help is not in Spanish")
    talk = escriba("--lang", "es", "show", "nowhere", status=1).stderr
    demand("sugerencia:" in talk, f"an error is not in Spanish: {talk}")


def check_typed(escriba: Installed, _model: Path) -> None:
    """The wheel carries py.typed, so that the types of Escriba are seen by those who use it."""
    code = "import importlib.resources as r, sys; sys.exit(not r.files('escriba').joinpath('py.typed').is_file())"
    escriba.run(str(escriba.python), "-c", code)


def check_doctor(escriba: Installed, model: Path) -> None:
    """`doctor` looks at the machine, and at a model, without an extra."""
    escriba("doctor")
    escriba("doctor", str(model))


def check_native(escriba: Installed, model: Path) -> None:
    """A wheel that was built with a compiler is one of this system and uses its native code; the other is of every system and says so."""
    (row,) = (one for one in json.loads(escriba("doctor", "--json").stdout)["checks"] if one["what"] == "native code")
    print(f"    {escriba.wheel.name}: {row['found']}")
    has_compiler = shutil.which("c++") is not None  # Windows keeps its own elsewhere
    demand(escriba.wheel.stem.endswith("py3-none-any") != ("used:" in row["found"]), f"{escriba.wheel.name}, but {row['found']}")
    demand("used:" in row["found"] or not has_compiler, "there is a compiler, and no native code")
    words = ("generate", str(model), "-p", "the ", "-l", "40", "--seed", "1", "--temperature", "0", "--json")
    for level in ("off", "plain") if "used:" in row["found"] else ("off",):
        demand(json.loads(escriba(*words, native=level).stdout)["texts"] != [], f"nothing was written with ESCRIBA_NATIVE={level}")


def check_generate(escriba: Installed, model: Path) -> None:
    """`generate` writes, and writes the same for the same seed."""
    words = ("generate", str(model), "-p", "the ", "-l", "40", "--seed", "1", "--json")
    texts = json.loads(escriba(*words).stdout)["texts"]
    demand(len(texts) == 1 and texts[0]["prompt"] == "the ", f"texts: {texts}")
    demand(json.loads(escriba(*words).stdout)["texts"] == texts, "the same seed wrote two texts")


def check_score(escriba: Installed, model: Path) -> None:
    """`score` reads standard input and finds the training text likelier than noise."""
    known, noise = (
        json.loads(escriba("score", str(model), "-", "--json", stdin=text).stdout)["bits_per_char"]
        for text in ("the quick brown fox", "xqj zzw kvv qqx jjw")
    )
    demand(0 < known < noise, f"bits per character: {known} of the text, {noise} of noise")


def check_show(escriba: Installed, model: Path) -> None:
    """`show` describes the model."""
    demand("parameters" in json.loads(escriba("show", str(model), "--json").stdout), "show --json has no parameters")


def check_train(escriba: Installed, _model: Path) -> None:
    """`train` without PyTorch names the extra, quoted, and how to install it."""
    (escriba.home / "text.txt").write_text(TEXT, encoding="utf-8")
    talk = escriba("train", "text.txt", "-o", "never", status=1).stderr
    demand('"escriba[train]"' in talk and "error:" in talk, f"train does not name the extra: {talk}")
    demand(not (escriba.home / "never").exists(), "train left a folder behind")


CHECKS: tuple[Callable[[Installed, Path], None], ...] = (
    check_clean,
    check_version,
    check_help,
    check_spanish,
    check_lessons,
    check_typed,
    check_doctor,
    check_native,
    check_generate,
    check_score,
    check_show,
    check_train,
)


def tiny_model(folder: Path) -> Path:
    """A model of a few steps, trained by the Python that runs this file."""
    text, model = folder / "fox.txt", folder / "fox"
    text.write_text(TEXT, encoding="utf-8")
    words = ["train", str(text), "-o", str(model), "--hidden-size", "32", "--steps", "40", "--seed", "1"]
    subprocess.run([sys.executable, "-m", "escriba", *words, "--set", "model.embedding_dim=16"], check=True, stdin=subprocess.DEVNULL)
    return model


def main(arguments: list[str]) -> int:
    """Checks the one wheel in the folder that is named."""
    wheels = [path for path in Path(arguments[0]).glob("*.whl") if re.match(r"escriba-[\d.]+", path.name)]
    if len(wheels) != 1:
        print(f"error: {len(wheels)} wheels in {arguments[0]}, expected one")
        return 2
    with tempfile.TemporaryDirectory(prefix="escriba-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        print("    training a tiny model", flush=True)
        model = tiny_model(folder)
        print(f"    installing {wheels[0].name} into a clean environment", flush=True)
        escriba = Installed(folder, wheels[0].resolve())
        failed = 0
        for check in CHECKS:
            try:
                check(escriba, model)
            except (CheckError, ValueError, KeyError) as error:
                failed += 1
                print(f"FAILED {check.__name__}: {check.__doc__}\n{error}", flush=True)
            else:
                print(f"ok     {check.__doc__}", flush=True)
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks of the wheel passed")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
