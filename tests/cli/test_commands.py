"""Every command as a person types it: what it prints where, its JSON, its exit code, and what it says to a mistake."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import escriba
import escriba.api
from escriba.cli.main import COMMANDS
from escriba.errors import typed
from escriba.text.known import KNOWN

Run = Callable[..., Any]
TINY = ("--hidden-size", "8", "--set", "train.batch_size=8", "--set", "train.seq_len=20", "--set", "model.embedding_dim=6")


def the_json(done: Any) -> Any:
    """The one line of JSON on standard output of a command that went well."""
    assert done.code == 0, done.err
    (line,) = done.out.splitlines()
    return json.loads(line)


# --- help, names, exit codes ---


def test_help_is_grouped(run: Run) -> None:
    """Without arguments, and with --help, every command stands under its group with a sentence."""
    done = run("--help")
    assert done.code == 0
    groups = re.findall(r"^(\w+):$", done.out, re.MULTILINE)
    assert [group for group in groups if group != "Options"] == ["Begin", "Make", "Write", "Read", "Look", "Share", "Care"]
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.help[:20])}", done.out, re.MULTILINE)
    assert run("-h").out == done.out
    bare = run()
    assert "Begin:" in bare.out + bare.err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name: str, run: Run) -> None:
    """Each command tells its use; with what it needs missing it shows the same instead of failing silently."""
    done = run(name, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: escriba {name}")
    assert len(done.out.splitlines()) > 5


def test_version(run: Run) -> None:
    """-V prints the name and the version."""
    assert run("--version").out == run("-V").out == f"escriba {escriba.__version__}\n"


def test_a_misspelt_command(run: Run) -> None:
    """It is a usage error, which suggests the nearest."""
    done = run("genrate", "fox")
    assert done.code == 2
    assert done.out == ""
    assert "there is no command 'genrate'. Did you mean 'generate'?" in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train", "no-such.txt"], 1, "error: there is no file 'no-such.txt'"),
        (["train", "TEXT", "--bogus"], 2, "--bogus"),
        (["train", "TEXT", "--preset", "smal"], 1, "hint: did you mean 'small'?"),
        (["train", "TEXT", "--steps", "-5"], 1, "steps is '-5'"),
        (["train", "TEXT", "--steps", "5", "--epochs", "2"], 1, "give one of steps, epochs and minutes"),
        (["train", "TEXT", "--cell", "cnn"], 1, "cell is 'cnn'"),
        (["train", "TEXT", "--device", "gpu"], 1, "device is 'gpu'"),
        (["train", "TEXT", "--set", "learning_rate=1"], 1, "--set section.key=value"),
        (["train", "TEXT", "--set", "train.learning_rate"], 1, "--set section.key=value"),
        (["train", "TEXT", "--set", "trian.learning_rate=1"], 1, "hint: did you mean 'train'?"),
        (["train", "TEXT", "--set", "train.leaning_rate=1"], 1, "hint: did you mean 'learning_rate'?"),
        (["train", "TEXT", "--set", "model.learning_rate=1"], 1, "there is no setting 'learning_rate'"),
        (["train", "TEXT", "--set", "train.learning_rate=fast"], 1, "learning_rate is 'fast'"),
        (["train", "TEXT", "--val", "no-such.txt"], 1, "no-such.txt"),
        (["corpus", "no-such.txt"], 1, "error: there is no file 'no-such.txt'"),
        (["corpus", "TEXT", "--column", "2"], 1, "error: "),
        (["corpus", "TEXT", "--examples", "-1"], 2, "--examples"),
        (["corpus", "TEXT", "--encoding", "utf-99"], 1, "utf-99"),
        (["generate", "fxo"], 1, "there is no model 'fxo'"),
        (["generate", "FOX", "--temperature", "hot"], 2, "'hot' is no temperature"),
        (["generate", "FOX", "--temperature", "-1"], 1, "temperature is -1.0"),
        (["generate", "FOX", "--temperature", "nan"], 1, "temperature is nan"),
        (["generate", "FOX", "--length", "-5"], 2, "'-5' is neither a number of characters nor 'none'"),
        (["generate", "FOX", "--samples", "0"], 2, "--samples"),
        (["generate", "FOX", "--top-k", "0"], 1, "top_k is '0'"),
        (["generate", "FOX", "--top-p", "1.5"], 1, "top_p is '1.5'"),
        (["generate", "FOX", "--seed", "-1"], 2, "--seed"),
        (["generate", "FOX", "--length", "none", "--samples", "2"], 1, "--length none"),
        (["generate", "FOX", "--length", "none", "--json"], 1, "--length none"),
        (["generate", "FOX", "--prompt-file", "no-such.txt"], 1, "no-such.txt cannot be read"),
        (["generate", "FOX", "--at", "epoch:7"], 1, "keeps no weights of 'epoch:7'"),
        (["generate", "FOX", "-o", "no/such/folder.txt"], 1, "cannot be written"),
        (["score", "FOX"], 2, "give one FILE"),
        (["score", "FOX", "TEXT", "--text", "a"], 2, "give one FILE"),
        (["score", "FOX", "--text", ""], 1, "empty"),
        (["score", "FOX", "no-such.txt"], 1, "no-such.txt"),
        (["show", "no-such"], 1, "there is no model 'no-such'"),
        (["doctor", "no-such"], 1, "there is no model 'no-such'"),
        (["demo", "no-such.txt"], 1, "no-such.txt"),
        (["demo", "--minutes", "0"], 2, "--minutes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes(words: list[str], code: int, message: str, run: Run, fox: Path, text: str, here: Path) -> None:
    """A mistake is said on stderr, without a traceback, with the exit code of its kind; stdout stays empty, and so does the disk."""
    done = run(*({"FOX": fox, "TEXT": text}.get(word, word) for word in words))
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.err.startswith("error: ") if code == 1 else "Error" in done.err
    assert [path.name for path in here.iterdir()] == [text]


# --- corpus ---


def test_corpus(run: Run, text: str) -> None:
    """It shows what would be read, and a beginning of it, before training."""
    done = run("corpus", text)
    assert done.code == 0
    assert "12,000" in done.out
    assert Path(text).read_text(encoding="utf-8")[:200] in done.out


def test_corpus_as_json(run: Run, text: str, story: str) -> None:
    """The figures as data: characters, documents, vocabulary, parts."""
    found = the_json(run("corpus", text, "--json"))
    assert (found["characters"], found["documents"], found["vocabulary"]) == (12_000, None, len(set(story)) + 1)
    assert found["parts"]["held_out"] == 1_200
    lines = the_json(run("corpus", text, "--documents", "line", "--json"))
    assert lines["documents"] == len(story.splitlines())


def test_corpus_examples(run: Run, text: str) -> None:
    """With --examples the first steps of an example follow."""
    done = run("corpus", text, "--examples", "3")
    steps = [line for line in done.out.splitlines() if line.startswith("step")]
    assert len(steps) == 3
    assert re.fullmatch(r"step +0  input \d+ '.' -> target \d+ '.'", steps[0])


def test_options_of_a_text(run: Run, here: Path) -> None:
    """The options of reading reach the reader: encoding, lines, columns, unit, vocabulary."""
    (here / "latin.txt").write_bytes("eins\nzwei ñ\ndrei\n".encode("latin-1"))
    assert run("corpus", "latin.txt").code == 1
    found = the_json(run("corpus", "latin.txt", "--encoding", "latin-1", "--from", "2", "--to", "2", "--no-unknown", "--json"))
    assert (found["characters"], found["vocabulary"]) == (7, 7)
    (here / "table.csv").write_text("a,bb\nc,dd\n", encoding="utf-8")
    found = the_json(run("corpus", "table.csv", "--no-header", "--column", "2", "--column", "1", "--unit", "word", "--json"))
    assert (found["documents"], found["characters"], found["unit"]) == (2, 8, "word")


def test_corpus_from_stdin(run: Run) -> None:
    """- is standard input."""
    assert the_json(run("corpus", "-", "--json", stdin="ñandú\n".encode()))["characters"] == 6


# --- train ---


def test_train(run: Run, text: str, here: Path) -> None:
    """All that is said goes to stderr: text, network, losses, samples, where the model is, what to try; stdout stays empty."""
    done = run("train", text, "--steps", "20", *TINY)
    assert (done.code, done.out) == (0, "")
    for part in ("12,000 characters", "parameters", "step 0: ", "it writes, after 20 steps", "held out"):
        assert part in done.err
    folder = Path("models") / "story"
    assert f"model     {folder}" in done.err
    assert f"try:      escriba generate {folder}" in done.err
    assert escriba.load("story").config.train.steps == 20


def test_train_as_json(run: Run, text: str) -> None:
    """The closing figures are the one line on stdout."""
    found = the_json(run("train", text, "-o", "m", "--steps", "5", "--seed", "3", "--json", *TINY))
    assert {"folder": "m", "reason": "length", "kept": "best", "steps": 5}.items() <= found.items()
    assert {"epochs", "loss_nats", "bits_per_char", "perplexity", "held_out_symbols", "elapsed_s", "symbols_seen"} <= found.keys()
    assert found["bits_per_char"] == pytest.approx(found["loss_nats"] / math.log(2))


def test_train_quietly(run: Run, text: str) -> None:
    """--quiet shows neither progress nor samples."""
    done = run("train", text, "-o", "m", "--steps", "5", "--quiet", *TINY)
    assert done.code == 0
    assert done.err.splitlines() == ["try:      escriba generate m"]


def test_settings_reach_the_training(run: Run, text: str) -> None:
    """Flags and --set say the same things; a preset gives the rest."""
    words = ("--preset", "tutorial", "--cell", "lstm", "--num-layers", "2", "--epochs", "0.1", "--seed", "9", "--keep-every", "2")
    more = (
        "--set",
        "train.clip_norm=none",
        "--set",
        "model.dropout=0.25",
        "--set",
        "train.sample_temperatures=0.4",
        "--val-fraction",
        "0.2",
    )
    assert run("train", text, "-o", "m", *words, *more, *TINY).code == 0
    config = escriba.load("m").config
    model, train = config.model, config.train
    assert (model.cell, model.num_layers, model.dropout, model.hidden_size, model.embedding_dim) == ("lstm", 2, 0.25, 8, 6)
    assert (train.examples, train.epochs, train.seed, train.keep_every, train.clip_norm) == ("windows", 0.1, 9, "2", None)
    assert (train.sample_temperatures, train.batch_size, train.epsilon) == ((0.4,), 8, 1e-7)
    assert config.text.val_fraction == 0.2


def test_train_on_documents(run: Run, here: Path, names: tuple[str, ...]) -> None:
    """A list of names is noticed and said, and becomes a model of documents."""
    (here / "names.txt").write_text("\n".join(names), encoding="utf-8")
    done = run("train", "names.txt", "--steps", "3", *TINY)
    assert done.code == 0
    assert "2,500 short lines" in done.err
    assert escriba.load("names").tokenizer.eos_id is not None


def test_an_existing_model(run: Run, text: str, fox: Path) -> None:
    """It is not overwritten unasked: exit 1 and what to type; --overwrite replaces it."""
    shutil.copytree(fox, "mine")
    done = run("train", text, "-o", "mine", "--steps", "1", *TINY)
    assert done.code == 1
    assert "mine is there already" in done.err
    assert "--overwrite" in done.err
    assert run("train", text, "-o", "mine", "--steps", "1", "--overwrite", *TINY).code == 0
    assert escriba.load("mine").run.last("finished")["steps"] == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a Ctrl-C for one process alone cannot be sent on Windows")
def test_ctrl_c_saves_and_resume_goes_on(text: str, here: Path, run: Run) -> None:
    """Ctrl-C ends with 130 and the line that goes on; the model is there; that line trains it to its end."""
    held = here / "my val.txt"
    held.write_text("The cat sat under the tree.\n" * 30, encoding="utf-8")
    command = [
        *ESCRIBA,
        "train",
        text,
        "-o",
        "fox",
        "--steps",
        "4000",
        "--precision",
        "float32",
        "--threads",
        "1",
        "--val",
        held.name,
        "--set",
        "train.patience=none",
        *TINY,
    ]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith("step 400:"):
                process.send_signal(signal.SIGINT)
                break
        out, rest = process.communicate(timeout=60)
    err = "".join(said) + rest
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("go on:")]
    assert line == "go on:    " + typed("escriba", "train", "story.txt", "--val", "my val.txt", "-o", "fox", "--resume")
    stopped = escriba.load("fox")
    assert len(stopped.generate("The ", 20)) == 24
    steps = json.loads(Path("fox/training/sessions.jsonl").read_text(encoding="utf-8").splitlines()[-1])["steps"]
    assert 400 <= steps < 4000
    again = run("train", text, "-o", "fox", "--steps", "4000", *TINY)
    assert again.code == 1
    assert "--resume" in again.err
    done = run("train", text, "--val", held.name, "-o", "fox", "--resume")
    assert done.code == 0, done.err
    assert f"restored  step {steps:,}" in done.err
    assert escriba.load("fox").run.last("finished")["steps"] == 4000


# --- list, show, doctor ---


def test_list(run: Run, trained: Path) -> None:
    """One line a model: its name, cell, size and figure."""
    done = run("list", trained)
    assert done.code == 0
    rows = done.out.splitlines()
    assert [Path(row.split()[0]).name for row in rows] == ["fox", "saints"]
    assert all("bits per character" in row for row in rows)
    assert "(unfinished)" not in done.out


def test_list_as_json(run: Run, trained: Path) -> None:
    """The same as data; where there are no models, an empty list, and a hint for people on stderr only."""
    found = the_json(run("list", trained, "--json"))
    assert [Path(row["model"]).name for row in found] == ["fox", "saints"]
    assert the_json(run("list", "--json")) == []
    done = run("list")
    assert (done.code, done.out) == (0, "")
    assert "escriba train TEXT" in done.err


def test_list_does_not_read_a_large_model_whole(run: Run, text: str) -> None:
    """Of a model that counts the n-grams are told, though numbers in its file are damaged, which reading it would notice."""
    run("train", text, "--cell", "counts", "--order", 3, "--quiet")
    before, shown = run("list").out, the_json(run("show", "story", "--json"))
    file = Path("models/story/model.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert run("generate", "story").code == 1
    assert run("list").out == before
    assert the_json(run("show", "story", "--json")) == shown
    assert shown["parameters"] == escriba.train(text, cell="counts", order=3, out="again", quiet=True).parameters
    file.write_bytes(b"\x00" * 20)
    assert "damaged: " in run("list").out


def test_list_with_a_damaged_model(run: Run, trained: Path) -> None:
    """One damaged folder does not hide the others."""
    shutil.copytree(trained, "models")
    Path("models/fox/config.json").write_text("{", encoding="utf-8")
    done = run("list")
    assert done.code == 0
    damaged, whole = done.out.splitlines()
    assert "damaged: " in damaged
    assert "config.json cannot be read" in damaged
    assert "bits per character" in whole


def test_show(run: Run, fox: Path) -> None:
    """The network part by part, the text, the curve, the figure, the kept moments."""
    done = run("show", fox)
    assert done.code == 0
    for part in ("embedding", "gru 1", "output", "12,000 characters", "curve", "held out", "step:20 step:40", "finished"):
        assert part in done.out, part


def test_show_as_json(run: Run, fox: Path) -> None:
    """The fields that programs read: parameters, layers, corpus, best, curve."""
    found = the_json(run("show", fox, "--json"))
    assert found["parameters"] == sum(found["layers"].values()) == escriba.load(fox).parameters
    assert found["corpus"]["characters"] == 12_000
    assert found["best"]["loss_nats"] == min(point["loss_nats"] for point in found["curve"])
    assert found["curve"][0]["step"] == 0
    assert found["kept"] == ["step:20", "step:40"]
    assert found["settings"]["format"] == "escriba"


def test_show_by_name(run: Run, trained: Path) -> None:
    """A name under models/ is enough; a misspelt one brings the nearest."""
    shutil.copytree(trained, "models")
    assert run("show", "saints").code == 0
    done = run("show", "saint")
    assert done.code == 1
    assert f"hint: did you mean {Path('models') / 'saints'}?" in done.err


def test_show_of_a_damaged_folder(run: Run, fox: Path) -> None:
    """A damaged config.json is an error in words; logs that are torn, gone, or hold a loss that was no number are not."""
    shutil.copytree(fox, "mine")
    log = Path("mine/metrics.jsonl")
    whole = log.read_text(encoding="utf-8")
    log.write_text(whole[: len(whole) // 2], encoding="utf-8")
    assert run("show", "mine").code == 0
    log.write_text(re.sub(r'("event":"evaluated".*?"loss_nats":)[0-9.]+', r"\1null", whole), encoding="utf-8")
    done = run("show", "mine")
    assert done.code == 0
    assert "no loss was a number" in done.out
    log.unlink()
    assert run("show", "mine").code == 0
    Path("mine/config.json").write_text('{"format": "escriba", "format_version": 9}', encoding="utf-8")
    done = run("show", "mine")
    assert done.code == 1
    assert "format_version is 9, newer than this Escriba knows" in done.err
    assert "config.json" in done.err


def test_doctor(run: Run) -> None:
    """The installation is in order here: versions, machine, place."""
    done = run("doctor")
    assert done.code == 0
    for part in (escriba.__version__, "numpy", "safetensors", "torch", "free space"):
        assert part in done.out
    found = the_json(run("doctor", "--json"))
    assert found["ok"] is True
    assert {"what", "found", "ok"} <= found["checks"][0].keys()


def test_doctor_of_a_model(run: Run, fox: Path) -> None:
    """Every file of a whole model is in order: the model, each kept moment, the state."""
    found = the_json(run("doctor", fox, "--json"))
    assert [check["what"] for check in found["checks"]] == ["model", "step:20", "step:40", "training state"]
    assert found["ok"]


@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("model.safetensors", "model"),
        ("tokenizer.json", "model"),
        ("config.json", "model"),
        ("kept/step-20.safetensors", "step:20"),
        ("training/last.json", "training state"),
        ("training/step-00000040.safetensors", "training state"),
    ],
)
def test_doctor_of_a_damaged_model(file: str, row: str, run: Run, fox: Path) -> None:
    """What is damaged is named, the rest is still checked, and the exit code is 1."""
    shutil.copytree(fox, "mine")
    content = Path("mine", file).read_bytes()
    Path("mine", file).write_bytes(content[: len(content) // 2])
    done = run("doctor", "mine")
    assert done.code == 1
    assert any(line.startswith("BAD") and row in line and Path(file).name in line for line in done.out.splitlines())
    found = json.loads(run("doctor", "mine", "--json").out)
    assert found["ok"] is False
    assert {check["what"]: check["ok"] for check in found["checks"]}[row] is False


# --- generate ---


def test_generate(run: Run, fox: Path) -> None:
    """One text goes to stdout as it comes, prompt and all, and ends with a line end; the seed is told on stderr."""
    done = run("generate", fox, "-p", "The ", "-l", "50")
    assert done.code == 0
    assert done.out.startswith("The ")
    assert len(done.out) == 4 + 50 + 1
    seed = re.search(r"seed (\d+)", done.err)
    assert seed
    assert run("generate", fox, "-p", "The ", "-l", "50", "--seed", seed[1]).out == done.out


def test_generate_is_the_librarys_text(run: Run, fox: Path) -> None:
    """The flags mean what the same words mean in Python."""
    model = escriba.load(fox)
    words = ("-p", "A ", "-l", "60", "--seed", "4", "--temperature", "0.6", "--top-k", "5", "--top-p", "0.9", "--min-p", "0.01")
    expected = model.generate("A ", 60, seed=4, temperature=0.6, top_k=5, top_p=0.9, min_p=0.01)
    assert run("generate", fox, *words).out == expected + "\n"
    assert run("generate", fox, *words, "--no-prompt").out == expected.continuation + "\n"
    early = escriba.load(fox, at="step:20").generate("A ", 60, seed=4)
    assert run("generate", fox, "-p", "A ", "-l", "60", "--seed", "4", "--at", "step:20").out == early + "\n"


def test_several_prompts_and_samples(run: Run, fox: Path) -> None:
    """Each text of each prompt in its order, with a line between."""
    done = run("generate", fox, "-p", "The ", "-p", "A ", "-n", "2", "-l", "20", "--seed", "1")
    texts = [text.strip("\n") for text in done.out.split("-" * 40 + "\n") if text]
    assert texts == [made.strip("\n") for made in escriba.load(fox).generate(["The ", "A "], 20, samples=2, seed=1)]
    assert "seed 1" in done.err
    bare = run("generate", fox, "-p", "The ", "-n", "2", "-l", "20", "--seed", "1", "--no-prompt").out
    assert bare.startswith(escriba.load(fox).generate("The ", 20, samples=2, seed=1)[0].continuation + "\n" + "-" * 40)


def test_several_temperatures(run: Run, fox: Path) -> None:
    """A list makes a block for each, under its heading."""
    done = run("generate", fox, "--temperature", "0,1.5", "-p", "The ", "-l", "30", "--seed", "1")
    _, cold, hot = re.split(r"--- temperature [\d.]+ ---\n", done.out)
    model = escriba.load(fox)
    assert cold.startswith(model.generate("The ", 30, temperature=0, seed=1))
    assert hot.startswith(model.generate("The ", 30, temperature=1.5, seed=1))
    assert re.findall(r"--- temperature ([\d.]+) ---", done.out) == ["0", "1.5"]


def test_generate_as_json(run: Run, fox: Path) -> None:
    """texts[]: prompt, text, log_likelihood, seed, finish_reason, for every prompt, sample and temperature."""
    words = ("generate", fox, "-p", "The ", "-p", "ñ", "-n", "2", "-l", "20", "--temperature", "0.5,1", "--seed", "6")
    found = the_json(run(*words, "--json", "--precision", "float32"))
    texts = found["texts"]
    assert [(one["prompt"], one["temperature"]) for one in texts] == [
        (prompt, temperature) for temperature in (0.5, 1.0) for prompt in ("The ", "The ", "ñ", "ñ")
    ]
    for one in texts:
        assert {"prompt", "text", "log_likelihood", "seed", "finish_reason"} <= one.keys()
        assert (len(one["text"]), one["seed"], one["finish_reason"]) == (20, 6, "length")
    score = escriba.load(fox).score(texts[0]["text"], after="The ")
    assert texts[0]["log_likelihood"] == pytest.approx(score.log_likelihood, abs=1e-3)


def test_stop(run: Run, fox: Path) -> None:
    r"""A text ends before a stop string; \n is a line's end; several may be given."""
    whole = run("generate", fox, "-p", "The ", "--seed", "1", "--no-prompt").out
    assert "\n" in whole.rstrip("\n")
    assert run("generate", fox, "-p", "The ", "--seed", "1", "--no-prompt", "--stop", "\\n").out == whole.split("\n")[0] + "\n"
    words = ("generate", fox, "-p", "The ", "--seed", "1", "--json", "--stop", "zzz", "--stop", ".")
    (made,) = the_json(run(*words))["texts"]
    assert (made["text"], made["finish_reason"]) == (whole.split(".")[0], "stop")


