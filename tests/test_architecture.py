"""The architecture as data, and every module of src/escriba held to it.

Who may import whom and what, how long a module may be, what it may not be called. It knows nothing of what a module does.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "escriba"

LAYERS = (
    "cli",
    "server, studio",
    "api",
    "teaching, beginning, counted, closing, baselines, request",
    "using, writing, measuring, dynamic, recalling, pictures, packing, running, saving",
    "results, history",
    "training | inference | outputs | interop",
    "engine",
    "model | checkpoint",
    "weights | _native",
    "text",
    "presets",
    "settings, fields | tensorfile, archive, quantized",
    "errors, lessons, language, cached",
)
"""From the top down: a module imports from lines below its own. Names parted by | are strangers, by a comma not."""

FREE = ("", "__main__")
"""escriba/__init__.py and escriba/__main__.py: the doors, which may import anything, and which only the faces may import."""

FACES = ("cli", "server", "studio")

NEVER = {
    ("model", "text"): "between text and model pass integer arrays and vocab_size",
    ("engine", "model"): "an engine runs a model folder without PyTorch",
    ("inference", "model"): "inference takes an engine and does not know where it came from",
    ("inference", "checkpoint"): "inference takes an engine and does not know where it came from",
}
"""Imports that point down and are wrong all the same, with the reason."""

EXCEPT = {("engine.torch", "model")}
"""The one engine that runs a live model."""

OUTSIDE = {
    "charset_normalizer": ("text",),
    "click": ("cli",),
    "filelock": ("training",),
    "IPython": ("outputs",),
    "matplotlib": ("outputs",),
    "numpy": ("*",),
    "PIL": ("outputs",),
    "rich": ("cli", "outputs"),
    "safetensors": ("tensorfile", "interop"),
    "torch": ("model", "training", "engine.torch", "interop", "teaching", "api", "cli.doctor"),
}
"""Which packages of other people may be imported, and from where; a package that is not named here, from nowhere."""

LONGEST = 400
FORBIDDEN_NAMES = ("utils", "util", "common", "helpers", "helper", "manager", "managers", "misc")


class Import(NamedTuple):
    """One import: the line, the dotted module that is imported, and the names taken from it."""

    line: int
    module: str
    names: tuple[str, ...]


def imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[Import]:
    """Every import of a module, wherever it stands: in functions, under TYPE_CHECKING, through importlib with a constant name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, ())
        elif isinstance(node, ast.ImportFrom):
            parents = f"escriba.{module}".rstrip(".").split(".")
            if node.level:
                parents = parents[: len(parents) - node.level + is_package]
            base = ".".join([*(parents if node.level else []), *([node.module] if node.module else [])])
            yield Import(node.lineno, base, tuple(alias.name for alias in node.names))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
            if called in {"import_module", "__import__"}:
                yield Import(node.lineno, node.args[0].value, ())


def place(name: str) -> tuple[int, int]:
    """The line of LAYERS on which a name stands, and which of its groups of strangers it belongs to."""
    for row, line in enumerate(LAYERS):
        for group, names in enumerate(line.split("|")):
            if name in [one.strip() for one in names.split(",")]:
                return row, group
    raise LookupError(f"{name!r} is in no layer: LAYERS must name it")


