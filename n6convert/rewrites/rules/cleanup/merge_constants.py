"""Constants next to each other are one constant: ``(x * a) * b = x * (a b)``, ``(x + a) + b = x + (a + b)``.

Division by a constant is a product ([#onnx-operators]: Div in hardware only then), ``x - c`` is ``x + (-c)``, and ``c
- x`` is ``x * (-1) + c``: a repeated first operand of Sub costs CPU time ([#broadcasting]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, constant_of, inverse_of, is_float, operand, producer, shape_of, single_use
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["MergeConstants"]


@dataclass
class _Step:
    x: ir.Value
    op: str
    values: Array
    minus: bool = False


class MergeConstants(Rewrite[_Step]):
    """Merge neighboring constants; write Div and Sub with constants as Mul and Add."""

    name = "merge-constants"
    roots = frozenset({"Mul", "Add", "Div", "Sub"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Step | None:
        step = _step(node)
        if step is None:
            return None
        inner = None if step.minus else producer(step.x, "Mul", "Add")
        below = None if inner is None or inner.op_type != step.op or not single_use(step.x) else _step(inner)
        if below is not None and shape_of(below.x) == shape_of(node.outputs[0]):
            merged = below.values * step.values if step.op == "Mul" else below.values + step.values
            return _Step(below.x, step.op, merged)
        return step if node.op_type in ("Div", "Sub") else None

    def replace(self, found: _Step, build: Builder, context: Context) -> Sequence[ir.Value]:
        x = build.mul(found.x, -1.0) if found.minus else found.x
        return [build.binary(found.op, x, found.values)]


def _step(node: ir.Node) -> _Step | None:
    pair = operand(node, constant=True)
    values = None if pair is None else constant_of(pair[1])
    if pair is None or values is None or not is_float(pair[0]):
        return None
    x, first = pair[0], pair[0] is node.inputs[0]
    if node.op_type in ("Mul", "Add"):
        return _Step(x, node.op_type, values)
    if node.op_type == "Sub":
        return _Step(x, "Add", -values) if first else _Step(x, "Add", values, minus=True)
    inverse = inverse_of(values) if first else None
    return None if inverse is None else _Step(x, "Mul", inverse)
