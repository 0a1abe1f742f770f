"""The native loops of rnn, gru and lstm: their gradients, and PyTorch's own modules, in every precision, shape and count of threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from escriba import _native
from escriba.model import cells, kernels
from escriba.model.kernels import classic_scan
from escriba.model.language_model import LanguageModel
from escriba.settings import ModelSettings

pytestmark = pytest.mark.skipif(_native.library() is None, reason="there is no native code")

V, E = 7, 5
GATES = {"tanh": 1, "relu": 1, "sigmoid": 1, "gru": 3, "lstm": 4}
SHAPES = {
    "ordinary": (3, 5, 32),
    "one symbol": (4, 1, 16),
    "one row": (1, 6, 16),
    "one of each": (1, 1, 48),
    "rows for threads": (9, 4, 16),
}
Made = tuple[dict[str, Tensor], tuple[Tensor, ...]]


@pytest.fixture(params=GATES)
def cell(request: pytest.FixtureRequest) -> str:
    """Every cell, rnn by its activation."""
    return str(request.param)


def numbers(*size: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """A leaf of numbers between -0.9 and 0.9."""
    drawn = torch.empty(size, dtype=torch.float64).uniform_(-0.9, 0.9, generator=torch.Generator().manual_seed(seed))
    return drawn.to(dtype).requires_grad_()


def make(cell: str, B: int, H: int, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Made:
    """Weights of which none is zero, by their names, and a state; scale is that of the recurrent weights."""
    G = GATES[cell] * H
    weights = {"weight_ih": numbers(G, E, seed=1, dtype=dtype), "weight_hh": numbers(G, H, seed=2, dtype=dtype)}
    weights["weight_hh"].data *= scale
    weights["bias_ih"] = numbers(G, seed=3, dtype=dtype)
    if cell == "gru":
        weights["bias_hh"] = numbers(G, seed=4, dtype=dtype)
    return weights, tuple(numbers(B, H, seed=seed, dtype=dtype) for seed in range(5, 7 if cell == "lstm" else 6))


def ids_of(B: int, T: int) -> Tensor:
    """Some symbols."""
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(8))


def stepwise(cell: str, x_BTE: Tensor, state: tuple[Tensor, ...], weights: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The equations, step by step."""
    outputs, (h, *others) = [], state
    for x in x_BTE.unbind(1):
        gates = torch.nn.functional.linear(x, weights["weight_ih"], weights["bias_ih"])
        product = torch.nn.functional.linear(h, weights["weight_hh"], weights.get("bias_hh"))
        if cell == "gru":
            (x_r, x_z, x_n), (h_r, h_z, h_n) = gates.chunk(3, 1), product.chunk(3, 1)
            r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
            h = (1 - z) * torch.tanh(x_n + r * h_n) + z * h
        elif cell == "lstm":
            i, f, g, o = (gates + product).chunk(4, 1)
            others = [torch.sigmoid(f) * others[0] + torch.sigmoid(i) * torch.tanh(g)]
            h = torch.sigmoid(o) * torch.tanh(others[0])
        else:
            h = getattr(torch, cell)(gates + product)
        outputs.append(h)
    return torch.stack(outputs, 1), (h, *others)


def everything(outputs: Tensor, last: tuple[Tensor, ...], leaves: list[Tensor]) -> list[Tensor]:
    """Outputs, last state, and the gradients of a sum that weighs each of their numbers differently."""
    loss = (outputs.to(leaves[0].dtype) * numbers(*outputs.shape, seed=20, dtype=leaves[0].dtype).detach()).sum()
    for one in last:
        loss = loss + (one * numbers(*one.shape, seed=21, dtype=one.dtype).detach()).sum()
    return [outputs.detach(), *(one.detach() for one in last), *torch.autograd.grad(loss, leaves)]


def both(cell: str, shape: tuple[int, int, int], dtype: torch.dtype, scale: float = 1.0) -> list[tuple[list[Tensor], list[Tensor]]]:
    """What the native loop gives, and what the steps give: of vectors and of ids."""
    B, T, H = shape
    pairs = []
    for ids in (None, ids_of(B, T)):
        weights, state = make(cell, B, H, dtype, scale)
        x = numbers(B, T, E, seed=9, dtype=dtype) if ids is None else numbers(V, E, seed=9, dtype=dtype)
        leaves = [x, *weights.values(), *state]
        met = everything(*classic_scan(cell, x, ids, state, **weights), leaves)
        pairs.append((met, everything(*stepwise(cell, x if ids is None else x[ids], state, weights), leaves)))
    return pairs


