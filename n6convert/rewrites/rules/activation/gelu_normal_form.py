"""GELU with its factors where they cost nothing: ``gelu(x) = (z * (1 + Erf(z))) * sqrt(1/2)`` with ``z = x / sqrt(2)``.

Both scalars fold into the Linears around it; what stays is Erf (ACTIV unit), one Add of a scalar and one Mul. The tanh
form becomes ``x * Sigmoid(2u)``, u its polynomial: one Add less. Exact for the form that was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, is_float, operand, producer, scalar_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["GeluNormalForm", "find_gelu"]


@dataclass
class Gelu:
    """The input of a GELU and which of its two definitions is meant."""

    x: ir.Value
    tanh: bool = False


class GeluNormalForm(Rewrite[Gelu]):
    """Write GELU as z * (1 + Erf(z)) with its factors in the neighbors."""

    name = "gelu-normal-form"
    roots = frozenset({"Gelu", "Mul"})

    def pattern(self, node: ir.Node) -> Gelu | None:
        found = find_gelu(node)
        return found if found is not None and is_float(found.x) else None

    def replace(self, found: Gelu, build: Builder, context: Context) -> Sequence[ir.Value]:
        x = found.x
        if found.tanh:
            cubic = build.add(build.mul(build.mul(x, x), 0.044715), 1.0)
            u2 = build.mul(build.mul(x, cubic), 2 * math.sqrt(2 / math.pi))
            return [build.mul(x, build.unary("Sigmoid", u2))]
        z = build.mul(x, math.sqrt(0.5))
        y = build.mul(z, build.add(build.unary("Erf", z), 1.0))
        return [build.mul(y, math.sqrt(0.5))]


def find_gelu(node: ir.Node) -> Gelu | None:
    """The GELU that ends in ``node``: the operator, or a product of x, one half and ``1 + Erf(x/sqrt 2)``."""
    if node.op_type == "Gelu":
        assert node.inputs[0] is not None
        return Gelu(node.inputs[0], attribute(node, "approximate", "none") == "tanh")
    if node.op_type != "Mul" or _is_normal(node):
        return None
    factors, scale = _factors(node)
    if len(factors) != 2 or abs(scale - 0.5) > 1e-4:
        return None
    for x, other in (factors, factors[::-1]):
        if _is_one_plus_erf(other, x):
            return Gelu(x)
    return None


def _factors(node: ir.Node, depth: int = 8) -> tuple[list[ir.Value], float]:
    """Activations and the product of the scalars that a tree of Muls multiplies; a GELU has no deep one."""
    factors: list[ir.Value] = []
    scale = 1.0
    for value in node.inputs:
        number, inner = scalar_of(value), producer(value, "Mul") if depth else None
        if number is not None:
            scale *= number
        elif (
            inner is not None
            and any(scalar_of(v) is not None for v in inner.inputs)
            or inner is not None
            and _has_erf(inner)
        ):
            more, factor = _factors(inner, depth - 1)
            factors += more
            scale *= factor
        elif value is not None:
            factors.append(value)
    return factors, scale


def _has_erf(node: ir.Node) -> bool:
    return any(_erf_of(v) is not None for v in node.inputs if v is not None)


def _is_normal(node: ir.Node) -> bool:
    """True for ``z * (1 + Erf(z))`` and its product with a scalar: the form this rule writes."""
    inner = producer(node.inputs[0], "Mul") or node if scalar_of(node.inputs[1]) is not None else node
    for z, other in (tuple(inner.inputs), tuple(inner.inputs)[::-1]):
        erf = None if other is None else _erf_of(other)
        if erf is not None and erf.inputs[0] is z:
            return True
    return False


def _erf_of(value: ir.Value) -> ir.Node | None:
    """The Erf inside ``1 + Erf(..)``."""
    node = producer(value, "Add")
    pair = None if node is None else operand(node, constant=True)
    if pair is None or scalar_of(pair[1]) != 1.0:
        return None
    return producer(pair[0], "Erf")


def _is_one_plus_erf(value: ir.Value, x: ir.Value) -> bool:
    erf = _erf_of(value)
    scaled = None if erf is None else producer(erf.inputs[0], "Div", "Mul")
    if scaled is None or scaled.inputs[0] is not x:
        return False
    number = scalar_of(scaled.inputs[1])
    wanted = math.sqrt(2) if scaled.op_type == "Div" else math.sqrt(0.5)
    return number is not None and abs(number - wanted) < 1e-3
