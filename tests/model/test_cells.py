"""The law of layers: a scan is the step folded over time, forward and backward, from any state and at any split."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from escriba.model import cells
from escriba.model.cells import CELLS, LONGEST_MEMORY, CellLayer, LayerState, MingruLayer, NgramLayer, RecurrentLayer
from escriba.settings import ModelSettings

B, T, E, H = 3, 40, 5, 8

VARIANTS = {
    "rnn-tanh": ModelSettings(cell="rnn", hidden_size=H),
    "rnn-relu": ModelSettings(cell="rnn", hidden_size=H, activation="relu"),
    "rnn-sigmoid": ModelSettings(cell="rnn", hidden_size=H, activation="sigmoid"),
    "gru-after": ModelSettings(cell="gru", hidden_size=H),
    "gru-before": ModelSettings(cell="gru", hidden_size=H, reset="before"),
    "lstm": ModelSettings(cell="lstm", hidden_size=H),
    "mingru": ModelSettings(cell="mingru", hidden_size=H),
    "ngram-1": ModelSettings(cell="ngram", hidden_size=H, window=1),
    "ngram-3": ModelSettings(cell="ngram", hidden_size=H),
    "ngram-5-tanh": ModelSettings(cell="ngram", hidden_size=H, window=5, activation="tanh"),
    "ngram-longer": ModelSettings(cell="ngram", hidden_size=H, window=T + 5, activation="relu"),
}
RECURRENT = {name: settings for name, settings in VARIANTS.items() if settings.cell != "ngram"}


def test_every_cell_is_under_the_law() -> None:
    """No cell of the registry is left out of the variants below."""
    assert {settings.cell for settings in VARIANTS.values()} == set(CELLS)


@pytest.fixture(params=VARIANTS)
def settings(request: pytest.FixtureRequest) -> ModelSettings:
    """Every cell with every variant."""
    return VARIANTS[request.param]


def make(settings: ModelSettings, dtype: torch.dtype) -> tuple[CellLayer, Tensor, LayerState]:
    """A layer with weights of every kind, inputs, and a state that is not zero."""
    random = torch.Generator().manual_seed(3)
    layer = CELLS[settings.cell](settings, E)
    layer.reset_parameters(random)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("bias"):
                parameter += torch.empty_like(parameter).uniform_(-0.5, 0.5, generator=random)
    x_BTE = torch.randn(B, T, E, generator=random, dtype=torch.float64).to(dtype)
    state = tuple(torch.empty(B, size, dtype=torch.float64).uniform_(-0.9, 0.9, generator=random).to(dtype) for size in layer.state_sizes)
    return layer.to(dtype), x_BTE, state


def folded(layer: CellLayer, x_BTE: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
    """The steps one by one."""
    outputs = []
    for x_BE in x_BTE.unbind(1):
        h_BH, state = layer.step(x_BE, state)
        outputs.append(h_BH)
    return torch.stack(outputs, 1), state


def splits(seed: int) -> Iterator[tuple[int, int]]:
    """Random pieces of the time, some of one symbol."""
    cuts = np.random.default_rng(seed).choice(np.arange(1, T), size=seed + 1, replace=False)
    return itertools.pairwise([0, *sorted(cuts.tolist()), T])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"])
def test_scan_is_step_folded(settings: ModelSettings, dtype: torch.dtype, tolerance: float) -> None:
    """From a state that is not zero, scans of random pieces give the outputs and the state of the steps one by one."""
    layer, x_BTE, state = make(settings, dtype)
    with torch.no_grad():
        expected, expected_state = folded(layer, x_BTE, state)
        for seed in range(4):
            pieces, after = [], state
            for begin, end in splits(seed):
                piece, after = layer.scan(x_BTE[:, begin:end], after)
                assert piece.shape == (B, end - begin, H)
                pieces.append(piece)
            torch.testing.assert_close(torch.cat(pieces, 1), expected, rtol=tolerance, atol=tolerance)
            assert len(after) == len(layer.state_sizes)
            for met, wanted in zip(after, expected_state, strict=True):
                torch.testing.assert_close(met, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("settings", RECURRENT.values(), ids=RECURRENT)
def test_the_output_is_the_first_of_the_state(settings: ModelSettings) -> None:
    """The last output of a scan, and the output of a step, is the h of the state, where a layer recurs."""
    layer, x_BTE, state = make(settings, torch.float64)
    outputs, after = layer.scan(x_BTE, state)
    torch.testing.assert_close(outputs[:, -1], after[0], rtol=0, atol=0)
    output, after = layer.step(x_BTE[:, 0], state)
    torch.testing.assert_close(output, after[0], rtol=0, atol=0)


def test_gradients_of_a_scan_are_those_of_the_steps(settings: ModelSettings) -> None:
    """The gradients to every weight, to the inputs and to the first state agree to 1e-10, the last state counted too."""
    layer, x_BTE, state = make(settings, torch.float64)
    random = torch.Generator().manual_seed(4)
    weigh = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in ((B, T, H), *((B, size) for size in layer.state_sizes))]

    def gradients(outputs: Tensor, after: LayerState, leaves: list[Tensor]) -> tuple[Tensor, ...]:
        loss = sum((one * weight).sum() for one, weight in zip((outputs, *after), weigh, strict=True))
        return torch.autograd.grad(loss, [*layer.parameters(), *leaves])

    leaves = [one.clone().requires_grad_() for one in (x_BTE, *state)]
    scanned = gradients(*layer.scan(leaves[0], tuple(leaves[1:])), leaves)
    stepped = gradients(*folded(layer, leaves[0], tuple(leaves[1:])), leaves)
    names = [name for name, _ in layer.named_parameters()] + ["x", "h", "c"]
    for name, met, wanted in zip(names, scanned, stepped, strict=False):
        if wanted.numel() == 0:  # a window of one symbol has no state
            continue
        assert wanted.abs().max() > 1e-3, f"the comparison of {name} would see nothing"
        torch.testing.assert_close(met, wanted, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


def test_rows_do_not_know_each_other(settings: ModelSettings) -> None:
    """What one row reads changes nothing for another."""
    layer, x_BTE, state = make(settings, torch.float64)
    before, _ = layer.scan(x_BTE, state)
    x_BTE[0] += 1.0
    after, _ = layer.scan(x_BTE, state)
    torch.testing.assert_close(after[1:], before[1:], rtol=0, atol=1e-14)
    assert (after[0] - before[0]).abs().max() > 1e-3


def test_first_weights(settings: ModelSettings) -> None:
    """The input's weights keep to Glorot's bound for all that they see at once, the recurrent ones are orthogonal, biases zero but the
    lstm's forget gate, which is 1, and the gates of mingru's units with a long memory.
    """
    layer = CELLS[settings.cell](settings, E)
    layer.reset_parameters(torch.Generator().manual_seed(1))
    rows, seen = layer.weight_ih.shape
    assert seen == E * (settings.window if settings.cell == "ngram" else 1)
    bound = (6.0 / (rows + seen)) ** 0.5
    assert 0.8 * bound < layer.weight_ih.abs().max() <= bound
    if isinstance(layer, RecurrentLayer):
        torch.testing.assert_close(layer.weight_hh.T @ layer.weight_hh, torch.eye(H), rtol=0, atol=1e-5)
    for name, parameter in layer.named_parameters():
        if name.startswith("bias"):
            expected = torch.zeros(rows)
            if settings.cell == "lstm":
                expected[H : 2 * H] = 1.0
            if settings.cell == "mingru":
                expected[: H // 4] = parameter.detach()[: H // 4]
            torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=0)


def test_a_quarter_of_the_units_remember_for_long() -> None:
    """A gate that lets 1/t in forgets in t symbols: of 400 units, 100 start with a t from 2 to 256, as many below 23 as above."""
    layer = MingruLayer(ModelSettings(cell="mingru", hidden_size=400), E)
    layer.reset_parameters(torch.Generator().manual_seed(1))
    t = 1.0 / torch.sigmoid(layer.input_bias().detach()[:400])
    assert 2.0 <= t[:100].min() < 2.5
    assert 200.0 < t[:100].max() <= LONGEST_MEMORY * (1 + 1e-4)
    assert 35 <= int((t[:100] < 2.0 * 128**0.5).sum()) <= 65
    assert bool((t[100:] == 2.0).all())


def test_a_window_forgets() -> None:
    """An ngram's output is that of its matrix by the inputs in its window, the oldest first, and of nothing before them."""
    layer, x_BTE, state = make(VARIANTS["ngram-3"], torch.float64)
    assert isinstance(layer, NgramLayer)
    outputs, after = layer.scan(x_BTE, state)
    for t in (2, 7, T - 1):
        seen = torch.cat([x_BTE[:, t - 2], x_BTE[:, t - 1], x_BTE[:, t]], -1)
        torch.testing.assert_close(outputs[:, t], torch.sigmoid(seen @ layer.weight_ih.T + layer.input_bias()), rtol=0, atol=1e-12)
    torch.testing.assert_close(after[0], torch.cat([x_BTE[:, -2], x_BTE[:, -1]], -1), rtol=0, atol=0)


