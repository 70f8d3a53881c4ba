"""The compiler's c_info, built here from known epochs; a field that is missing is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from n6convert.errors import SourceError
from n6convert.npu.st.c_info import parse_c_info, read_c_info
from n6convert.npu.st.facts import PoolAccess


def _buffer(number: int, shape: list[int], param: bool = False, **more: Any) -> dict[str, Any]:
    values = {"id": number, "is_param": param, "shape": shape, "format": "STAI_FORMAT_S8", "batch": 8,
              "intq": {"offsets": [-128]}}  # fmt: skip
    return values | more


def _node(number: int, mapping: str, parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"id": 100 + number, "name": f"epoch_{number}", "mapping": mapping, "subgraph_nodes": parts, "inputs": [],
            "outputs": []} | more  # fmt: skip


def _part(kind: str, name: str = "n", **more: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "inputs": [], "outputs": []} | more


def _info() -> dict[str, Any]:
    """A convolution of two units in series, a Softmax, a hybrid Concat, an epoch of nothing."""
    conv = [_part("Conv", "conv", inputs=[1, 2], outputs=[3]), _part("Conv", "conv_ca_pipe_1"), _part("Relu")]
    nodes = [
        _node(1, "NODE_HW", conv, inputs=[1, 2], outputs=[3]),
        _node(2, "NODE_SW", [_part("Softmax")], inputs=[3, 2], outputs=[4]),
        _node(3, "NODE_SW_HW", [_part("Concat")], inputs=[3], outputs=[4]),
        _node(4, "NODE_HW", [_part("Return")]),
    ]
    return {
        "json_schema_version": "2.1",
        "environment": {"tools": [
            {"name": "ST.EdgeAI.Core", "version": "3.0.0-20426 abc"},
            {"name": "ATONN Compiler", "version": "1.2", "arguments": "-i a.onnx -O3 --optimization 3"},
        ]},
        "graphs": [{"nodes": nodes}],
        "buffers": [
            _buffer(1, [1, 16, 8, 9]), _buffer(2, [32, 16, 3, 5], True), _buffer(3, [1, 32, 6, 7]),
            _buffer(4, [1, 32], format="STAI_FORMAT_FLOAT32"),
        ],
        "memory_pools": [
            {"id": 0, "name": "ram", "used_size_bytes": 500, "size_bytes": 900, "address": "874512384", "subpools": [],
             "attributes": {"byte_width": 8, "freq_ratio": 1.25}, "user_allocated": False},
            {"id": 1, "name": "empty", "used_size_bytes": 0, "size_bytes": 9, "address": "", "subpools": [],
             "attributes": {"byte_width": 8, "freq_ratio": 1.25}, "user_allocated": False},
            {"id": 2, "name": "joined", "used_size_bytes": 500, "size_bytes": 9, "address": "0", "subpools": [0],
             "attributes": {"byte_width": 8, "freq_ratio": 1.25}, "user_allocated": False},
        ],
        "memory_accesses": [
            {"node_id": 101, "mpool_id": 0, "reads": 10, "writes": 20, "read_cycles": 1, "write_cycles": 2},
            {"node_id": 101, "mpool_id": 1, "reads": 0, "writes": 0, "read_cycles": 0, "write_cycles": 0},
        ],
        "power_estimates": [{"node_id": 101, "compute_cycles": 700, "max_cycles": 900},
                            {"node_id": 102, "compute_cycles": 5, "max_cycles": 50}],
        "memory_footprint": {"weights": 4000, "activations": 500},
    }  # fmt: skip


def test_epochs_with_their_cycles_and_traffic() -> None:
    report = parse_c_info(_info(), "c.json")
    assert [(e.id, e.kind) for e in report.epochs] == [(1, "hw"), (2, "sw"), (3, "hybrid")], "4 is the Return"
    first = report.epochs[0]
    assert (first.compute_cycles, first.max_cycles, first.nodes) == (700, 900, ("Conv", "Conv", "Relu"))
    assert first.pools == {"ram": PoolAccess(10, 20, 1, 2)}
    assert report.max_cycles == 950 and (report.sw_ops, report.hybrid_ops) == ({"Softmax": 1}, {"Concat": 1})
    assert report.counts is not None and (report.counts.total, report.counts.hw, report.counts.hybrid) == (3, 1, 1)


def test_geometry_of_a_convolution() -> None:
    (conv,) = parse_c_info(_info(), "c.json").epochs[0].convs
    assert (conv.out_channels, conv.in_channels, conv.kernel, conv.units) == (32, 16, (3, 5), 2)
    assert (conv.in_hw, conv.out_hw, conv.batch) == ((8, 9), (6, 7), 8)
    assert (conv.input_zero_point, conv.input_format) == (-128, "S8")


def test_software_has_its_maps() -> None:
    softmax = parse_c_info(_info(), "c.json").epochs[1]
    assert softmax.inputs == (((1, 32, 6, 7), "S8"),), "constants are no maps"
    assert softmax.outputs == (((1, 32), "FLOAT32"),)


def test_pools_in_use_and_no_joined_ones() -> None:
    report = parse_c_info(_info(), "c.json")
    (pool,) = report.pools.values()
    assert (pool.name, pool.used, pool.size, pool.start) == ("ram", 500, 900, 874512384)
    assert (report.weights_bytes, report.activations_bytes, report.allocates_io) == (4000, 500, True)
    owned = _info()
    owned["memory_pools"][1]["user_allocated"] = True
    assert not parse_c_info(owned, "c.json").allocates_io


def test_versions_and_options() -> None:
    report = parse_c_info(_info(), "c.json")
    assert (report.core_version, report.version, report.atonn_version) == ("3.0.0-20426", (3, 0), "1.2")
    assert report.options == ("-O3", "--optimization 3")


def test_2x_hides_kinds_in_descriptions() -> None:
    info = _info()
    for node in info["graphs"][0]["nodes"]:
        for part in node["subgraph_nodes"]:
            part["description"] = f"Node kind={part.pop('type')}"
    assert parse_c_info(info, "c.json") == parse_c_info(_info(), "c.json")


def test_a_blob_of_4x_books_its_first_epoch_under_its_own_id() -> None:
    info = _info()
    nodes = info["graphs"][0]["nodes"]
    inner = [nodes[0], _node(9, "NODE_HW", [_part("Add")])]
    blob = {"id": 77, "name": "blob_1", "type": "Epoch Controller Blob", "subgraph_nodes": inner}
    info["graphs"][0]["nodes"] = [blob, *nodes[1:]]
    info["power_estimates"] += [{"node_id": 77, "compute_cycles": 1, "max_cycles": 2},
                                {"node_id": 109, "compute_cycles": 3, "max_cycles": 4}]  # fmt: skip
    report = parse_c_info(info, "c.json")
    assert [(e.id, e.kind, e.max_cycles) for e in report.epochs[:2]] == [(1, "ec", 2), (9, "ec", 4)]


def test_hidden_epochs_leave_counts_unknown() -> None:
    info = _info()
    info["ec_blobs_info"] = [{}]
    info["graphs"][0]["nodes"] = info["graphs"][0]["nodes"][1:3]
    report = parse_c_info(info, "c.json")
    assert report.counts is None and report.max_cycles is None and report.sw_ops == {"Softmax": 1}


@pytest.mark.parametrize(
    "path",
    [("environment", "tools"), ("graphs", 0, "nodes", 0, "mapping"), ("graphs", 0, "nodes", 1, "inputs"),
     ("buffers", 0, "format"), ("buffers", 2, "shape"),
     ("memory_pools", 0, "size_bytes"), ("memory_footprint", "weights"),
     ("memory_accesses", 0, "reads"), ("memory_pools", 0, "attributes", "byte_width")],
)  # fmt: skip
def test_a_missing_field_is_named(path: tuple[Any, ...]) -> None:
    info = copy.deepcopy(_info())
    inner: Any = info
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    with pytest.raises(SourceError, match="lacks a field") as caught:
        parse_c_info(info, "c.json")
    assert caught.value.place == "c.json" and str(path[-1]) in str(caught.value.found)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"json_schema_version": "3.0"}, "unknown c_info schema"), ({"graphs": []}, "lacks a field"),
     ({"graphs": [{"nodes": [{"name": "epoch_1", "mapping": "NODE_NEW", "id": 1}]}]}, "lacks a field")],
)  # fmt: skip
def test_other_schemas(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        parse_c_info(_info() | change, "c.json")


def test_a_newer_core_is_refused() -> None:
    info = _info()
    info["environment"]["tools"][0]["version"] = "5.0.0-1 x"
    with pytest.raises(SourceError, match="newer"):
        parse_c_info(info, "c.json")


@pytest.mark.parametrize(
    ("data", "remedy"), [({"memory": {}}, "--pools"), ({}, "network_generate_report"), ([], "network_generate_report")]
)
def test_other_files_of_the_project_say_what_they_are_for(data: Any, remedy: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data))
    with pytest.raises(SourceError, match="not a c_info") as caught:
        read_c_info(path)
    assert remedy in str(caught.value.remedy)
