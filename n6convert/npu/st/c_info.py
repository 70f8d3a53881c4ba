"""``*_c_info.json`` of atonn, 2.x and 3.x schemas ([#files])."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from n6convert.errors import SourceError
from n6convert.npu.st.facts import PoolAccess, StConv, StCounts, StEpoch, StPool, StReport, count_ops
from n6convert.npu.st.report import known_core, parse_options
from n6convert.npu.st.text import read_json

__all__ = ["parse_c_info", "read_c_info"]

Json: TypeAlias = Mapping[str, Any]
Buffers: TypeAlias = Mapping[int, Json]

_SCHEMA_MAJOR = "2"
_KINDS = {
    "NODE_HW": "hw",
    "NODE_EC": "ec",
    "NODE_SW": "sw",
    "NODE_SW_INTEGER": "sw",
    "NODE_SW_HW": "hybrid",
    "NODE_SW_LL_HW": "hybrid",
    "NODE_NO_X": "none",
}
_EPOCH = re.compile(r"epoch_\d+$")
_BLOB = "Epoch Controller Blob"
_NOT_EXECUTED = {"Param", "Return"}


def read_c_info(path: str | Path) -> StReport:
    """Parse a c_info file (plain or gzip).

    Raises:
        SourceError: truncated, another kind of JSON, an unknown schema, or a newer core.
    """
    return parse_c_info(read_json(path), str(path))


def parse_c_info(data: Any, source: str) -> StReport:
    """Normalize a parsed c_info; see :func:`read_c_info`."""
    _check_kind(data, source)
    try:
        return _normalize(data, source)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            "the c_info lacks a field that every known version has",
            place=source,
            limit=f"json_schema_version {_SCHEMA_MAJOR}.x",
            found=f"{type(error).__name__}: {error}",
            remedy="it may be damaged or from another tool",
        ) from error


def _check_kind(data: Any, source: str) -> None:
    if isinstance(data, dict) and "aton_execution_time" in data:
        raise SourceError(
            "this c_info was written by validate and describes no epochs",
            place=source,
            remedy="give the network_c_info.json written by generate or analyze",
        )
    wanted = {"graphs", "buffers", "memory_pools", "memory_accesses", "power_estimates"}
    if not isinstance(data, dict) or not wanted <= data.keys():
        raise SourceError(
            "this JSON is not a c_info of atonn", place=source, limit=", ".join(sorted(wanted)), remedy=_instead(data)
        )
    schema = str(data.get("json_schema_version", ""))
    if schema.split(".")[0] != _SCHEMA_MAJOR:
        raise SourceError(
            "unknown c_info schema", place=source, limit=f"{_SCHEMA_MAJOR}.x", found=schema or "none",
            remedy="update n6convert",
        )  # fmt: skip


def _instead(data: Any) -> str:
    """What a file of the same project is for."""
    if isinstance(data, dict) and "memory" in data:
        return "a memory description (*.mpool) is given with --pools"
    return "give network_generate_report.txt, network_c_info.json, network.csv or the log of validate"


def _normalize(data: Json, source: str) -> StReport:
    """From 3.0 on, a build with the epoch controller hides its hardware epochs in ``ec_blobs_info`` ([#files]): then
    counts and sums stay unknown."""
    core, atonn, options = _tools(data)
    if core:
        core = known_core(core, source)
    epochs = _epochs(data)
    hidden = bool(data.get("ec_blobs_info")) and not any(epoch.kind in {"hw", "ec"} for epoch in epochs)
    footprint = data["memory_footprint"]
    return StReport(
        sources=(source,),
        core_version=core,
        atonn_version=atonn,
        options=options,
        counts=None if hidden else _counts(epochs),
        epochs=epochs,
        sw_ops=count_ops(epochs, "sw"),
        hybrid_ops=count_ops(epochs, "hybrid"),
        pools={pool.name: pool for pool in _pools(data)},
        weights_bytes=footprint["weights"],
        activations_bytes=footprint["activations"],
        max_cycles=None if hidden else sum(epoch.max_cycles or 0 for epoch in epochs),
        allocates_io=not any(pool["user_allocated"] for pool in data["memory_pools"]),
    )


def _tools(data: Json) -> tuple[str | None, str | None, tuple[str, ...]]:
    tools = {tool["name"]: tool for tool in data["environment"]["tools"]}
    core = tools.get("ST.EdgeAI.Core", {}).get("version", "").split()
    atonn = tools.get("ATONN Compiler", {})
    return (core[0] if core else None), atonn.get("version"), parse_options(atonn.get("arguments"))


def _counts(epochs: Sequence[StEpoch]) -> StCounts:
    number = {kind: sum(epoch.kind == kind for epoch in epochs) for kind in set(_KINDS.values())}
    executed = sum(number.values()) - number["none"]
    return StCounts(executed, number["hw"], number["ec"], number["hybrid"], number["sw"])


def _pools(data: Json) -> list[StPool]:
    """Pools that are in use; joined (virtual) pools are left out because their members are counted."""
    return [
        StPool(
            pool["name"],
            used=pool["used_size_bytes"],
            size=pool["size_bytes"],
            start=int(pool["address"]) if pool["address"] else None,
            byte_width=pool["attributes"]["byte_width"],
            freq_ratio=pool["attributes"]["freq_ratio"],
        )
        for pool in data["memory_pools"]
        if pool["used_size_bytes"] and not pool["subpools"]
    ]


def _epochs(data: Json) -> list[StEpoch]:
    buffers = {buffer["id"]: buffer for buffer in data["buffers"]}
    names = {pool["id"]: pool["name"] for pool in data["memory_pools"]}
    power = {entry["node_id"]: entry for entry in data["power_estimates"]}
    accesses: dict[int, dict[str, PoolAccess]] = {}
    for entry in data["memory_accesses"]:
        if entry["reads"] or entry["writes"]:
            access = PoolAccess(entry["reads"], entry["writes"], entry["read_cycles"], entry["write_cycles"])
            accesses.setdefault(entry["node_id"], {})[names[entry["mpool_id"]]] = access
    return [
        _epoch(node, kind, buffers, accesses.get(entry, {}), power.get(entry, {}))
        for node, kind, entry in _epoch_nodes(data)
        if _executed(node)
    ]


def _epoch_nodes(data: Json) -> Iterator[tuple[Json, str, int]]:
    """Every epoch with its kind and the id under which its cycles are booked.

    4.x nests the epochs of a controller blob inside its node and books the first of them under the blob's own id.
    """
    for node in data["graphs"][0]["nodes"]:
        if _EPOCH.match(node["name"]):
            yield node, _KINDS[node["mapping"]], node["id"]
        elif node.get("type") == _BLOB:
            inner = [part for part in node["subgraph_nodes"] if _EPOCH.match(part["name"])]
            for place, part in enumerate(inner):
                kind = _KINDS[part["mapping"]]
                yield part, "ec" if kind == "hw" else kind, part["id"] if place else node["id"]


def _executed(node: Json) -> bool:
    kinds = {_node_kind(inner) for inner in node["subgraph_nodes"]}
    return not kinds <= _NOT_EXECUTED or (not kinds and node["name"] != "epoch_0")


def _node_kind(node: Json) -> str:
    """3.0 writes ``type``, 2.x hides the kind in the description."""
    return str(node.get("type") or node.get("description", "").removeprefix("Node kind="))


def _epoch(node: Json, kind: str, buffers: Buffers, pools: dict[str, PoolAccess], power: Json) -> StEpoch:
    epoch = StEpoch(
        id=int(node["name"].removeprefix("epoch_")),
        kind=kind,
        nodes=tuple(map(_node_kind, node["subgraph_nodes"])),
        compute_cycles=power.get("compute_cycles"),
        max_cycles=power.get("max_cycles"),
        pools=pools,
    )
    if kind in {"sw", "hybrid"}:
        epoch.inputs, epoch.outputs = _maps(node["inputs"], buffers), _maps(node["outputs"], buffers)
    else:
        epoch.convs = _convs(node, buffers)
    return epoch


def _maps(ids: Sequence[int], buffers: Buffers) -> tuple[tuple[tuple[int, ...], str], ...]:
    """Shape and element format of the activations among these buffers."""
    found = [buffers[number] for number in ids if not buffers[number]["is_param"]]
    return tuple((tuple(buffer["shape"]), buffer["format"].removeprefix("STAI_FORMAT_")) for buffer in found)


def _convs(node: Json, buffers: Buffers) -> tuple[StConv, ...]:
    parts = [inner for inner in node["subgraph_nodes"] if _node_kind(inner) == "Conv"]
    heads = [inner for inner in parts if "_ca_pipe_" not in inner["name"]]
    outputs = [buffers[number] for number in node["outputs"]]
    return tuple(_conv(head, parts, outputs, buffers) for head in heads)


def _conv(node: Json, parts: Sequence[Json], epoch_outputs: Sequence[Json], buffers: Buffers) -> StConv:
    used = [buffers[number] for number in node["inputs"]]
    weights: Sequence[int] = next((b["shape"] for b in used if b["is_param"] and len(b["shape"]) == 4), (0, 0, 1, 1))
    source = next((b for b in used if not b["is_param"]), None)
    written = [buffers[number] for number in node["outputs"]] or epoch_outputs
    offsets = (source or {}).get("intq", {}).get("offsets") or [None]
    return StConv(
        name=node["name"],
        out_channels=weights[0],
        in_channels=weights[1],
        kernel=(weights[2], weights[3]),
        units=sum(part["name"].split("_ca_pipe_")[0] == node["name"] for part in parts),
        in_hw=_map_size(source),
        out_hw=_map_size(written[0]) if written else None,
        batch=source["batch"] if source else None,
        input_zero_point=offsets[0],
        input_format=source["format"].removeprefix("STAI_FORMAT_") if source else "internal",
    )


def _map_size(buffer: Json | None) -> tuple[int, int] | None:
    shape: Sequence[int] = buffer["shape"] if buffer else ()
    return (shape[2], shape[3]) if len(shape) == 4 else None
