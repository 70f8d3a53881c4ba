"""Cutting pieces out of a graph and running them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from n6convert.graph.copying import cut, is_flat
from n6convert.graph.initializers import add_initializer
from n6convert.graph.operators import PRODUCTS
from n6convert.graph.query import is_constant, may_be_float

__all__ = ["Region", "consumer_region", "cut", "makers", "odd_step", "thin_outputs", "with_outputs"]

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
                stops = node.op_type in PRODUCTS or depth[current] + 1 >= _DEPTH or not output.consumers()
                if output.is_graph_output() or stops:
                    sinks[output] = None
                if not stops:
                    depth[output] = depth[current] + 1
                    queue.append(output)
    return Region(value, sorted(nodes, key=order.__getitem__), [v for v in sinks if may_be_float(v)])


def makers(values: Iterable[ir.Value]) -> set[ir.Node]:
    """The nodes that some values are computed by."""
    found: set[ir.Node] = set()
    pending = [v.producer() for v in values]
    while pending:
        node = pending.pop()
        if node is not None and node not in found:
            found.add(node)
            pending.extend(v.producer() for v in node.inputs if v is not None)
    return found


def with_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy of the model (weights shared) whose outputs are the named tensors only."""
    if is_flat(model):
        values = {v.name: v for node in model.graph for v in node.outputs}
        outputs = [values[name] for name in names]
        needed = makers(outputs)
        return cut(model, [n for n in model.graph if n in needed], model.graph.inputs, outputs)
    copy = model.clone()
    by_name = {v.name: v for node in copy.graph for v in node.outputs}
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(by_name[name] for name in names)
    passes.RemoveUnusedNodesPass()(copy)
    return copy


def odd_step(size: int, most: int) -> int:
    """The step that leaves at most so many of a flat tensor's values; odd, so that it meets every column and row of a
    map of even width.

    Args:
        size: of the tensor.
        most: values that are left.
    """
    return -(-size // most) | 1


def thin_outputs(model: ir.Model, most: int, sizes: Mapping[str | None, int]) -> None:
    """Leave of each larger output, in place, the flat values at :func:`odd_step`, under the name of the whole.

    Args:
        model: changed.
        most: values that are left of an output.
        sizes: of the outputs by name, whose shapes the graph need not hold.
    """
    graph = model.graph
    numbers: dict[int, ir.Value] = {}
    for index, whole in enumerate(list(graph.outputs)):
        size = sizes[whole.name]
        if size <= most or whole.producer() is None:
            continue
        name, whole.name = whole.name, f"{whole.name}/whole"
        for number in (-1, 0, size, odd_step(size, most)):
            if number not in numbers:
                numbers[number] = add_initializer(graph, f"{name}/number{number}", np.array([number], np.int64))
        flat, start, end, step = (numbers[n] for n in (-1, 0, size, odd_step(size, most)))
        span = start, end, start, step  # along the first axis
        reshape = ir.node("Reshape", [whole, flat])
        some = ir.node("Slice", [reshape.outputs[0], *span])
        reshape.outputs[0].name, some.outputs[0].name = f"{name}/values", name
        some.outputs[0].type, some.outputs[0].shape = whole.type, ir.Shape([-(-size // odd_step(size, most))])
        graph.insert_after(whole.producer(), [reshape, some])  # type: ignore[arg-type]  # where memory is freed
        graph.outputs[index] = some.outputs[0]
