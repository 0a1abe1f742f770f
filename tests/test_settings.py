"""Settings: bounds, names, what is off, what a person types; and that they never change."""

from __future__ import annotations

from typing import Any

import pytest

from escriba.errors import SettingsError
from escriba.settings import ModelSettings, SampleSettings, Settings, TextSettings, TrainSettings, field_help, from_typed, shown

STAGES = (TextSettings, ModelSettings, TrainSettings, SampleSettings)
NEAR: dict[object, str] = {"NFKC": "NFC", "epochs": "epoch"}
FIELDS = [(stage, name) for stage in STAGES for name in stage.fields]


@pytest.mark.parametrize(
    ("stage", "name", "wrong", "right"),
    [
        (TextSettings, "unit", "letter", "byte"),
        (TextSettings, "val_fraction", 0.51, 0.5),
        (TextSettings, "val_fraction", -0.01, 0),
        (TextSettings, "from_line", 0, 1),
        (TextSettings, "min_count", 0, 1),
        (TextSettings, "normalization", "NFKC", "none"),
        (ModelSettings, "hidden_size", 0, 1),
        (ModelSettings, "hidden_size", 16_385, 16_384),
        (ModelSettings, "hidden_size", 8.5, 8.0),
        (ModelSettings, "embedding_dim", -1, None),
        (ModelSettings, "dropout", 0.96, 0.95),
        (ModelSettings, "residual", "perhaps", True),
        (TrainSettings, "learning_rate", 0.0, 1e-9),
        (TrainSettings, "learning_rate", float("nan"), 1.0),
        (TrainSettings, "learning_rate", float("inf"), 10.0),
        (TrainSettings, "beta1", 1.0, 0.0),
        (TrainSettings, "clip_norm", 0.0, None),
        (TrainSettings, "averaging", 1.0, 0.999),
        (TrainSettings, "steps", -1, 0),
        (TrainSettings, "minutes", 0, 0.1),
        (TrainSettings, "keep_every", "0", "1000"),
        (TrainSettings, "keep_every", "epochs", "epoch"),
        (TrainSettings, "keep_every", "rubbish", None),
        (TrainSettings, "device", "gpu", "cuda:1"),
        (TrainSettings, "device", "cuda:", "auto"),
        (TrainSettings, "threads", 0, 1),
        (TrainSettings, "threads", "many", None),
        (TrainSettings, "seed", 2**63, 2**63 - 1),
        (SampleSettings, "temperature", -0.1, 0),
        (SampleSettings, "temperature", 100.5, 100),
        (SampleSettings, "top_k", 0, None),
        (SampleSettings, "top_p", 0.0, 1.0),
        (SampleSettings, "min_p", 1.1, 0.0),
    ],
)
def test_bounds(stage: type[Settings], name: str, wrong: object, right: object) -> None:
    """A value at the edge is taken; one beyond it is refused, with its name and itself, what was expected, and what it means or is near."""
    assert getattr(stage(**{name: right}), name) == right
    with pytest.raises(SettingsError) as caught:
        stage(**{name: wrong})
    assert caught.value.met == f"{name} is {wrong!r}"
    assert caught.value.expected
    assert caught.value.hint in (f"{name}: {stage.fields[name].description}", f"did you mean {NEAR.get(wrong)!r}?")


def test_a_misspelt_name() -> None:
    """It is refused with the names there are and the nearest one; one near to none without."""
    with pytest.raises(SettingsError, match="there is no setting 'hiden_size'") as caught:
        ModelSettings(hiden_size=8)
    assert caught.value.hint == "did you mean 'hidden_size'?"
    assert "num_layers" in (caught.value.expected or "")
    with pytest.raises(SettingsError, match="'zzz'") as caught:
        ModelSettings(zzz=8)
    assert caught.value.hint is None


@pytest.mark.parametrize("name", ["self", "values", "cls", "model_config", "__class__"])
def test_a_name_that_python_uses_itself(name: str) -> None:
    """A stranger's file may hold any key: each is an unknown setting."""
    with pytest.raises(SettingsError, match="there is no setting"):
        TextSettings.parse({name: 1})


@pytest.mark.parametrize("stage", STAGES)
def test_settings_are_frozen(stage: type[Settings]) -> None:
    """No value can be changed; a changed copy leaves the first as it was, and is checked."""
    made = stage()
    name = next(iter(stage.fields))
    with pytest.raises(AttributeError, match="frozen"):
        setattr(made, name, getattr(made, name))
    with pytest.raises(SettingsError):
        made.but(no_such=1)


def test_a_changed_copy() -> None:
    """`but` changes some values, keeps the others, and checks them together."""
    made = TrainSettings(seed=7, steps=5)
    assert made.but(seed=8) == TrainSettings(seed=8, steps=5)
    assert made.seed == 7
    with pytest.raises(SettingsError, match="steps"):
        made.but(epochs=1)


