"""The examples run as they stand, on a short text."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import escriba

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
LENGTHS = {"own_step": 12, "own_loop": 1}
LONGEST = 40


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example(
    path: Path, story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_thread: None
) -> None:
    """It is short, says how it is called, prints what it does, and leaves a model that writes."""
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST
    assert f"python examples/{path.name}" in source
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text(story, encoding="utf-8")
    monkeypatch.setattr("sys.argv", [str(path), "book.txt", str(LENGTHS[path.stem])])
    runpy.run_path(str(path), run_name="__main__")
    assert "nats on the choosing part" in (said := capsys.readouterr().out) or "mean loss" in said
    (model,) = Path("models").rglob("model.safetensors")
    assert len(escriba.load(model.parent).generate("The ", 20, seed=1)) == len("The ") + 20
