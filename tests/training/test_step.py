"""One step: the device that is there, the precision that it has, and how long a step takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from escriba.errors import SettingsError
from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.text.batches import Batches, documents, streams
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import CharTokenizer
from escriba.training import step as module
from escriba.training.step import (
    best_precision,
    chosen_device,
    chosen_precision,
    devices_here,
    estimate_speed,
    has_bf16,
    symbols_of,
    typical_batch,
)
from escriba.training.trainer import fit

MakeNet = Callable[..., LanguageModel]


def test_the_devices_that_are_there() -> None:
    """The processor is always there, and last; with "auto" the first is taken, and a named one as it is named."""
    here = devices_here()
    assert here[-1] == "cpu"
    assert set(here) <= {"cpu", "cuda", "mps"}
    assert chosen_device(TrainSettings()).type == here[0]
    for name in here:
        assert chosen_device(TrainSettings(device=name)).type == name


@pytest.mark.parametrize(
    ("here", "device", "met"),
    [
        (["cpu"], "cuda", "no CUDA device"),
        (["cpu"], "cuda:1", "no CUDA device"),
        (["cpu"], "mps", "no Apple GPU"),
        (["cuda", "cpu"], "cuda:2", "only 2 CUDA devices"),
    ],
)
def test_a_device_that_is_not_there(here: list[str], device: str, met: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with what is there, and what to do."""
    monkeypatch.setattr(module, "devices_here", lambda: here)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SettingsError) as caught:
        chosen_device(TrainSettings(device=device))
    assert caught.value.met == f"device is {device!r}, but this PyTorch has {met}"
    assert caught.value.expected == "auto, " + " or ".join(here)
    assert "auto" in (caught.value.hint or "")


def test_nothing_ends_in_a_traceback_for_it(make_net: MakeNet, data: Batches) -> None:
    """Training and measuring on a device that is not there are refused before anything is done."""
    settings = TrainSettings(device="cuda:99")
    with pytest.raises(SettingsError, match="device is 'cuda:99'"):
        fit(make_net(), data, settings)
    with pytest.raises(SettingsError, match="device is 'cuda:99'"):
        estimate_speed(make_net(), data, settings)
    with pytest.raises(SettingsError, match="device is 'cuda:99'"):
        chosen_precision(settings)


def test_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A named precision is taken; "auto" is bf16 just where the hardware multiplies it, and not on a Mac's processor."""
    for named in ("float32", "bf16"):
        assert chosen_precision(TrainSettings(device="cpu", precision=named)) == named
    assert has_bf16("mps") is False
    for able, system, expected in ((False, "Linux", "float32"), (True, "Linux", "bf16"), (True, "Darwin", "float32")):
        monkeypatch.setattr(module, "has_bf16", lambda device, able=able: able)
        monkeypatch.setattr("platform.system", lambda system=system: system)
        assert best_precision("cpu") == expected
        assert chosen_precision(TrainSettings(device="cpu")) == expected
        assert chosen_precision(TrainSettings(device="cpu"), torch.device("cpu")) == expected


@pytest.mark.parametrize(("amx", "avx512", "able"), [(False, False, False), (True, False, True), (False, True, True)])
def test_bf16_of_an_x86_processor(amx: bool, avx512: bool, able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It multiplies bfloat16 with AMX, or with AVX512-BF16."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert has_bf16("cpu") is able


@pytest.mark.parametrize(("machine", "told", "able"), [("aarch64", True, True), ("arm64", False, False), ("x86_64", True, False)])
def test_bf16_of_an_arm_processor(machine: str, told: bool, able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It multiplies bfloat16 where PyTorch says so; the same word of another processor means nothing."""
    monkeypatch.setattr("platform.machine", lambda: machine)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": told}, raising=False)
    assert has_bf16("cpu") is able


def test_the_speed(make_net: MakeNet, data: Batches) -> None:
    """It is above zero, and the network and its draws are as they were."""
    net = make_net(dropout=0.5)
    before, state = net.get_weights(), torch.get_rng_state()
    assert estimate_speed(net, data, TrainSettings(device="cpu", precision="float32")) > 0
    for name, array in net.get_weights().items():
        np.testing.assert_array_equal(array, before[name])
    assert net.training
    assert torch.equal(torch.get_rng_state(), state)


def test_the_symbols_of_a_batch(make_data: Callable[[str], Batches]) -> None:
    """All targets, or those that the mask leaves."""
    for mode in ("windows", "documents"):
        data = make_data(mode)
        assert sum(symbols_of(batch) for batch in data) == data.symbols_per_epoch


def test_the_typical_batch() -> None:
    """Of documents, half of them short and half long, one with about as many targets as there are on average; of a stream the first."""
    tokenizer = CharTokenizer.fit("ab", eos=True)
    texts = ["a" * 3 if number % 2 else "b" * (9 + number % 7) for number in range(640)]
    encoded = EncodedText(*tokenizer.encode_documents(texts), tokenizer)
    for seed in range(1, 9):
        data = documents(encoded, batch_size=16, seq_len=40, seed=seed)
        mean = data.symbols_per_epoch / len(data)
        apart = [abs(symbols_of(data.batch(step)) - mean) for step in range(16)]
        assert abs(symbols_of(typical_batch(data)) - mean) == min(apart) < 0.5 * max(apart)
    stream = streams(np.zeros(1000, np.uint8), batch_size=4, seq_len=10)
    np.testing.assert_array_equal(typical_batch(stream).inputs, stream.batch(0).inputs)
