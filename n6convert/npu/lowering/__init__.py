"""From the model's operators to the operators that the compiler schedules ([#lowering])."""

from __future__ import annotations

from dataclasses import replace

from n6convert.npu.ends import AS_MODELED, Ends, shape_ends
from n6convert.npu.frontend import simplify
from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Lowered, Op, Where
from n6convert.npu.lowering import (  # noqa: F401  (they register handlers)
    convolution,
    elementwise,
    movement,
    pooling,
    products,
)
from n6convert.npu.lowering.core import Lowerer

__all__ = ["lower"]


def lower(
    graph: Graph, version: tuple[int, int], switches: frozenset[str] = frozenset(), ends: Ends = AS_MODELED
) -> Lowered:
    """Simplify, place and lower a graph for a compiler version. The graph is changed: read it again for another one.

    Args:
        graph: changed: read it again for another version.
        version: of the compiler.
        switches: of the compiler, by name.
        ends: the asked-for inputs and outputs.

    Raises:
        GraphError: an operator's shapes make no sense.
    """
    shape_ends(graph, ends)
    simplify(graph, version)
    lowerer = Lowerer(graph, version, switches)
    if ends.input_channels != "chlast":
        _pack_inputs(lowerer)
    lowered = lowerer.lower()
    return lowered if ends.output_channels == "chlast" else _unpack_outputs(lowerer, lowered)


def _pack_inputs(lowerer: Lowerer) -> None:
    """A channel-first input with several channels is packed by one copy (SEEN r01, r07)."""
    if lowerer.graph.style == "float":
        return
    for name in lowerer.graph.inputs:
        shape = lowerer.graph.tensors[name].shape
        readers = lowerer.readers.get(name, [])
        edge = any(reader.attributes.get("graph_edge") for reader in readers)
        if len(shape) != 4 or shape[1] == 1 or shape[2] * shape[3] == 1 or edge or not readers:
            continue
        packed = lowerer.fresh(name, "packed")
        node = Node(name, "Identity", (name,), (packed,))
        lowerer.emit("Identity", node, lowerer.pick("Copy", node), [name], [packed])
        for reader in readers:
            reader.inputs = tuple(packed if x == name else x for x in reader.inputs)


def _unpack_outputs(lowerer: Lowerer, lowered: Lowered) -> Lowered:
    """A channel-first output with several channels is turned by one copy, for the NPU writes its maps channel-last
    ([#ends]: the compiler keeps the model's own layout). Software writes in the order that its reader wants."""
    if lowerer.graph.style == "float":
        return lowered
    writers, before = {name: op for op in lowered.ops for name in op.outputs}, len(lowerer.ops)
    outputs = tuple(_in_planes(lowerer, name, writers.get(name)) for name in lowered.outputs)
    return replace(lowered, ops=[*lowered.ops, *lowerer.ops[before:]], outputs=outputs)


def _in_planes(lowerer: Lowerer, name: str, writer: Op | None) -> str:
    shape = lowerer.tensors[name].shape
    spatial = len(shape) == 4 and shape[1] > 1 and shape[2] * shape[3] > 1
    if not spatial or writer is None or writer.where is not Where.HW or writer.kind == "Transpose":
        return name
    planes = lowerer.fresh(name, "planes")
    node = Node(name, "Identity", (name,), (planes,))
    lowerer.emit("Transpose", node, lowerer.pick("Copy", node), [name], [planes])
    return planes
