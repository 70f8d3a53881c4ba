"""Reports that somebody gives: what is damaged is named by its path, and nothing larger than a run is drawn."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from n6convert.errors import SourceError
from n6convert.report.html import report_errors
from n6convert.report.schema import check_report

PATH = Path("report.json")


def _set(content: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def _refused(content: dict[str, Any]) -> SourceError:
    with pytest.raises(SourceError, match="the report is damaged") as caught:
        check_report(content, PATH)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    "path",
    [("model",), ("weights",), ("stages", 0, "seconds"), ("latency", "milliseconds"), ("memory", "pools", 0, "size"),
     ("placement", "after", "operators", 2, "macs"), ("accuracy", "drop"), ("quantization", "worst", 0, "sqnr_db"),
     ("sqnr_db", "y"), ("advice", 0, "epochs")],
)  # fmt: skip
@pytest.mark.parametrize("value", [[], "many", {}])
def test_a_part_of_another_type_is_named(path: tuple[Any, ...], value: Any, report) -> None:
    if path == ("model",) and value == "many":
        return
    error = _refused(_set(report, path, value))
    found = str(error.place)
    assert found.startswith("report.json, ") and all(str(part) in found for part in path[:1])
    assert error.limit


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_no_run_gives(value: float, report) -> None:
    _refused(_set(report, ("latency", "milliseconds"), value))


@pytest.mark.parametrize(
    ("path", "most", "name"),
    [(("placement", "after", "operators", 0, "epoch"), 20_000, "placement, epochs"),
     (("memory", "buffers", 0, "last"), 20_000, "memory, epochs")],
)  # fmt: skip
def test_epochs_of_the_largest_drawing(path: tuple[Any, ...], most: int, name: str, report) -> None:
    check_report(_set(report, path, most), PATH)
    error = _refused(_set(report, path, most + 1))
    assert (error.place, error.limit, error.found) == (f"{PATH}, {name}", f"at most {most:,}", str(most + 1))


@pytest.mark.parametrize(("count", "fits"), [(32, True), (33, False)])
def test_pools_of_the_largest_drawing(count: int, fits: bool, report) -> None:
    changed = _set(report, ("memory", "pools"), report["memory"]["pools"] * count)
    if fits:
        check_report(changed, PATH)
    else:
        assert _refused(changed).limit == "at most 32"


@pytest.mark.parametrize(("count", "fits"), [(4096, True), (4097, False)])
def test_bars_of_the_largest_histogram(count: int, fits: bool, report) -> None:
    changed = _set(report, ("quantization", "worst", 0, "histogram", "counts"), [1] * count)
    if fits:
        check_report(changed, PATH)
    else:
        assert "quantization.worst" in str(_refused(changed).place)


@pytest.mark.parametrize("section", ["memory", "latency", "accuracy", "quantization", "advice", "rewrites"])
def test_null_is_absent(section: str, report) -> None:
    without = copy.deepcopy(report)
    del without[section]
    assert check_report(report | {section: None}, PATH) == check_report(without, PATH)


def test_a_placement_of_nothing_is_absent(report) -> None:
    found = check_report(report | {"placement": {"before": None, "after": None}}, PATH)
    assert found.placement is None


@pytest.mark.parametrize(
    "error", [KeyError("a"), TypeError("b"), ValueError("c"), ZeroDivisionError(), AttributeError()]
)
def test_damage_inside_is_told_from_our_mistakes(error: Exception) -> None:
    with pytest.raises(SourceError, match="damaged") as caught, report_errors(Path("a"), Path("b")):
        raise error
    assert caught.value.place == "a, b" and type(error).__name__ in str(caught.value.found)
    with pytest.raises(OSError), report_errors(Path("a")):
        raise OSError("the disk, not the report")
