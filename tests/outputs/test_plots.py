"""Pictures by matplotlib: real files with something on them, in fonts that are there."""

from __future__ import annotations

import builtins
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from escriba.errors import MissingExtraError, SettingsError
from escriba.outputs import figures
from escriba.outputs.drawings import Box, architecture, surprisal_text
from escriba.outputs.figures import FONTS, Lettering, checked_file, drawing, kept, new_figure, save
from escriba.outputs.plots import KINDS, Level, embedding_map, kind_of, learning_curves, next_bars

LESSON = ["\n", " ", "\t", "$", "^", "_", "\\", "{", "%", "#", "\u0301", "\x07", "\u200b", "ñ", "水", "<unk>", "don't", "क"]
MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


def pixels(figure: Any) -> Any:
    """A figure as numbers, (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def texts(figure: Any) -> list[str]:
    """Every text on a figure."""
    from matplotlib.text import Text

    pixels(figure)
    return [one.get_text() for one in figure.findobj(Text) if one.get_text()]


def of_a_lesson() -> Any:
    """The bars of a vocabulary full of what is hard to show."""
    logits = np.linspace(2.0, -3.0, len(LESSON))
    return next_bars(LESSON, np.exp(logits) / np.exp(logits).sum(), logits, title="after $\\frac{$")


def curves() -> Any:
    """Learning curves with two level lines."""
    points = [(float(step), 4.0 / (1 + step / 10)) for step in range(0, 200, 5)]
    levels = [Level("held-out part", 1.2), Level("n-gram $x$", 1.0)]
    return learning_curves(points, points[::8], levels=levels, characters_per_symbol=2.0)


PICTURES = {
    "bars": of_a_lesson,
    "curves": curves,
    "map": lambda: embedding_map(np.random.default_rng(1).normal(size=(len(LESSON), 5)), LESSON),
    "architecture": lambda: architecture(
        [Box("input", "ids", "(batch, time)", None), Box("gru 1", "gates", "(batch, time, 8)", 9)], title="gru"
    ),
    "surprisal": lambda: surprisal_text(
        LESSON * 9, [at % 15 for at in range(len(LESSON) * 9)], title="$", below="convention: " + "long " * 60
    ),
}


@pytest.mark.parametrize("suffix", MAGIC)
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_file_of_its_kind(name: str, suffix: str, tmp_path: Path) -> None:
    """PNG, SVG and PDF begin as such, are no larger than 200 KB as PNG, and the same picture gives the same bytes."""
    files = [save(PICTURES[name](), tmp_path / f"{at}{suffix}") for at in range(2)]
    data = files[0].read_bytes()
    assert data.startswith(MAGIC[suffix])
    assert data == files[1].read_bytes()
    if suffix == ".png":
        assert len(data) < 200_000


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_not_blank(name: str) -> None:
    """It has ink and white, and more than one colour."""
    seen = pixels(PICTURES[name]())
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 10
    assert (seen == 255).all(-1).mean() > 0.3
    assert (seen < 128).any(-1).mean() > 0.001


def test_a_notebook_can_show_a_figure_without_pyplot() -> None:
    """It gives itself as a PNG, and pyplot is never loaded: no screen is asked for."""
    code = (
        "import sys\nfrom escriba.outputs.plots import next_bars\n"
        "figure = next_bars(['a', 'b'], [0.5, 0.5], [0.0, 0.0])\n"
        "assert figure._repr_png_()[:4] == b'\\x89PNG'\nassert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_bars_as_the_lesson_draws_them() -> None:
    """Logits above, probabilities below, the whole vocabulary in the order of ids, each symbol readable."""
    figure = of_a_lesson()
    above, below = figure.axes
    assert (above.get_title(), below.get_title()) == ("Logits", "Probabilities")
    assert np.allclose([bar.get_height() for bar in above.patches], np.linspace(2.0, -3.0, len(LESSON)))
    assert np.isclose(sum(bar.get_height() for bar in below.patches), 1.0)
    pixels(figure)
    labels = [label.get_text() for label in below.get_xticklabels()]
    assert labels[:5] == ["↵", "␣", "⇥", "$", "^"]
    assert labels[10:13] == ["◌\u0301", "U+0007", "U+200B"]
    assert "nats" in above.get_ylabel()


def test_a_large_vocabulary_shows_the_likeliest() -> None:
    """Of 20,000 symbols 40, the likeliest first, or as many as asked for; the picture says of how many."""
    random = np.random.default_rng(2)
    probabilities = random.dirichlet(np.full(20_000, 0.05))
    symbols = [f"w{at}" for at in range(20_000)]
    for n, count in ((None, 40), (7, 7)):
        below = next_bars(symbols, probabilities, np.log(probabilities + 1e-30), n=n).axes[1]
        heights = [bar.get_height() for bar in below.patches]
        assert heights == sorted(probabilities, reverse=True)[:count]
        assert f"the {count} likeliest of 20,000 symbols" in below.get_title()


@pytest.mark.parametrize("n", [0, 401, -3, 2.5, True, "7"])
def test_a_wrong_number_of_bars_is_told(n: Any) -> None:
    """It says what is expected."""
    with pytest.raises(SettingsError, match="1 to 400"):
        next_bars(["a"], [1.0], [0.0], n=n)


def test_the_curves_tell_their_units_and_levels() -> None:
    """Nats at the left, bits a character at the right by the length of a symbol, level lines with both."""
    figure = curves()
    said = texts(figure)
    assert "loss (nats a symbol)" in said
    assert "bits a character" in said
    assert f"held-out part: 1.200 nats, {1.2 / np.log(2) / 2:.3f} bits a character" in said
    assert any(one.startswith("n-gram $x$") for one in said)


def test_losses_that_are_no_numbers_are_left_out() -> None:
    """A curve with a gap is a curve; one without any point is an error that says so."""
    assert learning_curves([(1.0, float("nan")), (2.0, 1.0)], [])
    with pytest.raises(SettingsError, match="no record of losses"):
        learning_curves([(1.0, float("nan"))], [])


def test_the_map_keeps_what_is_far_apart_apart() -> None:
    """Two clusters in many dimensions lie apart on the first component, which carries nearly all of the variance."""
    random = np.random.default_rng(3)
    vectors = random.normal(0.0, 0.01, (6, 10))
    vectors[3:] += 5.0
    figure = embedding_map(vectors, list("aeibcd"))
    axes = figure.axes[0]
    places = {one.get_text(): one.xy[0] for one in axes.texts}
    assert max(places[one] for one in "aei") < min(places[one] for one in "bcd") - 10.0
    assert axes.get_xlabel() == "first component (100% of the variance)"
    with pytest.raises(SettingsError, match="3 symbols"):
        embedding_map(vectors[:2], ["a", "b"])


def test_names_that_would_lie_upon_each_other_are_faint() -> None:
    """The first of those at a place can be read; those that have room are all as strong."""
    vectors = [[0.0, 0.0], [0.0, 0.01], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]]
    strengths = {one.get_text(): one.get_alpha() for one in embedding_map(vectors, list("abcde")).axes[0].texts}
    assert strengths == {"a": 1.0, "b": 0.35, "c": 1.0, "d": 1.0, "e": 1.0}
    assert [one.get_alpha() for one in embedding_map([[1.0, 1.0]] * 3, list("abc")).axes[0].texts].count(1.0) == 1


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("a", "vowel"),
        ("é", "vowel"),
        ("ñ", "consonant"),
        ("Q", "capital"),
        ("Я", "capital"),
        ("7", "digit"),
        (";", "punctuation, blank"),
        ("\n", "punctuation, blank"),
        ("水", "other"),
        ("\u0301", "other"),
        ("<unk>", "other"),
        ("", "other"),
    ],
)
def test_the_kinds_of_symbols(symbol: str, kind: str) -> None:
    """Accents make no difference; scripts without capitals are another kind."""
    assert kind_of(symbol) == kind
    assert kind in KINDS


def test_a_font_that_has_the_characters_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a font for Chinese installed the character is drawn, without any it is its code point, and there is never a warning."""
    monkeypatch.setattr(figures, "FONTS", ("No Such Font",))
    without = Lettering(["a水"])
    assert without.families == ["DejaVu Sans"]
    assert without.shown("a水") == "aU+6C34"
    # matplotlib's font of last resort stands for a Chinese one: it comes with matplotlib, and has a sign for every character
    monkeypatch.setattr(figures, "FONTS", ("No Such Font", "Last Resort High-Efficiency"))
    if "Last Resort High-Efficiency" not in figures._installed():
        pytest.skip("this matplotlib brings no second font")
    found = Lettering(["a水"])
    assert found.families == ["DejaVu Sans", "Last Resort High-Efficiency"]
    assert found.shown("a水") == "a水"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "水" in texts(next_bars(["a", "水"], [0.5, 0.5], [0.0, 0.0]))
    monkeypatch.setattr(figures, "FONTS", ())
    assert "U+6C34" in texts(next_bars(["a", "水"], [0.5, 0.5], [0.0, 0.0]))


