"""``X[h, M, K] @ Y[h, K, N]`` of two activations as broadcast products and means (SPEC n.3)::

    result[i, h, j] = K * mean_k( A[i, h, 1, k] * B[h, j, k] ),   A = X as [M, h, K],   B = Y^T as [h, N, K]

B is repeated along the outermost axis for a block of n rows of A (a Concat in hardware), the product is a one-sided
broadcast Mul, the mean a global pool in the same epoch. Blocks keep the product within on-chip memory, and B is
repeated only once for all of them. Exact; heads stay where they are, so no (0,2,1,3) transpose arises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.rewrites.base import Context, Rewrite
from n6convert.rewrites.build import Builder
from n6convert.rewrites.graph import constant_of, is_float, producer, shape_of

__all__ = ["MatMulToMulMean"]

_BLOCK_BYTES = 1 << 18
_MAX_BLOCKS = 64
_AXIS_LIMIT = 1 << 16


@dataclass
class _Product:
    x: ir.Value
    y: ir.Value
    heads: int
    m: int
    k: int
    n: int
    result: tuple[int, ...]

    @property
    def blocks(self) -> list[int]:
        """Rows of A that are multiplied at once, balanced, so that each product stays within the limits."""
        pieces = self.heads * self.n
        most = min(_BLOCK_BYTES // (pieces * self.k), (_AXIS_LIMIT - 1) // pieces, self.m)
        if most == 0:
            return []
        count = -(-self.m // most)
        rows = -(-self.m // count)
        return [*[rows] * (self.m // rows), *([self.m % rows] if self.m % rows else [])]


class MatMulToMulMean(Rewrite[_Product]):
    """Write the product of two activations as broadcast Mul and mean, which the NPU has."""

    name = "matmul-to-mul-mean"
    roots = frozenset({"MatMul"})

    def pattern(self, node: ir.Node) -> _Product | None:
        x, y = node.inputs
        a, b, result = shape_of(x), shape_of(y), shape_of(node.outputs[0])
        if x is None or y is None or a is None or b is None or result is None or not is_float(x):
            return None
        if constant_of(x) is not None or constant_of(y) is not None or min(len(a), len(b)) < 2:
            return None
        if a[:-2] != b[:-2]:
            return None
        return _Product(x, y, math.prod(a[:-2]), a[-2], a[-1], b[-1], result)

    def check(self, found: _Product, context: Context) -> str | None:
        if not found.blocks:
            row = found.heads * found.n * found.k
            return f"one row's products ({row:,} bytes) exceed the block of {_BLOCK_BYTES:,} bytes or an axis of 65,535"
        if len(found.blocks) > _MAX_BLOCKS:
            return f"it would take {len(found.blocks)} blocks of {found.blocks[0]} rows, more than {_MAX_BLOCKS}"
        return None

    def replace(self, found: _Product, build: Builder, context: Context) -> Sequence[ir.Value]:
        h, m, k, n = found.heads, found.m, found.k, found.n
        x, y = _scaled(build, found)
        a = build.transpose(build.reshape(x, [1, h, m, k]), [0, 2, 1, 3])
        b = build.transpose(build.reshape(y, [1, h, k, n]), [0, 1, 3, 2])
        rows = found.blocks
        repeated = build.repeat(b, rows[0], axis=1)
        parts = []
        for size, part in zip(
            rows, build.split(build.reshape(a, [1, m * h, 1, k]), [r * h for r in rows], axis=1), strict=True
        ):
            copies = repeated if size == rows[0] else build.slice(repeated, 1, 0, size * h)
            means = build.mean_last(build.mul(copies, part))
            parts.append(build.reshape(means, [1, size * h, n]))
        joined = build.reshape(build.concat(parts, axis=1), [1, m, h, n])
        return [build.reshape(build.transpose(joined, [0, 2, 1, 3]), found.result)]


def _scaled(build: Builder, found: _Product) -> tuple[ir.Value, ir.Value]:
    """Both operands, one of them times K (a mean is a sum over K): the one whose producer can absorb a constant."""
    if _is_normalized(found.x):
        return found.x, build.mul(found.y, float(found.k))
    return build.mul(found.x, float(found.k)), found.y


def _is_normalized(value: ir.Value) -> bool:
    node = producer(value)
    while node is not None and node.op_type in ("Reshape", "Transpose"):
        node = producer(node.inputs[0])
    return node is not None and node.op_type in ("Softmax", "Mul")
