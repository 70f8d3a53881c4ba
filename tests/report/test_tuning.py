"""What the page says of training: nothing where nothing was trained, the verdict with its interval, the curve."""

from __future__ import annotations

from typing import Any

import pytest

from n6convert.report.tuning import tuning

from ..results.test_results import accuracy, report

FIGURES = {"closeness_db": 20.0, "sqnr_db": 15.0}


def told(**changes: Any) -> Any:
    section = {
        "before": FIGURES,
        "after": FIGURES | {"closeness_db": 21.5},
        "steps": 350,
        "seconds": 90.0,
        "kept": True,
    }
    accuracy_ = changes.pop("accuracy", None)
    return tuning(report(tuning=section | changes, **({} if accuracy_ is None else {"accuracy": accuracy_})))


@pytest.mark.parametrize("changes", [{"before": None}, {"after": None}, {"before": None, "after": None}])
def test_where_nothing_was_trained_nothing_is_shown(changes: dict[str, Any]) -> None:
    assert told(**changes) is None and tuning(report()) is None


@pytest.mark.parametrize(("kept", "gain", "words"), [
    (True, None, "The result is kept."), (False, None, "The result is not kept: no gain is certain."),
    (True, {"db": 1.0, "low": 0.25, "high": 1.5}, "kept (95 %: +0.25 to +1.50 dB)."),
    (False, {"db": 0.1, "low": -0.5, "high": 0.7}, "no gain is certain (95 %: -0.50 to +0.70 dB)."),
])  # fmt: skip
def test_the_verdict_with_its_interval(kept: bool, gain: Any, words: str) -> None:
    found = told(kept=kept, gain=gain)
    assert found.summary.endswith(words) and "350 steps in 1.5 minutes" in found.summary
    assert "not trained on" in found.summary


def test_figures_before_and_after() -> None:
    rows = told().rows
    assert rows == [("closeness of outputs", "20.00 dB", "21.50 dB"), ("SQNR of outputs", "15.00 dB", "15.00 dB")]
    with_metric = told(accuracy=accuracy(0.5).model_copy(update={"untuned": 39.0})).rows
    assert with_metric[2] == ("AP", "39.00", "39.50")
    assert len(told(accuracy=accuracy(0.5)).rows) == 2, "nobody measured before"


def test_what_is_the_weights_doing() -> None:
    note = told(exact_weights={"rounded_db": 20.0, "exact_db": 26.25}).note
    assert "20.00 dB" in note and "26.25 dB if no weight were rounded" in note and told().note == ""


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_the_curve_has_a_point_for_each_judgement(count: int) -> None:
    curve = [{"step": 10 * i, "closeness_db": 20.0 + i / 10} for i in range(count)]
    svg = told(curve=curve).svg
    assert svg.count("<circle") == count and all(f"step {10 * i}: {20 + i / 10:.2f} dB" in svg for i in range(count))
    assert "<svg" in svg or not count
