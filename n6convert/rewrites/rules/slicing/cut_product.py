"""Parts of a product are products of parts: ``(X Y)[:, a:b] = X (Y[:, a:b])``, and by rows with X.

Linear attention pads the values by a column of ones, multiplies both at once and takes numerator and denominator apart
again. On one INT8 grid the small one loses its bits to the large one; taken apart before, each has a grid of its own. A
cut of padding is a constant, and a product with a column of one number is a mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, is_float, producer, scalar_of, shape_of, single_use, users
from n6convert.rewrites.rule import Context, Rewrite
from n6convert.rewrites.rules.layout.sink_moves import axis_of, slice_bounds

__all__ = ["ColumnToMean", "CutPad", "CutProduct"]


@dataclass
class _Cut:
    product: ir.Node
    by_columns: bool
    ends: list[tuple[int, int]]


class CutProduct(Rewrite[_Cut]):
    """Cut the operand of a MatMul instead of its result."""

    name = "cut-product"
    roots = frozenset({"Slice", "Split"})
    housekeeping = True  # for the grids of the parts, and for rules that look for them; hardly any time

    def pattern(self, node: ir.Node) -> _Cut | None:
        value, axis = node.inputs[0], axis_of(node)
        product, full = producer(value, "MatMul"), shape_of(value)
        if value is None or product is None or full is None or axis is None or axis < len(full) - 2:
            return None
        shapes = [shape_of(v) for v in product.inputs]
        if any(s is None or len(s) != len(full) for s in shapes) or value.is_graph_output():
            return None
        if any(n.op_type not in self.roots or axis_of(n) != axis for n in users(value)):
            return None
        ends = _ends(node)
        return _Cut(product, axis == len(full) - 1, ends) if ends else None

    def replace(self, found: _Cut, build: Builder, context: Context) -> Sequence[ir.Value]:
        axis = -1 if found.by_columns else -2
        return [_cut_of(build, found.product, axis, *ends) for ends in found.ends]


def _cut_of(build: Builder, product: ir.Node, axis: int, start: int, stop: int) -> ir.Value:
    """Columns (axis -1) or rows (-2) of a product; of an operand that is a product for this one alone, likewise."""
    which = 1 if axis == -1 else 0
    products, cut = [product], product.inputs[which]
    while (inner := producer(cut, "MatMul")) is not None and cut is not None and single_use(cut):
        products.append(inner)
        cut = inner.inputs[which]
    assert cut is not None
    part = build.slice(cut, len(shape_of(cut) or ()) + axis, start, stop)
    for node in reversed(products):
        other = node.inputs[1 - which]
        assert other is not None
        to = list(shape_of(node.outputs[0]) or ())
        to[axis] = stop - start
        part = build.node("MatMul", [other, part] if axis == -1 else [part, other], [to])[0]
    return part


@dataclass
class _Padded:
    x: ir.Value
    axis: int
    start: int
    stop: int
    value: float | None
    """The number that pads where the cut holds nothing else."""
    result: tuple[int, ...]


class CutPad(Rewrite[_Padded]):
    """Cut a padded tensor before it is padded, or write a cut of the padding as a constant."""

    name = "cut-pad"
    roots = frozenset({"Slice"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Padded | None:
        pad, axis, result = producer(node.inputs[0], "Pad"), axis_of(node), shape_of(node.outputs[0])
        x = None if pad is None else pad.inputs[0]
        full, pads = shape_of(x), None if pad is None or len(pad.inputs) < 2 else constant_of(pad.inputs[1])
        if pad is None or x is None or axis is None or full is None or result is None or pads is None:
            return None
        if len(pads) != 2 * len(full) or (pads < 0).any() or attribute(pad, "mode", "constant") != "constant":
            return None
        if any(p for i, p in enumerate(pads) if i % len(full) != axis) or not is_float(x):
            return None
        start, stop, _, step = (int(part[0]) for part in slice_bounds(node))
        start, stop = start - int(pads[axis]), stop - int(pads[axis])
        if step != 1 or (start < full[axis] < stop) or (start < 0 < stop):
            return None
        outside = start >= full[axis] or stop <= 0
        given = pad.inputs[2] if len(pad.inputs) > 2 else None
        value = 0.0 if given is None else scalar_of(given)
        return None if outside and value is None else _Padded(x, axis, start, stop, value if outside else None, result)

    def replace(self, found: _Padded, build: Builder, context: Context) -> Sequence[ir.Value]:
        if found.value is not None:
            return [build.constant(np.full(found.result, found.value))]
        return [build.slice(found.x, found.axis, found.start, found.stop)]


@dataclass
class _Column:
    x: ir.Value
    value: float
    result: tuple[int, ...]


class ColumnToMean(Rewrite[_Column]):
    """Write a MatMul with a column of one number as a mean."""

    name = "column-to-mean"
    roots = frozenset({"MatMul"})

    def pattern(self, node: ir.Node) -> _Column | None:
        x, column, result = node.inputs[0], constant_of(node.inputs[1]), shape_of(node.outputs[0])
        full = shape_of(x)
        if x is None or column is None or result is None or full is None or column.ndim < 2 or column.shape[-1] != 1:
            return None
        alike = bool((column == column.flat[0]).all()) and math.prod(result) * full[-1] == math.prod(full)
        return _Column(x, float(column.flat[0]), result) if alike else None

    def replace(self, found: _Column, build: Builder, context: Context) -> Sequence[ir.Value]:
        size = (shape_of(found.x) or ())[-1]
        return [build.reshape(build.mul(build.mean_last(found.x), size * found.value), found.result)]


def _ends(node: ir.Node) -> list[tuple[int, int]]:
    """Where a Slice or Split cuts; nothing for every other row or column."""
    if node.op_type == "Slice":
        start, stop, _, step = (int(part[0]) for part in slice_bounds(node))
        return [(start, stop)] if step == 1 else []
    sizes = [(shape_of(v) or ())[axis_of(node) or 0] for v in node.outputs]
    ends = np.cumsum([0, *sizes]).tolist()
    return list(zip(ends, ends[1:], strict=False))
