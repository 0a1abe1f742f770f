"""Lets the tests of this folder import the modules of tests beside them, however pytest imports, and gives them small models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(folder) for folder in (HERE, HERE.parent / "contracts") if str(folder) not in sys.path]

from small_models import KINDS, Pair, random_pair  # noqa: E402


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Pair:
    """A random model of every unit, of one stream and of documents."""
    return random_pair(request.param)


@pytest.fixture
def stream_pair() -> Pair:
    """A random model of the characters of one stream."""
    return random_pair("char-stream")


@pytest.fixture
def documents_pair() -> Pair:
    """A random model of documents of characters."""
    return random_pair("char-documents")
