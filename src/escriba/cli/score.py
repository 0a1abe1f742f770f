"""``escriba score``: how likely a text, its lines or its symbols are to a model.

It knows nothing of how that is computed.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from escriba.cli.options import engine_options, json_option, print_json, tell_precision, with_option
from escriba.cli.texts import fetch_first
from escriba.cli.write import notes_on_stderr
from escriba.language import tr
from escriba.text.printed import printable

if TYPE_CHECKING:
    from escriba.api import Model
    from escriba.results import Score
    from escriba.text.files import TextFile

__all__ = ["figures_of", "print_conventions", "score_command", "texts_of"]

BAR_EVERY = 64
"""Lines after which the bar moves on."""


@click.command("score", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@click.argument("file", required=False, metavar="[FILE|-]")
@click.option("--text", "texts", multiple=True, help="A text to score; may be given several times.")
@click.option("--after", default="", help="A context that is read first and not scored.")
@click.option("--per-line", is_flag=True, help="Score each line of FILE, as they come: nats, bits per character, symbols, line.")
@click.option("--carry", is_flag=True, help="With --per-line: carry the state from line to line. [default: each from the beginning]")
@click.option("--symbols", is_flag=True, help="Show of every symbol the surprisal, the probability and the rank.")
@click.option("--top", type=click.IntRange(0), default=0, metavar="N", help="With --symbols: also the N likeliest in each place.")
@click.option("--eos", is_flag=True, help="In a model of documents: count the <eos> after each text or line.")
@click.option("--typical", type=float, metavar="SHARE", help="Also say whether each text is typical, where SHARE of typical ones may fail.")
@click.option("--encoding", metavar="NAME", help="Encoding of FILE. [default: utf-8; of a known text its own]")
@click.option("--at", metavar="MOMENT", help="Weights of an earlier moment that was kept, such as epoch:3.")
@with_option
@engine_options(writes=False)
@json_option
def score_command(
    model: str, file: str | None, texts: tuple[str, ...], after: str, per_line: bool, carry: bool, symbols: bool, top: int, eos: bool,
    typical: float | None, encoding: str | None, at: str | None, others: tuple[str, ...],
    precision: str, threads: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Score a text: log-likelihood in nats, bits per character; closer to 0, and fewer bits, is likelier.

    \b
    escriba score book chapter.txt
    escriba score book --text "to be or not to be" --text "be to not or be to"
    escriba score book --text "to be or not to be" --symbols --top 3
    escriba score book chapter.txt --per-line > scores.tsv
    """
    import escriba.api

    if (file is None) == (not texts):
        raise click.UsageError(tr("give one FILE (- is standard input), or --text, and not both"))
    if typical is not None and others:
        raise click.UsageError(tr("--typical goes with one MODEL, and not with --with"))
    if typical is not None and (after or eos or per_line):
        raise click.UsageError(tr("--typical judges whole texts from nothing: it goes with none of --after, --eos and --per-line"))
    if per_line and (file is None or symbols):
        raise click.UsageError(
            tr("--per-line scores the lines of a FILE (- is standard input), without --symbols")
            if symbols
            else tr("--per-line scores the lines of a FILE (- is standard input)")
        )
    for flag, given, needed, there in (("--carry", carry, "--per-line", per_line), ("--top", top > 0, "--symbols", symbols)):
        if given and not there:
            raise click.UsageError(tr("{flag} goes with {needed}", flag=flag, needed=needed))
    loaded = escriba.api.load(model, *others, at=at, precision=precision, threads=threads)
    if per_line:
        _print_lines(loaded, str(file), encoding, {"after": after, "carry": carry, "eos": eos}, as_json)
        return
    scores = []
    for text in texts or texts_of(str(file), encoding):
        with notes_on_stderr():
            scores.append(loaded.score(text, after, eos=eos, top=top))
    verdicts = [] if typical is None else [loaded.is_typical(score.text, typical) for score in scores]
    if as_json:
        exact = {"precision": loaded.engine.precision}
        figures = [figures_of(score) | exact | ({"by_symbol": symbols_of(loaded, score)} if symbols else {}) for score in scores]
        for figure, verdict in zip(figures, verdicts, strict=False):
            figure["typical"] = verdict.as_dict()
        print_json(figures[0] if len(figures) == 1 else figures)
        return
    for number, score in enumerate(scores):
        shown = score.text if len(score.text) <= 60 else score.text[:57] + "..."
        share = score.more_surprising_than
        line = tr(
            "{nats:12.3f} nats  {bits:7.4f} bits per character  perplexity {perplexity:9.3f}  {symbols:,} symbols",
            nats=score.log_likelihood,
            bits=score.bits_per_char,
            perplexity=score.perplexity,
            symbols=score.symbols,
        )
        line += f"  {shown!r}"
        if share is not None:
            line += "  " + tr("more surprising than {share:.1%} of {texts}", share=share, texts=loaded.usual.beside(score.symbols))
        click.echo(line)
        if verdicts:
            click.echo(f"{'':12} {verdicts[number]}")
        if symbols:
            _print_table(loaded, score)
    print_conventions(scores)
    tell_precision(loaded.engine)


def print_conventions(scores: Iterable[Score]) -> None:
    """What was measured, on standard error: a line, or several where unseen symbols make a difference."""
    for line in dict.fromkeys(score.convention for score in scores):
        click.echo(tr("convention: {convention}", convention=line), err=True)


