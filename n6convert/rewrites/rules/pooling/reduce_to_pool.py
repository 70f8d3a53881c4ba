"""Reductions as the global pools that the NPU has ([#onnx-operators])::

    ReduceMean = GlobalAveragePool     ReduceSum = n * GlobalAveragePool     ReduceMax = GlobalMaxPool
    ReduceMin(x) = -GlobalMaxPool(-x)

The reduced axes are brought to the end as one axis: they must be neighbors, at the end already or behind the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, is_float, reduced_axes, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ReduceToPool"]


@dataclass
class _Reduction:
    op: str
    x: ir.Value
    axes: list[int]
    shape: tuple[int, ...]
    result: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape[a] for a in self.axes)

    @property
    def before(self) -> int:
        return math.prod(self.shape[: self.axes[0]])

    @property
    def after(self) -> int:
        return math.prod(self.shape[self.axes[-1] + 1 :])


class ReduceToPool(Rewrite[_Reduction]):
    """Write ReduceMean, ReduceSum, ReduceMax and ReduceMin as global pools."""

    name = "reduce-to-pool"
    roots = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"})

    def pattern(self, node: ir.Node) -> _Reduction | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if x is None or full is None or result is None or not is_float(x):
            return None
        axes = reduced_axes(node, len(full))
        if axes is None and attribute(node, "noop_with_empty_axes", 0):
            return None
        kept = [a for a in (range(len(full)) if axes is None else axes) if full[a] != 1]
        return _Reduction(node.op_type, x, kept, full, result) if kept else None

    def check(self, found: _Reduction, context: Context) -> str | None:
        gaps = [a for a in range(found.axes[0], found.axes[-1]) if a not in found.axes and found.shape[a] != 1]
        if gaps:
            return f"axes {found.axes} of {list(found.shape)} are no neighbors"
        if found.before > 1 and found.after > 1:
            return f"axes {found.axes} of {list(found.shape)} lie between others: no hardware transpose moves them"
        return None

    def replace(self, found: _Reduction, build: Builder, context: Context) -> Sequence[ir.Value]:
        rows = found.before * found.after
        to = [1, rows, found.size]
        x = build.swap(found.x, found.size, to) if found.after > 1 else build.reshape(found.x, to)
        if found.op == "ReduceMin":
            y = build.mul(build.max_last(build.mul(x, -1.0)), -1.0)
        else:
            y = build.max_last(x) if found.op == "ReduceMax" else build.mean_last(x)
        if found.op == "ReduceSum":
            y = build.mul(y, float(found.size))
        return [build.reshape(y, found.result)]
