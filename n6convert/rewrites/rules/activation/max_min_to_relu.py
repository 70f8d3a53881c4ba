"""Max and Min from what the NPU has ([#onnx-operators]: both are CPU work in float)::

Max(x, c) = Clip(x, c, inf)   Min(x, c) = Clip(x, -inf, c)   for a number c
Max(a, b) = b + Relu(a - b)   Min(a, b) = a - Relu(a - b)
Where(a > b, a, b) = Max(a, b)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.comparison import COMPARISONS
from n6convert.graph.query import constant_of, is_float, producer, scalar_of, shape_of, single_use
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["MaxMin"]


@dataclass
class _Pair:
    op: str
    a: ir.Value
    b: ir.Value
    result: tuple[int, ...]


class MaxMin(Rewrite[_Pair]):
    """Write Max and Min as Clip, or as a Relu of the difference."""

    name = "max-min-to-relu"
    roots = frozenset({"Max", "Min", "Where"})

    def pattern(self, node: ir.Node) -> _Pair | None:
        result = shape_of(node.outputs[0])
        op, inputs = (node.op_type, list(node.inputs)) if node.op_type != "Where" else _chosen(node)
        if len(inputs) != 2 or result is None or not all(is_float(v) for v in inputs):
            return None
        # the operand with the full shape first: Sub repeats its second one in hardware
        a, b = sorted(inputs, key=lambda v: (constant_of(v) is not None, shape_of(v) != result))
        if a is None or b is None or shape_of(a) != result or constant_of(a) is not None:
            return None
        return _Pair(op, a, b, result)

    def replace(self, found: _Pair, build: Builder, context: Context) -> Sequence[ir.Value]:
        bound, upper = scalar_of(found.b), found.op == "Min"
        if bound is not None:
            return [_clip(build, found.a, bound, upper)]
        if upper:
            return [build.sub(found.a, build.unary("Relu", build.sub(found.a, found.b)))]
        return [build.add(build.unary("Relu", build.sub(found.a, found.b)), found.b)]


def _chosen(node: ir.Node) -> tuple[str, list[ir.Value | None]]:
    """Max or Min of the two tensors between which a Where chooses by comparing them."""
    test = producer(node.inputs[0], *COMPARISONS)
    a, b = node.inputs[1:]
    if test is None or a is b or {*test.inputs} != {a, b}:
        return "", []
    larger = test.op_type.startswith("Greater") == (test.inputs[0] is a)
    return "Max" if larger else "Min", [a, b]


def _clip(build: Builder, x: ir.Value, bound: float, upper: bool) -> ir.Value:
    """Clip on one side, together with the other side's Clip in front of it."""
    inner = producer(x, "Clip")
    given = [*inner.inputs, None, None][:3] if inner is not None and single_use(x) else [None] * 3
    low = scalar_of(given[1])
    if upper and given[0] is not None and low is not None and low <= bound and given[2] is None:
        return build.clip(given[0], low, bound)
    return build.clip(x, None, bound) if upper else build.clip(x, bound, None)
