"""``escriba texts``: the well-known texts, and fetching them.

It knows nothing of how they are fetched and kept.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from escriba.cli.options import json_option, print_json
from escriba.errors import SettingsError, TextError
from escriba.language import tr

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["fetch_first", "texts_command"]


class _Texts(click.Group):
    """The one command below `texts`, and what is said to a name that stands in its place."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first word.

        Raises:
            click.UsageError: there is none; the word may be a text's name.
        """
        if args[0] not in self.commands:
            raise click.UsageError(tr("there is no command {name!r}. A text is fetched by: escriba texts get {name}", name=args[0]), ctx)
        return super().resolve_command(ctx, args)


@click.group("texts", cls=_Texts, invoke_without_command=True)
@json_option
@click.pass_context
def texts_command(ctx: click.Context, as_json: bool) -> None:
    """List well-known public texts, or fetch one.

    Wherever a text is asked for, text:NAME stands for one of these, and an address that begins with https:// for what it gives.

    \b
    escriba texts
    escriba texts get quijote
    escriba train text:quijote --minutes 5
    """
    if ctx.invoked_subcommand is not None:
        return
    from escriba.text.cached import cached_file
    from escriba.text.known import KNOWN

    if as_json:
        print_json([{**text.as_dict(), "cached": cached_file(text) is not None} for text in KNOWN.values()])
        return
    width = max(map(len, KNOWN))
    for text in KNOWN.values():
        here = f"  ({tr('fetched')})" if cached_file(text) is not None else ""
        click.echo(f"{text.name:<{width}}  {text.language}  {text.bytes / 1e6:4.1f} MB  {tr(text.title)}; {tr(text.author)}{here}")
        how = f"; {tr('read with {options}', options=text.how)}" if text.how else ""
        click.echo(f"{'':<{width}}  {tr(text.licence)}; {text.encoding}{how}")
    click.echo("\n" + tr("fetch one: escriba texts get NAME; or use it at once: escriba train text:NAME"), err=True)


@texts_command.command("get", no_args_is_help=True)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-o", "--out", metavar="FILE", help="Also copy it there: a file that is not there yet, or a folder.")
@json_option
def get_command(names: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Fetch well-known texts, or what addresses give, and print the files.

    \b
    escriba texts get shakespeare names
    escriba texts get quijote -o quijote.txt
    escriba texts get https://example.org/book.txt
    """
    from escriba.text.download import hash_of
    from escriba.text.known import PREFIX, is_fetched, known

    sources = [name if is_fetched(name) else PREFIX + known(name).name for name in names]
    if out is not None and len(sources) > 1 and not Path(out).is_dir():
        raise SettingsError(
            tr("-o {file} for {texts} texts", file=out, texts=len(sources)), expected=tr("a folder that is there, or one text alone")
        )
    found = []
    for name, path in zip(sources, _fetched(sources), strict=True):
        file = path if out is None else _copied(path, Path(out))
        found.append({"name": name.removeprefix(PREFIX), "path": str(file), "bytes": file.stat().st_size, "sha256": hash_of(file)})
    if as_json:
        print_json(found)
        return
    for one in found:
        click.echo(one["path"])


def fetch_first(sources: Iterable[str]) -> None:
    """Fetches those sources that are fetched, with a bar on standard error; reading them takes them from the cache then."""
    from escriba.text.known import is_fetched

    _fetched([source for source in sources if is_fetched(source)])


def _fetched(sources: list[str]) -> list[Path]:
    """The files of known texts and addresses."""
    if not sources:
        return []
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from escriba.cli.write import notes_on_stderr
    from escriba.text.cached import local_copy

    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    files = []
    with notes_on_stderr(), Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for source in sources:
            number = bar.add_task(source[:60], total=None, visible=False)
            files.append(local_copy(source, _moved(bar, number)))
            if (task := bar.tasks[-1]).completed:
                console.print(tr("fetched {source}: {size:,.0f} bytes", source=source, size=task.completed), markup=False)
    return files


def _moved(bar: Progress, task: TaskID) -> Callable[[int, int | None], None]:
    """What moves a bar on; it is seen once something comes, so not for what was fetched before."""

    def move(come: int, total: int | None) -> None:
        bar.update(task, completed=come, total=total, visible=True)

    return move


def _copied(file: Path, out: Path) -> Path:
    """A copy under the name that was asked for, or in the folder under its own."""
    target, is_ours = out / file.name if out.is_dir() else out, False
    try:
        with file.open("rb") as source, target.open("xb") as copy:
            is_ours = True
            shutil.copyfileobj(source, copy)
    except BaseException as error:
        if is_ours:  # half a copy; never a file that was there before
            with contextlib.suppress(OSError):
                target.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise TextError(tr("{file} is there already", file=target), hint=tr("choose another file with -o")) from error
        if isinstance(error, OSError):
            raise TextError(
                tr("{file} could not be written: {error}", file=target, error=error.strerror or error),
                hint=tr("choose another file with -o"),
            ) from error
        raise
    return target
