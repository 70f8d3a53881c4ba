"""Softplus and Mish from functions of the ACTIV units; Softplus itself, and Log, are computed in float on the CPU::

    log(1 + e^x) = Relu(x) + 2 Atanh(Sigmoid(-|x| - log 2))
    x * Tanh(log(1 + e^x)) = x * Sin(2 Atan(Sigmoid(x - log 2)))

With w = e^x, Sigmoid(x - log 2) = w / (2 + w), whose Atanh is half of log(1 + w), and whose double Atan has
``2s / (1 + s*s) = tanh(log(1 + w))`` as its sine. Every intermediate lies in a range of its own that 8 bits cover:
the Sigmoid of the first form in 0..1/3, of the second in 0..1. Exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import is_float, producer, single_use
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["SoftplusForms"]

_LOG_2 = math.log(2)


@dataclass
class _Softplus:
    x: ir.Value
    gated: bool
    """Whether it is x * Tanh(Softplus(x))."""


class SoftplusForms(Rewrite[_Softplus]):
    """Write Softplus with Atanh and Mish with Atan, of a Sigmoid."""

    name = "softplus-forms"
    roots = frozenset({"Softplus", "Mul", "Mish"})

    def pattern(self, node: ir.Node) -> _Softplus | None:
        if node.op_type == "Mul":
            x = _mish(node)
            return None if x is None else _Softplus(x, True)
        x = node.inputs[0]
        if x is None or not is_float(x) or _is_part_of_mish(node):
            return None
        return _Softplus(x, node.op_type == "Mish")

    def replace(self, found: _Softplus, build: Builder, context: Context) -> Sequence[ir.Value]:
        if found.gated:
            angle = build.unary("Atan", build.unary("Sigmoid", build.add(found.x, -_LOG_2)))
            return [build.mul(found.x, build.unary("Sin", build.mul(angle, 2.0)))]
        away = build.add(build.mul(build.unary("Abs", found.x), -1.0), -_LOG_2)
        rest = build.mul(build.unary("Atanh", build.unary("Sigmoid", away)), 2.0)
        return [build.add(build.unary("Relu", found.x), rest)]


def _mish(node: ir.Node) -> ir.Value | None:
    """x of x * Tanh(Softplus(x))."""
    for x, other in (tuple(node.inputs), tuple(node.inputs)[::-1]):
        tanh = producer(other, "Tanh")
        softplus = producer(tanh.inputs[0], "Softplus") if tanh is not None else None
        if softplus is not None and softplus.inputs[0] is x and x is not None and is_float(x):
            return x
    return None


def _is_part_of_mish(node: ir.Node) -> bool:
    """Whether nothing but a Mish reads a Softplus."""
    value = node.outputs[0]
    for _ in range(2):
        if not single_use(value):
            return False
        reader = next(iter(value.consumers()))
        if reader.op_type == "Mul":
            return _mish(reader) is node.inputs[0]
        value = reader.outputs[0]
    return False
