"""Elu, Selu and Celu from Relu and Exp, which run on the ACTIV unit ([#onnx-operators]: all three are CPU work in
float)::

g * (x if x > 0 else a * (exp(x / s) - 1)) = g * Relu(x) + g a * Exp(-Relu(-x) / s) - g a
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, is_float
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["EluToExp"]

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875  # defaults of the ONNX operator


@dataclass
class _Elu:
    x: ir.Value
    alpha: float
    gamma: float = 1.0
    scale: float = 1.0


class EluToExp(Rewrite[_Elu]):
    """Write Elu, Selu and Celu as Relu and Exp."""

    name = "elu-to-exp"
    roots = frozenset({"Elu", "Selu", "Celu"})

    def pattern(self, node: ir.Node) -> _Elu | None:
        x = node.inputs[0]
        if x is None or not is_float(x):
            return None
        if node.op_type == "Selu":
            return _Elu(x, attribute(node, "alpha", _SELU_ALPHA), attribute(node, "gamma", _SELU_GAMMA))
        alpha = attribute(node, "alpha", 1.0)
        return _Elu(x, alpha, scale=alpha if node.op_type == "Celu" else 1.0) if alpha else None

    def replace(self, found: _Elu, build: Builder, context: Context) -> Sequence[ir.Value]:
        above = build.unary("Relu", found.x)
        below = build.unary("Relu", build.mul(found.x, -1.0))
        steep = build.unary("Exp", build.mul(below, -1.0 / found.scale))
        factor = found.alpha * found.gamma
        bent = build.add(build.mul(steep, factor), -factor)
        return [build.add(above if found.gamma == 1 else build.mul(above, found.gamma), bent)]