def test_no_length(run: Run, fox: Path) -> None:
    """With --length none a text goes on to its stop string, however far."""
    done = run("generate", fox, "-l", "none", "--stop", "th", "--seed", "1", "--no-prompt")
    assert done.code == 0
    whole = escriba.load(fox).generate("", 5_000, seed=1).continuation
    assert done.out == whole[: whole.index("th")] + "\n"


def test_generate_into_a_file(run: Run, fox: Path, here: Path) -> None:
    """With -o the text is in the file, in UTF-8 with plain line ends, and stdout stays empty."""
    expected = run("generate", fox, "-p", "ñandú\n", "-l", "40", "--seed", "1").out
    done = run("generate", fox, "-p", "ñandú\n", "-l", "40", "--seed", "1", "-o", "out.txt")
    assert (done.code, done.out) == (0, "")
    assert (here / "out.txt").read_bytes() == expected.encode("utf-8")


def test_prompts_from_files(run: Run, fox: Path, here: Path) -> None:
    """A prompt from a file, or from standard input, without the last line's end, and without a byte-order mark."""
    expected = run("generate", fox, "-p", "The ñ", "-l", "20", "--seed", "1").out
    for content in (b"The \xc3\xb1\n", b"The \xc3\xb1\r\n", b"\xef\xbb\xbfThe \xc3\xb1"):
        assert run("generate", fox, "--prompt-file", "-", "-l", "20", "--seed", "1", stdin=content).out == expected
        (here / "prompt.txt").write_bytes(content)
        assert run("generate", fox, "--prompt-file", "prompt.txt", "-l", "20", "--seed", "1").out == expected
    done = run("generate", fox, "--prompt-file", "-", stdin=b"The \xf1")
    assert done.code == 1
    assert "byte 4 is not UTF-8" in done.err


