"""``escriba generate``: text from a model, streamed, in blocks, or as JSON.

It knows nothing of how symbols are drawn.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from escriba.cli.options import given, json_option, print_json, sampling_options
from escriba.errors import SettingsError, TextError

__all__ = ["generate_command"]


@contextmanager
def notes_on_stderr() -> Iterator[None]:
    """Warnings of the library as notes for people, also of what then fails."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            yield
    finally:
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            click.echo(f"note: {message}", err=True)


def _length(ctx: click.Context, parameter: click.Parameter, value: str) -> int | None:
    if value.lower() == "none":
        return None
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number of characters nor 'none'")
    return int(value)


def _temperatures(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no temperature, nor several with commas between them, such as 0.3,0.8") from None


@click.command("generate", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.option("-p", "--prompt", "prompts", multiple=True, help="What the text begins with; several make several texts.")
@click.option("--prompt-file", metavar="FILE", help="A file (UTF-8) that holds the prompt; - is standard input.")
@click.option("-l", "--length", default="500", show_default=True, callback=_length, metavar="N", help='Characters; "none" never stops.')
@click.option("-n", "--samples", type=click.IntRange(1, 100_000), default=1, show_default=True, metavar="N", help="Texts for each prompt.")
@click.option(
    "--temperature", "temperatures", default="0.8", show_default=True, callback=_temperatures, metavar="T[,T...]",
    help="0 always takes the likeliest, 1 is the model's own, more is wilder; several make a block for each.",
)  # fmt: skip
@sampling_options
@click.option("--seed", type=click.IntRange(0), metavar="N", help="The same seed writes the same text. [default: another one each time]")
@click.option("--stop", multiple=True, help="End before this string; may be given several times. \\n is a line's end.")
@click.option("--no-prompt", is_flag=True, help="Print the continuation only.")
@click.option("--at", metavar="MOMENT", help="Weights of an earlier moment that was kept, such as epoch:3.")
@click.option("-o", "--out", metavar="FILE", help="Write into a file instead of standard output.")
@json_option
def generate_command(
    model: str, prompts: tuple[str, ...], prompt_file: str | None, length: int | None, samples: int, temperatures: tuple[float, ...],
    seed: int | None, stop: tuple[str, ...], no_prompt: bool, at: str | None, out: str | None, as_json: bool, **filters: Any,
) -> None:  # fmt: skip
    """Write text with a model.

    MODEL is a folder, or a name under models/.

    \b
    escriba generate book --prompt "Once upon a time"
    escriba generate book --temperature 0.3,0.8,1.2 --seed 7
    escriba generate names -n 20
    escriba generate book -l none --stop "\\n\\n"
    """
    import escriba.api
    from escriba.inference.reading import fresh_seed

    loaded = escriba.api.load(model, at=at)
    texts = [*prompts, _read_prompt(prompt_file)] if prompt_file is not None else list(prompts) or [""]
    stops = tuple(one.replace("\\n", "\n").replace("\\t", "\t") for one in stop)
    seed = fresh_seed() if seed is None else seed
    sink = None if out is None else _opened(out)
    single = len(texts) * samples * len(temperatures) == 1
    try:
        if single and not as_json:
            with notes_on_stderr():
                pieces = loaded.stream(texts[0], length, seed=seed, stop=stops, temperature=temperatures[0], **given(filters))
            if not no_prompt:
                click.echo(texts[0], nl=False, file=sink)
            for piece in pieces:
                click.echo(piece, nl=False, file=sink)
            click.echo(file=sink)
            click.echo(f"seed {seed}", err=True)
            return
        if length is None:
            raise SettingsError("--length none with several texts, or with --json", expected="a number of characters, or one text alone")
        blocks = {}
        with notes_on_stderr():
            for temperature in temperatures:
                blocks[temperature] = loaded.generate(
                    texts, length, samples=samples, seed=seed, stop=stops, temperature=temperature, **given(filters)
                )
        if as_json:
            print_json({"texts": [{**made.as_dict(), "temperature": t} for t, block in blocks.items() for made in block]})
            return
        lines = loaded.tokenizer.eos_id is not None and all("\n" not in made for block in blocks.values() for made in block)
        for temperature, block in blocks.items():
            if len(temperatures) > 1:
                click.echo(f"--- temperature {temperature:g} ---", file=sink)
            for made in block:
                click.echo(made.continuation if no_prompt else made, file=sink)
                if not lines:
                    click.echo("-" * 40, file=sink)
    finally:
        if sink is not None:
            sink.close()
    click.echo(f"seed {seed}", err=True)


def _opened(name: str) -> TextIO:
    try:
        return Path(name).open("w", encoding="utf-8", newline="\n", errors="backslashreplace")
    except OSError as error:
        raise TextError(f"{name} cannot be written: {error.strerror or error}", hint="choose another file with -o") from error


def _read_prompt(name: str) -> str:
    """A prompt from a file or standard input; a file's last line end does not belong to it."""
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise TextError(f"{name} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TextError(f"{name}: byte {error.start} is not UTF-8", expected="a prompt in UTF-8") from error
    return text.removesuffix("\n").removesuffix("\r")
