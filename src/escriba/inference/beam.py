"""Looks for the likeliest texts after a prompt: beam search, in which several beginnings are kept and only the best go on.

It does not know where the engine and the tokenizer came from; nothing is drawn, so there is no seed.

Shapes: B batch, V vocabulary, K candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from escriba.engine.protocol import Engine, Floats, Ids, state_rows
from escriba.engine.sampling import likeliest, log_softmax
from escriba.errors import SettingsError
from escriba.inference.drawing import REMEMBERED, no_repeat_bans
from escriba.inference.ending import Ending, FinishReason, checked_length, checked_stops
from escriba.inference.reading import Reader, as_texts
from escriba.language import tr
from escriba.settings import SampleSettings
from escriba.text.tokenizer import Tokenizer

__all__ = ["MOST_BEAMS", "Beam", "BeamSearch"]

MOST_BEAMS = 64
"""Beginnings kept at most."""

_BYTES_OF_A_CHARACTER = 4
"""Symbols that a character has at most, in the tokenizer of bytes."""


@dataclass(frozen=True)
class Beam:
    """A text that was found.

    Attributes:
        prompt: as it was given.
        text: what was found after it.
        log_likelihood: nats, of `ids` after the prompt under the model itself; a final ``<eos>`` is not counted. It equals the text's
            score after the prompt wherever the text gives `ids`, as for a `Generated`.
        normalized: what the texts are ordered by: the log-likelihood divided by the number of symbols to the power of
            `length_penalty`, both with what ended the text: ``<eos>``, or a stop string.
        finish_reason: "stop", "length" or "eos", as for a `Generated`.
        ids: the symbols found.
        notices: sentences about symbols of the prompt that the model has never seen.
    """

    prompt: str
    text: str
    log_likelihood: float
    normalized: float
    finish_reason: FinishReason
    ids: tuple[int, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Path:
    """A beginning: its symbols, their log-probabilities, the text that is certain, and what watches for its end."""

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    text: str
    ending: Ending

    def longer(self, token: int, log_prob: float) -> _Path:
        """The path with one symbol more."""
        ending = self.ending.copy()
        piece = ending.push(token)
        return _Path((*self.ids, token), (*self.log_probs, log_prob), self.text + piece, ending)


class BeamSearch:
    """Finds likely texts.

    At each step every beginning is continued by every symbol, and the `width` likeliest of all these stay. Those of them that have ended
    are set aside; what the others grow into may fill all places again. So a width of 1 is greedy writing, and a width that nothing has to
    leave finds the likeliest text of all. Likely texts of a model of characters are dull and repeat themselves; `no_repeat` helps.

    Args:
        engine: what runs the model.
        tokenizer: what cuts texts into its symbols.

    Raises:
        SettingsError: the two have vocabularies of different sizes.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self._reader = Reader(engine, tokenizer)

    def search(
        self,
        prompt: str = "",
        *,
        length: int = 200,
        width: int = 4,
        length_penalty: float = 0.0,
        stop: str | Sequence[str] = (),
        no_repeat: int | None = None,
    ) -> list[Beam]:
        """The best texts, the best first, no two alike; `width` at most.

        Args:
            prompt: what the texts go on from; it may be empty.
            length: characters after which a text is cut, 0 or more. A text that is cut has no ``<eos>`` to pay for.
            width: beginnings kept, 1 to 64.
            length_penalty: 0 orders texts by their log-likelihood, which prefers short ones; 1 by its mean over their symbols; 0 to 2.
            stop: strings before which a text ends.
            no_repeat: as in `SampleSettings`.

        Raises:
            SettingsError: a value is out of its range, or every symbol is banned.
            UnknownSymbolError: a symbol of the prompt is unseen, and the vocabulary has no ``<unk>``.

        Source:
            Wu et al. 2016, "Google's Neural Machine Translation System", section 7, whose length penalty ((5 + n) / 6)^alpha is n^alpha
            here.
        """
        tokenizer, reader = self._reader.tokenizer, self._reader
        checked_beams(width, length_penalty)
        no_repeat = SampleSettings(no_repeat=no_repeat).no_repeat  # a person's typed number, too
        (text,) = as_texts([prompt], "prompt")
        stops = checked_stops([tokenizer.normalize(one) for one in as_texts(stop, "stop")])
        ids, unknown = reader.encode(text)
        before = ids[-REMEMBERED:]
        position = reader.skip(reader.begin(), ids)
        ending = Ending(tokenizer.decoder(), length=checked_length(length), stop=stops, eos_id=tokenizer.eos_id)
        most = length * (_BYTES_OF_A_CHARACTER if tokenizer.kind == "byte" else 1) + 1
        first = _Path((), (), "", ending)
        done, paths = ([first], []) if ending.finished is not None else ([], [first])
        log_probs_V, state = reader.next_log_probs(position)
        log_probs_BV = log_probs_V[None, :]
        while paths:
            bans = [self._bans(before, path, no_repeat) for path in paths]
            parents, tokens = _candidates(log_probs_BV, [sum(path.log_probs) for path in paths], bans, width)
            grown = [
                (parent, paths[parent].longer(token, float(log_probs_BV[parent, token])))
                for parent, token in zip(parents, tokens, strict=True)
            ]
            done = _best([*done, *(path for _, path in grown if path.ending.finished is not None)], length_penalty)[:width]
            going = [(parent, path) for parent, path in grown if path.ending.finished is None]
            if len(done) == width and not any(_hope(path, most, length_penalty) > _order(done[-1], length_penalty) for _, path in going):
                break
            paths = [path for _, path in going]
            if paths:
                logits_BV, state = reader.engine.step([path.ids[-1] for path in paths], state_rows(state, [parent for parent, _ in going]))
                log_probs_BV = log_softmax(logits_BV)
        notices = (reader.notice(unknown),) if unknown else ()
        return [self._beam(text, path, length_penalty, notices) for path in _best(done, length_penalty)]

    def _bans(self, before: Ids, path: _Path, no_repeat: int | None) -> tuple[int, ...]:
        """What must not follow a path; `before`: the end of the prompt, in which a repeated run is looked for, too."""
        reader = self._reader
        if no_repeat is None:
            return reader.banned
        ids = np.concatenate([before, np.array(path.ids, dtype=np.int64)])
        return no_repeat_bans(ids, no_repeat, reader.banned, reader.tokenizer.vocab_size)

    def _beam(self, prompt: str, path: _Path, length_penalty: float, notices: tuple[str, ...]) -> Beam:
        assert path.ending.finished is not None
        count = path.ending.count
        return Beam(
            prompt, path.text, sum(path.log_probs[:count]), _order(path, length_penalty), path.ending.finished, path.ids[:count], notices
        )


