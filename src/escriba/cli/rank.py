"""``escriba rank``: texts, or all orders of a word's letters, the likeliest first.

It knows nothing of how likely they are.
"""

from __future__ import annotations

import click

from escriba.cli.options import engine_options, json_option, print_json, tell_precision
from escriba.cli.score import figures_of, print_conventions
from escriba.cli.write import notes_on_stderr
from escriba.errors import TextError
from escriba.language import tr

__all__ = ["rank_command"]


@click.command("rank", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.argument("texts", nargs=-1, metavar="[TEXT...|-]")
@click.option("--permutations", "word", metavar="WORD", help="Rank all orders of this word's letters, at most 8; blanks around it stay.")
@click.option("--after", default="", help="A context that is read before each and not scored.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="Show only the N likeliest. [default: all]")
@click.option("--at", metavar="MOMENT", help="Weights of an earlier moment that was kept, such as epoch:3.")
@engine_options(writes=False)
@json_option
def rank_command(
    model: str, texts: tuple[str, ...], word: str | None, after: str, top: int | None, at: str | None, precision: str, threads: int | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Rank texts by their log-likelihood, the likeliest first; - reads them from standard input, one a line.

    Compare texts of like length: each symbol more makes a text less likely.

    \b
    escriba rank book "the king is dead" "the dead is king"
    escriba rank book --permutations " king " --top 5
    escriba rank book - < candidates.txt
    """
    import escriba.api

    if (word is None) == (not texts):
        raise click.UsageError(tr("give several TEXTs (- is standard input), or --permutations WORD, and not both"))
    loaded = escriba.api.load(model, at=at, precision=precision, threads=threads)
    with notes_on_stderr():
        ranked = loaded.rank(_given(texts), after) if word is None else loaded.permutations(word, after)
    word = None if word is None else loaded.tokenizer.normalize(word)
    place = next((number for number, score in enumerate(ranked, 1) if score.text == word), None)
    shown = ranked[:top]
    if as_json:
        exact = {"precision": loaded.engine.precision}
        rows = [{"rank": number, "text": score.text, **figures_of(score), **exact} for number, score in enumerate(shown, 1)]
        print_json([row | {"given": row["text"] == word} for row in rows] if word is not None else rows)
    else:
        for number, score in enumerate(shown, 1):
            words = tr("{nats:12.3f} nats  {bits:7.4f} bits per character", nats=score.log_likelihood, bits=score.bits_per_char)
            click.echo(f"{number:>6,}  {words}  {score.text!r}")
    if place is not None:
        click.echo(tr("{word!r} is number {place:,} of {orders:,} orders", word=word, place=place, orders=len(ranked)), err=True)
    print_conventions(shown)
    if not as_json:
        tell_precision(loaded.engine)


def _given(texts: tuple[str, ...]) -> list[str]:
    """The texts as they were typed; for a lone - the lines of standard input that are not empty."""
    if texts != ("-",):
        return list(texts)
    from escriba.inference.lines import lines_in
    from escriba.settings import TextSettings
    from escriba.text.files import TextFile

    file = TextFile(None, TextSettings().encoding)
    lines = [line for line in lines_in(file.texts()) if line]
    for note in file.notes:
        click.echo(tr("note: {note}", note=note), err=True)
    if not lines:
        raise TextError(tr("standard input holds no text to rank"), expected=tr("texts, one a line"))
    return lines