def test_a_font_that_was_installed_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matplotlib looks for fonts once and remembers them; one that came later is used too, and a broken one does no harm."""
    from matplotlib import font_manager

    known = [font for font in font_manager.fontManager.ttflist if font.name != "DejaVu Sans Mono"]
    (late,) = [font.fname for font in font_manager.fontManager.ttflist if Path(font.fname).name == "DejaVuSansMono.ttf"][:1]
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", known)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [late, str(tmp_path / "broken.ttf"), str(tmp_path / "gone.ttf")])
    figures._installed.cache_clear()
    try:
        assert figures._installed()["DejaVu Sans Mono"] == late
    finally:
        figures._installed.cache_clear()


def test_the_list_has_fonts_of_every_system() -> None:
    """Linux, macOS and Windows each have one that is usually there."""
    assert {"Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "MS Gothic", "Malgun Gothic", "WenQuanYi Micro Hei"} <= set(FONTS)


def test_settings_of_matplotlib_are_left_as_they_were() -> None:
    """Neither a figure nor a file changes what a person has set, and what they have set (LaTeX) does not break a figure."""
    import matplotlib as mpl

    with mpl.rc_context({"text.usetex": True, "font.family": ["serif"]}):
        before = dict(mpl.rcParams)
        figure = of_a_lesson()
        assert dict(mpl.rcParams) == before
    assert pixels(figure).std() > 0


@pytest.mark.parametrize("path", ["x.jpg", "x", "missing/x.png", 3, None])
def test_a_wrong_path_is_told_before_anything_is_drawn(path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ending, the folder, the type."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="picture"):
        checked_file(path)
    if path is not None:
        with pytest.raises(SettingsError):
            kept(path, lambda: pytest.fail("drawn"))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what was asked for, and what to install."""
    real = builtins.__import__

    def absent(name: str, *rest: Any, **others: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match="a picture of the next symbol needs") as told:
        next_bars(["a"], [1.0], [0.0])
    assert "escriba[plot]" in str(told.value)


