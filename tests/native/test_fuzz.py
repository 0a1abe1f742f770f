"""The fuzz run of tools/fuzz.py: some dozens of its cases, and that it finds what is wrong and lives through a crash."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from escriba import _native

TOOLS = Path(__file__).resolve().parents[2] / "tools"

pytestmark = [
    pytest.mark.skipif(_native.library() is None, reason=f"needs the native code: {_native.why_missing()}"),
    pytest.mark.skipif(not TOOLS.is_dir(), reason="needs the source tree"),
]


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("fuzz")


def said(fuzz: ModuleType, seed: int, cases: int, command: list[str] | None = None) -> tuple[ModuleType, list[str]]:
    """A run: its parent, and what it said."""
    lines: list[str] = []
    parent = fuzz.Parent(seed, None, lines.append)
    parent.command = command or parent.command
    parent.run(cases, None)
    return parent, lines


@pytest.mark.slow
def test_some_dozens_of_cases_find_nothing(fuzz: ModuleType) -> None:
    """Every case comes to its end, in a process of its own, and nothing is wrong."""
    parent, _ = said(fuzz, 5, 60)
    assert parent.findings == []
    assert parent.done.total() == 60
    assert len(parent.done) >= 6


@pytest.mark.parametrize(
    "kind", ["networks", "counts", "training", "wrong input", "wrong weights", "gone astray", "nothing", "damaged counts"]
)
def test_a_few_cases_of_each_kind(fuzz: ModuleType, kind: str) -> None:
    """They say what they tried."""
    if kind == "training":
        pytest.importorskip("torch")
    for number in range(6):
        assert fuzz.KINDS[kind][0](np.random.default_rng([3, number]))


def test_other_numbers_are_found(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is a little off, and one that takes what it must refuse, are findings, not errors of the tool."""
    engine = fuzz.fuzz_engine.NativeEngine
    advance, checked = engine._advance, engine.checked_ids

    def off(self: object, ids: np.ndarray, state: object) -> tuple[np.ndarray, object]:
        logits, after = advance(self, ids, state)
        logits[..., 0] += 0.5
        return logits, after

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_advance", off)
        wrong = [fuzz.perform(1, number)[2] for number in range(30) if fuzz.kind_of(np.random.default_rng([1, number])) == "networks"]
    assert len(wrong) > 5
    assert sum(one is not None for one in wrong) > len(wrong) / 2

    def lenient(self: object, ids: object, state: object, **how: int) -> np.ndarray:
        return checked(self, np.clip(np.asarray(ids), 0, self.vocab_size - 1), state, **how)

    monkeypatch.setattr(engine, "checked_ids", lenient)
    taken = []
    for number in range(60):
        try:
            fuzz.KINDS["wrong input"][0](np.random.default_rng([2, number]))
        except fuzz.Wrong as wrong_one:
            taken.append(str(wrong_one))
    assert any(one.startswith("it was done") and "an id" in one for one in taken)


def test_a_crash_is_a_finding_and_not_the_end(fuzz: ModuleType, tmp_path: Path) -> None:
    """A child that dies in case 3 is told with seed and case, and what it wrote; the next one goes on with case 4."""
    dying = tmp_path / "dying.py"
    dying.write_text(
        "import json, os, sys\n"
        "first, count = map(int, sys.argv[1:])\n"
        "for number in range(first, first + count):\n"
        "    print(number, flush=True)\n"
        "    if number == 3:\n"
        "        print('a report', file=sys.stderr, flush=True)\n"
        "        os._exit(77)\n"
        "    print(json.dumps([number, 'networks', 'other numbers' if number == 5 else None]), flush=True)\n",
        encoding="utf-8",
    )
    parent, lines = said(fuzz, 9, 8, [sys.executable, str(dying)])
    assert parent.done.total() == 7
    assert [finding.number for finding in parent.findings] == [3, 5]
    assert "ended with 77" in parent.findings[0].words
    assert "a report" in parent.findings[0].words
    assert any("--seed 9 --case 5" in line and "other numbers" in line for line in lines)
