"""The predictor against real compiler reports: operators off the NPU, epoch totals, offload."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from n6convert.npu.ir import PlacementReport
from n6convert.npu.placement import place, read, report
from n6convert.npu.synthetic import attention_encoder

_EPOCHS = 0.08
_OFFLOAD = 0.02
_RENAMED = {"resize_integer": "Resize", "dequantizelinear": "DequantizeLinear"}
"""r17 was read from network.c, which spells kernels differently."""

_REPORTS = [
    *(f"r01_{version}" for version in ("2.1.0", "2.2.0", "3.0.0")),
    *("r02_2.1.0", "r03_2.1.0", "r07_2.1.0", "r09a_2.1.0", "r10_2.2.0", "r10_4.0.1", "r11_4.0.1"),
    *("r17_2.0.0rc", "r17_2.1.0_DK"),
    *("r13_conv2d_3x3_2.2.0", "r13_conv2d_32f_7x7_2.2.0", "r13_conv2d_32f_7x7_4.0.0_devcloud"),
    *("r13_conv2d_1x1_2.2.0", "r13_conv2d_1x1_4.0.0_devcloud", "r13_conv2d_pool_4.0.0_devcloud"),
    *("r13_depthwise_3x3_2.2.0", "r13_depthwise_3x3_4.0.0_devcloud"),
]
_PARTLY_HYBRID = {"r02_2.1.0"}
"""Two software epochs there carry views of other operators and are called hybrid in c_info (2.x prints none)."""


def _truth(neuralart_dir: Path, name: str) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads((neuralart_dir / "expected" / f"{name}.json").read_text())
    return truth


def _version(truth: dict[str, Any]) -> tuple[int, int]:
    major, minor, *_ = truth["core_version"].split("-")[0].split(".")
    return int(major), int(minor)


def _hold(found: PlacementReport, truth: dict[str, Any]) -> None:
    epochs = truth["epochs"]
    hardware = (epochs["hw"] or 0) + (epochs["ec"] or 0)
    assert abs(found.epochs.total / epochs["total"] - 1) <= _EPOCHS
    assert abs(found.offload - hardware / epochs["total"]) <= _OFFLOAD


@pytest.mark.parametrize("name", _REPORTS)
def test_prediction_holds(neuralart_dir: Path, name: str) -> None:
    truth = _truth(neuralart_dir, name)
    version = _version(truth)
    _, plan = place(read(neuralart_dir / "reports" / truth["model_file"]), version)
    found = report(plan, version)
    _hold(found, truth)
    software = Counter({_RENAMED.get(op, op): count for op, count in truth["sw_ops"].items()})
    hybrid = Counter(truth["hybrid_ops"])
    if name in _PARTLY_HYBRID:
        software += Counter(op.split("+")[0] for op in hybrid)
        hybrid = Counter()
    assert Counter(found.sw_ops) == software
    assert Counter(found.hybrid_ops) == hybrid


@pytest.mark.parametrize("name", ["r15_2.1.0", "r15_2.2.0"])
def test_transformer_rebuilt_from_its_report(neuralart_dir: Path, name: str) -> None:
    truth = _truth(neuralart_dir, name)
    version = _version(truth)
    model = attention_encoder(layers=6, length=30, width=128, heads=4, hidden=1024, vocabulary=20000)
    found = report(place(read(model), version)[1], version)
    _hold(found, truth)
    assert found.sw_ops == truth["sw_ops"]
    assert found.hybrid_ops == {}
