"""The command ``escriba``: its groups, and errors as people read them.

It knows nothing of what the commands do; each lives in a module that loads when it is called.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn, TextIO

import click

from escriba import __version__
from escriba.cli.spoken import in_language, lang_option, speak
from escriba.errors import EscribaError, near_name
from escriba.language import LANGUAGES, later, tr
from escriba.training.interrupt import NO_READER

__all__ = ["cli", "main"]


class _Entry(NamedTuple):
    group: str
    module: str
    help: str


COMMANDS = {
    "demo": _Entry("Begin", "begin", "Train for two minutes, write, score: see it all at once."),
    "texts": _Entry("Begin", "texts", "List well-known texts, or fetch one."),
    "lessons": _Entry("Begin", "lessons", "Get the lessons as notebooks, in English, Spanish or Chinese."),
    "corpus": _Entry("Make", "make", "Show what would be read of a text, before training."),
    "train": _Entry("Make", "make", "Train a model on a text."),
    "list": _Entry("Make", "look", "List the models here."),
    "show": _Entry("Make", "look", "Show a model: network, text, best, curve."),
    "generate": _Entry("Write", "write", "Write text."),
    "write": _Entry("Write", "pick", "Write with a model: you pick the next symbol, word or line."),
    "score": _Entry("Read", "score", "Score a text: log-likelihood, bits per character."),
    "recall": _Entry("Read", "recall", "Show what of a text stands verbatim in the training text."),
    "rank": _Entry("Read", "rank", "Rank texts, or all orders of a word's letters."),
    "evaluate": _Entry("Read", "evaluate", "Measure models on a whole text: loss, its error, bits per character."),
    "next": _Entry("Read", "next", "Show what may come after a text: bars of the likeliest symbols."),
    "plot": _Entry("Look", "plot", "Draw a model: curve, architecture, embedding, surprisal, next."),
    "pack": _Entry("Share", "pack", "Pack a model to pass it on: small, in one file."),
    "doctor": _Entry("Care", "doctor", "Check this installation, or a model."),
}
"""Every command: its group in the help, its module, its sentence."""
GROUPS = (later("Begin"), later("Make"), later("Write"), later("Read"), later("Look"), later("Share"), later("Care"))
"""In the order of the help."""


class _Commands(click.Group):
    """The commands by group; each module loads when its command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name, its module loaded."""
        if name not in COMMANDS:
            near = near_name(name, COMMANDS)
            met = tr("there is no command {name!r}.", name=name)
            raise click.UsageError(" ".join([met, tr("Did you mean {near!r}?", near=near)] if near else [met]), ctx)
        command: click.Command = getattr(importlib.import_module(f"escriba.cli.{COMMANDS[name].module}"), f"{name}_command")
        return in_language(command)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; when the reader of a pipe had enough, that is an end like any other (click would exit with 1)."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, group by group."""
        for group in GROUPS:
            with formatter.section(tr(group)):
                formatter.write_dl([(name, tr(entry.help)) for name, entry in COMMANDS.items() if entry.group == group])


@click.group(cls=_Commands, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="escriba", message="%(prog)s %(version)s")
def cli() -> None:
    """Escriba trains small language models on your own text, and writes, reads and scores with them.

    \b
    escriba demo
    escriba train book.txt --minutes 5
    escriba generate book --prompt "Once upon a time"
    """


cli.params.append(lang_option())


class _Stream:
    """Standard output or standard error, in UTF-8 whatever the console, whose reader may go away (``| head``).

    What is then still said on standard error is dropped: a training goes on. On standard output it is a BrokenPipeError, whatever the
    system calls it, for there is no use in writing on. A stream that is not there (pythonw, a service of Windows) takes everything.
    """

    def __init__(self, stream: TextIO | None, *, talk: bool) -> None:
        self._stream: Any = open(os.devnull, "w", encoding="utf-8") if stream is None else stream  # noqa: PTH123, SIM115
        self._talk = talk
        reconfigure = getattr(self._stream, "reconfigure", None)
        if reconfigure is not None:  # half a surrogate pair is shown, not a crash
            reconfigure(encoding="utf-8", errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes, as a stream does."""
        return int(self._guarded(self._stream.write, text) or 0)

    def flush(self) -> None:
        """Flushes, as a stream does."""
        self._guarded(self._stream.flush)

    def _guarded(self, call: Callable[..., Any], *arguments: str) -> Any:
        try:
            return call(*arguments)
        except OSError as error:
            if error.errno not in NO_READER:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # takes what is still buffered, too
            if not self._talk:
                raise BrokenPipeError(errno.EPIPE, error.strerror) from error
            return None


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0, 1 (error), 2 (usage), 130 (interrupted)."""
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), _Stream):
            setattr(sys, name, _Stream(getattr(sys, name), talk=name == "stderr"))
    words = sys.argv[1:] if arguments is None else arguments
    speak(
        next((name for name in LANGUAGES if f"--lang={name}" in words or ("--lang", name) in pairwise(words)), None)
    )  # help is made first
    try:
        sys.exit(in_language(cli).main(arguments, prog_name="escriba", standalone_mode=False, color=_colour()) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EscribaError as error:
        _fail(str(error))
    except OSError as error:  # the disk, the folder, a right: nothing of which a traceback could tell more
        place = f"{error.filename}: " if error.filename is not None else ""
        _fail(f"{place}{error.strerror or error}")
    except (KeyboardInterrupt, click.Abort):
        click.echo(tr("interrupted"), err=True)
        sys.exit(130)


def _fail(message: str) -> NoReturn:
    first, *rest = message.splitlines() or [""]
    click.echo("\n".join([click.style(tr("error: "), fg="red", bold=True) + first, *rest]), err=True, color=_colour())
    sys.exit(1)


def _colour() -> bool | None:
    """Whether to colour: not where NO_COLOR is set (no-color.org), which click does not know; else where there is a terminal."""
    return False if os.environ.get("NO_COLOR") else None
