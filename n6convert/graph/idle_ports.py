"""Inputs and outputs of a network with which it does nothing."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["drop_copied_outputs", "drop_unread_inputs"]


def drop_unread_inputs(model: ir.Model) -> list[str]:
    """Take inputs out of a graph that no operator reads, in place: sizes of images, masks of other tasks.

    Where none is read they stay, since a network without inputs is refused with a message of its own.

    Returns:
        Their names.
    """
    graph = model.graph
    unread = [v for v in graph.inputs if not v.uses() and not v.is_graph_output() and v.name not in graph.initializers]
    if len(unread) == len(graph.inputs):
        return []
    for value in unread:
        graph.inputs.remove(value)
    return [value.name or "" for value in unread]


def drop_copied_outputs(model: ir.Model) -> dict[str, str]:
    """Take outputs out of a graph that are an input or another output under a second name, in place.

    Where nothing else is left they stay: such a network is refused with a message of its own.

    Returns:
        What each of them is, by its name.
    """
    graph, origins = model.graph, [_origin(v) for v in model.graph.outputs]
    copies = {
        i: origin
        for i, (v, origin) in enumerate(zip(graph.outputs, origins, strict=True))
        if origin in graph.inputs or (v is not origin and (origin in graph.outputs or origin in origins[:i]))
    }
    if len(copies) == len(graph.outputs):
        return {}
    found = {graph.outputs[i].name or "": origin.name or "" for i, origin in copies.items()}
    for index in sorted(copies, reverse=True):
        del graph.outputs[index]
    return found


def _origin(value: ir.Value) -> ir.Value:
    """What a chain of Identity nodes copies."""
    while (node := value.producer()) is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        value = node.inputs[0]
    return value
