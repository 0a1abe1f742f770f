"""``escriba evaluate``: the loss of models on a whole text, with its standard error, in two protocols, or while the model goes on learning.

It knows nothing of how that is computed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from escriba.archive import has_file
from escriba.cli.options import engine_options, json_option, print_json, tell_precision, with_option
from escriba.cli.texts import fetch_first
from escriba.cli.write import notes_on_stderr
from escriba.inference.evaluating import PROTOCOLS
from escriba.language import tr

if TYPE_CHECKING:
    from escriba.api import Model
    from escriba.inference.evaluating import Progress
    from escriba.measuring import Evaluation

__all__ = ["evaluate_command"]


@click.command("evaluate", no_args_is_help=True)
@click.argument("models", nargs=-1, required=True, metavar="MODEL... [FILE|-]")
@click.option("--held-out", is_flag=True, help="Measure on what each model's own training held out, instead of FILE.")
@click.option("--protocol", type=click.Choice([*PROTOCOLS, "both", "dynamic"]), default="stream", show_default=True, help="See below.")
@click.option("--window", type=click.IntRange(1), default=256, show_default=True, metavar="N", help="Symbols of a window.")
@click.option(
    "--lanes", type=click.IntRange(1, 256), metavar="N", help="Parts of a stream read at once. [default: 16 in a long text; 1 is exact]"
)
@click.option(
    "--typical", is_flag=True, help="Measure instead what is typical by length, on the held-out part or FILE, and keep it in the model."
)
@click.option("--encoding", metavar="NAME", help="Encoding of FILE. [default: that of the model's own text]")
@with_option
@engine_options(writes=False)
@json_option
def evaluate_command(
    models: tuple[str, ...], held_out: bool, protocol: str, window: int, lanes: int | None, typical: bool, encoding: str | None,
    others: tuple[str, ...], precision: str, threads: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure models on a whole text: mean loss, its standard error, bits per character; the best first.

    Protocol stream carries the state through the whole text (documents each from their beginning); window begins anew every 256 symbols,
    as training by windows does. In protocol dynamic a copy of the model goes on learning from what it has just read: what it could come to
    know of this text, not how well it foretells; it needs PyTorch. Models of other units compare by bits per character.

    \b
    escriba evaluate book chapter.txt
    escriba evaluate book other chapter.txt --protocol both
    escriba evaluate book --held-out --json
    escriba evaluate book --with book-2 --with book-3 chapter.txt
    escriba evaluate book --typical
    """
    import escriba.api

    names, file = (models, None) if held_out or (typical and len(models) == 1) else (models[:-1], models[-1])
    if not names:
        raise click.UsageError(tr("give a MODEL and a FILE; or --held-out: escriba evaluate {model} --held-out", model=models[0]))
    if typical and (held_out or protocol != "stream" or lanes is not None or precision not in ("auto", "float32")):
        raise click.UsageError(tr("--typical goes with MODEL, or MODEL and FILE, alone"))
    if file is not None:
        if has_file(Path(file) / "config.json"):
            raise click.UsageError(tr("{file} is a model: a FILE to measure on comes last, or --held-out", file=file))
        fetch_first([file])
    if file == "-" and (len(names) > 1 or protocol == "both"):
        raise click.UsageError(tr("standard input can be read only once: give one MODEL and one protocol"))
    if others and (len(names) > 1 or typical):
        raise click.UsageError(tr("--with goes with one MODEL, and not with --typical"))
    if protocol == "dynamic" and precision not in ("auto", "float32"):
        raise click.UsageError(tr("--protocol dynamic learns in float32: it goes without --precision {precision}", precision=precision))
    loaded = [(" + ".join((name, *others)), escriba.api.load(name, *others, precision=precision, threads=threads)) for name in names]
    if typical:
        _print_typical(loaded, file, encoding, as_json)
        return
    found: list[tuple[str, Model, Evaluation]] = []
    for name, model in loaded:
        for one in PROTOCOLS if protocol == "both" else (protocol,):
            with notes_on_stderr(), _bar(f"{name}, {one}") as progress:
                options: dict[str, Any] = {"protocol": one, "window": window, "lanes": lanes, "encoding": encoding, "progress": progress}
                found.append((name, model, model.evaluate(file, **options)))
    if as_json:
        figures = [{"model": name, **one.as_dict(), "precision": model.engine.precision} for name, model, one in found]
        print_json(figures[0] if len(figures) == 1 else figures)
        return
    _print_table(found)
    for engine in {model.engine.precision: model.engine for _, model in loaded}.values():
        tell_precision(engine)