def within(module: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of the places, or lies in one."""
    return any(one in ("*", module) or module.startswith(f"{one}.") for one in places)


def wrong(module: str, target: str) -> str | None:
    """Why the module may not import the target (both dotted, below escriba), or None."""
    here, there = module.split(".")[0], target.split(".")[0]
    if module in FREE or (here == there and target):
        return None
    if target in FREE:
        return None if here in FACES else "only the faces import the package itself"
    (row, group), (row_there, group_there) = place(here), place(there)
    if row_there < row:
        return f"{there} is above {here}"
    if row_there == row and group_there != group:
        return f"{here} and {there} are strangers"
    if (module, there) not in EXCEPT:
        return NEVER.get((here, there))
    return None


def targets(package: Path, one: Import) -> set[str]:
    """The modules below escriba that an import reaches: a name taken from a package may be a module of its own."""
    base = one.module.removeprefix("escriba").removeprefix(".")
    folder = package.joinpath(*base.split(".")) if base else package
    reached = set()
    for name in one.names or ("",):
        if name and ((folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()):
            reached.add(f"{base}.{name}".lstrip("."))
        elif not (base == "" and name == "__version__"):
            reached.add(base)
    return reached


def faults(package: Path) -> list[str]:
    """Every way in which the package leaves the architecture, one sentence each."""
    found = []
    for path in sorted(package.rglob("*.py")):
        shown = path.relative_to(package).as_posix()
        parts = path.relative_to(package).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        if not ast.get_docstring(tree):
            found.append(f"{shown}: no docstring")
        if (lines := len(source.splitlines())) > LONGEST:
            found.append(f"{shown}: {lines} lines, more than {LONGEST}")
        found.extend(f"{shown}: may not be called {part}" for part in parts if part in FORBIDDEN_NAMES)
        for one in imports(tree, module, is_package):
            where = f"{shown}:{one.line}"
            top = one.module.split(".")[0]
            if top == "escriba":
                found.extend(
                    f"{where}: imports escriba.{target}: {why}".replace("escriba.:", "escriba:")
                    for target in sorted(targets(package, one))
                    if (why := wrong(module, target))
                )
            elif top not in sys.stdlib_module_names and not (module not in FREE and within(module, OUTSIDE.get(top, ()))):
                found.append(f"{where}: imports {top}: not from here")
    return found


def test_the_package_keeps_to_the_architecture() -> None:
    """Imports point down, strangers stay strangers, modules are short, described and well named."""
    assert list(PACKAGE.rglob("*.py"))
    assert faults(PACKAGE) == []


def test_every_module_and_folder_has_a_layer() -> None:
    """A new module at the top of the package must be given a place in LAYERS."""
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))}
    for name in sorted(names - {"__init__", "__main__"}):
        place(name)


GOOD = {
    "__init__": "from escriba.api import train",
    "__main__": "import runpy\nfrom escriba.cli.main import main",
    "errors": "",
    "settings": "from escriba.errors import EscribaError\nimport numpy",
    "text/__init__": "",
    "text/corpus": "from escriba import errors\nfrom ..settings import Settings\nfrom . import tokenizer",
    "text/tokenizer": "import numpy as np",
    "model/__init__": "",
    "model/cells": "import torch\nimport escriba.weights",
    "weights": "import math",
    "tensorfile": "from safetensors.numpy import save",
    "checkpoint": "from escriba.tensorfile import read\nfrom escriba import __version__",
    "engine/__init__": "",
    "engine/torch": "import torch\nfrom escriba.model.cells import Cell",
    "engine/reference": "from escriba.engine.protocol import Engine",
    "engine/protocol": "",
    "api": "def train():\n    from escriba import results, text",
    "results": "",
    "server/__init__": "from escriba import Model",
    "studio/__init__": "from escriba.server import app",
    "cli/__init__": "",
    "cli/main": "import click\nfrom escriba import load",
}
"""A small package without a fault."""


def planted(folder: Path, extra: dict[str, str]) -> list[str]:
    """The faults of the small package when some of its modules are written otherwise."""
    for name, code in {**GOOD, **extra}.items():
        path = folder / "escriba" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""A module."""\n{code}\n', encoding="utf-8")
    return faults(folder / "escriba")


def test_a_package_without_fault_passes(tmp_path: Path) -> None:
    """What the architecture allows is not complained of."""
    assert planted(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("name", "code", "fault"),
    [
        ("errors", "import escriba.settings", "errors.py:2: imports escriba.settings: settings is above errors"),
        ("text/corpus", "from escriba.model.cells import Cell", "text/corpus.py:2: imports escriba.model.cells: model is above text"),
        (
            "text/corpus",
            "def f():\n    from escriba.engine import protocol",
            "text/corpus.py:3: imports escriba.engine.protocol: engine is above text",
        ),
        ("text/corpus", "from ..engine import protocol", "text/corpus.py:2: imports escriba.engine.protocol: engine is above text"),
        ("text/corpus", "from .. import engine", "text/corpus.py:2: imports escriba.engine: engine is above text"),
        ("text/__init__", "from ..api import train", "text/__init__.py:2: imports escriba.api: api is above text"),
        ("text/__init__", "from .corpus import read\nfrom .. import api", "text/__init__.py:3: imports escriba.api: api is above text"),
        (
            "settings",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from escriba.text.corpus import Corpus",
            "settings.py:4: imports escriba.text.corpus: text is above settings",
        ),
        ("weights", "import importlib\nimportlib.import_module('escriba.api')", "weights.py:3: imports escriba.api: api is above weights"),
        ("training/run", "import escriba.inference", "training/run.py:2: imports escriba.inference: training and inference are strangers"),
        (
            "checkpoint",
            "from escriba.model import cells",
            "checkpoint.py:2: imports escriba.model.cells: checkpoint and model are strangers",
        ),
        ("model/cells", "from escriba.text import corpus", "model/cells.py:2: imports escriba.text.corpus: between text and model"),
        ("engine/reference", "from escriba.model import cells", "engine/reference.py:2: imports escriba.model.cells: an engine runs"),
        ("inference/writer", "from escriba import checkpoint", "inference/writer.py:2: imports escriba.checkpoint: inference takes"),
        ("api", "import escriba", "api.py:2: imports escriba: only the faces"),
        ("text/corpus", "from escriba import train", "text/corpus.py:2: imports escriba: only the faces"),
        ("engine/reference", "import torch.nn", "engine/reference.py:2: imports torch: not from here"),
        ("text/corpus", "import scipy", "text/corpus.py:2: imports scipy: not from here"),
        ("__init__", "import torch", "__init__.py:2: imports torch: not from here"),
        ("api", "\n" * 400, "api.py: 402 lines, more than 400"),
        ("text/utils", "", "text/utils.py: may not be called utils"),
        ("helpers/__init__", "", "helpers/__init__.py: may not be called helpers"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, name: str, code: str, fault: str) -> None:
    """Each thing that the architecture forbids is found, at its line, and nothing else is."""
    found = planted(tmp_path, {name: code})
    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_module_without_docstring_is_found(tmp_path: Path) -> None:
    """Every module says what it does, an empty __init__.py too."""
    package = tmp_path / "escriba"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    assert faults(package) == ["__init__.py: no docstring"]


def test_a_name_outside_the_layers_is_refused() -> None:
    """A module that no layer names cannot be imported unnoticed."""
    with pytest.raises(LookupError, match="'surprise' is in no layer"):
        wrong("api", "surprise.inside")
