"""Shrink, soft and hard, from operators of the NPU::

    x - Clip(x, -l, l)                                      with a bias of l (soft)
    ThresholdedRelu(x, l) - ThresholdedRelu(-x, l)          without a bias (hard)

Exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, is_float
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ShrinkForms"]


@dataclass
class _Shrink:
    x: ir.Value
    limit: float
    bias: float


class ShrinkForms(Rewrite[_Shrink]):
    """Write soft and hard Shrink with Clip and ThresholdedRelu."""

    name = "shrink-forms"
    roots = frozenset({"Shrink"})

    def pattern(self, node: ir.Node) -> _Shrink | None:
        x = node.inputs[0]
        if x is None or not is_float(x):
            return None
        return _Shrink(x, float(attribute(node, "lambd", 0.5)), float(attribute(node, "bias", 0.0)))

    def check(self, found: _Shrink, context: Context) -> str | None:
        if found.limit < 0:
            return f"its limit {found.limit:g} is below 0"
        if found.bias not in (0.0, found.limit):
            return f"its bias {found.bias:g} is neither 0 nor its limit {found.limit:g}"
        return None

    def replace(self, found: _Shrink, build: Builder, context: Context) -> Sequence[ir.Value]:
        x, limit = found.x, found.limit
        if found.bias == limit:
            return [build.sub(x, build.clip(x, -limit, limit))]
        below = build.unary("ThresholdedRelu", build.mul(x, -1.0), alpha=limit)
        return [build.sub(build.unary("ThresholdedRelu", x, alpha=limit), below)]
