"""Shapes of inputs and outputs as ST reads them: the batch in front, at most four axes.

Recurrent cells put time, or layers, in front of the batch, [T, 1, I]; frames make a fifth axis, [1, C, D, H, W]. The
same bytes are [1, T, I] and [1, C D, H, W].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.states import CELLS, MOVES

__all__ = ["fit_ports", "leads_with_time", "same_bytes"]

_MOST_AXES = 4


def leads_with_time(value: ir.Value) -> bool:
    """Whether the first axis of a graph input or output counts steps or layers of a recurrent cell, not samples."""
    shape = list(value.shape or ())
    if len(shape) < 3 or shape[0] == 1 or 1 not in shape:
        return False
    return _reaches_cell(value) if value.is_graph_input() else _comes_from_cell(value)


def fit_ports(model: ir.Model) -> None:
    """Give inputs and outputs a batch in front and at most four axes, in place: a Reshape of the same bytes."""
    graph = model.graph
    for value in graph.inputs:
        full, to = _sizes(value), _fitting(value)
        if to is not None:
            inner = _reshaped(graph, value, full, f"{value.name}_as_read")
            value.replace_all_uses_with(inner)
            inner.producer().replace_input_with(0, value)  # type: ignore[union-attr]
            graph.insert_before(graph[0], inner.producer())  # type: ignore[arg-type]
            value.shape = ir.Shape(to)
    for index, value in enumerate(graph.outputs):
        if (to := _fitting(value)) is not None:
            name, value.name = value.name, f"{value.name}_as_made"
            graph.outputs[index] = result = _reshaped(graph, value, to, str(name))
            graph.append(result.producer())  # type: ignore[arg-type]


def same_bytes(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Whether one shape is the other with neighbouring axes merged, and axes of 1 in any place."""
    short, long = sorted(([n for n in s if n != 1] for s in (shape, other)), key=len)
    for size in short:
        merged = 1
        while long and merged < size:
            merged *= long.pop(0)
        if merged != size:
            return False
    return not long


def _fitting(value: ir.Value) -> list[int] | None:
    """The shape that a graph input or output should have; None for the one it has."""
    full = _sizes(value)
    if leads_with_time(value):
        batch = full.index(1)
        full = [1, *full[:batch], *full[batch + 1 :]]
    if len(full) > _MOST_AXES and full[0] == 1:
        full = [1, math.prod(full[1 : 2 - _MOST_AXES]), *full[2 - _MOST_AXES :]]
    return None if full == _sizes(value) or not value.shape or not value.shape.is_static() else full


def _sizes(value: ir.Value) -> list[int]:
    return [d for d in value.shape or () if isinstance(d, int)]


def _reshaped(graph: ir.Graph, value: ir.Value, to: list[int], name: str) -> ir.Value:
    tensor = ir.tensor(np.array(to, np.int64), name=f"{name}_shape")
    shape = ir.Value(name=tensor.name, type=ir.TensorType(ir.DataType.INT64), const_value=tensor)
    shape.shape = ir.Shape([len(to)])
    graph.register_initializer(shape)
    node = ir.node("Reshape", [value, shape], name=f"{name}_reshape")
    result = node.outputs[0]
    result.name, result.type, result.shape = name, value.type, ir.Shape(to)
    return result


def _reaches_cell(value: ir.Value) -> bool:
    readers = list(value.consumers())
    return any(n.op_type in CELLS or (n.op_type in MOVES and _reaches_cell(n.outputs[0])) for n in readers)


def _comes_from_cell(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    if node is None or node.op_type not in MOVES:
        return node is not None and node.op_type in CELLS
    return _comes_from_cell(node.inputs[0])
