"""A BatchNormalization that no convolution can absorb is ``x * scale + shift``.

As one operator it is CPU work in float up to 2.x ([#onnx-operators]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.conv import channel_affine
from n6convert.graph.query import Array, producer, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["BatchNormToAffine"]


@dataclass
class _Affine:
    x: ir.Value
    scale: Array
    shift: Array


class BatchNormToAffine(Rewrite[_Affine]):
    """Write a BatchNormalization that stands alone as Mul and Add per channel."""

    name = "batchnorm-to-affine"
    roots = frozenset({"BatchNormalization"})
    late = True

    def pattern(self, node: ir.Node) -> _Affine | None:
        full = shape_of(node.inputs[0])
        affine = None if full is None or len(full) < 2 else channel_affine(node)
        return None if affine is None or producer(affine[0], "Conv") is not None else _Affine(*affine)

    def replace(self, found: _Affine, build: Builder, context: Context) -> Sequence[ir.Value]:
        along = [1, -1, *[1] * (len(shape_of(found.x) or ()) - 2)]
        scaled = build.mul(found.x, found.scale.reshape(along))
        return [build.add(scaled, found.shift.reshape(along))]
