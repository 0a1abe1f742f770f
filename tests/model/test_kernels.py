"""Our own loop of the GRU: the outputs and gradients of the steps one by one, and where the network takes it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from escriba.model import cells, language_model
from escriba.model.cells import GruLayer, RecurrentLayer
from escriba.model.kernels import gru_scan
from escriba.model.language_model import LanguageModel
from escriba.settings import ModelSettings

V, E, H = 7, 5, 6
SHAPES = {"ordinary": (3, 9), "one symbol": (4, 1), "one row": (1, 9), "one of each": (1, 1)}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def shape(request: pytest.FixtureRequest) -> tuple[int, int]:
    """B and T."""
    B, T = request.param
    return B, T


def numbers(*size: int, seed: int = 0) -> Tensor:
    """A leaf of float64 numbers between -0.9 and 0.9."""
    return torch.empty(size, dtype=torch.float64).uniform_(-0.9, 0.9, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def make() -> GruLayer:
    """A layer in float64 in which no weight and no bias is zero."""
    layer = GruLayer(ModelSettings(cell="gru", hidden_size=H), E).double()
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.copy_(numbers(*parameter.shape, seed=seed + 10))
    return layer


def gradients(layer: GruLayer, outputs: Tensor, last: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of a sum that weighs every output, and the last state once more, differently."""
    B, T, _ = outputs.shape
    loss = (outputs * numbers(B, T, H, seed=1).detach()).sum() + (last * numbers(B, H, seed=2).detach()).sum()
    return torch.autograd.grad(loss, [*layer.parameters(), *leaves])


def assert_same(met: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    """Equal to 1e-10, and not because there is nothing to compare."""
    for one, other in zip(met, wanted, strict=True):
        assert other.abs().max() > 1e-6
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_of_vectors_it_is_the_steps_one_by_one(shape: tuple[int, int]) -> None:
    """Outputs, last state and every gradient, to weights, biases, inputs and first state, are those of the steps."""
    layer, (B, T) = make(), shape
    x_BTE, h_BH = numbers(B, T, E, seed=3), numbers(B, H, seed=4)
    expected, (expected_last,) = RecurrentLayer.scan(layer, x_BTE, (h_BH,))
    outputs, last = gru_scan(x_BTE, None, h_BH, *layer.all_weights())
    assert_same((outputs, last), (expected, expected_last))
    assert_same(gradients(layer, outputs, last, [x_BTE, h_BH]), gradients(layer, expected, expected_last, [x_BTE, h_BH]))


def test_of_ids_it_is_the_steps_one_by_one(shape: tuple[int, int]) -> None:
    """With ids and a table of vectors everything is as with each place's vector, the gradient of the table too."""
    layer, (B, T) = make(), shape
    table_VE, h_BH = numbers(V, E, seed=3), numbers(B, H, seed=4)
    ids_BT = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(5))
    expected, (expected_last,) = RecurrentLayer.scan(layer, table_VE[ids_BT], (h_BH,))
    outputs, last = gru_scan(table_VE, ids_BT, h_BH, *layer.all_weights())
    assert_same((outputs, last), (expected, expected_last))
    assert_same(gradients(layer, outputs, last, [table_VE, h_BH]), gradients(layer, expected, expected_last, [table_VE, h_BH]))


def test_it_is_the_same_at_any_split() -> None:
    """Pieces of the time one after the other give what the whole gives, forward and backward through the states between them."""
    layer, x_BTE, h_BH = make(), numbers(2, 12, E, seed=3), numbers(2, H, seed=4)
    whole = gru_scan(x_BTE, None, h_BH, *layer.all_weights())
    for cuts in ((0, 5, 12), (0, 1, 2, 11, 12), range(13)):
        pieces, last = [], h_BH
        for begin, end in itertools.pairwise(cuts):
            piece, last = gru_scan(x_BTE[:, begin:end], None, last, *layer.all_weights())
            pieces.append(piece)
        outputs = torch.cat(pieces, 1)
        assert_same((outputs, last), whole)
        torch.testing.assert_close(outputs[:, -1], last, rtol=0, atol=0)
        assert_same(gradients(layer, outputs, last, [x_BTE, h_BH]), torch_gradients(layer, x_BTE, h_BH))


def torch_gradients(layer: GruLayer, x_BTE: Tensor, h_BH: Tensor) -> tuple[Tensor, ...]:
    """The gradients by PyTorch's own loop."""
    outputs, h_1BH = torch.gru(x_BTE, h_BH[None], layer.all_weights(), True, 1, 0.0, True, False, True)
    return gradients(layer, outputs, h_1BH[0], [x_BTE, h_BH])


