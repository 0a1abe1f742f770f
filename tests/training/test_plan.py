"""What is settled before a training begins: settings by stage, parts, vocabulary, batches, network, speed."""

from __future__ import annotations

import numpy as np
import pytest

from escriba.errors import SettingsError
from escriba.presets import preset
from escriba.settings import ModelSettings, TextSettings, TrainSettings
from escriba.text.batches import Documents, Streams, Windows
from escriba.text.corpus import read
from escriba.text.encoded import EncodedText
from escriba.training.plan import characters_per_symbol, make_batches, prepare, sort_settings

TINY = preset(model={"hidden_size": 8, "embedding_dim": 4}, train={"batch_size": 8, "seq_len": 16, "steps": 10})


def test_settings_are_sorted_by_stage() -> None:
    """Each setting goes to the stage that has it, with its value as it came."""
    found = sort_settings({"unit": "word", "cell": "gru", "minutes": "5", "seed": 3, "hidden_size": 8})
    assert found == {
        TextSettings: {"unit": "word"},
        ModelSettings: {"cell": "gru", "hidden_size": 8},
        TrainSettings: {"minutes": "5", "seed": 3},
    }


def test_no_name_is_of_two_stages() -> None:
    """A single setting by name is never ambiguous."""
    fields = [name for stage in (TextSettings, ModelSettings, TrainSettings) for name in stage.model_fields]
    assert len(fields) == len(set(fields))


def test_a_misspelt_setting() -> None:
    """It is refused with the nearest name of any stage."""
    with pytest.raises(SettingsError, match="no setting 'hiden_size'") as caught:
        sort_settings({"hiden_size": 8})
    assert caught.value.hint == "did you mean 'hidden_size'?"


def test_modes_of_batches(encoded: EncodedText, encoded_documents: EncodedText) -> None:
    """Documents for documents and streams for a stream, unless it is said otherwise; with the settings' sizes and seed."""
    settings = TrainSettings(batch_size=4, seq_len=10, seed=11)
    for made, kind in (
        (make_batches(encoded, settings), Streams),
        (make_batches(encoded, settings.but(examples="streams")), Streams),
        (make_batches(encoded, settings.but(examples="windows")), Windows),
        (make_batches(encoded_documents, settings.but(examples="windows")), Windows),
        (make_batches(encoded_documents, settings.but(examples="documents")), Documents),
    ):
        assert type(made) is kind
        assert (made.batch_size, made.seq_len, made.seed) == (4, 10, 11)
    assert type(make_batches(encoded_documents, settings)) is Documents


def test_documents_of_a_stream_are_refused(encoded: EncodedText) -> None:
    """Asking a stream for documents is an error that says how to have them."""
    with pytest.raises(SettingsError, match="the text is one stream") as caught:
        make_batches(encoded, TrainSettings(examples="documents"))
    assert "--documents line" in (caught.value.hint or "")


def test_short_documents_are_learnt_many_at_once(names: tuple[str, ...]) -> None:
    """A step holds about as many symbols as the settings' streams would, but at most 8 times as many documents."""
    corpus = read(documents=names)
    plan = prepare(corpus, preset(model={"hidden_size": 8, "embedding_dim": 4}, train={"batch_size": 8, "seq_len": 40, "steps": 3}))
    lengths = np.array([len(name) + 1 for name in plan.parts.train.documents])
    assert plan.data.batch_size == int(8 * 40 / lengths.mean())
    assert plan.data.seq_len == lengths.max()
    few = prepare(corpus, preset(model={"hidden_size": 8, "embedding_dim": 4}, train={"batch_size": 8, "seq_len": 400, "steps": 3}))
    assert few.data.batch_size == 64


