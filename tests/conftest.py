"""Fixtures that all tests share."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from escriba.language import use_language

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


@pytest.fixture(scope="session", autouse=True)
def _no_trace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is fetched into, measured for, or remembered in the home of whoever runs the tests; child processes inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESCRIBA_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ESCRIBA_PROBE", "off")
        patch.setenv("ESCRIBA_LANG", "en")
        use_language("en")
        yield


@pytest.fixture(scope="session")
def catalogues() -> None:
    """The catalogues as they are in the source, compiled."""
    pytest.importorskip("babel", reason="Babel compiles the catalogues")
    place = Path(__file__).resolve().parents[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place / "tools"))
        importlib.import_module("catalogues").compile_all(place / "src" / "escriba" / "locale")


@pytest.fixture
def in_spanish(catalogues: None) -> Iterator[None]:
    """Escriba speaks Spanish, also in child processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESCRIBA_LANG", "es")
        use_language("es")
        yield
    use_language("en")


@pytest.fixture(scope="session")
def story() -> str:
    """A text of 12,000 characters and fewer than 40 symbols: long enough to have a choosing and a held-out part."""
    dice = random.Random(7)
    words = ["the", "a", "cat", "dog", "bird", "ñandú", "sat", "ran", "sang", "on", "under", "by", "mat", "tree", "river", "quickly"]
    lines = (" ".join(dice.choices(words, k=dice.randint(3, 9))).capitalize() + ".\n" for _ in range(2000))
    return "".join(lines)[:12_000]


@pytest.fixture(scope="session")
def names() -> tuple[str, ...]:
    """2,500 short documents, together long enough to have a choosing and a held-out part."""
    dice = random.Random(8)
    syllables = ["ma", "ri", "a", "lu", "na", "te", "o", "jo", "se", "be", "ka", "ro"]
    return tuple("".join(dice.choices(syllables, k=dice.randint(2, 4))) for _ in range(2500))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Runs PyTorch in one thread: products as small as those of the tests are slower in several, by far where the processor is busy."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
