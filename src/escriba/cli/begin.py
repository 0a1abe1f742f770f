"""``escriba demo``: two minutes from a text to a model that writes.

It knows nothing more than a person who types the other commands.
"""

from __future__ import annotations

import click

from escriba.cli.texts import fetch_first

__all__ = ["demo_command"]


@click.command("demo")
@click.argument("text", required=False, metavar="[TEXT]")
@click.option("--minutes", type=click.FloatRange(0.05, 600.0), default=2.0, show_default=True, help="Minutes to train.")
@click.option("-o", "--out", default="models/demo", show_default=True, metavar="MODEL", help="The model folder; replaced if it is there.")
def demo_command(text: str | None, minutes: float, out: str) -> None:
    """Train for two minutes, write at three temperatures, score two sentences.

    Without TEXT it learns the language reference that Python itself carries: nothing is downloaded.
    """
    import escriba.api

    if text is None:
        from pydoc_data import topics

        reference = "\n\n".join(topics.topics[name] for name in sorted(topics.topics))
        click.echo("the text: Python's own language reference (pydoc_data.topics)", err=True)
        model = escriba.api.train(text=reference, out=out, overwrite=True, minutes=minutes)
    else:
        fetch_first([text])
        model = escriba.api.train(text, out=out, overwrite=True, minutes=minutes)
    prompt = "The "
    for temperature in (0.3, 0.8, 1.2):
        click.secho(f"\n--- it writes, temperature {temperature:g} ---", bold=True)
        click.echo(model.generate(prompt, 300, temperature=temperature, seed=1))
    click.secho("\n--- which sentence is likelier? (nearer to 0, fewer bits) ---", bold=True)
    sentence = "the value of the expression" if text is None else _sentence(model.generate("", 60, temperature=0.5, seed=2))
    for tried in (sentence, sentence[::-1]):
        score = model.score(tried)
        click.echo(f"{score.log_likelihood:10.2f} nats  {score.bits_per_char:6.3f} bits per character  {tried!r}")
    click.secho("\n--- try next ---", bold=True)
    click.echo(f'escriba generate {out} --prompt "A function " --temperature 0.7')
    click.echo(f'escriba score {out} --text "the list of names"')
    click.echo(f"escriba show {out}")
    click.echo("escriba train your-own-text.txt --minutes 5")


def _sentence(written: str) -> str:
    return " ".join(written.split())[:40] or written[:40]
