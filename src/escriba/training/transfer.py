"""Weights of one model as the first weights of another: what belongs to a symbol goes to the same symbol, by its name.

It knows nothing of files, nor of how a network learns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from escriba.errors import CheckpointError
from escriba.language import Told, later, told, tr
from escriba.text.tokenizer import Tokenizer
from escriba.text.tokenizer_json import EOS, UNK

__all__ = ["extended", "transferred"]

LEAST_KNOWN = 0.1
"""The share of a new text's symbols that a model must know: below it, its weights are of no use."""

ONE_HOT = ("entry.weight", "layers.0.weight_ih")
"""The tensors of which the first that is there has columns that belong to symbols, where there is no embedding."""


MAPPED = {
    (False, False): later("{known:,} symbols mapped by name"),
    (True, False): later("{known:,} symbols mapped by name, {added:,} new"),
    (False, True): later("{known:,} symbols mapped by name, {left:,} left out"),
    (True, True): later("{known:,} symbols mapped by name, {added:,} new, {left:,} left out"),
}
"""What is said of two vocabularies, by whether the new one has more symbols, and the old one."""


def extended(tokenizer: Tokenizer, before: Tokenizer) -> Tokenizer:
    """The tokenizer of a new text, with the symbols of a model added that the text does not have; they were never counted.

    Raises:
        CheckpointError: the two cut texts into other units, or have next to no symbol in common.
    """
    if tokenizer.kind != before.kind:
        raise CheckpointError(
            tr(
                "the model to begin with knows symbols of the unit {unit!r}, the text is cut into {unit_of_text!r}",
                unit=before.kind,
                unit_of_text=tokenizer.kind,
            ),
            expected=tr("the same unit"),
            hint=f"--unit {before.kind}",
        )
    counts = dict(zip(tokenizer.symbols, tokenizer.frequencies.tolist(), strict=True))
    plain = [symbol for symbol in counts if symbol not in (UNK, EOS)]
    old = [symbol for symbol in before.symbols if symbol not in (UNK, EOS)]
    total, known = sum(counts[symbol] for symbol in plain), sum(counts.get(symbol, 0) for symbol in old)
    if known < LEAST_KNOWN * total:
        raise CheckpointError(
            tr(
                "the model to begin with knows {share:.1%} of the text's symbols: its vocabulary cannot be mapped",
                share=known / max(1, total),
            ),
            expected=tr("{least:.0%} or more in common", least=LEAST_KNOWN),
            hint=tr("train anew, without --init-from"),
        )
    added = {symbol: 0 for symbol in old if symbol not in counts}
    kind, unknown, eos = type(tokenizer), tokenizer.unk_id is not None, tokenizer.eos_id is not None
    symbols = kind._vocabulary({**{symbol: counts[symbol] for symbol in plain}, **added})
    frequencies = [counts.get(symbol, 0) for symbol in ([UNK] if unknown else []) + symbols + ([EOS] if eos else [])]
    return kind(symbols, frequencies, unknown=unknown, eos=eos, normalization=tokenizer.normalization, newlines=tokenizer.newlines)


def transferred(
    weights: Mapping[str, np.ndarray],
    before: Tokenizer,
    tokenizer: Tokenizer,
    fresh: Mapping[str, np.ndarray],
    *,
    codes: bool = False,
) -> tuple[dict[str, np.ndarray], str]:
    """First weights for a vocabulary, from those of a model with another.

    What does not depend on the vocabulary is taken over; of what does, the row (or column) of a symbol that both know goes to
    its place in the new order, and the others keep their fresh numbers, new symbols' biases the mean of the known ones.

    Args:
        weights: of the model, by the names of `weights.py`.
        before: the model's tokenizer.
        tokenizer: the new one.
        fresh: the weights of a new network of the same shape.
        codes: whether symbols enter the networks as their ids, as numbers.

    Returns:
        the weights, and a sentence that says how many symbols were known.

    Raises:
        CheckpointError: the two networks differ in more than their vocabulary; or symbols enter as codes, and have others now.
    """
    places = {symbol: index for index, symbol in enumerate(before.symbols)}
    pairs = [(index, places[symbol]) for index, symbol in enumerate(tokenizer.symbols) if symbol in places]
    here, there = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    if codes and not np.array_equal(here, there):
        raise CheckpointError(
            tr("the model to begin with reads symbols as their codes, and the new text's symbols would change the codes"),
            expected=tr("a text with no new symbols"),
            hint=tr("an embedding knows symbols by name: train without --codes"),
        )
    of_symbols = {"embedding.weight", "output.weight", "output.bias"}
    if "embedding.weight" not in fresh and not codes:
        of_symbols.add(next(name for name in ONE_HOT if name in fresh))
    made = {}
    for name, array in fresh.items():
        source = np.asarray(weights.get(name, np.empty(0)))
        if name not in of_symbols:
            expected = array.shape
        elif name in ONE_HOT:
            expected = (len(array), array.shape[1] // tokenizer.vocab_size * before.vocab_size)
        else:
            expected = (before.vocab_size, *array.shape[1:])
        if source.shape != expected:
            raise CheckpointError(
                tr("{name} has the shape {shape} in the model to begin with", name=name, shape=source.shape), expected=f"{expected}"
            )
        made[name] = np.array(array if name in of_symbols else source, order="C")
        if name in of_symbols:
            if name == "output.bias":
                made[name][:] = source[there].mean()
            _symbols_first(name, made[name], tokenizer)[here] = _symbols_first(name, source, before)[there]
    return made, _mapped(before, tokenizer)


def _mapped(before: Tokenizer, tokenizer: Tokenizer) -> Told:
    """How many symbols two vocabularies have in common, in a sentence."""
    known = len(set(before.symbols).intersection(tokenizer.symbols))
    added, left = tokenizer.vocab_size - known, before.vocab_size - known
    return told(MAPPED[added > 0, left > 0], known=known, added=added, left=left)


def _symbols_first(name: str, array: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    """The same numbers, symbol by symbol: of one-hot input each symbol has a column, in an ngram's window one at each place."""
    if name not in ONE_HOT:
        return array
    return np.moveaxis(array.reshape(len(array), -1, tokenizer.vocab_size), -1, 0)
