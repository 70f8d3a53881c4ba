"""``a / b = a * (1/b)`` with 1/b from functions that the NPU has (:mod:`n6convert.rewrites.reciprocal`).

For b that stays on one side of zero on all samples. The reciprocal is taken of b before it is repeated, and its range
is centered on the values that b takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import constant_of, is_float, scalar_of, shape_of
from n6convert.rewrites.reciprocal import Choice, Inverse
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["DivisionToProduct"]


@dataclass
class _Quotient:
    numerator: ir.Value | float
    divisor: ir.Value


class DivisionToProduct(Rewrite[_Quotient]):
    """Write Reciprocal and division by an activation with hardware functions."""

    name = "division-to-product"
    roots = frozenset({"Reciprocal", "Div"})

    def __init__(self) -> None:
        self._inverse = Inverse(-1.0)

    def pattern(self, node: ir.Node) -> _Quotient | None:
        divisor = node.inputs[-1]
        if divisor is None or not is_float(divisor) or constant_of(divisor) is not None or shape_of(divisor) is None:
            return None
        if node.op_type == "Reciprocal":
            return _Quotient(1.0, divisor)
        number = scalar_of(node.inputs[0])
        if number is not None and shape_of(divisor) == shape_of(node.outputs[0]):
            return _Quotient(number, divisor)
        return None if node.inputs[0] is None else _Quotient(node.inputs[0], divisor)

    def check(self, found: _Quotient, context: Context) -> str | None:
        low, high = context.span(found.divisor, (0.0, 0.0))
        if low <= 0 <= high:
            return f"the divisor takes values from {low:.3g} to {high:.3g} on the samples: its reciprocal has no range"
        return None

    def replace(self, found: _Quotient, build: Builder, context: Context) -> Sequence[ir.Value]:
        sign, choice = self._chosen(found, context)
        b = found.divisor if sign > 0 else build.mul(found.divisor, -1.0)
        factor = sign * choice.form.factor
        if not isinstance(found.numerator, ir.Value):
            factor *= found.numerator
        inverse = choice.form.write(build, b)
        inverse = inverse if factor == 1 else build.mul(inverse, factor)
        return [build.mul(found.numerator, inverse) if isinstance(found.numerator, ir.Value) else inverse]

    def because(self, found: _Quotient, context: Context) -> str:
        return self._chosen(found, context)[1].because

    def _chosen(self, found: _Quotient, context: Context) -> tuple[float, Choice]:
        """The divisor's sign on the samples, and the form of 1/b."""
        values = np.concatenate([a.astype(np.float64).reshape(-1) for a in context.values(found.divisor)])
        sign = 1.0 if values[0] > 0 else -1.0
        return sign, self._inverse.choose(context, shape_of(found.divisor) or (), values * sign)
