"""Our parsers must reproduce the normalized truth of every shared report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from n6convert.npu.st import StEpoch, StReport, read_report

KINDS = {"HW": "hw", "EC": "ec", "SW": "sw", "hybrid": "hybrid", "none": "none"}


def _truths(neuralart_dir: Path) -> list[tuple[dict[str, Any], StReport]]:
    pairs = []
    for path in sorted((neuralart_dir / "expected").glob("r*.json")):
        truth = json.loads(path.read_text())
        files = [_shared(neuralart_dir / "reports" / name) for name in truth["source_files"]]
        if all(files):
            pairs.append((truth, read_report(*(path for path in files if path))))
    return pairs


def _shared(path: Path) -> Path | None:
    """The file, packed or not; None where it is not among the material (network.c of ST's own boards)."""
    packed = path.with_name(path.name + ".gz")
    return path if path.is_file() else packed if packed.is_file() else None


@pytest.fixture(scope="module")
def pairs(neuralart_dir: Path) -> list[tuple[dict[str, Any], StReport]]:
    found = _truths(neuralart_dir)
    assert len(found) >= 52
    return found


def test_epochs_and_operators(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    for truth, report in pairs:
        counts = report.counts or (report.board.counts if report.board else None)
        assert counts is not None
        wanted = truth["epochs"]
        assert (counts.total, counts.hw, counts.ec, counts.sw) == (
            wanted["total"], wanted["hw"], wanted["ec"] or 0, wanted["sw"]), truth["id"]  # fmt: skip
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
        without_first = sum(epoch.max_cycles or 0 for epoch in _booked_under_blob(truth, report))
        assert (report.max_cycles or 0) - without_first == (totals.get("max_cycles") or 0), truth["id"]
        if totals["macc"] is not None:
            assert report.macc == totals["macc"], truth["id"]


def _booked_under_blob(truth: dict[str, Any], report: StReport) -> list[StEpoch]:
    """First epochs of nested blobs: their cycles lie under the blob's own id, which the normalized truth leaves out."""
    nested = {entry["id"] for entry in truth.get("per_epoch", ()) if entry["kind"] == "EC" and "nodes" in entry}
    left_out = {e["id"] for e in truth.get("per_epoch", ()) if e["kind"] == "EC" and e.get("max_cycles") is None}
    known = any(entry.get("max_cycles") is not None for entry in truth.get("per_epoch", ()))
    return [epoch for epoch in report.epochs if known and epoch.id in nested & left_out]


def test_memory(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    for truth, report in pairs:
        if truth["id"].startswith("r17"):
            continue
        assert report.pools.keys() == truth["memory"].keys(), truth["id"]
        for name, wanted in truth["memory"].items():
            pool = report.pools[name]
            found = (pool.weights, pool.activations, pool.ranges)
            assert found == tuple(wanted[key] for key in ("weights", "activations", "ranges")), (truth["id"], name)
            rounded = 0 if wanted["exact"] else 1024
            assert pool.used == pytest.approx(wanted["used"], rel=0, abs=rounded), (truth["id"], name)


def test_options(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    for truth, report in pairs:
        if truth["options"] is not None:
            assert list(report.options) == truth["options"], truth["id"]


def test_every_epoch(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    for truth, report in pairs:
        if truth["id"].startswith("r17"):
            continue
        found = {epoch.id: epoch for epoch in report.epochs}
        entries = truth.get("per_epoch", ())
        assert found.keys() == {entry["id"] for entry in entries}, truth["id"]
        left_out = {epoch.id for epoch in _booked_under_blob(truth, report)}
        for wanted in entries:
            epoch = found[wanted["id"]]
            assert (epoch.kind, list(epoch.nodes)) == (KINDS[wanted["kind"]], wanted["nodes"]), (truth["id"], epoch.id)
            if epoch.id in left_out or epoch.kind == "none":
                continue
            assert epoch.max_cycles == wanted.get("max_cycles")
            assert epoch.compute_cycles == wanted.get("compute_cycles")
            pools = {n: [p.reads, p.writes, p.read_cycles, p.write_cycles] for n, p in epoch.pools.items()}
            assert pools == wanted.get("pools", {}), (truth["id"], epoch.id)


def test_convolutions(pairs: list[tuple[dict[str, Any], StReport]]) -> None:
    compared = 0
    for truth, report in pairs:
        found = {epoch.id: epoch for epoch in report.epochs}
        for wanted in truth.get("per_epoch", ()):
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
