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

from escriba import __version__, _native
from escriba.cli.options import json_option, print_json
from escriba.errors import EscribaError, install_hint
from escriba.language import later, tr

__all__ = ["doctor_command"]

BASE = ("numpy", "safetensors", "click", "rich", "charset-normalizer")
OPTIONAL = {"torch": "train", "matplotlib": "plot"}
MOST_MEASURED = 12
COMPILERS = {
    "apt-get": "sudo apt install g++",
    "dnf": "sudo dnf install gcc-c++",
    "zypper": "sudo zypper install gcc-c++",
    "pacman": "sudo pacman -S gcc",
    "apk": "apk add g++",
}
"""How a C++ compiler is installed, by the program that installs packages."""
WINDOWS_COMPILER = (
    'winget install Microsoft.VisualStudio.2022.BuildTools --override "--passive --wait '
    '--add Microsoft.VisualStudio.Workload.VCTools --includeRecommended"'
)
REBUILD = "python -m pip install --no-deps --force-reinstall ."


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
        marks = {True: tr("ok"), False: tr("BAD")}
        mark_width = max(map(len, marks.values()))
        width = max(22, *(len(tr(row["what"])) for row in found))
        for row in found:
            click.echo(f"{marks[row['ok']]:<{mark_width}}  {tr(row['what']):<{width}} {row['found']}")
            if row.get("hint"):
                hint = tr("hint: {hint}", hint=row["hint"]).replace("\n", f"\n{'':<{mark_width}}  ")
                click.echo(f"{'':<{mark_width}}  {hint}")
    if not all(row["ok"] for row in found):
        raise SystemExit(1)


def _row(what: str, found: str, *, ok: bool = True, hint: str | None = None) -> dict[str, Any]:
    """What was looked at, in English, by which programs know it, and what was found, in words."""
    return {"what": what, "found": found, "ok": ok, **({"hint": hint} if hint else {})}


