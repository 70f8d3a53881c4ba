"""The last lines of a conversion: a picture, the page, and the next command."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

import n6convert
from n6convert.cli import console
from n6convert.cli.closing import next_command, page_link, time_bar
from n6convert.cli.terminal import terminal

RECIPE: dict[str, Any] = {
    "weights": "my weights.pt",
    "calibration": {"source": "images"},
    "evaluation": {"source": "l"},
}


def report(**more: Any) -> dict[str, Any]:
    plain = {"model": "yolov8n", "weights": {"trained": True}, "recipe": RECIPE, "calibration": {"synthetic": False}}
    return plain | more


def test_the_bar_shows_shares_and_names_them() -> None:
    bar = time_bar(report(latency={"parts": {"flash": 3.0, "compute": 9.0, "overhead": 0.0}}), width=8)
    assert bar is not None and bar.plain == "████████  ■ compute 9.0 ms  ■ weights from flash 3.0 ms"
    greens = [span for span in bar.spans if span.style == "green"]
    assert (greens[0].start, greens[0].end) == (0, 6)
    assert time_bar(report(latency={})) is None and time_bar(report()) is None


@pytest.mark.parametrize(
    ("more", "command"),
    [
        ({"weights": {"trained": False}}, "n6convert yolov8n --weights FILE --calibration SAMPLES --evaluate LABELS"),
        (
            {"calibration": {"synthetic": True}},
            "n6convert yolov8n --weights 'my weights.pt' --calibration SAMPLES --evaluate LABELS",
        ),
        (
            {"recipe": RECIPE | {"evaluation": {"source": None}}},
            "n6convert yolov8n --weights 'my weights.pt' --calibration images --evaluate LABELS",
        ),
        ({}, "n6convert compile 'build/my net'"),
        (
            {"model": "onnx", "calibration": {"synthetic": True}},
            "n6convert 'my weights.pt' --calibration SAMPLES --evaluate LABELS",
        ),
    ],
)
def test_the_next_command_is_what_is_missing(more: dict[str, Any], command: str) -> None:
    assert next_command(report(**more), Path("build/my net")) == command


def test_a_conversion_ends_with_page_and_command(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = n6convert.convert("toy", weights="seeded", settings={"simplify.onnxsim": False})
    for is_terminal in (False, True):
        screen = io.StringIO()
        made = terminal(file=screen, force_terminal=is_terminal, width=200, highlight=False)
        monkeypatch.setattr(console, "_stdout", lambda made=made: made)
        console.print_result(result)
        lines = screen.getvalue().splitlines()
        assert "n6convert toy --weights FILE" in lines[-1] and str(result.folder / "report.html") in lines[-2]
        assert ("time goes to" in lines[-3]) == is_terminal
        assert (page_link(result.folder / "report.html").style.split()[1] in screen.getvalue()) == is_terminal
