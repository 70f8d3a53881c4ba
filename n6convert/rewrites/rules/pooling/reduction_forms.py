"""Norms and compound reductions as the sums that they are::

    ReduceL1(x) = ReduceSum(Abs(x))          ReduceSumSquare(x) = ReduceSum(x * x)
    ReduceL2(x) = Sqrt(ReduceSum(x * x))     ReduceLogSum(x) = Log(ReduceSum(x))
    ReduceLogSumExp(x) = m + Log(ReduceSum(Exp(x - m))), m = ReduceMax(x)
    LpNormalization(x) = x / ReduceL1(x) or x / ReduceL2(x)

The NPU has none of them as one operator ([#onnx-operators]); sums and maxima are pools
(:mod:`n6convert.rewrites.rules.pooling.reduce_to_pool`). Embeddings that are compared end in such a norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, is_float, reduced_axes, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ReductionForms"]


@dataclass
class _Reduction:
    op: str
    x: ir.Value
    axes: list[int]
    result: tuple[int, ...]


class ReductionForms(Rewrite[_Reduction]):
    """Write norms and logarithms of sums as sums, products and functions."""

    name = "reduction-forms"
    roots = frozenset({"ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "LpNormalization"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Reduction | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if x is None or full is None or result is None or not is_float(x):
            return None
        if node.op_type == "LpNormalization":
            op = "ReduceL1" if attribute(node, "p", 2) == 1 else "ReduceL2"
            return _Reduction(f"{op} below", x, [attribute(node, "axis", -1) % len(full)], result)
        axes = reduced_axes(node, len(full))
        if axes is None and (attribute(node, "noop_with_empty_axes", 0) or (len(node.inputs) > 1 and node.inputs[1])):
            return None
        return _Reduction(node.op_type, x, list(range(len(full))) if axes is None else axes, result)

    def replace(self, found: _Reduction, build: Builder, context: Context) -> Sequence[ir.Value]:
        op, x = found.op.split()[0], found.x
        y = _reduced(build, op, x, found.axes)
        return [build.binary("Div", x, y) if found.op != op else build.reshape(y, found.result)]


def _reduced(build: Builder, op: str, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    """The reduction with its axes kept, of length 1."""
    if op == "ReduceLogSumExp":
        greatest = build.reduce("ReduceMax", x, axes)
        total = build.reduce("ReduceSum", build.unary("Exp", build.binary("Sub", x, greatest)), axes)
        return build.binary("Add", build.unary("Log", total), greatest)
    part = x if op == "ReduceLogSum" else build.unary("Abs", x) if op == "ReduceL1" else build.binary("Mul", x, x)
    total = build.reduce("ReduceSum", part, axes)
    function = {"ReduceL2": "Sqrt", "ReduceLogSum": "Log"}.get(op)
    return total if function is None else build.unary(function, total)
