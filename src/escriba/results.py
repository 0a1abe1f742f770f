"""What using a model gives back: plain data that print, show and plot themselves.

They know nothing of models, nor of files but those they are asked to write.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

import numpy as np

from escriba.engine.protocol import Floats
from escriba.errors import SettingsError
from escriba.history import Begun, Closed, Run, Sampled
from escriba.inference import writer
from escriba.language import tr
from escriba.text.printed import printable

if TYPE_CHECKING:
    from escriba.outputs.bars import Row
    from escriba.outputs.figures import Figure
    from escriba.outputs.page import Place

__all__ = ["Begun", "Closed", "Distribution", "Run", "Sampled", "Score", "Text"]


class Text(str):
    """A generated text: a str that also knows where it came from.

    Attributes:
        prompt: what it goes on from (the str itself holds prompt and continuation).
        continuation: what the model wrote.
        log_likelihood: nats, of the written symbols under the model's own distribution, temperature 1.
        seed: with which the same text is written again; None where nothing was drawn.
        row: its number in the call, from 0.
        finish_reason: "length", "stop" (a stop string) or "eos" (the model ended the document).
        normalized: of a text that a beam search found, by what it is ordered; None for a text that was drawn.
    """

    __slots__ = ("continuation", "finish_reason", "log_likelihood", "normalized", "prompt", "row", "seed")

    prompt: str
    continuation: str
    log_likelihood: float
    seed: int | None
    row: int
    finish_reason: str
    normalized: float | None

    @classmethod
    def of(
        cls,
        prompt: str,
        continuation: str,
        *,
        log_likelihood: float,
        seed: int | None,
        row: int,
        finish_reason: str,
        normalized: float | None = None,
    ) -> Self:
        """A text from its parts."""
        text = cls(prompt + continuation)
        text.prompt, text.continuation = prompt, continuation
        text.log_likelihood, text.seed, text.row, text.finish_reason = log_likelihood, seed, row, finish_reason
        text.normalized = normalized
        return text

    def as_dict(self) -> dict[str, Any]:
        """The fields as ``escriba generate --json`` prints them."""
        return {
            "prompt": self.prompt,
            "text": self.continuation,
            "log_likelihood": self.log_likelihood,
            "seed": self.seed,
            "row": self.row,
            "finish_reason": self.finish_reason,
            **({} if self.normalized is None else {"normalized": self.normalized}),
        }

    def _repr_html_(self) -> str:
        """The text in a bordered box, the prompt bold."""
        if self.seed is None:
            below = tr("log-likelihood {nats:.1f} nats", nats=self.log_likelihood)
        else:
            below = tr("seed {seed}, log-likelihood {nats:.1f} nats", seed=self.seed, nats=self.log_likelihood)
        from escriba.outputs.page import bordered

        return bordered(self.prompt, self.continuation, below=below)


@dataclass(frozen=True, eq=False)
class Distribution(writer.Distribution):
    """How likely each symbol is to come next, and after what.

    Attributes:
        context: what was read before.
        logits: of each symbol, nats up to a constant, (V,); where they are not known, the log-probabilities, which are such.
    """

    context: str = ""
    logits: Floats = field(default=None, repr=False)  # type: ignore[arg-type]  # __post_init__ gives it

    def __post_init__(self) -> None:
        if self.logits is None:
            object.__setattr__(self, "logits", self.log_probs)

    def top(self, n: int = 10) -> list[tuple[str, float]]:
        """The n likeliest symbols with their probabilities, the likeliest first, lower ids first among equals.

        Raises:
            SettingsError: n is no integer, or less than 0.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise SettingsError(tr("n is {n!r}: how many of the likeliest symbols", n=n), expected=tr("an integer, 0 or more"))
        return super().top(int(n))

    def rows(self, n: int = 10) -> list[Row]:
        """The n likeliest with probability and logit, as `bars` draws them.

        Raises:
            SettingsError: as for `top`.
        """
        from escriba.outputs.bars import Row

        logits = {symbol: float(logit) for symbol, logit in zip(self.symbols, self.logits, strict=True)}
        return [Row(symbol, probability, logits[symbol]) for symbol, probability in self.top(n)]

    def as_dict(self, n: int = 10) -> dict[str, Any]:
        """The fields as ``escriba next --json`` prints them; a logit that is no finite number is null."""
        return {
            "context": self.context,
            "next": [
                {
                    "symbol": row.symbol,
                    "probability": row.probability,
                    "logit": row.logit if row.logit is not None and math.isfinite(row.logit) else None,
                }
                for row in self.rows(n)
            ],
        }

    def plot(self, path: str | os.PathLike[str] | None = None, *, n: int | None = None) -> Figure:
        """The distribution as a picture: logits above, probabilities below.

        Args:
            path: a .png, .svg or .pdf to write besides; None: none.
            n: how many of the likeliest; None: the whole vocabulary in the order of ids, or the 40 likeliest of more than 128 symbols.

        Raises:
            SettingsError: the path ends otherwise, or n is not 1 to 400.
            MissingExtraError: matplotlib is not installed.
        """
        from escriba.outputs.figures import kept
        from escriba.outputs.plots import next_bars

        return kept(path, lambda: next_bars(self.symbols, self.probabilities, self.logits, n=n, title=self._heading()))

    def bars(self, n: int = 10) -> str:
        """The n likeliest as bars, in the width of the terminal.

        Raises:
            SettingsError: as for `top`.
        """
        import shutil

        from escriba.outputs.bars import bars

        return bars(self.rows(n), shutil.get_terminal_size().columns)

    def __str__(self) -> str:
        return self.bars()

    def _repr_html_(self) -> str:
        """Bars of the likeliest."""
        from escriba.outputs.page import distribution_rows

        return distribution_rows(self.top(15), title=self._heading())

    def _heading(self) -> str:
        """After what: the end of the context."""
        end = "".join(map(printable, self.context[-30:]))
        return tr("What comes after {context}", context="…" * (len(self.context) > 30) + end) if self.context else tr("What comes first")


