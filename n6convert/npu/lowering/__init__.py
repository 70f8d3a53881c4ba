"""From the model's operators to the operators that the compiler schedules ([#lowering])."""

from __future__ import annotations

from n6convert.npu.ends import AS_MODELED, Ends, shape_ends
from n6convert.npu.frontend import simplify
from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Lowered
from n6convert.npu.lowering import convolution, elementwise, movement, products  # noqa: F401  (they register handlers)
from n6convert.npu.lowering.core import Lowerer

__all__ = ["lower"]


def lower(
    graph: Graph, version: tuple[int, int], switches: frozenset[str] = frozenset(), ends: Ends = AS_MODELED
) -> Lowered:
    """Simplify, place and lower a graph for a compiler version. The graph is changed: read it again for another one.

    Raises:
        GraphError: an operator's shapes make no sense.
    """
    shape_ends(graph, ends)
    simplify(graph, version)
    lowerer = Lowerer(graph, version, switches)
    if ends.input_channels != "chlast":
        _pack_inputs(lowerer)
    return lowerer.lower()


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