def test_a_long_text_is_cut_and_that_is_said() -> None:
    """3,000 symbols and 300 lines at most in one picture; newlines and long lines begin a new line."""
    figure = surprisal_text(["x", "\n"] * 2000, [1.0] * 4000, title="t")
    assert figure.axes[0].get_title() == "t (the first 600 of 4,000 symbols)"
    assert 300 <= figure.axes[0].get_ylim()[0] < 310, "two symbols a line"
    assert surprisal_text(["x"] * 4000, [1.0] * 4000, title="t").axes[0].get_title() == "t (the first 3,000 of 4,000 symbols)"
    assert surprisal_text(["x\n"] * 300, [1.0] * 300, title="t").axes[0].get_title() == "t"
    tall = surprisal_text(["\n" * 9, "w" * 100_000], [1.0] * 2, title="t")
    assert pixels(tall).shape[0] < 2**15, "matplotlib makes no picture of 2^16 pixels"
    assert surprisal_text([], [], title="empty")


@pytest.mark.parametrize("name", ["map", "curves", "long surprisal"])
def test_a_small_file_has_the_colours_of_the_figure(name: str, tmp_path: Path) -> None:
    """A PNG of at most 256 colours and 200 KB, also of the longest text, in which no pixel is far from the figure's, nor is a rare one."""
    from PIL import Image

    dice = np.random.default_rng(1)
    letters = [str(one) for one in dice.choice(list("etaoin shrdlu"), 3000)]
    longest = lambda: surprisal_text(letters, dice.gamma(1.0, 2.5, 3000).tolist(), title="t")  # noqa: E731
    figure = PICTURES.get(name, longest)()
    file = save(figure, tmp_path / "x.png")
    with Image.open(file) as picture:
        seen = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(seen - pixels(figure)).max() <= 16
    assert file.stat().st_size < 200_000
    assert figure._repr_png_() == file.read_bytes()


def test_a_figure_is_empty_until_something_is_drawn() -> None:
    """The control of the test of blankness: an empty figure has one colour."""
    with drawing("nothing"):
        assert len(np.unique(pixels(new_figure(1.0, 1.0)).reshape(-1, 3), axis=0)) == 1
