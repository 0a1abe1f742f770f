"""Lets the tests of this folder import `implementations`, however pytest imports, and runs PyTorch's tiny networks in one thread."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CONTRACTS = str(Path(__file__).resolve().parent.parent / "contracts")
if CONTRACTS not in sys.path:
    sys.path.insert(0, CONTRACTS)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Products this small are slower in several threads, by far where the processor is busy."""
    try:
        import torch
    except ImportError:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
