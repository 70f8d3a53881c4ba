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
from n6convert.doctor import Check
from n6convert.registry import ModelEntry

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
def test_the_next_command_is_what_is_missing(
    more: dict[str, Any], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert next_command(report(**more), Path("build/my net")) == command


def test_the_next_command_keeps_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE | {"options": {"imgsz": 256, "head": "full"}, "target": "stm32n6570-dk@3.0"}
    said = next_command(report(recipe=recipe, calibration={"synthetic": True}), Path("out"))
    assert "--imgsz 256 --set options.head=full --target stm32n6570-dk@3.0 --calibration" in said
    assert "--target" not in next_command(report(recipe=RECIPE | {"target": "stm32n6570-dk@4.0"}), Path("out"))


def test_a_program_that_is_not_on_the_path_is_called_by_its_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "my env" / "python"))
    assert next_command(report(), Path("out")) == f"'{tmp_path}/my env/python' -m n6convert compile out"
    monkeypatch.chdir(tmp_path)
    assert next_command(report(), Path("out")) == "'my env/python' -m n6convert compile out"


def test_models_are_listed_by_distribution_and_broken_ones_with_their_cause(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_stdout", lambda: terminal(width=200, highlight=False))
    names = [f"yolo{i}-very-long-name" for i in range(12)]
    entries = [ModelEntry(name, "n6-yolo", "1.0", "m:C") for name in names]
    console.print_models([*entries, ModelEntry("odd", "n6-odd", "2.0", "m:C", "broken", "no such class")])
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "n6-yolo 1.0: ready" and all(name in said.split() for name in names)
    assert "odd" in said and "broken: no such class" in said


def test_checks_of_models_that_are_fine_share_a_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_stdout", lambda: terminal(width=200, highlight=False))
    checks = [Check(f"model m{i}", True, "dist 1.0") for i in range(3)]
    console.print_checks([*checks, Check("model bad", False, "dist 1.0: cause", "mend it")])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["ok models 3 of dist 1.0", "missing model bad dist 1.0: cause mend it"]


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
