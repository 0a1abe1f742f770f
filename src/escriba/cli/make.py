"""``escriba corpus`` and ``escriba train``: look at a text, learn it.

It knows nothing of how either is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from escriba.cli.options import Decorator, given, json_option, parse_sets, print_json, setting, text_options
from escriba.presets import PRESETS
from escriba.settings import ModelSettings, TrainSettings

__all__ = ["corpus_command", "train_command"]


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

    corpus = read(*texts, **given(options))
    summary = corpus.summary()
    if as_json:
        print_json(summary.as_dict())
        return
    click.echo(str(summary))
    click.echo(f"\n{corpus.documents[0][:300]}" + ("..." if len(corpus.documents[0]) > 300 else ""))
    if examples:
        from escriba.text.batches import windows
        from escriba.text.tokenizer import TOKENIZERS

        settings = corpus.settings
        tokenizer = TOKENIZERS[settings.unit].fit(corpus, min_count=settings.min_count, unknown=settings.unknown)
        click.echo(f"\n{windows(corpus.encode(tokenizer), seq_len=max(examples, 1), batch_size=1).show(examples)}")


def _train_options(command: Callable[..., Any]) -> Callable[..., Any]:
    described = "; ".join(f"{name}: {preset.purpose}" for name, preset in PRESETS.items())
    options: list[Decorator] = [
        click.option("-o", "--out", metavar="MODEL", help="The model folder. [default: models/ and the name of the text]"),
        click.option(
            "--preset", default="small", show_default=True, metavar="|".join(PRESETS), help=f"Gives every other setting. {described}."
        ),
        setting(ModelSettings, "cell", no_default=True),
        setting(ModelSettings, "hidden_size", metavar="N", no_default=True),
        setting(ModelSettings, "num_layers", metavar="N", no_default=True),
        setting(TrainSettings, "steps", metavar="N", no_default=True),
        setting(TrainSettings, "epochs", metavar="N", no_default=True),
        setting(TrainSettings, "minutes", metavar="N", no_default=True),
        setting(TrainSettings, "seed", metavar="N"),
        setting(TrainSettings, "keep_every", metavar="epoch|N", no_default=True),
        setting(TrainSettings, "precision"),
        setting(TrainSettings, "device", metavar="cpu|cuda|mps"),
        setting(TrainSettings, "threads", metavar="N"),
        click.option("--val", multiple=True, metavar="FILE", help="A text of your own to hold out, instead of the last tenth."),
        click.option("--resume", is_flag=True, help="Go on with the unfinished training in the model folder."),
        click.option("--overwrite", is_flag=True, help="Replace a model that is there."),
        click.option(
            "--set", "sets", multiple=True, metavar="SECTION.KEY=VALUE", help="Any other setting: --set train.learning_rate=0.002"
        ),
        click.option("--quiet", is_flag=True, help="Show no progress and no samples."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("train", no_args_is_help=True)
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@_train_options
@text_options
@json_option
def train_command(
    texts: tuple[str, ...], out: str | None, preset: str, val: tuple[str, ...], resume: bool, overwrite: bool, sets: tuple[str, ...],
    quiet: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Train a model on a text, and keep it in a model folder.

    \b
    escriba train book.txt                           five minutes, the best plain network
    escriba train book.txt --minutes 20 -o models/mine
    escriba train shakespeare.txt --preset tutorial  as the lessons do it
    escriba train names.txt --minutes 1              a list: every line a document
    escriba train news.csv --no-header --column 2 --preset titles
    """
    import escriba.api
    from escriba.outputs.progress import ProgressDisplay

    display = None if quiet else ProgressDisplay()
    closing: list[Any] = []

    def watch(event: Any) -> None:
        if type(event).__name__ == "Closed":
            closing.append(event)
        if display is not None:
            display(event)

    try:
        escriba.api.train(
            *texts,
            out=out,
            preset=preset,
            val=val,
            resume=resume,
            overwrite=overwrite,
            watcher=watch,
            **{**given(options), **parse_sets(sets)},
        )
    finally:
        if display is not None:
            display.close()
    closed = closing[0]
    if as_json:
        print_json(closed.as_dict())
    if closed.reason == "interrupted":
        words = [*texts, *(word for one in val for word in ("--val", one)), "-o", closed.folder, "--resume"]
        click.echo(f"go on:    escriba train {' '.join(map(_quoted, words))}", err=True)
    else:
        click.echo(f"try:      escriba generate {_quoted(closed.folder)}", err=True)
    if closed.reason == "interrupted":
        raise KeyboardInterrupt


def _quoted(word: str) -> str:
    """A word as a person types it, in a shell of any system."""
    return f'"{word}"' if any(letter.isspace() for letter in word) else word
