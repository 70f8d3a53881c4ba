"""Putting values in the place of a node, and what lies around it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from n6convert.requantization.grids import carry

__all__ = ["around", "swap_outputs"]

_REACH = 3  # edges around a change within which rules are tried again at once


def around(node: ir.Node) -> dict[ir.Node, None]:
    """Nodes a few edges away, up and down."""
    found = {node: None}
    edge = [node]
    for _ in range(_REACH):
        near = [n for e in edge for n in (*e.predecessors(), *e.successors())]
        edge = [n for n in dict.fromkeys(near) if n not in found]
        found.update(dict.fromkeys(edge))
    return found


def swap_outputs(graph: ir.Graph, node: ir.Node, values: Sequence[ir.Value]) -> None:
    """Let values stand for a node's outputs, and drop what nobody reads any more.

    Args:
        graph: of the node.
        node: goes when nobody reads it.
        values: in the order of its outputs.
    """
    for old, new in zip(node.outputs[: len(values)], values, strict=True):
        if old.is_graph_output():
            new = _own_value(graph, node, new)
        carry(old, new)
        if old.is_graph_output():
            old_name, old.name = old.name, f"{old.name}.replaced"
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            new.name = old_name
        else:
            old.replace_all_uses_with(new)
    _remove_dead(graph, node)


def _own_value(graph: ir.Graph, node: ir.Node, value: ir.Value) -> ir.Value:
    """A value that may take a graph output's name: not an input, a constant or another output."""
    if value.producer() is not None and not value.is_graph_output():
        return value
    copy = ir.node("Identity", [value])
    copy.outputs[0].shape, copy.outputs[0].type = value.shape, value.type
    graph.insert_before(node, copy)
    return copy.outputs[0]


def _remove_dead(graph: ir.Graph, node: ir.Node) -> None:
    pending = [node]
    while pending:
        dead = pending.pop()
        if dead.graph is None or any(v.is_graph_output() or v.uses() for v in dead.outputs):
            continue
        sources = [v for v in dead.inputs if v is not None]
        graph.remove(dead, safe=True)
        for value in sources:
            maker = value.producer()
            if maker is not None:
                pending.append(maker)
            elif value.is_initializer() and not value.uses() and not value.is_graph_output():
                graph.initializers.pop(str(value.name), None)