def test_the_first_state_is_zero(settings: ModelSettings) -> None:
    """A layer begins with zeros in its weights' precision: for each state (B, H), or all that a window sees but the newest."""
    layer = CELLS[settings.cell](settings, E).double()
    state = layer.initial_state(B)
    sizes = {"lstm": [H, H], "ngram": [(settings.window - 1) * E]}.get(settings.cell, [H])
    assert [tuple(one.shape) for one in state] == [(B, size) for size in sizes]
    assert all(one.dtype == torch.float64 for one in state)
    assert all(not one.any() for one in state)


@pytest.mark.parametrize("fused", [None, False], ids=["as here", "without a fused loop"])
def test_scan_is_step_folded_in_bf16(settings: ModelSettings, fused: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With products in bfloat16 a scan works on every processor, forward and back, and gives what the steps give, to bfloat16's own."""
    if fused is not None:
        monkeypatch.setattr(cells, "fused_lstm_does_bf16", lambda: fused)
    layer, x_BTE, state = make(settings, torch.float32)
    expected, expected_state = folded(layer, x_BTE, state)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, after = layer.scan(x_BTE, state)
    for met, wanted in zip((outputs, *after), (expected, *expected_state), strict=True):
        torch.testing.assert_close(met.float(), wanted, rtol=0.05, atol=0.05)
    assert not torch.equal(outputs.float(), expected)
    sum(one.float().sum() for one in (outputs, *after)).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_the_fused_loop_is_tried_once() -> None:
    """Whether it does bfloat16 is found by trying it, also where no gradients are wanted; in float32 nobody asks."""
    cells.fused_lstm_does_bf16.cache_clear()
    layer, x_BTE, state = make(VARIANTS["lstm"], torch.float32)
    layer.scan(x_BTE, state)
    assert cells.fused_lstm_does_bf16.cache_info().misses == 0
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            layer.scan(x_BTE, state)
    assert cells.fused_lstm_does_bf16.cache_info().misses == 1
