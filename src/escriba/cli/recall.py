"""``escriba recall``: how much of a text stands verbatim in the text that a model learnt from.

It knows nothing of how that is found.
"""

from __future__ import annotations

import sys

import click

from escriba.cli.options import json_option, print_json
from escriba.cli.texts import fetch_first
from escriba.cli.write import notes_on_stderr
from escriba.language import tr

__all__ = ["recall_command"]


@click.command("recall", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("--text", help="The text itself.")
@click.option("--against", multiple=True, metavar="FILE", help="The training text, if it is elsewhere now, or another one.")
@click.option("--encoding", metavar="NAME", help="Encoding of FILE. [default: utf-8]")
@json_option
def recall_command(
    model: str, file: str | None, text: str | None, against: tuple[str, ...], encoding: str | None, as_json: bool
) -> None:  # fmt: skip
    """Show how much of a text stands verbatim in the training text.

    That is: the longest such passage; of stretches of 4 to 100 characters the share that stands nowhere there; and before each line a mark,
    = if it is a whole line of the training text, + if it is new. What was held out does not count as training text.

    \b
    escriba recall book page.txt
    escriba generate book --length 2000 | escriba recall book -
    escriba recall book --text "Ana writes a letter." --against books/*.txt
    """
    import escriba.api

    if (file is None) == (text is None):
        raise click.UsageError(tr("give one FILE (- is standard input), or --text, and not both"))
    loaded = escriba.api.load(model)
    fetch_first([*against, *([] if file is None else [file])])
    given = text if text is not None else _text_of(str(file), encoding)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn(tr("{task.completed:,.0f} characters")))
    with notes_on_stderr(), Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(tr("looking through the training text"), total=None)
        found = loaded.recall(given, against or None, watch=lambda seen: bar.update(task, completed=seen))
    if as_json:
        print_json(found.as_dict())
    else:
        click.echo(str(found))


def _text_of(file: str, encoding: str | None) -> str:
    """The text of FILE."""
    from escriba.settings import TextSettings
    from escriba.text.files import TextFile, find

    files = [TextFile(path, encoding or TextSettings().encoding) for path in find([file])]
    text = "".join(piece for one in files for piece in one.texts())
    for one in files:
        for note in one.notes:
            click.echo(tr("note: {note}", note=note), err=True)
    return text
