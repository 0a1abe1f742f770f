"""Pictures made of numbers: learning curves, the distribution of the next symbol, an embedding as a map.

It knows nothing of models and their folders: it is given points, probabilities and vectors. Needs matplotlib.

Shapes: V vocabulary, E embedding, N symbols.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.cells import cell_len

from escriba.errors import SettingsError
from escriba.language import later, tr
from escriba.outputs.curve import Points
from escriba.outputs.figures import BLUE, GREEN, GREY, ORANGE, PINK, SKY, drawing, new_figure
from escriba.text.printed import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Level", "embedding_map", "kind_of", "learning_curves", "next_bars", "shortened"]

WHOLE = 128
"""Symbols of a vocabulary up to which a picture shows it whole, in the order of ids, as the lesson does."""

LIKELIEST = 40
"""Symbols shown of a larger one, the likeliest first."""

MOST_BARS = 400
"""More bars than this cannot be told apart."""


class Level(NamedTuple):
    """A result that stands beside a curve as a level line: its name and its loss, in nats a symbol."""

    name: str
    loss_nats: float


def learning_curves(
    learnt: Points, unlearnt: Points, *, levels: Sequence[Level] = (), characters_per_symbol: float = 1.0, title: str | None = None
) -> Figure:
    """The loss over the steps, in nats a symbol at the left and in bits a character at the right.

    Args:
        learnt: (step, nats) of the batches that were learnt from; drawn as they are, faint, and smoothed.
        unlearnt: (step, nats) of the part that was not.
        levels: results to compare with: the held-out part's, a baseline's.
        characters_per_symbol: of the text; 1 for characters.
        title: above the picture; None: that it is learning.

    Raises:
        SettingsError: there is nothing to draw.
        MissingExtraError: matplotlib is not installed.
    """
    learnt, unlearnt = _finite(learnt), _finite(unlearnt)
    if not learnt and not unlearnt:
        raise SettingsError(
            tr("there is no curve to draw: there is no record of losses"), expected=tr("a model that was trained step by step")
        )
    title = tr("Learning") if title is None else title
    with drawing(tr("a picture of the learning curve"), [title, *(level.name for level in levels)]) as lettering:
        figure = new_figure(7.0, 4.0)
        axes = figure.add_subplot()
        if learnt:
            steps, losses = zip(*learnt, strict=True)
            axes.plot(steps, losses, color=BLUE, alpha=0.25, linewidth=0.8)
            axes.plot(steps, _smoothed(losses), color=BLUE, linewidth=1.8, label=tr("learnt from, smoothed"))
        if unlearnt:
            label = tr("choosing part, not learnt from")
            axes.plot(*zip(*unlearnt, strict=True), color=ORANGE, marker="o", markersize=4, linewidth=1.2, label=label)
        for level, colour, dashes in zip(levels, (GREEN, PINK, SKY, GREY) * len(levels), ("--", "-.", ":") * len(levels), strict=False):
            bits = level.loss_nats / math.log(2.0) / characters_per_symbol
            named = tr("{name}: {nats:.3f} nats, {bits:.3f} bits a character", name=level.name, nats=level.loss_nats, bits=bits)
            axes.axhline(level.loss_nats, color=colour, linestyle=dashes, linewidth=1.5, label=lettering.shown(named))
        shown = [loss for _, loss in (*learnt, *unlearnt)] + [level.loss_nats for level in levels]
        low, high = min(shown), max(shown)
        axes.set_ylim(low - 0.05 * (high - low or 1.0), high + 0.05 * (high - low or 1.0))
        axes.set_xlabel(tr("step (updates of the weights)"))
        axes.set_ylabel(tr("loss (nats a symbol)"))
        factor = 1.0 / math.log(2.0) / characters_per_symbol
        right = axes.secondary_yaxis("right", functions=(_times(factor), _times(1.0 / factor)))
        right.set_ylabel(tr("bits a character"))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(visible=True, axis="y", alpha=0.25)
        axes.set_title(lettering.shown(title))
        axes.legend(frameon=False, fontsize=9)
        return figure


def next_bars(
    symbols: Sequence[str], probabilities: npt.ArrayLike, logits: npt.ArrayLike, *, n: int | None = None, title: str | None = None
) -> Figure:
    """The next symbol's distribution as the lesson draws it: logits above, probabilities below.

    Args:
        symbols: the vocabulary in the order of ids, (V,).
        probabilities: of each, (V,).
        logits: of each, (V,), up to a constant.
        n: how many of the likeliest, the likeliest first; None: the whole vocabulary in the order of ids, or the likeliest of a large one.
        title: above the picture; None: that it is the next symbol.

    Raises:
        SettingsError: n is not 1 to 400.
        MissingExtraError: matplotlib is not installed.
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= MOST_BARS):
        raise SettingsError(tr("n is {n!r}: symbols in the picture", n=n), expected=tr("1 to {most}", most=MOST_BARS))
    shares, heights = np.asarray(probabilities, dtype=np.float64), np.asarray(logits, dtype=np.float64)
    whole = n is None and len(symbols) <= WHOLE
    order = np.arange(len(symbols)) if whole else np.argsort(-shares, kind="stable")[: n or LIKELIEST]
    names = [shortened(printable(symbols[at]), 14) for at in order]
    title = tr("Next symbol") if title is None else title
    with drawing(tr("a picture of the next symbol"), [title, *names]) as lettering:
        shown = [lettering.shown(name) for name in names]
        long = max(map(len, shown)) > 2
        figure = new_figure(min(max(6.0, 1.2 + 0.17 * len(shown)), 40.0), 5.8 if long else 5.0)
        above, below = figure.subplots(2, 1)
        likeliest = int(np.argmax(shares[order]))
        colours = [ORANGE if place == likeliest else BLUE for place in range(len(shown))]
        _bars(above, heights[order], shown, colours)
        _bars(below, shares[order], shown, colours)
        above.set_title(tr("Logits"), fontsize=10)
        above.set_ylabel(tr("logit (nats, up to a constant)"))
        of_some = tr("Probabilities (the {shown} likeliest of {total:,} symbols)", shown=len(shown), total=len(symbols))
        below.set_title(tr("Probabilities") if len(shown) == len(symbols) else of_some, fontsize=10)
        below.set_ylabel(tr("probability (0 to 1)"))
        below.set_xlabel(tr("next symbol"))
        below.set_ylim(bottom=0.0)
        figure.suptitle(lettering.shown(title), fontsize=11)
        return figure