@pytest.mark.parametrize(
    ("stage", "values", "message"),
    [
        (TrainSettings, {"steps": 5, "minutes": 2}, r"give one of steps, epochs and minutes, not steps \(5\) and minutes \(2\)"),
        (TrainSettings, {"sample_temperatures": (0.5, 101)}, "sample_temperatures"),
        (TextSettings, {"from_line": 5, "to_line": 4}, "to_line is 4, before from_line, 5"),
        (TextSettings, {"unknown": False, "min_count": 2}, "min_count is 2"),
        (ModelSettings, {"tied": True, "embedding_dim": 4, "hidden_size": 8}, "a tied output needs"),
        (ModelSettings, {"tied": True, "embedding_dim": None, "hidden_size": 8}, "a tied output needs"),
        (ModelSettings, {"cell": "lstm", "activation": "relu"}, "activation 'relu' is for the rnn cell"),
        (ModelSettings, {"cell": "rnn", "reset": "before"}, "reset 'before' is for the gru cell"),
        (ModelSettings, {"cell": "counts", "residual": True}, "counts does not fit into a residual stack"),
        (ModelSettings, {"cell": "ngram", "codes": True, "residual": True}, "codes does not fit into a residual stack"),
        (ModelSettings, {"cell": "mingru", "conv": None}, "conv is for a residual stack: residual=yes"),
        (ModelSettings, {"mlp": 3}, "mlp is for a residual stack"),
    ],
)
def test_settings_in_conflict(stage: type[Settings], values: dict[str, Any], message: str) -> None:
    """Values that are right alone and wrong together are refused with both."""
    with pytest.raises(SettingsError, match=message):
        stage(**values)


def test_none_is_off() -> None:
    """Whatever can be off is off with None, and nothing is off with -1."""
    for stage, name in FIELDS:
        field = stage.fields[name]
        if field.default is None:
            assert getattr(stage(**{name: None}), name) is None
            with pytest.raises(SettingsError):
                stage(**{name: -1})


@pytest.mark.parametrize(("stage", "name"), FIELDS, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_every_setting_is_described(stage: type[Settings], name: str) -> None:
    """Each has a sentence, and its help ends with its default, which, typed, gives the default."""
    field = stage.fields[name]
    assert field.description
    help_text = field_help(stage, name)
    assert help_text == f"{field.description} [default: {shown(field.default)}]"
    if field.default != ():
        assert getattr(stage(**{name: from_typed(stage, name, shown(field.default))}), name) == field.default


@pytest.mark.parametrize(
    ("stage", "name", "typed", "value"),
    [
        (TrainSettings, "clip_norm", "none", None),
        (TrainSettings, "clip_norm", "None", None),
        (TrainSettings, "clip_norm", "0.5", 0.5),
        (TrainSettings, "batch_size", "32", 32),
        (TrainSettings, "sample_temperatures", "0.3, 0.8,", (0.3, 0.8)),
        (TrainSettings, "sample_prompt", "none", "none"),
        (TextSettings, "normalization", "none", "none"),
        (TextSettings, "column", "title,text", ("title", "text")),
        (TextSettings, "unknown", "no", False),
        (TextSettings, "unknown", "Yes", True),
        (ModelSettings, "embedding_dim", "none", None),
        (ModelSettings, "tied", "false", False),
    ],
)
def test_typed_values(stage: type[Settings], name: str, typed: str, value: object) -> None:
    """What a person types becomes the value: none is off where something can be off, commas make several, yes and no a truth."""
    assert getattr(stage(**{name: from_typed(stage, name, typed)}), name) == value


@pytest.mark.parametrize(("given", "kept"), [(500, "500"), ("500", "500"), (" 500 ", "500"), ("epoch", "epoch"), (None, None)])
def test_what_is_kept_may_be_a_number(given: object, kept: str | None) -> None:
    """In Python a number of steps may be given as one."""
    assert TrainSettings(keep_every=given).keep_every == kept


@pytest.mark.parametrize("wrong", [0, -5, "0", "", "epochs", "1.5", 1.5, True, "٣", [], 10**9])
def test_what_cannot_be_kept(wrong: object) -> None:
    """Nothing else is: it is refused in words that a person understands."""
    with pytest.raises(SettingsError, match="keep_every is") as caught:
        TrainSettings(keep_every=wrong)
    assert caught.value.expected == "the word epoch, or a number of steps, 1 to 999,999,999"


def test_a_device_in_words() -> None:
    """What is no device is refused with those there could be."""
    with pytest.raises(SettingsError, match="device is 'gpu'") as caught:
        TrainSettings(device="gpu")
    assert caught.value.expected == "auto, cpu, cuda, mps, or one of several GPUs as cuda:1"


def test_threads_may_be_auto() -> None:
    """The word means what None means: measured."""
    assert TrainSettings(threads=from_typed(TrainSettings, "threads", "auto")).threads is None
    assert TrainSettings(threads="3").threads == 3


@pytest.mark.parametrize("typed", ["none", "many", "3.5", ""])
def test_typed_values_that_are_wrong(typed: str) -> None:
    """What is no value of the setting is refused as it was typed."""
    with pytest.raises(SettingsError, match="batch_size is"):
        TrainSettings(batch_size=from_typed(TrainSettings, "batch_size", typed))


def test_settings_survive_json() -> None:
    """What config.json holds of settings gives equal settings."""
    for made in (
        TextSettings(column=("a", "b")),
        ModelSettings(embedding_dim=None),
        TrainSettings(steps=3, clip_norm=1.0),
        SampleSettings(),
    ):
        assert type(made).parse(made.to_json()) == made
