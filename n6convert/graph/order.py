"""Node order with the smaller peak of live activations: as rules left it, or depth first from the outputs.

Blocks of an attention product are independent; run breadth first, all of them would be in memory at once.
"""

from __future__ import annotations

import onnx_ir as ir

from n6convert.graph.query import elements, shape_of

__all__ = ["live_elements", "order_for_memory"]

_VIEWS = frozenset({"Reshape", "Identity"})


def order_for_memory(graph: ir.Graph) -> None:
    """Put the nodes of a sorted graph into the order that keeps fewer elements alive."""
    written = list(graph)
    deep = _depth_first(graph)
    if len(deep) == len(written) and live_elements(graph, deep) < live_elements(graph, written):
        graph.remove(written)
        graph.extend(deep)


def live_elements(graph: ir.Graph, order: list[ir.Node]) -> tuple[int, int]:
    """Elements alive at once: the largest number and the sum over all steps; views share the memory of their source."""
    last: dict[ir.Value, int] = {}
    for position, node in enumerate(order):
        for value in node.inputs:
            if value is not None:
                last[_stored(value)] = position
    for value in graph.outputs:
        last[_stored(value)] = len(order)
    ends: dict[int, list[ir.Value]] = {}
    for value, position in last.items():
        ends.setdefault(position, []).append(value)
    alive = peak = total = 0
    for position, node in enumerate(order):
        alive += sum(_size(v) for v in node.outputs if _stored(v) is v and v in last)
        peak = max(peak, alive)
        total += alive
        alive -= sum(_size(v) for v in ends.get(position, ()) if v.producer() is not None)
    return peak, total


def _stored(value: ir.Value) -> ir.Value:
    node = value.producer()
    while node is not None and node.op_type in _VIEWS and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _size(value: ir.Value) -> int:
    return elements(shape_of(value) or ())


def _depth_first(graph: ir.Graph) -> list[ir.Node]:
    """Every node right behind the last of its sources, starting from the outputs."""
    order: list[ir.Node] = []
    done: set[ir.Node] = set()
    stack = [(v.producer(), False) for v in reversed(graph.outputs)]
    while stack:
        node, ready = stack.pop()
        if node is None or node in done:
            continue
        if ready:
            done.add(node)
            order.append(node)
            continue
        stack.append((node, True))
        stack.extend((v.producer(), False) for v in reversed(node.inputs) if v is not None)
    return order
