"""Where and how a network learns fastest: what is tried, what wins, what is left as it was, what is remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from escriba.errors import SettingsError
from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.text.batches import Batch, Batches, streams
from escriba.training import probe as module
from escriba.training.probe import Compute, measure_preset, pinned, probe, remembered_measurements

MakeNet = Callable[..., LanguageModel]
Tried = list[tuple[str, str, int]]
Seconds = Callable[[str, str, int, int], float]

CPU = TrainSettings(device="cpu", precision="float32")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what is remembered, in a folder of the test's own; and an environment that says nothing of threads."""
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ESCRIBA_PROBE", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path / "cache" / "probe.json"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[[Seconds], Tried]:
    """``tried(seconds)``: steps take as many seconds as the function says of device, precision, threads and symbols."""

    def pretend(seconds: Seconds) -> Tried:
        seen: Tried = []

        def step(net: LanguageModel, batch: Batch, device: torch.device, precision: str, clock: Any) -> float:
            seen.append((str(device), precision, torch.get_num_threads()))
            return seconds(*seen[-1], batch.inputs.size)

        monkeypatch.setattr(module, "seconds_of_a_step", step)
        return seen

    return pretend


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of four processors, of which PyTorch takes all, and no GPU."""
    monkeypatch.setattr(module, "usable_processors", lambda: 4)
    monkeypatch.setattr(module, "devices_here", lambda: ["cpu"])
    torch.set_num_threads(4)  # the folder's own fixture sets it back


def names(seen: Tried) -> Tried:
    """Each candidate once, in the order in which they were tried."""
    return list(dict.fromkeys(seen))


@pytest.mark.usefixtures("four_threads")
def test_the_fastest_number_of_threads(make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]) -> None:
    """All processors, half of them, one; the fastest is chosen, with its speed."""
    seen = tried(lambda device, precision, threads, symbols: symbols * {4: 2e-6, 2: 1e-6, 1: 1.5e-6}[threads])
    assert probe(make_net(), data, CPU) == Compute("cpu", "float32", 2, 1e6, measured=True)
    assert names(seen) == [("cpu", "float32", 4), ("cpu", "float32", 2), ("cpu", "float32", 1)]
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_a_small_gain_is_chance(make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]) -> None:
    """What is less than 5 % faster than PyTorch's own choice does not win."""
    tried(lambda device, precision, threads, symbols: symbols * {4: 1.0e-6, 2: 0.96e-6, 1: 0.97e-6}[threads])
    assert probe(make_net(), data, CPU) == Compute("cpu", "float32", 4, 1e6, measured=True)


@pytest.mark.usefixtures("four_threads")
def test_what_gets_hopeless_is_not_followed(make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]) -> None:
    """Where half the threads are far slower, a quarter is not tried."""
    seen = tried(lambda device, precision, threads, symbols: symbols * {4: 1e-6, 2: 2e-6, 1: 4e-6}[threads])
    assert probe(make_net(), data, CPU).threads == 4
    assert names(seen) == [("cpu", "float32", 4), ("cpu", "float32", 2)]


