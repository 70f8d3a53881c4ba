"""The time budget: nothing before the start, an end after it."""

from __future__ import annotations

import pytest

from n6convert.quantization import time_budget as clock
from n6convert.quantization.time_budget import BudgetExceeded, TimeBudget


def test_there_is_no_end_before_the_start_nor_without_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    timed, endless = TimeBudget(5.0), TimeBudget()
    now[0] = 1000.0
    endless.start()
    assert not timed.ended and not endless.ended
    timed.start()
    now[0] = 1004.9
    timed.start()  # again: the first counts
    assert not timed.ended
    now[0] = 1005.0
    assert timed.ended and not endless.ended


def test_what_is_watched_ends_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    timed, seen = TimeBudget(2.5), []
    timed.start()
    with pytest.raises(BudgetExceeded):
        for item in timed.watch(range(10)):
            seen.append(item)
            now[0] += 1.0
    assert seen == [0, 1, 2]
    assert list(TimeBudget().watch(range(3))) == [0, 1, 2]
