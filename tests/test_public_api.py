"""The public names of Escriba, and what importing and using it does not load.

It knows nothing of how the names behave: only that they are there, described, and light.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import escriba

PUBLIC = {
    # the whole way in one call
    "train": "function",
    "use_language": "function",
    "load": "function",
    "Model": "class",
    # the same, step by step
    "read": "function",
    "Corpus": "class",
    "CharTokenizer": "class",
    "WordTokenizer": "class",
    "ByteTokenizer": "class",
    "windows": "function",
    "streams": "function",
    "documents": "function",
    "LanguageModel": "class",
    "preset": "function",
    "fit": "function",
    "evaluate_part": "function",
    # what `fit` tells of
    "Progress": "class",
    "Evaluated": "class",
    "EpochEnded": "class",
    "Joined": "class",
    "Finished": "class",
    # what comes back
    "Score": "class",
    "Recall": "class",
    "Text": "class",
    # settings
    "TextSettings": "class",
    "ModelSettings": "class",
    "TrainSettings": "class",
    "SampleSettings": "class",
    # errors
    "EscribaError": "class",
    "SettingsError": "class",
    "TextError": "class",
    "TextDecodingError": "class",
    "UnknownSymbolError": "class",
    "CheckpointError": "class",
    "TrainingError": "class",
    "MissingExtraError": "class",
    # and the version
    "__version__": "string",
}
"""Every public name and its kind. A name that is added or taken away is a change of the interface: the changelog says so."""

HEAVY = ("torch", "matplotlib", "scipy", "IPython")
"""What using a model never loads."""

SLOW = (
    *HEAVY, "rich", "charset_normalizer", "filelock", "asyncio", "concurrent.futures", "http", "multiprocessing", "ssl", "unittest",
    "urllib.request", "xml", "zipfile",
)  # fmt: skip
"""What nobody is to wait for who opens a model, writes or scores a line: together these would take as long as all the rest."""

NOT_TO_WRITE = (
    "escriba.history", "escriba.measuring", "escriba.outputs", "escriba.pictures", "escriba.recalling", "escriba.results",
    "escriba.text.corpus", "escriba.text.tables", "escriba.training.trainer",
)  # fmt: skip
"""What of Escriba itself is not needed for the first symbol."""

CONTEXT = """\
import json, runpy, sys
sys.argv = ["escriba", *json.loads(sys.argv[1])]
try:
    runpy.run_module("escriba", run_name="__main__", alter_sys=True)
except SystemExit as end:
    status = end.code or 0
else:
    status = 0
sys.stdout.flush()
print(json.dumps({"status": status, "loaded": sorted(sys.modules)}), file=sys.stderr)
"""
"""Runs `python -m escriba` and says last, on stderr, how it ended and which modules were loaded by then."""


def loaded_by(code: str, *arguments: str) -> tuple[str, dict[str, object]]:
    """Runs code in a Python of its own: its stdout, and the JSON of its last line on stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, object] = json.loads(done.stderr.splitlines()[-1])
    return done.stdout, said