@pytest.mark.usefixtures("four_threads")
def test_the_environment_bounds_the_threads(
    make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OMP_NUM_THREADS is the most threads that are tried."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    seen = tried(lambda device, precision, threads, symbols: symbols * 1e-6)
    probe(make_net(), data, CPU)
    assert names(seen) == [("cpu", "float32", 2), ("cpu", "float32", 1)]


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("able", [False, True])
def test_bf16_only_where_the_hardware_multiplies_it(
    able: bool, make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere it is not even tried; where it is, it is tried before other numbers of threads, which are then tried with it."""
    monkeypatch.setattr(module, "has_bf16", lambda device: able)
    seen = tried(
        lambda device, precision, threads, symbols: symbols * {4: 2e-6, 2: 1e-6, 1: 1.5e-6}[threads] / (2 if precision == "bf16" else 1)
    )
    found = probe(make_net(), data, CPU.but(precision="auto"))
    assert found == (Compute("cpu", "bf16", 2, 2e6, measured=True) if able else Compute("cpu", "float32", 2, 1e6, measured=True))
    assert names(seen)[:2] == [("cpu", "float32", 4), ("cpu", "bf16", 4) if able else ("cpu", "float32", 2)]
    assert ("cpu", "float32", 2) not in names(seen) or not able


@pytest.mark.usefixtures("four_threads")
def test_what_is_named_is_taken(make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]) -> None:
    """Device, precision and threads that the settings name are not put to the test against others."""
    seen = tried(lambda device, precision, threads, symbols: symbols * 1e-6)
    assert probe(make_net(), data, CPU.but(threads=3, precision="bf16")) == Compute("cpu", "bf16", 3, 1e6, measured=True)
    assert names(seen) == [("cpu", "bf16", 3)]


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("budget_s", [0.0, 25.0])
def test_the_budget(budget_s: float, make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]) -> None:
    """Without time only PyTorch's own choice is measured; when the time is used, nothing further is tried."""
    ticks = iter(range(0, 10_000, 10))
    seen = tried(lambda device, precision, threads, symbols: symbols * 1e-6)
    assert probe(make_net(), data, CPU, budget_s=budget_s, clock=lambda: float(next(ticks))).threads == 4
    assert names(seen) == [("cpu", "float32", 4)]


def test_a_network_too_large_for_the_time(make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]) -> None:
    """Where a whole step would take long, a piece of the batch is timed, and the speed is that of the piece."""
    sizes = []

    def seconds(device: str, precision: str, threads: int, symbols: int) -> float:
        sizes.append(symbols)
        return symbols * 0.01

    tried(seconds)
    net = make_net(hidden_size=256)  # so large that the first piece is a part of the batch
    assert probe(net, data, CPU, budget_s=0).symbols_per_s == pytest.approx(100)
    assert max(sizes) < data.batch(0).inputs.size


@pytest.mark.usefixtures("four_threads")
def test_what_a_step_costs_whatever_its_length(
    make_net: MakeNet, tried: Callable[[Seconds], Tried], monkeypatch: pytest.MonkeyPatch
) -> None:
    """bfloat16 is slower in short pieces of a batch and faster in a whole one: pieces are long enough, and the speed is the whole's."""
    monkeypatch.setattr(module, "has_bf16", lambda device: True)
    longest: dict[str, int] = {"float32": 0, "bf16": 0}

    def seconds(device: str, precision: str, threads: int, symbols: int) -> float:
        longest[precision] = max(longest[precision], symbols)
        return 0.04 + symbols * 4e-4 if precision == "float32" else 0.11 + symbols * 1.5e-4

    tried(seconds)
    net = make_net(hidden_size=512)  # so large that the first piece is a small part of the batch
    data = streams(np.arange(16 * 1025) % net.vocab_size, batch_size=16, seq_len=256)
    found = probe(net, data, CPU.but(precision="auto", threads=4))
    assert found.precision == "bf16"
    assert found.symbols_per_s > 0.8 * 4096 / (0.11 + 4096 * 1.5e-4)
    assert longest["float32"] < 4096


@pytest.mark.usefixtures("four_threads")
def test_a_slow_beginning_is_not_believed(
    make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first steps of a precision take long; and what is faster in large pieces only is compared in large pieces."""
    monkeypatch.setattr(module, "has_bf16", lambda device: True)
    steps: dict[str, int] = {"float32": 0, "bf16": 0}

    def seconds(device: str, precision: str, threads: int, symbols: int) -> float:
        steps[precision] += 1
        cold = 10.0 if steps[precision] <= 2 else 0.0
        return cold + symbols * 8e-6 if precision == "float32" else cold + 1e-5 + symbols * 4e-6

    tried(seconds)
    net = make_net(hidden_size=256)
    found = probe(net, data, CPU.but(precision="auto", threads=4))
    symbols = data.batch(0).inputs.size
    assert found.precision == "bf16"
    assert found.symbols_per_s == pytest.approx(symbols / (1e-5 + symbols * 4e-6), rel=1e-3)


def test_the_updates_of_muon_count(
    make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take as long for a step of few symbols as for one of many: the speed is that of steps and updates together."""
    tried(lambda device, precision, threads, symbols: symbols * 1e-3)
    now = [0.0]

    def update(matrix: torch.Tensor, *, exact: bool) -> torch.Tensor:
        now[0] += 0.5
        return matrix

    monkeypatch.setattr(module, "orthogonalized", update)
    net, symbols = make_net(), data.symbols_per_epoch / len(data)
    settings = CPU.but(optimizer="muon", precision="float32", threads=1)
    found = probe(net, data, settings, clock=lambda: now[0])
    assert found.symbols_per_s == pytest.approx(symbols / (symbols * 1e-3 + 0.5 * len(list(net.inner_matrices()))), rel=1e-3)
    assert probe(net, data, settings, clock=lambda: now[0]) == found  # what is remembered is without them


def test_real_steps_leave_no_trace(make_net: MakeNet, data: Batches) -> None:
    """A real measurement finds a speed; weights, gradients, mode, dropout's draws, PyTorch's draws and threads are as they were."""
    net, generator = make_net(dropout=0.5).eval(), torch.Generator().manual_seed(7)
    net.dropout.generator = generator
    before, threads = net.get_weights(), torch.get_num_threads()
    states = generator.get_state(), torch.get_rng_state()
    found = probe(net, data, TrainSettings(device="cpu"), budget_s=0.5)
    assert found.measured
    assert found.symbols_per_s > 0
    for name, array in net.get_weights().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not net.training
    assert net.dropout.generator is generator
    assert torch.equal(generator.get_state(), states[0])
    assert torch.equal(torch.get_rng_state(), states[1])
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("mode", ["windows", "streams", "documents"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_every_cell_and_every_kind_of_batch(cell: str, mode: str, make_net: MakeNet, make_data: Callable[[str], Batches]) -> None:
    """Each can be measured, in both precisions."""
    for precision in ("float32", "bf16"):
        found = probe(make_net(cell=cell), make_data(mode), CPU.but(precision=precision, threads=1))
        assert (found.precision, found.threads, found.symbols_per_s > 0) == (precision, 1, True)


def test_the_choice_is_remembered(make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]) -> None:
    """The second time the same choice comes, also for other weights, after it was seen to be about as fast as it was."""
    tried(lambda device, precision, threads, symbols: symbols * 1e-6)
    found = probe(make_net(), data, CPU)
    seen = tried(lambda device, precision, threads, symbols: symbols * 1.5e-6)
    assert probe(make_net(seed=2), data, CPU) == found
    assert set(seen) == {(found.device, found.precision, found.threads)}
    assert probe(make_net(), data, CPU, remembered=False).symbols_per_s == pytest.approx(1e6 / 1.5)


@pytest.mark.parametrize("factor", [0.4, 0.7, 2.5])
def test_what_a_busy_machine_made_of_it_is_not_believed(
    factor: float, make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]
) -> None:
    """Where steps take so many times as long as is remembered, it is measured anew, and the new speed is remembered."""
    tried(lambda device, precision, threads, symbols: symbols * 1e-6)
    probe(make_net(), data, CPU)
    tried(lambda device, precision, threads, symbols: symbols * 1e-6 * factor)
    again = probe(make_net(), data, CPU)
    assert again.symbols_per_s == pytest.approx(1e6 / factor, rel=1e-3)
    assert [one.compute for one in remembered_measurements()] == [again]


@pytest.mark.parametrize("factor", [0.85, 1.2, 1.8])
def test_what_is_nearly_as_fast_is_believed(factor: float, make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]) -> None:
    """Speeds vary; a machine that is somewhat busy now takes what was measured when it was not."""
    tried(lambda device, precision, threads, symbols: symbols * 1e-6)
    first = probe(make_net(), data, CPU)
    tried(lambda device, precision, threads, symbols: symbols * 1e-6 * factor)
    assert probe(make_net(), data, CPU) == first


def test_another_network_is_measured_itself(
    make_net: MakeNet, data: Batches, make_data: Callable[[str], Batches], tried: Callable[[Seconds], Tried]
) -> None:
    """Another cell, size or number of layers, other batches, other settings: each is measured and remembered by itself."""
    tried(lambda device, precision, threads, symbols: symbols * 1e-6)
    cases: list[tuple[LanguageModel, Batches, TrainSettings]] = [
        (make_net(), data, CPU),
        (make_net(cell="lstm"), data, CPU),
        (make_net(hidden_size=9), data, CPU),
        (make_net(embedding_dim=None), data, CPU),
        (make_net(num_layers=2), data, CPU),
        (make_net(), make_data("windows"), CPU),
        (make_net(), data, CPU.but(threads=1)),
    ]
    for number, case in enumerate(cases):
        probe(*case)
        assert len(remembered_measurements()) == number + 1
    before = remembered_measurements()
    tried(lambda device, precision, threads, symbols: symbols * 1.2e-6)
    for case in cases:
        probe(*case)
    assert remembered_measurements() == before
    assert before[2].shape["hidden_size"] == 9


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1, {}",
        b"{}",
        b"\xff",
        b"[3, null]",
        b'[{"key": 5, "compute": 6}]',
        {"threads": 0},
        {"threads": "many"},
        {"threads": None},
        {"device": "cuda:77"},
        {"device": "auto"},
        {"precision": "int8"},
        {"symbols_per_s": "fast"},
        {"symbols_per_s": 0},
        {"colour": "red"},
    ],
    ids=repr,
)
def test_a_damaged_memory(
    content: bytes | dict[str, Any], cache: Path, make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]
) -> None:
    """A file that is no memory, or one with odd values, is as good as none: it is measured anew, and that is remembered."""
    tried(lambda device, precision, threads, symbols: symbols * 1e-6)
    probe(make_net(), data, CPU)
    if isinstance(content, bytes):
        cache.write_bytes(content)
    else:
        rows = json.loads(cache.read_bytes())
        rows[0]["compute"].update(content)
        cache.write_text(json.dumps(rows), encoding="utf-8")
    assert remembered_measurements() == []
    tried(lambda device, precision, threads, symbols: symbols * 2e-6)
    again = probe(make_net(), data, CPU)
    assert again == Compute("cpu", "float32", torch.get_num_threads(), 5e5, measured=True)
    assert [one.compute for one in remembered_measurements()] == [again]


