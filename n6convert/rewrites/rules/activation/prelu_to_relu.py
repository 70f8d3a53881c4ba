"""``PRelu(x, a) = Relu(x) - a * Relu(-x)``; with one slope for all channels it is LeakyRelu.

PRelu with a float slope costs one to three CPU epochs ([#onnx-operators]). ``-x`` and ``-a`` are per-channel factors,
which fold into neighboring convolutions or run as an affine on ARITH.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["PReluToRelu"]


@dataclass
class _PRelu:
    x: ir.Value
    slope: Array
    """As wide as the tensor's rank."""


class PReluToRelu(Rewrite[_PRelu]):
    """Write PRelu as Relu(x) - a * Relu(-x), or as LeakyRelu where all slopes are equal."""

    name = "prelu-to-relu"
    roots = frozenset({"PRelu"})

    def pattern(self, node: ir.Node) -> _PRelu | None:
        x, slope, full = node.inputs[0], constant_of(node.inputs[1]), shape_of(node.outputs[0])
        if x is None or slope is None or full is None or not is_float(x) or shape_of(x) != full:
            return None
        return _PRelu(x, slope.reshape(*[1] * (len(full) - slope.ndim), *slope.shape))

    def replace(self, found: _PRelu, build: Builder, context: Context) -> Sequence[ir.Value]:
        slope = found.slope
        if np.all(slope == slope.reshape(-1)[0]):
            return [build.unary("LeakyRelu", found.x, alpha=float(slope.reshape(-1)[0]))]
        below = build.unary("Relu", build.mul(found.x, -1.0))
        return [build.add(build.unary("Relu", found.x), build.mul(below, -slope))]
