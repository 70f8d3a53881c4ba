"""Progress on a terminal and without one."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import n6convert
from n6convert.cli import progress as module
from n6convert.cli.progress import Steps, progress_on_stderr


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_stages_clock_runs_over_its_steps_and_the_next_begins_anew(clock: Clock) -> None:
    steps = Steps(clock)
    assert steps.tell("quantize", 3, 8) and steps.place == "quantize (4 of 8)"
    clock.now += 5
    assert not steps.tell("quantize: calibration", 64, 64)
    clock.now += 60
    assert not steps.tell("quantize: method rounding", 2, 9)
    assert (steps.seconds, steps.place) == (65, "quantize (4 of 8): method rounding, 2 of 9")
    clock.now += 1
    assert steps.tell("lint", 4, 8) and steps.seconds == 0 and steps.place == "lint (5 of 8)"


def test_what_is_left_comes_from_the_steps_own_pace(clock: Clock) -> None:
    steps = Steps(clock)
    steps.tell("quantize: calibration", 10, 50)
    assert steps.left is None, "nothing has moved yet"
    clock.now += 20
    steps.tell("quantize: calibration", 20, 50)
    assert steps.left == 60 and steps.line() == "quantize: calibration, 20 of 50, 0:20, about 1:00 left"
    clock.now += 5
    assert steps.left == 55, "time passes while a step is at work; its pace has not changed"
    clock.now += 95
    assert steps.left == 0
    clock.now -= 100
    steps.tell("quantize: calibration", 50, 50)
    assert steps.left is None
    clock.now += 4000
    assert steps.line() == "quantize: calibration, 50 of 50, 1:07:00"


def told(err: Callable[[], str], wanted: str, seconds: float = 20) -> str:
    """What was printed, once ``wanted`` is among it."""
    text, end = "", time.monotonic() + seconds
    while wanted not in text and time.monotonic() < end:
        time.sleep(0.01)
        text += err()
    return text


def test_without_a_terminal_a_silent_step_is_told_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_STEP_SECONDS", 0.02)
    monkeypatch.setattr(module, "_INTERVAL_SECONDS", 0.05)
    err = lambda: capsys.readouterr().err  # noqa: E731
    with progress_on_stderr() as report:
        report("quantize", 3, 8)
        assert told(err, "quantize (4 of 8)").splitlines()[0] == "quantize (4 of 8)"
        time.sleep(0.03)
        report("quantize: calibration", 1, 64)
        assert "quantize (4 of 8): calibration, 1 of 64" in told(err, "calibration, 1 of 64")
        assert "calibration, 1 of 64, 0:00" in told(err, "64, 0:0"), "nobody reported, and yet a line came"
        report.note("a point is finished")
        assert "a point is finished" in told(err, "finished")
        report("done", 8, 8)
        assert "done" in told(err, "done")
    time.sleep(0.2)
    assert "quantize" not in err(), "silent when it is over"


def test_quick_steps_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_on_stderr() as report:
        for stage in ("export", "simplify"):
            report(stage, 0, 2)
            report(f"{stage}: passes", 1, 3)
    assert capsys.readouterr().err.splitlines() == ["export (1 of 2)", "simplify (1 of 2)"]


def test_one_task_a_stage_whose_clock_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.progress import Progress

    made: list[Progress] = []
    plain = Progress.__init__
    monkeypatch.setattr(Progress, "__init__", lambda self, *a, **k: (made.append(self), plain(self, *a, **k))[1])
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    with progress_on_stderr() as report:
        report("quantize", 3, 8)
        report("quantize: calibration", 64, 64)
        (task,) = made[0].tasks
        assert not task.finished and "calibration, 64 of 64" in task.description
        report("quantize: method rounding", 1, 4)
        assert (task.completed, task.finished) == (1, False)
        report("lint", 4, 8)
        first, second = made[0].tasks
        assert first.finished and first.fields["ended"] is not None and first.description == "quantize"
        assert not second.finished and second.description == "lint (5 of 8)"
        report("done", 8, 8)
        assert all(task.finished for task in made[0].tasks)


def test_calibration_knows_how_many_samples_there_are(toy: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    n6convert.convert(
        "toy",
        weights="seeded",
        calibration={"samples": 9, "held_back": 3},
        settings={"simplify.onnxsim": False},
        progress=lambda *report: seen.append(report),
    )
    counted = [(done, total) for what, done, total in seen if what == "quantize: calibration"]
    assert counted[-1] == (9, 9) and {total for _, total in counted} == {9}
    assert any(what.startswith("quantize: method ") and total for what, _, total in seen)