def test_a_memory_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_net: MakeNet, data: Batches) -> None:
    """Where nothing can be kept, the measurement serves all the same."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "file" / "cache"))
    assert probe(make_net(), data, CPU).measured


def test_the_memory_does_not_grow_for_ever(
    monkeypatch: pytest.MonkeyPatch, make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]
) -> None:
    """The oldest measurements are forgotten."""
    tried(lambda device, precision, threads, symbols: symbols * 1e-6)
    monkeypatch.setattr(module, "MOST_REMEMBERED", 3)
    for size in (4, 5, 6, 7):
        probe(make_net(hidden_size=size), data, CPU)
    assert [one.shape["hidden_size"] for one in remembered_measurements()] == [5, 6, 7]


def no_step(device: str, precision: str, threads: int, symbols: int) -> float:
    """For what must not be measured."""
    raise AssertionError("a step was measured")


def test_switched_off(
    cache: Path, monkeypatch: pytest.MonkeyPatch, make_net: MakeNet, data: Batches, tried: Callable[[Seconds], Tried]
) -> None:
    """With ESCRIBA_PROBE=off nothing is measured or remembered: PyTorch's own choice, or what is named."""
    monkeypatch.setenv("ESCRIBA_PROBE", "off")
    tried(no_step)
    assert probe(make_net(), data, CPU) == Compute("cpu", "float32", torch.get_num_threads(), 0.0, measured=False)
    assert probe(make_net(), data, CPU.but(threads=3)).threads == 3
    assert not cache.exists()


