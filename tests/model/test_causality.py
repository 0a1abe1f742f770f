"""No prediction sees what it predicts: shown by gradients, exactly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from escriba.model.language_model import LanguageModel
from escriba.settings import ModelSettings

V, T = 11, 7

NETWORKS = {
    "rnn": ModelSettings(cell="rnn", embedding_dim=6, hidden_size=8),
    "rnn-sigmoid-2": ModelSettings(cell="rnn", activation="sigmoid", embedding_dim=6, hidden_size=8, num_layers=2),
    "gru-after-2": ModelSettings(cell="gru", embedding_dim=6, hidden_size=8, num_layers=2),
    "gru-before-onehot": ModelSettings(cell="gru", reset="before", embedding_dim=None, hidden_size=8),
    "lstm-2": ModelSettings(cell="lstm", embedding_dim=6, hidden_size=8, num_layers=2),
    "lstm-tied": ModelSettings(cell="lstm", embedding_dim=8, hidden_size=8, tied=True),
    "mingru-2": ModelSettings(cell="mingru", embedding_dim=6, hidden_size=8, num_layers=2),
    "stack-mingru-2": ModelSettings(cell="mingru", residual=True, embedding_dim=6, hidden_size=8, num_layers=2),
    "stack-mingru-onehot": ModelSettings(cell="mingru", residual=True, embedding_dim=None, hidden_size=8),
    "stack-gru-2": ModelSettings(cell="gru", residual=True, embedding_dim=6, hidden_size=8, num_layers=2),
    "stack-ngram-2": ModelSettings(cell="ngram", window=2, residual=True, conv=2, embedding_dim=6, hidden_size=8, num_layers=2),
    "ngram-1": ModelSettings(cell="ngram", window=1, embedding_dim=6, hidden_size=8),
    "ngram-3": ModelSettings(cell="ngram", window=3, embedding_dim=6, hidden_size=8),
    "ngram-3-2": ModelSettings(cell="ngram", window=3, embedding_dim=6, hidden_size=8, num_layers=2),
    "ngram-5-onehot": ModelSettings(cell="ngram", window=5, embedding_dim=None, hidden_size=8),
    "ngram-3-codes": ModelSettings(cell="ngram", window=3, codes=True, hidden_size=8),
}


def reach(settings: ModelSettings) -> int:
    """How many inputs a position's logits see, its own included: all for what recurs, for an ngram its windows and its convolutions'."""
    convolved = (settings.conv or 1) - 1 if settings.residual else 0
    return 1 + settings.num_layers * (settings.window - 1 + convolved) if settings.cell == "ngram" else T


@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS.keys())
def test_logits_depend_on_the_past_alone(settings: ModelSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of a position's logits to what comes later, to other rows and to what lies before an ngram's window is exactly zero;
    to each input that it may see, it is not.
    """
    net = LanguageModel(V, settings, seed=2).double()
    ids_BT = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(5))
    inputs_BTE = net.embed(ids_BT).detach().requires_grad_()
    monkeypatch.setattr(net, "embed", lambda ids: inputs_BTE)
    logits_BTV, _ = net(ids_BT)
    weights_V = torch.randn(V, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    for t in range(T):
        gradient: Tensor = torch.autograd.grad((logits_BTV[0, t] * weights_V).sum(), inputs_BTE, retain_graph=True)[0]
        assert torch.count_nonzero(gradient[0, t + 1 :]) == 0
        assert torch.count_nonzero(gradient[1]) == 0
        first = max(0, t + 1 - reach(settings))
        assert torch.count_nonzero(gradient[0, :first]) == 0
        assert (gradient[0, first : t + 1].abs().amax(-1) > 0).all()


def test_the_carried_state_is_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a state, the first logits depend on it; the state after a text depends on all of it."""
    net = LanguageModel(V, NETWORKS["lstm-2"], seed=2).double()
    ids_BT = torch.randint(V, (1, T), generator=torch.Generator().manual_seed(5))
    state = tuple(tuple(torch.full_like(one, 0.3).requires_grad_() for one in layer) for layer in net.initial_state(1))
    inputs_BTE = net.embed(ids_BT).detach().requires_grad_()
    monkeypatch.setattr(net, "embed", lambda ids: inputs_BTE)
    logits_BTV, after = net(ids_BT, state)
    for gradient in torch.autograd.grad(logits_BTV[0, 0, 0], [one for layer in state for one in layer], retain_graph=True):
        assert gradient.abs().max() > 0
    for one in (one for layer in after for one in layer):
        (gradient,) = torch.autograd.grad(one.sum(), inputs_BTE, retain_graph=True)
        assert (gradient[0].abs().amax(-1) > 0).all()