def assert_near(met: list[Tensor], wanted: list[Tensor], tolerance: float) -> None:
    """Equal to a share of the largest number, and not because there is nothing to compare."""
    for one, other in zip(met, wanted, strict=True):
        assert other.abs().max() > 1e-6
        assert (one.to(other.dtype) - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_in_float64_it_is_the_steps_one_by_one(cell: str, shape: tuple[int, int, int]) -> None:
    """Outputs, last state and every gradient, to weights, biases, inputs and first state, of vectors and of ids."""
    for met, wanted in both(cell, shape, torch.float64):
        assert_near(met, wanted, 1e-12)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_gradients_are_those_of_differences(cell: str, shape: tuple[int, int, int]) -> None:
    """PyTorch's own check by finite differences, in float64, of every argument."""
    B, T, H = shape
    weights, state = make(cell, B, H, scale=0.3)
    for ids in (None, ids_of(B, T)):
        x = numbers(B, T, E, seed=9) if ids is None else numbers(V, E, seed=9)

        def scan(x: Tensor, *others: Tensor, ids: Tensor | None = ids) -> tuple[Tensor, ...]:
            outputs, last = classic_scan(cell, x, ids, others[: len(state)], *others[len(state) :])
            return outputs, *last

        assert torch.autograd.gradcheck(scan, (x, *state, *weights.values()), fast_mode=True)


@pytest.mark.parametrize("shape", [(3, 5, 32), (1, 4, 16), (70, 3, 48)], ids=str)
def test_in_float32_every_level_gives_it(cell: str, shape: tuple[int, int, int], level: str) -> None:
    """To 5e-6 of the largest number."""
    for met, wanted in both(cell, shape, torch.float32, 0.3):
        assert_near(met, wanted, 5e-6)


@pytest.mark.parametrize("shape", [(3, 5, 32), (1, 4, 16), (70, 3, 48)], ids=str)
def test_under_autocast_the_products_are_in_bfloat16(cell: str, shape: tuple[int, int, int], level: str) -> None:
    """To 2 % of float32's, but not equal; outputs are bfloat16, states and gradients float32. Rounded, a relu may open or shut."""
    with torch.autocast("cpu", torch.bfloat16):
        native = [met for met, _ in both(cell, shape, torch.float32, 0.3)]
    for met, (_, wanted) in zip(native, both(cell, shape, torch.float32, 0.3), strict=True):
        assert met[0].dtype == torch.bfloat16
        assert {one.dtype for one in met[1:]} == {torch.float32}
        assert not torch.equal(met[1], wanted[1])
        compared = 2 if cell == "relu" else len(met)  # of relu the outputs and the last state
        assert_near(met[:compared], wanted[:compared], 0.02)


@pytest.mark.parametrize(("cell", "module"), [("gru", torch.nn.GRU), ("lstm", torch.nn.LSTM), ("tanh", torch.nn.RNN)])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
def test_it_is_pytorchs_module(cell: str, module: type[torch.nn.RNNBase], bf16: bool) -> None:
    """Outputs and gradients of nn.GRU, nn.LSTM and nn.RNN with the same weights: to 5e-6, in bfloat16 to 2 %."""
    torch.manual_seed(1)
    whole = module(E, 64, batch_first=True)
    x = numbers(6, 20, E, seed=9, dtype=torch.float32)
    zeros = (torch.zeros(6, 64),) * (2 if cell == "lstm" else 1)
    wanted, _ = whole(x)
    w_ih, w_hh, b_ih, b_hh = whole.all_weights[0]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        if cell == "gru":
            outputs, _ = classic_scan(cell, x, None, zeros, w_ih, w_hh, b_ih, b_hh)
        else:
            outputs, _ = classic_scan(cell, x, None, zeros, w_ih, w_hh, b_ih + b_hh)
    leaves = [x, w_ih, w_hh, b_ih, b_hh]
    assert_near(everything(outputs, (), leaves), everything(wanted, (), leaves), 0.02 if bf16 else 5e-6)


@pytest.mark.parametrize(("rows", "hidden"), [(5, 64), (24, 64), (6, 384)], ids=["units", "rows", "large"])
def test_threads_change_no_number_but_for_rounding(rows: int, hidden: int, cell: str, threads: Callable[[int], None]) -> None:
    """With 1, 2, 3 and 7 threads the loop gives the same bits; all that learning needs, to the rounding of sums over the batch."""
    results, loops = [], []
    (weights, state), gates = make(cell, rows, hidden, torch.float32, 0.2), numbers(V, GATES[cell] * hidden, seed=12, dtype=torch.float32)
    for count in (1, 2, 3, 7):
        threads(count)
        results.append([met for met, _ in both(cell, (rows, 3, hidden), torch.float32, 0.2)])
        with torch.no_grad():
            outputs, _ = kernels.scan_forward(
                cell, ids_of(rows, 3), gates, weights["weight_hh"], weights.get("bias_hh"), *state, keep=False
            )
        loops.append(outputs)
    for other, loop in zip(results[1:], loops[1:], strict=True):
        torch.testing.assert_close(loop, loops[0], rtol=0, atol=0)
        for one, first in zip(other, results[0], strict=True):
            assert_near(one, first, 1e-5)


def test_the_state_carries_over_any_split(cell: str) -> None:
    """Pieces of the time one after the other give what the whole gives, forward, and backward through the states between."""
    weights, state = make(cell, 3, 32)
    x = numbers(3, 8, E, seed=9)
    leaves = [x, *weights.values(), *state]
    whole = everything(*classic_scan(cell, x, None, state, **weights), leaves)
    for cuts in ((0, 3, 8), range(9)):
        pieces, last = [], state
        for begin, end in itertools.pairwise(cuts):
            piece, last = classic_scan(cell, x[:, begin:end], None, last, **weights)
            pieces.append(piece)
        met = everything(torch.cat(pieces, 1), last, leaves)
        assert_near(met, whole, 1e-12)


def test_arrays_may_lie_in_any_order(cell: str) -> None:
    """Inputs, ids, states, weights and gradients that are views of larger or turned arrays give the same."""
    weights, state = make(cell, 4, 16)
    turned = {name: one.detach().mT.contiguous().mT.requires_grad_() if one.ndim == 2 else one for name, one in weights.items()}
    halves = tuple(torch.stack([one.detach(), one.detach()], 2)[..., 0].requires_grad_() for one in state)
    x_ETB = numbers(E, 12, 4, seed=9)
    x = x_ETB.permute(2, 1, 0)[:, ::2]
    ids = ids_of(6, 8).T[::2]
    table = numbers(E, V, seed=10).T
    for one, other in ((x, None), (table, ids)):
        expected = classic_scan(cell, one.contiguous(), other if other is None else other.contiguous(), state, **weights)
        met = classic_scan(cell, one, other, halves, **turned)
        weigh = numbers(6, 4, 16, seed=11).detach().transpose(0, 1)[:, : met[0].shape[1]]
        gradients = [
            torch.autograd.grad((outputs[:, : weigh.shape[1]] * weigh).sum() + last[0].sum(), [*leaves.values(), *begun])
            for (outputs, last), leaves, begun in ((met, turned, halves), (expected, weights, state))
        ]
        torch.testing.assert_close(met, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_one_graph_may_hold_it_twice_and_be_gone_through_twice(cell: str) -> None:
    """Two uses of the same weights in one graph add their gradients; a graph that is retained gives the same again."""
    weights, state = make(cell, 3, 16)
    x = numbers(3, 4, E, seed=9)
    first, _ = classic_scan(cell, x, None, state, **weights)
    second, _ = classic_scan(cell, x * 0.5, None, state, **weights)
    hh = weights["weight_hh"]
    both_of, again = (torch.autograd.grad((first * second).sum(), hh, retain_graph=True)[0] for _ in range(2))
    parts = [torch.autograd.grad((a * b.detach()).sum(), hh, retain_graph=True)[0] for a, b in ((first, second), (second, first))]
    assert torch.equal(both_of, again)
    torch.testing.assert_close(both_of, parts[0] + parts[1], rtol=1e-12, atol=1e-12)


def test_what_wants_no_gradient_gets_none(cell: str) -> None:
    """Any one argument alone may be learnt: its gradient is the same as among all. A loss of the last state alone reaches all."""
    weights, state = make(cell, 3, 16)
    x = numbers(3, 4, E, seed=9)
    leaves = {"x": x, **weights, "h": state[0]}
    _, last = classic_scan(cell, x, None, state, **weights)
    every = dict(zip(leaves, torch.autograd.grad(last[-1].square().sum(), list(leaves.values())), strict=True))
    for wanted in leaves:
        alone = {name: one.detach().clone().requires_grad_(name == wanted) for name, one in leaves.items()}
        begun = (alone.pop("h"), *(one.detach() for one in state[1:]))
        _, last = classic_scan(cell, alone.pop("x"), None, begun, **alone)
        target = {**alone, "h": begun[0]}.get(wanted)
        if target is not None:
            torch.testing.assert_close(torch.autograd.grad(last[-1].square().sum(), target)[0], every[wanted], rtol=1e-12, atol=1e-12)
    assert all(one.abs().max() > 0 for one in every.values())


def test_without_gradients_nothing_is_kept(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under no_grad and in inference mode outputs and states are the same, and only two states take room."""
    weights, state = make(cell, 3, 16, torch.float32)
    x = numbers(3, 9, E, seed=9, dtype=torch.float32)
    expected = classic_scan(cell, x, None, state, **weights)
    rooms: list[int] = []
    room = kernels.room
    monkeypatch.setattr(kernels, "room", lambda *shape, dtype: rooms.append(shape[0]) or room(*shape, dtype=dtype))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            met = classic_scan(cell, x, None, state, **weights)
        assert not met[0].requires_grad
        torch.testing.assert_close(met[0], expected[0].detach(), rtol=0, atol=0)
        torch.testing.assert_close(met[1], tuple(one.detach() for one in expected[1]), rtol=0, atol=0)
    assert rooms == [2, 3] * 2


def test_an_id_that_is_none_is_refused() -> None:
    """Ids are looked up without being looked at: they are held to the table before."""
    weights, state = make("gru", 1, 16)
    for odd in (-1, V):
        with pytest.raises(IndexError, match=f"{V} symbols"):
            classic_scan("gru", numbers(V, E, seed=9), torch.tensor([[0, odd]]), state, **weights)


NETWORKS = {
    "gru": ModelSettings(cell="gru", embedding_dim=E, hidden_size=16, num_layers=2),
    "one-hot lstm": ModelSettings(cell="lstm", embedding_dim=None, hidden_size=16, num_layers=2),
    "rnn": ModelSettings(cell="rnn", embedding_dim=E, hidden_size=16),
    "rnn of sigmoids": ModelSettings(cell="rnn", activation="sigmoid", embedding_dim=16, hidden_size=16, tied=True),
    "stack of gru": ModelSettings(cell="gru", residual=True, embedding_dim=E, hidden_size=16, num_layers=2),
}


@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS)
def test_a_network_learns_the_same_with_it(settings: ModelSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits, states and gradients of whole networks, against the same without native code; it is taken, and of ids where it can be."""
    if _native.level() == "plain":
        pytest.skip("there PyTorch's own loops are taken")
    taken: list[str] = []
    scan = cells.classic_scan
    monkeypatch.setattr(cells, "classic_scan", lambda *a: taken.append("vectors" if a[2] is None else "ids") or scan(*a))
    ids_BT = torch.randint(V, (5, 8), generator=torch.Generator().manual_seed(5))
    net = LanguageModel(V, settings, seed=2)
    results = []
    for native in ("", "off"):
        monkeypatch.setenv("ESCRIBA_NATIVE", native)
        logits_BTV, state = net(ids_BT)
        loss = logits_BTV.square().sum() + sum(one.sum() for layer in state for one in layer)
        results.append((logits_BTV.detach(), *torch.autograd.grad(loss, list(net.parameters()))))
    assert taken == ["vectors" if settings.residual else "ids", *["vectors"] * (settings.num_layers - 1)]
    for met, wanted in zip(*results, strict=True):
        torch.testing.assert_close(met, wanted, rtol=1e-4, atol=1e-5)
