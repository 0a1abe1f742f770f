"""Several models as one engine: what comes out is the mean of their probabilities; what does not fit together is refused."""

from __future__ import annotations

import numpy as np
import pytest
from implementations import VOCAB_SIZE, tiny_engine

from escriba.engine.mixture import Mixture
from escriba.engine.sampling import Sampling, log_softmax
from escriba.errors import SettingsError


@pytest.fixture
def members() -> list:
    """Three models of other kinds, sizes and weights."""
    return [tiny_engine(seed=1), tiny_engine(seed=2, architecture="lstm-onehot-2"), tiny_engine(seed=3, architecture="stack-mingru-3")]


def test_it_says_the_mean_of_the_probabilities(members: list) -> None:
    """At every place, as each member says them alone with a state of its own."""
    ids_BT = np.random.default_rng(1).integers(0, VOCAB_SIZE, (2, 30))
    mixture = Mixture(members)
    logits, _ = mixture.advance(ids_BT, mixture.initial_state(2))
    alone = [np.exp(log_softmax(one.advance(ids_BT, one.initial_state(2))[0])) for one in members]
    np.testing.assert_allclose(np.exp(logits), np.mean(alone, axis=0), rtol=1e-12)
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1.0, rtol=1e-12)


def test_it_never_foretells_worse_than_the_mean_of_its_members(members: list) -> None:
    """The logarithm of a mean is at least the mean of the logarithms."""
    ids_BT = np.random.default_rng(2).integers(0, VOCAB_SIZE, (2, 40))
    inputs, targets = ids_BT[:, :-1], ids_BT[:, 1:]
    losses = [-one.read(inputs, targets, one.initial_state(2))[0].log_probs for one in (Mixture(members), *members)]
    assert (losses[0] <= np.mean(losses[1:], axis=0) + 1e-12).all()
    assert losses[0].mean() < np.mean(losses[1:])


def test_one_member_is_what_it_is_alone(members: list) -> None:
    """The same text is drawn."""
    one, uniforms = members[0], np.random.default_rng(3).random((2, 50))
    alone = one.write([1, 2], one.initial_state(2), [Sampling()] * 2, uniforms)
    mixed = Mixture([one]).write([1, 2], one.initial_state(2), [Sampling()] * 2, uniforms)
    np.testing.assert_array_equal(mixed[0], alone[0])
    np.testing.assert_allclose(mixed[1], alone[1], atol=1e-12)


@pytest.mark.parametrize("sizes", [(), (13, 14)])
def test_engines_that_do_not_fit_together_are_refused(sizes: tuple[int, ...]) -> None:
    """None at all, or of other numbers of symbols."""
    with pytest.raises(SettingsError, match="same symbols"):
        Mixture([tiny_engine(size) for size in sizes])


def test_a_state_of_another_model_is_refused(members: list) -> None:
    """Such as that of one member."""
    with pytest.raises(SettingsError, match="not of this model"):
        Mixture(members).step([1], members[0].initial_state(1))


def test_precision_is_that_of_the_rounded() -> None:
    """One rounded member makes rounded numbers."""
    exact, rounded = tiny_engine(), tiny_engine(seed=2)
    rounded.precision = "int8"
    assert Mixture([exact, exact]).precision == "float32"
    assert Mixture([exact, rounded]).precision == "int8"
