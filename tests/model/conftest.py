"""Runs PyTorch in one thread, and lets tests import the modules of tests beside them; without PyTorch these tests are skipped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from escriba import _native

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread: None) -> None:
    """All tests of this folder."""


@pytest.fixture(params=_native.levels())
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every level of native code that this processor has."""
    monkeypatch.setenv("ESCRIBA_NATIVE", request.param)
    return str(request.param)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads PyTorch uses, for the time of a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
