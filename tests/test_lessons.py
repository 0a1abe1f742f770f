"""The lessons: pages cut into cells, notebooks and scripts made of them, and every page held to the lesson that it follows."""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from escriba.cli.main import cli
from escriba.lessons import LANGUAGES, Cell, as_notebook, as_script, cells_of, write_notebooks

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "lessons"
LESSONS = json.loads((ROOT / "tests" / "lessons.json").read_text(encoding="utf-8"))
WRITTEN = [(language, name) for name, lesson in LESSONS.items() for language in lesson["headings"]]
TEXTS = {"shakespeare": "shakespeare.txt", "quijote": "quijote-latin1.txt", "news": "ag_news_test.csv", "tang": "tang300.json"}

PAGE = """\
# A lesson

Words with a [link](other.md) and a picture: ![a cell](dot.svg)

```python
EPOCHS = 30
```
<!-- small: EPOCHS = 1 -->

```json
{"this": "is shown, not run"}
```

```python
print(EPOCHS)
```
```text
1
```

```shell
escriba --version
```
```text example
escriba 9
```

The end.
"""


def page_of(language: str, name: str) -> str:
    """A page."""
    return (PAGES / language / f"{name}.md").read_text(encoding="utf-8")


# The machinery.


def test_a_page_as_cells() -> None:
    """Words and code by turns, what code printed with it, what a test puts in place too; other blocks are words."""
    first, settings, shown, printed, typed, last = cells_of(PAGE)
    assert first.kind == shown.kind == last.kind == "text"
    assert '"is shown, not run"' in shown.source
    assert settings == Cell("python", "EPOCHS = 30\n", small="EPOCHS = 1", line=5)
    assert printed == Cell("python", "print(EPOCHS)\n", "1\n", line=14)
    assert typed == Cell("shell", "escriba --version\n", "escriba 9\n", is_example=True, line=21)
    assert last.source == "The end."


