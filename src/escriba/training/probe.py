"""Finds by measurement where and how a network learns fastest here: which device, which precision, how many threads.

It knows nothing of texts or of what a network is for: real steps of it are timed, it is left as it was, and what was found is
remembered for this machine, these versions and networks of this shape, so that the next run makes the same choice.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from escriba import __version__, _native
from escriba.errors import EscribaError
from escriba.model.language_model import LanguageModel
from escriba.presets import PRESETS
from escriba.settings import ModelSettings, TrainSettings
from escriba.tensorfile import read_json, replace_file
from escriba.text.batches import Batch, Batches, streams
from escriba.text.cached import cache_folder
from escriba.training.muon import orthogonalized
from escriba.training.step import (
    chosen_device,
    chosen_precision,
    devices_here,
    has_bf16,
    left_as_it_was,
    seconds_of_a_step,
    symbols_of,
    typical_batch,
)

__all__ = ["Compute", "Measured", "measure_preset", "pinned", "probe", "remembered_measurements", "running_on"]

BUDGET_S = 5.0
"""Seconds after which no further candidate is tried."""
STEP_S = 0.2
"""Seconds in which a step is timed again and again; twice it is in any case."""
LONGEST_STEP_S = 1.0
"""Seconds that one timed step may take, about; of a network that needs longer, fewer time steps are timed."""
ENOUGH = 1024
"""Symbols of a batch by which candidates are compared, or a quarter of it where that is more. A step takes some time whatever its length,
in bfloat16 more of it: six blocks of 384 are half as fast in it as in float32 with 48 symbols, and more than twice as fast with 4,096."""
LAST_STEP_S = 0.6
"""Like LONGEST_STEP_S, of what was chosen: its speed is told to people and chooses sizes, so a whole batch is best."""
STEPS = 5
GAIN = 1.05
"""How much faster than the default another candidate must be: small differences are chance, and the default is the steadier choice."""
HOPELESS = 0.6
"""The share of the best speed below which still fewer threads are not tried."""
SLOW_FLOPS = 1e9
"""Operations a second that any machine has; by it the first piece of a batch is cut."""
GROWTH = 4
"""By how much the next piece is larger, until a step is long enough."""
SLOWER, FASTER = 2.0, 1.3
"""By what factors the speed now may differ from the remembered one. Much faster: that one was measured on a busy machine, which favours few
threads; much slower: the machine is busy now, or is another one."""
MOST_REMEMBERED = 200
NETWORK = ("cell", "reset", "embedding_dim", "hidden_size", "num_layers", "window", "codes", "residual", "conv", "mlp")

Clock = Callable[[], float]


@dataclass(frozen=True)
class Compute:
    """Where and how a network learns.

    Attributes:
        device: "cpu", "cuda", "cuda:1" or "mps".
        precision: "float32" or "bf16".
        threads: of the processor.
        symbols_per_s: symbols learnt a second; 0 where nothing was measured.
        measured: whether this choice and speed come from a measurement.
    """

    device: str
    precision: str
    threads: int
    symbols_per_s: float
    measured: bool


class Candidate(NamedTuple):
    """What is tried."""

    device: str
    precision: str
    threads: int


@dataclass(frozen=True)
class Measured:
    """A measurement that is remembered: of which shape, with what asked for, and what came of it."""

    shape: Mapping[str, Any]
    asked: Mapping[str, Any]
    compute: Compute


def probe(
    net: LanguageModel,
    data: Batches,
    settings: TrainSettings,
    *,
    remembered: bool = True,
    budget_s: float = BUDGET_S,
    clock: Clock = time.perf_counter,
) -> Compute:
    """The fastest device, precision and number of threads for a network and its batches; what the settings name is taken as named.

    Real steps forward and back are timed, and what Muon adds to each; other optimizers take next to nothing. The network, and whatever
    is drawn at random, is left as it was. PyTorch's own choice comes first and wins unless another is 5 % faster; bfloat16 is not even
    tried where it would be emulated. OMP_NUM_THREADS, where it is set, is the most threads. With ESCRIBA_PROBE=off in the environment
    nothing is measured.

    Args:
        net: the network that will learn.
        data: what it will learn from.
        settings: device, precision and threads are read; "auto" and None are what is to be found.
        remembered: whether an earlier measurement will do, where a few steps now are about as fast; False measures anew.
        budget_s: seconds after which no further candidate is tried, 0 or more; the first is always measured.
        clock: gives seconds.

    Raises:
        SettingsError: the settings' device is not there.
    """
    device = chosen_device(settings)
    if os.environ.get("ESCRIBA_PROBE", "").lower() in ("off", "0", "no"):
        return Compute(str(device), chosen_precision(settings, device), settings.threads or torch.get_num_threads(), 0.0, measured=False)
    key, batch = _key(net, data, settings), typical_batch(data)
    if remembered and (known := _known(key)) is not None and _holds(known, net, batch, clock):
        return _with_updates(known, net, data, settings, clock)
    found = _fastest(net, batch, settings, budget_s, clock)
    _remember(key, found)
    return _with_updates(found, net, data, settings, clock)


def measure_preset(vocab_size: int = 66) -> Compute:
    """Measures the first preset's network anew, on ids drawn at random, and remembers it."""
    chosen = next(iter(PRESETS.values()))
    ids = np.random.default_rng(1).integers(vocab_size, size=chosen.train.batch_size * (4 * chosen.train.seq_len + 1))
    data = streams(ids, batch_size=chosen.train.batch_size, seq_len=chosen.train.seq_len)
    return probe(LanguageModel(vocab_size, chosen.model), data, TrainSettings(), remembered=False)