def test_the_public_names_are_these() -> None:
    """`escriba.__all__` holds the names of the list above, each once."""
    assert sorted(escriba.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there_and_described(name: str) -> None:
    """Each name can be had, is of its kind, has a docstring, and names the public package's own module."""
    thing = getattr(escriba, name)
    kinds = {"function": inspect.isfunction, "class": inspect.isclass, "string": lambda met: isinstance(met, str)}
    assert kinds[PUBLIC[name]](thing), f"{name} is {thing!r}"
    if PUBLIC[name] != "string":
        assert thing.__module__.startswith("escriba.")
        assert thing.__name__ == name
        assert inspect.getdoc(thing)


@pytest.mark.parametrize("name", [name for name, kind in PUBLIC.items() if kind == "class"])
def test_the_methods_of_a_public_class_are_described(name: str) -> None:
    """Each public method and property that Escriba itself defines on a public class has a docstring."""
    own = [base for base in getattr(escriba, name).__mro__ if base.__module__.startswith("escriba.")]
    members = {key: value for base in own for key, value in vars(base).items() if not key.startswith("_")}
    methods = {key: value for key, value in members.items() if inspect.isroutine(value) or isinstance(value, property)}
    silent = [key for key in methods if not inspect.getdoc(getattr(getattr(escriba, name), key))]
    assert silent == []


def test_names_that_load_late_are_shown_early() -> None:
    """`dir(escriba)` and completion show the public names before any of them is loaded."""
    code = "import json, sys, escriba; print(json.dumps({'dir': dir(escriba)}), file=sys.stderr)"
    _, said = loaded_by(code)
    assert set(PUBLIC) <= set(said["dir"])


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """Asking for what Escriba does not have fails as it does for any module: hasattr, getattr and copy rely on it."""
    assert not hasattr(escriba, "no_such_name")
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(escriba, "no_such_name")  # noqa: B009  the attribute is asked for by name, as a person's typo would be


def test_the_version_is_that_of_the_package() -> None:
    """`escriba.__version__` is the installed package's version."""
    try:
        assert escriba.__version__ == version("escriba")
    except PackageNotFoundError:
        pytest.skip("escriba runs from its source tree and is not installed")


def test_importing_escriba_loads_nothing_heavy() -> None:
    """`import escriba` loads no torch, no matplotlib, and neither click nor rich; nor NumPy: it is there at once."""
    _, said = loaded_by("import json, sys, escriba; print(json.dumps({'loaded': list(sys.modules)}), file=sys.stderr)")
    assert {*SLOW, "click", "numpy", "safetensors"}.isdisjoint(said["loaded"])


def test_help_loads_nothing_heavy() -> None:
    """`escriba --help` loads no torch, no matplotlib, and not even NumPy: it must answer at once."""
    out, said = loaded_by(CONTEXT, json.dumps(["--help"]))
    assert said["status"] == 0
    assert "generate" in out
    assert {*SLOW, "numpy", "safetensors"}.isdisjoint(said["loaded"])


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, trained for a few steps on a sentence said many times."""
    folder = tmp_path_factory.mktemp("tiny")
    text = folder / "fox.txt"
    text.write_text("the quick brown fox jumps over the lazy dog.\n" * 60, encoding="utf-8")
    words = ["train", str(text), "-o", str(folder / "fox"), "--hidden-size", "8", "--steps", "3", "--seed", "1"]
    _, said = loaded_by(CONTEXT, json.dumps(words))
    assert said["status"] == 0
    assert "torch" in said["loaded"], "the test of what is not loaded would see nothing"
    return folder / "fox"


@pytest.mark.slow
def test_opening_a_model_loads_nothing_slow(tiny_model: Path) -> None:
    """`load` brings what it needs to read a folder and no more; no engine is made before one is wanted."""
    code = "import json, sys, escriba; escriba.load(sys.argv[1]); print(json.dumps({'loaded': list(sys.modules)}), file=sys.stderr)"
    _, said = loaded_by(code, str(tiny_model))
    engines = ("escriba.engine.native", "escriba.engine.reference")
    assert {*SLOW, *NOT_TO_WRITE, *engines, "click", "escriba.inference.generator"}.isdisjoint(said["loaded"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["generate", "MODEL", "-p", "the ", "-l", "20", "--seed", "1"], id="generate"),
        pytest.param(["score", "MODEL", "--text", "the lazy fox"], id="score"),
        pytest.param(["show", "MODEL"], id="show"),
    ],
)
def test_using_a_model_loads_no_torch(words: list[str], tiny_model: Path) -> None:
    """`generate`, `score` and `show` work with NumPy alone, though torch is installed."""
    out, said = loaded_by(CONTEXT, json.dumps([str(tiny_model) if word == "MODEL" else word for word in words]))
    assert said["status"] == 0
    assert out.strip()
    unwanted = {"generate": (*SLOW, *NOT_TO_WRITE, "escriba.inference.beam"), "score": SLOW}.get(words[0], HEAVY)
    assert set(unwanted).isdisjoint(said["loaded"])
