"""A Concat of all ``x[:, :, i::s, j::s]``, the Focus layer of some detectors, is one Conv with kernels ``[s, s]``.

A Slice of an inner axis is CPU work, whatever its step ([#joins]); the kernels have a single one, exact in 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.slices import PickedPixels, picked_pixels
from n6convert.graph.query import (
    attribute,
)
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["FocusToConv"]


_MAX_WEIGHTS = 1 << 18


class FocusToConv(Rewrite[list[PickedPixels]]):
    """Write a Concat of strided Slices of one map as one Conv."""

    name = "focus-to-conv"
    roots = frozenset({"Concat"})

    def pattern(self, node: ir.Node) -> list[PickedPixels] | None:
        picked = [picked_pixels(v) for v in node.inputs]
        parts = [p for p in picked if p is not None]
        if len(parts) < len(picked) or attribute(node, "axis") not in (1, -3):
            return None
        alike = len({p.x for p in parts}) == len({p.step for p in parts}) == 1
        return parts if alike else None

    def check(self, found: list[PickedPixels], context: Context) -> str | None:
        channels, step = found[0].shape[1], found[0].step
        weights = len(found) * channels * channels * step[0] * step[1]
        limit = f"its Conv would have {weights:,} weights, more than {_MAX_WEIGHTS:,}"
        return limit if weights > _MAX_WEIGHTS else None

    def replace(self, found: list[PickedPixels], build: Builder, context: Context) -> Sequence[ir.Value]:
        each = np.eye(found[0].shape[1], dtype=np.float32)[:, :, None, None]
        weight = np.concatenate([each * part.kernel() for part in found])
        return [build.conv(found[0].x, weight, strides=list(found[0].step))]
