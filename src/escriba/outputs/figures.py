"""Figures of matplotlib made without a screen: their fonts, their colours, and the files they are kept in.

It knows nothing of what is drawn. Matplotlib is imported when a figure is made, and nobody's settings of it are changed.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escriba.errors import MissingExtraError, SettingsError
from escriba.language import tr
from escriba.text.printed import code_points

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "FONTS",
    "GREEN",
    "GREY",
    "ORANGE",
    "PINK",
    "SKY",
    "Figure",
    "Lettering",
    "checked_file",
    "drawing",
    "kept",
    "new_figure",
    "save",
]

# Colours that people with any kind of colour vision tell apart. Source: Okabe and Ito, Color Universal Design (2008).
BLUE, ORANGE, GREEN, PINK, SKY, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#777777"

BASE_FONT = "DejaVu Sans"
"""What comes with matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic and signs."""

FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK TC",
    "Noto Sans CJK KR",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans TC",
    "Noto Sans KR",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Source Han Sans JP",
    "Source Han Sans",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "PingFang HK",
    "Hiragino Sans GB",
    "Hiragino Sans",
    "Heiti SC",
    "Heiti TC",
    "STHeiti",
    "Songti SC",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "SimHei",
    "SimSun",
    "Microsoft JhengHei",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
    "Malgun Gothic",
    "Nirmala UI",
    "Noto Sans Devanagari",
)
"""The usual fonts of Linux, macOS and Windows that have what the first lacks, Chinese, Japanese and Korean above all."""

KINDS = (".png", ".svg", ".pdf")
"""Files that a figure can be kept in."""


class Lettering:
    """Fonts for some texts: as many of the installed as it takes, and code points for what none of them has.

    Args:
        texts: all that is going to be shown.

    Attributes:
        families: names of fonts, in the order in which a character is looked for in them.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        missing = {one for text in texts for one in text} - _characters(BASE_FONT)
        self.families = [BASE_FONT]
        installed = _installed() if missing else {}
        for name in FONTS:
            if missing and name in installed and (found := missing & _characters(name)):
                self.families.append(name)
                missing -= found
        self._missing = missing

    def shown(self, text: str) -> str:
        """A text of which every character can be drawn: one that no font has is given as its code point, such as U+6C34."""
        if self._missing.isdisjoint(text):
            return text
        return "".join(code_points(one) if one in self._missing else one for one in text)


@contextmanager
def drawing(what: str, texts: Iterable[str] = ()) -> Iterator[Lettering]:
    """Figures are made within: with the fonts that the texts need, and without a meaning of dollars and backslashes.

    Args:
        what: what is drawn, for the error.
        texts: all that is going to be shown and is not Escriba's own wording.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        raise MissingExtraError(what, "plot", "matplotlib") from None
    lettering = Lettering(texts)
    plain: dict[Any, Any] = {
        "text.usetex": False,
        "text.parse_math": False,
        "font.family": lettering.families,
        "font.size": 10.0,
        "axes.grid": False,
        "axes.facecolor": "white",
        "axes.edgecolor": GREY,
        "axes.unicode_minus": True,
        "text.color": "black",
        "axes.labelcolor": "black",
        "axes.titlesize": 11.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": "black",
        "ytick.color": "black",
        "svg.hashsalt": "escriba",
        "savefig.facecolor": "white",
    }
    with mpl.rc_context(plain):
        yield lettering


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that shows itself in a notebook; `pyplot` does not know of it."""
    figure: Figure = _picture_class()(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Keeps a figure as a PNG, SVG or PDF; the same figure gives the same bytes.

    Raises:
        SettingsError: the name of the file ends otherwise.
    """
    import matplotlib as mpl

    file = checked_file(path)
    kind = file.suffix.lower()
    if kind == ".png":
        file.write_bytes(_png(figure))
        return file
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[kind]
    with mpl.rc_context({"svg.hashsalt": "escriba"}):
        figure.savefig(file, format=kind[1:], metadata=undated, facecolor="white")
    return file


def kept(path: str | os.PathLike[str] | None, draw: Callable[[], Figure]) -> Figure:
    """A figure, and where a path is given also its file; a wrong path is told before anything is drawn.

    Raises:
        SettingsError: the path is not right.
        MissingExtraError: matplotlib is not installed.
    """
    if path is None:
        return draw()
    file = checked_file(path)
    figure = draw()
    save(figure, file)
    return figure


def checked_file(path: object, *more: str) -> Path:
    """The path of a picture.

    Args:
        path: what was given.
        *more: endings that are right besides those of figures.

    Raises:
        SettingsError: it is no path, its ending is of no known kind, or its folder is not there.
    """
    kinds = ", ".join([*KINDS, *more])
    if not isinstance(path, str | os.PathLike):
        raise SettingsError(tr("the file of a picture is {path!r:.60}", path=path), expected=tr("a path that ends in {kinds}", kinds=kinds))
    file = Path(os.fspath(path))
    if file.suffix.lower() not in (*KINDS, *more):
        raise SettingsError(
            tr("a picture cannot be kept in {file!r}", file=str(file)), expected=tr("a name that ends in {kinds}", kinds=kinds)
        )
    if not file.parent.is_dir():
        raise SettingsError(
            tr("there is no folder {folder!r} for the picture", folder=str(file.parent)), expected=tr("a folder that is there")
        )
    return file


@functools.cache
def _picture_class() -> Any:
    """The figure that a notebook can show: pyplot, through which notebooks know figures, is not used."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that shows itself."""

        def _repr_png_(self) -> bytes:
            return _png(self)

    return Picture


def _png(figure: Figure) -> bytes:
    """A figure as a PNG of 256 colours, which are enough for any of ours: a third of the size."""
    from PIL import Image

    drawn, data = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", facecolor="white")
    with Image.open(drawn) as picture:
        # by coverage, so that a colour which is rare is kept too; the usual way would change it
        picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(data, "PNG")
    return data.getvalue()


@functools.cache
def _installed() -> dict[str, str]:
    """The files of the fonts that are on this machine, by name; also of those that came after matplotlib looked, which it does once."""
    from matplotlib import font_manager

    fonts = font_manager.fontManager
    for file in set(font_manager.findSystemFonts()) - {font.fname for font in fonts.ttflist}:
        with suppress(OSError, RuntimeError, ValueError):  # a font that matplotlib cannot read
            fonts.addfont(file)
    return {font.name: font.fname for font in fonts.ttflist}


@functools.cache
def _characters(name: str) -> frozenset[str]:
    """What a font that is installed can draw."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=[name]), fallback_to_default=False))
    return frozenset(map(chr, font.get_charmap()))
