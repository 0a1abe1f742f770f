"""The lessons: their pages cut into cells, and made into notebooks and scripts.

It knows nothing of what the pages teach, and needs nothing but Python's own library: the package is built with it.

A page is Markdown. A block of ```python or ```shell is run, in the order of the page, as in one notebook. A block of ```text behind
one is what it printed; as ```text example, what it printed once: another computer prints something else. Behind a block that says
how long to train, a comment `<!-- small: NAME = value -->` says what the tests put in its place.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["LANGUAGES", "Cell", "as_notebook", "as_script", "cells_of", "lessons_in", "write_notebooks"]

LANGUAGES: Mapping[str, str] = {"en": "English", "es": "español", "zh-Hant": "繁體中文"}
"""The languages of the pages."""

FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```[ \t]*\n?", re.MULTILINE | re.DOTALL)
SMALL = re.compile(r"\A\s*<!-- small: (.*?) -->[ \t]*\n?", re.DOTALL)
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")
MIME = {".svg": "image/svg+xml", ".png": "image/png"}

OPENING: Mapping[str, str] = {
    "en": "Works in Colab, in Jupyter and offline; a PyTorch that is there is never replaced.",
    "es": "Sirve en Colab, en Jupyter y sin red; si ya hay un PyTorch, nunca lo sustituye.",
    "zh-Hant": "可在 Colab、Jupyter 與離線環境使用；已有的 PyTorch 絕不會被替換。",
}
FAILED: Mapping[str, str] = {
    "en": "Escriba could not be installed: put its unpacked repository, the folder escriba, beside this notebook, and run this cell again.",
    "es": "No se pudo instalar Escriba: pon junto a este cuaderno su repositorio descomprimido, la carpeta escriba, y repite esta celda.",
    "zh-Hant": "無法安裝 Escriba：請把解壓縮後的原始碼資料夾 escriba 放在這本筆記本旁邊，再執行這一格。",
}
GLOSSARY = "glossary.md"
"""The page of words in all languages, which lies beside the notebooks too."""
BUILT = Path(__file__).parent / "notebooks"
"""Where a built package has them."""
PAGES = Path(__file__).resolve().parents[2] / "docs" / "lessons"
"""Where a copy of the repository has the pages."""
COLAB = "https://colab.research.google.com"
INSTALL = """\
import importlib.util, os, subprocess, sys

missing = [name for name in ("torch", "matplotlib") if importlib.util.find_spec(name) is None]
found = importlib.util.find_spec("escriba")
if found is None or found.origin is None:  # a mere folder of that name is no package
    extras = "plot" if "torch" not in missing else "train,plot"
    copy = os.path.isfile("escriba/pyproject.toml")  # the unpacked repository, beside this notebook
    missing = [f"{'./' if copy else ''}escriba[{extras}]"]
if missing and subprocess.run([sys.executable, "-m", "pip", "install", "-q", *missing]).returncode:
    raise SystemExit(failed)
