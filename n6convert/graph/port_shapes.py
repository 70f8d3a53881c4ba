"""Shapes of inputs and outputs as ST reads them: the batch in front, at most four axes, none of 65,536.

Recurrent cells put time, or layers, in front of the batch, [T, 1, I]; frames make a fifth axis, [1, C, D, H, W];
waveforms are long, [1, 1, N]. The same bytes are [1, T, I], [1, C D, H, W] and [1, 1, N / s, s].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import AXIS_LIMIT
from n6convert.graph.initializers import add_initializer
from n6convert.graph.states import CARRYING, CELLS

__all__ = ["fit_ports", "leads_with_time", "same_bytes"]

_MOST_AXES = 4


def leads_with_time(value: ir.Value) -> bool:
    """Whether the first axis of a graph input or output counts steps or layers of a recurrent cell, not samples."""
    shape = list(value.shape or ())
    if len(shape) < 3 or shape[0] == 1 or 1 not in shape:
        return False
    return _reaches_cell(value) if value.is_graph_input() else _comes_from_cell(value)


def fit_ports(model: ir.Model) -> set[str]:
    """Give inputs and outputs a batch in front, at most four axes and no long ones, in place, by a Reshape.

    Returns:
        Names of inputs of which axes were merged or cut: their axes are no longer those of an image.
    """
    graph = model.graph
    other: set[str] = set()
    for value in graph.inputs:
        full, to = _sizes(value), _fitting(value)
        if to is not None:
            inner = _reshaped(graph, value, full, f"{value.name}_as_read")
            value.replace_all_uses_with(inner)
            inner.producer().replace_input_with(0, value)  # type: ignore[union-attr]
            graph.insert_before(graph[0], inner.producer())  # type: ignore[arg-type]
            value.shape = ir.Shape(to)
            if [n for n in full if n != 1] != [n for n in to if n != 1]:
                other.add(str(value.name))
    for index, value in enumerate(graph.outputs):
        if (to := _fitting(value)) is not None:
            name, value.name = value.name, f"{value.name}_as_made"
            graph.outputs[index] = result = _reshaped(graph, value, to, str(name))
            graph.append(result.producer())  # type: ignore[arg-type]
    return other


def same_bytes(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Whether one shape is the other with neighboring axes merged, and axes of 1 in any place."""
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
    long = [i for i, size in enumerate(full) if size >= AXIS_LIMIT]
    if len(long) == 1 and full[0] == 1:
        full = _folded(full, long[0], _stride(value))
    return None if full == _sizes(value) or not value.shape or not value.shape.is_static() else full


def _folded(full: list[int], axis: int, stride: int) -> list[int]:
    """The long axis as rows of as many elements as the stride with which it is read, else of about its root."""
    size = full[axis]
    even = [stride] if size % stride == 0 and stride > 1 and size // stride < AXIS_LIMIT else []
    column = next((d for d in (*even, *range(math.isqrt(size), 1, -1)) if size % d == 0), 1)
    spare = next((i for i in range(axis - 1, 0, -1) if full[i] == 1), None) if len(full) == _MOST_AXES else None
    before = [n for i, n in enumerate(full[:axis]) if i != spare]
    to = [*before, size // column, column, *full[axis + 1 :]]
    return to if len(to) <= _MOST_AXES and max(to) < AXIS_LIMIT else full


def _stride(value: ir.Value, depth: int = 6) -> int:
    """The largest stride of the first Conv that reads a graph input; 1 where there is none nearby."""
    for node in value.consumers() if depth else ():
        if node.op_type == "Conv":
            return max(node.attributes.get_ints("strides", [1]))
        if (found := _stride(node.outputs[0], depth - 1)) > 1:
            return found
    return 1


def _sizes(value: ir.Value) -> list[int]:
    return [d for d in value.shape or () if isinstance(d, int)]


def _reshaped(graph: ir.Graph, value: ir.Value, to: list[int], name: str) -> ir.Value:
    shape = add_initializer(graph, f"{name}_shape", np.array(to, np.int64))
    node = ir.node("Reshape", [value, shape], name=f"{name}_reshape")
    result = node.outputs[0]
    result.name, result.type, result.shape = name, value.type, ir.Shape(to)
    return result


def _reaches_cell(value: ir.Value) -> bool:
    readers = list(value.consumers())
    return any(n.op_type in CELLS or (n.op_type in CARRYING and _reaches_cell(n.outputs[0])) for n in readers)


def _comes_from_cell(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    if node is None or node.op_type not in CARRYING:
        return node is not None and node.op_type in CELLS
    return _comes_from_cell(node.inputs[0])