@dataclass(frozen=True)
class Score:
    """How likely a text is to a model.

    Attributes:
        text: the text.
        log_likelihood: nats; the sum of log P(symbol | everything before it).
        symbols: how many symbols were scored.
        bits_per_char: the same in bits, divided by the characters (None for an empty text).
        bits_per_byte: divided by the bytes of the text in UTF-8.
        perplexity: exp of the mean surprisal of a symbol.
        unknown: symbols that the model does not know, scored as <unk>.
        convention: in one line, what the first symbol is conditioned on and what counts.
        surprisals: nats of each symbol, in order.
        pieces: each symbol as it stands in the text, in order.
        ranks: each symbol's place among all that could have come, 1 the likeliest.
        expected: for each symbol the likeliest that could have come, with their probabilities; empty if not asked for.
        more_surprising_than: the share of held-out texts of about this length (or of the longest measured, if the text is longer) that
            surprise the model less, 0 to 1; None: not known.
    """

    text: str = field(repr=False)
    log_likelihood: float
    symbols: int
    bits_per_char: float | None
    bits_per_byte: float | None
    perplexity: float | None
    unknown: int
    convention: str
    surprisals: tuple[float, ...] = field(repr=False)
    pieces: tuple[str, ...] = field(repr=False, default=())
    ranks: tuple[int, ...] = field(repr=False, default=())
    expected: tuple[tuple[tuple[str, float], ...], ...] = field(repr=False, default=())
    more_surprising_than: float | None = None

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The probability that each symbol had, in order."""
        return tuple(math.exp(-surprisal) for surprisal in self.surprisals)

    def as_dict(self) -> dict[str, Any]:
        """The fields as ``escriba score --json`` prints them."""
        left_out = ("text", "surprisals", "pieces", "ranks", "expected")
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def places(self) -> list[Place]:
        """Each symbol with what the model made of it, in order, as a page shows it."""
        from escriba.outputs.heat import bits_of
        from escriba.outputs.page import Place

        nothing: tuple[tuple[str, float], ...] = ()
        return [
            Place(
                piece,
                bits_of(surprisal),
                math.exp(-surprisal),
                self.ranks[at] if at < len(self.ranks) else None,
                self.expected[at][:3] if at < len(self.expected) else nothing,
            )
            for at, (piece, surprisal) in enumerate(zip(self.pieces or tuple(self.text), self.surprisals, strict=False))
        ]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The text as a picture, each symbol coloured by its surprisal; of more than 3,000 symbols, or 300 lines, the first.

        Args:
            path: a .png, .svg or .pdf to write besides; None: none.

        Raises:
            SettingsError: the path ends otherwise.
            MissingExtraError: matplotlib is not installed.
        """
        from escriba.outputs.drawings import surprisal_text
        from escriba.outputs.figures import kept

        places = self.places()
        pieces, bits = [one.piece for one in places], [one.bits for one in places]
        nats, of_each = self.log_likelihood, self.bits_per_char
        title = (
            tr("log-likelihood {nats:,.3f} nats", nats=nats)
            if of_each is None
            else tr("log-likelihood {nats:,.3f} nats, {bits:.4f} bits per character", nats=nats, bits=of_each)
        )
        below = tr("convention: {convention}", convention=self.convention)
        return kept(path, lambda: surprisal_text(pieces, bits, title=title, below=below))

    def page(self, path: str | os.PathLike[str]) -> Path:
        """Writes the text as one HTML file: coloured, with what was expected at each symbol, the totals and the convention.

        Of more than 20,000 symbols the first are shown, and that is said. What was expected is known to a score
        that was asked for with ``top=3``.

        Args:
            path: a file that ends in .html.

        Raises:
            SettingsError: it ends otherwise, or its folder is not there.
        """
        from escriba.outputs.figures import checked_file
        from escriba.outputs.page import surprisal_page

        file = checked_file(path, ".html")
        if file.suffix.lower() != ".html":
            raise SettingsError(
                tr("a page cannot be kept in {path!r}", path=str(file)),
                expected=tr("a name that ends in .html"),
                hint=tr("plot draws pictures"),
            )
        begun = self.text[:40] + "…" * (len(self.text) > 40)
        title = tr("Surprisal: {text}", text=" ".join(begun.split()))
        file.write_text(surprisal_page(self.places(), self._figures(), title=title), encoding="utf-8", newline="\n")
        return file

    def print(self, stream: TextIO) -> None:
        """Prints the text: coloured by its surprisal in a terminal, elsewhere with the whole bits of each symbol under it."""
        from escriba.outputs.bars import print_surprisal

        places = self.places()
        print_surprisal([one.piece for one in places], [one.bits for one in places], stream)

    def _repr_html_(self) -> str:
        """The text coloured by its surprisal, and the totals."""
        from escriba.outputs.page import fragment

        return fragment(self.places(), self._figures())

    def _figures(self) -> list[tuple[str, str]]:
        """The totals by name, as a page shows them."""
        known = {
            tr("bits per character"): self.bits_per_char,
            tr("bits per byte"): self.bits_per_byte,
            tr("perplexity"): self.perplexity,
        }
        rows = [(tr("log-likelihood"), f"{self.log_likelihood:,.3f} nats"), (tr("symbols"), f"{self.symbols:,}")]
        rows += [(name, f"{value:,.4f}") for name, value in known.items() if value is not None]
        rows += [(tr("unknown symbols"), f"{self.unknown:,}")] if self.unknown else []
        if self.more_surprising_than is not None:
            share = tr("{share:.1%} of held-out texts", share=self.more_surprising_than)
            rows.append((tr("more surprising than"), share))
        return [*rows, (tr("convention"), self.convention)]

    def __str__(self) -> str:
        if self.bits_per_char is None:
            return tr("nothing to score ({convention})", convention=self.convention)
        return tr(
            "log-likelihood {nats:.3f} nats, {bits:.4f} bits per character ({convention})",
            nats=self.log_likelihood,
            bits=self.bits_per_char,
            convention=self.convention,
        )