def test_a_plan_of_a_stream(story: str) -> None:
    """Parts, vocabulary and batches are those of the small public steps; the network is of the settings and their seed."""
    corpus = read(text=story)
    plan = prepare(corpus, TINY)
    assert plan.parts == corpus.parts(seed=1)
    assert plan.tokenizer.decode(plan.encoded.ids) == plan.parts.train.text
    assert plan.choosing is not None
    assert plan.held_out is not None
    whole = plan.parts.train.text + plan.tokenizer.decode(plan.choosing.ids) + plan.tokenizer.decode(plan.held_out.ids)
    assert whole == corpus.text
    assert set(plan.tokenizer.symbols[1:]) == set(story)
    assert int(plan.tokenizer.frequencies.sum()) == plan.parts.whole_train.characters
    assert isinstance(plan.data, Streams)
    assert plan.net.settings == TINY.model
    assert plan.parameters == sum(parameter.numel() for parameter in plan.net.parameters())
    assert not np.array_equal(
        plan.net.get_weights()["output.weight"],
        prepare(corpus, TINY._replace(train=TINY.train.but(seed=2))).net.get_weights()["output.weight"],
    )


def test_a_held_out_text_of_ones_own(story: str) -> None:
    """It is held out whole, and all of the text is learnt from; its unseen symbols are in no vocabulary."""
    corpus, own = read(text=story), read(text="the cat and the ÇÇÇ. " * 20)
    plan = prepare(corpus, TINY, held_out=own)
    assert plan.parts.held_out is own
    assert plan.parts.whole_train.text == story
    assert "Ç" not in plan.tokenizer.symbols
    assert plan.held_out is not None
    assert (plan.held_out.ids == plan.tokenizer.unk_id).sum() == 60


def test_rare_symbols_of_the_training_part(story: str) -> None:
    """With a least count, and not without, what stands in the held-out part alone is unknown."""
    text = story[:-3] + "ЖЖЖ"
    assert "Ж" in prepare(read(text=text), TINY).tokenizer.symbols
    assert "Ж" not in prepare(read(text=text, min_count=2), TINY).tokenizer.symbols


@pytest.mark.parametrize(("unit", "of_one"), [("char", 1.0), ("byte", None), ("word", None)])
def test_characters_per_symbol(unit: str, of_one: float | None, story: str) -> None:
    """How many characters a symbol stands for: one for characters, less for bytes, several for words."""
    plan = prepare(read(text=story, unit=unit), TINY)
    found = characters_per_symbol(plan.parts.train, plan.encoded)
    assert found == pytest.approx(plan.parts.train.characters / len(plan.encoded))
    assert found == of_one or (found < 1.0 if unit == "byte" else found > 1.5) or unit == "char"


def test_the_ends_of_documents_are_symbols(names: tuple[str, ...]) -> None:
    """A document's <eos> is a symbol that was scored, and no character."""
    plan = prepare(read(documents=names), TINY)
    part = plan.parts.train
    assert characters_per_symbol(part, plan.encoded) == part.characters / (part.characters + len(part.documents))


def test_measuring_the_speed_leaves_no_trace(story: str) -> None:
    """It finds a speed, and the network learns nothing from it: neither weights nor gradients, nor its mode."""
    plan = prepare(read(text=story), TINY._replace(model=TINY.model.but(dropout=0.5)))
    before = plan.net.get_weights()
    assert plan.speed() > 0
    for name, array in plan.net.get_weights().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(parameter.grad is None for parameter in plan.net.parameters())
    assert plan.net.training


def test_symbols_to_learn(story: str) -> None:
    """So many as the steps of the length hold; unknown where a time is the length."""
    corpus = read(text=story)
    for length, steps in (({"steps": 10}, 10), ({"epochs": 0.5}, None), ({"minutes": 1}, None)):
        plan = prepare(corpus, preset(model={"hidden_size": 8, "embedding_dim": 4}, train={"batch_size": 8, "seq_len": 16, **length}))
        if "epochs" in length:
            steps = -(-len(plan.data) // 2)
        assert plan.symbols_to_learn() == (None if steps is None else pytest.approx(steps * 8 * 16))
