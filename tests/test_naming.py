"""Suggestions for mistyped names."""

from __future__ import annotations

from n6convert.naming import nearest

KNOWN = ["movenet", "mobilenet", "mobilevit", "yolov8n", "movenet"]


def test_the_likest_come_first_each_once_and_no_more_than_asked() -> None:
    assert nearest("movnet", KNOWN)[0] == "movenet" and nearest("movnet", KNOWN).count("movenet") == 1
    assert nearest("mobilent", KNOWN, most=1) == ["mobilenet"]


def test_how_alike_names_must_be_decides() -> None:
    assert nearest("yolo", KNOWN, likeness=0.9) == [] and nearest("yolo", KNOWN, likeness=0.4)[0] == "yolov8n"
    assert nearest("entirely different", KNOWN) == []
