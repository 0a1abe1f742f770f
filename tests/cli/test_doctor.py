"""``escriba doctor`` on this machine: where it would learn, and how fast it was measured to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from escriba.model.language_model import LanguageModel
from escriba.settings import TrainSettings
from escriba.text.batches import streams
from escriba.training.probe import probe

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is remembered in a folder of the test's own."""
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ESCRIBA_PROBE", raising=False)


def measured(run: Run, *words: str) -> list[str]:
    """What it says of measurements."""
    done = run("doctor", *words, "--json")
    assert done.code == 0
    return [check["found"] for check in json.loads(done.out)["checks"] if check["what"] == "measured"]


def test_where_this_machine_learns(run: Run) -> None:
    """It names the devices and how it would learn, and before any training no measurement."""
    out = run("doctor").out
    assert "devices" in out
    assert "cpu" in out
    assert f"at most {torch.get_num_threads()} threads" in out
    assert measured(run) == []


def test_what_was_measured(run: Run) -> None:
    """Each measurement is shown with its network, its speed, and what had been named."""
    data = streams(torch.arange(600).numpy() % 60, batch_size=2, seq_len=20)
    net = LanguageModel(60, cell="lstm", hidden_size=8, embedding_dim=None, num_layers=2)
    found = probe(net, data, TrainSettings(device="cpu", precision="float32", threads=1))
    (line,) = measured(run)
    assert line == (
        f"2 x lstm 8, one-hot, about 64 symbols, 2 x 20: {found.symbols_per_s:,.0f} symbols a second "
        "without the optimizer's updates, in float32 on cpu, threads: 1 (as named: cpu, float32, 1)"
    )


@pytest.mark.parametrize(
    "changes", [{"hidden_size": "large"}, {"num_layers": None}, {"vocab_size": "x"}, {"cell": "no"}, {"batch_size": None}], ids=str
)
def test_a_damaged_memory(changes: dict[str, Any], tmp_path: Path, run: Run) -> None:
    """What is odd in the file of measurements is passed over."""
    data = streams(torch.arange(600).numpy() % 60, batch_size=2, seq_len=20)
    probe(LanguageModel(60, hidden_size=8, embedding_dim=4), data, TrainSettings(device="cpu", precision="float32", threads=1))
    assert len(measured(run)) == 1
    file = tmp_path / "cache" / "probe.json"
    rows = json.loads(file.read_bytes())
    rows[0]["key"]["shape"].update(changes)
    file.write_text(json.dumps(rows), encoding="utf-8")
    assert measured(run) == []


@pytest.mark.slow
def test_measuring(run: Run) -> None:
    """Asked to, it measures the first preset's network, and remembers it."""
    (line,) = measured(run, "--measure")
    assert line.startswith("4 x mingru 256, embedding 256, about 64 symbols, 16 x 256: ")
    assert measured(run) == [line]


def test_a_model_is_not_measured(run: Run) -> None:
    """Measuring is of the machine: together with a model it is refused."""
    done = run("doctor", "some", "--measure")
    assert done.code == 2
    assert "--measure is of this machine" in done.err