importlib.invalidate_caches()
"""


@dataclass(frozen=True)
class Cell:
    """A piece of a page.

    Attributes:
        kind: "text" (Markdown), "python" or "shell".
        source: the words or the code.
        output: what the code printed, where the page shows it.
        is_example: whether that differs from computer to computer.
        small: Python that a test runs after the code, so that nothing takes long.
        line: the line of the page where it begins, from 1.
    """

    kind: Literal["text", "python", "shell"]
    source: str
    output: str | None = None
    is_example: bool = False
    small: str = ""
    line: int = 1


def cells_of(page: str) -> list[Cell]:
    """A page as cells, in its order; a block in another language than python, shell and text is a part of the words."""
    cells: list[Cell] = []
    words, end = "", 0

    def told() -> None:
        nonlocal words
        if words.strip():
            cells.append(Cell("text", words.strip("\n"), line=page.count("\n", 0, end) + 1 - words.rstrip("\n").count("\n")))
        words = ""

    for block in FENCE.finditer(page):
        between, language, info, code = page[end : block.start()], block[1], block[2].strip(), block[3]
        if cells and not words and (small := SMALL.match(between)):
            cells[-1] = Cell(**{**vars(cells[-1]), "small": small[1]})
            between = between[small.end() :]
        words += between
        if language == "text" and cells and cells[-1].kind != "text" and cells[-1].output is None and not words.strip():
            cells[-1] = Cell(**{**vars(cells[-1]), "output": code, "is_example": info == "example"})
            words = ""
        elif language in ("python", "shell"):
            told()
            kind: Literal["python", "shell"] = "python" if language == "python" else "shell"
            cells.append(Cell(kind, code, line=page.count("\n", 0, block.start()) + 1))
        else:
            words += block[0]
        end = block.end()
    between = page[end:]
    if cells and not words and (small := SMALL.match(between)):
        cells[-1] = Cell(**{**vars(cells[-1]), "small": small[1]})
        between = between[small.end() :]
    words, end = words + between, len(page)
    told()
    return cells


def as_notebook(page: str, name: str, folder: Path, language: str) -> dict[str, Any]:
    """A page as a notebook of format 4.5: its cells, a badge that opens Colab, and a cell that installs Escriba where it is missing.

    Args:
        page: the page.
        name: its name, without a suffix.
        folder: where it lies; its pictures are put into the notebook, from there.
        language: of the page.
    """
    first, *others = cells_of(page)
    badge = Cell("text", f"[![Colab]({COLAB}/assets/colab-badge.svg)]({_colab(name, language)})")
    speak = f'\nos.environ["ESCRIBA_LANG"] = "{language}"\n' if language == "es" else ""
    install = Cell("python", f"# {OPENING[language]}\nfailed = {json.dumps(FAILED[language], ensure_ascii=False)}\n{INSTALL}{speak}")
    cells = [badge, first, install, *(part for cell in others for part in _by_heading(cell))]
    return {
        "cells": [_notebook_cell(cell, number, folder) for number, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _by_heading(cell: Cell) -> list[Cell]:
    """Words as a cell a section, so that there is room between exercises and their solutions; code as it is."""
    if cell.kind != "text":
        return [cell]
    return [
        Cell("text", part.strip("\n"), line=cell.line) for part in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE) if part.strip()
    ]


def _colab(name: str, language: str) -> str:
    """Where Colab opens a notebook: in the branch to which the repository that builds it brings them; without one, Colab itself."""
    repository = os.environ.get("GITHUB_REPOSITORY")
    return f"{COLAB}/github/{repository}/blob/notebooks/{language}/{name}.ipynb" if repository else f"{COLAB}/"


def _notebook_cell(cell: Cell, number: int, folder: Path) -> dict[str, Any]:
    source = cell.source
    attachments: dict[str, dict[str, str]] = {}
    if cell.kind == "text":

        def attached(found: re.Match[str]) -> str:
            if found[2].startswith("https:"):
                return found[0]
            path = folder / found[2]
            attachments[path.name] = {MIME[path.suffix]: base64.b64encode(path.read_bytes()).decode("ascii")}
            return f"![{found[1]}](attachment:{path.name})"

        source = LINK.sub(_linked, PICTURE.sub(attached, source))
        made: dict[str, Any] = {"cell_type": "markdown", "metadata": {}}
        if attachments:
            made["attachments"] = attachments
    else:
        if cell.kind == "shell":
            source = "".join(f"!{line}\n" if line.strip() else line for line in source.splitlines(keepends=False) if line.strip())
        made = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    lines = source.rstrip("\n").splitlines(keepends=True)
    return {"id": f"cell-{number}", **made, "source": lines}


def _linked(found: re.Match[str]) -> str:
    """A link as a notebook has it: beside it lies no page but the glossary."""
    return f"[{found[1]}]({GLOSSARY})" if found[2].endswith(GLOSSARY) else found[1]


def as_script(page: str) -> str:
    """A page as one Python script: its words as comments, its code as it stands, what is typed in a shell by ``subprocess``."""
    parts = []
    for cell in cells_of(page):
        if cell.kind == "text":
            words = PICTURE.sub(r"\1", LINK.sub(r"\1", cell.source))
            parts.append("\n".join(f"# {line}".rstrip() for line in words.splitlines()))
        elif cell.kind == "python":
            parts.append(cell.source.rstrip("\n"))
        else:
            lines = [line for line in cell.source.splitlines() if line.strip()]
            parts.append("\n".join(f"__import__('subprocess').run({line!r}, shell=True, check=True)" for line in lines))
    return "\n\n".join(parts) + "\n"


def write_notebooks(pages: Path, to: Path, languages: Sequence[str] = tuple(LANGUAGES), *, scripts: bool = False) -> list[Path]:
    """Makes a notebook, or a script, of every page of some languages.

    Args:
        pages: the folder with a folder of pages for each language.
        to: where they go; a folder for each language is made there.
        languages: which.
        scripts: scripts instead of notebooks.

    Returns:
        what was written.
    """
    written = []
    for language in languages:
        for path in sorted((pages / language).glob("*.md")):
            page = path.read_text(encoding="utf-8")
            target = to / language / (path.stem + (".py" if scripts else ".ipynb"))
            target.parent.mkdir(parents=True, exist_ok=True)
            made = (
                as_script(page)
                if scripts
                else json.dumps(as_notebook(page, path.stem, path.parent, language), ensure_ascii=False, indent=1) + "\n"
            )
            target.write_text(made, encoding="utf-8", newline="\n")
            written.append(target)
        if not scripts and (pages / GLOSSARY).is_file():
            written.append(Path(shutil.copyfile(pages / GLOSSARY, to / language / GLOSSARY)))
    return written


def lessons_in(language: str, to: Path, *, scripts: bool = False) -> list[Path]:
    """Copies the lessons of a language from the installed package, or makes them from the pages of a copy of the repository.

    Args:
        language: which.
        to: an empty or new folder for them.
        scripts: scripts instead of notebooks.

    Returns:
        what was written.

    Raises:
        FileNotFoundError: there are neither.
    """
    if not BUILT.is_dir():
        if not (PAGES / language).is_dir():
            raise FileNotFoundError(f"there are no lessons in {BUILT} or {PAGES}")
        with tempfile.TemporaryDirectory() as place:
            return [_copied(path, to) for path in write_notebooks(PAGES, Path(place), [language], scripts=scripts)]
    built = sorted((BUILT / language).glob("*.py" if scripts else "*.ipynb"))
    return [_copied(path, to) for path in (*built, *([] if scripts else (BUILT / language).glob(GLOSSARY)))]


def _copied(path: Path, to: Path) -> Path:
    to.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(path, to / path.name))
