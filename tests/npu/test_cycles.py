"""Compute cycles against hand-checked layers and against every convolution epoch of the shared reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from n6convert.npu.cycles import conv_plan, is_fast
from n6convert.npu.ir import ConvGeometry

Row = tuple[int, int, tuple[int, int], tuple[int, int], tuple[int, int], int, bool, tuple[int, int], int]

LAYERS: list[Row] = [
    # out, in, kernel, output map, input map, zero point, depthwise, core, cycles ([#convolution-plan] and published
    # reports)
    (960, 160, (1, 1), (4, 4), (4, 4), 5, False, (2, 1), 153_600),
    (160, 960, (1, 1), (4, 4), (4, 4), -128, False, (2, 1), 51_200),
    (384, 64, (1, 1), (8, 8), (8, 8), 5, False, (2, 1), 24_576),
    (24, 144, (1, 1), (32, 32), (32, 32), -128, False, (2, 1), 24_576),
    (64, 64, (3, 3), (16, 16), (16, 16), 5, False, (2, 1), 36_864),
    (32, 32, (3, 3), (32, 32), (32, 32), 5, False, (2, 1), 65_536),
    (32, 32, (3, 3), (32, 32), (32, 32), -128, False, (2, 1), 32_768),
    (32, 16, (3, 3), (64, 64), (128, 128), -126, False, (2, 1), 1_048_576),
    (96, 96, (3, 3), (32, 32), (64, 64), -128, True, (2, 1), 393_216),
    (96, 96, (3, 3), (32, 32), (64, 64), -128, True, (3, 0), 196_608),
    (960, 960, (3, 3), (4, 4), (4, 4), -128, True, (2, 1), 69_120),
    (128, 1024, (1, 1), (30, 1), (30, 1), -128, False, (2, 2), 43_691),
    (232, 24, (1, 1), (8, 8), (8, 8), 7, False, (3, 0), 14_848),
]


@pytest.mark.parametrize("row", LAYERS)
def test_published_layers(row: Row) -> None:
    out, channels, kernel, out_hw, in_hw, zero_point, depthwise, core, cycles = row
    groups = out if depthwise else 1
    strides = (in_hw[0] // out_hw[0], in_hw[1] // out_hw[1])
    geometry = ConvGeometry(out, channels, kernel, strides, groups=groups, in_hw=in_hw, out_hw=out_hw)
    assert conv_plan(geometry, is_fast(zero_point), core).cycles == pytest.approx(cycles, abs=1)


def test_zero_point_decides_the_mode() -> None:
    geometry = ConvGeometry(160, 960, (1, 1), in_hw=(7, 7), out_hw=(7, 7))
    assert conv_plan(geometry, is_fast(0), (2, 1)).mode == "deep"
    assert conv_plan(geometry, is_fast(1), (2, 1)).mode == "standard"
    assert is_fast(-128, "int8") and not is_fast(-127) and is_fast(0, "uint8")


@pytest.mark.parametrize("fast", [True, False])
def test_unit_limits(fast: bool) -> None:
    for channels in range(1, 600):
        plan = conv_plan(ConvGeometry(64, channels, (1, 1), in_hw=(8, 8), out_hw=(8, 8)), fast, (2, 1))
        assert plan.batch * plan.units * plan.passes == channels
        assert 1 <= plan.units <= 4 and plan.batch <= 128


def _strides(conv: dict[str, Any]) -> tuple[int, int]:
    rows, columns = (max(1, round(a / max(b, 1))) for a, b in zip(conv["in_hw"], conv["out_hw"], strict=True))
    return rows, columns


def _predicted(epoch: dict[str, Any], core: tuple[int, int]) -> float | None:
    plans = []
    for conv in epoch["convs"]:
        if conv["in_hw"] and conv["out_hw"]:
            fast = conv["in_fmt"] in ("U8", "internal") or conv["sub_before"] or is_fast(conv["in_zp"])
            groups = conv["O"] if conv["depthwise"] else 1
            geometry = ConvGeometry(
                conv["O"], conv["I"] * groups, (conv["kh"], conv["kw"]), groups=groups,
                in_hw=tuple(conv["in_hw"]), out_hw=tuple(conv["out_hw"]), strides=_strides(conv),
            )  # fmt: skip
            plans.append(conv_plan(geometry, fast, core).cycles)
    return max(plans, default=None)


def test_every_published_epoch(neuralart_dir: Path) -> None:
    exact, actual, predicted = [], 0.0, 0.0
    for path in sorted((neuralart_dir / "expected").glob("r*.json")):
        report = json.loads(path.read_text())
        major, minor = report["core_version"].split("-")[0].split(".")[:2]
        for epoch in report.get("per_epoch", ()):
            truth = epoch.get("compute_cycles")
            found = _predicted(epoch, (int(major), int(minor))) if truth and epoch.get("convs") else None
            if found is not None:
                exact.append(abs(found - truth) <= max(2, 0.01 * truth))
                actual, predicted = actual + truth, predicted + found
    assert len(exact) >= 600
    assert sum(exact) / len(exact) >= 0.94, "the rest: epochs whose cost is another operator's"
    assert predicted / actual == pytest.approx(1, abs=0.01)
