"""Local response normalization as a Conv over squares and a power::

    LRN(x) = x * (k + a/n * sum_window x^2) ^ -b

The sum over n neighboring channels is a 1x1 Conv with a band of ones. LRN is float work of the CPU
([#onnx-operators]); AlexNet, GoogLeNet and what descends from them have it behind their first, largest maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, is_float, shape_of
from n6convert.operators.versions import has
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["LrnDecompose"]


@dataclass
class _Lrn:
    x: ir.Value
    channels: int
    size: int
    alpha: float
    beta: float
    bias: float


class LrnDecompose(Rewrite[_Lrn]):
    """Write LRN as Mul, Conv and Pow."""

    name = "lrn-decompose"
    roots = frozenset({"LRN"})

    def pattern(self, node: ir.Node) -> _Lrn | None:
        x, full, size = node.inputs[0], shape_of(node.inputs[0]), attribute(node, "size")
        if x is None or full is None or len(full) != 4 or size is None or not is_float(x):
            return None
        numbers = (attribute(node, name, usual) for name, usual in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
        return _Lrn(x, full[1], int(size), *numbers)

    def check(self, found: _Lrn, context: Context) -> str | None:
        return None if has(context.version, "pow") else "the power is no operator of the NPU before core 4.0"

    def replace(self, found: _Lrn, build: Builder, context: Context) -> Sequence[ir.Value]:
        before, behind = (found.size - 1) // 2, found.size // 2
        away = np.arange(found.channels)[None] - np.arange(found.channels)[:, None]
        band = ((away >= -before) & (away <= behind)) * (found.alpha / found.size)
        sums = build.pointwise(build.mul(found.x, found.x), band, np.full(found.channels, found.bias))
        return [build.mul(found.x, build.binary("Pow", sums, -found.beta))]
