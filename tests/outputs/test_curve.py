"""Curves as pictures: which points are kept, and where they are drawn."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree as ET

import pytest

from escriba.outputs.curve import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Curve, Line, sparkline, svg, ticks

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*lines: Line) -> ET.Element:
    """The picture as a tree."""
    return ET.fromstring(svg(lines))


def places(picture: ET.Element, colour: str) -> list[tuple[float, float]]:
    """The points of the line of a colour."""
    (path,) = [one.get("d", "") for one in picture.iter(f"{SVG}path") if one.get("stroke") == colour and one.get("stroke-linejoin")]
    return [(float(x), float(y)) for x, y in (pair.split() for pair in path.removeprefix("M").split("L"))]


def test_a_curve_goes_from_edge_to_edge() -> None:
    """The first step stands on the left, the last on the right, the largest loss above, the smallest below."""
    found = places(drawn(Line("loss", "#123456", [(10, 4.0), (20, 3.0), (50, 2.0)])), "#123456")
    assert found[0] == (LEFT, TOP)
    assert found[1] == (LEFT + (WIDTH - LEFT - RIGHT) / 4, (TOP + HEIGHT - BOTTOM) / 2)
    assert found[2] == (WIDTH - RIGHT, HEIGHT - BOTTOM)


def test_a_row_of_bars_is_averaged_to_its_width() -> None:
    """As many bars as numbers, or as fit, each the mean of its share; what is no number is left out; never fewer than 8."""
    assert sparkline([1.0, 2.0, 8.0], 80) == "▁▂█"
    assert sparkline([3.0, math.nan, math.inf, 3.0], 80) == "▁▁"
    assert sparkline([], 80) == ""
    assert sparkline([0.0, 14.0] * 50 + [14.0] * 100, 10) == "▁▁▁▁▁█████"
    assert [len(sparkline(list(range(many)), 10)) for many in (9, 10, 11, 999)] == [9, 10, 10, 10]
    assert len(sparkline(list(range(100)), -5)) == 8


def test_two_curves_share_their_axes() -> None:
    """Equal losses of two lines stand at the same height."""
    picture = drawn(Line("a", "#111111", [(0, 4.0), (10, 2.0)]), Line("b", "#222222", [(0, 3.0), (20, 2.0)]))
    assert places(picture, "#111111")[1][1] == places(picture, "#222222")[1][1] == HEIGHT - BOTTOM
    assert places(picture, "#111111")[1][0] < places(picture, "#222222")[1][0] == WIDTH - RIGHT


def test_numbers_on_both_axes() -> None:
    """Round ones, thousands parted, in the colour of the page, and the names of the lines with them."""
    picture = drawn(Line("a & b", "#111111", [(1, 4.1), (10_000, 2.0)]))
    texts = [one.text for one in picture.iter(f"{SVG}text")]
    assert {"2.0", "3.0", "4.0", "2,000", "10,000", "a & b", "nats a symbol"} <= set(texts)
    assert {one.get("fill") for one in picture.iter(f"{SVG}text")} == {"currentColor"}
    assert picture.get("aria-label") == "loss in nats a symbol: a & b 2.000 at step 10,000"


def test_one_point_and_none() -> None:
    """A single point is a dot in the middle; without points there is no picture."""
    (dot,) = drawn(Line("loss", "#123456", [(7, 2.5)]), Line("none", "#222222", [])).iter(f"{SVG}circle")
    assert float(dot.get("cx", "")) == LEFT + (WIDTH - LEFT - RIGHT) / 2
    assert float(dot.get("cy", "")) == pytest.approx(TOP + (HEIGHT - TOP - BOTTOM) / 2, abs=0.1)
    assert svg([]) == svg([Line("none", "#222222", [])]) == ""


def test_a_flat_curve() -> None:
    """A loss that does not change is drawn, in the middle."""
    found = places(drawn(Line("loss", "#123456", [(1, 2.5), (2, 2.5)])), "#123456")
    assert {y for _, y in found} == {TOP + (HEIGHT - TOP - BOTTOM) / 2}


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (1, 9_999, [2000, 4000, 6000, 8000]),
        (1.93, 2.41, [2.0, 2.1, 2.2, 2.3, 2.4]),
        (3, 3, [3]),
        (0, 1e-3, [0, 2e-4, 4e-4, 6e-4, 8e-4, 1e-3]),
    ],
)
def test_ticks(low: float, high: float, found: list[float]) -> None:
    """Round numbers inside the range, about five."""
    assert ticks(low, high) == pytest.approx(found)


def test_a_long_curve_keeps_its_shape_in_few_points() -> None:
    """However many steps there are, the points stay few, reach from the first to the newest, and lie about evenly."""
    curve = Curve(most=100)
    for step in range(1, 20_001):
        curve.add(step, 1.0 + 1.0 / step)
        assert len(curve.points) <= 100
        assert curve.points[-1] == (step, 1.0 + 1.0 / step)
    steps = [step for step, _ in curve.points]
    assert steps[0] == 1
    assert len(steps) > 40
    gaps = [after - before for before, after in itertools.pairwise(steps[:-1])]
    assert max(gaps) < 3 * min(gaps)


def test_what_is_no_number_is_left_out() -> None:
    """NaN, infinity and nothing leave no point."""
    curve = Curve()
    for step, loss in enumerate([2.0, math.nan, math.inf, -math.inf, None, 1.0]):
        curve.add(step, loss)
    assert curve.points == [(0, 2.0), (5, 1.0)]


def test_a_step_that_comes_again() -> None:
    """When a training goes back, its curve does."""
    curve = Curve()
    for step in (1, 2, 3, 4):
        curve.add(step, float(step))
    curve.add(2, 9.0)
    assert curve.points == [(1, 1.0), (2, 9.0)]
