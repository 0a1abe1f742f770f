"""What `fit` is given, and what a user's own step gives back, looked at before it is used.

It knows nothing of how a network learns.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from escriba.errors import SettingsError, TrainingError
from escriba.language import tr
from escriba.model.language_model import LanguageModel, ModelState
from escriba.text.batches import Batches
from escriba.text.encoded import EncodedText
from escriba.training.state import TrainingState

__all__ = ["check_arguments", "loss_and_state"]


def check_arguments(net: Any, data: Any, choosing: Any, whole: Any, step: Any, budget_s: Any, resume: Any, more: Any) -> None:
    """Refuses what `fit` cannot work with, by name.

    Raises:
        SettingsError: an argument is of another kind, or the network has fewer symbols than the data.
    """
    kinds: list[tuple[str, Any, type, str, str | None]] = [
        ("net", net, LanguageModel, tr("a LanguageModel"), "escriba.LanguageModel(tokenizer.vocab_size)"),
        ("data", data, Batches, tr("batches"), tr("escriba.windows(encoded), streams(encoded) or documents(encoded)")),
        ("whole", whole, Batches, tr("batches, or None"), tr("escriba.windows(encoded), streams(encoded) or documents(encoded)")),
        ("choosing", choosing, EncodedText, tr("an encoded text, or None"), "text.encode(tokenizer)"),
        ("resume", resume, TrainingState, tr("what the state() of a training gave, or None"), None),
        ("more", more, TrainingState, tr("what the state() of a finished training gave, or None"), None),
    ]
    for name, value, kind, expected, hint in kinds:
        if not isinstance(value, kind) and (value is not None or name in ("net", "data")):
            raise SettingsError(tr("{name} is {value}", name=name, value=_shown(value)), expected=expected, hint=hint)
    if resume is not None and more is not None:
        raise SettingsError(
            tr("{one} and {other} at once", one="resume", other="more"),
            expected=tr("resume (an unfinished training) or more (a finished one)"),
        )
    if step is not None and not callable(step):
        raise SettingsError(
            tr("{name} is {value}", name="step", value=_shown(step)),
            expected=tr("a function: step(net, batch) -> loss, or -> (loss, state)"),
        )
    is_number = isinstance(budget_s, int | float) and not isinstance(budget_s, bool)
    if budget_s is not None and not (is_number and math.isfinite(budget_s) and budget_s >= 0):
        raise SettingsError(tr("{name} is {value}", name="budget_s", value=_shown(budget_s)), expected=tr("seconds, 0 or more, or None"))
    for name, part in (("data", data), ("choosing", choosing), ("whole", whole)):
        if part is not None and (symbols := _symbols(part)) > net.vocab_size:
            raise SettingsError(
                tr("{name} has {symbols:,} symbols, the network {of_network:,}", name=name, symbols=symbols, of_network=net.vocab_size),
                expected=tr("a network of the same vocabulary"),
                hint="escriba.LanguageModel(tokenizer.vocab_size)",
            )


def _symbols(part: Any) -> int:
    """How many symbols a network must know for this part."""
    return int(part._ids.max()) + 1 if part.tokenizer is None else part.tokenizer.vocab_size


def loss_and_state(outcome: Any) -> tuple[Tensor, ModelState | None]:
    """What a step gave back: the loss, and the state where there is one.

    Raises:
        TrainingError: it is something else.
    """
    loss, state = outcome if isinstance(outcome, tuple) and len(outcome) == 2 else (outcome, None)
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        raise TrainingError(
            tr("the step gave back {value}", value=_shown(outcome)),
            expected=tr("a loss tensor with one number that depends on the network's weights, or (loss, state)"),
            hint=tr("return cross_entropy(logits, batch.targets), not float(loss), loss.item() or loss.detach()"),
        )
    layers = state if isinstance(state, tuple | list) else ()
    if state is not None and not (layers and all(isinstance(layer, tuple | list) and _are_tensors(layer) for layer in layers)):
        raise TrainingError(
            tr("the step gave back a loss and, as the state, {state}", state=_shown(state)),
            expected=tr("the state that the network gave: for each layer its tensors"),
            hint="logits, state = net(batch.inputs, batch.state)",
        )
    return loss.reshape(()), None if state is None else tuple(tuple(layer) for layer in layers)


def _are_tensors(layer: Any) -> bool:
    return bool(layer) and all(isinstance(one, Tensor) for one in layer)


def _shown(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor):
        shape = tuple(value.shape)
        return (
            tr("a tensor of shape {shape}", shape=shape)
            if value.requires_grad
            else tr("a tensor of shape {shape} without a gradient", shape=shape)
        )
    if isinstance(value, tuple):
        return tr("a tuple of {length}: ({members})", length=len(value), members=", ".join(map(_shown, value)))
    text = repr(value)
    return text if len(text) <= 60 else tr("a {kind}", kind=type(value).__name__)