def pinned(settings: TrainSettings, compute: Compute | None = None) -> TrainSettings:
    """The settings with nothing left open: device, precision and threads as in `compute`, or else PyTorch's own choice in float32."""
    if compute is not None:
        return settings.but(device=compute.device, precision=compute.precision, threads=compute.threads)
    precision = "float32" if settings.precision == "auto" else settings.precision
    return settings.but(device=str(chosen_device(settings)), precision=precision, threads=settings.threads or torch.get_num_threads())


def _with_updates(compute: Compute, net: LanguageModel, data: Batches, settings: TrainSettings, clock: Clock) -> Compute:
    """The speed with the time that Muon's updates take, of matrices of the same shapes as the network's."""
    if settings.optimizer != "muon" or not compute.symbols_per_s:
        return compute
    seconds, exact = 0.0, compute.precision == "float32"
    with running_on(compute.threads), torch.no_grad():
        for shape, many in Counter(matrix.shape for matrix in net.inner_matrices()).items():
            matrix = torch.ones(shape, device=compute.device)
            times = [clock()]
            for _ in range(3):
                float(orthogonalized(matrix, exact=exact)[0, 0])  # a GPU answers only when it is done
                times.append(clock())
            seconds += many * min(after - before for before, after in itertools.pairwise(times))
    symbols = data.symbols_per_epoch / len(data)
    return replace(compute, symbols_per_s=round(1.0 / (1.0 / compute.symbols_per_s + seconds / symbols), 1))


def _fastest(net: LanguageModel, batch: Batch, settings: TrainSettings, budget_s: float, clock: Clock) -> Compute:
    """Tries PyTorch's own choice, then bfloat16, then other numbers of threads, then other devices, as long as there is time."""
    began, device = clock(), str(chosen_device(settings))
    first_precision = "float32" if settings.precision == "auto" else settings.precision
    default = Candidate(device, first_precision, settings.threads or torch.get_num_threads())
    speeds: dict[Candidate, float] = {}

    def candidates() -> Iterator[Candidate]:
        for name in [device] if settings.device != "auto" else devices_here():
            first = default._replace(device=name)
            yield first
            if settings.precision == "auto" and has_bf16(name):
                yield first._replace(precision="bf16")
            faster = max((one for one in speeds if one.device == name), key=lambda one: speeds[one])
            for threads in _thread_counts() if settings.threads is None and name == "cpu" else []:
                yield faster._replace(threads=threads)
                if speeds[faster._replace(threads=threads)] < HOPELESS * max(speeds.values()):
                    break  # fewer still will not be faster

    piece = batch
    for candidate in candidates():
        if candidate in speeds:
            continue
        if speeds and clock() - began >= budget_s:
            break
        try:
            if candidate.device not in {one.device for one in speeds}:
                piece = _piece(net, batch, candidate, clock)
            speeds[candidate] = _speed(net, piece, candidate, clock)
        except RuntimeError:  # no memory left, an operation that the device lacks: others may be taken
            if settings.device != "auto" or candidate.device == "cpu":
                raise
            speeds[candidate] = 0.0
    fastest = max(speeds, key=lambda one: speeds[one])
    chosen = fastest if speeds[fastest] > GAIN * speeds[default] else default
    return Compute(*chosen, symbols_per_s=round(_speed_in_earnest(net, batch, chosen, speeds[chosen], clock), 1), measured=True)


