"""``Concat`` of unequal channel counts as one of equal chunks: a Concat of equal parts is hardware ([#joins]).

Every input is cut into pieces of the greatest common divisor of the channel counts. Where the input comes from a
1x1 Conv, the pieces are convolutions with slices of its weights. Exact, without any change of the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.concat import UnequalConcat, unequal_concat
from n6convert.graph.query import shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ConcatEqualChunks"]

_MAX_CHUNKS = 12


class ConcatEqualChunks(Rewrite[UnequalConcat]):
    """Cut the inputs of an unequal channel Concat into equal pieces."""

    name = "concat-equal-chunks"
    roots = frozenset({"Concat"})

    def pattern(self, node: ir.Node) -> UnequalConcat | None:
        return unequal_concat(node)

    def check(self, found: UnequalConcat, context: Context) -> str | None:
        pieces = sum(found.sizes) // math.gcd(*found.sizes)
        if pieces > _MAX_CHUNKS:
            return f"{found.sizes} channels would need {pieces} equal pieces, more than {_MAX_CHUNKS}"
        return None

    def replace(self, found: UnequalConcat, build: Builder, context: Context) -> Sequence[ir.Value]:
        size = math.gcd(*found.sizes)
        pieces = [
            piece
            for part, channels in zip(found.parts, found.sizes, strict=True)
            for piece in build.split(part, channels // size, axis=1)
        ]
        return build.node("Concat", pieces, [shape_of(found.node.outputs[0]) or ()], axis=1)
