"""``Where(m, x, y) = x * m + y * (1 - m)`` with m as 0 and 1; behind a Softmax's mask only a sum is left.

Where, Equal and Expand are not in the NPU's table ([#onnx-operators]): they drag a float island around themselves. A
mask that sends scores to minus infinity in front of a Softmax is ``x + (1 - m) * -10,000``: both give exp() = 0 in
float32. A mask that is computed is turned into numbers before it is repeated, where it is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.dag import reach
from n6convert.graph.query import Array, constant_of, is_float, producer, shape_of, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["WhereToProduct"]

_GONE = 1e4
#: what leaves minus infinity where it is
_KEPT = ("Reshape", "Transpose", "Identity", "Add")


@dataclass
class _Where:
    mask: ir.Value
    x: ir.Value
    y: ir.Value
    result: tuple[int, ...]
    hidden: bool
    """Whether y, or x, only sends scores to minus infinity in front of a Softmax."""


class WhereToProduct(Rewrite[_Where]):
    """Write Where as products with the mask, or as a sum in front of a Softmax."""

    name = "where-to-product"
    roots = frozenset({"Where"})

    def pattern(self, node: ir.Node) -> _Where | None:
        mask, x, y = node.inputs
        result = shape_of(node.outputs[0])
        if mask is None or x is None or y is None or result is None or not is_float(x):
            return None
        if constant_of(x) is not None and constant_of(y) is not None and constant_of(mask) is not None:
            return None
        hidden = _before_softmax(node) and any(_lowest(constant_of(v)) for v in (x, y))
        return _Where(_narrow(mask), x, y, result, hidden)

    def check(self, found: _Where, context: Context) -> str | None:
        constants = [c for v in (found.x, found.y) if (c := constant_of(v)) is not None]
        if not found.hidden and not all(np.isfinite(c).all() for c in constants):
            return "infinity times zero is no number: the mask is not in front of a Softmax"
        return None

    def replace(self, found: _Where, build: Builder, context: Context) -> Sequence[ir.Value]:
        on = _numbers(build, found.mask)
        off = _inverse(build, on)
        if found.hidden:
            kept, gone = (found.y, on) if _lowest(constant_of(found.x)) else (found.x, off)
            total = build.add(kept, _scaled(build, gone, -_GONE))
        else:
            products = [_product(build, v, m) for v, m in ((found.x, on), (found.y, off))]
            parts = sorted((p for p in products if p is not None), key=_is_constant)
            total = parts[0] if len(parts) == 1 else build.add(*parts)
        return [total if shape_of(total) == found.result else build.add(total, np.zeros(found.result))]


def _before_softmax(node: ir.Node) -> bool:
    seen = reach(node.outputs[0], lambda v: [n.outputs[0] for n in users(v) if n.op_type in _KEPT])
    readers = [users(v) for v in seen]
    return all(readers) and all(n.op_type == "Softmax" or n.op_type in _KEPT for group in readers for n in group)


def _lowest(values: Array | None) -> bool:
    return values is not None and bool((values <= -_GONE).all())


def _narrow(mask: ir.Value) -> ir.Value:
    """The mask before it is repeated."""
    while (node := producer(mask, "Expand")) is not None and node.inputs[0] is not None:
        mask = node.inputs[0]
    return mask


def _numbers(build: Builder, mask: ir.Value) -> ir.Value:
    data = constant_of(mask)
    if data is not None:
        return build.constant(data.astype(np.float32))
    cast = build.node("Cast", [mask], [shape_of(mask) or ()], to=int(ir.DataType.FLOAT))[0]
    cast.type = ir.TensorType(ir.DataType.FLOAT)
    return cast


def _inverse(build: Builder, on: ir.Value) -> ir.Value:
    data = constant_of(on)
    return build.add(build.mul(on, -1.0), 1.0) if data is None else build.constant(1 - data)


def _scaled(build: Builder, mask: ir.Value, factor: float) -> ir.Value:
    data = constant_of(mask)
    return build.mul(mask, factor) if data is None else build.constant(data * np.float32(factor))


def _product(build: Builder, x: ir.Value, mask: ir.Value) -> ir.Value | None:
    """x * mask; None when it is zero everywhere."""
    values, numbers = constant_of(x), constant_of(mask)
    if values is None:
        return build.mul(x, mask)
    if numbers is not None:
        return build.constant(values * numbers) if (values * numbers).any() else None
    if not values.any():
        return None
    return build.mul(mask, values)


def _is_constant(value: ir.Value) -> bool:
    return constant_of(value) is not None
