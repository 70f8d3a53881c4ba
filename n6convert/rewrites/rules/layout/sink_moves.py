"""Layout changes move behind Split, Slice and Concat: ``split(L(x), a) = L(split(x, b))``, b being axis a before L.

A Split or Slice of an inner axis is CPU work, of the channel axis in equal parts it is hardware ([#joins]); networks
that come from channel-last frameworks have the former only because of the transposes around them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.layout import Step, chain_cost, layout_of_steps, step_of
from n6convert.graph.patterns.slices import axis_of, slice_bounds
from n6convert.graph.query import attribute, producer, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["SinkMoves"]


@dataclass
class _Move:
    node: ir.Node
    layouts: list[ir.Node]
    axis: int
    """The axis in front of the layout change."""
    times: int
    """How many of its elements one element of the axis behind stands for."""


class SinkMoves(Rewrite[_Move]):
    """Move Reshape and Transpose behind Split, Slice and Concat."""

    name = "sink-moves"
    roots = frozenset({"Split", "Slice", "Concat"})

    def pattern(self, node: ir.Node) -> _Move | None:
        values = list(node.inputs) if node.op_type == "Concat" else list(node.inputs[:1])
        layouts = [producer(v, "Reshape", "Transpose") for v in values]
        axis = axis_of(node)
        if axis is None or any(n is None or shape_of(n.inputs[0]) is None for n in layouts):
            return None
        found = [n for n in layouts if n is not None]
        axes = {_before(n, axis) for n in found}
        before = axes.pop()
        if axes or before is None or not _alike(found, before[0]):
            return None
        move = _Move(node, found, *before)
        return None if _worse(move) else move

    def replace(self, found: _Move, build: Builder, context: Context) -> Sequence[ir.Value]:
        node, axis = found.node, found.axis
        sources = [n.inputs[0] for n in found.layouts]
        first = shape_of(sources[0]) or ()
        at = axis_of(node) or 0
        sizes = [(shape_of(v) or ())[at] * found.times for v in node.outputs]
        if node.op_type == "Slice":
            start, stop, _, step = (int(v[0]) for v in slice_bounds(node))
            x = sources[0]
            assert x is not None
            parts: Sequence[ir.Value] = [build.slice(x, axis, start * found.times, stop * found.times, step)]
        elif node.op_type == "Split":
            x = sources[0]
            assert x is not None
            parts = build.split(x, sizes, axis)
        else:
            joined = [sizes[0] if i == axis else n for i, n in enumerate(first)]
            at = max(axis, 1)
            along = [sum((shape_of(x) or ())[at] for x in sources) if i == at else n for i, n in enumerate(first)]
            parts = [build.reshape(build.node("Concat", sources, [along], axis=at)[0], joined)]
        return [_redo(build, found.layouts[0], p, v) for p, v in zip(parts, node.outputs, strict=True)]


def _worse(move: _Move) -> bool:
    """True when it would lead off the outermost axis, or to a layout change that is harder than those of the parts.

    Along the batch nothing may be cut: a Concat there is written along the second axis, which the same numbers have.
    """
    before = shape_of(move.layouts[0].inputs[0]) or ()
    if move.axis == 0 and (move.node.op_type != "Concat" or len(before) < 3 or before[0] != 1):
        return True
    if move.times > 1 and (
        move.node.op_type == "Concat"  # its axis would only grow, perhaps beyond the compiler's limit
        or (move.node.op_type == "Slice" and (slice_bounds(move.node)[3] != 1).any())
    ):
        return True
    if math.prod(before[: move.axis]) != 1 or move.node.op_type != "Concat":
        return math.prod(before[: move.axis]) != 1
    if len({id(n) for n in move.layouts}) < len(move.layouts):
        return True  # copies of one tensor: changing its layout once is cheaper than that of all copies
    joined = list(before)
    joined[move.axis] = sum((shape_of(n.inputs[0]) or ())[move.axis] for n in move.layouts)
    step = step_of(move.layouts[0])
    result = shape_of(move.node.outputs[0]) or ()
    layout = layout_of_steps(joined, [Step(result, step.perm)])
    return layout is None or layout.cost > chain_cost(move.layouts)


def _redo(build: Builder, layout: ir.Node, part: ir.Value, result: ir.Value) -> ir.Value:
    if layout.op_type == "Transpose":
        return build.transpose(part, attribute(layout, "perm"))
    return build.reshape(part, shape_of(result) or ())


def _before(layout: ir.Node, axis: int) -> tuple[int, int] | None:
    """The axis of the layout's input that ``axis`` is the leading factor of, and the other factor; None without."""
    before, after = shape_of(layout.inputs[0]) or (), shape_of(layout.outputs[0]) or ()
    if layout.op_type == "Transpose":
        return int(attribute(layout, "perm")[axis]), 1
    ahead, behind = math.prod(after[:axis]), math.prod(after[axis + 1 :])
    for i, size in enumerate(before):
        times, rest = divmod(behind, math.prod(before[i + 1 :]))
        if math.prod(before[:i]) == ahead and not rest and size == after[axis] * times:
            return i, times
    return None


def _alike(layouts: Sequence[ir.Node], axis: int) -> bool:
    """True when all inputs have the same form apart from the length of the axis."""
    forms = set()
    for layout in layouts:
        before = list(shape_of(layout.inputs[0]) or ())
        before[axis] = 0
        perm = attribute(layout, "perm") if layout.op_type == "Transpose" else None
        forms.add((layout.op_type, tuple(before), None if perm is None else tuple(perm)))
    return len(forms) == 1
