"""The text that a model learnt from, found again: what its history says of it, whether it was a table, what was held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from escriba.errors import TextError
from escriba.settings import TextSettings
from escriba.text.again import held_out_text, learnt_text, was_a_table
from escriba.text.corpus import Corpus, read

SETTINGS = TextSettings()


def recorded(corpus: Corpus, *sources: str) -> dict[str, Any]:
    """What the history of a training says."""
    held_out = corpus.parts().held_out
    assert held_out is not None
    return {"sources": list(sources), "sha256": corpus.sha256, "held_out_sha256": held_out.sha256, "characters": corpus.characters}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        *(("a.csv", True), ("a.tsv.gz", True), ("gone.jsonl", True), ("a.txt", False), ("gone.txt", False), ("gone", False), ("-", False)),
        *(("tables", True), ("plain", False), ("*.tsv.gz", True), ("*.txt", False), ("gone/*.csv", True)),
        *(("text:news", True), ("text:tang", True), ("text:quijote", False), ("text:nobody", False)),
        *(("https://example.org/a.csv", True), ("https://example.org/a", False)),
    ],
)
def test_a_table_is_known_by_the_names_of_its_files(source: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within folders and patterns, of known texts by how they are read, and by the name alone of what is there no more."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "a.tsv.gz", "a.txt", "tables/a.jsonl", "tables/b.txt", "plain/a.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"x")
    assert was_a_table({"sources": [source]}) is expected
    assert was_a_table({"sources": ["a.txt", source]}) is expected


@pytest.mark.parametrize("damage", [None, 7, "a.csv", [], {}, {"sources": "a.csv"}, {"sources": [7]}, {"sources": {"a.csv": 1}}])
def test_of_a_damaged_history_nothing_is_believed(damage: object) -> None:
    """What is of another kind than it should be is as if it were not there."""
    assert not was_a_table(damage)
    with pytest.raises(TextError, match="not recorded"):
        learnt_text(damage, SETTINGS, 1)
    with pytest.raises(TextError, match="not recorded"):
        held_out_text(damage, SETTINGS, 1, "a hint")


def test_what_was_held_out(story: str, tmp_path: Path) -> None:
    """It is cut off again as it was; a text of one's own is asked for, as is one where nothing was held out, or that changed."""
    path = tmp_path / "story.txt"
    path.write_text(story, encoding="utf-8")
    corpus = read(path)
    facts = recorded(corpus, str(path))
    found = held_out_text(facts, SETTINGS, 1, "a hint")
    assert (found.text, learnt_text(facts, SETTINGS, 1).text) == (story[int(0.9 * len(story)) :], story[: int(0.9 * len(story))])
    for changed, met in (
        ({"held_out_sha256": "f" * 64}, "a text of its own"),
        ({"held_out_sha256": None}, "held nothing out"),
        ({"sha256": "f" * 64}, "is not the text"),
        ({"sources": []}, "given in Python"),
        ({"sources": ["-"]}, "from standard input"),
        ({"sources": [str(tmp_path / "gone.txt")]}, "cannot be read again"),
    ):
        with pytest.raises(TextError, match=met) as error:
            held_out_text({**facts, **changed}, SETTINGS, 1, "a hint")
        assert error.value.hint == "a hint"
