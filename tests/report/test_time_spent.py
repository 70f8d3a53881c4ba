"""Where time goes on the page: shares of the sum, equal epochs in one row."""

from __future__ import annotations

import re
from typing import Any

import pytest

from n6convert.report.time_spent import BOUND_WORDS, TimeView, time_spent
from n6convert.results.sections import Latency


def _latency(milliseconds: dict[str, float], longest: list[dict[str, Any]] | None = None) -> Latency:
    bottlenecks = {"milliseconds": milliseconds, "longest": longest or [], "levers": []}
    values = {"milliseconds": 4.0, "low": 3.0, "high": 5.0, "parts": {}, "assumptions": [], "bottlenecks": bottlenecks}
    return Latency.model_validate(values)


def _epoch(number: int, milliseconds: float, gain: float = 0.1, **change: Any) -> dict[str, Any]:
    row = {"epoch": number, "operators": "Conv+Add", "bound": "flash", "milliseconds": milliseconds}
    row |= {"share": milliseconds / 4, "gain": gain, "lever": "smaller weights"}
    return row | change


def _shown(latency: Latency) -> TimeView:
    found = time_spent(latency)
    assert found is not None
    return found


def test_shares_add_up_and_the_longest_comes_first() -> None:
    drawn = _shown(_latency({"flash": 1.0, "compute": 2.0, "overhead": 1.0})).bars
    assert [float(v) for v in re.findall(r"([\d.]+) ms, \d+%", drawn)] == [2.0, 1.0, 1.0]
    assert [int(v) for v in re.findall(r"ms, (\d+)%", drawn)] == [50, 25, 25]
    assert drawn.index(BOUND_WORDS["compute"]) < drawn.index(BOUND_WORDS["flash"])


def test_epochs_that_say_the_same_share_a_row() -> None:
    rows = _shown(_latency({"flash": 4.0}, [_epoch(1, 0.5), _epoch(2, 1.5, bound="compute"), _epoch(3, 1.2, 0.3)]))
    first, second = rows.longest
    assert first.epochs == [1, 3] and first.milliseconds == "1.70"
    assert first.lever == "smaller weights: 0.40 ms less" and first.operators == "Conv + Add"
    assert second.epochs == [2] and second.bound == BOUND_WORDS["compute"]
    assert [row.share for row in rows.longest] == ["42%", "38%"]


def test_no_lever_is_said() -> None:
    (row,) = _shown(_latency({"flash": 4.0}, [_epoch(1, 0.5, lever=None)])).longest
    assert row.lever == "nothing known"


@pytest.mark.parametrize("latency", [None, _latency({})])
def test_a_report_that_does_not_know_has_no_section(latency: Latency | None) -> None:
    assert time_spent(latency) is None


def test_nothing_spent_is_no_division() -> None:
    assert "0.00 ms, 0%" in _shown(_latency({"flash": 0.0})).bars
