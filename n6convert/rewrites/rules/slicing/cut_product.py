"""Parts of a product are products of parts: ``(X Y)[:, a:b] = X (Y[:, a:b])``, and by rows with X.

Linear attention pads the values by a column of ones, multiplies both at once and takes numerator and denominator apart
again. On one INT8 grid the small one loses its bits to the large one; taken apart before, each has a grid of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.slices import axis_of, slice_bounds
from n6convert.graph.query import producer, shape_of, single_use, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CutProduct"]


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


def _ends(node: ir.Node) -> list[tuple[int, int]]:
    """Where a Slice or Split cuts; nothing for every other row or column."""
    if node.op_type == "Slice":
        start, stop, _, step = (int(part[0]) for part in slice_bounds(node))
        return [(start, stop)] if step == 1 else []
    sizes = [(shape_of(v) or ())[axis_of(node) or 0] for v in node.outputs]
    ends = np.cumsum([0, *sizes]).tolist()
    return list(zip(ends, ends[1:], strict=False))
