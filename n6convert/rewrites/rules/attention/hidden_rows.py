"""What Attention says of rows that see nothing: their result is 0. ``Where(max(b) == -inf, 0, p) = p * max(m)``.

ONNX's Attention adds a bias b to its scores, -inf where a mask m (1: to be seen) hides one. A row whose scores are all
hidden has no softmax, so the standard looks for such rows by their largest bias. With the masks as 0 and 1 the largest
of a row tells the same, without infinities. A bias that comes from outside is finite, since INT8 holds no infinity:
then no row is hidden. Exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.builder import shape as dims
from n6convert.graph.query import Array, attribute, constant_of, is_float, producer, reduced_axes, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["HiddenRows"]

_VIEWS = frozenset({"Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Expand", "Transpose", "Mul"})


@dataclass
class _Guard:
    bias: ir.Value
    masks: list[ir.Value]
    """Boolean values: a place of the bias is finite where all of them are true"""
    known: Array
    """the same of its constants, numbers that broadcast to the bias"""
    kept: ir.Value


class HiddenRows(Rewrite[_Guard]):
    """Write the zeros of an attention's wholly hidden rows as a product with the masks' largest value."""

    name = "hidden-rows"
    roots = frozenset({"Where"})

    def pattern(self, node: ir.Node) -> _Guard | None:
        condition, zero, kept = node.inputs
        zeros = constant_of(zero)
        if kept is None or zeros is None or zeros.any() or shape_of(kept) != shape_of(node.outputs[0]):
            return None
        equal = producer(condition, "Equal")
        largest = producer(equal.inputs[0], "ReduceMax") if equal is not None else None
        lowest = constant_of(equal.inputs[1]) if equal is not None else None
        if largest is None or lowest is None or not np.isneginf(lowest).all() or not _last(largest):
            return None
        bias = largest.inputs[0]
        seen = _seen(bias)
        return _Guard(bias, *seen, kept) if bias is not None and shape_of(bias) is not None and seen else None

    def replace(self, found: _Guard, build: Builder, context: Context) -> Sequence[ir.Value]:
        seen = _product(build, found.masks, found.known)
        if isinstance(seen, ir.Value):
            return [build.mul(found.kept, build.reduce("ReduceMax", seen, [len(dims(seen)) - 1]))]
        rows = seen.max(axis=-1, keepdims=True) if seen.ndim else seen
        return [found.kept if rows.all() else build.mul(found.kept, rows)]


def _last(node: ir.Node) -> bool:
    """Whether a reduction is over the last axis, which it keeps."""
    full = shape_of(node.inputs[0])
    last = full is not None and reduced_axes(node, len(full)) == [len(full) - 1]
    return last and attribute(node, "keepdims", 1) == 1


def _seen(bias: ir.Value | None) -> tuple[list[ir.Value], Array] | None:
    """What hides places of a bias; None where something else may make it infinite."""
    nothing = np.ones(())
    data, node = constant_of(bias), producer(bias)
    if data is not None:
        return [], (data > -np.inf).astype(np.float64)
    if node is None:
        return ([], nothing) if bias is not None and is_float(bias) else None
    if node.op_type == "Where":
        mask, shown, hidden = node.inputs
        lowest, values = constant_of(hidden), constant_of(shown)
        fits = lowest is not None and values is not None and np.isneginf(lowest).all() and np.isfinite(values).all()
        return ([mask], nothing) if fits and mask is not None else None
    if node.op_type == "Add":
        parts = [_seen(v) for v in node.inputs]
        known = [p for p in parts if p is not None]
        return ([m for p in known for m in p[0]], known[0][1] * known[1][1]) if len(known) == 2 else None
    if node.op_type in _VIEWS:
        plain = _seen(node.inputs[0])
        return plain if plain is not None and not plain[0] and plain[1].all() else None
    return None


def _product(build: Builder, masks: Sequence[ir.Value], known: Array) -> ir.Value | Array:
    """All masks as one, in numbers."""
    result: ir.Value | Array = known
    for mask in masks:
        numbers = build.node("Cast", [mask], [dims(mask)], to=int(ir.DataType.FLOAT))[0]
        numbers.type = ir.TensorType(ir.DataType.FLOAT)
        result = numbers if not isinstance(result, ir.Value) and result.all() else build.mul(numbers, result)
    return result