def test_arrays_may_lie_in_any_order() -> None:
    """Inputs, ids, states and gradients that are views of larger or turned arrays give the same."""
    layer, x_EBT, table_EV, h_HB = make(), numbers(E, 3, 18, seed=3), numbers(E, V, seed=6), numbers(H, 3, seed=4)
    x_BTE, table_VE, h_BH = x_EBT.permute(1, 2, 0)[:, ::2], table_EV.T, h_HB.T
    ids_BT = torch.randint(V, (9, 6), generator=torch.Generator().manual_seed(5)).T[::2]
    for x, ids, leaf in ((x_BTE, None, x_EBT), (table_VE, ids_BT, table_EV)):
        expected, (last,) = RecurrentLayer.scan(layer, x if ids is None else x[ids], (h_BH,))
        met = gru_scan(x, ids, h_BH, *layer.all_weights())
        assert_same(gradients(layer, *met, [leaf, h_HB]), gradients(layer, expected, last, [leaf, h_HB]))


def test_going_back_twice_gives_the_same() -> None:
    """The backward pass changes nothing that it needs, so a graph that is retained can be gone through again."""
    layer, x_BTE, h_BH = make(), numbers(3, 9, E, seed=3), numbers(3, H, seed=4)
    outputs, _ = gru_scan(x_BTE, None, h_BH, *layer.all_weights())
    first, again = (torch.autograd.grad(outputs.square().sum(), x_BTE, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What our loop was given, "ids" or "vectors", call by call; it is taken from 4 hidden units and 3 rows on."""
    calls: list[str] = []

    def noting(x: Tensor, ids_BT: Tensor | None, *others: Tensor) -> tuple[Tensor, Tensor]:
        calls.append("vectors" if ids_BT is None else "ids")
        return gru_scan(x, ids_BT, *others)

    monkeypatch.setattr(cells, "gru_scan", noting)
    monkeypatch.setattr(cells, "LEAST_HIDDEN_OF_OUR_SCAN", 4)
    monkeypatch.setattr(cells, "LEAST_ROWS_OF_OUR_SCAN", 3)
    return calls


IDS_BT = torch.randint(V, (5, 8), generator=torch.Generator().manual_seed(5))

NETWORKS = {
    "embedding": (ModelSettings(cell="gru", embedding_dim=E, hidden_size=H), ["ids"]),
    "one-hot": (ModelSettings(cell="gru", embedding_dim=None, hidden_size=H), ["ids"]),
    "tied": (ModelSettings(cell="gru", embedding_dim=H, hidden_size=H, tied=True), ["ids"]),
    "two layers": (ModelSettings(cell="gru", embedding_dim=E, hidden_size=H, num_layers=2), ["ids", "vectors"]),
    "dropout": (ModelSettings(cell="gru", embedding_dim=E, hidden_size=H, dropout=0.5), ["vectors"]),
    "reset before": (ModelSettings(cell="gru", embedding_dim=E, hidden_size=H, reset="before"), []),
    "narrow": (ModelSettings(cell="gru", embedding_dim=E, hidden_size=3), []),
    "lstm": (ModelSettings(cell="lstm", embedding_dim=E, hidden_size=H), []),
}


@pytest.mark.parametrize(("settings", "calls"), NETWORKS.values(), ids=NETWORKS)
def test_a_network_learns_the_same_with_it(
    settings: ModelSettings, calls: list[str], taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training our loop is taken where it wins, of ids where nothing is dropped; logits and gradients are those of PyTorch's loop."""
    net = LanguageModel(V, settings, seed=2)
    results = []
    for least in (4, 1000):
        monkeypatch.setattr(cells, "LEAST_HIDDEN_OF_OUR_SCAN", least)
        net.dropout.generator = torch.Generator().manual_seed(1)
        logits_BTV, state = net(IDS_BT)
        loss = logits_BTV.square().sum() + sum(one.sum() for layer in state for one in layer)
        results.append((logits_BTV.detach(), *torch.autograd.grad(loss, list(net.parameters()))))
    assert taken == calls
    for met, wanted in zip(*results, strict=True):
        torch.testing.assert_close(met, wanted, rtol=1e-4, atol=1e-5)


def test_elsewhere_pytorch_has_its_own_loop(taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients, in bfloat16, of few rows and in float64 our loop is not taken; nor ids for many symbols."""
    net = LanguageModel(V, NETWORKS["embedding"][0], seed=2)
    with torch.no_grad():
        net(IDS_BT)
    with torch.inference_mode():
        net(IDS_BT)
    with torch.autocast("cpu", torch.bfloat16):
        net(IDS_BT)
    net(IDS_BT[:2])
    net.double()(IDS_BT)
    assert taken == []
    net.float().eval()(IDS_BT)
    net(IDS_BT[:, :3])
    monkeypatch.setattr(language_model, "MOST_TABULATED", V - 1)
    net(IDS_BT)
    assert taken == ["ids", "vectors", "vectors"]
