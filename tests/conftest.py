"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# a slow or busy machine is no fault of the code
settings.register_profile("escriba", deadline=None)
settings.load_profile("escriba")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A real text by its file name; the test is skipped where the texts, which are not part of the project, are absent."""

    def path(name: str) -> Path:
        file = SHARED / name
        if not file.is_file():
            pytest.skip(f"needs the text {name}, which is not part of the project")
        return file

    return path
