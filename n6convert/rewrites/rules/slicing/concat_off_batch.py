"""``Concat`` along the first axis of tensors ``[1, n, ...]`` along the second one instead: the same bytes in order.

ST's import takes no Concat along the batch ([#import-limits]), also where the first axis is none, as in
``[1, S, d] -> [h, S, d]`` or states stacked to ``[layers, d]``. ``[1, h S, d]`` and ``[1, layers, d]`` hold the same
numbers, and a Reshape of them costs nothing ([#layout]).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder, shape
from n6convert.graph.query import shape_of
from n6convert.rewrites.batch_axis import cuts_batch
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ConcatOffBatch"]


@dataclass
class _Batch:
    node: ir.Node
    parts: list[ir.Value]


class ConcatOffBatch(Rewrite[_Batch]):
    """Write a Concat along the first axis as one along the second and a Reshape."""

    name = "concat-off-batch"
    roots = frozenset({"Concat"})
    housekeeping = True  # the import refuses what it replaces, however fast that is predicted

    def pattern(self, node: ir.Node) -> _Batch | None:
        parts = [v for v in node.inputs if v is not None and shape_of(v) is not None]
        return _Batch(node, parts) if len(parts) == len(node.inputs) and cuts_batch(node) else None

    def check(self, found: _Batch, context: Context) -> str | None:
        return None

    def replace(self, found: _Batch, build: Builder, context: Context) -> Sequence[ir.Value]:
        flat = [build.reshape(part, _second(shape(part))) for part in found.parts]
        return [build.reshape(build.concat(flat, axis=1), shape(found.node.outputs[0]))]


def _second(full: Sequence[int]) -> list[int]:
    """The first axis as the leading part of the second: ``[1, a b, rest]``, and ``[1, a, b]`` of two axes."""
    return [1, *full] if len(full) == 2 else [1, math.prod(full[:2]), *full[2:]]
