"""How far the predictor may be off on published reports and board times; ``make bench-npu`` prints every figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n6convert.npu.costs import Costs, cost
from n6convert.npu.ir import Where
from n6convert.npu.memory import plan_memory
from n6convert.npu.placement import place, read
from n6convert.npu.streams import epoch_traffic
from n6convert.npu.targets import load_target


@pytest.fixture(scope="module")
def found(published: Any) -> list[tuple[dict[str, Any], Costs]]:
    pairs = []
    for case in published.values():
        lowered, schedule = place(read(case.model), case.target.version, ends=case.ends)
        pairs.append((case.truth, cost(lowered, schedule, case.target, allocate=(case.allocate_io, case.allocate_io))))
    return pairs


Found = list[tuple[dict[str, Any], Costs]]


def test_cycles(found: Found) -> None:
    """Sums of compute and max cycles over the reports that publish them."""
    compute, estimate = [], []
    for truth, costs in found:
        if truth["totals"].get("max_cycles"):
            epochs = [epoch for epoch in truth["per_epoch"] if epoch["kind"] in {"HW", "EC"}]
            if not any("compute_cycles" in epoch for epoch in epochs):
                continue
            compute.append(costs.compute_cycles / sum(epoch.get("compute_cycles") or 0 for epoch in epochs))
            estimate.append(costs.max_cycles / truth["totals"].get("max_cycles"))
    assert len(compute) >= 14
    assert np.max(np.abs(np.array(compute) - 1)) < 0.05
    assert np.median(np.abs(np.array(estimate) - 1)) < 0.03


@pytest.mark.parametrize(("report", "tolerance"), [("r01_3.0.0", 0.03), ("r07_2.1.0", 0.01), ("r02_2.1.0", 0.15)])
def test_traffic(report: str, tolerance: float, neuralart_dir: Path) -> None:
    """Bytes read and written on chip and read from flash, summed over the hardware epochs."""
    truth = json.loads((neuralart_dir / "expected" / f"{report}.json").read_text())
    model = neuralart_dir / "reports" / truth["model_file"]
    pools = next(iter(model.parent.glob("*app2*.mpool")), None)
    target = load_target(f"stm32n6570-dk@{truth['core_version'][:3]}", pools=pools)
    lowered, schedule = place(read(model), target.version)
    locations = plan_memory(lowered, schedule, target, allocate=(pools is None, pools is None)).locations()
    ours, theirs = np.zeros(3), np.zeros(3)
    for epoch in schedule.epochs:
        for name, use in epoch_traffic(epoch, lowered.tensors, locations, target).items():
            if epoch.kind is Where.HW:
                ours += [use.reads, 0, 0] if name == "octoFlash" else [0, use.reads, use.writes]
    for entry in truth["per_epoch"]:
        for name, (reads, writes, *_) in entry.get("pools", {}).items():
            if entry["kind"] in {"HW", "EC"}:
                theirs += [reads, 0, 0] if name == "octoFlash" else [0, reads, writes]
    assert np.abs(ours / theirs - 1).max() < tolerance


def test_memory(found: Found) -> None:
    activations, weights = [], []
    for truth, costs in found:
        totals = truth["totals"]
        if totals["activations_bytes"]:
            activations.append(costs.memory.activations / totals["activations_bytes"])
            weights.append(costs.memory.weights / totals["weights_bytes"])
    assert np.mean(np.abs(np.array(activations) - 1) < 0.1) > 0.75
    assert np.median(np.abs(np.array(weights) - 1)) < 0.05


def test_spills_are_never_missed(found: Found) -> None:
    spilled = {truth["id"]: "hyperRAM" in truth["memory"] for truth, _ in found if truth["memory"]}
    assert {truth["id"]: costs.memory.external > 0 for truth, costs in found if truth["memory"]} == spilled
    assert any(spilled.values()) and not all(spilled.values())


def test_board_times(found: Found) -> None:
    measured = [(truth, costs) for truth, costs in found if truth["board"] and truth["board"]["ec"] is not None]
    errors = np.array([abs(costs.latency.milliseconds / truth["board"]["ms"] - 1) for truth, costs in measured])
    assert len(errors) >= 20
    assert np.median(errors) < 0.1
    assert np.mean(errors < 0.25) >= 0.9
    inside = [costs.latency.low <= truth["board"]["ms"] <= costs.latency.high for truth, costs in measured]
    assert np.mean(inside) >= 0.85
