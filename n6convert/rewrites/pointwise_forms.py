"""Products along axes and permutations: forms that several rules write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, elements, shape_of

__all__ = ["along_axes", "permutation", "product_along"]


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


def product_along(build: Builder, x: ir.Value, axes: Sequence[int], matrix: Array, result: Sequence[int]) -> ir.Value:
    """A product of the numbers along some axes, as one vector, with a matrix, as a MatMul.

    Args:
        build: makes the nodes.
        x: any shape.
        axes: whose numbers are multiplied, the last one the fastest.
        matrix: [numbers, numbers of the result].
        result: lengths of these axes in the result.
    """
    full = shape_of(x) or ()
    rest = [i for i in range(len(full)) if i not in axes]
    perm, lengths = [*rest, *axes], [full[i] for i in rest]
    rows = elements(lengths)
    flat = build.reshape(build.transpose(x, perm), [1, rows, matrix.shape[0]])
    y = build.node("MatMul", [flat, build.constant(matrix)], [[1, rows, matrix.shape[1]]])[0]
    return build.transpose(build.reshape(y, [*lengths, *result]), np.argsort(perm).tolist())
