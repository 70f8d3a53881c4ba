"""Cutting pieces out of a graph and running them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir
import onnx_ir.passes.common as passes

from n6convert.graph.query import is_constant, may_be_float

__all__ = ["Region", "consumer_region", "cut", "with_outputs"]

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
#: enough to reach from a residual sum through a LayerNorm in primitive steps to the products behind it
_DEPTH = 10


class Region:
    """The operators that a tensor reaches before its error is mixed: up to and including the next products.

    Attributes:
        nodes: in graph order.
        sinks: values at which the error is judged.
        others: values the region reads besides the tensor itself.
    """

    def __init__(self, value: ir.Value, nodes: list[ir.Node], sinks: list[ir.Value]) -> None:
        self.value = value
        self.nodes = nodes
        self.sinks = sinks
        made = {v for n in nodes for v in n.outputs} | {value}
        read = [v for n in nodes for v in n.inputs if v is not None and not is_constant(v)]
        self.others = list(dict.fromkeys(v for v in read if v not in made))


def consumer_region(value: ir.Value, order: dict[ir.Node, int]) -> Region:
    """Follow a value through its consumers, at most a few operators deep, up to the next matrix products."""
    depth = {value: 0}
    nodes: dict[ir.Node, None] = {}
    sinks: dict[ir.Value, None] = {value: None} if value.is_graph_output() else {}
    queue = [value]
    while queue:
        current = queue.pop(0)
        for node in current.consumers():
            if node in nodes:
                continue
            nodes[node] = None
            for output in node.outputs:
                stops = node.op_type in _PRODUCTS or depth[current] + 1 >= _DEPTH or not output.consumers()
                if output.is_graph_output() or stops:
                    sinks[output] = None
                if not stops:
                    depth[output] = depth[current] + 1
                    queue.append(output)
    return Region(value, sorted(nodes, key=order.__getitem__), [v for v in sinks if may_be_float(v)])


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
            const = value.const_value if is_constant(value) else None
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


def with_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy of the model (weights shared) whose outputs are the named tensors only."""
    copy = model.clone()
    by_name = {v.name: v for node in copy.graph for v in node.outputs}
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(by_name[name] for name in names)
    passes.RemoveUnusedNodesPass()(copy)
    return copy
