"""``escriba lessons``: the lessons as notebooks or scripts, in a language.

It knows nothing of what they teach.
"""

from __future__ import annotations

from pathlib import Path

import click

from escriba.errors import EscribaError
from escriba.language import language, locale_name, tr
from escriba.lessons import LANGUAGES, lessons_in

__all__ = ["lessons_command"]


def _usual() -> str:
    """The language that is spoken; or Chinese, which lessons are in, where the system speaks that."""
    return "zh-Hant" if locale_name().lower().startswith("zh") else language()


@click.command("lessons")
@click.option("--lang", type=click.Choice(list(LANGUAGES), case_sensitive=False), help="The language. [default: the system's, else en]")
@click.option("--to", metavar="FOLDER", default="lessons", show_default=True, help="Where they go; it must be empty or new.")
@click.option("--scripts", is_flag=True, help="Python scripts instead of notebooks.")
def lessons_command(lang: str | None, to: str, scripts: bool) -> None:
    """Put the lessons, one notebook each, into a folder.

    \b
    escriba lessons --lang es
    escriba lessons --to class/week-1 --scripts
    """
    folder = Path(to)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EscribaError(
            tr("{folder} is not empty: what you wrote there would be lost", folder=folder),
            hint=tr("another folder: --to {folder}-2", folder=folder),
        )
    try:
        written = lessons_in(lang or _usual(), folder, scripts=scripts)
    except OSError as error:
        raise EscribaError(tr("the lessons could not be written into {folder}: {error}", folder=folder, error=error)) from error
    for path in written:
        click.echo(path)
    if not scripts:
        click.echo(tr("open one: jupyter lab, or upload it to https://colab.research.google.com"), err=True)
