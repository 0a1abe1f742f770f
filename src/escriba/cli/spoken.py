"""The command line in the language of whoever types: ``--lang``, and help that is made when it is shown.

It knows nothing of the commands, and loads nothing but click.
"""

from __future__ import annotations

import copy
import gettext
import inspect
import os
from collections.abc import Callable
from typing import Any

import click

from escriba.language import CATALOGUES, DOMAIN, LANGUAGES, language, later, tr, use_language

__all__ = ["OF_CLICK", "Composed", "in_language", "lang_option", "paragraphs", "speak"]

OF_CLICK = (later("required"),)
"""What click says without naming it where it says it: so that the catalogues have it."""


class Composed(click.Option):
    """An option whose help is put together of sentences, in the language of the moment in which it is shown.

    Args:
        in_words: gives the help.
    """

    def __init__(self, *arguments: Any, in_words: Callable[[], str], **keywords: Any) -> None:
        super().__init__(*arguments, **{**keywords, "help": in_words()})
        self.in_words = in_words


def paragraphs(text: str) -> list[tuple[str, str]]:
    """The paragraphs of a command's help, each with the mark that has click keep its lines, or with none."""
    cut = [paragraph.strip("\n") for paragraph in inspect.cleandoc(text).split("\n\n")]
    return [("\b\n", one[2:]) if one.startswith("\b\n") else ("", one) for one in cut if one]


def in_language(command: click.Command) -> click.Command:
    """A copy of a command, its help and that of its options in the language that is spoken; it takes ``--lang`` as `escriba` does."""
    spoken = copy.copy(command)
    spoken.help = "\n\n".join(f"{mark}{tr(words)}" for mark, words in paragraphs(command.help or ""))
    spoken.params = [copy.copy(parameter) for parameter in command.params]
    for parameter in spoken.params:
        if isinstance(parameter, click.Option) and parameter.help:
            parameter.help = parameter.in_words() if isinstance(parameter, Composed) else tr(parameter.help)
    if isinstance(command, click.Group):
        spoken.commands = {name: in_language(one) for name, one in command.commands.items()}  # type: ignore[attr-defined]
    if not any("--lang" in parameter.opts for parameter in spoken.params):
        spoken.params.append(lang_option(hidden=True))
    return spoken


def speak(name: str | None) -> None:
    """Speaks a language, if one is asked for; click's own words too, of which `gettext` looks for the language in the environment."""
    if name is not None:
        use_language(name)
    gettext.bindtextdomain(DOMAIN, CATALOGUES)
    gettext.textdomain(DOMAIN)
    os.environ["LANGUAGE"] = language()


def lang_option(*, hidden: bool = False) -> click.Option:
    """``--lang``, which may stand before a command or after it."""
    words = "The language of messages and help. [default: ESCRIBA_LANG, else the system's]"
    return click.Option(
        ["--lang"], type=click.Choice(LANGUAGES), is_eager=True, expose_value=False, hidden=hidden, help=words,
        callback=lambda ctx, parameter, value: speak(value),
    )  # fmt: skip
