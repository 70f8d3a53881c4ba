"""Our parsers must reproduce the normalised truth of every shared report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from n6convert.npu.st import StReport, read_report

KINDS = {"HW": "hw", "EC": "ec", "SW": "sw", "hybrid": "hybrid", "none": "none"}


def _truths(neuralart_dir: Path) -> list[tuple[dict[str, Any], StReport]]:
    pairs = []
    for path in sorted((neuralart_dir / "expected").glob("r*.json")):
        truth = json.loads(path.read_text())
        pairs.append((truth, read_report(*(neuralart_dir / "reports" / name for name in truth["source_files"]))))
    return pairs


@pytest.fixture(scope="module")
def pairs(neuralart_dir: Path) -> list[tuple[dict[str, Any], StReport]]:
    found = _truths(neuralart_dir)
    assert len(found) >= 39
    return found


def test_epochs_and_operators(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    for truth, report in pairs:
        counts = report.counts
        assert counts is not None
        wanted = truth["epochs"]
        assert (counts.total, counts.hw, counts.ec, counts.sw) == (
            wanted["total"], wanted["hw"], wanted["ec"], wanted["sw"]), truth["id"]  # fmt: skip
        if counts.hybrid is not None:
            assert counts.hybrid == wanted["hybrid"], truth["id"]
        assert report.hybrid_ops == truth["hybrid_ops"], truth["id"]
        assert _printed(report.sw_ops) == _printed(truth["sw_ops"]), truth["id"]


def _printed(ops: dict[str, int]) -> dict[str, int]:
    """network.c names the kernel (resize_integer) where reports print the operator (Resize)."""
    aliases = {"resize_integer": "Resize", "dequantizelinear": "DequantizeLinear"}
    return {aliases.get(name, name): number for name, number in ops.items()}


def test_versions_and_totals(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    for truth, report in pairs:
        if truth["id"].startswith("r17"):
            continue
        totals = truth["totals"]
        assert report.core_version == truth["core_version"]
        assert report.atonn_version == truth["atonn_version"]
        assert report.weights_bytes == totals["weights_bytes"], truth["id"]
        assert report.activations_bytes == totals["activations_bytes"], truth["id"]
        assert report.max_cycles == totals["max_cycles"], truth["id"]
        if totals["macc"] is not None:
            assert report.macc == totals["macc"], truth["id"]


def test_memory(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    for truth, report in pairs:
        if truth["id"].startswith("r17"):
            continue
        assert report.pools.keys() == truth["memory"].keys(), truth["id"]
        for name, wanted in truth["memory"].items():
            pool = report.pools[name]
            found = (pool.used, pool.weights, pool.activations, pool.ranges)
            assert found == tuple(wanted[key] for key in ("used", "weights", "activations", "ranges")), (
                truth["id"], name)  # fmt: skip


def test_options(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    for truth, report in pairs:
        if truth["options"] is not None:
            assert list(report.options) == truth["options"], truth["id"]


def test_every_epoch(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    for truth, report in pairs:
        if truth["id"].startswith("r17"):
            continue
        found = {epoch.id: epoch for epoch in report.epochs}
        assert found.keys() == {entry["id"] for entry in truth["per_epoch"]}, truth["id"]
        for wanted in truth["per_epoch"]:
            epoch = found[wanted["id"]]
            assert (epoch.kind, list(epoch.nodes)) == (KINDS[wanted["kind"]], wanted["nodes"]), (truth["id"], epoch.id)
            assert epoch.max_cycles == wanted.get("max_cycles")
            assert epoch.compute_cycles == wanted.get("compute_cycles")
            pools = {n: [p.reads, p.writes, p.read_cycles, p.write_cycles] for n, p in epoch.pools.items()}
            assert pools == wanted.get("pools", {}), (truth["id"], epoch.id)


def test_convolutions(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    compared = 0
    for truth, report in pairs:
        found = {epoch.id: epoch for epoch in report.epochs}
        for wanted in truth["per_epoch"]:
            for conv, expected in zip(found[wanted["id"]].convs, wanted.get("convs", []), strict=False):
                assert (conv.name, conv.out_channels, conv.kernel, conv.units) == (
                    expected["name"], expected["O"], (expected["kh"], expected["kw"]), expected["ca"])  # fmt: skip
                compared += 1
    assert compared >= 300


def test_board_times(pairs: list[tuple[dict[str, Any], StReport]], neuralart_dir: Path) -> None:
    seen = 0
    for truth, report in pairs:
        board = truth["board"]
        if not board or report.board is None:
            continue
        seen += 1
        assert report.board.milliseconds == board["ms"], truth["id"]
        assert report.board.clocks == board["clocks_mhz"], truth["id"]
        rows = [row for row in report.board.rows if "extra" not in row.kind]
        assert [(row.block, row.milliseconds, list(row.counters)) for row in rows] == [
            (row["block"], row["ms"], row["cpu_cycles_pre_core_post"]) for row in board.get("epochs", [])
        ], truth["id"]
    assert seen >= 23
