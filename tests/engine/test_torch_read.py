"""Reading with the PyTorch engine: what the default of all engines finds, in pieces of time and rows that nobody notices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from implementations import ARCHITECTURES, VOCAB_SIZE, random_state, tiny_weights

from escriba.engine.protocol import Engine
from escriba.errors import EscribaError, SettingsError

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import escriba.engine.torch as module  # noqa: E402
from escriba.engine.torch import TorchEngine  # noqa: E402
from escriba.model.language_model import LanguageModel  # noqa: E402

B, T = 5, 40


def engine_of(architecture: str, dtype: torch.dtype = torch.float64) -> TorchEngine:
    """A random network in training, so that what a call must switch off is on."""
    net = LanguageModel(VOCAB_SIZE, ARCHITECTURES[architecture])
    net.set_weights(tiny_weights(ARCHITECTURES[architecture]))
    return TorchEngine(net.to(dtype).train())


def some_ids(seed: int) -> np.ndarray:
    """Random ids (B, T)."""
    return np.random.default_rng(seed).integers(0, VOCAB_SIZE, (B, T))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("most", [None, 7, 100])
def test_read_is_the_default(architecture: str, most: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log-probabilities, ranks, the likeliest and the state are those of `Engine.read`, also where rows and time are cut small."""
    engine, model = engine_of(architecture), ARCHITECTURES[architecture]
    state = random_state(engine, model, B)
    wanted, wanted_state = Engine.read(engine, some_ids(1), some_ids(2), state, ranks=True, top=3)
    if most is not None:
        monkeypatch.setattr(module, "_MOST_NUMBERS", most)
    found, after = engine.read(some_ids(1), some_ids(2), state, ranks=True, top=3)
    np.testing.assert_allclose(found.log_probs, wanted.log_probs, atol=1e-12)
    np.testing.assert_array_equal(found.ranks, wanted.ranks)
    np.testing.assert_array_equal(found.top_ids, wanted.top_ids)
    np.testing.assert_allclose(found.top_log_probs, wanted.top_log_probs, atol=1e-12)
    for one, other in zip(sum(after, ()), sum(wanted_state, ()), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    assert found.log_probs.dtype == np.float64
    assert engine.net.training
    plain, _ = engine.read(some_ids(1), some_ids(2), state)
    assert plain[1:] == (None, None, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_symbols_sum_to_one(dtype: torch.dtype) -> None:
    """The probabilities of all that may come next sum to one, from a state that is not zero."""
    engine = engine_of("gru-after", dtype)
    state = random_state(engine, ARCHITECTURES["gru-after"], VOCAB_SIZE)
    same = tuple(tuple(np.repeat(array[:1], VOCAB_SIZE, axis=0) for array in layer) for layer in state)
    found, _ = engine.read(np.full((VOCAB_SIZE, 1), 3), np.arange(VOCAB_SIZE)[:, None], same, ranks=True)
    assert abs(np.exp(found.log_probs).sum() - 1) < (1e-6 if dtype == torch.float32 else 1e-12)
    assert found.ranks is not None
    assert sorted(found.ranks[:, 0]) == list(range(1, VOCAB_SIZE + 1))


def test_equals_are_ranked_by_id() -> None:
    """Where all symbols are as likely, the lower id comes first, in ranks and among the likeliest."""
    engine = engine_of("gru-after")
    with torch.no_grad():
        engine.net.output.weight.zero_()
        engine.net.output.bias.zero_()
    found, _ = engine.read(some_ids(1), some_ids(2), engine.initial_state(B), ranks=True, top=4)
    np.testing.assert_array_equal(found.ranks, some_ids(2) + 1)
    assert found.top_ids is not None
    np.testing.assert_array_equal(found.top_ids[2, 7], [0, 1, 2, 3])


def test_a_piece_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither logits nor gates of a piece are more numbers than the bound, unless one step of one row is."""
    engine = engine_of("gru-after", torch.float32)
    most, sizes = 3 * VOCAB_SIZE, []
    forward: Callable[..., tuple[torch.Tensor, object]] = LanguageModel.forward

    def watched(self: LanguageModel, *arguments: object) -> tuple[torch.Tensor, object]:
        given = forward(self, *arguments)
        sizes.append(given[0].numel())
        return given

    monkeypatch.setattr(LanguageModel, "forward", watched)
    monkeypatch.setattr(module, "_MOST_NUMBERS", most)
    engine.read(some_ids(1), some_ids(2), engine.initial_state(B))
    assert max(sizes) <= most
    assert sum(sizes) == B * T * VOCAB_SIZE


def test_faults_are_told() -> None:
    """Weights gone astray, and ids that are none, are errors in words."""
    engine = engine_of("gru-after")
    with pytest.raises(SettingsError, match="id 99"):
        engine.read([[99]], [[1]], engine.initial_state(1))
    with pytest.raises(SettingsError, match="id 98"):
        engine.read([[1]], [[98]], engine.initial_state(1))
    with torch.no_grad():
        engine.net.output.bias[3] = float("nan")
    with pytest.raises(EscribaError, match="not finite"):
        engine.read([[1]], [[1]], engine.initial_state(1))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("most", [None, 100])
def test_feed_is_the_default(architecture: str, most: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is that of `Engine.feed`, also where time is cut small, and of no symbols at all."""
    if most is not None:
        monkeypatch.setattr(module, "_MOST_NUMBERS", most)
    engine, ids_BT = engine_of(architecture), some_ids(5)
    state = random_state(engine, ARCHITECTURES[architecture], B)
    for ids in (ids_BT, ids_BT[:, :0]):
        for met, wanted in zip(engine.feed(ids, state), Engine.feed(engine, ids, state), strict=True):
            for one, other in zip(met, wanted, strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
