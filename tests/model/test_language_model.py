"""The network as a whole: its size, its first loss, its weights in and out, its dropout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from escriba.errors import SettingsError
from escriba.model import plain
from escriba.model.language_model import LanguageModel
from escriba.model.loss import cross_entropy
from escriba.presets import PRESETS
from escriba.settings import ModelSettings
from escriba.weights import count_parameters, parameters_by_part, state_specs, tensor_specs

V = 31

SMALL = {
    "rnn": ModelSettings(cell="rnn", embedding_dim=6, hidden_size=16),
    "rnn-relu": ModelSettings(cell="rnn", activation="relu", embedding_dim=6, hidden_size=16),
    "rnn-sigmoid": ModelSettings(cell="rnn", activation="sigmoid", embedding_dim=6, hidden_size=16),
    "gru": ModelSettings(cell="gru", embedding_dim=6, hidden_size=16),
    "gru-before": ModelSettings(cell="gru", reset="before", embedding_dim=6, hidden_size=16),
    "gru-3": ModelSettings(cell="gru", embedding_dim=6, hidden_size=16, num_layers=3),
    "lstm": ModelSettings(cell="lstm", embedding_dim=6, hidden_size=16),
    "lstm-onehot-2": ModelSettings(cell="lstm", embedding_dim=None, hidden_size=16, num_layers=2),
    "gru-tied": ModelSettings(cell="gru", embedding_dim=16, hidden_size=16, tied=True),
    "mingru-2": ModelSettings(cell="mingru", embedding_dim=6, hidden_size=16, num_layers=2),
    "stack-mingru-2": ModelSettings(cell="mingru", residual=True, embedding_dim=16, hidden_size=16, num_layers=2),
    "stack-mingru-5": ModelSettings(
        cell="mingru", residual=True, embedding_dim=6, hidden_size=16, num_layers=5, conv=None, embedding_scale=1.0
    ),
    "stack-gru-onehot-2": ModelSettings(cell="gru", residual=True, embedding_dim=None, hidden_size=16, num_layers=2, mlp=None),
    "stack-mingru-tied": ModelSettings(cell="mingru", residual=True, embedding_dim=16, hidden_size=16, tied=True),
    "stack-lstm": ModelSettings(cell="lstm", residual=True, embedding_dim=6, hidden_size=16, conv=1),
    "stack-ngram": ModelSettings(cell="ngram", residual=True, embedding_dim=6, hidden_size=16),
    "ngram": ModelSettings(cell="ngram", embedding_dim=6, hidden_size=16),
    "ngram-5-onehot-2": ModelSettings(cell="ngram", window=5, embedding_dim=None, hidden_size=16, num_layers=2),
    "ngram-1-tied": ModelSettings(cell="ngram", window=1, embedding_dim=16, hidden_size=16, tied=True),
    "ngram-codes": ModelSettings(cell="ngram", codes=True, hidden_size=16),
}


@pytest.fixture(params=SMALL)
def settings(request: pytest.FixtureRequest) -> ModelSettings:
    """Small networks of every cell, input and output."""
    return SMALL[request.param]


@pytest.mark.parametrize(
    ("vocab_size", "parts", "total"),
    [
        pytest.param(66, (16_896, 3_938_304, 67_650), 4_022_850, id="66 symbols"),
        pytest.param(65, (16_640, 3_938_304, 66_625), 4_021_569, id="65 symbols"),
        pytest.param(89, (22_784, 3_938_304, 91_225), 4_052_313, id="89 symbols"),
    ],
)
def test_parameters_of_the_lessons(vocab_size: int, parts: tuple[int, ...], total: int) -> None:
    """Embedding 256, GRU 1024 and the output have the numbers of parameters that the lessons print, part by part."""
    tutorial = PRESETS["tutorial"].model
    assert tuple(parameters_by_part(tutorial, vocab_size).values()) == parts
    assert count_parameters(tutorial, vocab_size) == total


def test_parameters_of_the_titles() -> None:
    """One-hot input of 84 symbols and an LSTM of 128 have 119,892 parameters, in the list and in the network."""
    titles = PRESETS["titles"].model
    assert parameters_by_part(titles, 84) == {"lstm 1": 109_056, "output": 10_836}
    assert sum(parameter.numel() for parameter in LanguageModel(84, titles).parameters()) == 119_892


REFERENCE_STACK = ModelSettings(cell="mingru", residual=True, embedding_dim=256, hidden_size=256, num_layers=4)


def test_parameters_of_the_reference_stack() -> None:
    """Four blocks of 256 for 66 symbols hold 2,926,914 parameters, in the list and in the network; an entry is learnt where E is not H."""
    parts = parameters_by_part(REFERENCE_STACK, 66)
    blocks = {f"mingru {layer}": 723_200 for layer in range(1, 5)}
    assert parts == {"embedding": 16_896, **blocks, "norm": 256, "output": 16_962}
    assert sum(parts.values()) == 2_926_914
    assert sum(parameter.numel() for parameter in LanguageModel(66, REFERENCE_STACK).parameters()) == 2_926_914
    assert parameters_by_part(REFERENCE_STACK.but(embedding_dim=64), 66)["entry"] == 64 * 256
    assert parameters_by_part(REFERENCE_STACK.but(embedding_dim=None), 66)["entry"] == 66 * 256


def test_the_ends_of_branches_begin_smaller_in_a_deeper_stack() -> None:
    """W_out and W_down keep to Glorot's bound by the root of twice the layers; the stream of a deep stack begins about as wide."""
    net = LanguageModel(66, REFERENCE_STACK)
    weights = net.get_weights()
    for name, fan, share in (
        ("weight_in", 768, 1.0),
        ("weight_up", 1280, 1.0),
        ("weight_out", 512, 8**-0.5),
        ("weight_down", 768, 8**-0.5),
    ):
        bound = share * (6.0 / fan) ** 0.5
        assert 0.99 * bound < np.abs(weights[f"layers.3.{name}"]).max() <= bound
    assert 0.49 < np.abs(weights["layers.0.conv_weight"]).max() <= 0.5
    assert not weights["layers.0.conv_bias"].any()
    assert not weights["layers.0.bias"][64:].any()  # the first 64 of 256 units: mingru's long memory
    for name in ("layers.0.norm", "layers.0.mlp_norm", "norm.weight"):
        assert (weights[name] == 1).all()


