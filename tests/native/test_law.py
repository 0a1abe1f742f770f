"""The law of engines at every level of this processor, without PyTorch: what is tried of each wheel on the system that it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from escriba import _native
from escriba.engine.reference import ReferenceEngine
from escriba.engine.sampling import Sampling
from escriba.settings import ModelSettings
from escriba.weights import tensor_specs

if _native.library() is None:
    pytest.skip(f"needs the native code: {_native.why_missing()}", allow_module_level=True)

from escriba.engine.native import NativeEngine

V = 27
SHAPES: dict[str, dict[str, Any]] = {
    "rnn": {"cell": "rnn", "embedding_dim": None, "hidden_size": 20},
    "gru": {"cell": "gru", "embedding_dim": 12, "hidden_size": 37, "num_layers": 2},
    "lstm": {"cell": "lstm", "embedding_dim": 12, "hidden_size": 32},
    "stack": {"cell": "mingru", "residual": True, "embedding_dim": 32, "hidden_size": 32, "num_layers": 2},
}


@pytest.mark.parametrize("level", _native.levels())
@pytest.mark.parametrize("shape", SHAPES)
def test_native_and_reference_agree(shape: str, level: str) -> None:
    """`advance` in float32 gives the reference's log-probabilities; `write` draws the same symbols but where one is at a boundary."""
    settings = ModelSettings(**SHAPES[shape])
    dice = np.random.default_rng(4)
    weights = {one.name: (dice.normal(0, 0.3, one.shape)).astype(np.float32) for one in tensor_specs(settings, V)}
    reference = ReferenceEngine(settings, weights)
    native = NativeEngine(settings, V, weights, level=level)
    ids = dice.integers(0, V, (3, 40))
    expected, state = reference.advance(ids, reference.initial_state(3))
    met, native_state = native.advance(ids, native.initial_state(3))
    np.testing.assert_allclose(met, expected, rtol=0, atol=2e-4)
    uniforms = dice.random((3, 40))
    written = reference.write(ids[:, 0], state, [Sampling()] * 3, uniforms)[0]
    assert (native.write(ids[:, 0], native_state, [Sampling()] * 3, uniforms)[0] == written).all()
