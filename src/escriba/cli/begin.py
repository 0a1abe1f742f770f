"""``escriba demo``: an n-gram at once, and two minutes from a text to a network that writes better.

It knows nothing more than a person who types the other commands.
"""

from __future__ import annotations

from typing import Any

import click

from escriba.cli.texts import fetch_first
from escriba.errors import MissingExtraError, typed
from escriba.language import tr

__all__ = ["demo_command"]


@click.command("demo")
@click.argument("text", required=False, metavar="[TEXT]")
@click.option("--minutes", type=click.FloatRange(0.05, 600.0), default=2.0, show_default=True, help="Minutes to train.")
@click.option("-o", "--out", default="models/demo", show_default=True, metavar="MODEL", help="The model folder; replaced if it is there.")
def demo_command(text: str | None, minutes: float, out: str) -> None:
    """Count n-grams and write at once; then train a network for two minutes, write at three temperatures, score two sentences, compare.

    Without TEXT it learns the language reference that Python itself carries: nothing is downloaded. Without PyTorch it ends with the
    n-grams.
    """
    import escriba.api
    from escriba.text.corpus import read

    sources: tuple[str, ...] = ()
    given: dict[str, Any] = {"out": out, "overwrite": True}
    if text is None:
        from pydoc_data import topics

        given["text"] = "\n\n".join(topics.topics[name] for name in sorted(topics.topics))
        click.echo(tr("the text: Python's own language reference (pydoc_data.topics)"), err=True)
    elif text == "-":  # it can be read once, and two models learn it
        corpus = read(text)
        given["documents" if corpus.is_documents else "text"] = corpus.documents if corpus.is_documents else corpus.text
    else:
        fetch_first([text])
        sources = (text,)
    prompt = "The " if text is None else ""

    def write(event: Any) -> None:
        if type(event).__name__ == "Counted":  # before it is measured, which takes longer
            _heading(tr("an n-gram that counts (6 symbols) writes, after a second"))
            click.echo(event.model.generate(prompt, 300, temperature=0.8, seed=1))

    counted = escriba.api.train(*sources, cell="counts", watcher=write, **{**given, "out": f"{out}-counts"})
    click.echo(f"\n{tr('now a network learns the same text')}", err=True)
    try:
        model = escriba.api.train(*sources, minutes=minutes, **given)
    except MissingExtraError as error:
        click.echo(f"\n{error.met}\n{tr('to train a network: {hint}', hint=error.hint)}", err=True)
        click.echo(typed("escriba", "generate", f"{out}-counts", "--temperature", "0.7"))
        return
    for temperature in (0.3, 0.8, 1.2):
        click.echo()
        _heading(tr("the network writes, temperature {temperature:g}", temperature=temperature))
        click.echo(model.generate(prompt, 300, temperature=temperature, seed=1))
    sentence = "the value of the expression" if text is None else _sentence(model.generate("", 60, temperature=0.5, seed=2))
    if sentence:
        click.echo()
        _heading(tr("which sentence is likelier? (nearer to 0, fewer bits)"))
    for tried in (sentence, sentence[::-1]) if sentence else ():
        score = model.score(tried)
        words = tr("{nats:10.2f} nats  {bits:6.3f} bits per character", nats=score.log_likelihood, bits=score.bits_per_char)
        click.echo(f"{words}  {tried!r}")
    measured = {tr("the n-gram that counts"): counted, tr("the network"): model}
    bits = {name: one.run.last("finished").get("bits_per_char") for name, one in measured.items()}
    if all(found is not None for found in bits.values()):
        click.echo()
        _heading(tr("the part that neither learnt from (fewer bits per character are better)"))
        for name, found in bits.items():
            click.echo(f"{found:10.3f}  {name}")
    click.echo()
    _heading(tr("try next"))
    click.echo(f'escriba generate {out} --prompt "A function " --temperature 0.7')
    click.echo(f'escriba score {out} --text "the list of names"')
    click.echo(f"escriba show {out}")
    click.echo("escriba train your-own-text.txt --minutes 5")


def _heading(words: str) -> None:
    click.secho(f"--- {words} ---", bold=True)


def _sentence(written: str) -> str:
    return " ".join(written.split())[:40] or written[:40]