def test_a_page_as_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that nbformat takes: a cell that installs comes second, pictures are in it, links to pages are words."""
    nbformat = pytest.importorskip("nbformat")
    (tmp_path / "dot.svg").write_text("<svg/>", encoding="utf-8")
    made = as_notebook(PAGE, "dot", tmp_path, "en")
    nbformat.validate(made)
    badge, *cells = made["cells"]
    assert "colab.research.google.com" in "".join(badge["source"])
    assert cells[0]["attachments"] == {"dot.svg": {"image/svg+xml": "PHN2Zy8+"}}
    assert "attachment:dot.svg" in "".join(cells[0]["source"])
    assert "with a link and" in "".join(cells[0]["source"])
    assert "find_spec" in "".join(cells[1]["source"])
    compile("".join(cells[1]["source"]), "cell", "exec")
    assert "".join(cells[2]["source"]) == "EPOCHS = 30"
    assert "".join(cells[5]["source"]) == "!escriba --version"
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/escriba")
    badge, *_ = as_notebook(PAGE, "dot", tmp_path, "en")["cells"]
    assert "/github/somebody/escriba/blob/notebooks/en/dot.ipynb" in "".join(badge["source"])


def test_a_page_as_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    """A Python program: words are comments, code stands as it is."""
    script = as_script(PAGE)
    assert "# The end." in script
    tree = ast.parse(script)
    assert isinstance(tree.body[0], ast.Assign)
    exec(compile(script.replace("'escriba --version'", "'exit 0'"), "lesson", "exec"), {})
    assert capsys.readouterr().out == "30\n"


def test_notebooks_are_written(tmp_path: Path) -> None:
    """One file a page, in a folder for each language; as scripts where that is asked for."""
    (tmp_path / "pages" / "es").mkdir(parents=True)
    (tmp_path / "pages" / "es" / "uno.md").write_text("# Uno\n\n```python\nx = 1\n```\n", encoding="utf-8")
    (notebook,) = write_notebooks(tmp_path / "pages", tmp_path / "out")
    assert notebook == tmp_path / "out" / "es" / "uno.ipynb"
    assert json.loads(notebook.read_text(encoding="utf-8"))["nbformat"] == 4
    (script,) = write_notebooks(tmp_path / "pages", tmp_path / "out", ["es"], scripts=True)
    assert script.read_text(encoding="utf-8") == "# # Uno\n\nx = 1\n"


@pytest.mark.parametrize("copy", [False, True])
def test_the_first_cell_installs_what_is_missing(copy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the unpacked repository beside the notebook, which Python takes for a package, or else from the index; a failure is told."""
    asked: list[list[str]] = []

    def install(words: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(words)
        return subprocess.CompletedProcess(words, 1)

    cell = "".join(as_notebook(PAGE.replace("![a cell](dot.svg)", ""), "one", tmp_path, "es")["cells"][2]["source"])
    if copy:
        (tmp_path / "escriba").mkdir()
        (tmp_path / "escriba" / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])  # no Escriba, no PyTorch, no matplotlib
    for name in [name for name in sys.modules if name.split(".")[0] in ("escriba", "torch", "matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if getattr(finder, "__name__", "") == "PathFinder"])
    monkeypatch.setattr(subprocess, "run", install)
    with pytest.raises(SystemExit, match="No se pudo instalar"):
        exec(compile(cell, "cell", "exec"), {})
    assert [words[-1] for words in asked] == ["./escriba[train,plot]" if copy else "escriba[train,plot]"]


def test_a_notebook_has_room_after_the_exercises(tmp_path: Path) -> None:
    """Each section of the words is a cell of its own; the glossary is linked where it lies, beside the notebooks."""
    page = "# One\n\n```python\nx = 1\n```\n\nSee the [glossary](../glossary.md).\n\n## Exercises\n\nDo it.\n\n## Solutions\n\nDone.\n"
    made = as_notebook(page, "one", tmp_path, "en")
    words = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "markdown"]
    assert words[2:] == ["See the [glossary](glossary.md).", "## Exercises\n\nDo it.", "## Solutions\n\nDone."]
    (tmp_path / "pages" / "en").mkdir(parents=True)
    (tmp_path / "pages" / "en" / "one.md").write_text(page, encoding="utf-8")
    (tmp_path / "pages" / "glossary.md").write_text("# Words\n", encoding="utf-8")
    assert [path.name for path in write_notebooks(tmp_path / "pages", tmp_path / "out", ["en"])] == ["one.ipynb", "glossary.md"]
    assert [path.name for path in write_notebooks(tmp_path / "pages", tmp_path / "py", ["en"], scripts=True)] == ["one.py"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`escriba lessons` puts the notebooks of a language into a new folder, and never over what is there."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["lessons", "--lang", "es"])
    assert done.exit_code == 0, done.output
    written = sorted(Path("lessons").glob("*.ipynb"))
    assert [path.stem for path in written] == sorted(name for name, lesson in LESSONS.items() if "es" in lesson["headings"])
    assert all(str(path) in done.stdout for path in written)
    again = CliRunner().invoke(cli, ["lessons", "--lang", "es"])
    assert "is not empty" in str(again.exception)
    monkeypatch.setenv("ESCRIBA_LANG", "zh_TW")
    assert CliRunner().invoke(cli, ["lessons", "--to", "c", "--scripts"]).exit_code == 0
    assert [path.name for path in Path("c").iterdir()] == ["shakespeare.py"]


# The pages.


@pytest.mark.parametrize(("language", "name"), WRITTEN)
def test_a_page_follows_its_lesson(language: str, name: str) -> None:
    """Every heading of the lesson has a row in the page's table, which leads to a section with something to run."""
    page = page_of(language, name)
    rows = dict(re.findall(r"^\| ([^|]+?) \| \[[^\]]*\]\(#([^)]+)\)[^|]*\|", page, re.MULTILINE))
    assert list(rows) == LESSONS[name]["headings"][language]
    parts = re.split(r"^##+ (.+)$", page, flags=re.MULTILINE)
    runs = {
        slug(heading): any(cell.kind != "text" for cell in cells_of(text)) for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    assert [anchor for anchor in rows.values() if not runs.get(anchor)] == []


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", sorted(LESSONS))
def test_a_lesson_is_the_same_in_every_language(name: str) -> None:
    """The code that trains is the same: as many blocks to run, of the same kinds."""
    kinds = {
        language: [cell.kind for cell in cells_of(page_of(language, name)) if cell.kind != "text"] for language in LESSONS[name]["headings"]
    }
    assert len(set(map(tuple, kinds.values()))) == 1


@pytest.fixture
def texts(shared_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The known texts of the lessons in a cache, so that nothing is fetched."""
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "texts").mkdir(parents=True)
    for name, file in TEXTS.items():
        shutil.copyfile(shared_data(file), tmp_path / "cache" / "texts" / f"{name}{Path(file).suffix}")


@pytest.mark.long
@pytest.mark.parametrize(("language", "name"), WRITTEN)
def test_a_page_runs(
    language: str, name: str, texts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Every block runs, in the order of the page, at small settings; what the page claims to be printed is printed, in its language."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("ESCRIBA_PROBE", "off")
    monkeypatch.setenv("MPLBACKEND", "agg")
    if language == "es":
        request.getfixturevalue("in_spanish")
    space: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells_of(page_of(language, name)):
        if cell.kind == "text":
            continue
        where = f"{language}/{name}.md, line {cell.line}"
        printed = run_shell(cell.source, where) if cell.kind == "shell" else run_python(cell.source, space, where)
        if cell.output is not None and not cell.is_example:
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.OutputChecker().check_output(cell.output, printed, options), f"{where}: it printed\n{printed}"
        exec(cell.small, space)


@pytest.mark.long
@pytest.mark.parametrize(("language", "name"), WRITTEN)
def test_a_notebook_runs(language: str, name: str, texts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook of a page runs in a real kernel from its first cell to its last, at small settings."""
    nbformat, client = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))  # for !escriba
    page = page_of(language, name)
    made = as_notebook(page, name, PAGES / language, language)
    _, *codes = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
    for code, cell in zip(codes, [cell for cell in cells_of(page) if cell.kind != "text"], strict=True):
        code["source"] += ["\n", cell.small] if cell.small else []
    (tmp_path / "here").mkdir()
    notebook = nbformat.reads(json.dumps(made), as_version=4)  # with its sources as strings
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path / "here")}}).execute()


def run_python(code: str, space: dict[str, Any], where: str) -> str:
    """Runs a cell as a notebook does: the value of its last expression is printed too."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, where, "exec"), space)
        if isinstance(last, ast.Expr) and (value := eval(compile(ast.Expression(last.value), where, "eval"), space)) is not None:
            print(value if isinstance(value, str) else repr(value))
    return printed.getvalue()


def run_shell(lines: str, where: str) -> str:
    """Runs lines that are all `escriba ...`."""
    printed = ""
    for line in filter(None, map(str.strip, lines.splitlines())):
        words = shlex.split(line, comments=True)
        assert words[0] == "escriba", f"{where}: {line}"
        result = CliRunner().invoke(cli, words[1:])
        assert result.exit_code == 0, f"{where}: {line}\n{result.output}"
        printed += result.stdout
    return printed


def existing() -> Iterator[Path]:
    """Every page that is there."""
    for language in LANGUAGES:
        yield from sorted((PAGES / language).glob("*.md"))


def test_no_page_is_of_no_lesson() -> None:
    """Each page stands for a lesson in one of its languages."""
    assert {(path.parent.name, path.stem) for path in existing()} == set(WRITTEN)
