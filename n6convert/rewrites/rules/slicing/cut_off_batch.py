"""Slice and Split of the first axis of ``[A, n, ...]`` along the second one of ``[1, A n, ...]``: the same bytes.

ST's import cuts no batch ([#import-limits]), also where the first axis is none: the states of stacked recurrent
layers ``[L, 1, H]``, steps of a sequence ``[T, 1, I]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.slices import axis_of, slice_bounds
from n6convert.graph.query import shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CutOffBatch"]


@dataclass
class _Cut:
    node: ir.Node
    x: ir.Value
    full: tuple[int, ...]
    bounds: list[int]
    """Where each part begins, and the end of the last."""


class CutOffBatch(Rewrite[_Cut]):
    """Write a Slice or Split along the first axis as one along the second between Reshapes."""

    name = "cut-off-batch"
    roots = frozenset({"Slice", "Split"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Cut | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        parts = [shape_of(v) for v in node.outputs]
        if x is None or full is None or len(full) < 2 or axis_of(node) != 0 or None in parts:
            return None
        first = 0
        if node.op_type == "Slice":
            start, _, _, step = (int(part[0]) for part in slice_bounds(node))
            if step != 1:
                return None
            first = min(max(start + full[0] if start < 0 else start, 0), full[0])
        bounds = [first]
        for part in parts:
            bounds.append(bounds[-1] + (part or (0,))[0])
        return _Cut(node, x, full, bounds)

    def replace(self, found: _Cut, build: Builder, context: Context) -> Sequence[ir.Value]:
        count, size, *rest = found.full
        flat = build.reshape(found.x, [1, count * size, *rest])
        spans = zip(found.bounds, found.bounds[1:], strict=False)
        parts = [build.slice(flat, 1, start * size, end * size) for start, end in spans]
        return [build.reshape(p, shape_of(v) or ()) for p, v in zip(parts, found.node.outputs, strict=True)]
