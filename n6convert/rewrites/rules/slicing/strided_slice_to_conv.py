"""Every s-th row or column is a convolution of stride s with a single one as its kernel, exact in 8 bits.

A Slice of an inner axis is CPU work, whatever its step ([#joins]); a depthwise Conv is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.slices import PickedPixels, picked_pixels
from n6convert.graph.query import users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["StridedSliceToConv"]


class StridedSliceToConv(Rewrite[PickedPixels]):
    """Write a Slice of every s-th row or column as a depthwise Conv."""

    name = "strided-slice-to-conv"
    roots = frozenset({"Slice"})
    late = True

    def pattern(self, node: ir.Node) -> PickedPixels | None:
        readers = users(node.outputs[0])
        inside = bool(readers) and all(picked_pixels(v) is not None for n in readers for v in n.outputs)
        return None if inside else picked_pixels(node.outputs[0])

    def replace(self, found: PickedPixels, build: Builder, context: Context) -> Sequence[ir.Value]:
        channels = found.shape[1]
        weight = np.repeat(found.kernel(), channels, axis=0)
        return [build.conv(found.x, weight, strides=list(found.step), group=channels)]
