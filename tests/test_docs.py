"""The documents held to the code: nothing that is there is left out, nothing is told that is not there, and what can be run is run."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

import escriba
from escriba.cli.main import COMMANDS, cli
from escriba.cli.options import SECTIONS, parse_sets
from escriba.presets import PRESETS
from escriba.settings import ModelSettings

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "escriba"
DOCS = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
GENERATED = [ROOT / "docs" / "reference" / name for name in ("settings.md", "commands.md", "measurements.md")]
WRITTEN = [path for path in DOCS if path not in GENERATED]
HOW_TO = [ROOT / "README.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
RUN = re.compile(r"^<!-- run: (shell|python) -->\n```\1\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUNNABLE = [path for path in DOCS if RUN.search(path.read_text(encoding="utf-8"))]

FOREIGN = {"--index-url", "--no-index", "--find-links", "--no-deps", "--force-reinstall", "--install"}
"""Options in the documents that are not of `escriba`: those of pip and of xcode-select."""


def text_of(path: Path) -> str:
    """A document."""
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    """A document's name in what pytest prints."""
    return path.relative_to(ROOT).as_posix()


def commands() -> dict[str, click.Command]:
    """Every command, loaded."""
    found = {name: cli.get_command(click.Context(cli), name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


def options() -> dict[str, set[str]]:
    """The long options of each command; --lang, which all of them take, is told of once."""
    return {
        name: {"--help"}
        | {word for one in command.params if isinstance(one, click.Option) and not one.hidden for word in [*one.opts, *one.secondary_opts]}
        for name, command in commands().items()
    }


@pytest.fixture(scope="module")
def make_reference() -> ModuleType:
    """tools/make_reference.py as a module."""
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "tools" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The generated pages.


def test_the_reference_pages_are_fresh(
    make_reference: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pages are what the code makes of them, however wide the terminal is."""
    monkeypatch.setenv("COLUMNS", "47")
    assert make_reference.main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_page_is_found(make_reference: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check fails and names the page when one differs or is missing, and writes nothing."""
    assert make_reference.main(["--to", str(tmp_path)]) == 0
    assert make_reference.main(["--to", str(tmp_path), "--check"]) == 0
    stale = tmp_path / "settings.md"
    stale.write_text(text_of(stale).replace("hidden_size", "hidden"), encoding="utf-8", newline="\n")
    capsys.readouterr()
    assert make_reference.main(["--to", str(tmp_path), "--check"]) == 1
    assert "settings.md is stale" in capsys.readouterr().err
    assert "`hidden`" in text_of(stale)


def test_every_option_is_on_the_page_of_commands() -> None:
    """The reference page has each command with each of its options."""
    sections = re.split(r"^## ", text_of(GENERATED[1]), flags=re.MULTILINE)
    by_name = {section.partition("\n")[0]: section for section in sections}
    missing = [(name, option) for name, found in options().items() for option in found if not re.search(rf"{option}[ ,]", by_name[name])]
    assert missing == []
    assert "`--lang es`" in text_of(GENERATED[1])


def test_every_setting_is_on_the_page_of_settings() -> None:
    """The reference page has a row for each setting and names each preset."""
    page = text_of(GENERATED[0])
    missing = [name for settings in SECTIONS.values() for name in settings.fields if f"\n| `{name}` |" not in page]
    assert missing == []
    assert [name for name in PRESETS if f"- `{name}`:" not in page] == []


# The written pages.


def test_every_command_is_shown_at_work() -> None:
    """Each command is used in the README or in a how-to page, not only listed in the reference."""
    texts = "\n".join(map(text_of, HOW_TO))
    assert [name for name in COMMANDS if not re.search(rf"\bescriba {name}\b", texts)] == []


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_no_page_tells_of_what_is_not_there(path: Path) -> None:
    """Each command, option and `--set` in a written page exists; plans may be told of in CONTRIBUTING alone."""
    text = text_of(path)
    known = set().union(*options().values()) | FOREIGN
    planned = {"next"} if path.name == "CONTRIBUTING.md" else set()
    used = set(re.findall(r"(?:^|`)escriba ([a-z]+)\b", text, re.MULTILINE))
    assert used - set(COMMANDS) - planned == set()
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - known == set()
    parse_sets(tuple(re.findall(r"--set (\w+\.\w+=[^\s`]+)", text)))


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    """Each relative link has its file, and each link to a heading its heading."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^ *```.*?^ *```", "", text_of(path), flags=re.MULTILINE | re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.is_file() or (heading and heading not in headings(there)):
            broken.append(target)
    assert broken == []


def headings(path: Path) -> set[str]:
    """The headings of a page, as links name them."""
    found = re.findall(r"^#+ (.*)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def tree() -> set[str]:
    """The modules that the README's tree names, from src/escriba on."""
    block = re.search(r"<!-- tree -->\n```text\nsrc/escriba/\n(.*?)```", text_of(ROOT / "README.md"), re.DOTALL)
    assert block is not None
    folder, named = "", set()
    for line in block[1].splitlines():
        indented, name, phrase = re.fullmatch(r"( +)(\S+)(?: +(.*))?", line).groups()
        assert phrase or name.endswith("/"), f"{name} is told nothing of"
        if name.endswith("/"):
            folder = name
        else:
            named.add((folder if len(indented) == 4 else "") + name)
    return named


def test_the_tree_is_the_tree() -> None:
    """The README's tree names every module, and none that is not there; that of a package without code may be left out."""
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    left_out = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("*/__init__.py")}
    assert tree() == modules - left_out


def test_the_format_page_names_every_file_key_and_event(model: Path) -> None:
    """The page of the model folder names what a real folder holds: its files, the keys of its JSON, its tensors, events and fields."""
    page = text_of(ROOT / "docs" / "reference" / "format.md")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    events = [json.loads(line) for line in (model / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    words = {*config, *tokenizer, "vocab_size", *ModelSettings.fields}
    for event in events:
        words |= {*event, event["event"], *event.get("corpus", {})}
    assert {"begun", "progress", "epoch", "evaluated", "finished"} <= words
    assert [word for word in sorted(words) if f"`{word}`" not in page and f'`"{word}"`' not in page] == []
    assert [path.name for path in model.iterdir() if path.name not in page] == []


def test_the_json_that_is_told_of_is_the_json_that_is_printed(model: Path, make_reference: ModuleType) -> None:
    """The fields that the page of commands gives for --json are those that the commands print."""
    place = model.parent.parent
    lines = {
        "corpus": ["corpus", str(place / "book.txt")],
        "texts": ["texts"],
        "list": ["list", str(model.parent)],
        "show": ["show", str(model)],
        "generate": ["generate", str(model), "-l", "5"],
        "score": ["score", str(model), "--text", "Ana"],
        "rank": ["rank", str(model), "Ana", "Tom"],
        "evaluate": ["evaluate", str(model), str(place / "chapter.txt")],
        "recall": ["recall", str(model), "--text", "Ana"],
        "pack": ["pack", str(model), "-o", str(place / "packed.zip"), "--overwrite"],
        "next": ["next", str(model), "Ana"],
        "doctor": ["doctor", str(model)],
        "train": ["train", str(place / "book.txt"), "-o", str(place / "models" / "json"), "--quiet", *SMALL],
    }
    with_json = {name for name, found in options().items() if "--json" in found}
    assert with_json == set(make_reference.JSON_FIELDS) == set(lines)
    for name, words in lines.items():
        found = json.loads(invoke([*words, "--json"]).stdout)
        for key in ("texts", "checks"):
            found = found[key] if isinstance(found, dict) and key in found else found
        record = found[0] if isinstance(found, list) else found
        told = make_reference.JSON_FIELDS["show" if name == "list" else name]
        assert [key for key in record if f"`{key}`" not in told] == [], name


# What can be run.

SMALL = ["--steps", "3", "--hidden-size", "8", "--threads", "1", "--set", "train.sample_length=10"]
"""What training is cut down to."""


def invoke(words: list[str], given: bytes | None = None) -> Result:
    """A command in this process; an error of any kind is the test's."""
    result = CliRunner(catch_exceptions=False).invoke(cli, words, input=given)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module", autouse=True)
def one_thread_and_as_before() -> Iterator[None]:
    """Products this small are slower in several threads; what --threads sets is set back."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the texts that the documents speak of, and in it a tiny trained model, models/book."""
    place = tmp_path_factory.mktemp("docs")
    who, does = ("Ana", "Tom", "The clerk", "The old miller"), ("writes", "reads", "loses", "copies")
    what, where = ("a letter", "the long list", "an old song", "the keys"), ("at the mill", "for the king", "by night", "in vain")
    lines = [f"{who[i % 4]} {does[i // 3 % 4]} {what[i // 5 % 4]} {where[i // 7 % 4]}." for i in range(420)]
    (place / "book.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    (place / "chapter.txt").write_text("\n".join(lines[::-3]) + "\n", encoding="utf-8", newline="\n")
    (place / "carta.txt").write_bytes("Señor: la niña escribió una canción.\n".encode("latin-1") * 300)
    names = [f"{a}{b}{c}".capitalize() for a in ("ma", "lo", "pe", "tu") for b in "lrsntb" for c in ("a", "o", "ina", "ito", "el")]
    (place / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8", newline="\n")
    (place / "news.csv").write_text("".join(f'{i},"News, number {i}",{lines[i]}\n' for i in range(200)), encoding="utf-8", newline="\n")
    folder = place / "models" / "book"
    escriba.train(place / "book.txt", out=folder, cell="gru", steps=20, hidden_size=16, threads=1, sample_length=10)
    return folder


@pytest.fixture
def place(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that place, which is the current folder."""
    there = shutil.copytree(model.parent.parent, tmp_path / "place")
    monkeypatch.chdir(there)
    return there


def cut_down(words: list[str]) -> list[str]:
    """A command as the document gives it, trained for three steps of a tiny network, and into a folder that may be there."""
    if words[0] != "train":
        return words
    lengths = ("--steps", "--epochs", "--minutes")
    kept = [word for i, word in enumerate(words) if word not in lengths and (i == 0 or words[i - 1] not in lengths)]
    return [*kept, *(() if "--overwrite" in kept else ("--overwrite",)), *(() if "counts" in kept else SMALL)]


def run_shell(block: str) -> int:
    """Runs the lines of a block; gives how many there were."""
    count = 0
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words.pop(0) == "escriba", line
        given = Path(words[words.index("<") + 1]).read_bytes() if "<" in words else None
        if "<" in words:
            words = words[: words.index("<")]
        result = invoke(cut_down(words), given)
        assert result.output.strip(), line
        count += 1
    return count


@pytest.mark.slow
@pytest.mark.parametrize("path", RUNNABLE, ids=name_of)
@pytest.mark.usefixtures("place")
def test_what_a_page_shows_can_be_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block that is marked so runs as it stands, in the order of the page, but for training, which is cut down."""
    train, network, fit = escriba.train, escriba.LanguageModel, escriba.fit

    def small_train(*sources: Any, **values: Any) -> escriba.Model:
        if values.get("cell") == "counts":  # it takes no time
            return train(*sources, **{**values, "overwrite": True})
        rest = {name: value for name, value in values.items() if name not in ("minutes", "epochs", "steps")}
        return train(*sources, **{**rest, "steps": 3, "hidden_size": 8, "sample_length": 10, "overwrite": True})

    def small_network(vocab_size: int, **values: Any) -> escriba.LanguageModel:
        return network(vocab_size, **{**values, "hidden_size": 8})

    def short_fit(*things: Any, **values: Any) -> Iterator[Any]:
        return fit(*things, **{**values, "epochs": 0.1})

    monkeypatch.setattr(escriba, "train", small_train)
    monkeypatch.setattr(escriba, "LanguageModel", small_network)
    monkeypatch.setattr(escriba, "fit", short_fit)
    for kind, block in RUN.findall(text_of(path)):
        if kind == "shell":
            assert run_shell(block)
            continue
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(block, name_of(path), "exec"), {"__name__": "__main__"})
        assert shown.getvalue().strip(), block


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("tied", [False, True], ids=["", "tied"])
def test_the_example_of_the_format_gives_the_models_own_distribution(cell: str, tied: bool, place: Path) -> None:
    """The few lines of NumPy on the page of the format compute what Escriba computes."""
    text = escriba.read(place / "book.txt")
    tokenizer = escriba.CharTokenizer.fit(text)
    net = escriba.LanguageModel(tokenizer.vocab_size, cell=cell, num_layers=2, embedding_dim=16, hidden_size=16, tied=tied)
    random = np.random.default_rng(1)
    net.set_weights({name: random.normal(0.0, 0.5, array.shape) for name, array in net.get_weights().items()})  # biases too
    escriba.Model(net, tokenizer).save("models/book", overwrite=True)
    ((kind, block),) = RUN.findall(text_of(ROOT / "docs" / "reference" / "format.md"))
    assert kind == "python"
    told: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(block, "format.md", "exec"), told)
    expected = escriba.load(told["folder"], precision="float32").next(told["context"])
    assert tuple(told["symbols"]) == expected.symbols
    np.testing.assert_allclose(told["probabilities"], expected.probabilities, atol=1e-6)


def test_the_readme_has_five_lines_of_each() -> None:
    """Five lines of shell and five of Python, as their headings say."""
    blocks = dict(RUN.findall(text_of(ROOT / "README.md")))
    lines = {kind: [line for line in block.splitlines() if line.strip()] for kind, block in blocks.items()}
    assert {kind: len(found) for kind, found in lines.items()} == {"shell": 5, "python": 5}
