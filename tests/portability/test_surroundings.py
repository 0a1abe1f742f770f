"""Scripts without a guard, spawned processes, and surroundings in which something that is usually there is missing."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from processes import TINY, Words

pytestmark = pytest.mark.slow

SCRIPT = """
import escriba
model = escriba.train("texto.txt", out="tinta", steps=2, hidden_size=8, embedding_dim=6, precision="float32", sample_length=5, quiet=True)
print(escriba.load("tinta").generate("señor", 10, seed=1) == model.generate("señor", 10, seed=1))
print(round(escriba.load("tinta").score("señor").bits_per_char, 6) > 0)
"""

SPAWNING = """
import multiprocessing
import escriba

def bits(text):
    return escriba.load("tinta").score(text).bits_per_char

def learn(name):
    escriba.train("texto.txt", out=name, steps=1, hidden_size=4, precision="float32", sample_length=5, quiet=True)
    return escriba.load(name).parameters > 0

if __name__ == "__main__":
    here = escriba.load("tinta")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(bits, ["señor", "天地"]) == [here.score(text).bits_per_char for text in ("señor", "天地")])
        print(pool.apply(learn, ("spawned",)))
"""


@pytest.fixture
def text(taught: Path, tmp_path: Path) -> str:
    """The text, as texto.txt in tmp_path."""
    shutil.copy(taught / "texto.txt", tmp_path)
    return "texto.txt"


@pytest.mark.usefixtures("text")
def test_a_script_needs_no_guard(python: Words, tmp_path: Path) -> None:
    """A script that trains, loads and writes has no ``if __name__ == "__main__"``, and nothing starts it anew behind its back."""
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = python("script.py")
    assert (done.code, done.out.split(), done.err) == (0, ["True", "True"], "")


@pytest.mark.usefixtures("text")
def test_spawned_processes(python: Words, taught: Path, tmp_path: Path) -> None:
    """A function that uses Escriba works in processes that are spawned, the only ones of Windows, and gives the same figures."""
    shutil.copytree(taught / "tinta", tmp_path / "tinta")
    (tmp_path / "script.py").write_text(SPAWNING, encoding="utf-8")
    done = python("script.py")
    assert (done.code, done.out.split()) == (0, ["True", "True"]), done.err


NOWHERE = f"{os.sep}no{os.sep}where"
HOMES = ("HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA")
PLACES = ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR", "MPLCONFIGDIR")
SURROUNDINGS: dict[str, dict[str, str | None]] = {
    "no home, a bare terminal": {**dict.fromkeys(HOMES), "LANG": "C", "LC_ALL": "C", "TERM": "dumb", "COLUMNS": "1", "NO_COLOR": "1"},
    "nowhere to write to, warnings as errors": {**dict.fromkeys(PLACES, NOWHERE), "PYTHONWARNINGS": "error", "COLUMNS": "0"},
    "no asserts and no docstrings": {"PYTHONOPTIMIZE": "2"},
}


@pytest.mark.parametrize("env", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_surroundings(command: Words, text: str, taught: Path, env: dict[str, str | None], tmp_path: Path) -> None:
    """Without a home, in a bare locale, without a place for temporary files, without asserts: it trains and writes as ever."""
    done = command("train", text, "-o", "tinta", *TINY, env=env)
    assert done.code == 0, done.err
    assert (tmp_path / "tinta" / "model.safetensors").is_file()
    made = command("generate", taught / "tinta", "-p", "a", "-l", "10", "--seed", "1", env=env)
    assert (made.code, len(made.out)) == (0, len("a") + 10 + 1), made.err
    assert command("--help", env=env).code == 0


def test_a_folder_that_cannot_be_written_to(command: Words, taught: Path, tmp_path: Path) -> None:
    """There reading and writing to the screen work; what would make a file is an error in words that names the place."""
    if os.name == "nt":
        pytest.skip("a folder of Windows has no such mode")
    bare = tmp_path / "bare"
    bare.mkdir(mode=0o555)
    if os.access(bare, os.W_OK):  # for root everything is writable, but for what the system itself makes
        if sys.platform != "linux":
            pytest.skip("root writes everywhere")
        bare = Path("/proc")
    assert command("generate", taught / "tinta", "-l", "5", cwd=bare).code == 0
    assert command("corpus", taught / "texto.txt", cwd=bare).code == 0
    done = command("train", taught / "texto.txt", *TINY, cwd=bare)
    assert done.code == 1
    assert "error: " in done.err
    assert "Traceback" not in done.err
    failed = command("generate", taught / "tinta", "-l", "5", "-o", "out.txt", cwd=bare)
    assert failed.code == 1
    assert "error: out.txt" in failed.err


GONE = """
import os, sys, tempfile
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
from escriba.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows does not delete the folder in which a process stands")
def test_a_folder_that_is_gone(python: Words, taught: Path) -> None:
    """In a folder that was deleted under the process a model that is named in full writes; what is not there is an error in words.

    PyTorch is left out: there Intel's library, which it uses, ends the process.
    """
    assert python("-c", GONE, "generate", taught / "tinta", "-l", "5").code == 0
    for words in (["generate", "tinta"], ["corpus", "texto.txt"], ["list"]):
        done = python("-c", GONE, *words)
        assert "Traceback" not in done.err, words
        assert done.code == (0 if words == ["list"] else 1), (words, done)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_model_whose_line_ends_were_changed(command: Words, taught: Path, tmp_path: Path, name: str) -> None:
    """Where git or an editor wrote CRLF into a model folder, the message names the file, and the file as it was mends it."""
    shutil.copytree(taught / "tinta", tmp_path / "tinta")
    file = tmp_path / "tinta" / name
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"\n", b"\r\n"))
    done = command("generate", "tinta", "-l", "5")
    assert done.code == 1
    assert f"was not written for this {name}" in done.err
    assert "Traceback" not in done.err
    file.write_bytes(whole)
    assert command("generate", "tinta", "-l", "5").code == 0
