"""``CumSum`` as a product with a triangular matrix of ones: every sum is exact in integers too.

The NPU has no running sum ([#onnx-operators]). ``exclusive`` leaves the diagonal out, ``reverse`` sums from the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, is_float, shape_of
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
        full, axis = found.full, found.axis
        size = full[axis]
        perm = [*(i for i in range(len(full)) if i != axis), axis]
        rows = [full[i] for i in perm[:-1]]
        matrix = np.triu(np.ones((size, size)), 1 if found.exclusive else 0)
        weight = build.constant(matrix.T if found.reverse else matrix)
        x = build.reshape(build.transpose(found.x, perm), [1, math.prod(rows), size])
        sums = build.node("MatMul", [x, weight], [[1, math.prod(rows), size]])[0]
        return [build.transpose(build.reshape(sums, [*rows, size]), np.argsort(perm).tolist())]
