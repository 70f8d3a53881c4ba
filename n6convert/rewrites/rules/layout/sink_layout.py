"""Layout changes move behind elementwise operators: ``f(L(x), y) = L(f(x, L^-1(y)))``.

L is a Reshape or a Transpose. Moving it down brings it next to the layout change with which it cancels, and puts
the elementwise operator right behind the convolution that can absorb it (a Reshape between a Conv and its activation
prevents their fusion, [#layout]). Softmax over an axis that L leaves last moves the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.layout import (
    align,
    chain_cost,
    find_layout,
    layout_chain,
    layout_of_steps,
    step_of,
    undo,
)
from n6convert.graph.operators import ARITHMETIC, UNARY
from n6convert.graph.query import attribute, constant_of, producer, shape_of, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["SinkLayout"]

_RANK_LIMIT = 4  # of elementwise operators in hardware ([#import])
_BINARY = ARITHMETIC | {"Max", "Min", "Pow"}


@dataclass
class _Sunk:
    node: ir.Node
    layout: ir.Node
    position: int


class SinkLayout(Rewrite[_Sunk]):
    """Move Reshape and Transpose behind elementwise operators."""

    name = "sink-layout"
    roots = UNARY | _BINARY | {"Softmax"}
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Sunk | None:
        result = shape_of(node.outputs[0])
        for position, value in enumerate(node.inputs[:1] if node.op_type not in _BINARY else node.inputs):
            layout = producer(value, "Reshape", "Transpose")
            before = None if layout is None else shape_of(layout.inputs[0])
            if layout is None or result is None or shape_of(value) != result or before is None:
                continue
            if len(before) > max(len(result), _RANK_LIMIT):
                continue
            if not _needed_as_is(layout) and _can_sink(node, layout, position):
                return _Sunk(node, layout, position)
        return None

    def replace(self, found: _Sunk, build: Builder, context: Context) -> Sequence[ir.Value]:
        node, layout = found.node, found.layout
        inputs = list(node.inputs)
        x = layout.inputs[0]
        assert x is not None
        inputs[found.position] = x
        if node.op_type in _BINARY:
            other = inputs[1 - found.position]
            assert other is not None
            inputs[1 - found.position] = _undo(build, layout, other)
        attributes = {k: attribute(node, k) for k in node.attributes if k != "axis"}
        if node.op_type == "Softmax":
            attributes["axis"] = len(shape_of(x) or ()) - 1
        moved = build.node(node.op_type, inputs, [shape_of(x) or ()], **attributes)[0]
        if layout.op_type == "Transpose":
            return [build.transpose(moved, attribute(layout, "perm"))]
        return [build.reshape(moved, shape_of(layout.outputs[0]) or ())]


def _needed_as_is(layout: ir.Node) -> bool:
    """True when a Conv, pool or product reads the result: it would have to be made again behind the operator."""
    moving = UNARY | _BINARY | {"Softmax", "Reshape", "Transpose"}
    return any(reader.op_type not in moving for reader in users(layout.outputs[0]))


def _can_sink(node: ir.Node, layout: ir.Node, position: int) -> bool:
    if node.op_type == "Softmax":
        return _keeps_last(node, layout)
    if node.op_type not in _BINARY:
        return True
    other = node.inputs[1 - position]
    full = shape_of(other)
    if other is None or full is None:
        return False
    if constant_of(other) is not None:
        return True
    if full == shape_of(node.outputs[0]):
        return _relieves(layout, other)
    if layout.op_type == "Transpose":
        return True
    before, after = shape_of(layout.inputs[0]) or (), shape_of(node.outputs[0]) or ()
    return align(_padded(full, len(after)), after, before) is not None


def _relieves(layout: ir.Node, other: ir.Value) -> bool:
    """True when less layout work is left in front of the operator than before; else two layouts would take turns."""
    source, nodes = layout_chain(other)
    moved = layout_of_steps(shape_of(source) or (), [*(step_of(n) for n in nodes), undo(layout)])
    if moved is None:
        return False
    after = 0.0 if find_layout(source, moved) is not None else moved.cost
    return after < chain_cost([layout]) + chain_cost(nodes) - 1e-6


def _keeps_last(node: ir.Node, layout: ir.Node) -> bool:
    before, after = shape_of(layout.inputs[0]) or (), shape_of(layout.outputs[0]) or ()
    if attribute(node, "axis", -1) not in (-1, len(after) - 1) or not before or before[-1] != after[-1]:
        return False
    return layout.op_type == "Reshape" or attribute(layout, "perm")[-1] == len(after) - 1


def _padded(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    return (*[1] * (rank - len(shape)), *shape)


def _undo(build: Builder, layout: ir.Node, other: ir.Value) -> ir.Value:
    """The other operand as it must be in front of the layout change."""
    full = shape_of(other) or ()
    if len(full) == 0 or all(d == 1 for d in full):
        return other if len(full) <= 1 else build.reshape(other, [1])
    before, after = shape_of(layout.inputs[0]) or (), shape_of(layout.outputs[0]) or ()
    padded = _padded(full, len(after))
    if padded == after and constant_of(other) is None:
        source, nodes = layout_chain(other)
        moved = layout_of_steps(shape_of(source) or (), [*(step_of(n) for n in nodes), undo(layout)])
        if moved is not None:
            return moved.build(build, source)
    if layout.op_type == "Transpose":
        inverse = np.argsort(attribute(layout, "perm")).tolist()
        return build.transpose(build.reshape(other, padded), inverse)
    if padded == after:
        return build.reshape(other, before)
    to = align(padded, after, before)
    if to is not None:
        return build.reshape(other, to)
    data = constant_of(other)
    assert data is not None
    return build.constant(np.broadcast_to(data, after).reshape(before))
