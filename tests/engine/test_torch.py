"""What only the PyTorch engine can get wrong: modes, gradients, dropout, states of its own."""

from __future__ import annotations

import numpy as np
import pytest
from implementations import ARCHITECTURES, VOCAB_SIZE, tiny_weights

from escriba.engine.sampling import Sampling

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from escriba.engine.torch import TorchEngine  # noqa: E402
from escriba.model.language_model import LanguageModel  # noqa: E402


@pytest.fixture
def net() -> LanguageModel:
    """A network with dropout, in training."""
    model = ARCHITECTURES["gru-after-tied-dropout"]
    net = LanguageModel(VOCAB_SIZE, model)
    net.set_weights(tiny_weights(model))
    return net.train()


def test_nothing_is_dropped_and_modes_stay(net: LanguageModel) -> None:
    """A call gives the same twice although the network trains with dropout, and leaves every part in its own mode."""
    net.dropout.eval()
    modes = [module.training for module in net.modules()]
    net.dropout.train()
    engine = TorchEngine(net)
    ids = np.arange(6)[None, :]
    one, _ = engine.advance(ids, engine.initial_state(1))
    other, _ = engine.advance(ids, engine.initial_state(1))
    np.testing.assert_array_equal(one, other)
    assert all(module.training for module in net.modules())
    net.dropout.eval()
    engine.write([1], engine.initial_state(1), [Sampling()], [[0.5]])
    assert [module.training for module in net.modules()] == modes


def test_modes_stay_after_an_error(net: LanguageModel) -> None:
    """A call that fails leaves the network in training too."""
    engine = TorchEngine(net)
    with pytest.raises(RuntimeError):
        engine.step([1], ((np.zeros((1, 2)),),))
    assert all(module.training for module in net.modules())


def test_the_engine_follows_the_network(net: LanguageModel) -> None:
    """What the network has learnt between two calls shows in the second, and a call leaves no gradient behind."""
    engine = TorchEngine(net)
    before, _ = engine.step([1], engine.initial_state(1))
    assert all(parameter.grad is None for parameter in net.parameters())
    with torch.no_grad():
        net.output.bias += torch.arange(VOCAB_SIZE)
    after, _ = engine.step([1], engine.initial_state(1))
    np.testing.assert_allclose(after - before, np.arange(VOCAB_SIZE)[None, :], atol=1e-4)
    loss = net(torch.ones(1, 3, dtype=torch.long))[0].sum()
    loss.backward()  # the calls above left no tensor of inference in the network
    assert net.output.bias.grad is not None


def test_bfloat16_becomes_float32(net: LanguageModel) -> None:
    """A network in a precision that NumPy lacks gives float32."""
    engine = TorchEngine(net.to(torch.bfloat16))
    logits, state = engine.step([1], engine.initial_state(1))
    assert logits.dtype == np.float32
    assert state[0][0].dtype == np.float32
    logits, _ = engine.step([1], state)
    assert np.isfinite(logits).all()
