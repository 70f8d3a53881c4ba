"""What two reports differ in: everything that was changed, nothing that was not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from n6convert.report.diff import Change, differences
from n6convert.report.schema import PartialReport


def _found(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Change]:
    changes = differences(PartialReport.model_validate(before), PartialReport.model_validate(after))
    assert len({change.what for change in changes}) == len(changes)
    return {change.what: change for change in changes}


@pytest.fixture
def after(report: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(report)


def test_equal_reports_do_not_differ(report, after) -> None:
    after["made"] = "later"
    after["stages"][0]["seconds"] = 99.0
    assert _found(report, after) == {}


@pytest.mark.parametrize(
    ("path", "value", "what", "verdict"),
    [
        (("latency", "milliseconds"), 0.4, "predicted time", "better"),
        (("latency", "milliseconds"), 1.6, "predicted time", "worse"),
        (("placement", "after", "offload"), 0.5, "offload", "worse"),
        (("placement", "after", "epochs", "sw"), 3, "epochs on the CPU", "worse"),
        (("placement", "after", "epochs", "hybrid"), 1, "hybrid epochs", "worse"),
        (("placement", "after", "epochs", "total"), 20, "epochs", ""),
        (("memory", "activations"), 100_000, "activations", "better"),
        (("memory", "external"), 5, "outside the chip", "worse"),
        (("memory", "weights"), 4_000, "weights", "better"),
        (("accuracy", "float"), 42.0, "float score", ""),
        (("accuracy", "int8"), 40.9, "INT8 score", ""),
        (("accuracy", "drop"), 0.1, "drop", "better"),
        (("sqnr_db", "y"), 20.0, "least SQNR", "worse"),
    ],
)
def test_each_figure_alone(report, after, path, value, what, verdict) -> None:
    inner = after
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (change,) = _found(report, after).values()
    assert (change.what, change.after, change.verdict) == (what, value, verdict)


def test_the_other_way_round_is_the_opposite(report, after) -> None:
    after["latency"]["milliseconds"] = 1.6
    after["placement"]["after"]["sw_ops"] = {"Softmax": 2}
    forth, back = _found(report, after), _found(after, report)
    assert forth.keys() == back.keys() == {"predicted time", "Softmax on the CPU"}
    for what, change in forth.items():
        assert (change.before, change.after) == (back[what].after, back[what].before)
        assert {change.verdict, back[what].verdict} == {"better", "worse"}
    assert (forth["predicted time"].percent, back["predicted time"].percent) == (100.0, -50.0)


def test_a_section_that_one_run_lacks(report, after) -> None:
    after["latency"] = after["accuracy"] = None
    found = _found(report, after)
    assert set(found) == {"predicted time", "float score", "INT8 score", "drop"}
    assert all(c.after is None and c.percent is None and c.verdict == "" for c in found.values())


def test_operators_that_came_and_went(report, after) -> None:
    report["placement"]["after"]["hybrid_ops"] = {"Concat": 2, "Split": 1}
    after["placement"]["after"]["hybrid_ops"] = {"Concat": 1, "Transpose": 3}
    found = {w: (c.before, c.after, c.verdict) for w, c in _found(report, after).items()}
    assert found == {
        "Concat hybrid": (2, 1, "better"), "Split hybrid": (1, 0, "better"), "Transpose hybrid": (0, 3, "worse"),
    }  # fmt: skip


def test_recipe_keys_by_their_dotted_names(report, after) -> None:
    after["recipe"] = {"model": "net", "options": {"imgsz": 96, "deep": {"er": [1, 2]}}, "seed": 0}
    found = {w: (c.before, c.after) for w, c in _found(report, after).items()}
    assert found == {"recipe: options.imgsz": (64, 96), "recipe: options.deep.er": (None, [1, 2])}


def test_the_least_ratio_counts_and_equal_signals_are_no_number(report, after) -> None:
    report["sqnr_db"], after["sqnr_db"] = {"a": 30.0, "b": 20.0}, {"a": 10.0, "b": None}
    change = _found(report, after)["least SQNR"]
    assert (change.before, change.after, change.percent) == (20.0, 10.0, None)


@pytest.mark.parametrize(
    ("before", "after", "unit", "percent"),
    [(2, 3, "", 50.0), (-2, -1, "", 50.0), (0, 3, "", None), (2, 3, "dB", None), (2, 3, "points", None),
     (True, False, "", None), ("a", "b", "", None), (None, 3, "", None)],
)  # fmt: skip
def test_percent_where_it_says_something(before, after, unit, percent) -> None:
    assert Change("x", before, after, unit).percent == percent
