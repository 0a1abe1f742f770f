"""``escriba corpus`` and ``escriba train``: look at a text, learn it.

It knows nothing of how either is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from escriba.cli.options import Decorator, given, json_option, parse_sets, print_json, setting, text_options
from escriba.cli.spoken import Composed
from escriba.cli.texts import fetch_first
from escriba.cli.write import notes_on_stderr
from escriba.errors import typed
from escriba.language import tr
from escriba.presets import PRESETS
from escriba.settings import ModelSettings, TrainSettings

__all__ = ["corpus_command", "train_command"]

SHOWN = 300
"""Characters of a text's beginning."""


@click.command("corpus", no_args_is_help=True)
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@text_options
@click.option("--examples", type=click.IntRange(0, 1000), default=0, metavar="N", help="Also show the first N steps of an example.")
@json_option
def corpus_command(texts: tuple[str, ...], examples: int, as_json: bool, **options: Any) -> None:
    """Show what would be read of a text, before training.

    TEXT is a file, a folder, a pattern, or - for standard input; .gz, .bz2 and .xz are unpacked; .csv, .tsv and .jsonl are tables.

    \b
    escriba corpus book.txt
    escriba corpus news.csv --no-header --column 2
    escriba corpus quijote.txt --encoding latin-1 --strip-gutenberg
    """
    from escriba.text.corpus import read

    fetch_first(texts)
    corpus = read(*texts, **given(options))
    summary = corpus.summary()
    if as_json:
        print_json(summary.as_dict())
        return
    click.echo(str(summary))
    opening = corpus.opening(SHOWN + 1)
    click.echo(f"\n{opening[:SHOWN]}" + ("..." if len(opening) > SHOWN else ""))
    if examples:
        from escriba.text.batches import documents, windows
        from escriba.text.tokenizer import TOKENIZERS

        encoded = corpus.encode(TOKENIZERS[corpus.settings.unit].fit(corpus))
        cut = documents if corpus.is_documents else windows
        click.echo(f"\n{cut(encoded, seq_len=examples, batch_size=1).show(examples)}")


def _train_options(command: Callable[..., Any]) -> Callable[..., Any]:
    def presets() -> str:
        described = "; ".join(f"{name}: {tr(preset.purpose)}" for name, preset in PRESETS.items())
        return tr("Gives every other setting. {described}.", described=described)

    options: list[Decorator] = [
        click.option("-o", "--out", metavar="MODEL", help="The model folder. [default: models/ and the name of the text]"),
        click.option(
            "--preset", default="small", show_default=True, metavar="|".join(PRESETS), cls=Composed, in_words=presets
        ),
        setting(ModelSettings, "cell", no_default=True),
        setting(ModelSettings, "hidden_size", metavar="N", no_default=True),
        setting(ModelSettings, "num_layers", metavar="N", no_default=True),
        click.option("--residual", is_flag=True, default=None, help="Each layer is a block of a residual stack."),
        setting(ModelSettings, "window", metavar="N"),
        click.option("--codes", "codes", is_flag=True, default=None, help="ngram: each symbol enters as its id, one number."),
        setting(ModelSettings, "order", metavar="N", no_default=True),
        setting(TrainSettings, "steps", metavar="N", no_default=True),
        setting(TrainSettings, "epochs", metavar="N", no_default=True),
        setting(TrainSettings, "minutes", metavar="N", no_default=True),
        setting(TrainSettings, "seed", metavar="N"),
        setting(TrainSettings, "keep_every", metavar="epoch|N", no_default=True),
        setting(TrainSettings, "scheduled_sampling", metavar="SHARE"),
        setting(TrainSettings, "precision"),
        setting(TrainSettings, "device", metavar="auto|cpu|cuda|mps"),
        setting(TrainSettings, "threads", metavar="auto|N"),
        click.option(
            "--val", multiple=True, metavar="FILE",
            help="A text of your own to hold out, instead of the last tenth; beside --test what the best weights are chosen by.",
        ),
        click.option("--test", multiple=True, metavar="FILE", help="A text of your own to hold out."),
        click.option("--resume", is_flag=True, help="Go on with the unfinished training in the model folder."),
        click.option("--more", metavar="MODEL", help="Train a finished model further on its text, in its place unless -o is given."),
        click.option("--init-from", metavar="MODEL", help="Begin with the weights of a model, on any text: symbols are mapped by name."),
        click.option("--allow-inexact", is_flag=True, help="Let --resume go on with other threads, precision or device than before."),
        click.option("--overwrite", is_flag=True, help="Replace a model that is there."),
        click.option(
            "--set", "sets", multiple=True, metavar="SECTION.KEY=VALUE", help="Any other setting: --set train.learning_rate=0.002"
        ),
        click.option("--quiet", is_flag=True, help="Show no progress and no samples."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command("train", no_args_is_help=True)
@click.argument("texts", nargs=-1, metavar="TEXT...")
@_train_options
@text_options
@json_option
def train_command(
    texts: tuple[str, ...], out: str | None, preset: str, val: tuple[str, ...], test: tuple[str, ...], resume: bool, more: str | None,
    init_from: str | None, allow_inexact: bool, overwrite: bool, sets: tuple[str, ...], quiet: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Train a model on a text, and keep it in a model folder.

    \b
    escriba train book.txt                           five minutes, the best model there is time for
    escriba train book.txt --minutes 20 -o models/mine
    escriba train shakespeare.txt --preset tutorial  as the lessons do it
    escriba train names.txt --minutes 1              a list: every line a document
    escriba train news.csv --no-header --column 2 --preset titles
    escriba train book.txt --cell counts --order 6   an n-gram that counts, in a second: no PyTorch
    escriba train -o models/mine --resume            on from where it was stopped
    escriba train --more models/mine --minutes 10    a finished one further
    escriba train letters.txt --init-from models/mine
    """
    import escriba.api
    from escriba.outputs.progress import ProgressDisplay
    from escriba.training.interrupt import dropping_a_broken_stream, quiet_if_broken

    if not texts and more is None and not (resume and out is not None):
        raise click.UsageError(tr("give a TEXT; only --more MODEL, and --resume with -o MODEL, know theirs"))
    fetch_first([*texts, *val, *test])
    display = None if quiet else ProgressDisplay()
    show = quiet_if_broken(display or (lambda event: None))
    closing: list[Any] = []

    def watch(event: Any) -> None:
        if type(event).__name__ == "Closed":
            closing.append(event)
        show(event)

    try:
        with notes_on_stderr():
            escriba.api.train(
                *texts,
                out=out,
                preset=preset,
                val=val,
                test=test,
                resume=resume,
                more=more,
                init_from=init_from,
                allow_inexact=allow_inexact,
                overwrite=overwrite,
                watcher=watch,
                **{**given(options), **parse_sets(sets)},
            )
    finally:
        if display is not None:
            with dropping_a_broken_stream():
                display.close()
    closed = closing[0]
    if as_json:
        print_json(closed.as_dict())
    if closed.reason == "interrupted":
        own = [word for name, files in (("--val", val), ("--test", test)) for file in files for word in (name, file)]
        click.echo(f"{tr('go on:'):<9} {typed('escriba', 'train', *texts, *own, '-o', closed.folder, '--resume')}", err=True)
        raise KeyboardInterrupt
    click.echo(f"{tr('try:'):<9} {typed('escriba', 'generate', closed.folder)}", err=True)
