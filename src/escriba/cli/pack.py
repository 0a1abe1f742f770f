"""``escriba pack``: a model made small, to be passed on.

It knows nothing of how weights are packed, nor of what is left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from escriba.cli.options import json_option, print_json
from escriba.cli.write import notes_on_stderr
from escriba.errors import typed
from escriba.language import tr

if TYPE_CHECKING:
    from escriba.packing import Packed

__all__ = ["pack_command"]

KINDS = ("int8", "bf16", "float32")


@click.command("pack", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.option("-o", "--out", required=True, metavar="OUT", help="Where to: a folder, or one zip file if the name ends in .zip.")
@click.option("--weights", type=click.Choice(KINDS), default="int8", show_default=True, help="What the weights are kept in.")
@click.option("--on", metavar="FILE", help="Measure on this text what it costs. [default: what the model's own training held out]")
@click.option("--encoding", metavar="NAME", help="Encoding of FILE. [default: that of the model's own text]")
@click.option("--at", metavar="MOMENT", help="Weights of an earlier moment that was kept, such as epoch:3.")
@click.option("--overwrite", is_flag=True, help="Replace a packed model that is there.")
@json_option
def pack_command(
    model: str, out: str, weights: str, on: str | None, encoding: str | None, at: str | None, overwrite: bool, as_json: bool
) -> None:
    """Pack a model to pass it on: small, and without anything that says where and when it learnt.

    int8 takes a quarter of the space, bf16 half of it; float32 is exact. What that costs is measured: bits per character before and
    after. Every command opens what was packed as it opens a model folder.

    \b
    escriba pack book -o book.zip
    escriba pack book -o models/small --weights bf16
    escriba pack book -o book.zip --overwrite --on chapter.txt
    """
    import escriba.api
    from escriba.cli.evaluate import _bar as bar

    loaded = escriba.api.load(model, at=at)
    with notes_on_stderr(), bar(model) as progress:
        packed = loaded.pack(out, weights, overwrite=overwrite, on=on, encoding=encoding, progress=progress)
    if as_json:
        print_json({"model": model, **packed.as_dict()})
    else:
        _print_table(packed)
    if packed.why_not is not None:
        why = tr("bits per character were not measured: {why}", why=packed.why_not)
        hint = tr(
            "measure them on another text: {command}", command=typed("escriba", "pack", model, "-o", out, "--overwrite", "--on", "FILE")
        )
        click.echo(f"{tr('note: {note}', note=why)}\n{tr('hint: {hint}', hint=hint)}", err=True)
    elif packed.characters is not None:
        what = tr("the held-out part") if packed.measured_on == "held-out" else packed.measured_on
        click.echo(tr("measured on {characters:,} characters of {text}", characters=packed.characters, text=what), err=True)


def _print_table(packed: Packed) -> None:
    """Sizes and loss, before and after."""

    def megabytes(size: int | None) -> str:
        return "" if size is None else tr("{size:.2f} MB", size=size / 1e6)

    rows = [
        ("", tr("before"), tr("after"), ""),
        (tr("all files"), megabytes(packed.bytes_before), megabytes(packed.bytes), ""),
        (tr("weights"), megabytes(packed.weight_bytes_before), megabytes(packed.weight_bytes), ""),
    ]
    if packed.bits_per_char is not None and packed.bits_per_char_before is not None:
        change = packed.bits_per_char / packed.bits_per_char_before - 1 if packed.bits_per_char_before else 0.0
        rows.append((tr("bits per character"), f"{packed.bits_per_char_before:.4f}", f"{packed.bits_per_char:.4f}", f"{change:+.2%}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    click.echo(f"{packed.path}{'' if packed.weights is None else f' ({packed.weights})'}")
    for name, before, after, change_shown in rows:
        click.echo(f"  {name:<{widths[0]}}  {before:>{widths[1]}}  {after:>{widths[2]}}  {change_shown}".rstrip())