def test_unseen_symbols_are_noted(run: Run, fox: Path) -> None:
    """A note on stderr names them; the text is written all the same."""
    done = run("generate", fox, "-p", "The 日", "-l", "5")
    assert done.code == 0
    assert done.out.startswith("The 日")
    assert "note: " in done.err
    assert "日" in done.err


def test_documents_line_by_line(run: Run, saints: Path) -> None:
    """Short documents come one a line, nothing between them."""
    done = run("generate", saints, "-n", "6", "--seed", "2", "--temperature", "1")
    assert done.out.splitlines() == [str(made) for made in escriba.load(saints).generate("", samples=6, seed=2, temperature=1.0)]


# --- score ---


def test_score(run: Run, fox: Path) -> None:
    """One line a text on stdout, the convention on stderr."""
    done = run("score", fox, "--text", "The cat.", "--text", "tac ehT.")
    assert done.code == 0
    likely, unlikely = (float(line.split()[0]) for line in done.out.splitlines())
    assert likely == pytest.approx(escriba.load(fox).score("The cat.").log_likelihood, abs=1e-3)
    assert likely > unlikely
    assert "convention: every symbol from the beginning" in done.err


def test_score_as_json(run: Run, fox: Path) -> None:
    """The fields that programs read; one object for one text, a list for several."""
    found = the_json(run("score", fox, "--text", "The cat.", "--after", "A dog. ", "--json"))
    expected = escriba.load(fox).score("The cat.", after="A dog. ")
    assert found == expected.as_dict() | {"precision": "float32"}
    assert {"log_likelihood", "symbols", "bits_per_char", "bits_per_byte", "perplexity", "convention"} <= found.keys()
    assert len(the_json(run("score", fox, "--text", "a", "--text", "b", "--json"))) == 2


