"""Drawings measured: widths, heights and places of what stands for numbers."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.report.svg import Band, Block, Row, area, bars, css_class, frame, histogram, occupancy, ribbon, scale

HOSTILE = "\"><script>&'</script>"


def _rects(svg: str, kind: str = "rect") -> list[dict[str, str]]:
    return [element.attrib for element in ET.fromstring(svg).iter() if element.tag == kind]


def _numbers(svg: str, key: str, kind: str = "rect") -> list[float]:
    return [float(rect[key]) for rect in _rects(svg, kind)]


_WIDTHS = st.lists(st.floats(1, 1000), min_size=1, max_size=12)


@settings(max_examples=40)
@given(widths=_WIDTHS)
def test_a_ribbon_is_as_wide_as_its_blocks_and_leaves_no_gap(widths: list[float]) -> None:
    svg = ribbon([Block(w, "hw", str(w)) for w in widths], "time")
    lefts, drawn = _numbers(svg, "x"), _numbers(svg, "width")
    assert sum(drawn) == pytest.approx(960, abs=0.01 * len(widths) + 0.6 * len(widths))
    for i in range(1, len(widths)):
        assert lefts[i] == pytest.approx(lefts[i - 1] + 960 * widths[i - 1] / sum(widths), abs=0.02)


def test_a_ribbon_of_a_longer_whole_ends_early() -> None:
    svg = ribbon([Block(1, "hw", "a"), Block(1, "sw", "b")], "time", whole=4)
    assert _numbers(svg, "width") == [240, 240]


def test_nothing_is_drawn_as_nothing_and_something_as_something() -> None:
    assert _numbers(ribbon([Block(0, "hw", "a"), Block(1000, "hw", "b")], "t"), "width")[0] == 0.6
    widths = _numbers(bars([Row("a", 0, "0"), Row("b", 1e-6, "tiny"), Row("c", 1, "1")], "l"), "width")
    assert widths == [0, 0.3, 100]


def test_bars_are_in_the_ratio_of_their_values_and_limits_count() -> None:
    assert _numbers(bars([Row("a", 30, "x"), Row("b", 60, "y")], "l"), "width") == [50, 100]
    svg = bars([Row("a", 30, "x", limit=120)], "l")
    assert _numbers(svg, "width") == [25] and _numbers(svg, "x1", "line") == [100]


@settings(max_examples=60)
@given(whole=st.floats(1e-3, 1e6))
def test_an_axis_has_four_to_ten_round_steps(whole: float) -> None:
    marks = [float(m) for m in re.findall(r'%[^"]*">([\d.e+-]+)', scale(whole, "ms", "time"))]
    step = marks[1] - marks[0]
    digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert 4 <= len(marks) - 1 <= 10 and marks[0] == 0 and marks[-1] <= whole * (1 + 1e-9)
    assert min(abs(digits - d) for d in (1, 2, 5)) < 1e-3


def test_the_last_mark_does_not_stick_out() -> None:
    assert scale(10, "ms", "t").count("translateX(-100%)") == 1
    assert scale(10.5, "ms", "t").count("translateX(-100%)") == 0


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [("hw", True), ("p1 sw", True), ("a-b", True), ('x" onload="', False), ("A", False), ("", True)],
)
def test_classes_cannot_leave_their_attribute(kind: str, allowed: bool) -> None:
    assert css_class(kind) == (kind if allowed else "none")


def test_every_text_is_text() -> None:
    drawings = [
        ribbon([Block(1, HOSTILE, HOSTILE)], HOSTILE), bars([Row(HOSTILE, 1, HOSTILE, HOSTILE)], HOSTILE),
        occupancy([Band(HOSTILE, 9, HOSTILE, [[Block(1, HOSTILE, HOSTILE)]])], [1], HOSTILE),
        area([(HOSTILE, HOSTILE, [1, 2])], HOSTILE, HOSTILE), frame(1, 1, HOSTILE, [], kind=HOSTILE),
        scale(1, HOSTILE, HOSTILE),
    ]  # fmt: skip
    for drawing in drawings:
        found = ET.fromstring(drawing)
        assert not [element for element in found.iter() if element.tag == "script"]
        assert HOSTILE in "".join(found.itertext()) + "".join(v for e in found.iter() for v in e.attrib.values())


def test_memories_stand_as_high_as_they_are_large() -> None:
    bands = [
        Band("a", 300, "", [[Block(150, "hw", "x"), Block(75, "sw", "y")], [Block(300, "p1", "z")]]),
        Band("b", 100, "", [[], []]),
    ]
    svg = occupancy(bands, [1, 3], "memory")
    rooms = [r for r in _rects(svg) if r["class"] == "room"]
    assert [float(r["height"]) for r in rooms] == [225, 75]
    blocks = [r for r in _rects(svg) if r["class"] != "room"]
    assert [(float(b["x"]), float(b["width"])) for b in blocks] == [(0, 25), (0, 25), (25, 75)]
    assert [(float(b["y"]), float(b["height"])) for b in blocks] == [(112.5, 112.5), (56.25, 56.25), (0, 225)]


def test_a_small_memory_is_still_seen() -> None:
    svg = occupancy([Band("a", 10**6, "", []), Band("b", 1, "", [])], [], "memory")
    assert [float(r["height"]) for r in _rects(svg)] == [300, 22]


def test_areas_lie_on_each_other() -> None:
    """The top of the second is that of the sum; both go down to what is below them."""
    svg = area([("a", "p0", [1, 3]), ("b", "p1", [3, 1])], "live", "KiB")
    paths = [element.attrib["d"] for element in ET.fromstring(svg).iter("path")]
    tops = [[float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", path)] for path in paths]
    full, floor = 8.0, 196.0
    quarter = floor - (floor - full) / 4
    assert tops[1][:4] == [full] * 4, "4 of 4 at both places"
    assert tops[0][:2] == [pytest.approx(quarter, abs=0.1)] * 2 and tops[0][4:] == [floor] * 4
    assert tops[1][4:] == tops[0][3::-1], "the second begins where the first ends"


def test_nothing_to_stack_is_no_drawing() -> None:
    assert area([], "l", "KiB") == area([("a", "p0", [])], "l", "KiB") == ""


def test_ends_of_the_grid_stand_where_their_values_are() -> None:
    svg = histogram([1, 2, 3, 4], -1.0, 3.0, (-2.0, 1.0), "values")
    assert _numbers(svg, "x1", "line") == [150], "what lies outside of the picture is not drawn"
    heights = _numbers(svg, "height")
    assert heights == sorted(heights) and heights[-1] == 70
    assert heights[0] == pytest.approx(70 * math.log(2) / math.log(5), abs=0.06)


def test_a_histogram_of_one_value_is_a_drawing() -> None:
    assert "nan" not in histogram([0, 0], 1.0, 1.0, (1.0, 1.0), "values").lower()
