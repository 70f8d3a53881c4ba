"""What a sweep's results are in Python and in a notebook."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from itertools import pairwise

from n6convert.report.render import render_text
from n6convert.report.scatter import Point, scatter
from n6convert.sweeps import PointResult, SweepResults
from n6convert.sweeps.page import _scores, _values

POINTS = [
    PointResult("a", "imgsz 192", milliseconds=6.0, score=30.0, float_score=31.5, metric="box AP"),
    PointResult("b", "imgsz 256", milliseconds=14.0, score=36.0, float_score=36.5, metric="box AP"),
    PointResult("c", "imgsz 320", milliseconds=22.0, score=35.0, float_score=38.0, metric="box AP"),
    PointResult("d", "imgsz 999", error="does not fit\nat all"),
]


def test_they_are_a_list_and_short() -> None:
    found = SweepResults(POINTS, "yolov8n")
    assert found == POINTS and found[1:2] == POINTS[1:2]
    assert repr(found) == "SweepResults('yolov8n', 4 points, 1 failed, front: imgsz 192, imgsz 256)"
    assert repr(found[1]) == "PointResult('imgsz 256', quality=36, milliseconds=14)"
    assert repr(found[3]) == "PointResult('imgsz 999', failed)"
    assert found.summary().splitlines() == [
        "* imgsz 192  box AP 30.00, 6.00 ms",
        "* imgsz 256  box AP 36.00, 14.00 ms",
        "  imgsz 320  box AP 35.00, 22.00 ms",
        "  imgsz 999  failed: does not fit",
    ]  # fmt: skip


def test_the_best_within_limits() -> None:
    found = SweepResults(POINTS)
    assert found.best() is POINTS[1]
    assert found.best(max_milliseconds=10) is POINTS[0]
    assert found.best(max_milliseconds=10, max_drop=1) is None
    assert found.best(max_drop=1.5) is POINTS[1]


def test_a_loss_is_told_with_its_interval_and_samples() -> None:
    judged = replace(POINTS[0], lost=1.5, interval=[-0.5, 3.5], samples=32)
    assert judged.spread == "1.5 ± 2.0"
    assert SweepResults([judged]).summary() == "* imgsz 192  box AP 30.00, lost 1.5 ± 2.0 points on 32 samples, 6.00 ms"
    page = render_text("sweep.html.j2", **_values("net", [judged, POINTS[1]], None))
    assert "1.5 ± 2.0" in page and "on 32 labeled samples" in page
    assert _scores(judged) == (28.0, 32.0), "float 31.5 less the ends of the interval"


def test_a_metric_whose_errors_grow_is_drawn_the_right_way_round() -> None:
    judged = PointResult("e", "e", milliseconds=1.0, score=5.0, float_score=4.0, lost=1.0, interval=[0.5, 2.0])
    assert _scores(judged) == (4.5, 6.0)


def test_the_table_for_spreadsheets_says_every_figure() -> None:
    points = [replace(POINTS[0], settings={"options.imgsz": 192}, lost=1.5, interval=[-0.5, 3.5]), POINTS[3]]
    rows = list(csv.DictReader(SweepResults(points).to_csv().splitlines()))
    assert rows[0]["options.imgsz"] == "192" and rows[0]["drop"] == "1.5" and rows[0]["interval_high"] == "3.5"
    assert [row["front"] for row in rows] == ["1", "0"] and rows[1]["score"] == ""


def test_the_front_keeps_its_height_between_points() -> None:
    """Three points: up only where a point is, so two corners more."""
    a, b, c = Point(1, 1, "a"), Point(2, 3, "b"), Point(4, 4, "c")
    drawn = scatter([a, b, c], [c, a, b], "front", "x", "y", steps=True)
    line = re.search(r'points="([^"]+)"', drawn)
    assert line
    places = [tuple(map(float, pair.split(","))) for pair in line[1].split()]
    assert len(places) == 5
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(places))


def test_plain_data_and_a_page_in_a_frame() -> None:
    found = SweepResults(POINTS, "yolov8n")
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["front"] == ["a", "b"] and plain["points"][2]["score"] == 35.0
    page = found._repr_html_()
    assert page.startswith("<iframe srcdoc=") and "imgsz 256" in page and "does not fit" in page
    assert "<script" not in page and len(page) < 100_000
