"""What is settled before a training begins: settings by stage, parts, vocabulary, batches, network, speed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from escriba.errors import SettingsError
from escriba.model.language_model import LanguageModel
from escriba.presets import Preset, preset
from escriba.settings import ModelSettings, TextSettings, TrainSettings
from escriba.text.batches import Batches, Documents, Streams, Windows
from escriba.text.corpus import read
from escriba.text.encoded import EncodedText
from escriba.text.tokenizer import CharTokenizer
from escriba.training import plan as module
from escriba.training.plan import characters_per_symbol, fitting_size, make_batches, prepare, sort_settings
from escriba.training.probe import Compute
from escriba.weights import count_parameters

TINY = preset(model={"cell": "gru", "hidden_size": 8, "embedding_dim": 4}, train={"batch_size": 8, "seq_len": 16, "steps": 10})


ON_CPU = Compute("cpu", "float32", 1, 1000.0, measured=True)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is remembered in a folder of the test's own; one step is measure enough."""
    monkeypatch.setenv("ESCRIBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ESCRIBA_PROBE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


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
    fields = [name for stage in (TextSettings, ModelSettings, TrainSettings) for name in stage.fields]
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


@pytest.mark.parametrize("compute", [None, Compute("cpu", "float32", 1, 0.0, measured=False)], ids=["measured", "not measured"])
def test_measuring_the_speed_leaves_no_trace(compute: Compute | None, story: str) -> None:
    """It finds a speed, and the network learns nothing from it: neither weights nor gradients, nor its mode."""
    plan = prepare(read(text=story), TINY._replace(model=TINY.model.but(dropout=0.5)), compute=compute)
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
        small = {"cell": "gru", "hidden_size": 8, "embedding_dim": 4}
        plan = prepare(corpus, preset(model=small, train={"batch_size": 8, "seq_len": 16, **length}))
        if "epochs" in length:
            steps = -(-len(plan.data) // 2)
        assert plan.symbols_to_learn() == (None if steps is None else pytest.approx(steps * 8 * 16))


def test_a_choosing_text_of_ones_own(story: str) -> None:
    """It is what is chosen by, and all of the training part is learnt from."""
    corpus, own = read(text=story), read(text="the cat sat. " * 30)
    plan = prepare(corpus, TINY, choosing=own, compute=ON_CPU)
    assert plan.parts.choosing is not None
    assert plan.parts.choosing.text == own.text
    assert plan.parts.train.text == story[: int(0.9 * len(story))]


def test_a_tokenizer_of_ones_own(story: str) -> None:
    """A vocabulary that is given is used as it is, and none is fitted."""
    wider = CharTokenizer.fit(story + "ЖЩ")
    plan = prepare(read(text=story), TINY, vocabulary=wider, compute=ON_CPU)
    assert plan.tokenizer is wider
    assert plan.net.vocab_size == wider.vocab_size
    np.testing.assert_array_equal(plan.encoded.ids, wider.encode(plan.parts.train.text))


def test_where_it_learns_is_measured_or_given(story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan measures where the network learns fastest; of a resumed run, whose choice is given, nothing is measured."""
    plan = prepare(read(text=story), TINY)
    assert plan.compute.measured
    assert plan.speed() == plan.compute.symbols_per_s > 0
    monkeypatch.setattr(module, "probe", None)
    given = prepare(read(text=story), TINY._replace(train=TINY.train.but(steps=None, minutes=1)), compute=ON_CPU)
    assert given.compute is ON_CPU
    assert given.speed() == 1000.0
    assert given.net.settings == TINY.model


def test_a_device_that_is_not_there(story: str) -> None:
    """It is refused before training."""
    with pytest.raises(SettingsError, match="device is 'cuda:99'"):
        prepare(read(text=story), TINY._replace(train=TINY.train.but(device="cuda:99")))


LENGTH = {"minutes": 1, "batch_size": 8, "seq_len": 16}
SIZED, PLAIN = preset(train=LENGTH), preset(model={"cell": "gru"}, train=LENGTH)
Speeds = Callable[[Callable[[ModelSettings], float]], list[tuple[int, int]]]


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> Speeds:
    """``speeds(of)``: a network is measured as fast as the function says; gives the layers and sizes that were measured."""

    def pretend(of: Callable[[ModelSettings], float]) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        def measure(net: LanguageModel, data: Batches, settings: TrainSettings) -> Compute:
            seen.append((net.settings.num_layers, net.settings.hidden_size))
            return Compute("cpu", "float32", settings.threads or 2, of(net.settings), measured=True)

        monkeypatch.setattr(module, "probe", measure)
        return seen

    return pretend


def work(model: ModelSettings) -> int:
    """The parameters of a network on the story, to which its work is in proportion."""
    return count_parameters(model, 30)


@pytest.mark.parametrize("chosen", [SIZED, PLAIN], ids=["stack", "plain"])
def test_the_size_follows_the_machine(chosen: Preset, story: str, speeds: Speeds) -> None:
    """The faster the machine, the larger the network that sees enough symbols in its minute; never larger than the preset's own."""
    least = module._of_size(chosen.model, *min(chosen.sizes))
    needed = chosen.symbols_per_parameter * count_parameters(least, 1) * work(least) / (60 * 0.85)
    found = []
    for times in (0.1, 1.5, 15, 60, 250, 1e3, 1e4, 1e6):
        speeds(lambda model, rate=needed * times: rate / work(model))  # type: ignore[misc]
        plan = prepare(read(text=story), chosen._replace(epochs_of_100_000=math.inf))
        own = plan.net.settings
        found.append((own.num_layers, own.hidden_size))
        assert plan.compute.symbols_per_s == needed * times / work(own)
        if own.hidden_size == chosen.model.hidden_size:
            assert plan.notes == ()
        else:
            (note,) = plan.notes
            assert f"{own.hidden_size} instead of " in note
            assert "take" in note
    assert found == sorted(found)
    assert found[:2] == [min(chosen.sizes)] * 2
    assert found[-1] == max(chosen.sizes) == (chosen.model.num_layers, chosen.model.hidden_size)
    assert len(set(found)) >= 4


def test_a_network_that_is_slower_than_its_size_says(story: str, speeds: Speeds) -> None:
    """The size that is foretold is measured; where that disappoints, a smaller one is taken, and measured too."""
    enough = PLAIN.symbols_per_parameter * work(PLAIN.model) / (60 * 0.85)
    seen = speeds(lambda model: 0.6 * enough if model.hidden_size == 512 else enough / 20)
    plan = prepare(read(text=story), PLAIN)
    assert seen[:2] == [(1, 512), (1, 384)]
    assert plan.net.settings.hidden_size == seen[-1][1] < 384
    assert plan.compute.symbols_per_s == enough / 20
    assert plan.compute.threads == 2


STEPS = {"minutes": None, "steps": 5}


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        *(pytest.param(SIZED, {name}, id=f"{name} was named") for name in ("hidden_size", "num_layers", "embedding_dim")),
        pytest.param(SIZED._replace(train=SIZED.train.but(**STEPS)), set(), id="steps are the measure"),
        pytest.param(preset("tutorial", train=LENGTH), set(), id="a lesson's own network"),
    ],
)
def test_no_size_is_chosen(chosen: Preset, named: set[str], story: str, speeds: Speeds) -> None:
    """Where the size was named, no time is the measure, or the preset is a lesson's, the network is the preset's, and alone measured."""
    seen = speeds(lambda model: 1e-3)
    plan = prepare(read(text=story), chosen, named=named)
    assert (plan.net.settings.num_layers, plan.net.settings.hidden_size) == (chosen.model.num_layers, chosen.model.hidden_size)
    assert plan.notes == ()
    assert seen == [(chosen.model.num_layers, chosen.model.hidden_size)]


def test_without_measurement_no_size_is_chosen(story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With measuring switched off the preset's own size stays, and what it drops."""
    monkeypatch.setenv("ESCRIBA_PROBE", "off")
    plan = prepare(read(text=story), SIZED)
    assert plan.net.settings == SIZED.model
    assert not plan.compute.measured


@pytest.mark.parametrize("length", [{"epochs": 3.5}, {"steps": None}, {"minutes": 1.0}])
def test_what_is_dropped_follows_the_epochs(length: dict, story: str, speeds: Speeds) -> None:
    """However the length is given: the same number of epochs drops as much; what was named stays as it was named."""
    data = prepare(read(text=story), SIZED._replace(train=SIZED.train.but(**STEPS))).data
    steps = round(3.5 * len(data))
    if "minutes" in length:
        speeds(lambda model: 3.5 * data.symbols_per_epoch / (60 * module.LEARNING_SHARE))
    train = SIZED.train.but(**{"minutes": None, **({"steps": steps} if "steps" in length else length)})
    chosen = SIZED._replace(train=train, epochs_of_100_000=math.inf)
    plan = prepare(read(text=story), chosen, named={"hidden_size"})
    wanted = SIZED.against_overfitting(3.5, data.symbols_per_epoch)
    assert plan.net.settings.symbol_dropout == pytest.approx(wanted["symbol_dropout"], abs=2e-3)
    assert plan.net.settings.symbol_dropout > 0
    assert plan.train.weight_decay == pytest.approx(wanted["weight_decay"], abs=0.01)
    own = prepare(read(text=story), chosen, named={"hidden_size", "weight_decay"})
    assert own.train.weight_decay == SIZED.train.weight_decay != plan.train.weight_decay


@pytest.mark.parametrize(
    ("symbols", "at"), [((39, 0, 0), 0), ((40, 0, 0), 0), ((99, 80, 0), 1), ((99, 79, 0), 0), ((99, 79, 120), 2), ((9e9, 9e9, 9e9), 2)]
)
def test_the_rule_of_sizes(symbols: tuple[float, ...], at: int) -> None:
    """The largest network with enough symbols for its parameters; the smallest if none has."""
    assert fitting_size([10, 20, 30], symbols, 4.0) == at


@pytest.mark.parametrize(("second", "most", "at"), [(79, 100, 0), (79, 98, 1), (49, 60, 1), (47, 60, 0), (41, 10, 1), (39, 10, 0)])
def test_a_size_that_would_not_use_the_time(second: float, most: float, at: int) -> None:
    """Where the size that fits would be through with the text sooner, the next needs as much less, but half at least."""
    assert fitting_size([10, 20], [100, second], 4.0, most) == at


@pytest.mark.parametrize(("times", "is_short"), [(0.5, False), (1.2, False), (3.0, True)])
def test_a_short_text_is_not_read_for_ever(times: float, is_short: bool, story: str, speeds: Speeds) -> None:
    """Where the time would read it far more often than is of use, epochs take its place, and that is said; what is dropped is for them."""
    data = prepare(read(text=story), SIZED._replace(train=SIZED.train.but(**STEPS))).data
    most = SIZED.most_epochs(data.symbols_per_epoch)
    assert most * len(data) > module.LEAST_STEPS
    speeds(lambda model: times * most * data.symbols_per_epoch / (60 * module.LEARNING_SHARE))
    plan = prepare(read(text=story), SIZED._replace(enough_steps=0), named={"hidden_size"})
    assert (plan.train.minutes, plan.train.epochs) == ((None, pytest.approx(most, abs=0.01)) if is_short else (1, None))
    assert [note.startswith(f"the text is read {most:.1f} times") for note in plan.notes] == [True] * is_short
    wanted = SIZED.against_overfitting(min(times, 1.0) * most, data.symbols_per_epoch)
    assert plan.net.settings.symbol_dropout == pytest.approx(wanted["symbol_dropout"])
    assert prepare(read(text=story), PLAIN, named={"hidden_size"}).train.minutes == 1


@pytest.mark.parametrize(("spare", "rows", "rate"), [(1.4, 8, 0.008), (2.5, 4, 0.0057), (4.0, 2, 0.004), (100.0, 2, 0.004)])
def test_a_short_text_is_learnt_in_small_batches(spare: float, rows: int, rate: float, story: str, speeds: Speeds) -> None:
    """Where a time is long enough, so that there are more updates, with smaller steps; half the rows take 1.6 times as long,
    and the root of two more is done against overfitting.
    """
    by_epochs = ((1.0, {"symbol_dropout": 0.0}), (1e6, {"symbol_dropout": 0.9}))
    chosen = SIZED._replace(enough_steps=10_000, train=SIZED.train.but(batch_size=8, learning_rate=0.008), by_epochs=by_epochs)
    data = prepare(read(text=story), chosen._replace(train=chosen.train.but(**STEPS))).data
    assert data.batch_size == 8
    most = max(chosen.most_epochs(data.symbols_per_epoch), module.LEAST_STEPS / len(data))
    speeds(lambda model: spare * most * data.symbols_per_epoch / (60 * module.LEARNING_SHARE))
    plan = prepare(read(text=story), chosen, named={"hidden_size"})
    assert (plan.data.batch_size, plan.train.batch_size, plan.train.learning_rate) == (rows, rows, rate)
    times = max(chosen.most_epochs(data.symbols_per_epoch), module.LEAST_STEPS / len(plan.data)) * math.sqrt(8 / rows)
    if spare > 2:
        assert plan.net.settings.symbol_dropout == chosen.against_overfitting(times, data.symbols_per_epoch)["symbol_dropout"]
    assert plan.compute.symbols_per_s * 1.6 ** math.log2(8 / rows) == pytest.approx(
        spare * most * data.symbols_per_epoch / (60 * module.LEARNING_SHARE)
    )
    for named, found in (({"batch_size"}, (8, 0.008)), ({"learning_rate"}, (rows, 0.008))):
        own = prepare(read(text=story), chosen, named={"hidden_size", *named}).train
        assert (own.batch_size, own.learning_rate) == found
    enough = prepare(read(text=story), chosen._replace(enough_steps=module.LEAST_STEPS // 2), named={"hidden_size"})
    assert enough.train.batch_size == 8
