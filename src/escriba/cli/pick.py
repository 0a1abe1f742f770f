"""``escriba write``: in the terminal a person picks what comes next, and can go back.

It knows nothing of how the choices are found. It reads line by line, so that it works in any console and from a pipe.
"""

from __future__ import annotations

import io
import math
import re
import sys
from typing import get_args

import click

from escriba.cli.options import engine_options, tell_precision
from escriba.cli.write import notes_on_stderr, opened, prompt_from
from escriba.errors import EscribaError, SettingsError
from escriba.inference.picking import Choice, Kind, Picker
from escriba.language import later, tr
from escriba.settings import SampleSettings
from escriba.text.printed import code_points, printable

__all__ = ["write_command"]

_SHOWN = 300
"""Characters of the text's end that are shown at each turn."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal would obey rather than show; line ends and tabs are left."""

_SINGLE_BLANK = re.compile(rf"(?<=[^{printable(' ')}]){printable(' ')}(?=[^{printable(' ')}])")
"""A blank between the words of a line, which need not be seen."""

_KEYS = later(
    """\
  a number takes that choice, Enter the first    =TEXT adds a text of your own (\\n is a line's end)
  s, w, l: symbols, words, lines                 b goes back, t 0.8 draws lines with that temperature
  ? shows this                                   q, or the end of the input, ends and prints the text"""
)

_KINDS = {"symbol": later("symbol"), "word": later("word"), "line": later("line")}
"""What is picked at once, in words."""


@click.command("write", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.option("-p", "--prompt", default="", help="What the text begins with.")
@click.option("--prompt-file", metavar="FILE", help="A file (UTF-8) that holds it; not standard input, from which you pick.")
@click.option("--by", type=click.Choice(get_args(Kind)), default="word", show_default=True, help="What is picked at once, to begin with.")
@click.option("-n", "--choices", "most", type=click.IntRange(1, 99), default=9, show_default=True, metavar="N", help="Choices at a turn.")
@click.option("--temperature", type=float, metavar="T", help="With which lines are drawn. [default: 0.8]")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="The same seed draws the same lines. [default: another one each time]")
@click.option("--at", metavar="MOMENT", help="Weights of an earlier moment that was kept, such as epoch:3.")
@engine_options(writes=True)
@click.option("-o", "--out", metavar="FILE", help="Write the text into a file instead of standard output.")
def write_command(
    model: str, prompt: str, prompt_file: str | None, by: Kind, most: int, temperature: float | None, seed: int | None, at: str | None,
    precision: str, threads: int | None, out: str | None,
) -> None:  # fmt: skip
    """Write a text with a model: it offers symbols, words or lines, and you pick.

    MODEL is a folder, a packed file, or a name under models/. Symbols and words are the likeliest, lines are drawn. Choices and talk go
    to standard error, the finished text to standard output.

    \b
    escriba write book -p "The old "
    escriba write book --by line -o poem.txt
    """
    import escriba.api

    if prompt_file == "-":
        raise SettingsError(tr("--prompt-file -: you pick from standard input"), expected=tr("a file, or --prompt"))
    loaded = escriba.api.load(model, at=at, precision=precision, threads=threads)
    settings = SampleSettings() if temperature is None else SampleSettings(temperature=temperature)
    text = prompt if prompt_file is None else prompt_from(prompt_file)
    picker = Picker(loaded.writer(text, seed=seed, temperature=settings.temperature), kind=by, most=most)
    if isinstance(sys.stdin, io.TextIOWrapper):  # a pipe may hold anything, and begin with a byte-order mark
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace")
    sink = None if out is None else opened(out)
    click.echo(tr(_KEYS), err=True)
    tell_precision(loaded.engine_for_writing())
    for notice in picker.notices:
        click.echo(tr("note: {note}", note=notice), err=True)
    try:
        with notes_on_stderr():
            while _turn(picker):
                pass
    except KeyboardInterrupt:
        click.echo(err=True)  # the terminal shows ^C
        raise
    finally:  # what was written is not lost
        click.echo(picker.text, file=sink)
        if sink is not None:
            sink.close()


def _turn(picker: Picker) -> bool:
    """Shows the text and the choices, and does what the person says; False at the end."""
    choices = picker.choices()
    end = _CONTROLS.sub(lambda found: code_points(found[0]), picker.text[-_SHOWN:])
    click.echo(f"\n{end}{click.style('|', dim=True)}", err=True)
    for number, choice in enumerate(choices, start=1):
        click.echo(f"{number:>3}  {_shown(choice, picker.kind)}", err=True)
    if picker.ended:
        click.echo(tr("the document has ended: b goes back, =TEXT goes on, q ends"), err=True)
    click.echo(f"{tr(_KINDS[picker.kind])}> ", nl=False, err=True)
    said = "" if sys.stdin is None else sys.stdin.readline()
    if not said:
        click.echo(err=True)
        return False
    said = said.removesuffix("\n").removesuffix("\r")
    word, _, rest = said.strip().partition(" ")
    try:
        if said.startswith("="):
            known = len(picker.notices)
            picker.push(said[1:].replace("\\n", "\n").replace("\\t", "\t"))
            for notice in picker.notices[known:]:
                click.echo(tr("note: {note}", note=notice), err=True)
        elif word.isdecimal() or not word:
            picker.pick(int(word or 1))
        elif word in ("s", "w", "l"):
            picker.kind = {"s": "symbol", "w": "word", "l": "line"}[word]  # type: ignore[assignment]
        elif word == "b":
            if not picker.back():
                click.echo(tr("this is where the text began"), err=True)
        elif word == "t":
            picker.temperature = _number(rest)
        elif word == "q":
            return False
        else:
            click.echo(tr(_KEYS), err=True)
    except (EscribaError, ValueError) as error:  # of thousands of digits Python makes no number
        click.echo(f"{tr('error: ')}{error}", err=True)
    return True


def _shown(choice: Choice, kind: Kind) -> str:
    """A choice on one line: its text with blanks and line ends to be seen, and how likely it is."""
    text = printable(choice.text) if choice.text else ""
    if kind == "symbol":
        end = ""
    elif choice.ends:
        end = f" {tr('(end)')}"
    else:
        end = "" if choice.text[-1:].isspace() else "…"  # offered unfinished
    if kind == "line":
        bits = -choice.log_likelihood / max(1, len(choice.text)) / math.log(2)
        return f"{_SINGLE_BLANK.sub(' ', text)}{end}  {tr('{bits:.2f} bits a character', bits=bits)}"
    return f"{text}{end}  {choice.probability:.1%}"


def _number(typed: str) -> float:
    """A temperature as it was typed; what is none is left to the settings to refuse."""
    try:
        return float(typed)
    except ValueError:
        return float("nan")
