"""The lines of a run: what is said of what is known, and nothing of what is not."""

from __future__ import annotations

from typing import Any

import pytest

from n6convert.report.schema import PartialReport
from n6convert.report.summary import summary_rows, summary_text
from n6convert.report.words import decibels, kib, short


def _rows(report: dict[str, Any]) -> dict[str, str]:
    return dict(summary_rows(PartialReport.model_validate(report)))


def test_every_known_thing_has_a_line(report) -> None:
    assert _rows(report) == {
        "model": "net for stm32n6570-dk@4.0",
        "weights": "net.pt",
        "AP": "float 41.0, INT8 40.5, lost 0.50 points (95 %: -0.20 to +1.10) on 64 samples",
        "INT8 against float": "y 30.5 dB",
        "epochs": "8: 8 hw, 0 hybrid, 0 sw; 100.0 % on the NPU (without rewrites 80.0 %)",
        "predicted time": "0.80 ms (0.60 to 1.10)",
        "memory": "weights 5 KiB, activations 195 KiB, activations on chip",
    }


@pytest.mark.parametrize(
    ("section", "lines"),
    [("accuracy", {"AP"}), ("placement", {"epochs"}), ("latency", {"predicted time"}), ("memory", {"memory"})],
)
def test_a_section_that_is_absent_takes_its_line_along(report, section, lines) -> None:
    whole = _rows(report)
    report[section] = None
    assert whole.keys() - _rows(report).keys() == lines


@pytest.mark.parametrize(
    ("change", "words"),
    [({"external": 2048, "fits": True}, "2 KiB of activations in external RAM"), ({"fits": False}, "does not fit"),
     ({"tables": 3072}, "tables 3 KiB, activations")],
)  # fmt: skip
def test_what_the_memory_line_says(report, change, words) -> None:
    report["memory"] |= change
    assert words in _rows(report)["memory"]


def test_equal_outputs_are_exact(report) -> None:
    report["sqnr_db"] = {"a": None, "b": 12.25}
    assert _rows(report)["INT8 against float"] == "a exact, b 12.2 dB"


def test_findings_are_counted_by_kind(report) -> None:
    common = {"rule": "r", "node": None, "tensor": None, "limit": "l", "found": "f", "remedy": "m", "evidence": "e"}
    report["lint"] = [common | {"severity": s} for s in ("error", "warning", "error", "info")]
    assert _rows(report)["lint"] == "2 error, 1 warning, 1 info"


def test_columns_line_up_and_warnings_come_last(report) -> None:
    lines = summary_text(PartialReport.model_validate(report)).splitlines()
    column = len("INT8 against float") + 2
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)
    assert lines[-1].startswith("warning") and lines[-1].endswith("calibration used only 8 samples")


# words ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "text"), [(0, "0 KiB"), (1536, "2 KiB"), (1024 * 12_345, "12,345 KiB")])
def test_kibibytes(value, text) -> None:
    assert kib(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "no difference"), (0.0, "0.0 dB"), (-3.25, "-3.2 dB")])
def test_decibels(value, text) -> None:
    assert decibels(value) == text


@pytest.mark.parametrize(("length", "kept"), [(39, True), (40, True), (41, False), (400, False)])
def test_long_names_keep_their_end(length, kept) -> None:
    name = "".join(chr(97 + i % 26) for i in range(length))
    found = short(name)
    assert (found == name) is kept and len(found) == min(length, 40)
    assert kept or (found[0] == "…" and name.endswith(found[1:]))
