"""Every file of the local material is read or refused by name, whole or damaged."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from n6convert.errors import GraphError, SourceError
from n6convert.npu.compare import compare
from n6convert.npu.estimation import estimate
from n6convert.npu.placement import read
from n6convert.npu.st import StReport, read_report
from n6convert.npu.st.mpool import read_mpool

_MODELS = {".onnx", ".tflite"}


def _files(neuralart_dir: Path) -> list[Path]:
    return sorted(path for path in (neuralart_dir / "reports").rglob("*") if path.is_file())


def _read(path: Path) -> StReport | None:
    """The report in a file, or None when it is refused in one clear message."""
    try:
        return read_report(path)
    except SourceError as error:
        assert path.name in str(error.place) and error.problem
        return None


def test_every_file(neuralart_dir: Path) -> None:
    found = {path: _read(path) for path in _files(neuralart_dir) if path.suffix not in _MODELS}
    named = ("generate_report", "analyze_report", "c_info", "network.c", "validate_report", "aistudio", "devcloud")
    expected = [path for path in found if any(part in path.name for part in named) and path.suffix != ".csv"]
    assert len(expected) > 80
    assert [path for path in expected if found[path] is None] == []
    for path, report in found.items():
        if report is not None and report.counts is not None and report.epochs:
            working = sum(epoch.kind != "none" for epoch in report.epochs)
            assert working >= report.counts.total, path


def test_every_model_and_pool_file(neuralart_dir: Path) -> None:
    files = _files(neuralart_dir)
    for path in (path for path in files if path.suffix in _MODELS):
        assert read(path).nodes, path
    for path in (path for path in files if path.suffix == ".mpool"):
        assert read_mpool(path), path


def test_damaged_files(neuralart_dir: Path, tmp_path: Path) -> None:
    """Cut anywhere, or with bytes changed: the same report, another one, or one message."""
    rng = random.Random(7)
    sources = [path for path in _files(neuralart_dir) if path.suffix not in _MODELS and path.stat().st_size < 120_000]
    for path in rng.sample(sources, 60):
        content = path.read_bytes()
        data = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        cut = data[: rng.randrange(len(data))]
        changed = bytearray(data)
        for _ in range(20):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        for name, damaged in (("cut", cut), ("changed", bytes(changed))):
            target = tmp_path / f"{name}_{path.name.removesuffix('.gz')}"
            target.write_bytes(damaged)
            _read(target)


def test_damaged_models(neuralart_dir: Path, tmp_path: Path) -> None:
    rng = random.Random(11)
    for path in rng.sample([path for path in _files(neuralart_dir) if path.suffix in _MODELS], 8):
        data = path.read_bytes()
        target = tmp_path / path.name
        target.write_bytes(data[: rng.randrange(1, len(data))])
        with pytest.raises((GraphError, SourceError)):
            read(target)


def test_nested_blobs(neuralart_dir: Path) -> None:
    """4.x hides its hardware epochs in nodes of blobs and books the first of each under the blob's id."""
    info = read_report(next((neuralart_dir / "reports").glob("r52_*/v4.0.1_c_info*")))
    assert info.counts is not None
    assert (info.counts.total, info.counts.ec, info.counts.hybrid, info.counts.sw) == (87, 47, 5, 35)
    square = read_report(next((neuralart_dir / "reports").glob("r42_*/v4.0.1_c_info*")))
    assert [epoch.compute_cycles for epoch in square.epochs][:3] == [16384, 524288, 524288]
    assert square.pools["octoFlash"].start is None, "its address is empty there"


def test_package_number_of_core_2_0(neuralart_dir: Path, tmp_path: Path) -> None:
    source = next((neuralart_dir / "reports").glob("r31_*/v2.0.0_analyze_report.txt"))
    path = tmp_path / "report.txt"
    path.write_text(source.read_text().replace("Core v2.0.0-20049", "Core v10.0.0-20047"))
    report = read_report(path)
    assert (report.core_version, report.version) == ("2.0.0-20047", (2, 0))
    info: Any = json.loads(gzip.decompress(source.with_name("v2.0.0_c_info.json.gz").read_bytes()))
    for tool in info["environment"]["tools"]:
        tool["version"] = tool["version"].replace("2.0.0-20049", "10.0.0-20047")
    (tmp_path / "c_info.json").write_text(json.dumps(info))
    assert read_report(path, tmp_path / "c_info.json").version == (2, 0)


def test_validate_log_alone_names_no_operator(neuralart_dir: Path) -> None:
    folder = next((neuralart_dir / "reports").glob("r24_snn_100_2"))
    report = read_report(next(folder.glob("*validate*")))
    assert report.version == (2, 2) and report.macc == 933_078
    assert report.board is not None and report.board.counts is not None
    assert (report.board.counts.total, report.board.counts.sw) == (326, 161)
    found = estimate(next(folder.glob("*.tflite")), "stm32n6570-dk@2.2")
    placement = found.placement
    comparison = compare(found.schedule, placement.sw_ops, placement.hybrid_ops, found.costs, report)
    assert comparison.placement_equal is None and comparison.as_dict()["placement_equal"] is None
    assert {line.name: line.truth for line in comparison.totals}["software epochs"] == 161
    assert any("names no operator" in note or "name no operator" in note for note in comparison.notes)


def test_a_memory_description_is_sent_to_its_option(neuralart_dir: Path) -> None:
    path = neuralart_dir / "reports/r25_yamnet_1024/stm32n6_audio.mpool"
    with pytest.raises(SourceError, match="stm32n6_audio.mpool") as found:
        read_report(path)
    assert found.value.remedy == "a memory description (*.mpool) is given with --pools"
