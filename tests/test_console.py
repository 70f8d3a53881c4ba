"""Progress on a terminal and without one."""

from __future__ import annotations

import io
import sys

import pytest

from n6convert.cli import console
from n6convert.cli.console import progress_on_stderr


def test_lines_say_how_far_a_long_step_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 1.0, 5.0, 6.0, 30.0, 31.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock) + 100)
    with progress_on_stderr() as report:
        report("quantize", 3, 8)
        report("quantize: calibration", 1, 64)  # a second later: too soon
        report("quantize: calibration", 2, 64)
        report("quantize: calibration", 3, 64)
        report("quantize: calibration", 40, 64)
        report("lint", 4, 8)
    assert capsys.readouterr().err.splitlines() == [
        "quantize", "quantize: calibration", "quantize: calibration (40 of 64)", "lint",
    ]  # fmt: skip


def test_the_clock_runs_on_after_a_step_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
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
        report("quantize: bias", 1, 4)
        whole, step = made[0].tasks
        assert not whole.finished and not step.finished
        assert (whole.completed, step.completed, step.total) == (3, 1, 4)
        report("lint", 4, 8)
        assert whole.completed == 4 and not made[0].tasks[1].visible