def test_a_network_of_the_lessons_size() -> None:
    """The tutorial's network holds the 4,022,850 parameters that are counted for it, and its first loss is ln 66 within 2 %."""
    net = LanguageModel(66, PRESETS["tutorial"].model)
    assert sum(parameter.numel() for parameter in net.parameters()) == 4_022_850
    ids_BT = torch.randint(66, (4, 33), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss = float(cross_entropy(net(ids_BT[:, :-1])[0], ids_BT[:, 1:]))
    assert loss == pytest.approx(math.log(66), rel=0.02)


def test_the_network_is_as_weights_says(settings: ModelSettings) -> None:
    """Its parameters have the names and shapes of the list, its state those of its list, and there are no others."""
    net = LanguageModel(V, settings)
    assert {name: tuple(one.shape) for name, one in net.named_parameters()} == {one.name: one.shape for one in tensor_specs(settings, V)}
    assert sum(one.numel() for one in net.parameters()) == count_parameters(settings, V)
    shapes = [[tuple(one.shape) for one in layer] for layer in net.initial_state(2)]
    assert shapes == [[(2, spec.size) for spec in layer] for layer in state_specs(settings, net.vocab_size)]


def test_the_first_loss_is_that_of_knowing_nothing(settings: ModelSettings) -> None:
    """Before training the loss is ln V within 2 %; where codes enter, whose sizes fill the sigmoids from the start, within 5 %."""
    net = LanguageModel(V, settings, seed=3).eval()
    ids_BT = torch.randint(V, (8, 65), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss = float(cross_entropy(net(ids_BT[:, :-1])[0], ids_BT[:, 1:]))
    assert loss == pytest.approx(math.log(V), rel=0.05 if settings.codes else 0.02)


def test_forward_is_step_folded(settings: ModelSettings) -> None:
    """T symbols at once give the logits and the state of T steps, from the state after an earlier text."""
    net = LanguageModel(V, settings).double().eval()
    ids_BT = torch.randint(V, (2, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        _, state = net(ids_BT[:, :5])
        together, after = net(ids_BT[:, 5:], state)
        for t in range(15):
            logits_BV, state = net.step(ids_BT[:, 5 + t], state)
            torch.testing.assert_close(logits_BV, together[:, t], rtol=0, atol=1e-10)
    for met, wanted in zip(state, after, strict=True):
        for one, other in zip(met, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_without_a_state_a_text_begins(settings: ModelSettings) -> None:
    """No state is the same as the first state."""
    net = LanguageModel(V, settings).eval()
    ids_BT = torch.randint(V, (2, 4), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(net(ids_BT)[0], net(ids_BT, net.initial_state(2))[0], rtol=0, atol=0)


def test_weights_out_and_in(settings: ModelSettings) -> None:
    """Another network that is given the weights has the same ones and says the same; what was given out is a copy."""
    net, other = LanguageModel(V, settings, seed=1).eval(), LanguageModel(V, settings, seed=2).eval()
    ids_BT = torch.arange(V)[None]
    weights = net.get_weights()
    assert list(weights) == [spec.name for spec in tensor_specs(settings, V)]
    other.set_weights(weights)
    with torch.no_grad():
        expected = net(ids_BT)[0]
        torch.testing.assert_close(other(ids_BT)[0], expected, rtol=0, atol=0)
        for array in weights.values():
            array += 1.0
        torch.testing.assert_close(net(ids_BT)[0], expected, rtol=0, atol=0)
        torch.testing.assert_close(other(ids_BT)[0], expected, rtol=0, atol=0)


def test_weights_of_another_network_are_refused() -> None:
    """A missing tensor, one too many, or one of another shape is refused by name, and nothing is changed."""
    net = LanguageModel(V, SMALL["gru"])
    weights = net.get_weights()
    wrong = {
        "output.bias": {name: array for name, array in weights.items() if name != "output.bias"},
        "extra": {**weights, "extra": np.zeros(1, np.float32)},
        "layers.0.weight_hh": {**weights, "layers.0.weight_hh": weights["layers.0.weight_hh"].T},
    }
    for name, given in wrong.items():
        given = {**given, "embedding.weight": weights["embedding.weight"] + 1}
        with pytest.raises(SettingsError, match=name):
            net.set_weights(given)
    for name, array in net.get_weights().items():
        np.testing.assert_array_equal(array, weights[name])


def test_the_seed_gives_the_weights(settings: ModelSettings) -> None:
    """The same seed gives the same weights whatever was drawn before; another seed others."""
    one = LanguageModel(V, settings, seed=5).get_weights()
    torch.rand(7)
    same, other = LanguageModel(V, settings, seed=5).get_weights(), LanguageModel(V, settings, seed=6).get_weights()
    for name, array in one.items():
        np.testing.assert_array_equal(array, same[name])
    assert not np.array_equal(one["layers.0.weight_ih"], other["layers.0.weight_ih"])
    if "layers.0.weight_hh" in one:
        assert not np.array_equal(one["layers.0.weight_hh"], other["layers.0.weight_hh"])


def test_a_tied_output_is_the_embedding() -> None:
    """Tied, the output's matrix is the embedding's, learns with it, and is counted and kept once."""
    net = LanguageModel(V, SMALL["gru-tied"])
    assert net.embedding is not None
    assert net.output.weight is net.embedding.weight
    assert "output.weight" not in net.get_weights()
    net.set_weights({name: array + 1 for name, array in net.get_weights().items()})
    torch.testing.assert_close(net.output.weight, net.embedding.weight, rtol=0, atol=0)


def test_one_hot_input() -> None:
    """Without an embedding a symbol is a 1 at its id; a vocabulary too large for that is refused with a way out."""
    net = LanguageModel(5, cell="lstm", embedding_dim=None, hidden_size=4)
    torch.testing.assert_close(net.embed(torch.tensor([3, 0])), torch.tensor([[0.0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]), rtol=0, atol=0)
    with pytest.raises(SettingsError, match="one-hot input of 5,000 symbols") as caught:
        LanguageModel(5000, cell="lstm", embedding_dim=None, hidden_size=4)
    assert "embedding_dim" in (caught.value.hint or "")


def test_codes_as_input() -> None:
    """With codes a symbol enters as its id, one number, whatever the embedding's size, and of any vocabulary; no embedding is learnt."""
    net = LanguageModel(5000, cell="ngram", codes=True, hidden_size=4, embedding_dim=None)
    torch.testing.assert_close(net.embed(torch.tensor([[3, 4999]])), torch.tensor([[[3.0], [4999.0]]]), rtol=0, atol=0)
    assert list(LanguageModel(V, cell="ngram", codes=True, hidden_size=4).get_weights()) == [
        "layers.0.weight_ih", "layers.0.bias", "output.weight", "output.bias",
    ]  # fmt: skip
    assert net.summary().splitlines()[0].split() == ["codes", "0"]


def test_codes_are_told_apart_in_bf16() -> None:
    """Codes that bfloat16 cannot hold give what they give in float32, to the precision of the output's product, in scans and steps."""
    net = LanguageModel(400, cell="ngram", window=1, codes=True, hidden_size=4)
    first = net.stack()[0]
    with torch.no_grad():
        first.weight_ih.fill_(4.0)  # the logistic function falls between the two codes
        first.input_bias().fill_(-4.0 * 300.5)
        net.output.weight.normal_(generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[300, 301]])
    exact, _ = net(ids)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = net(ids)
        stepped, _ = net.step(ids[:, 1], net.initial_state(1))
    found.float().sum().backward()
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.02, atol=0.02)
    torch.testing.assert_close(stepped, found[:, 1], rtol=0, atol=0)
    assert (found[0, 1] - found[0, 0]).abs().max() > 0.5
    assert first.weight_ih.grad is not None
    assert first.weight_ih.grad.isfinite().all()


def test_what_counts_is_no_network() -> None:
    """The cell of counts is refused, with the way to it."""
    with pytest.raises(SettingsError, match="'counts' is no network") as caught:
        LanguageModel(V, cell="counts")
    assert "escriba.train" in (caught.value.hint or "")


def test_settings_by_name_and_their_bounds() -> None:
    """Single settings go over those given together; a wrong one, or no symbols at all, is refused."""
    assert LanguageModel(V, SMALL["lstm"], hidden_size=8).settings == SMALL["lstm"].but(hidden_size=8)
    with pytest.raises(SettingsError, match="hidden_size is 0"):
        LanguageModel(V, hidden_size=0)
    with pytest.raises(SettingsError, match="vocab_size is 0"):
        LanguageModel(0, hidden_size=8)


@pytest.mark.parametrize("wrong", ["a", "66", 66.0, True, None, -1, 2**31, [66]])
def test_a_vocabulary_size_that_is_none(wrong: object) -> None:
    """The size of the vocabulary is a whole number of 1 or more; NumPy's are as good as Python's."""
    with pytest.raises(SettingsError, match="vocab_size is") as caught:
        LanguageModel(wrong, hidden_size=8)  # type: ignore[arg-type]
    assert "a whole number, 1 or more" in (caught.value.expected or "")
    size = LanguageModel(np.int64(V), hidden_size=8).vocab_size  # type: ignore[arg-type]
    assert (size, type(size)) == (V, int)


@pytest.mark.parametrize("wrong", ["a", 1.5, True, None, -1, 2**63])
def test_a_seed_that_is_none(wrong: object) -> None:
    """The seed is a whole number, 0 or more."""
    with pytest.raises(SettingsError, match="seed is"):
        LanguageModel(V, hidden_size=8, seed=wrong)  # type: ignore[arg-type]
    LanguageModel(V, hidden_size=8, seed=0)


def test_settings_of_another_kind() -> None:
    """What is not ModelSettings is refused, with how single settings are given."""
    with pytest.raises(SettingsError, match="settings is 'gru'") as caught:
        LanguageModel(V, "gru")  # type: ignore[arg-type]
    assert "cell=" in (caught.value.hint or "")


def test_dropout_is_for_training_alone() -> None:
    """In use nothing is dropped; in training draws differ, the share is right, and the mean is kept."""
    net = LanguageModel(V, SMALL["gru"].but(dropout=0.25))
    x = torch.ones(200, 200)
    assert torch.equal(net.eval().dropout(x), x)
    dropped = net.train().dropout(x)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    # 40,000 draws: four standard deviations of the share are 0.0087, a false alarm in 15,000
    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.0087)
    assert not torch.equal(net.dropout(x), dropped)


@pytest.mark.parametrize("name", ["lstm", "stack-mingru-2", "stack-mingru-5"])
def test_dropout_is_repeated_by_its_generator(name: str) -> None:
    """The same state of its generator drops the same, in the whole network; PyTorch's own generator is not touched."""
    net = LanguageModel(V, SMALL[name].but(dropout=0.5)).train()
    ids_BT = torch.arange(V)[None]
    net.dropout.generator = torch.Generator().manual_seed(1)
    before = torch.get_rng_state()
    first, second = net(ids_BT)[0], net(ids_BT)[0]
    net.dropout.generator.manual_seed(1)
    torch.testing.assert_close(net(ids_BT)[0], first, rtol=0, atol=0)
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_of_a_stack_is_of_all_that_it_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each branch is dropped where it is added, each by a seed of its own; nothing is drawn in use."""
    for settings in (REFERENCE_STACK.but(hidden_size=24, embedding_dim=24, dropout=0.5), REFERENCE_STACK.but(dropout=0.5, mlp=None)):
        net = LanguageModel(V, settings).double().train()
        met: list[tuple[bool, float, int]] = []
        add_norm = plain.add_norm

        def watched(x: Tensor, branch: Tensor | None, weight: Tensor, dropout: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
            met.append((branch is not None, dropout, seed))  # noqa: B023 - called in this turn of the loop alone
            return add_norm(x, branch, weight, dropout, seed)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(plain, "add_norm", watched)
            net(torch.arange(V)[None])
            added = [seed for there, _, seed in met if there]
            assert len(added) == (8 if settings.mlp else 4)
            assert len(set(added)) == len(added)
            assert {share for _, share, _ in met} == {0.5}
            met.clear()
            net.eval()(torch.arange(V)[None])
            assert {(share, seed) for _, share, seed in met} == {(0.0, 0)}


def test_entering_a_stack_of_every_symbol_once_or_of_each() -> None:
    """Whether each symbol's vector or each place's meets the entry's matrix, what enters is the same, and so are the gradients."""
    for embedding_dim in (6, None):
        net = LanguageModel(V, cell="mingru", residual=True, hidden_size=8, embedding_dim=embedding_dim).double()
        assert net.entry is not None
        ids_BT = torch.randint(V, (8, 16), generator=torch.Generator().manual_seed(1))
        weights = torch.randn(8, 16, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        together, one_by_one = net.enter(ids_BT), torch.cat([net.enter(row[None]) for row in ids_BT])
        torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-12)
        (found,), (wanted,) = (
            torch.autograd.grad((one * weights).sum(), [net.entry.weight], retain_graph=True) for one in (together, one_by_one)
        )
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["stack-mingru-2", "stack-mingru-5", "stack-gru-onehot-2", "stack-mingru-tied", "stack-lstm", "stack-ngram"]
)
def test_a_stack_learns_in_bf16(name: str) -> None:
    """With products in bfloat16 the state stays float32, the loss and every gradient are near those of float32, and none is missing."""
    net = LanguageModel(V, SMALL[name], seed=4)
    ids_BT = torch.randint(V, (4, 65), generator=torch.Generator().manual_seed(1))
    gradients = []
    for bf16 in (False, True):
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits_BTV, state = net(ids_BT[:, :-1])
            loss = cross_entropy(logits_BTV, ids_BT[:, 1:])
        loss.backward()
        gradients.append({name: one.grad.clone() for name, one in net.named_parameters() if one.grad is not None})
        assert all(array.dtype == torch.float32 for layer in state for array in layer if bf16 and SMALL[name].cell == "mingru")
    assert list(gradients[0]) == list(gradients[1]) == [name for name, _ in net.named_parameters()]
    for tensor, wanted in gradients[0].items():
        assert wanted.abs().max() > 0, tensor
        assert (gradients[1][tensor] - wanted).norm() < 0.1 * wanted.norm(), tensor


def test_the_summary() -> None:
    """It names every part with its parameters, and their sum."""
    summary = str(LanguageModel(84, PRESETS["titles"].model).summary())
    rows = dict(line.rsplit(maxsplit=1) for line in summary.splitlines())
    assert rows == {"one-hot 84": "0", "lstm 1": "109,056", "output": "10,836", "all": "119,892"}


def test_the_summary_of_a_stack() -> None:
    """Each block is one line, whatever is in it."""
    lines = LanguageModel(66, REFERENCE_STACK.but(embedding_dim=64, num_layers=1)).summary().splitlines()
    assert [line.rsplit(maxsplit=1)[0] for line in lines] == ["embedding", "entry", "mingru 1", "norm", "output", "all"]


@pytest.mark.parametrize("settings", [{"cell": "gru", "embedding_dim": 6}, {"cell": "mingru", "residual": True, "embedding_dim": 8}])
def test_whole_symbols_are_blotted_out(settings: dict[str, object]) -> None:
    """In training: as if zeros had entered there, at about so many places, drawn from the generator; in use never."""
    net = LanguageModel(9, hidden_size=8, symbol_dropout=0.25, **settings)
    ids_BT = torch.randint(9, (16, 50), generator=torch.Generator().manual_seed(1))

    def vectors(seed: int) -> torch.Tensor:
        net.dropout.generator = torch.Generator().manual_seed(seed)
        return net.dropout.of_symbols(net.embed(ids_BT), net.settings.symbol_dropout)

    net.train()
    blotted = (vectors(1) == 0).all(-1)
    assert 0.2 < blotted.float().mean() < 0.3
    assert torch.equal(vectors(1)[~blotted], net.embed(ids_BT)[~blotted])
    assert not torch.equal((vectors(2) == 0).all(-1), blotted)
    drawn = []
    for seed in (1, 1, 2):
        net.dropout.generator = torch.Generator().manual_seed(seed)
        drawn.append(net(ids_BT)[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    net.eval()
    assert torch.equal(vectors(1), net.embed(ids_BT))
    assert torch.equal(net(ids_BT)[0], LanguageModel(9, net.settings.but(symbol_dropout=0.0)).eval()(ids_BT)[0])