def figures_of(score: Score) -> dict[str, Any]:
    """The fields of a score as JSON can hold them: what is infinite is null."""
    return {name: None if isinstance(value, float) and math.isinf(value) else value for name, value in score.as_dict().items()}


def symbols_of(model: Model, score: Score) -> list[dict[str, Any]]:
    """Every symbol of a scored text: as it stands there, its surprisal, probability and rank, and what was expected if that is known."""
    columns = (score.surprisals, score.probabilities, score.ranks, _names(model, score))
    rows: list[dict[str, Any]] = [
        {"symbol": name, "surprisal_nats": nats, "surprisal_bits": nats / math.log(2), "probability": share, "rank": rank}
        for nats, share, rank, name in zip(*columns, strict=True)
    ]
    for row, likeliest in zip(rows, score.expected, strict=False):
        row["expected"] = [{"symbol": symbol, "probability": share} for symbol, share in likeliest]
    return rows


def _names(model: Model, score: Score) -> list[str]:
    """The symbols as they stand in the text; where one has no text of its own there, its name: a byte's number, ``<eos>``."""
    if all(score.pieces):
        return list(score.pieces)
    names = [model.tokenizer.symbols[at] for at in model.tokenizer.encode(model.tokenizer.normalize(score.text))]
    return [piece or name for piece, name in itertools.zip_longest(score.pieces, names, fillvalue="<eos>")]


def _print_table(model: Model, score: Score) -> None:
    heads = (tr("symbol"), "bits", "nats", tr("probability"), tr("rank"))
    first, *others = [max(least, len(head)) for least, head in zip((10, 8, 8, 12, 6), heads, strict=True)]
    line = [f"{heads[0]:<{first}}", *(f"{head:>{width}}" for head, width in zip(heads[1:], others, strict=True))]
    click.echo(" ".join(line) + (f"  {tr('expected')}" if score.expected else ""))
    for row in symbols_of(model, score):
        likeliest = ", ".join(f"{printable(one['symbol'])} {one['probability']:.1%}" for one in row.get("expected", ()))
        figures = (f"{row['surprisal_bits']:.3f}", f"{row['surprisal_nats']:.3f}", f"{row['probability']:.3e}", f"{row['rank']:,}")
        line = [f"{printable(row['symbol']):<{first}}", *(f"{figure:>{width}}" for figure, width in zip(figures, others, strict=True))]
        click.echo(" ".join(line) + (f"  {likeliest}" if likeliest else ""))


def _print_lines(model: Model, file: str, encoding: str | None, way: dict[str, Any], as_json: bool) -> None:
    """The score of each line of FILE, a line each, as they come."""
    from escriba.inference.lines import lines_in

    found = [] if _is_known(file) else _files_of(file, encoding)
    each = (lines_in(one.texts()) for one in found) if found else (lines_in([text]) for text in texts_of(file, encoding))
    said = False
    try:
        with _bar(found) as move:
            for score in model.score_lines(itertools.chain.from_iterable(each), **way):
                if not said:
                    click.echo(tr("convention: {convention}", convention=score.convention), err=True)
                    said = True
                if as_json:
                    print_json({**score.as_dict(), "precision": model.engine.precision})
                else:
                    bits = "" if score.bits_per_char is None else f"{score.bits_per_char:.6f}"
                    click.echo(f"{score.log_likelihood:.6f}\t{bits}\t{score.symbols}\t{score.text}")
                if score.line % BAR_EVERY == 0:
                    move()
        if not as_json:
            tell_precision(model.engine)
    finally:
        for note in dict.fromkeys(note for one in found for note in one.notes):
            click.echo(tr("note: {note}", note=note), err=True)


@contextmanager
def _bar(files: list[TextFile]) -> Iterator[Callable[[], None]]:
    """A bar on standard error of the bytes read so far, where that is a terminal and the lines go elsewhere; gives what moves it on."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr, highlight=False)
    packed = any(one.path is None or one.path.suffix.lower() in (".gz", ".bz2", ".xz") for one in files)
    total = None if packed or not files else sum(one.path.stat().st_size for one in files if one.path is not None)
    columns = (TextColumn(tr("scoring")), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    disable = not console.is_terminal or console.is_dumb_terminal or sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, disable=disable, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.update(task, completed=sum(one.size for one in files))


def _is_known(file: str) -> bool:
    from escriba.text.known import PREFIX

    return file.startswith(PREFIX)


def _files_of(file: str, encoding: str | None) -> list[TextFile]:
    from escriba.settings import TextSettings
    from escriba.text import files

    fetch_first([file])
    return [files.TextFile(path, encoding or TextSettings().encoding) for path in files.find([file])]


def texts_of(file: str, encoding: str | None) -> list[str]:
    """The texts of FILE: files as they are, a known text as training reads it."""
    from escriba.text import corpus

    with notes_on_stderr():
        if _is_known(file):
            fetch_first([file])
            known = corpus.read(file) if encoding is None else corpus.read(file, encoding=encoding)
            texts, notes = [known.text], list(known.notes)
        else:
            found = _files_of(file, encoding)
            texts = ["".join(one.texts()) for one in found]
            notes = [note for one in found for note in one.notes]
    for note in notes:
        click.echo(tr("note: {note}", note=note), err=True)
    return texts
