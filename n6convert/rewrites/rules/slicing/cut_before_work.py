"""Rows that are cut away at the end are not computed: ``cut(f(x, y)) = f(cut(x), cut(y))``.

A classifier reads one token of the last layer. From there upwards all that works row by row (norms, linear layers,
sums, functions, the queries' side of attention, Softmax over keys) is computed for that row alone; keys and values, and
the layers before, stay whole. The same for any Slice: it moves up through everything that nobody else reads uncut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.layout import axis_in_front
from n6convert.graph.operators import REDUCTIONS, UNARY
from n6convert.graph.patterns.slices import axis_of, slice_bounds
from n6convert.graph.query import attribute, constant_of, producer, reduced_axes, shape_of, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CutBeforeWork"]

_ELEMENTWISE = UNARY | {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "Gelu"}
_LAYOUTS = frozenset({"Reshape", "Transpose"})


@dataclass
class _Cone:
    """What only a cut reads: nodes with the axis of their output that is cut, down to the cut itself."""

    cut: ir.Node
    start: int
    stop: int
    axes: dict[ir.Node, int] = field(default_factory=dict)
    twins: list[ir.Node] = field(default_factory=list)
    """Slices of the same value that take the same."""


class CutBeforeWork(Rewrite[_Cone]):
    """Compute only what a Slice takes."""

    name = "cut-before-work"
    roots = frozenset({"Slice"})

    def pattern(self, node: ir.Node) -> _Cone | None:
        value, axis, full = node.inputs[0], axis_of(node), shape_of(node.inputs[0])
        if value is None or axis is None or full is None:
            return None
        start, stop, _, step = (int(part[0]) for part in slice_bounds(node))
        taken = range(full[axis])[start:stop]
        if step != 1 or not 0 < len(taken) < full[axis]:
            return None
        cone = _Cone(node, taken.start, taken.stop)
        cone.twins = [n for n in users(value) if n is not node and _takes_the_same(n, cone, axis, full[axis])]
        _grow(cone, value, axis)
        return cone if any(n.op_type not in _LAYOUTS for n in cone.axes) else None

    def replace(self, found: _Cone, build: Builder, context: Context) -> Sequence[ir.Value]:
        made: dict[tuple[ir.Value, int], ir.Value] = {}
        source, axis = found.cut.inputs[0], axis_of(found.cut)
        assert source is not None and axis is not None
        for node in reversed(_downwards(found)):
            made[node.outputs[0], found.axes[node]] = _rebuilt(build, node, found, made)
        result = made[source, axis]
        for twin in found.twins:
            twin.outputs[0].replace_all_uses_with(result)
            build.graph.remove(twin, safe=True)
        return [result]


def _takes_the_same(node: ir.Node, cone: _Cone, axis: int, size: int) -> bool:
    if node.op_type != "Slice" or axis_of(node) != axis or node.outputs[0].is_graph_output():
        return False
    start, stop, _, step = (int(part[0]) for part in slice_bounds(node))
    taken = range(size)[start:stop]
    return step == 1 and (taken.start, taken.stop) == (cone.start, cone.stop)


def _grow(cone: _Cone, value: ir.Value, axis: int) -> None:
    """Take in every node all of whose readers are in the cone, until there are no more."""
    readers = {cone.cut, *cone.twins}
    waiting = [(value, axis)]
    while waiting:
        value, axis = waiting.pop()
        node = producer(value)
        if node is None or node in cone.axes or value.is_graph_output() or not set(users(value)) <= readers:
            continue
        inputs = _cut_inputs(node, axis)
        if inputs is None or any(v.uses() for v in node.outputs[1:]):
            continue
        cone.axes[node] = axis
        readers.add(node)
        waiting += [(v, a) for i, a in inputs.items() if (v := node.inputs[i]) is not None]


def _downwards(cone: _Cone) -> list[ir.Node]:
    """The nodes of the cone, each in front of those that it reads."""
    order: list[ir.Node] = []
    left = dict(cone.axes)
    while left:
        ready = [n for n in left if not any(reader in left for reader in users(n.outputs[0]))]
        order += ready
        for node in ready:
            del left[node]
    return order


def _rebuilt(build: Builder, node: ir.Node, cone: _Cone, made: dict[tuple[ir.Value, int], ir.Value]) -> ir.Value:
    """The node over cut inputs: those that the cone makes, and Slices of the others."""
    axis, result = cone.axes[node], list(shape_of(node.outputs[0]) or ())
    inputs = list(node.inputs)
    for index, own in (_cut_inputs(node, axis) or {}).items():
        value = node.inputs[index]
        assert value is not None
        if (value, own) not in made:
            made[value, own] = _cut(build, value, own, cone)
        inputs[index] = made[value, own]
    result[axis] = cone.stop - cone.start
    if node.op_type == "Reshape":
        assert inputs[0] is not None
        return build.reshape(inputs[0], result)
    (made_of_part,) = build.node(node.op_type, inputs, [result], **{k: attribute(node, k) for k in node.attributes})
    made_of_part.type = node.outputs[0].type
    return made_of_part


def _cut(build: Builder, value: ir.Value, axis: int, cone: _Cone) -> ir.Value:
    data = constant_of(value)
    if data is None:
        return build.slice(value, axis, cone.start, cone.stop)
    index = (*[slice(None)] * axis, slice(cone.start, cone.stop))
    return build.constant(data[index], data.dtype.type)


def _cut_inputs(node: ir.Node, axis: int) -> dict[int, int] | None:
    """Which inputs, along which axes, give a part of the output along ``axis``; None when they cannot."""
    result = shape_of(node.outputs[0])
    shapes = [shape_of(v) for v in node.inputs]
    if result is None or any(s is None and v is not None for s, v in zip(shapes, node.inputs, strict=True)):
        return None
    if node.op_type in _LAYOUTS:
        own = axis_in_front(node, axis)
        return None if own is None else {0: own}
    if node.op_type in _ELEMENTWISE:
        return _broadcast(node, axis, len(result))
    if node.op_type in ("MatMul", "Gemm"):
        return _product(node, axis, len(result))
    return {0: axis} if _works_along_others(node, axis, len(result)) else None


def _works_along_others(node: ir.Node, axis: int, rank: int) -> bool:
    """Whether each element along the axis is computed from the input's elements there alone."""
    if node.op_type == "Softmax":
        opset = node.graph.opset_imports.get("", 17) if isinstance(node.graph, ir.Graph) else 17
        return opset >= 13 and attribute(node, "axis", -1) % rank != axis
    if node.op_type == "LayerNormalization":
        return bool(axis < attribute(node, "axis", -1) % rank)
    if node.op_type in REDUCTIONS:
        axes = reduced_axes(node, rank)
        return axes is not None and bool(attribute(node, "keepdims", 1)) and axis not in axes
    pads = any(attribute(node, "pads") or []) or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    weight = shape_of(node.inputs[1]) if node.op_type == "Conv" else None
    strides = set(attribute(node, "strides") or [1])
    return weight is not None and axis > 1 and math.prod(weight[2:]) == 1 and strides == {1} and not pads


def _broadcast(node: ir.Node, axis: int, rank: int) -> dict[int, int]:
    found = {}
    for index, value in enumerate(node.inputs):
        full = shape_of(value) or ()
        own = axis - (rank - len(full))
        if own >= 0 and full[own] > 1:
            found[index] = own
    return found


def _product(node: ir.Node, axis: int, rank: int) -> dict[int, int] | None:
    """Rows come from the first operand, heads from both; columns would cut weights, which other rules do."""
    x, y = (shape_of(v) or () for v in node.inputs[:2])
    if node.op_type == "Gemm":
        bias = shape_of(node.inputs[2]) if len(node.inputs) > 2 else ()
        rows = bias is not None and len(bias) == 2 and bias[0] > 1
        return {0: 0} if axis == 0 and not attribute(node, "transA", 0) and not rows else None
    if min(len(x), len(y)) < 2 or axis == rank - 1:
        return None
    if axis == rank - 2:
        return {0: len(x) - 2}
    owns = {0: axis - (rank - len(x)), 1: axis - (rank - len(y))}
    return {i: own for i, own in owns.items() if own >= 0 and (x, y)[i][own] > 1}
