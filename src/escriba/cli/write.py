"""``escriba generate``: text from a model, streamed, in blocks, or as JSON.

It knows nothing of how symbols are drawn.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
from click.core import ParameterSource

from escriba.cli.options import engine_options, given, json_option, print_json, sampling_options, tell_precision, with_option
from escriba.errors import SettingsError, TextError
from escriba.language import tr
from escriba.settings import SampleSettings

if TYPE_CHECKING:
    from escriba.results import Text

__all__ = ["generate_command", "notes_on_stderr", "opened", "prompt_from"]

_ONLY_DRAWN = {
    "temperatures": "--temperature",
    "temperature_cycle": "--temperature-cycle",
    "top_k": "--top-k",
    "top_p": "--top-p",
    "min_p": "--min-p",
    "seed": "--seed",
    "begins": "--begins",
    "unique": "--unique",
    "min_length": "--min-length",
    "max_length": "--max-length",
    "novel": "--novel",
}
"""What has no meaning for a beam search."""


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
            click.echo(tr("note: {note}", note=message), err=True)


def _length(ctx: click.Context, parameter: click.Parameter, value: str) -> int | None:
    if value.lower() == "none":
        return None
    if not value.isdecimal() or len(value) > 18:
        raise click.BadParameter(tr("{value!r} is neither a number of characters nor 'none'", value=value))
    return int(value)


def _temperatures(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...]:
    try:
        return () if value is None else tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(
            tr("{value!r} is no temperature, nor several with commas between them, such as 0.3,0.8", value=value)
        ) from None


@click.command("generate", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.option("-p", "--prompt", "prompts", multiple=True, help="What the text goes on from; several make several texts.")
@click.option("--prompt-file", metavar="FILE", help="A file (UTF-8) that holds the prompt; - is standard input.")
@click.option("--label", metavar="LABEL", help="Of a model that learnt labels (--label-column): write a document with this one.")
@click.option("--begins", metavar="TEXT", help="What each text begins with, behind the prompt, as a part of it.")
@click.option("-l", "--length", default="500", show_default=True, callback=_length, metavar="N", help='Characters; "none" never stops.')
@click.option("-n", "--samples", type=click.IntRange(1, 100_000), default=1, show_default=True, metavar="N", help="Texts for each prompt.")
@click.option(
    "--temperature", "temperatures", callback=_temperatures, metavar="T[,T...]",
    help="0 always takes the likeliest, 1 is the model's own, more is wilder; several make a block for each. [default: 0.8]",
)  # fmt: skip
@sampling_options
@click.option("--beam", type=int, metavar="N", help="Draw nothing: search for the likeliest texts, N beginnings at a time, 1 to 64.")
@click.option("--length-penalty", type=float, metavar="A", help="With --beam: 0 prefers short texts, 1 does not; 0 to 2. [default: 0]")
@click.option("--unique", is_flag=True, help="Write no text twice.")
@click.option("--min-length", type=click.IntRange(0), metavar="N", help="Write no text of fewer characters.")
@click.option("--max-length", type=click.IntRange(0), metavar="N", help="Write no text that does not end by itself within N characters.")
@click.option(
    "--novel",
    is_flag=True,
    help="Write only what is not in the training text: new documents; of a stream new lines, one a text without -l and --stop.",
)
@click.option("--against", multiple=True, metavar="FILE", help="With --novel: the training text, if it is elsewhere now, or another one.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="The same seed writes the same text. [default: another one each time]")
@click.option("--stop", multiple=True, help="End before this string; may be given several times. \\n is a line's end.")
@click.option("--no-prompt", is_flag=True, help="Print the continuation only.")
@click.option("--at", metavar="MOMENT", help="Weights of an earlier moment that was kept, such as epoch:3.")
@with_option
@engine_options(writes=True)
@click.option("-o", "--out", metavar="FILE", help="Write into a file instead of standard output.")
@json_option
@click.pass_context
def generate_command(
    ctx: click.Context, /, model: str, prompts: tuple[str, ...], prompt_file: str | None, label: str | None, begins: str | None,
    length: int | None, samples: int, temperatures: tuple[float, ...], beam: int | None, length_penalty: float | None, unique: bool,
    min_length: int | None, max_length: int | None, novel: bool, against: tuple[str, ...], seed: int | None, stop: tuple[str, ...],
    no_prompt: bool, at: str | None, others: tuple[str, ...], precision: str, threads: int | None, out: str | None, as_json: bool,
    **sampling: Any,
) -> None:  # fmt: skip
    """Write text with a model.

    MODEL is a folder, a packed file, or a name under models/.

    \b
    escriba generate book --prompt "Once upon a time"
    escriba generate book --temperature 0.3,0.8,1.2 --seed 7
    escriba generate names -n 20 --unique --begins "Mar" --max-length 12
    escriba generate book -p "The old " --beam 8 --length 60
    escriba generate book --with book-2 --with book-3
    escriba generate book -l none --stop "\\n\\n"
    """
    import escriba.api
    from escriba.inference.reading import fresh_seed

    loaded = escriba.api.load(model, *others, at=at, precision=precision, threads=threads)
    texts = [*prompts, prompt_from(prompt_file)] if prompt_file is not None else list(prompts) or [""]
    texts = texts if label is None else [loaded.labelled(label, text) for text in texts]
    stops = tuple(one.replace("\\n", "\n").replace("\\t", "\t") for one in stop)
    wanted = given({"unique": unique or None, "min_length": min_length, "max_length": max_length})
    if against and not novel:
        raise SettingsError(tr("--against without --novel"), expected=tr("--novel beside it"))
    if novel:
        wanted["keep"] = partial(loaded.is_novel, against=against or None)
        if not stops and loaded.tokenizer.eos_id is None and _is_default(ctx, "length"):
            stops = ("\n",)
    if "max_length" in wanted and _is_default(ctx, "length"):
        length = None
    options = {"stop": stops, **given({"begins": begins, **sampling})}
    if sampling["temperature_cycle"] == ():
        raise SettingsError(tr("--temperature-cycle names no temperature"), expected=tr("several, such as 0.3,0.8,1.2"))
    if temperatures and "temperature_cycle" in options:
        raise SettingsError(tr("--temperature with --temperature-cycle"), expected=tr("one of them"))
    _check_beam(ctx, beam)
    seed = fresh_seed() if seed is None else seed
    sink = None if out is None else opened(out)
    blocks: list[tuple[float | None, list[Text]]] = []
    try:
        if beam is None and not wanted and not as_json and len(texts) * samples * max(1, len(temperatures)) == 1:
            with notes_on_stderr():
                pieces = loaded.stream(texts[0], length, seed=seed, **options, **given({"temperature": (*temperatures, None)[0]}))
            if not no_prompt:
                click.echo(texts[0], nl=False, file=sink)
            for piece in pieces:
                click.echo(piece, nl=False, file=sink)
            click.echo(file=sink)
            click.echo(tr("seed {seed}", seed=seed), err=True)
            tell_precision(loaded.engine_for_writing())
            return
        if length is None and (max_length is None or beam is not None):
            met = tr("--length none with several texts, --json, --unique, --min-length or --novel")
            raise SettingsError(
                met if beam is None else tr("--length none with --beam"), expected=tr("a number of characters, or one text alone")
            )
        with notes_on_stderr():
            if beam is not None and length is not None:
                values = given({"no_repeat": sampling["no_repeat"], "length_penalty": length_penalty})
                found = [loaded.beam(text, length, width=beam, samples=samples, stop=stops, **values) for text in texts]
                blocks.append((None, [one for several in found for one in several]))
            else:
                usual = () if "temperature_cycle" in options else (SampleSettings().temperature,)
                for temperature in temperatures or usual or (None,):
                    values = {**options, **wanted, **given({"temperature": temperature})}
                    blocks.append((temperature, loaded.generate(texts, length, samples=samples, seed=seed, **values)))
        if as_json:
            made_so = {"precision": loaded.engine_for_writing().precision}
            print_json({"texts": [{**made.as_dict(), "temperature": t} for t, block in blocks for made in block], **made_so})
        else:
            _print(blocks, sink, no_prompt=no_prompt, may_be_lines=loaded.tokenizer.eos_id is not None or "\n" in stops)
    finally:
        if sink is not None:
            sink.close()
    if beam is None and not as_json:
        click.echo(tr("seed {seed}", seed=seed), err=True)
    if not as_json:
        tell_precision(loaded.engine_for_writing())
    if not any(block for _, block in blocks):
        ctx.exit(1)  # a note has said why


def _print(blocks: list[tuple[float | None, list[Text]]], sink: TextIO | None, *, no_prompt: bool, may_be_lines: bool) -> None:
    """Texts one below the other: each on its line, or with a rule after each if there are several."""
    shown = [(temperature, [made.continuation if no_prompt else made for made in block]) for temperature, block in blocks]
    texts = [text for _, block in shown for text in block]
    rule = len(texts) > 1 and not (may_be_lines and all("\n" not in text for text in texts))
    for temperature, block in shown:
        if len(shown) > 1:
            click.echo(f"--- {tr('temperature {temperature:g}', temperature=temperature)} ---", file=sink)
        for text in block:
            click.echo(text, file=sink)
            if rule:
                click.echo("-" * 40, file=sink)


def _is_default(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.DEFAULT


def _check_beam(ctx: click.Context, beam: int | None) -> None:
    """Sees that nothing is asked of a beam search that only drawing can give, nor the other way round.

    Raises:
        SettingsError: it is.
    """
    if beam is None:
        if not _is_default(ctx, "length_penalty"):
            raise SettingsError(tr("--length-penalty without --beam"), expected=tr("--beam N beside it"))
        return
    shown = {name: option for name, option in _ONLY_DRAWN.items() if not _is_default(ctx, name)}
    if shown:
        raise SettingsError(
            tr("--beam with {options}", options=", ".join(shown.values())), expected=tr("one or the other: a beam search draws nothing")
        )


def opened(name: str) -> TextIO:
    """A file to write a text into.

    Raises:
        TextError: it cannot be written.
    """
    try:
        return Path(name).open("w", encoding="utf-8", newline="\n", errors="backslashreplace")
    except OSError as error:
        raise TextError(
            tr("{file} cannot be written: {error}", file=name, error=error.strerror or error), hint=tr("choose another file with -o")
        ) from error


def prompt_from(name: str) -> str:
    """A prompt from a file or standard input; a file's last line end does not belong to it."""
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise TextError(tr("{file} cannot be read: {error}", file=name, error=error.strerror or error)) from error
    except UnicodeDecodeError as error:
        raise TextError(
            tr("{file}: byte {offset} is not UTF-8", file=name, offset=error.start), expected=tr("a prompt in UTF-8")
        ) from error
    return text.removesuffix("\n").removesuffix("\r")
