"""Products along an axis and permutations as 1x1 convolutions: forms that several rules write."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import (
    Array,
    shape_of,
)

__all__ = ["along_axes", "permutation"]


def along_axes(build: Builder, x: ir.Value, over_height: Array | None, over_width: Array | None) -> ir.Value:
    """``A_h X A_w^T`` for every channel of [1, C, H, W]; None leaves an axis as it is.

    Args:
        build: makes the nodes.
        x: [1, C, H, W].
        over_height: [n, H]; None: rows stay.
        over_width: [m, W]; None: columns stay.
    """
    _, c, h, w = shape_of(x) or (1, 1, 1, 1)
    x = build.swap(x, c * h, [1, w, c, h])
    x = x if over_width is None else build.pointwise(x, over_width)
    wide = w if over_width is None else len(over_width)
    x = build.swap(x, wide * c, [1, h, wide, c])
    x = x if over_height is None else build.pointwise(x, over_height)
    high = h if over_height is None else len(over_height)
    return build.swap(x, high * wide, [1, c, high, wide])


def permutation(outer: int, inner: int) -> Array:
    """Matrix that takes channels ``(outer, inner)`` to ``(inner, outer)``."""
    order = np.arange(outer * inner).reshape(outer, inner).T.ravel()
    return np.eye(outer * inner, dtype=np.float32)[order]
