"""What a sweep's results are in Python and in a notebook."""

from __future__ import annotations

import json

from n6convert.sweeps import PointResult, SweepResults

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


def test_plain_data_and_a_page_in_a_frame() -> None:
    found = SweepResults(POINTS, "yolov8n")
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["front"] == ["a", "b"] and plain["points"][2]["score"] == 35.0
    page = found._repr_html_()
    assert page.startswith("<iframe srcdoc=") and "imgsz 256" in page and "does not fit" in page
    assert "<script" not in page and len(page) < 100_000
