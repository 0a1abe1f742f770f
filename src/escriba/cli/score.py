"""``escriba score``: how likely a text is to a model.

It knows nothing of how that is computed.
"""

from __future__ import annotations

import click

from escriba.cli.options import json_option, print_json
from escriba.cli.texts import fetch_first
from escriba.cli.write import notes_on_stderr

__all__ = ["score_command"]


@click.command("score", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("--text", "texts", multiple=True, help="A text to score; may be given several times.")
@click.option("--after", default="", help="A context that is read first and not scored.")
@click.option("--encoding", metavar="NAME", help="Encoding of FILE. [default: utf-8; of a known text its own]")
@click.option("--at", metavar="MOMENT", help="Weights of an earlier moment that was kept, such as epoch:3.")
@json_option
def score_command(
    model: str, file: str | None, texts: tuple[str, ...], after: str, encoding: str | None, at: str | None, as_json: bool
) -> None:
    """Score a text: log-likelihood in nats, bits per character; closer to 0, and fewer bits, is likelier.

    \b
    escriba score book chapter.txt
    escriba score book --text "to be or not to be" --text "be to not or be to"
    """
    import escriba.api

    loaded = escriba.api.load(model, at=at)
    if (file is None) == (not texts):
        raise click.UsageError("give one FILE (- is standard input), or --text, and not both")
    scores = []
    for text in texts or _texts_of(str(file), encoding):
        with notes_on_stderr():
            scores.append(loaded.score(text, after))
    if as_json:
        figures = [score.as_dict() for score in scores]
        print_json(figures[0] if len(figures) == 1 else figures)
        return
    for score in scores:
        shown = score.text if len(score.text) <= 60 else score.text[:57] + "..."
        click.echo(
            f"{score.log_likelihood:12.3f} nats  {score.bits_per_char:7.4f} bits per character  "
            f"perplexity {score.perplexity:9.3f}  {score.symbols:,} symbols  {shown!r}"
        )
    click.echo(f"convention: {scores[0].convention}", err=True)


def _texts_of(file: str, encoding: str | None) -> list[str]:
    """The texts of FILE: files as they are, a known text as training reads it."""
    from escriba.settings import TextSettings
    from escriba.text import corpus, files
    from escriba.text.known import PREFIX

    fetch_first([file])
    with notes_on_stderr():
        if file.startswith(PREFIX):
            known = corpus.read(file) if encoding is None else corpus.read(file, encoding=encoding)
            texts, notes = [known.text], list(known.notes)
        else:
            found = [files.TextFile(path, encoding or TextSettings().encoding) for path in files.find([file])]
            texts = ["".join(one.texts()) for one in found]
            notes = [note for one in found for note in one.notes]
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return texts