def _piece(net: LanguageModel, batch: Batch, candidate: Candidate, clock: Clock) -> Batch:
    """As much of a batch as tells candidates apart, or less where the network is large for this device, or the machine busy."""
    parameters = sum(parameter.numel() for parameter in net.parameters())
    symbols = max(1, int(SLOW_FLOPS * STEP_S / (6 * parameters)))
    enough = max(ENOUGH, batch.inputs.size // 4)
    with _ready(net, batch, candidate, clock):
        while symbols < min(enough, batch.inputs.size):
            piece = _part(batch, batch.inputs.shape[0], symbols)
            if GROWTH * min(_timed(net, piece, candidate, clock) for _ in range(2)) > LONGEST_STEP_S:  # the first of a kind is slow
                break
            symbols *= GROWTH
    return _part(batch, batch.inputs.shape[0], min(symbols, enough))


def _speed(net: LanguageModel, piece: Batch, candidate: Candidate, clock: Clock) -> float:
    """Symbols a second: the best of a few steps on a piece of a batch, the same for all that are compared."""
    with _ready(net, piece, candidate, clock):
        began, seconds = clock(), _timed(net, piece, candidate, clock)
        for step in range(1, STEPS):
            if step > 1 and clock() - began >= STEP_S:
                break
            seconds = min(seconds, _timed(net, piece, candidate, clock))
    return symbols_of(piece) / max(seconds, 1e-9)


def _speed_in_earnest(net: LanguageModel, batch: Batch, candidate: Candidate, speed: float, clock: Clock) -> float:
    """The speed, about known, on as much of a batch as there is time for when only one candidate is left: a short piece is slower."""
    return _speed(net, _part(batch, batch.inputs.shape[0], max(1, int(speed * LAST_STEP_S))), candidate, clock)


@contextlib.contextmanager
def _ready(net: LanguageModel, batch: Batch, candidate: Candidate, clock: Clock) -> Iterator[None]:
    """Inside, the network is where the candidate has it learn, its threads are there, and so is the memory; after it, all is as before."""
    with running_on(candidate.threads), left_as_it_was(net, torch.device(candidate.device)):
        _timed(net, _part(batch, 1, 1), candidate, clock)
        yield


def _part(batch: Batch, rows: int, symbols: int) -> Batch:
    """The beginning of a batch: at most so many rows and symbols, one at least."""
    rows = min(rows, symbols)
    length = max(1, min(batch.inputs.shape[1], symbols // rows))
    mask = None if batch.mask is None else batch.mask[:rows, :length].copy()
    return Batch(batch.inputs[:rows, :length].copy(), batch.targets[:rows, :length].copy(), mask, batch.carry)


def _timed(net: LanguageModel, batch: Batch, candidate: Candidate, clock: Clock) -> float:
    return seconds_of_a_step(net, batch, torch.device(candidate.device), candidate.precision, clock)


@contextlib.contextmanager
def running_on(threads: int) -> Iterator[None]:
    """PyTorch with so many threads inside, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _thread_counts() -> list[int]:
    """Numbers of threads worth trying: PyTorch's own, all processors that this process may use, and halves of that down to one."""
    most = usable_processors()
    bound = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if bound.isdecimal() and int(bound) > 0:
        most = min(most, int(bound))
    counts = [torch.get_num_threads()]
    while most >= 1:
        counts.append(most)
        most //= 2
    return list(dict.fromkeys(counts))


def usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _key(net: LanguageModel, data: Batches, settings: TrainSettings) -> dict[str, Any]:
    """On what a measurement depends: the machine, the versions, the shape, and what was asked for."""
    shape = net.settings
    return {
        "machine": {
            "processor": _processor(),
            "processors": os.cpu_count(),
            "usable": usable_processors(),
            "most_threads": os.environ.get("OMP_NUM_THREADS", ""),
            "torch_threads": torch.get_num_threads(),
            "native": _native.level() if _native.library() is not None else None,
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if "cuda" in devices_here() else [],
        },
        "versions": {"escriba": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "shape": {
            **{name: getattr(shape, name) for name in NETWORK},
            "vocab_size": 2 ** round(math.log2(net.vocab_size)),
            "examples": data.mode,
            "batch_size": data.batch_size,
            "seq_len": data.seq_len,
        },
        "asked": {"device": settings.device, "precision": settings.precision, "threads": settings.threads},
    }


def _processor() -> str:
    """The processor's name, as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def remembered_measurements() -> list[Measured]:
    """What was measured on this machine with these versions, the newest last; nothing where the file is missing or damaged."""
    found = []
    for row in _read():
        with contextlib.suppress(KeyError, TypeError, ValueError, EscribaError):
            key, compute = row["key"], _checked(row["compute"])
            ModelSettings(**{name: key["shape"][name] for name in NETWORK})
            TrainSettings(**key["asked"], **{name: key["shape"][name] for name in ("batch_size", "seq_len")})
            if not isinstance(key["shape"]["vocab_size"], int):
                raise TypeError("not a shape")
            if key["machine"]["processor"] == _processor() and key["versions"]["torch"] == torch.__version__:
                found.append(Measured(key["shape"], key["asked"], compute))
    return found


def _checked(values: Any) -> Compute:
    """A choice as it was written down; whatever is odd about it is a ValueError, so that it is measured anew."""
    compute = Compute(**values, measured=True)
    settings = TrainSettings(device=compute.device, precision=compute.precision, threads=compute.threads)
    speed = compute.symbols_per_s
    if "auto" in (settings.device, settings.precision) or not isinstance(compute.threads, int) or not isinstance(speed, float | int):
        raise TypeError("not a choice")
    if not 0.0 < speed < math.inf:
        raise ValueError("not a speed")
    chosen_device(settings)
    return compute


def _known(key: Mapping[str, Any]) -> Compute | None:
    """The choice that was made before for the same key."""
    for row in reversed(_read()):
        if row.get("key") == key:
            with contextlib.suppress(KeyError, TypeError, ValueError, EscribaError):
                return _checked(row["compute"])
    return None


def _holds(known: Compute, net: LanguageModel, batch: Batch, clock: Clock) -> bool:
    """Whether a remembered choice is about as fast as it was: what a busy machine made of it must not be believed for ever."""
    now = _speed_in_earnest(net, batch, Candidate(known.device, known.precision, known.threads), known.symbols_per_s, clock)
    return 1.0 / SLOWER < now / known.symbols_per_s < FASTER


def _remember(key: Mapping[str, Any], compute: Compute) -> None:
    """Writes a choice down; where nothing can be written, it is measured again the next time."""
    values = {name: value for name, value in asdict(compute).items() if name != "measured"}
    rows = [*(row for row in _read() if row.get("key") != key), {"key": key, "compute": values}]
    with contextlib.suppress(OSError, EscribaError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        replace_file(_file(), json.dumps(rows[-MOST_REMEMBERED:], indent=1).encode())


def _read() -> list[dict[str, Any]]:
    try:
        rows = read_json(_file())
    except (OSError, EscribaError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _file() -> Path:
    return cache_folder() / "probe.json"
