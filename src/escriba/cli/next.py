"""``escriba next``: what may come after a text.

It knows nothing of how that is computed or drawn.
"""

from __future__ import annotations

import click

from escriba.cli.options import engine_options, json_option, print_json, tell_precision
from escriba.cli.write import notes_on_stderr
from escriba.language import tr

__all__ = ["next_command"]


@click.command("next", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.argument("context", metavar="CONTEXT")
@click.option("--top", default=10, show_default=True, metavar="N", type=click.IntRange(1), help="So many of the likeliest symbols.")
@click.option("--plot", "file", metavar="FILE", help="Draw them into FILE: .png, .svg or .pdf.")
@click.option("--at", metavar="MOMENT", help="Weights of an earlier moment that was kept, such as epoch:3.")
@engine_options(writes=False)
@json_option
def next_command(
    model: str, context: str, top: int, file: str | None, at: str | None, precision: str, threads: int | None, as_json: bool
) -> None:  # fmt: skip
    """Show what may come after CONTEXT ('' is the beginning): a bar, the probability and the logit of each symbol.

    The probabilities are the model's own: no temperature, nothing left out.

    \b
    escriba next book "The mill"
    escriba next book "" --top 5
    escriba next book "The mill" --top 40 --plot next.png
    """
    import escriba.api

    loaded = escriba.api.load(model, at=at, precision=precision, threads=threads)
    with notes_on_stderr():
        found = loaded.next(context)
    if file is not None:
        found.plot(file, n=min(top, len(found.symbols)))
        click.echo(tr("drawn: {file}", file=file), err=True)
    if as_json:
        print_json({**found.as_dict(top), "precision": loaded.engine.precision})
        return
    click.echo(found.bars(top))
    tell_precision(loaded.engine)