def check_installation(*, measure: bool = False) -> list[dict[str, Any]]:
    """The packages, the machine and how fast it learns, the place where models are kept."""
    rows = [
        _row("escriba", __version__),
        _row(
            "python",
            tr("{version} on {system} {machine}", version=platform.python_version(), system=platform.system(), machine=platform.machine()),
        ),
        _row(later("processors"), str(os.cpu_count())),
    ]
    rows.extend(_row(name, importlib.metadata.version(name)) for name in BASE)
    for name, extra in OPTIONAL.items():
        try:
            rows.append(_row(name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append(_row(name, tr("not installed; all but what needs it works"), hint=install_hint(extra)))
            continue
        if name == "torch":
            rows.extend(_training(measure=measure))
    rows.append(_native_code())
    free = shutil.disk_usage(Path.cwd()).free
    hint = None if free > 2e8 else tr("a model needs tens of megabytes")
    rows.append(_row(later("free space here"), f"{free / 1e9:.1f} GB", ok=free > 2e8, hint=hint))
    writable = os.access(Path.cwd(), os.W_OK)
    rows.append(_row(later("this folder"), tr("can be written to") if writable else tr("is read-only"), ok=writable))
    return rows


def _native_code() -> dict[str, Any]:
    """Whether the native code is used, and at which level of this processor; what to do where it was not built."""
    try:
        why = _native.why_missing()
        if why is None:
            used, here = _native.level(), ", ".join(_native.levels())
            threads = _native.usable_threads()
            found = tr("used: {level}, at most {threads} threads; this processor has {levels}", level=used, threads=threads, levels=here)
            return _row(later("native code"), found)
    except EscribaError as error:
        return _row(later("native code"), error.met, ok=False, hint=tr("the variable ESCRIBA_NATIVE asks for it: unset it"))
    off = os.environ.get("ESCRIBA_NATIVE", "").strip().lower() == "off"
    found = tr("not used, {why}; everything works without it, more slowly", why=why)
    return _row(later("native code"), found, hint=None if off else compiler_hint())


def compiler_hint(system: str | None = None) -> str:
    """What to type to have the native code: first what installs a compiler on this system, then what builds Escriba anew.

    Args:
        system: as `platform.system` names it; None: this one.
    """
    system = system or platform.system()
    if system == "Windows":
        compiler = WINDOWS_COMPILER
    elif system == "Darwin":
        compiler = "xcode-select --install"
    else:
        compiler = next((line for name, line in COMPILERS.items() if shutil.which(name)), tr("install a C++ compiler (g++ or clang)"))
    where = tr("(the second line in the folder of the copy of Escriba that you installed; the first only if there is no compiler)")
    return f"\n{' ' * len(tr('hint: {hint}', hint=''))}".join((compiler, REBUILD, where))


def _training(*, measure: bool) -> list[dict[str, Any]]:
    """Where and how this machine would learn, and every speed that was measured on it."""
    try:
        import torch

        from escriba.settings import TrainSettings
        from escriba.training.probe import measure_preset, remembered_measurements
        from escriba.training.step import chosen_device, devices_here, has_bf16
    except (ImportError, OSError) as error:
        met = tr("PyTorch does not load: {error}", error=error)
        return [_row(later("training"), met, ok=False, hint='python -m pip install --force-reinstall "escriba[train]"')]
    device = str(chosen_device(TrainSettings()))
    precisions = tr("float32 or bf16") if has_bf16(device) else "float32"
    rows = [
        _row(later("devices"), ", ".join(devices_here())),
        _row(
            later("training"),
            tr(
                "on {device}, {precisions}, at most {threads} threads: each training measures what is fastest",
                device=device,
                precisions=precisions,
                threads=torch.get_num_threads(),
            ),
        ),
    ]
    if measure and not measure_preset().measured:
        rows.append(_row(later("measured"), tr("nothing: the variable ESCRIBA_PROBE is off"), ok=False, hint=tr("unset it")))
    for one in remembered_measurements()[-MOST_MEASURED:]:
        shape, compute = one.shape, one.compute
        if shape["codes"]:
            inputs = tr("codes")
        else:
            size = shape["embedding_dim"]
            inputs = tr("one-hot") if size is None else tr("embedding {size}", size=size)
        layers = f"{shape['num_layers']} x {shape['cell']}" if shape["num_layers"] > 1 else shape["cell"]
        named = [str(value) for value in one.asked.values() if value not in ("auto", None)]
        said = tr(
            "{layers} {hidden_size}, {inputs}, about {symbols} symbols, {batch_size} x {length}: {speed:,.0f} symbols a second "
            "without the optimizer's updates, in {precision} on {device}, threads: {threads}",
            layers=layers,
            hidden_size=shape["hidden_size"],
            inputs=inputs,
            symbols=shape["vocab_size"],
            batch_size=shape["batch_size"],
            length=shape["seq_len"],
            speed=compute.symbols_per_s,
            precision=compute.precision,
            device=compute.device,
            threads=compute.threads,
        )
        rows.append(_row(later("measured"), said + (f" ({tr('as named: {settings}', settings=', '.join(named))})" if named else "")))
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
        label = at or later("model")
        try:
            files = load_folder(folder, at)
            engine = engine_of(files.config.model, files.config.vocab_size, files.weights)
            engine.step([0], engine.initial_state(1))
            counts = {"tensors": len(files.weights), "symbols": files.tokenizer.vocab_size}
            rows.append(_row(label, tr("whole: {tensors} tensors, {symbols:,} symbols; one step runs", **counts)))
        except EscribaError as error:
            rows.append(_row(label, error.met, ok=False, hint=error.hint or error.expected))
    pointer = folder / "training" / "last.json"
    if pointer.is_file():
        try:
            state = str(read_json(pointer)["state"])
            arrays, values = read_tensors(folder / "training" / Path(state).name)
            whole = tr("whole: {state}, step {step:,}, {tensors} tensors", state=state, step=values.get("step"), tensors=len(arrays))
            rows.append(_row(later("training state"), whole))
        except (EscribaError, KeyError, TypeError) as error:
            met = getattr(error, "met", repr(error))
            rows.append(_row(later("training state"), met, ok=False, hint=tr("the model itself can still be used")))
    else:
        rows.append(_row(later("training state"), tr("none: the model can be used, but not resumed")))
    return rows
