#!/usr/bin/env python3
"""Brings the catalogues up to date with the source: every sentence for people is in them, and none that is said no more.

It knows nothing of how a sentence comes out; `src/escriba/language.py` does that.
"""

from __future__ import annotations

import argparse
import ast
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po

from catalogues import compile_all

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "escriba"
LOCALE = SOURCE / "locale"
OWN, CLICK = {"tr": 1, "told": 1, "later": 1, "trn": 2}, {"_": 1, "ngettext": 2}
"""The functions whose first arguments are sentences, and how many: Escriba's, and click's, which speaks through the same catalogue."""

HEAD = "# What Escriba says. `python tools/messages.py` brings this file up to date with the source and tells what it lacks."

Said = str | tuple[str, str]
"""A sentence; or of one, and of many."""


def called(tree: ast.AST, functions: dict[str, int]) -> Iterator[Said]:
    """The sentences given to these functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            said = node.args[: functions[node.func.id]]
            words = [one.value for one in said if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if words and len(words) == len(said):
                yield words[0] if len(words) == 1 else (words[0], words[1])


def shown(command: Any) -> Iterator[str]:
    """The help of a command, of its options, and of the commands under it."""
    import click

    from escriba.cli.spoken import paragraphs

    yield from (words for _, words in paragraphs(command.help or ""))
    for parameter in command.params:
        if getattr(parameter, "help", None) and not hasattr(parameter, "in_words"):
            yield parameter.help
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from shown(child)


def described() -> Iterator[str]:
    """What the settings are for."""
    from escriba.presets import PRESETS
    from escriba.settings import ModelSettings, SampleSettings, TextSettings, TrainSettings

    for section in (TextSettings, ModelSettings, TrainSettings, SampleSettings):
        yield from (field.description for field in section.fields.values() if field.description)
    yield from (preset.purpose for preset in PRESETS.values())


def everything() -> Catalog:
    """All that is said, in a catalogue without translations."""
    import click

    from escriba.cli.main import COMMANDS, cli

    found = Catalog(project="escriba", charset="utf-8")
    for path in sorted(SOURCE.rglob("*.py")):
        for said in called(ast.parse(path.read_text(encoding="utf-8")), OWN):
            found.add(said, locations=[(path.relative_to(SOURCE).as_posix(), 1)])
    for said in [*shown(cli), *(entry.help for entry in COMMANDS.values())]:
        found.add(said, locations=[("cli", 1)])
    for said in described():
        found.add(said, locations=[("settings.py", 1)])
    for path in sorted(Path(click.__file__).parent.glob("*.py")):
        for words in called(ast.parse(path.read_text(encoding="utf-8")), CLICK):
            found.add(words, locations=[("click", 1)])
    return found


def faults(message: Message) -> Iterator[str]:
    """What is wrong with a translation: there is none, it is in doubt, or its fields are others."""
    originals = [message.id] if isinstance(message.id, str) else list(message.id or ())
    given = [message.string] if isinstance(message.string, str) else list(message.string or ())
    if message.fuzzy or not given or not all(given):
        yield f"not translated: {originals[0]!r}"
        return
    wanted = fields(originals[-1])
    if any(fields(one) != wanted for one in given[-1:]) or any(not fields(one) <= wanted for one in given):
        yield f"other fields than {sorted(wanted)}: {given[-1]!r}"


def fields(sentence: str) -> set[tuple[str, str, str]]:
    """The fields of a sentence, with their forms; braces that are none are none."""
    try:
        parts = list(string.Formatter().parse(sentence))
    except ValueError:
        return set()
    return {(name, form or "", conversion or "") for _, name, form, conversion in parts if name}


def update(path: Path) -> Catalog:
    """A catalogue as it must be: what is new stands in it untranslated, what is said no more is gone."""
    with path.open("rb") as file:
        known = read_po(file, locale=path.parts[-3])
    new = Catalog(
        locale=path.parts[-3], project="escriba", version="0", charset="utf-8", fuzzy=False, header_comment=HEAD, msgid_bugs_address="-",
        last_translator="the Escriba authors", language_team="-", creation_date=known.creation_date, revision_date=known.revision_date,
    )  # fmt: skip
    for message in everything():
        if message.id:
            before = known.get(message.id)
            new.add(message.id, before.string if before else "", locations=message.locations)
    return new


def main() -> int:
    """Updates the catalogues and tells what they lack; with --check changes nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, only tell")
    arguments = parser.parse_args()
    wrong = 0
    for path in sorted(LOCALE.glob("*/LC_MESSAGES/*.po")):
        new = update(path)
        found = [fault for message in new if message.id for fault in faults(message)]
        print(f"{path.relative_to(ROOT)}: {len(new)} sentences, {len(found)} faults", *found, sep="\n  ")
        wrong += len(found)
        if not arguments.check:
            with path.open("wb") as file:
                write_po(file, new, width=130, sort_output=True, include_lineno=False)
    if not arguments.check:
        compile_all(LOCALE)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
