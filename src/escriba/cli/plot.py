"""``escriba plot``: pictures of a model, into a file or, where that can be, in the terminal.

It knows nothing of how they are drawn.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from escriba.cli.score import texts_of
from escriba.cli.write import notes_on_stderr
from escriba.errors import SettingsError
from escriba.language import later, tr
from escriba.outputs.curve import sparkline

if TYPE_CHECKING:
    from escriba.api import Model

__all__ = ["plot_command"]

FLAGS = {"n": "--top", "baselines": "--baseline", "source": "--file"}
"""Options of pictures that are typed under another name."""

CURVES = (later("learnt from"), later("choosing part"))
"""The curves of a training, by their names."""


@click.command("plot", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.argument("kind", metavar="curve|architecture|embedding|surprisal|next")
@click.option("-o", "--output", "file", metavar="FILE", help="Where to: .png, .svg or .pdf; for surprisal also .html.")
@click.option("--text", help="surprisal: the text.")
@click.option("--file", "source", metavar="FILE", help="surprisal: a file with the text; - is standard input.")
@click.option("--encoding", metavar="NAME", help="surprisal: encoding of that file. [default: utf-8]")
@click.option("--after", help="surprisal: a context that is read first and not drawn.")
@click.option("--context", help="next: the text before; without it the beginning.")
@click.option("--top", "n", metavar="N", type=click.IntRange(1), help="next: the N likeliest symbols; embedding: the N most frequent.")
@click.option(
    "--baseline",
    "baselines",
    metavar="NAME=BITS",
    multiple=True,
    help="curve: another result, in bits a character; may be given several times.",
)
@click.option("--at", metavar="MOMENT", help="Weights of an earlier moment that was kept, such as epoch:3.")
def plot_command(model: str, kind: str, file: str | None, at: str | None, encoding: str | None, **values: Any) -> None:
    """Draw a model's learning curve, its architecture, its embedding as a map, the surprisal of a text, or what comes next.

    Without -o, surprisal colours the text in the terminal (elsewhere the whole bits of each symbol stand under it), and curve draws
    a row of bars.

    \b
    escriba plot book curve -o curve.png --baseline "n-gram=2.4"
    escriba plot book architecture -o network.svg
    escriba plot book surprisal --text "The miller sleeps." -o page.html
    escriba plot book next --context "The m" -o next.png
    """
    import escriba.api
    from escriba.pictures import KINDS, checked_kind

    checked_kind(kind)
    options = {name: value for name, value in values.items() if value not in (None, ())}
    for name in options:
        kinds = [one for one, known in KINDS.items() if ("text" if name == "source" else name) in known]
        if kind not in kinds:
            raise click.UsageError(tr("{flag} goes with {kinds}", flag=FLAGS.get(name, f"--{name}"), kinds=tr(" and ").join(kinds)))
    loaded = escriba.api.load(model, at=at)
    if source := options.pop("source", None):
        if "text" in options:
            raise click.UsageError(tr("give --text or --file, and not both"))
        options["text"] = "".join(texts_of(source, encoding))
    if kind == "surprisal" and "text" not in options:
        raise click.UsageError(tr("surprisal needs a text: --text TEXT, or --file FILE"))
    if "baselines" in options:
        pairs = list(map(_baseline, options["baselines"]))
        options["baselines"] = dict(pairs)
        if len(options["baselines"]) < len(pairs):
            raise click.UsageError(tr("every --baseline needs a name of its own: --baseline 'n-gram=2.4'"))
    if file is None:
        _in_terminal(loaded, kind, options)
        return
    with notes_on_stderr():
        loaded.plot(kind, file, **options)
    click.echo(tr("drawn: {file}", file=file), err=True)


def _in_terminal(model: Model, kind: str, options: dict[str, Any]) -> None:
    """What needs no file.

    Raises:
        UsageError: the picture needs one.
    """
    if kind == "curve" and not options:
        curves = {tr(name): losses for name, losses in model.run.curves().items()}
        wide = max(13, *map(len, curves))
        for name, losses in curves.items():
            ends = tr("{first:.3f} -> {last:.3f} nats a symbol", first=losses[0], last=losses[-1]) if losses else tr("no record")
            width = shutil.get_terminal_size().columns - len(ends) - wide - 3
            click.echo(f"{name:<{wide}} {sparkline(losses, width)}  {ends}")
    elif kind == "surprisal":
        with notes_on_stderr():
            score = model.score(**options)
        score.print(sys.stdout)
        click.echo(str(score), err=True)
    else:
        raise click.UsageError(tr("a picture of the kind {kind!r} needs a file: -o {kind}.png", kind=kind))


def _baseline(pair: str) -> tuple[str, float]:
    """A result by name.

    Raises:
        SettingsError: the form is another.
    """
    name, _, bits = pair.rpartition("=")
    try:
        return name or tr("baseline"), float(bits)
    except ValueError:
        raise SettingsError(
            tr("--baseline {pair!r}", pair=pair), expected=tr('NAME=BITS in bits a character, for example --baseline "n-gram=2.4"')
        ) from None
