"""The presets: each is whole, and every value of it can be replaced."""

from __future__ import annotations

import pytest

from escriba.errors import SettingsError
from escriba.presets import PRESETS, preset
from escriba.settings import ModelSettings
from escriba.weights import count_parameters


def test_the_presets() -> None:
    """They are these, the default first, each with a purpose and one length."""
    assert list(PRESETS) == ["small", "tiny", "medium", "large", "tutorial", "titles"]
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
    plain, found = PRESETS["small"].plain, preset(model={"cell": "ngram", "window": 5})
    assert plain is not None
    assert found.model == plain.model.but(cell="ngram", window=5, dropout=0.0)
    assert found.train == plain.train.but(learning_rate=0.02)
    named = preset(model={"cell": "ngram", "dropout": 0.3}, train={"learning_rate": 0.1, "steps": 5})
    assert (named.model.dropout, named.train.learning_rate, named.train.steps) == (0.3, 0.1, 5)
    assert preset("tutorial", model={"cell": "ngram"}).train == PRESETS["tutorial"].train
    assert preset(model={"cell": "rnn"}).train == plain.train


def test_the_default_is_a_stack_and_other_cells_are_plain() -> None:
    """The lessons' cells stand alone unless a stack is asked for; a size that is named is as wide at the input."""
    assert preset().model.residual
    assert preset().model.cell == "mingru"
    for cell in ("rnn", "gru", "lstm"):
        found = preset(model={"cell": cell})
        assert (found.model.cell, found.model.residual, found.model.num_layers) == (cell, False, 1)
        assert (found.train.minutes, found.train.join) == (preset().train.minutes, preset().train.join)
        stack = preset(model={"cell": cell, "residual": True})
        assert (stack.model.residual, stack.model.num_layers, stack.train) == (True, 4, preset().train)
    assert preset(model={"hidden_size": 64}).model.embedding_dim == 64
    assert preset(model={"hidden_size": 64, "embedding_dim": 16}).model.embedding_dim == 16
    assert preset(model={"cell": "gru", "hidden_size": 64}).model.embedding_dim == 128


def test_presets_grow() -> None:
    """tiny, small, medium and large: each is larger than the one before and has more time; their own size is the largest they choose."""
    names = ("tiny", "small", "medium", "large")
    sizes = [count_parameters(PRESETS[name].model, 100) for name in names]
    assert sizes == sorted(sizes)
    assert sizes[0] < 500_000
    minutes = [PRESETS[name].train.minutes or 0 for name in names]
    assert minutes == sorted(set(minutes))
    for name in names:
        found = PRESETS[name]
        assert max(found.sizes) == (found.model.num_layers, found.model.hidden_size)


def test_more_epochs_drop_more() -> None:
    """Between two rows by the logarithm of the epochs, beyond them as at the ends; a lesson's preset never."""
    found = PRESETS["small"]._replace(by_epochs=((2.0, {"dropout": 0.1}), (8.0, {"dropout": 0.3})))
    for symbols, times in ((1_000_000, 1.0), (2_000_000, 4.0), (1000, 1.0)):
        dropped = [found.against_overfitting(times * epochs, symbols)["dropout"] for epochs in (0.5, 2, 4, 8, 99)]
        assert dropped == [0.1, 0.1, 0.2, 0.3, 0.3]
    assert PRESETS["tutorial"].against_overfitting(5.0, 1000) == {}
    rows = [dict(row) for _, row in PRESETS["small"].by_epochs]
    for name in rows[0]:
        assert [row[name] for row in rows] == sorted(row[name] for row in rows)
