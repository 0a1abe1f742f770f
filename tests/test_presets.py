"""The presets: each is whole, and every value of it can be replaced."""

from __future__ import annotations

import pytest

from escriba.errors import SettingsError
from escriba.presets import PRESETS, preset
from escriba.settings import ModelSettings, TrainSettings


def test_the_presets() -> None:
    """They are these, the default first, each with a purpose and one length."""
    assert list(PRESETS) == ["small", "tutorial", "titles"]
    for found in PRESETS.values():
        assert found.purpose
        assert sum(length is not None for length in (found.train.steps, found.train.epochs, found.train.minutes)) == 1
    assert preset() == PRESETS["small"]


def test_the_lessons_presets() -> None:
    """They are the lessons' networks and training."""
    tutorial, titles = PRESETS["tutorial"], PRESETS["titles"]
    assert tutorial.model == ModelSettings(cell="gru", embedding_dim=256, hidden_size=1024)
    train = tutorial.train
    assert (train.examples, train.batch_size, train.seq_len) == ("windows", 64, 100)
    assert (train.optimizer, train.learning_rate, train.epsilon) == ("adam", 1e-3, 1e-7)
    assert titles.model == ModelSettings(cell="lstm", embedding_dim=None, hidden_size=128)
    assert (titles.train.examples, titles.train.batch_size, titles.train.optimizer) == ("documents", 8, "rmsprop")
    assert (titles.train.learning_rate, titles.train.beta2, titles.train.epsilon) == (1e-3, 0.9, 1e-7)


def test_settings_replace_the_presets_own() -> None:
    """What is named is replaced, what is not stays, and the preset itself is as it was."""
    before = PRESETS["tutorial"]
    found = preset("tutorial", model={"hidden_size": 8}, train={"seed": 5})
    assert found.model == before.model.but(hidden_size=8)
    assert found.train == before.train.but(seed=5)
    assert PRESETS["tutorial"].model.hidden_size == 1024


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("length", ["steps", "epochs", "minutes"])
def test_a_length_takes_the_place_of_the_presets(name: str, length: str) -> None:
    """Whatever the preset's length is, another one replaces it; None replaces nothing."""
    found = preset(name, train={length: 3}).train
    assert {one: getattr(found, one) for one in ("steps", "epochs", "minutes")} == {
        **dict.fromkeys(("steps", "epochs", "minutes")),
        length: 3,
    }
    assert preset(name, train={"seed": 1}).train == PRESETS[name].train


def test_two_lengths_are_refused() -> None:
    """Two lengths given at once are in conflict."""
    with pytest.raises(SettingsError, match="give one of steps, epochs and minutes"):
        preset(train={"steps": 3, "epochs": 1})


def test_another_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """What belongs to the preset's own cell does not stand in the way of another; what is given with it does count."""
    own = PRESETS["small"]._replace(model=ModelSettings(cell="gru", reset="before"))
    monkeypatch.setitem(PRESETS, "own", own)  # type: ignore[arg-type]
    assert preset("own", model={"cell": "lstm"}).model.cell == "lstm"
    assert preset("own", model={"cell": "gru"}).model.reset == "before"
    assert preset("own", model={"cell": "rnn", "activation": "relu"}).model.activation == "relu"
    with pytest.raises(SettingsError, match="reset 'before'"):
        preset("own", model={"cell": "lstm", "reset": "before"})


def test_a_neural_ngram_learns_its_own_way() -> None:
    """Where a preset has settings of its own for it, they stand instead of the preset's others, and what is named goes before both."""
    small, found = PRESETS["small"], preset(model={"cell": "ngram", "window": 5})
    assert found.model == small.model.but(cell="ngram", window=5, dropout=0.0)
    assert found.train == small.train.but(learning_rate=0.02)
    named = preset(model={"cell": "ngram", "dropout": 0.3}, train={"learning_rate": 0.1, "steps": 5})
    assert (named.model.dropout, named.train.learning_rate, named.train.steps) == (0.3, 0.1, 5)
    assert preset("tutorial", model={"cell": "ngram"}).train == PRESETS["tutorial"].train
    assert preset(model={"cell": "rnn"}).train == small.train


def test_a_preset_that_is_not_there() -> None:
    """It is refused with those there are, and the nearest."""
    with pytest.raises(SettingsError, match="no preset 'smal'") as caught:
        preset("smal")
    assert caught.value.hint == "did you mean 'small'?"
    assert caught.value.expected == "one of small, tutorial, titles"


def test_a_wrong_value() -> None:
    """It is refused as anywhere."""
    with pytest.raises(SettingsError, match="num_layers is 0"):
        preset(model={"num_layers": 0})
    with pytest.raises(SettingsError, match="'patiense'"):
        preset(train={"patiense": 3})
    assert isinstance(preset(train={"steps": "7"}).train, TrainSettings)
