"""A text that a person picks: at each turn the likeliest symbols, words or lines to choose from, and the way back.

It does not know how the choices are shown, nor how the person answers.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from escriba.engine.protocol import Floats
from escriba.errors import SettingsError
from escriba.inference.drawing import is_certain
from escriba.inference.writer import Writer
from escriba.language import tr

__all__ = ["Choice", "Kind", "Picker"]

Kind = Literal["symbol", "word", "line"]
"""What is picked at once."""

_LONGEST_WORD = 20
"""Characters after which a word is offered as it is: some scripts have no blanks."""

_LONGEST_LINE = 200
"""Characters after which a line is offered as it is."""

_MOST_STEPS = 256
"""Symbols read at most in the search for words; what is then likeliest is offered unfinished."""

_LINES_TRIED = 3
"""Lines drawn at most for each that is offered: likely ones come more than once."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A way on.

    Attributes:
        text: what is added; for a symbol that is no text by itself (``<eos>``, a byte) its name.
        log_likelihood: nats, of what is added, under the model itself; an ``<eos>`` at the end of a word or line is counted.
        ends: whether the document ends with it.
    """

    text: str
    log_likelihood: float
    ends: bool
    _branch: Writer = field(repr=False)

    @property
    def probability(self) -> float:
        """The probability, 0 to 1, of just this continuation."""
        return float(np.exp(self.log_likelihood))


class Picker:
    """Offers ways on from a text, takes one, and goes back.

    Symbols and words are the likeliest, exactly, the likeliest first (words while the search is short enough: 256 symbols read). A word
    goes as far as the next blank, which belongs to it, or the end of the document. Lines are drawn, for nobody can look through them all:
    each is another one, and what is likelier stands first; where nothing is left to chance there is one.

    Args:
        writer: stands behind the text so far; it is left as it is.
        kind: what is picked at once.
        most: choices at a turn, 1 or more.

    Raises:
        SettingsError: there is no such kind, or `most` is out of its range.
    """

    def __init__(self, writer: Writer, *, kind: Kind = "word", most: int = 9) -> None:
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise SettingsError(tr("most is {most!r}", most=most), expected=tr("1 or more"))
        self._writer = writer.fork()
        self._seed = writer.seed
        self._most = most
        self._drawn = 0
        self._kind: Kind = "word"
        self._before: list[tuple[Writer, list[Choice] | None, Kind]] = []
        self._choices: list[Choice] | None = None
        self.kind = kind

    @property
    def kind(self) -> Kind:
        """What is picked at once: "symbol", "word" or "line"."""
        return self._kind

    @kind.setter
    def kind(self, kind: Kind) -> None:
        if kind not in get_args(Kind):
            raise SettingsError(tr("{kind!r} cannot be picked", kind=kind), expected=tr("symbol, word or line"))
        self._kind, self._choices = kind, None

    @property
    def temperature(self) -> float:
        """With which lines are drawn."""
        return self._writer.settings.temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self._writer = self._writer.fork()
        self._writer.settings = self._writer.settings.but(temperature=temperature, temperature_cycle=())
        self._choices = None

    @property
    def text(self) -> str:
        """The text so far, the prompt included."""
        return self._writer.text

    @property
    def log_likelihood(self) -> float:
        """Nats, of all that followed the prompt; an ``<eos>`` is not counted."""
        return self._writer.log_likelihood

    @property
    def ended(self) -> bool:
        """Whether the document has ended: there is nothing to pick, but the way back, or a text to push."""
        return self._writer.finished is not None

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences about symbols that the model has never seen."""
        return self._writer.notices

    def choices(self) -> list[Choice]:
        """The ways on, the likeliest first; the same until something is picked, pushed or set. None once the document has ended."""
        if self._choices is None:
            if self.ended:
                self._choices = []
            else:
                self._choices = {"symbol": self._symbols, "word": self._words, "line": self._lines}[self._kind]()
        return self._choices

    def pick(self, number: int = 1) -> Choice:
        """Takes a way on.

        Args:
            number: from 1, as the choices stand.

        Raises:
            SettingsError: there is no such choice.
        """
        choices = self.choices()
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(choices):
            raise SettingsError(
                tr("there is no choice {number!r}", number=number),
                expected=tr("1 to {most}", most=len(choices)) if choices else tr("the way back, or the end"),
            )
        settings = self._writer.settings
        self._go(choices[number - 1]._branch.fork())
        self._writer.settings = settings
        return choices[number - 1]

    def push(self, text: str) -> None:
        """Adds a text of the person's own.

        Raises:
            UnknownSymbolError: a symbol is unseen, and the vocabulary has no ``<unk>``.
        """
        branch = self._writer.fork()
        branch.push(text)
        self._go(branch)

    def back(self) -> bool:
        """Takes the last pick or push back, with the choices as they were then; False if there is none."""
        if not self._before:
            return False
        settings = self._writer.settings
        writer, choices, kind = self._before.pop()
        same = writer.settings == settings and kind == self._kind
        self._writer = writer if writer.settings == settings else writer.fork()
        self._writer.settings = settings
        self._choices = choices if same else None
        return True

    def _go(self, writer: Writer) -> None:
        # Symbols and words can be found again; drawn lines cannot. Not to keep them all keeps a long text's history small.
        kept = self._choices if self._kind == "line" else None
        self._before.append((self._writer, kept, self._kind))
        self._writer, self._choices = writer, None

    def _symbols(self) -> list[Choice]:
        found = self._writer.next()
        order = _in_order(found.log_probs, self._writer.banned)[: self._most]
        branches = [_taken(self._writer, int(token)) for token in order]
        return [
            Choice(found.symbols[token], float(found.log_probs[token]), branch.finished is not None, branch)
            for token, branch in zip(order.tolist(), branches, strict=True)
        ]

    def _words(self) -> list[Choice]:
        """Best first: of all beginnings of words the likeliest is continued, until enough words are whole."""
        found: list[Choice] = []
        count = itertools.count()  # equals in the order in which they were met
        heap: list[tuple[float, int, float, Writer, Floats, list[int], int]] = []  # of all branches of a beginning only the next is here
        steps = 0

        def offer(surprisal: float, parent: Writer, log_probs_V: Floats, order: list[int], rank: int) -> None:
            if rank < len(order):
                total = surprisal - float(log_probs_V[order[rank]])
                heapq.heappush(heap, (total, next(count), surprisal, parent, log_probs_V, order, rank))

        def spread(surprisal: float, node: Writer) -> None:
            log_probs_V = node.next().log_probs
            offer(surprisal, node, log_probs_V, _in_order(log_probs_V, node.banned).tolist(), 0)

        spread(0.0, self._writer)
        while heap and len(found) < self._most:
            total, _, surprisal, parent, log_probs_V, order, rank = heapq.heappop(heap)
            offer(surprisal, parent, log_probs_V, order, rank + 1)
            node = _taken(parent, order[rank])
            word = node.text[len(self.text) :]
            whole = node.finished is not None or (word.strip() and word[-1].isspace()) or len(word) >= _LONGEST_WORD
            if whole or steps >= _MOST_STEPS:
                found.append(Choice(word, -total, node.finished is not None, node))
            else:
                steps += 1
                spread(total, node)
        return found

    def _lines(self) -> list[Choice]:
        found: dict[str, Choice] = {}
        for _ in range(1 if is_certain(self._writer.settings) else _LINES_TRIED * self._most):
            self._drawn += 1
            branch = self._writer.fork(seed=self._seed + self._drawn)
            line = branch.write(_LONGEST_LINE, stop="\n")
            if branch.finished is None and len(line) < _LONGEST_LINE:
                branch.push("\n")
            found.setdefault(
                branch.text[len(self.text) :],
                Choice(branch.text[len(self.text) :], _added(self._writer, branch), branch.finished is not None, branch),
            )
            if len(found) == self._most:
                break
        return sorted(found.values(), key=lambda choice: -choice.log_likelihood)


def _in_order(log_probs_V: Floats, banned: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """The ids that may be written, the likeliest first, the lower first among equals."""
    order = np.argsort(-log_probs_V, kind="stable")
    return order[~np.isin(order, banned)]


def _taken(writer: Writer, token: int) -> Writer:
    """A branch with one symbol more; the step to it is not made before it is looked beyond."""
    branch = writer.fork()
    branch.take(token)
    return branch


def _added(before: Writer, after: Writer) -> float:
    """Nats of what a branch added, the ``<eos>`` included: the writer stands before it, so it is what would come next."""
    end = 0.0 if after.finished is None or after.eos_id is None else float(after.next().log_probs[after.eos_id])
    return after.log_likelihood - before.log_likelihood + end