def test_score_of_files(run: Run, fox: Path, here: Path) -> None:
    """A file, in its encoding, and standard input."""
    expected = the_json(run("score", fox, "--text", "El ñandú.", "--json"))
    (here / "a.txt").write_bytes("El ñandú.".encode("latin-1"))
    assert the_json(run("score", fox, "a.txt", "--encoding", "latin-1", "--json")) == expected
    assert the_json(run("score", fox, "-", "--json", stdin="El ñandú.".encode())) == expected
    done = run("score", fox, "a.txt")
    assert done.code == 1
    assert "a.txt" in done.err


# --- outside this process ---

PACKAGE = str(Path(escriba.__file__).resolve().parents[1])
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([PACKAGE, os.environ.get("PYTHONPATH", "")])}
ESCRIBA = (sys.executable, "-W", "error", "-m", "escriba")


def in_a_process(*words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`python -m escriba` in a process of its own."""
    command, variables = [*ESCRIBA, *map(str, words)], {**ENVIRONMENT, **environment}
    return subprocess.run(command, capture_output=True, timeout=60, check=False, env=variables, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "LANG": "C"}, {"PYTHONIOENCODING": "ascii"}], ids=str
)
def test_output_is_utf_8(environment: dict[str, str], fox: Path, here: Path) -> None:
    """Whatever the console's encoding, what is printed is UTF-8: data on stdout, notes on stderr."""
    (here / "prompt.txt").write_text("ñ 日本 😀", encoding="utf-8")
    done = in_a_process("generate", fox, "--prompt-file", "prompt.txt", "-l", "10", "--seed", "1", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8").startswith("ñ 日本 😀")
    assert "日" in done.stderr.decode("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error on Windows")
def test_a_reader_that_has_had_enough(fox: Path) -> None:
    """When the reader of a pipe goes away, an endless text ends quietly."""
    with subprocess.Popen(
        [*ESCRIBA, "generate", str(fox), "-l", "none"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert b"Traceback" not in process.stderr.read()


def test_demo(run: Run, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts and writes, trains, writes at three temperatures, scores two sentences, compares, says what to try; twice in one place."""
    real = escriba.api.train

    def quick(*sources: Any, **settings: Any) -> Any:
        if settings.get("cell") == "counts":
            return real(*sources, **settings)
        assert settings.pop("minutes") == 2.0
        return real(*sources, steps=10, hidden_size=8, embedding_dim=6, batch_size=8, seq_len=20, **settings)

    monkeypatch.setattr(escriba.api, "train", quick)
    for _ in range(2):
        done = run("demo", text)
        assert done.code == 0, done.err
        assert re.findall(r"temperature ([\d.]+) ---", done.out) == ["0.3", "0.8", "1.2"]
        assert done.out.index("an n-gram that counts") < done.out.index("the network writes")
        assert re.findall(r"^ +\d\.\d{3}  (the .*)$", done.out, re.MULTILINE) == ["the n-gram that counts", "the network"]
        assert "escriba generate models/demo" in done.out
    assert escriba.load("demo").run.finished


def test_demo_of_standard_input(run: Run, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be read once, and both models learn it; where a model writes nothing, no sentence is scored."""
    real, learnt = escriba.api.train, []

    def quick(*sources: Any, **settings: Any) -> Any:
        if settings.pop("minutes", None) is not None:
            settings |= {"steps": 2, "hidden_size": 8, "embedding_dim": 6, "batch_size": 8, "seq_len": 20}
        learnt.append(real(*sources, **settings))
        return learnt[-1]

    monkeypatch.setattr(escriba.api, "train", quick)
    monkeypatch.setattr(escriba.Model, "generate", lambda *_, **__: "")
    done = run("demo", "-", stdin=Path(text).read_bytes())
    assert done.code == 0, done.err
    assert "which sentence" not in done.out
    counted, network = (model.run.last("begun")["corpus"]["sha256"] for model in learnt)
    assert counted == network


def test_score_of_a_known_text(run: Run, fox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read as training reads it: in its encoding, a table by its rows; what was noticed stands on standard error."""
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "texts").mkdir(parents=True)
    book = "*** START OF THIS PROJECT GUTENBERG EBOOK ***\nEl ñandú.\n*** END OF THIS PROJECT GUTENBERG EBOOK ***\n".encode("latin-1")
    for name, body in (("quijote", book), ("news", b'"3","The cat.","It sat."\n"1","A dog.","It ran."\n')):
        facts = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        monkeypatch.setitem(KNOWN, name, dataclasses.replace(KNOWN[name], **facts))
        (tmp_path / "cache" / "texts" / f"{name}{KNOWN[name].suffix}").write_bytes(body)
    done = run("score", fox, "text:quijote", "--json")
    expected = the_json(run("score", fox, "--text", escriba.read("text:quijote").text, "--json"))
    assert the_json(done) == expected
    assert the_json(done)["symbols"] < 15
    assert "note: " in done.err
    assert the_json(run("score", fox, "text:news", "--json")) == the_json(run("score", fox, "--text", "The cat.\nA dog.", "--json"))
    assert the_json(run("score", fox, "text:quijote", "--encoding", "cp1252", "--json")) == expected
