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
from escriba.outputs.curve import sparkline

__all__ = ["list_command", "show_command"]


LATEST = {"steps": "step", "epochs": "epoch", "elapsed_s": "elapsed_s"}
"""What an unfinished training is known by: its last line of progress."""


def facts(folder: Path) -> dict[str, Any]:
    """What a model folder says of itself."""
    from escriba.checkpoint import kept_weights, read_config
    from escriba.results import Run
    from escriba.weights import parameters_by_part

    config = read_config(folder)
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
        "bytes": sum(file.stat().st_size for file in folder.glob("model.safetensors")),
        "finished": run.finished,
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
        click.echo(f"no models under {folder}; train one: escriba train TEXT", err=True)
    width = max((len(row["model"]) for row in found), default=0)
    for row in found:
        if "error" in row:
            click.echo(f"{row['model']:<{width}}  damaged: {row['error']}")
            continue
        what = "n-grams   " if row["cell"] == "counts" else "parameters"
        bits = f"{row['bits_per_char']:.3f} bits per character" if row["bits_per_char"] is not None else "not measured"
        state = "" if row["finished"] else "  (unfinished)"
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
    corpus = found["corpus"]
    click.echo(f"{found['model']}: {found['bytes'] / 1e6:.1f} MB, {'finished' if found['finished'] else 'unfinished'}")
    counts = found["cell"] == "counts"
    click.echo("\nn-grams" if counts else "\nnetwork")
    for part, count in found["layers"].items():
        click.echo(f"  {part:<12} {count:>12,}")
    what = "n-grams" if counts else "parameters"
    click.echo(f"  {'all':<12} {found['parameters']:>12,} {what}; {found['vocab_size']:,} symbols of the unit {found['unit']}")
    if isinstance(corpus, dict) and corpus.keys() >= {"characters", "sources", "train_symbols", "held_out_symbols"}:
        click.echo(f"\ntext\n  {corpus['characters']:,} characters from {', '.join(corpus['sources'][:5]) or 'Python'}")
        click.echo(f"  {corpus['train_symbols']:,} symbols learnt from, {corpus['held_out_symbols']:,} held out")
    if found["curve"]:
        losses = [point["loss_nats"] for point in found["curve"] if point["loss_nats"] is not None]  # null: the loss was no number
        ends = f"{losses[0]:.3f} -> {losses[-1]:.3f}, best {min(losses):.3f}" if losses else "no loss was a number"
        width = shutil.get_terminal_size().columns - len(ends) - 4
        click.echo(f"\ncurve (nats on the unlearnt part)\n  {sparkline(losses, width)}  {ends}")
    if found["loss_nats"] is not None:
        click.echo(
            f"\nheld out\n  {found['loss_nats']:.4f} nats, {found['bits_per_char']:.4f} bits per character, after {found['steps']:,} steps"
        )
    if found["kept"]:
        click.echo(f"\nkept moments\n  {' '.join(found['kept'])}")
