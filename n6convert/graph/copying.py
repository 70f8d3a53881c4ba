"""Copies of graphs that only onnxruntime sees, or code that knows every node: quick ones, with the weights shared.

``onnx_ir``'s own ``clone`` also copies notes (metadata, documentation, symbols of shapes) and costs several times more,
which counts where a graph is copied for every layer or candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

__all__ = ["copied", "cut", "drop_unused", "is_flat"]

_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def cut(model: ir.Model, nodes: Sequence[ir.Node], inputs: Iterable[ir.Value], outputs: Iterable[ir.Value]) -> ir.Model:
    """A model of its own from some nodes of a graph; weights are shared, not copied.

    Args:
        model: stays as it is.
        nodes: in the graph's order.
        inputs: values that are inputs of the new model.
        outputs: values that are its outputs.
    """
    values: dict[ir.Value, ir.Value] = {}

    def twin(value: ir.Value | None) -> ir.Value | None:
        if value is None:
            return None
        if value not in values:
            const = value.const_value if _is_constant(value) else None
            values[value] = ir.Value(name=value.name, type=value.type, shape=value.shape, const_value=const)
        return values[value]

    heads = [twin(v) for v in inputs]
    copies = []
    for node in nodes:
        sources = [twin(v) for v in node.inputs]
        copy = ir.Node(
            node.domain,
            node.op_type,
            sources,
            list(node.attributes.values()),
            outputs=[twin(v) for v in node.outputs],  # type: ignore[misc]
            name=node.name,
        )
        copies.append(copy)
    constants = [v for v in values.values() if v.const_value is not None]
    graph = ir.Graph(
        [v for v in heads if v is not None],
        [v for v in map(twin, outputs) if v is not None],
        nodes=copies,
        initializers=constants,
        opset_imports=dict(model.graph.opset_imports),
        name="part",
    )
    return ir.Model(graph, ir_version=model.ir_version)


def copied(model: ir.Model) -> ir.Model:
    """A copy that computes the same, without notes."""
    if not is_flat(model):
        return model.clone()
    return cut(model, list(model.graph), model.graph.inputs, model.graph.outputs)


def is_flat(model: ir.Model) -> bool:
    """Whether the nodes' operands alone tell what is computed: no graphs inside, no functions, no constant outputs."""
    inner = any(a.type in _GRAPHS for node in model.graph for a in node.attributes.values())
    return not (inner or model.functions or any(_is_constant(v) for v in model.graph.outputs))


def drop_unused(graph: ir.Graph) -> None:
    """Remove the nodes whose results nobody reads, and the constants that nobody reads then; of a flat graph."""
    outputs = set(graph.outputs)
    for node in reversed(graph):
        if not any(v in outputs or v.uses() for v in node.outputs):
            graph.remove(node, safe=True)
    for name in [n for n, v in graph.initializers.items() if not v.uses() and v not in outputs]:
        del graph.initializers[name]


def _is_constant(value: ir.Value) -> bool:
    return value.const_value is not None and value.producer() is None
