"""Everything that the law tests run over: small architectures, random weights for them, and every engine that runs them.

Plain data and builders, without tests; the tests of engines and of inference use them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from escriba.engine.mixture import Mixture
from escriba.engine.protocol import Engine, State
from escriba.engine.reference import ReferenceEngine
from escriba.settings import ModelSettings
from escriba.weights import state_specs, tensor_specs

VOCAB_SIZE = 13

ARCHITECTURES: Mapping[str, ModelSettings] = {
    "rnn": ModelSettings(cell="rnn", embedding_dim=5, hidden_size=9),
    "rnn-relu-2": ModelSettings(cell="rnn", activation="relu", embedding_dim=5, hidden_size=9, num_layers=2),
    "rnn-sigmoid-onehot": ModelSettings(cell="rnn", activation="sigmoid", embedding_dim=None, hidden_size=9),
    "gru-after": ModelSettings(cell="gru", embedding_dim=5, hidden_size=9),
    "gru-after-onehot-3": ModelSettings(cell="gru", embedding_dim=None, hidden_size=9, num_layers=3),
    "gru-after-tied-dropout": ModelSettings(cell="gru", embedding_dim=9, hidden_size=9, tied=True, dropout=0.5),
    "gru-before": ModelSettings(cell="gru", reset="before", embedding_dim=5, hidden_size=9),
    "gru-before-onehot-2": ModelSettings(cell="gru", reset="before", embedding_dim=None, hidden_size=9, num_layers=2),
    "lstm": ModelSettings(cell="lstm", embedding_dim=5, hidden_size=9),
    "lstm-onehot-2": ModelSettings(cell="lstm", embedding_dim=None, hidden_size=9, num_layers=2),
    "lstm-tied-2": ModelSettings(cell="lstm", embedding_dim=9, hidden_size=9, num_layers=2, tied=True),
    "mingru": ModelSettings(cell="mingru", embedding_dim=5, hidden_size=9),
    "mingru-2-onehot": ModelSettings(cell="mingru", embedding_dim=None, hidden_size=9, num_layers=2),
    "ngram": ModelSettings(cell="ngram", embedding_dim=5, hidden_size=9),
    "ngram-1": ModelSettings(cell="ngram", window=1, embedding_dim=5, hidden_size=9),
    "ngram-5-tanh-2": ModelSettings(cell="ngram", window=5, activation="tanh", embedding_dim=5, hidden_size=9, num_layers=2),
    "ngram-onehot": ModelSettings(cell="ngram", embedding_dim=None, hidden_size=9),
    "ngram-5-onehot-relu-2": ModelSettings(cell="ngram", window=5, activation="relu", embedding_dim=None, hidden_size=9, num_layers=2),
    "ngram-codes": ModelSettings(cell="ngram", codes=True, hidden_size=9),
    "ngram-5-codes-2": ModelSettings(cell="ngram", window=5, codes=True, embedding_dim=None, hidden_size=9, num_layers=2),
    "ngram-tied-dropout": ModelSettings(cell="ngram", embedding_dim=9, hidden_size=9, tied=True, dropout=0.5),
    "stack-rnn": ModelSettings(cell="rnn", residual=True, embedding_dim=9, hidden_size=9),
    "stack-gru-2": ModelSettings(cell="gru", residual=True, embedding_dim=5, hidden_size=9, num_layers=2),
    "stack-gru-before-noconv": ModelSettings(cell="gru", reset="before", residual=True, conv=None, embedding_dim=9, hidden_size=9),
    "stack-lstm-onehot-2": ModelSettings(cell="lstm", residual=True, embedding_dim=None, hidden_size=9, num_layers=2),
    "stack-mingru-3": ModelSettings(cell="mingru", residual=True, embedding_dim=9, hidden_size=9, num_layers=3),
    "stack-mingru-nothing-beside": ModelSettings(cell="mingru", residual=True, conv=None, mlp=None, embedding_dim=5, hidden_size=9),
    "stack-mingru-conv1-onehot-2": ModelSettings(
        cell="mingru", residual=True, conv=1, mlp=1, embedding_dim=None, hidden_size=9, num_layers=2
    ),
    "stack-mingru-tied-dropout-2": ModelSettings(
        cell="mingru", residual=True, tied=True, dropout=0.5, embedding_dim=9, hidden_size=9, num_layers=2
    ),
    "stack-mingru-16-2": ModelSettings(cell="mingru", residual=True, embedding_dim=16, hidden_size=16, num_layers=2),
    "stack-ngram-2": ModelSettings(cell="ngram", residual=True, embedding_dim=5, hidden_size=9, num_layers=2),
}
"""Every cell, with each of its variants, each kind of input and output, and more layers than one; and each in a residual stack."""


def tiny_weights(model: ModelSettings, vocab_size: int = VOCAB_SIZE, seed: int = 0) -> dict[str, np.ndarray]:
    """Random float32 weights, wide enough for gates to open and close, and contractive enough for long runs to be compared."""
    random = np.random.default_rng(seed)
    weights = {}
    for spec in tensor_specs(model, vocab_size):
        width = {"weight_hh": 0.4, "bias": 0.5}.get(spec.name.rpartition(".")[2], 0.9)
        weights[spec.name] = random.uniform(-width, width, spec.shape).astype(np.float32)
    return weights


def _reference(dtype: type[np.floating]) -> Callable[[ModelSettings, Mapping[str, np.ndarray]], Engine]:
    return lambda model, weights: ReferenceEngine(model, weights, dtype=dtype)


def _torch(precision: str) -> Callable[[ModelSettings, Mapping[str, np.ndarray]], Engine]:
    def build(model: ModelSettings, weights: Mapping[str, np.ndarray]) -> Engine:
        import pytest

        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        from escriba.engine.torch import TorchEngine
        from escriba.model.language_model import LanguageModel

        net = LanguageModel(len(weights["output.bias"]), model)
        net.set_weights(dict(weights))
        return TorchEngine(net.to(getattr(torch, precision)))

    return build


def _mixture(model: ModelSettings, weights: Mapping[str, np.ndarray]) -> Engine:
    """Two of the same: their mean is what each of them says."""
    return Mixture([ReferenceEngine(model, weights, dtype=np.float64) for _ in range(2)])


def _native() -> Callable[[ModelSettings, Mapping[str, np.ndarray]], Engine]:
    def build(model: ModelSettings, weights: Mapping[str, np.ndarray]) -> Engine:
        import pytest

        from escriba import _native

        if _native.library() is None:
            pytest.skip("there is no native code here")
        from escriba.engine.native import NativeEngine

        return NativeEngine(model, len(weights["output.bias"]), weights)

    return build


ENGINES: Mapping[str, Callable[[ModelSettings, Mapping[str, np.ndarray]], Engine]] = {
    "reference-float32": _reference(np.float32),
    "reference-float64": _reference(np.float64),
    "native-float32": _native(),
    "mixture-float64": _mixture,
    "torch-float32": _torch("float32"),
    "torch-float64": _torch("float64"),
}
"""Every engine, as (model, weights) -> Engine."""


def random_state(engine: Engine, model: ModelSettings, batch_size: int, seed: int = 1) -> State:
    """A state that is not zero, as after some reading."""
    random = np.random.default_rng(seed)
    start, specs = engine.initial_state(1), state_specs(model, VOCAB_SIZE)
    kind = start[0][0].dtype
    one = tuple(tuple(random.uniform(-0.9, 0.9, (batch_size, spec.size)).astype(kind) for spec in layer) for layer in specs)
    return one * (len(start) // len(one))  # once for each member of a mixture


def tiny_engine(
    vocab_size: int = VOCAB_SIZE, seed: int = 0, dtype: type[np.floating] = np.float32, architecture: str = "gru-after"
) -> Engine:
    """A reference engine with random weights, for tests that need any engine."""
    model = ARCHITECTURES[architecture]
    weights = tiny_weights(model, vocab_size, seed)
    weights["output.weight"] *= 4  # the past shows in what is drawn
    return ReferenceEngine(model, weights, dtype=dtype)
