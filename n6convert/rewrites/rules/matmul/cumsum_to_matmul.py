"""``CumSum`` as a product with a triangular matrix of ones: every sum is exact in integers too.

The NPU has no running sum ([#onnx-operators]). ``exclusive`` leaves the diagonal out, ``reverse`` sums from the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, is_float, shape_of
from n6convert.rewrites.pointwise_forms import product_along
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CumSumToMatMul"]

_LONGEST = 4096  # 16 MiB of ones as INT8


@dataclass
class _Sums:
    x: ir.Value
    axis: int
    full: tuple[int, ...]
    exclusive: bool
    reverse: bool


class CumSumToMatMul(Rewrite[_Sums]):
    """Write CumSum along a constant axis as MatMul."""

    name = "cumsum-to-matmul"
    roots = frozenset({"CumSum"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Sums | None:
        x, full, axis = node.inputs[0], shape_of(node.inputs[0]), constant_of(node.inputs[1])
        if x is None or full is None or axis is None or not is_float(x):
            return None
        flags = (bool(attribute(node, name, 0)) for name in ("exclusive", "reverse"))
        return _Sums(x, int(axis.reshape(-1)[0]) % len(full), full, *flags)

    def check(self, found: _Sums, context: Context) -> str | None:
        size = found.full[found.axis]
        return None if size <= _LONGEST else f"an axis of {size} elements is summed, more than {_LONGEST}"

    def replace(self, found: _Sums, build: Builder, context: Context) -> Sequence[ir.Value]:
        size = found.full[found.axis]
        matrix = np.triu(np.ones((size, size)), 1 if found.exclusive else 0)
        return [product_along(build, found.x, [found.axis], matrix.T if found.reverse else matrix, [size])]
