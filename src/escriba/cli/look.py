"""``escriba list`` and ``escriba show``: what models there are, and what one is.

It knows nothing of engines: folders are read, nothing is run.
"""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from escriba.cli.options import json_option, print_json
from escriba.errors import EscribaError
from escriba.language import later, tr
from escriba.outputs.curve import sparkline

__all__ = ["list_command", "show_command"]


LATEST = {"steps": "step", "epochs": "epoch", "elapsed_s": "elapsed_s"}
"""What an unfinished training is known by: its last line of progress."""

PARTS = (later("embedding"), later("entry"), later("norm"), later("output"))
"""The parts of a network that are named in words; the others by their cell and number."""


def facts(folder: Path) -> dict[str, Any]:
    """What a model folder, or a packed model, says of itself."""
    from escriba.archive import file_size, has_file
    from escriba.checkpoint import kept_weights, read_config
    from escriba.packing import kind_of
    from escriba.results import Run
    from escriba.weights import parameters_by_part

    config = read_config(folder)
    weights = folder / "model.safetensors"
    there = has_file(weights)
    layers = _ngrams(folder, config.vocab_size) if config.model.cell == "counts" else parameters_by_part(config.model, config.vocab_size)
    run = Run.read(folder)
    latest = run.last("progress")
    closing = run.last("finished") if run.finished else {name: latest.get(key) for name, key in LATEST.items()}
    return {
        "model": str(folder),
        "cell": config.model.cell,
        "unit": config.text.unit,
        "vocab_size": config.vocab_size,
        "parameters": sum(layers.values()),
        "layers": layers,
        "bytes": file_size(weights) if there else 0,
        "weights": kind_of(folder) if there else None,
        "finished": run.finished if run.events else None,  # None: saved by hand, without a training of its own
        "corpus": run.last("begun").get("corpus", {}),
        "steps": closing.get("steps"),
        "epochs": closing.get("epochs"),
        "elapsed_s": closing.get("elapsed_s"),
        "loss_nats": closing.get("loss_nats"),
        "bits_per_char": closing.get("bits_per_char"),
        "best": {name: run.best[name] for name in ("step", "loss_nats", "bits_per_char") if name in run.best},
        "curve": [{"step": line.get("step"), "loss_nats": line.get("loss_nats")} for line in run.evaluations],
        "kept": kept_weights(folder),
        "settings": config.to_json(),
    }


def _ngrams(folder: Path, vocab_size: int) -> dict[str, int]:
    """How many n-grams of each length a model that counts holds; of a large file only a few numbers are read."""
    from escriba.engine.ngrams import levels
    from escriba.tensorfile import map_tensor

    ends = levels(map_tensor(folder / "model.safetensors", "ngrams.keys").reshape(-1), vocab_size)
    return {f"{n}-grams": end - start for n, (start, end) in enumerate(pairwise(ends), 1)}


@click.command("list")
@click.argument("folder", default="models", metavar="[FOLDER]")
@json_option
def list_command(folder: str, as_json: bool) -> None:
    """List the models under models/, or under another FOLDER."""
    from escriba.checkpoint import model_folders

    found = []
    for path in model_folders(Path(folder)):
        try:
            found.append(facts(path))
        except EscribaError as error:
            found.append({"model": str(path), "error": error.met})
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo(tr("no models under {folder}; train one: escriba train TEXT", folder=folder), err=True)
    width = max((len(row["model"]) for row in found), default=0)
    numbers = {True: tr("n-grams"), False: tr("parameters")}
    numbers_width = max(map(len, numbers.values()))
    for row in found:
        if "error" in row:
            click.echo(f"{row['model']:<{width}}  {tr('damaged: {error}', error=row['error'])}")
            continue
        what = f"{numbers[row['cell'] == 'counts']:<{numbers_width}}"
        known = row["bits_per_char"]
        bits = tr("not measured") if known is None else tr("{bits:.3f} bits per character", bits=known)
        state = f"  ({tr('unfinished')})" if row["finished"] is False else ""
        click.echo(f"{row['model']:<{width}}  {row['cell']:<6} {row['parameters']:>11,} {what}  {bits}{state}")


@click.command("show", no_args_is_help=True)
@click.argument("model", metavar="MODEL")
@json_option
def show_command(model: str, as_json: bool) -> None:
    """Show a model: its network, its text, how its training went."""
    from escriba.checkpoint import find_model

    folder = find_model(model)
    found = facts(folder)
    if as_json:
        print_json(found)
        return
    corpus, named = found["corpus"], {"model": found["model"], "size": found["bytes"] / 1e6}
    head = later("{model}: {size:.1f} MB, finished") if found["finished"] else later("{model}: {size:.1f} MB, unfinished")
    click.echo(tr(head if found["finished"] is not None else later("{model}: {size:.1f} MB, no record of a training"), **named))
    counts, layers = found["cell"] == "counts", found["layers"]
    if found["weights"] in ("int8", "bf16"):
        click.echo(tr("weights packed in {kind}", kind=found["weights"]))
    click.echo(f"\n{tr('n-grams') if counts else tr('network')}")
    parts = [tr("{n}-grams", n=n) for n in range(1, len(layers) + 1)] if counts else [tr(part) for part in layers]
    width = max(12, *map(len, [*parts, tr("all")]))
    for part, count in zip(parts, layers.values(), strict=True):
        click.echo(f"  {part:<{width}} {count:>12,}")
    named = {"symbols": found["vocab_size"], "unit": found["unit"]}
    what = (
        tr("n-grams; {symbols:,} symbols of the unit {unit}", **named)
        if counts
        else tr("parameters; {symbols:,} symbols of the unit {unit}", **named)
    )
    click.echo(f"  {tr('all'):<{width}} {found['parameters']:>12,} {what}")
    if isinstance(corpus, dict) and corpus.keys() >= {"characters", "train_symbols", "held_out_symbols"}:
        said = tr("{characters:,} characters", characters=corpus["characters"])
        if "sources" in corpus:  # a packed model does not say where it was
            sources = ", ".join(corpus["sources"][:5]) or "Python"
            said = tr("{characters:,} characters from {sources}", characters=corpus["characters"], sources=sources)
        click.echo(f"\n{tr('text')}\n  {said}")
        symbols = {"learnt": corpus["train_symbols"], "held_out": corpus["held_out_symbols"]}
        click.echo("  " + tr("{learnt:,} symbols learnt from, {held_out:,} held out", **symbols))
    if found["curve"]:
        losses = [point["loss_nats"] for point in found["curve"] if point["loss_nats"] is not None]  # null: the loss was no number
        ends = tr("no loss was a number")
        if losses:
            ends = tr("{first:.3f} -> {last:.3f}, best {best:.3f}", first=losses[0], last=losses[-1], best=min(losses))
        width = shutil.get_terminal_size().columns - len(ends) - 4
        click.echo(f"\n{tr('curve (nats on the choosing part)')}\n  {sparkline(losses, width)}  {ends}")
    if found["loss_nats"] is not None:
        figures = {"nats": found["loss_nats"], "bits": found["bits_per_char"], "steps": found["steps"]}
        said = tr("{nats:.4f} nats, {bits:.4f} bits per character, after {steps:,} steps", **figures)
        click.echo(f"\n{tr('held out')}\n  {said}")
    if found["kept"]:
        click.echo(f"\n{tr('kept moments')}\n  {' '.join(found['kept'])}")
