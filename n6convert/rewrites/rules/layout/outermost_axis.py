"""Concat, Split and Slice of an inner axis on the outermost one instead: ``f_a = swap^-1 . f_1 . swap``.

``[A, n, B] -> [n B, A]`` is one hardware transpose; on the outermost axis of a contiguous tensor parts of any size are
joined and cut by the DMA ([#joins]), on an inner axis by the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import AXIS_LIMIT, Builder
from n6convert.graph.patterns.slices import axis_of, slice_bounds
from n6convert.graph.query import constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["OutermostAxis"]


@dataclass
class _Inner:
    node: ir.Node
    axis: int
    before: int
    after: int
    inputs: list[ir.Value]

    def rows(self, value: ir.Value) -> int:
        """Length of the outermost axis that stands for a value."""
        return (shape_of(value) or ())[self.axis] * self.after


class OutermostAxis(Rewrite[_Inner]):
    """Join and cut tensors on the outermost axis instead of an inner one."""

    name = "outermost-axis"
    roots = frozenset({"Concat", "Split", "Slice"})
    late = True

    def pattern(self, node: ir.Node) -> _Inner | None:
        axis, full = axis_of(node), shape_of(node.inputs[0])
        inputs = [v for v in (node.inputs if node.op_type == "Concat" else node.inputs[:1]) if v is not None]
        if axis is None or full is None or axis < 2 or any(shape_of(v) is None or not is_float(v) for v in inputs):
            return None
        before = math.prod(full[:axis])
        return None if before == 1 else _Inner(node, axis, before, math.prod(full[axis + 1 :]), inputs)

    def check(self, found: _Inner, context: Context) -> str | None:
        if any(constant_of(v) is not None for v in found.inputs):
            return "one of its parts is a constant"
        if found.node.op_type == "Slice" and (slice_bounds(found.node)[3] != 1).any():
            return "it takes every other element"
        longest = max(found.rows(v) for v in (*found.inputs, *found.node.outputs))
        return f"an axis of {longest} exceeds the compiler's limit of 65,535" if longest >= AXIS_LIMIT else None

    def replace(self, found: _Inner, build: Builder, context: Context) -> Sequence[ir.Value]:
        a = found.before
        turned = [build.swap(v, a, [1, found.rows(v), a]) for v in found.inputs]
        if found.node.op_type == "Concat":
            parts = [build.concat(turned, axis=1)]
        elif found.node.op_type == "Slice":
            length = (shape_of(found.inputs[0]) or ())[found.axis]
            start = int(slice_bounds(found.node)[0][0])
            first = min(max(start + length if start < 0 else start, 0), length) * found.after
            parts = [build.slice(turned[0], 1, first, first + found.rows(found.node.outputs[0]))]
        else:
            ends = [0]
            for value in found.node.outputs:
                ends.append(ends[-1] + found.rows(value))
            parts = [build.slice(turned[0], 1, s, e) for s, e in zip(ends, ends[1:], strict=False)]
        outputs = zip(parts, found.node.outputs, strict=True)
        return [build.swap(p, found.rows(v), shape_of(v) or ()) for p, v in outputs]
