"""Consoles of other encodings, pipes whose reader goes away, and no console at all: what is written is UTF-8, and nothing crashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import TINY, Words, environment

pytestmark = pytest.mark.slow

CONSOLES = {
    "cp1252": {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    "gbk": {"PYTHONIOENCODING": "gbk:strict", "PYTHONUTF8": "0"},
    "C": {"PYTHONIOENCODING": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "LANG": "C"},
}
"""Variables that make a console of that encoding. In "C" the locale alone says what it is, and what is typed has no encoding."""
ESCRIBA = ("-m", "escriba")
PROMPT = "¿qué? 天地 😀"


@pytest.fixture(params=CONSOLES)
def console(request: pytest.FixtureRequest) -> dict[str, str | None]:
    """The variables of one console."""
    return dict(CONSOLES[request.param])


def test_every_reading_command_writes_utf8(command: Words, taught: Path, console: dict[str, str | None], tmp_path: Path) -> None:
    """corpus, generate, score, show and list take and give Spanish, Chinese and emoji whatever the console says of itself."""
    (tmp_path / "prompt.txt").write_text(PROMPT, encoding="utf-8")
    corpus = command("corpus", taught / "texto.txt", env=console)
    assert (corpus.code, corpus.err) == (0, "")
    assert "天地玄黃" in corpus.out
    assert "😀" in corpus.out
    made = command("generate", taught / "tinta", "--prompt-file", "prompt.txt", "-l", "40", "--seed", "1", env=console)
    assert made.code == 0, made.err
    assert made.out.startswith(PROMPT)
    assert len(made.out.removesuffix("\n")) == len(PROMPT) + 40
    scored = command("score", taught / "tinta", "prompt.txt", env=console)
    assert scored.code == 0, scored.err
    assert PROMPT in scored.out
    shown = command("show", taught / "tinta", env=console)
    assert shown.code == 0, shown.err
    assert "▁" in shown.out
    listed = command("list", taught, "--json", env=console)
    assert json.loads(listed.out)[0]["model"] == str(taught / "tinta")


def test_what_is_typed_is_written_back(command: Words, taught: Path, console: dict[str, str | None]) -> None:
    """A prompt and a name that are typed come back as typed; where the locale takes bytes for nothing, they are at least no crash."""
    missing = command("generate", taught / "niña天😀", env=console)
    made = command("generate", taught / "tinta", "-p", PROMPT, "-l", "5", env=console)
    assert (missing.code, made.code) == (1, 0)
    if "LC_ALL" not in console:
        assert "niña天😀" in missing.err
        assert made.out.startswith(PROMPT)


def test_training_and_the_doctor_write_utf8(command: Words, taught: Path, console: dict[str, str | None], tmp_path: Path) -> None:
    """A training shows samples in every script, makes its folder, and ends as it should; so does the doctor."""
    done = command("train", taught / "texto.txt", "-o", "tinta – 天地 😀", *TINY, env=console)
    assert done.code == 0, done.err
    assert (tmp_path / "tinta – 天地 😀" / "model.safetensors").is_file()
    if "LC_ALL" not in console:
        assert "tinta – 天地 😀" in done.err
    assert json.loads(command("doctor", "--json", env=console).out)["ok"]


@pytest.mark.parametrize("encoding", ["cp1252", "gbk"])
def test_standard_input_is_bytes(command: Words, taught: Path, encoding: str) -> None:
    """What is piped in is read as UTF-8, or as --encoding says, and not as the console would have it."""
    env = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    scored = command("score", taught / "tinta", "-", "--json", env=env, stdin="¿qué? 天地".encode())
    assert json.loads(scored.out)["symbols"] == len("¿qué? 天地")
    made = command("generate", taught / "tinta", "--prompt-file", "-", "-l", "0", env=env, stdin="señor 天地\n".encode())
    assert made.out == "señor 天地\n"
    other = command(
        "corpus", "-", "--encoding", encoding, env=env, stdin="天地玄黃".encode("gbk") if encoding == "gbk" else "señor".encode(encoding)
    )
    assert other.code == 0, other.err
    assert ("señor" if encoding == "cp1252" else "天地玄黃") in other.out


# Pipes whose reader goes away.


def piped(words: list[str], take: int, cwd: Path, *, both: bool) -> tuple[int, bytes, bytes]:
    """A Python whose reader closes the pipe after so many bytes of stdout (or of both streams in one): status, what was read, stderr."""
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "ignore", *words],
        cwd=cwd,
        env=environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if both else subprocess.PIPE,
    )
    assert process.stdout is not None
    head = process.stdout.read(take)
    process.stdout.close()
    talk = b"" if process.stderr is None else process.stderr.read()
    if process.stderr is not None:
        process.stderr.close()
    return process.wait(), head, talk


def test_a_training_goes_on_when_nobody_listens(taught: Path, tmp_path: Path) -> None:
    """``escriba train ... 2>&1 | head``: the reader is gone after the first bytes, the model is trained to its end, and the status is 0."""
    words = [
        *ESCRIBA,
        "train",
        str(taught / "texto.txt"),
        "-o",
        "tinta",
        *TINY,
        "--set",
        "train.eval_every=1",
        "--set",
        "train.sample_every=1",
    ]
    status, head, _ = piped(words, 20, tmp_path, both=True)
    assert status == 0
    assert len(head) == 20
    log = (tmp_path / "tinta" / "metrics.jsonl").read_text(encoding="utf-8")
    assert json.loads(log.splitlines()[-1])["event"] == "finished"


LEARNING = """
import sys, escriba
escriba.train(sys.argv[1], out="tinta", steps=4, hidden_size=8, precision="float32", eval_every=1, sample_every=1, sample_length=10)
"""


def test_a_training_of_a_script_goes_on_when_nobody_listens(taught: Path, tmp_path: Path) -> None:
    """``python script.py 2>&1 | head``: what draws the progress of the library does not end it either."""
    status, head, _ = piped(["-c", LEARNING, str(taught / "texto.txt")], 20, tmp_path, both=True)
    log = (tmp_path / "tinta" / "metrics.jsonl").read_text(encoding="utf-8")
    assert json.loads(log.splitlines()[-1])["event"] == "finished"
    assert (status, len(head)) == (0, 20)


def test_an_endless_text_ends_with_its_reader(taught: Path, tmp_path: Path) -> None:
    """``escriba generate -l none | head``: the writing ends, quietly and without error, though in both streams nobody listens."""
    words = [*ESCRIBA, "generate", str(taught / "tinta"), "-l", "none", "--seed", "1"]
    status, head, talk = piped(words, 30, tmp_path, both=False)
    assert (status, talk) == (0, b"")
    assert len(head) == 30
    assert piped(words, 30, tmp_path, both=True)[0] == 0


def test_a_long_answer_whose_reader_had_enough(taught: Path, tmp_path: Path) -> None:
    """``escriba show --json | head -1``, ``escriba --help | head -1``: no traceback, nor a word."""
    for words in ([*ESCRIBA, "show", str(taught / "tinta"), "--json"], [*ESCRIBA, "corpus", str(taught / "texto.txt")]):
        status, _, talk = piped(words, 1, tmp_path, both=False)
        assert (status, talk) == (0, b""), words
    assert piped([*ESCRIBA, "--help"], 1, tmp_path, both=False)[2] == b""


# No console at all.

WITHOUT = """
import sys
sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None
from escriba.cli.main import main
main(sys.argv[1:])
"""


def test_without_any_streams(python: Words, taught: Path, tmp_path: Path) -> None:
    """Under pythonw, where there is neither stdout nor stderr, commands and the library do their work, and mistakes have their status."""
    done = python("-c", WITHOUT, "train", taught / "texto.txt", "-o", "tinta", *TINY)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (tmp_path / "tinta" / "model.safetensors").is_file()
    assert python("-c", WITHOUT, "generate", taught / "tinta", "-o", "out.txt", "-l", "5").code == 0
    assert (tmp_path / "out.txt").read_text(encoding="utf-8").strip() != ""
    assert python("-c", WITHOUT, "generate", "none-such").code == 1
    assert python("-c", WITHOUT, "generate", "--none-such").code == 2
    library = (
        "import sys, escriba; sys.stdout = sys.stderr = None\n"
        "escriba.train(sys.argv[1], out='other', steps=1, hidden_size=4, precision='float32', sample_length=5)"
    )
    assert python("-c", library, taught / "texto.txt").code == 0


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX closes streams with >&-")
def test_closed_streams(taught: Path, tmp_path: Path) -> None:
    """``>&-`` and ``2>&-``: a command that has nowhere to write ends as if it had."""
    for closed in (">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"):
        line = f"exec '{sys.executable}' -m escriba list '{taught}' {closed}"
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment({}), capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), closed
