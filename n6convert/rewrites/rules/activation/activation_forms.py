"""Activations in the spelling that becomes one node::

    Clip(x + 3, 0, 6) / 6 = HardSigmoid(x)          x * HardSigmoid(x) = HardSwish(x)
    x / (1 + Exp(-x)), x * 1/(1 + Exp(-x)) = x * Sigmoid(x), which the compiler takes as one Swish

Exporters of opset 13 and older, and of other frameworks, spell them out ([#onnx-operators]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, operand, producer, scalar_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ActivationForms"]

_HARD_SWISH_SINCE = 14


@dataclass
class _Form:
    x: ir.Value
    kind: str


class ActivationForms(Rewrite[_Form]):
    """Recognize HardSigmoid, HardSwish and SiLU that are spelled out."""

    name = "activation-forms"
    roots = frozenset({"Mul", "Div"})

    def pattern(self, node: ir.Node) -> _Form | None:
        return _hard_swish(node) or _hard_sigmoid(node) or _silu(node)

    def replace(self, found: _Form, build: Builder, context: Context) -> Sequence[ir.Value]:
        if found.kind == "silu":
            return [build.mul(found.x, build.unary("Sigmoid", found.x))]
        if found.kind == "hardswish" and build.opset >= _HARD_SWISH_SINCE:
            return [build.unary("HardSwish", found.x)]
        gate = build.unary("HardSigmoid", found.x, alpha=1 / 6, beta=0.5)
        return [gate if found.kind == "hardsigmoid" else build.mul(found.x, gate)]


def _hard_sigmoid(node: ir.Node) -> _Form | None:
    """Clip(x + 3, 0, 6) / 6 or times 1/6."""
    pair = operand(node, constant=True)
    number = None if pair is None else scalar_of(pair[1])
    if pair is None or number is None or (node.op_type == "Div" and pair[0] is not node.inputs[0]):
        return None
    factor = number if node.op_type == "Mul" else 1 / number if number else 0.0
    x = _shifted_clip(producer(pair[0], "Clip"))
    return None if x is None or not np.isclose(factor, 1 / 6, rtol=1e-4) else _Form(x, "hardsigmoid")


def _hard_swish(node: ir.Node) -> _Form | None:
    """x * HardSigmoid(x), or (x * Clip(x + 3, 0, 6)) / 6."""
    for x, other in (tuple(node.inputs), tuple(node.inputs)[::-1]):
        gate = producer(other, "HardSigmoid") if node.op_type == "Mul" and _has_hard_swish(node) else None
        if gate is not None and x is not None and gate.inputs[0] is x and _is_sixth(gate):
            return _Form(x, "hardswish")
    pair = operand(node, constant=True)
    product = None if pair is None else producer(pair[0], "Mul")
    number = None if pair is None else scalar_of(pair[1])
    if (
        product is None
        or not number
        or not np.isclose(number if node.op_type == "Mul" else 1 / number, 1 / 6, rtol=1e-4)
    ):
        return None
    for x, other in (tuple(product.inputs), tuple(product.inputs)[::-1]):
        if x is not None and _shifted_clip(producer(other, "Clip")) is x:
            return _Form(x, "hardswish")
    return None


def _has_hard_swish(node: ir.Node) -> bool:
    return isinstance(node.graph, ir.Graph) and node.graph.opset_imports.get("", 0) >= _HARD_SWISH_SINCE


def _is_sixth(gate: ir.Node) -> bool:
    return bool(np.isclose(attribute(gate, "alpha", 0.2), 1 / 6, rtol=1e-4)) and attribute(gate, "beta", 0.5) == 0.5


def _shifted_clip(clip: ir.Node | None) -> ir.Value | None:
    """x of Clip(x + 3, 0, 6)."""
    if clip is None:
        return None
    bounds = [scalar_of(v) for v in clip.inputs[1:]] or [attribute(clip, "min"), attribute(clip, "max")]
    shift = producer(clip.inputs[0], "Add")
    pair = None if shift is None or bounds != [0.0, 6.0] else operand(shift, constant=True)
    return pair[0] if pair is not None and scalar_of(pair[1]) == 3.0 else None


def _silu(node: ir.Node) -> _Form | None:
    """x / (1 + Exp(-x))."""
    x = node.inputs[0]
    total = producer(node.inputs[1], "Add") if node.op_type == "Div" else None
    pair = None if total is None else operand(total, constant=True)
    exp = producer(pair[0], "Exp") if pair is not None and scalar_of(pair[1]) == 1.0 else None
    minus = None if exp is None else producer(exp.inputs[0], "Neg", "Mul")
    if x is None or minus is None or minus.inputs[0] is not x or constant_of(x) is not None:
        return None
    return _Form(x, "silu") if minus.op_type == "Neg" or scalar_of(minus.inputs[1]) == -1.0 else None
