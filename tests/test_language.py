"""Escriba speaks the language of whoever reads: nothing is left untranslated, and nothing that programs read is translated."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

import escriba
from escriba.cli.main import COMMANDS
from escriba.errors import SettingsError
from escriba.language import in_english, joined, language, later, told, tr, trn, use_language

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "escriba"

LOCALES = [
    ({"ESCRIBA_LANG": "es"}, "es"),
    ({"ESCRIBA_LANG": "es", "LANG": "en_US.UTF-8"}, "es"),
    ({"ESCRIBA_LANG": "en", "LANG": "es_ES.UTF-8"}, "en"),
    ({"LANG": "es_MX.UTF-8"}, "es"),
    ({"LANG": "es"}, "es"),
    ({"LC_MESSAGES": "es_AR", "LANG": "en_US.UTF-8"}, "es"),
    ({"LC_ALL": "C", "LANG": "es_ES.UTF-8"}, "en"),
    ({"LC_ALL": "C.UTF-8"}, "en"),
    ({"LANG": "et_EE.UTF-8"}, "en"),
    ({"ESCRIBA_LANG": "tlh"}, "en"),
    ({"ESCRIBA_LANG": ""}, "en"),
    ({}, "en"),
]


ENGLISH = {
    "_native.block": "[a-z_0-9 ]+",  # the fields of a record
    "_native.classic": "[a-z_ ]+",
    "cli.begin": "escriba .*|.*your-own-text.*|the value of the expression| --text .*",  # commands, and what the demo's English text says
    "cli.doctor": "(python -m pip|sudo|apk|winget) .*",  # commands
    "cli.spoken": "The language of messages.*",  # a help text
    "counted": "float64 on cpu.*",  # recorded
    "errors": "python -m pip .*",
    "inference.collecting": "too short|too long|there already|not wanted",  # codes
    "inference.typical": '.*escriba typical"?',  # a format's name
    "lessons": "(?s).*",  # notebooks are built in three languages of their own
    "outputs.bars": "black on ",  # styles
    "outputs.curve": "<.*",
    "outputs.drawings": ".* Mono",  # fonts
    "outputs.figures": "[A-Z].*",  # fonts
    "outputs.notebook": "(?s).*[<>].*",  # HTML
    "outputs.page": "(?s).*[<>{].*|1px solid .*|display:.*",  # HTML
    "outputs.plots": "outside lower center|offset points|punctuation, blank",  # matplotlib's words, a key
    "outputs.progress": "bold red",
    "text.known": "[A-Z].*|many poets; .*",  # titles and names
    "text.plain": "(?s).*(Gutenberg|PROJECT|SMALL|Small).*",  # the licence that is looked for
    "training.arguments": "logits, state = .*",
    "training.interrupt": "closed file",  # Python's own
    "training.probe": "model name",  # of /proc/cpuinfo
    "writing": "escriba train .*",
}
"""By module what stays English among its strings of several words, and why where it does not show."""

WORDS = re.compile(r"[A-Za-z]{2,}[,;:]? +[A-Za-z(]{2,}")
BUILT_IN = re.compile(r"[A-Z]\w*(?<!Settings)(?<!Text)(?<!Training)(?<!Checkpoint)Error")
SAID = {"tr": 1, "told": 1, "later": 1, "trn": 2, "_Entry": 9, "setting": 0, "Preset": 1, "_stack": 1}
"""Calls whose first arguments are in the catalogue: said there, or where they are shown."""


def bare(source: str) -> list[str]:
    """The strings of several words in a module that are neither said through the catalogue, nor documentation, nor for developers."""
    skipped: set[int] = set()

    def skip(node: ast.AST) -> None:
        skipped.update(map(id, ast.walk(node)))

    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            for said in node.args[: SAID.get(name, 0)]:
                skip(said)
            for keyword in node.keywords:
                if (name, keyword.arg) == ("setting", "description") or keyword.arg in ("help", "message"):
                    skip(keyword.value)
        elif (
            (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and BUILT_IN.fullmatch(getattr(node.exc.func, "id", "")))
            or isinstance(node, ast.Assert)
            or getattr(node, "name", "") == "__repr__"
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        ):
            skip(node)
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [node.value for node in strings if id(node) not in skipped and WORDS.search(node.value)]


@pytest.fixture(scope="module")
def messages(catalogues: None) -> Iterator[Any]:
    """The tool that collects what is said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module("messages")


