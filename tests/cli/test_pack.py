"""``escriba pack`` as a person types it, and every other command on what it packed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import escriba
from escriba.checkpoint import load_folder

Run = Callable[..., Any]


@pytest.fixture
def packed(run: Run, fox: Path, here: Path) -> Path:
    """The model of a stream, in one zip file."""
    done = run("pack", fox, "-o", "fox.zip", "--json")
    assert done.code == 0, done.err
    return here / "fox.zip"


@pytest.mark.parametrize("weights", ["int8", "bf16", "float32"])
@pytest.mark.parametrize("out", ["small.zip", "small"])
def test_sizes_and_bits_before_and_after(weights: str, out: str, run: Run, fox: Path, here: Path) -> None:
    """They are printed as a table and as JSON, measured on what the training held out; the loss hardly rises."""
    done = run("pack", fox, "-o", out, "--weights", weights)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == f"{out} ({weights})"
    assert done.err == "measured on 1,200 characters of the held-out part\n"
    figures = json.loads(run("pack", fox, "-o", out, "--weights", weights, "--overwrite", "--json").out)
    assert (figures["model"], figures["path"], figures["weights"]) == (str(fox), out, weights)
    assert (figures["measured_on"], figures["characters"], figures["why_not"]) == ("held-out", 1200, None)
    before, after = figures["bits_per_char_before"], figures["bits_per_char"]
    assert before == pytest.approx(escriba.load(fox).evaluate().bits_per_char)
    assert after == pytest.approx(before, rel={"int8": 0.01, "bf16": 0.01, "float32": 1e-9}[weights])
    assert f"{before:.4f}" in done.out
    assert f"{after:.4f}" in done.out
    assert figures["bytes"] < figures["bytes_before"]
    assert figures["weight_bytes"] < figures["weight_bytes_before"] or weights == "float32"
    assert [one.name for one in here.iterdir()] == [out]
    shown = json.loads(run("show", out, "--json").out)
    assert shown["weights"] == weights
    assert shown["bits_per_char"] == pytest.approx(after, rel=1e-3)


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "MODEL", "-l", "20", "--seed", "1"],
        ["score", "MODEL", "--text", "The cat."],
        ["rank", "MODEL", "the", "eht"],
        ["next", "MODEL", "the "],
        ["evaluate", "MODEL", "story.txt"],
        ["recall", "MODEL", "--text", "The cat sat", "--against", "story.txt"],
        ["show", "MODEL"],
        ["doctor", "MODEL"],
        ["pack", "MODEL", "-o", "again", "--on", "story.txt"],
        ["pack", "MODEL", "-o", "again.zip", "--weights", "float32"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_command_opens_a_zip_file(words: list[str], run: Run, packed: Path, text: str) -> None:
    """It goes well, and the file is as it was."""
    before = packed.read_bytes()
    done = run(*(packed if word == "MODEL" else word for word in words))
    assert done.code == 0, done.err
    assert done.out
    assert packed.read_bytes() == before


def test_listed_and_found_by_name(run: Run, packed: Path, fox: Path) -> None:
    """Under models/ it stands beside the folders."""
    Path("models").mkdir()
    shutil.copy(packed, "models/fox.zip")
    assert run("pack", fox, "-o", "models/small").code == 0
    rows = json.loads(run("list", "--json").out)
    assert [(row["model"], row["weights"]) for row in rows] == [(str(Path("models", name)), "int8") for name in ("fox.zip", "small")]
    assert "bits per character" in run("list").out
    assert run("generate", "fox.zip", "-l", "5").code == 0
    assert "fox.zip" in run("generate", "fox", "-l", "5").err


def test_shown(run: Run, packed: Path) -> None:
    """What is known of the text is shown, without where it was."""
    shown = run("show", packed)
    assert "weights packed in int8" in shown.out
    assert "12,000 characters\n" in shown.out
    assert "story.txt" not in shown.out


def test_documents_keep_their_hashes(run: Run, saints: Path, names: tuple[str, ...], here: Path) -> None:
    """So a packed model still tells a name that it learnt from a new one."""
    assert run("pack", saints, "-o", "saints.zip").code == 0
    model = escriba.load(here / "saints.zip")
    known = escriba.load(saints)
    for name in (*names[:40], "Xyzzy"):
        assert model.is_novel(name) == known.is_novel(name)
    assert not all(model.is_novel(name) for name in names[:40])
    assert run("generate", "saints.zip", "-n", "2", "--novel", "--seed", "1").code == 0


def test_a_text_that_is_gone(run: Run, saints: Path) -> None:
    """Nothing is measured, and that is said with the line that measures; the packed model is whole."""
    done = run("pack", saints, "-o", "saints.zip")
    assert done.code == 0
    assert "bits per character were not measured" in done.err
    assert "escriba pack" in done.err
    assert "--on FILE" in done.err
    assert "bits per character" not in done.out
    assert escriba.load("saints.zip").generate(seed=1)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["FOX"], 2, "--out"),
        (["no-such", "-o", "a.zip"], 1, "there is no model 'no-such'"),
        (["FOX", "-o", "a.zip", "--weights", "int4"], 2, "int4"),
        (["FOX", "-o", "a.zip", "--on", "no-such.txt"], 1, "no-such.txt"),
        (["FOX", "-o", "a.zip", "--at", "epoch:99"], 1, "keeps no weights of 'epoch:99'"),
        (["FOX", "-o", "FOX", "--overwrite"], 1, "is the model itself"),
        (["FOX", "-o", "story.txt"], 1, "is there already"),
        (["FOX", "-o", "story.txt", "--overwrite"], 1, "not a packed model"),
        (["FOX", "-o", "story.txt/a.zip"], 1, "could not be made"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes(words: list[str], code: int, message: str, run: Run, fox: Path, text: str, here: Path) -> None:
    """Each is said on stderr, without a traceback; nothing is written, and nothing is left behind."""
    done = run("pack", *({"FOX": fox}.get(word, word) for word in words))
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert [path.name for path in here.iterdir()] == [text]


def test_an_earlier_moment(run: Run, fox: Path, here: Path) -> None:
    """--at packs the weights that were kept then."""
    assert run("pack", fox, "-o", "early.zip", "--at", "step:20", "--weights", "float32").code == 0
    early, there = load_folder(here / "early.zip").weights, load_folder(fox, "step:20").weights
    assert all((early[name] == there[name]).all() for name in there)


def test_training_from_it(run: Run, packed: Path, text: str) -> None:
    """Its weights can begin a new training; it cannot itself go on, and that is said."""
    done = run("train", text, "--init-from", packed, "--steps", "2", "-o", "new", "--quiet")
    assert done.code == 0, done.err
    for words in (["--more", packed, "--steps", "2"], ["-o", packed, "--resume"], ["-o", packed, "--steps", "2"]):
        done = run("train", text, *words)
        assert done.code == 1
        assert done.err.startswith("error: ")
        assert str(packed) in done.err
    assert run("generate", packed, "-l", "5").code == 0


def test_what_is_typical_is_not_kept_in_a_file(run: Run, packed: Path, text: str) -> None:
    """It is measured and shown, and a note says that a zip file does not keep it."""
    before = packed.read_bytes()
    done = run("evaluate", packed, text, "--typical")
    assert done.code == 0, done.err
    assert "nothing more is kept" in done.err
    assert packed.read_bytes() == before


def test_what_is_typical_goes_with_exact_weights(run: Run, fox: Path, text: str, here: Path) -> None:
    """float32 has the very weights on which it was measured; rounded ones are others."""
    shutil.copytree(fox, "own")
    assert run("evaluate", "own", text, "--typical").code == 0
    for weights, known in (("float32", True), ("int8", False)):
        assert run("pack", "own", "-o", f"{weights}.zip", "--weights", weights).code == 0
        assert (escriba.load(here / f"{weights}.zip").usual.find() is not None) == known