def embedding_map(vectors: npt.ArrayLike, symbols: Sequence[str], *, title: str | None = None) -> Figure:
    """Symbols where the first two principal components of their vectors lie, coloured by kind.

    Args:
        vectors: of each symbol, (N, E).
        symbols: as many, (N,).
        title: above the picture; None: that it is the embedding as a map.

    Raises:
        SettingsError: fewer than 3 symbols.
        MissingExtraError: matplotlib is not installed.

    Source: principal component analysis by the singular value decomposition of the centred vectors.
    """
    points = np.asarray(vectors, dtype=np.float64)
    if len(points) < 3:
        raise SettingsError(tr("a map of {count} symbols says nothing", count=len(points)), expected=tr("3 symbols or more"))
    places, shares = _components(points)
    names = [shortened(printable(symbol), 14) for symbol in symbols]
    title = tr("The embedding as a map") if title is None else title
    with drawing(tr("a map of the embedding"), [title, *names]) as lettering:
        figure = new_figure(7.0, 6.0)
        axes = figure.add_subplot()
        kinds = [kind_of(symbol) for symbol in symbols]
        size = 11 if len(names) <= 120 else 8
        clear = _clear(places, [lettering.shown(name) for name in names], size)
        for kind, colour in KINDS.items():
            members = [place for place, found in enumerate(kinds) if found == kind]
            if not members:
                continue
            label = f"{tr(kind)} ({len(members)})"
            axes.scatter(places[members, 0], places[members, 1], s=6, color=colour, alpha=0.35, label=label)
            for place in members:
                named = lettering.shown(names[place])
                axes.annotate(
                    named,
                    places[place],
                    color=colour,
                    alpha=1.0 if clear[place] else 0.35,
                    zorder=4 if clear[place] else 3,
                    fontsize=size,
                    ha="center",
                    va="bottom",
                    xytext=(0, 2),
                    textcoords="offset points",
                )
        axes.margins(0.08)
        axes.set_xlabel(tr("first component ({share:.0%} of the variance)", share=shares[0]))
        axes.set_ylabel(tr("second component ({share:.0%} of the variance)", share=shares[1]))
        axes.set_title(lettering.shown(title))
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9, markerscale=3)
        return figure