def speaking(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`escriba` with these words in a process of its own, whose language is what these variables say."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "ESCRIBA_LANG"))}
    environment = {**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, encoding="utf-8", check=False)


def test_every_sentence_is_translated(messages: Any) -> None:
    """In the catalogue stands all that is said and nothing else, translated, with the same fields."""
    for path in sorted((SOURCE / "locale").glob("*/LC_MESSAGES/*.po")):
        with path.open("rb") as file:
            kept = {message.id: message for message in messages.read_po(file) if message.id}
        said = {message.id for message in messages.everything() if message.id}
        assert said - kept.keys() == set(), "run: python tools/messages.py"
        assert kept.keys() - said == set(), "run: python tools/messages.py"
        assert [fault for message in kept.values() for fault in messages.faults(message)] == []


def test_a_missing_translation_is_found(messages: Any) -> None:
    """What the test above relies on."""
    catalogue = messages.Catalog(locale="es")
    for said, given in {
        "{n:,} lines of {name!r}": "{n:,} líneas de {name!r}",
        "no lines": "",
        "line {n}": "línea {m}",
        "{bits:.3f} bits": "{bits} bits",
    }.items():
        catalogue.add(said, given)
    catalogue.add(("{n} line", "{n} lines"), ("una línea", ""))
    found = [len(list(messages.faults(message))) for message in catalogue if message.id]
    assert found == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_sentence_is_bare(path: Path) -> None:
    """A sentence for people goes through the catalogue; what stays English is named above."""
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    found = bare(path.read_text(encoding="utf-8"))
    stays = re.compile(ENGLISH.get(name, "(?!)"))
    assert [words for words in found if not stays.fullmatch(words)] == []
    assert found or name not in ENGLISH, "nothing of it stays English any more"


def unfilled(source: str) -> list[str]:
    """The sentences whose fields are other ones than those that are given with them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("tr", "told", "trn"):
            given = {keyword.arg for keyword in node.keywords} | ({"n"} if node.func.id == "trn" else set())
            said = [one.value for one in node.args[: SAID[node.func.id]] if isinstance(one, ast.Constant)]
            wanted = {name for one in said for _, name, _, _ in Formatter().parse(one) if name} if given else set()
            if None not in given and len(said) == SAID[node.func.id] and wanted | ({"n"} & given) != given:
                found.append(said[0])
    return found


def test_every_field_is_given() -> None:
    """An error must not fail while it is made: each field of a sentence comes with it, and nothing else."""
    assert [(path.name, said) for path in SOURCE.rglob("*.py") for said in unfilled(path.read_text(encoding="utf-8"))] == []
    assert unfilled('tr("{a} of {b}", a=1)') == ["{a} of {b}"]
    assert unfilled('tr("{a}", a=1, b=2)') == ["{a}"]
    assert unfilled('trn("one", "{n} of {b}", 3)') == ["one"]
    assert unfilled('tr("an object such as {}")') == []


def test_a_bare_sentence_is_found() -> None:
    """What the test above relies on."""
    assert bare('raise TextError(f"there is no {name}")') == ["there is no "]
    assert bare('click.echo("it was kept")') == ["it was kept"]
    assert bare('raise TextError(tr("there is no {name}", name=name))') == []
    assert bare('def f():\n    """Gives a thing."""\n    raise TypeError("not a thing")') == []


@pytest.mark.parametrize(("variables", "expected"), LOCALES, ids=str)
def test_the_language_of_the_system(variables: dict[str, str], expected: str) -> None:
    """ESCRIBA_LANG is heard first, then the locale; a language that is not spoken is English."""
    code = "from escriba.language import language; print(language())"
    assert speaking("-c", code, **variables).stdout.strip() == expected


@pytest.mark.parametrize(
    "words", [("--lang", "es", "train", "--help"), ("train", "--lang=es", "--help"), ("train", "--help", "--lang", "es")]
)
def test_lang_stands_anywhere(words: tuple[str, ...], catalogues: None) -> None:
    """Before the command, after it, even after --help; it goes before every variable, and click's own words follow."""
    done = speaking("-m", "escriba", *words, ESCRIBA_LANG="en")
    assert done.returncode == 0
    assert "Uso: escriba train" in done.stdout
    assert "Opciones:" in done.stdout
    assert "semilla de los pesos" in done.stdout


def test_the_help_of_all_commands(catalogues: None) -> None:
    """The first page, in Spanish and in English."""
    spanish, english = (speaking("-m", "escriba", "--help", ESCRIBA_LANG=name).stdout for name in ("es", "en"))
    assert "Train a model on a text." in english
    assert "Train" not in spanish
    assert "Usage" not in spanish
    assert all(re.search(rf"^  {name}  ", spanish, re.MULTILINE) for name in COMMANDS)


def test_the_words_of_click_that_it_does_not_name(catalogues: None) -> None:
    """What click puts beside an option that must be given, which no reader of its source finds."""
    assert "[required]" not in speaking("-m", "escriba", "pack", "--help", ESCRIBA_LANG="es").stdout
    assert "[required]" in speaking("-m", "escriba", "pack", "--help", ESCRIBA_LANG="en").stdout


def test_a_language_that_is_not_spoken() -> None:
    """The command refuses it as any wrong choice; Python too."""
    done = speaking("-m", "escriba", "--lang", "tlh", "list")
    assert done.returncode == 2
    assert "'tlh'" in done.stderr
    with pytest.raises(ValueError, match=r"there is no language 'tlh'.*en, es"):
        use_language("tlh")
    assert language() == "en"


def test_errors_in_spanish(in_spanish: None) -> None:
    """An error, what was expected and the hint; names of settings stay."""
    with pytest.raises(SettingsError) as caught:
        escriba.preset("smal")
    assert "sugerencia: ¿querías decir 'small'?" in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        escriba.ModelSettings(hidden_size=0)
    assert "hidden_size" in str(caught.value)
    assert "se esperaba:" in str(caught.value)
    assert "should be" not in str(caught.value)


def test_use_language() -> None:
    """A locale's whole name is understood; None is the system's again."""
    try:
        use_language("es-MX")
        assert language() == "es"
    finally:
        use_language("en")
    assert later("Write") == tr("Write") == "Write"
    assert trn("{n} line", "{n:,} lines", 1) == "1 line"
    assert trn("{n} line", "{n:,} lines", 2000) == "2,000 lines"


def test_what_is_shown_and_recorded_is_recorded_in_english(in_spanish: None) -> None:
    """A sentence of other such sentences too; what is no such sentence stands in both as it is."""
    name = told("counting {order}-gram", order=6)
    assert (name, name.english) == ("6-grama de conteo", "counting 6-gram")
    line = told("bits per character on the held-out part: {figures}", figures=joined(", ", [name, "mine"]))
    assert "6-grama de conteo, mine" in line
    assert in_english(line) == "bits per character on the held-out part: counting 6-gram, mine"
    assert in_english("6-grama") == "6-grama"


def test_what_programs_read_is_the_same(tmp_path: Path, story: str, in_spanish: None) -> None:
    """A model's files and JSON do not depend on the language."""
    text = tmp_path / "story.txt"
    text.write_text(story, encoding="utf-8")
    found = {}
    for name in ("es", "en"):
        folder = tmp_path / name / "fox"
        train = speaking("-m", "escriba", "train", str(text), "--cell", "counts", "--order", "3", "-o", str(folder), ESCRIBA_LANG=name)
        assert train.returncode == 0, train.stderr
        score = speaking("-m", "escriba", "score", str(folder), "--text", "the cat", "--json", ESCRIBA_LANG=name)
        files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        lines = [json.loads(line) for line in files.pop("metrics.jsonl").decode().splitlines()]
        lasting = [{key: value for key, value in line.items() if not key.endswith("_s") and key != "date"} for line in lines]
        found[name] = (files, lasting, sorted(json.loads(score.stdout)))
    assert found["es"] == found["en"]