def _print_table(found: list[tuple[str, Model, Evaluation]]) -> None:
    """A table for each protocol, the best first, each with its difference to the best."""
    wide = max(6, *(len(name) for name, _, _ in found))
    heads = (tr("bits per character"), tr("loss in nats"), tr("perplexity"), tr("symbols"))
    widths = [max(least, len(head)) for least, head in zip((18, 20, 10, 11), heads, strict=True)]
    for protocol in dict.fromkeys(one.protocol for _, _, one in found):
        rows = sorted((row for row in found if row[2].protocol == protocol), key=lambda row: row[2].bits_per_char)
        best = rows[0][2]
        heading = [f"{protocol:<{wide}}", *(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))]
        click.echo("  ".join([*heading, tr("more than the best")] if len(rows) > 1 else heading))
        for name, _, one in rows:
            error = "" if one.standard_error is None else f" ± {one.standard_error:.4f}"
            bits_error = "" if one.standard_error_bits is None else f" ± {one.standard_error_bits:.4f}"
            perplexity = "" if one.perplexity is None else f"{one.perplexity:,.3f}"
            figures = (f"{one.bits_per_char:.4f}{bits_error}", f"{one.loss_nats:.4f}{error}", perplexity, f"{one.symbols:,}")
            line = "  ".join([f"{name:<{wide}}", *(f"{figure:>{width}}" for figure, width in zip(figures, widths, strict=True))])
            if one is not best and one.text_sha256 == best.text_sha256:
                difference, of_it = one.minus(best)
                line += f"  {difference:.4f}" + ("" if of_it is None else f" ± {of_it:.4f}")
            click.echo(line)
        if any(one.text_sha256 != best.text_sha256 for _, _, one in rows):
            note = tr("these are figures of different texts, so they do not say which model is better")
            click.echo(tr("note: {note}", note=note), err=True)
        for line in dict.fromkeys(one.convention for _, _, one in rows):
            click.echo(tr("convention: {convention}", convention=line), err=True)


def _print_typical(loaded: list[tuple[str, Model]], file: str | None, encoding: str | None, as_json: bool) -> None:
    """What is typical for each model, by length."""
    found = []
    for name, model in loaded:
        with notes_on_stderr(), _bar(name) as progress:
            found.append((name, model.measure_typical(file, encoding=encoding, progress=progress)))
    if as_json:
        figures = [{"model": name, **one.to_json()} for name, one in found]
        print_json(figures[0] if len(figures) == 1 else figures)
        return
    for name, one in found:
        click.echo(tr("{model}: bits per character of held-out texts by length", model=name))
        heads = (tr("symbols"), "1 %", tr("half"), "99 %", tr("texts"))
        widths = [max(8, len(head)) for head in heads]
        heading = " ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
        click.echo(f"{heading}  {tr('called not typical at 0.01')}")
        for row in one.table():
            measured = [
                f"{row['length']:,.0f}",
                *(f"{row[at]:.3f}" for at in ("low", "half", "high")),
                f"{row['fitted'] + row['pieces']:,}",
            ]
            line = " ".join(f"{figure:>{width}}" for figure, width in zip(measured, widths, strict=True))
            click.echo(f"{line}  {tr('{alarms} of {texts:,}', alarms=row['alarms'], texts=row['pieces'])}")
        click.echo(tr("convention: {convention}", convention=one.convention), err=True)


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    """What moves a bar on standard error, which is drawn in a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name[:60], total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
