"""``escriba doctor``: is this installation, or this model, in order.

It knows nothing of how to mend; it says what to type.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import click

from escriba import __version__
from escriba.cli.options import json_option, print_json
from escriba.errors import EscribaError, install_hint
from escriba.language import tr

__all__ = ["doctor_command"]

BASE = ("numpy", "safetensors", "pydantic", "click", "rich", "charset-normalizer")
OPTIONAL = {"torch": "train", "matplotlib": "plot"}
MOST_MEASURED = 12


@click.command("doctor")
@click.argument("model", required=False, metavar="[MODEL]")
@click.option("--measure", is_flag=True, help="Measure anew how fast this machine learns: a few seconds.")
@json_option
def doctor_command(model: str | None, measure: bool, as_json: bool) -> None:
    """Check this installation; with MODEL, check a model folder, every file of it."""
    if model and measure:
        raise click.UsageError(tr("--measure is of this machine: give it without a MODEL"))
    found = check_model(model) if model else check_installation(measure=measure)
    if as_json:
        print_json({"ok": all(row["ok"] for row in found), "checks": found})
    else:
        for row in found:
            click.echo(f"{'ok ' if row['ok'] else 'BAD'}  {row['what']:<22} {row['found']}")
            if row.get("hint"):
                click.echo(f"     hint: {row['hint']}")
    if not all(row["ok"] for row in found):
        raise SystemExit(1)


def _row(what: str, found: str, *, ok: bool = True, hint: str | None = None) -> dict[str, Any]:
    return {"what": what, "found": found, "ok": ok, **({"hint": hint} if hint else {})}


def check_installation(*, measure: bool = False) -> list[dict[str, Any]]:
    """The packages, the machine and how fast it learns, the place where models are kept."""
    rows = [
        _row("escriba", __version__),
        _row("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _row("processors", str(os.cpu_count())),
    ]
    rows.extend(_row(name, importlib.metadata.version(name)) for name in BASE)
    for name, extra in OPTIONAL.items():
        try:
            rows.append(_row(name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append(_row(name, "not installed; all but what needs it works", hint=install_hint(extra)))
            continue
        if name == "torch":
            rows.extend(_training(measure=measure))
    free = shutil.disk_usage(Path.cwd()).free
    rows.append(
        _row("free space here", f"{free / 1e9:.1f} GB", ok=free > 2e8, hint=None if free > 2e8 else "a model needs tens of megabytes")
    )
    rows.append(
        _row("this folder", "can be written to", ok=True)
        if os.access(Path.cwd(), os.W_OK)
        else _row("this folder", "is read-only", ok=False)
    )
    return rows


def _training(*, measure: bool) -> list[dict[str, Any]]:
    """Where and how this machine would learn, and every speed that was measured on it."""
    try:
        import torch

        from escriba.settings import TrainSettings
        from escriba.training.probe import measure_preset, remembered_measurements
        from escriba.training.step import chosen_device, devices_here, has_bf16
    except (ImportError, OSError) as error:
        return [
            _row("training", f"PyTorch does not load: {error}", ok=False, hint='python -m pip install --force-reinstall "escriba[train]"')
        ]
    device = str(chosen_device(TrainSettings()))
    precisions = "float32 or bf16" if has_bf16(device) else "float32"
    rows = [
        _row("devices", ", ".join(devices_here())),
        _row("training", f"on {device}, {precisions}, at most {torch.get_num_threads()} threads: each training measures what is fastest"),
    ]
    if measure and not measure_preset().measured:
        rows.append(_row("measured", "nothing: the variable ESCRIBA_PROBE is off", ok=False, hint="unset it"))
    for one in remembered_measurements()[-MOST_MEASURED:]:
        shape, compute = one.shape, one.compute
        inputs = "codes" if shape["codes"] else "one-hot" if shape["embedding_dim"] is None else f"embedding {shape['embedding_dim']}"
        layers = f"{shape['num_layers']} x {shape['cell']}" if shape["num_layers"] > 1 else shape["cell"]
        named = [str(value) for value in one.asked.values() if value not in ("auto", None)]
        rows.append(
            _row(
                "measured",
                f"{layers} {shape['hidden_size']}, {inputs}, about {shape['vocab_size']} symbols, "
                f"{shape['batch_size']} x {shape['seq_len']}: {compute.symbols_per_s:,.0f} symbols a second "
                f"in {compute.precision} on {compute.device}, threads: {compute.threads}"
                + (f" (as named: {', '.join(named)})" if named else ""),
            )
        )
    return rows


def check_model(name: str) -> list[dict[str, Any]]:
    """Every file of a model folder, read and held against the others; then one step of it."""
    from escriba.checkpoint import find_model, kept_weights, load_folder
    from escriba.engine.opening import engine_of
    from escriba.tensorfile import read_json, read_tensors

    folder = find_model(name)
    rows = []
    moments: list[str | None] = [None, *kept_weights(folder)]
    for at in moments:
        label = at or "model"
        try:
            files = load_folder(folder, at)
            engine = engine_of(files.config.model, files.config.vocab_size, files.weights)
            engine.step([0], engine.initial_state(1))
            rows.append(_row(label, f"whole: {len(files.weights)} tensors, {files.tokenizer.vocab_size:,} symbols; one step runs"))
        except EscribaError as error:
            rows.append(_row(label, error.met, ok=False, hint=error.hint or error.expected))
    pointer = folder / "training" / "last.json"
    if pointer.is_file():
        try:
            state = str(read_json(pointer)["state"])
            arrays, values = read_tensors(folder / "training" / Path(state).name)
            rows.append(_row("training state", f"whole: {state}, step {values.get('step'):,}, {len(arrays)} tensors"))
        except (EscribaError, KeyError, TypeError) as error:
            rows.append(_row("training state", getattr(error, "met", repr(error)), ok=False, hint="the model itself can still be used"))
    else:
        rows.append(_row("training state", "none: the model can be used, but not resumed"))
    return rows
