"""``Concat`` along the first axis of tensors ``[1, n, ...]`` along the second one instead: the same bytes in order.

ST's import takes no Concat along the batch (SPEC j, hard limits), also where the first axis is none, as in
``[1, S, d] -> [h, S, d]``. ``[1, h S, d]`` holds the same numbers, and a Reshape of it costs nothing (SPEC c.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.rewrites.base import Context, Rewrite
from n6convert.rewrites.build import Builder
from n6convert.rewrites.graph import attribute, shape_of

__all__ = ["ConcatOffBatch"]


@dataclass
class _Batch:
    node: ir.Node
    parts: list[ir.Value]
    shapes: list[tuple[int, ...]]


class ConcatOffBatch(Rewrite[_Batch]):
    """Write a Concat along the first axis as one along the second and a Reshape."""

    name = "concat-off-batch"
    roots = frozenset({"Concat"})

    def pattern(self, node: ir.Node) -> _Batch | None:
        parts = [v for v in node.inputs if v is not None]
        shapes = [shape for v in parts if (shape := shape_of(v))]
        if len(shapes) != len(node.inputs) or len(shapes[0]) < 3:
            return None
        return _Batch(node, parts, shapes) if attribute(node, "axis") in (0, -len(shapes[0])) else None

    def check(self, found: _Batch, context: Context) -> str | None:
        return None

    def replace(self, found: _Batch, build: Builder, context: Context) -> Sequence[ir.Value]:
        rows = [[1, shape[0] * shape[1], *shape[2:]] for shape in found.shapes]
        flat = [build.reshape(part, to) for part, to in zip(found.parts, rows, strict=True)]
        joined = build.concat(flat, axis=1)
        return [build.reshape(joined, shape_of(found.node.outputs[0]) or ())]
