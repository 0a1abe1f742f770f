"""Options that are settings: their help, bounds and defaults come from `settings.py`.

It knows nothing of the commands that carry them.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable
from typing import Any

import click

from escriba.cli.spoken import Composed
from escriba.engine.opening import MOST_THREADS, PRECISIONS, checked_precision
from escriba.errors import SettingsError, near_name
from escriba.fields import near_setting
from escriba.language import later, tr
from escriba.settings import ModelSettings, SampleSettings, Settings, TextSettings, TrainSettings, field_help, from_typed

if typing.TYPE_CHECKING:
    from escriba.engine.protocol import Engine

__all__ = [
    "engine_options",
    "given",
    "json_option",
    "parse_sets",
    "print_json",
    "sampling_options",
    "setting",
    "tell_precision",
    "text_options",
    "with_option",
]

SECTIONS: dict[str, type[Settings]] = {"text": TextSettings, "model": ModelSettings, "train": TrainSettings}
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def setting(section: type[Settings], name: str, *flags: str, metavar: str | None = None, no_default: bool = False) -> Decorator:
    """An option for one setting: ``--hidden-size`` for hidden_size; a value is typed as `settings.from_typed` reads it."""
    names = list(flags) or [f"--{name.replace('_', '-')}"]
    words = [word for word in typing.get_args(section.fields[name].annotation) if isinstance(word, str)]

    def in_words() -> str:
        return tr(section.fields[name].description or "") if no_default else field_help(section, name)

    def typed(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        return None if value is None else from_typed(section, name, value)

    return click.option(*names, name, default=None, callback=typed, metavar="|".join(words) or metavar, cls=Composed, in_words=in_words)


def text_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of reading a text, shared by `corpus` and `train`."""
    flag = {"is_flag": True, "default": None}
    options: list[Decorator] = [
        setting(TextSettings, "unit"),
        setting(TextSettings, "documents"),
        click.option("--column", multiple=True, help="Column of a table, by name or number from 1; twice joins with a blank."),
        setting(TextSettings, "label_column", metavar="COLUMN", no_default=True),
        click.option("--no-header", "header", flag_value=False, default=None, help="The table's first row is data, not names."),
        setting(TextSettings, "encoding", metavar="CODEC"),
        setting(TextSettings, "newlines"),
        setting(TextSettings, "normalization"),
        setting(TextSettings, "from_line", "--from", metavar="LINE"),
        setting(TextSettings, "to_line", "--to", metavar="LINE"),
        click.option("--strip-gutenberg", "strip_gutenberg", **flag, help="Leave out a Project Gutenberg header and licence."),  # type: ignore[arg-type]
        setting(TextSettings, "min_count", metavar="N"),
        setting(TextSettings, "max_vocab_size", metavar="N"),
        click.option("--no-unknown", "unknown", flag_value=False, default=None, help="No <unk>: an unseen symbol is an error."),
        click.option("--no-fingerprint", "fingerprint", flag_value=False, default=None, help="Keep no hashes of the documents."),
        setting(TextSettings, "val_fraction", metavar="SHARE"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were typed: those that are neither None nor an empty tuple."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def parse_sets(pairs: tuple[str, ...]) -> dict[str, Any]:
    """The settings of ``--set section.key=value``.

    Raises:
        SettingsError: the form is another, or there is no such section or key.
    """
    found = {}
    for pair in pairs:
        where, equals, value = pair.partition("=")
        section, dot, name = where.strip().partition(".")
        if not equals or not dot:
            raise SettingsError(
                tr("--set {pair!r}", pair=pair), expected=tr("--set section.key=value, for example --set train.learning_rate=0.002")
            )
        if section not in SECTIONS:
            near = near_name(section, SECTIONS)
            raise SettingsError(
                tr("--set {pair!r}: there is no section {section!r}", pair=pair, section=section),
                expected=", ".join(SECTIONS),
                hint=near and tr("did you mean {near!r}?", near=near),
            )
        if name not in SECTIONS[section].fields:
            raise near_setting(name, list(SECTIONS[section].fields))
        found[name] = from_typed(SECTIONS[section], name, value.strip())
    return found


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


with_option = click.option(
    "--with", "others", multiple=True, metavar="MODEL", help="Average the probabilities with this model's too; may be given several times."
)


def print_json(value: Any) -> None:
    """A value as one line of JSON on standard output; the controls that JSON lets stand are escaped too, for a terminal obeys them."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False).translate({code: f"\\u{code:04x}" for code in range(127, 160)}))


def sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How symbols are drawn, but for the temperature, of which a command may take several."""
    metavars = {"temperature_cycle": "T,T[,T...]", "top_k": "N", "top_p": "P", "min_p": "P", "no_repeat": "N"}
    for name, metavar in reversed(metavars.items()):
        command = setting(SampleSettings, name, metavar=metavar)(command)
    return command


def engine_options(*, writes: bool) -> Decorator:
    """The options of how a model runs, shared by all that use one: they are what `load` takes.

    Args:
        writes: whether the command writes, and so may be rounded unless a person asks otherwise.
    """
    usual = (
        later("Of the large products; float32 is exact. [default: auto: int8 where there are native kernels]")
        if writes
        else later("Of the large products; float32 is exact. [default: auto: float32]")
    )

    def typed(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
        return checked_precision(value)

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--threads", type=click.IntRange(1, MOST_THREADS), metavar="N", help="Threads of the processor. [default: as many as help]"
        )(command)
        return click.option("--precision", default="auto", callback=typed, metavar="|".join(PRECISIONS), help=usual)(command)

    return add


def tell_precision(engine: Engine) -> None:
    """Says on standard error that the numbers are rounded, and how they are not, if they are."""
    if engine.precision not in ("float32", "float64"):
        from escriba._native import level

        told = tr("precision {precision} (native, {level}): --precision float32 is exact", precision=engine.precision, level=level())
        click.echo(told, err=True)
