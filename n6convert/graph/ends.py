"""Where to end a network in front of operators that are left to the host, and how a user says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_ir as ir

__all__ = ["behind", "ending_at", "names_in_front"]


def ending_at(names: Iterable[str]) -> str:
    """The setting that ends a network at these tensors, as a user writes it."""
    return f"`--set options.outputs=[{','.join(dict.fromkeys(names))}]`"


def names_in_front(
    graph: ir.Graph, nodes: Iterable[ir.Node], name_of: Callable[[ir.Value], str] | None = None
) -> list[str] | None:
    """Outputs of the network without some nodes and all that depends on them; None where that leaves nothing.

    Args:
        graph: of the network.
        nodes: what is left to the host.
        name_of: the name that a user knows a value by; None: its own, without what rewrites add.
    """
    inputs = {v for v in graph.inputs if v.const_value is None}
    gone, fed = behind(graph, nodes), behind(graph, [n for n in graph if not inputs.isdisjoint(n.inputs)])
    kept = [v for v in graph.outputs if v.producer() not in gone]
    read = [v for n in graph if n in gone for v in n.inputs if v is not None and v.producer() not in gone]
    if not inputs.isdisjoint(read):
        return None
    names = [*(_name(v) for v in kept), *((name_of or _name)(v) for v in read if v.producer() in fed)]
    return list(dict.fromkeys(names)) or None


def behind(graph: ir.Graph, nodes: Iterable[ir.Node]) -> dict[ir.Node, None]:
    """Some nodes and all that depends on them, in the order of the graph."""
    found = dict.fromkeys(nodes)
    for node in graph:
        if node in found or any(v is not None and v.producer() in found for v in node.inputs):
            found[node] = None
    return {n: None for n in graph if n in found}


def _name(value: ir.Value) -> str:
    """The name in the user's own graph: rewrites call what they add to X ``X/~rule``."""
    return (value.name or "").split("/~")[0]
