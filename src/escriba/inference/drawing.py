"""How one text draws its symbols, one after another: temperatures in turn, and no run of symbols twice.

It knows no model: it is told each symbol that is written.

Shapes: N symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from escriba.engine.protocol import Ids
from escriba.engine.sampling import Sampling, repeats
from escriba.settings import SampleSettings

__all__ = ["REMEMBERED", "Drawing", "is_certain", "no_repeat_bans"]

REMEMBERED = 100_000
"""Symbols in which a repeated run is looked for: a text without a length may go on for ever, and memory may not."""


class Drawing:
    """The samplings of one text.

    A symbol is drawn with the temperature of its place: the k-th after the prompt, from 0, with the k-th of the cycle, and so on round.
    A symbol that would complete a run of `no_repeat` symbols which already stands in the last 100,000 (the prompt's included) is not
    drawn, unless no symbol would be left.

    Args:
        settings: how symbols are drawn.
        banned: ids that are never drawn.
        vocab_size: symbols in the vocabulary.
        ids: the text so far, the prompt included; only looked at for `no_repeat`.
        place: how many symbols stand after the prompt.

    Attributes:
        fixed: the sampling of every symbol alike; None where it depends on the text.
    """

    def __init__(
        self, settings: SampleSettings, banned: Sequence[int], vocab_size: int, ids: Sequence[int] | Ids = (), place: int = 0
    ) -> None:
        self._run = settings.no_repeat
        self._banned = tuple(int(one) for one in banned)
        self._vocab_size = vocab_size
        base = Sampling.of(settings, self._banned)
        self._cycle = tuple(replace(base, temperature=temperature) for temperature in settings.temperature_cycle) or (base,)
        self._place = place
        self.fixed = base if self._run is None and not settings.temperature_cycle else None
        self._ids = np.empty(0, dtype=np.int64)
        self._count = 0
        if self._run is not None:
            self._keep(np.asarray(ids, dtype=np.int64)[-REMEMBERED:])

    def sampling(self) -> Sampling:
        """How the next symbol is drawn."""
        chosen = self._cycle[self._place % len(self._cycle)]
        if self._run is None:
            return chosen
        bans = no_repeat_bans(self._ids[max(0, self._count - REMEMBERED) : self._count], self._run, self._banned, self._vocab_size)
        return replace(chosen, banned=bans) if len(bans) > len(self._banned) else chosen

    def push(self, token: int) -> None:
        """Takes a symbol that was written."""
        self._place += 1
        if self._run is None:
            return
        if self._count == len(self._ids):
            self._keep(self._ids[-REMEMBERED:])
        self._ids[self._count] = token
        self._count += 1

    def _keep(self, ids: Ids) -> None:
        """Puts the symbols at the head of a larger place."""
        self._count = len(ids)
        self._ids = np.concatenate([ids, np.empty(max(256, len(ids)), dtype=np.int64)])


def is_certain(settings: SampleSettings) -> bool:
    """Whether nothing is left to chance: a prompt has but one text."""
    return settings.top_k == 1 or not any(settings.temperature_cycle or (settings.temperature,))


def no_repeat_bans(ids: Sequence[int] | Ids, run: int | None, banned: tuple[int, ...], vocab_size: int) -> tuple[int, ...]:
    """What must not come next: what is banned, and what would write a run of symbols again; only what is banned, if nothing were left.

    Args:
        ids: the text so far, (N,).
        run: symbols of a run, 2 or more; None: it may be written again.
        banned: ids that are never drawn.
        vocab_size: symbols in the vocabulary.
    """
    if run is None:
        return banned
    bans = {*banned, *repeats(ids, run).tolist()}
    return tuple(sorted(bans)) if len(bans) < vocab_size else banned
