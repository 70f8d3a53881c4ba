"""1/x and 1/sqrt(v) from functions that run on the ACTIV unit (SPEC n.2).

* From core 4.0 on ``Pow`` with a constant exponent is in the table: one node.
* Before, ``1/x = Tan(pi/2 - Atan(x/c)) / c``, exact for every x > 0; c in the middle of the range keeps both functions
  away from their steep ends. Signs are placed so that no ``constant - x`` (CPU, SPEC b.3) arises.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from n6convert.rewrites.base import Context
from n6convert.rewrites.build import Builder

__all__ = ["power_minus_one", "rsqrt"]

_POW_SINCE = (4, 0)


def power_minus_one(build: Builder, context: Context, x: ir.Value, middle: float) -> ir.Value:
    """1/x for x > 0; ``middle`` is a typical value of x."""
    if context.version >= _POW_SINCE:
        return build.binary("Pow", x, -1.0)
    turned = build.unary("Atan", build.mul(x, -1.0 / middle))
    return build.mul(build.unary("Tan", build.add(turned, math.pi / 2)), 1.0 / middle)


def rsqrt(build: Builder, context: Context, variance: ir.Value) -> tuple[ir.Value, float]:
    """(y, k) with ``k * y = 1/sqrt(v)`` for v > 0 whose typical value is 1; k belongs into a later constant."""
    if context.version >= _POW_SINCE:
        return build.binary("Pow", variance, -0.5), 1.0
    turned = build.add(build.unary("Atan", build.unary("Sqrt", variance)), -math.pi / 2)
    return build.unary("Tan", turned), -1.0
