"""Runs PyTorch in one thread; without PyTorch these tests are skipped."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread: None) -> None:
    """All tests of this folder."""
