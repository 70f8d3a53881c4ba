"""Points, their axes and the line through the best of them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.report.scatter import Point, scatter

LEFT, RIGHT, TOP, BOTTOM = 60, 930, 30, 380


def _circles(svg: str) -> list[tuple[float, float]]:
    return [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in ET.fromstring(svg).iter("circle")]


def _line(svg: str) -> list[tuple[float, float]]:
    (line,) = ET.fromstring(svg).iter("polyline")
    return [(float(a), float(b)) for a, b in re.findall(r"([\d.-]+),([\d.-]+)", line.attrib["points"])]


_VALUES = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))


@settings(max_examples=40)
@given(values=st.lists(st.tuples(_VALUES, _VALUES), min_size=1, max_size=10))
def test_points_lie_inside_and_in_the_order_of_their_values(values: list[tuple[float, float]]) -> None:
    svg = scatter([Point(x, y, "p") for x, y in values], [], "l", "x", "y")
    drawn = _circles(svg)
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in drawn)
    for (x1, y1), (a1, b1) in zip(values, drawn, strict=True):
        for (x2, y2), (a2, b2) in zip(values, drawn, strict=True):
            assert x1 >= x2 or a1 <= a2 + 0.1
            assert y1 >= y2 or b1 >= b2 - 0.1, "larger is higher up"


def test_ticks_stand_at_their_values() -> None:
    svg = scatter([Point(0, 0, "a"), Point(10, 100, "b")], [], "l", "x", "y")
    (x0, y0), (x1, y1) = _circles(svg)
    for text in ET.fromstring(svg).iter("text"):
        value = (text.text or "").replace("-", "", 1)
        if text.attrib.get("class") != "small" or not value.replace(".", "").isdigit():
            continue
        number = float(text.text or "")
        if text.attrib["text-anchor"] == "middle":
            assert float(text.attrib["x"]) == pytest.approx(x0 + (x1 - x0) * number / 10, abs=0.2)
        else:
            assert float(text.attrib["y"]) - 4 == pytest.approx(y0 + (y1 - y0) * number / 100, abs=0.2)


def test_the_line_goes_through_the_front_from_left_to_right() -> None:
    points = [Point(3, 9, "c"), Point(1, 4, "a"), Point(2, 1, "no"), Point(2, 7, "b")]
    front = [points[0], points[1], points[3]]
    svg = scatter(points, front, "l", "x", "y")
    places = dict(zip("canb", _circles(svg), strict=True))
    assert _line(svg) == [places["a"], places["b"], places["c"]]


def test_steps_keep_their_height_up_to_the_next_point() -> None:
    points = [Point(1, 4, "a"), Point(2, 7, "b")]
    line = _line(scatter(points, points, "l", "x", "y", steps=True))
    assert len(line) == 3 and line[1] == (line[2][0], line[0][1])


@pytest.mark.parametrize(("count", "named"), [(8, 8), (9, 1)])
def test_of_many_points_those_of_the_front_are_named(count: int, named: int) -> None:
    points = [Point(i, i, f"label{i}") for i in range(count)]
    svg = scatter(points, points[-1:], "l", "x", "y")
    assert len(re.findall(r">label\d</text>", svg)) == named
    assert svg.count("<title>") == count, "the others say their name on hovering"


def test_labels_turn_at_the_right_end() -> None:
    svg = scatter([Point(0, 0, "left"), Point(1, 1, "right")], [], "l", "x", "y")
    anchors = {t.text: t.attrib.get("text-anchor") for t in ET.fromstring(svg).iter("text")}
    assert (anchors["left"], anchors["right"]) == (None, "end")


def test_intervals_go_through_their_point_and_belong_to_the_picture() -> None:
    svg = scatter([Point(5, 5, "a", across=(0, 20), along=(-30, 6))], [], "l", "x", "y")
    (x, y) = _circles(svg)[0]
    across, along = (e.attrib for e in ET.fromstring(svg).iter("line") if e.attrib["class"] == "spread")
    assert float(across["y1"]) == float(across["y2"]) == y
    assert LEFT < float(across["x1"]) < x < float(across["x2"]) < RIGHT
    assert float(along["x1"]) == x and TOP < float(along["y2"]) < y < float(along["y1"]) < BOTTOM


def test_nothing_is_no_picture_and_one_value_is_one() -> None:
    assert scatter([], [], "l", "x", "y") == ""
    for value in (0.0, -7.0, 1e9):
        assert all(LEFT < x < RIGHT and TOP < y < BOTTOM for x, y in _circles(
            scatter([Point(value, value, "a")], [], "l", "x", "y")))  # fmt: skip
