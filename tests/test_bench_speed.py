"""The written table of speeds: what lies far beyond it is named, what it does not know is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("bench_speed", "bench_quantize", "bench_accuracy"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_ratios_far_beyond_the_written_ones_are_named() -> None:
    import bench_speed

    written = {"limit": 1.5, "times_onnxruntime": {"net x 64": {"ours": {"cpu": 2.0, "rss_mb": 1.0}}}}
    net = {"ours": {"cpu": 3.1, "rss_mb": 1.4}, "ours-fast": {"cpu": 9.0}}
    slower = {"net x 64": net, "other x 16": {"ours": {"cpu": 9.0}}}
    assert list(bench_speed.regressions(slower, written)) == [
        "net x 64, ours: 3.1 times onnxruntime in cpu, 2.0 written"
    ]


def test_the_written_table_has_what_is_compared() -> None:
    written = json.loads((BENCHMARKS / "speed.json").read_text())
    assert written["limit"] > 1.2, "machines differ"
    for methods in written["times_onnxruntime"].values():
        assert {"ours-fast", "ours"} <= set(methods)
        assert all(ratio > 0 for row in methods.values() for ratio in (row["cpu"], row["rss_mb"]))


def test_growth_is_told_from_the_first_row_to_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    import bench_speed

    bench_speed.print_growth("samples", {"ours": [400.0, 410.0, 500.0], "onnxruntime": [200.0]})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[:2] == ["samples", "ours"] and line.endswith("peak 400 to 500 MB: +25 %")


def test_a_conversion_shows_its_stages_and_inference_is_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    import bench_speed

    reference = {"cpu": 2.0, "seconds": 2.0, "rss_mb": 100.0}
    conversion = {"cpu": 9.0, "seconds": 10.0, "rss_mb": 300.0, "stages": {"rewrite": 3.25, "quantize": 4.5}}
    ways = {"inference": lambda: reference, "conversion": lambda: conversion, "ours": _fails}
    assert bench_speed.rows("net x 64", ways, reference, {}) == {"conversion": {"cpu": 4.5, "rss_mb": 3.0}}
    *_, last, failed = capsys.readouterr().out.splitlines()
    assert last.split()[-4:] == ["rewrite", "3.2", "quantize", "4.5"]
    assert failed.endswith("no such model")


def _fails() -> dict[str, float]:
    raise RuntimeError("no such model")