def test_a_device_that_is_not_there(make_net: MakeNet, data: Batches) -> None:
    """It is refused in words."""
    with pytest.raises(SettingsError, match="device is 'cuda:77'"):
        probe(make_net(), data, TrainSettings(device="cuda:77"))


def test_nothing_left_open() -> None:
    """Pinned settings name device, precision and threads: a choice's, or else PyTorch's own in float32; what was named stays."""
    chosen = pinned(TrainSettings(), Compute("cpu", "bf16", 3, 1.0, measured=True))
    assert (chosen.device, chosen.precision, chosen.threads) == ("cpu", "bf16", 3)
    own = pinned(TrainSettings(device="cpu"))
    assert (own.device, own.precision, own.threads) == ("cpu", "float32", torch.get_num_threads())
    assert pinned(CPU.but(precision="bf16", threads=2)) == CPU.but(precision="bf16", threads=2)


def test_the_first_preset_is_measured_anew(tried: Callable[[Seconds], Tried]) -> None:
    """Its network on its batches, whatever is remembered."""
    for seconds in (1e-6, 2e-6):
        tried(lambda device, precision, threads, symbols, seconds=seconds: symbols * seconds)  # type: ignore[misc]
        assert measure_preset().symbols_per_s == pytest.approx(1 / seconds)
    (one,) = remembered_measurements()
    assert (one.shape["cell"], one.shape["hidden_size"], one.shape["vocab_size"], one.shape["batch_size"]) == ("mingru", 256, 64, 16)