def checked_beams(width: object, length_penalty: object) -> None:
    """Sees that the settings of a beam search are in their ranges.

    Raises:
        SettingsError: they are not.
    """
    if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= MOST_BEAMS:
        raise SettingsError(tr("the width of the beam is {width!r}", width=width), expected=tr("1 to {most}", most=MOST_BEAMS))
    if isinstance(length_penalty, bool) or not isinstance(length_penalty, int | float) or not 0.0 <= length_penalty <= 2.0:
        raise SettingsError(tr("length_penalty is {length_penalty!r}", length_penalty=length_penalty), expected=tr("a number from 0 to 2"))


def _candidates(log_probs_BV: Floats, so_far: Sequence[float], bans: Sequence[tuple[int, ...]], width: int) -> tuple[list[int], list[int]]:
    """The likeliest continuations of all beginnings: their beginnings and their symbols, (K,) each, the likeliest first.

    Among equals the better beginning comes first, then the lower id.

    Raises:
        SettingsError: every symbol is banned.
    """
    totals_BV = log_probs_BV + np.asarray(so_far)[:, None]
    for row, banned in enumerate(bans):
        totals_BV[row, list(banned)] = -np.inf
    totals = totals_BV.ravel()
    possible = int(np.isfinite(totals).sum())
    if possible == 0:
        raise SettingsError(tr("every symbol of the vocabulary is banned"), expected=tr("at least one symbol to write"))
    kept = np.sort(likeliest(totals, min(width, possible)))
    kept = kept[np.argsort(-totals[kept], kind="stable")]
    parents, tokens = np.divmod(kept, log_probs_BV.shape[1])
    return parents.tolist(), tokens.tolist()


def _order(path: _Path, length_penalty: float) -> float:
    """A path's log-likelihood, normalized: what paths are ordered by."""
    return float(sum(path.log_probs) / max(1, len(path.ids)) ** length_penalty)


def _hope(path: _Path, most: int, length_penalty: float) -> float:
    """The best that may become of a path: all its further symbols certain, and as many as there can be."""
    return float(sum(path.log_probs) / max(most, len(path.ids)) ** length_penalty)


def _best(paths: Iterable[_Path], length_penalty: float) -> list[_Path]:
    """Paths that have ended, the best first; of several that give the same text (cut within a symbol) only the best."""
    best: dict[str, _Path] = {}
    for path in sorted(paths, key=lambda path: -_order(path, length_penalty)):
        best.setdefault(path.text, path)
    return list(best.values())