KINDS = {
    later("vowel"): ORANGE,
    later("consonant"): BLUE,
    later("capital"): GREEN,
    later("digit"): PINK,
    later("punctuation, blank"): GREY,
    later("other"): "#000000",
}
"""The kinds of symbols on a map, each with its colour; each symbol is written there too, so that none depends on its colour."""

VOWELS = set("aeiouyаеёиоуыэюяієїαεηιουω\u0131æœø")


def kind_of(symbol: str) -> str:
    """Which of `KINDS` a symbol is; a word is what its first letter makes it."""
    first = unicodedata.normalize("NFD", symbol)[:1]
    category = unicodedata.category(first)[0] if first else "C"
    if len(symbol) > 1 and symbol[0] == "<" and symbol[-1] == ">":
        return "other"
    if category == "N":
        return "digit"
    if category in "PZS" or symbol.isspace():
        return "punctuation, blank"
    if category != "L" or first.lower() == first.upper():
        return "other"
    if first != first.lower():
        return "capital"
    return "vowel" if first in VOWELS else "consonant"


def shortened(text: str, most: int) -> str:
    """The beginning of a text that is longer than so many characters."""
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def _components(points: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """The places on the first two components, (N, 2), and their shares of the variance; the largest weight of each is positive."""
    centred = points - points.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2] * np.sign(np.take_along_axis(directions[:2], np.abs(directions[:2]).argmax(1)[:, None], axis=1))
    places = np.zeros((len(points), 2))
    places[:, : len(directions)] = centred @ directions.T
    power = spread**2 / ((spread**2).sum() or 1.0)
    return places, (float(power[0]), float(power[1]) if len(power) > 1 else 0.0)


def _clear(places: npt.NDArray[np.float64], names: Sequence[str], size: float) -> list[bool]:
    """Which names lie on none that stands before them; the others are drawn faint. The map is taken for 430 by 350 points."""
    spots = (places - places.min(0)) / (1.16 * np.ptp(places, axis=0) + 1e-12) * (430.0, 350.0)
    halves = np.array([0.32 * size * cell_len(name) for name in names])
    clear: list[bool] = []
    for place, spot in enumerate(spots):
        before = np.flatnonzero(clear)
        across, down = np.abs(spots[before] - spot).T
        clear.append(not bool(np.any((across < halves[before] + halves[place]) & (down < size))))
    return clear


def _bars(axes: Axes, heights: npt.NDArray[np.float64], names: Sequence[str], colours: Sequence[str]) -> None:
    """Bars with a name below each, a long one upright."""
    axes.bar(range(len(names)), np.where(np.isfinite(heights), heights, 0.0), color=colours, width=0.8)
    axes.set_xticks(range(len(names)), names, fontsize=8 if len(names) > 30 else 10)
    for label, name in zip(axes.get_xticklabels(), names, strict=True):
        label.set_rotation(90 if len(name) > 2 else 0)
    axes.set_xlim(-0.7, len(names) - 0.3)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=True, axis="y", alpha=0.25)


def _smoothed(losses: Sequence[float]) -> npt.NDArray[np.float64]:
    """Each loss with a fifteenth of all around it: their mean, of as many before as after it."""
    half = max(1, len(losses) // 30)
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    places = np.arange(len(losses))
    reach = np.minimum(np.minimum(places, len(losses) - 1 - places), half)
    return np.asarray((sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1))


def _times(factor: float) -> Callable[[npt.ArrayLike], npt.NDArray[np.float64]]:
    """From one unit into another."""
    return lambda values: np.asarray(values, dtype=np.float64) * factor


def _finite(points: Points) -> Points:
    return [(step, loss) for step, loss in points if math.isfinite(loss)]
