"""``a[S, 1] * b[1, D]``, where both operands are repeated, as one repetition by a Concat and a one-sided product.

Two-sided products and sums are CPU work with a 16-bit result ([#broadcasting]); a Concat of one tensor with itself
along the outermost axis is a DMA copy ([#joins]).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["TwoSidedBroadcast"]

_MAX_COPIES = 4096


@dataclass
class _Outer:
    op: str
    values: list[ir.Value]
    repeated: int
    """Which operand is copied."""
    times: int
    result: tuple[int, ...]


class TwoSidedBroadcast(Rewrite[_Outer]):
    """Repeat one operand of an elementwise operator of which both would be repeated."""

    name = "two-sided-broadcast"
    roots = frozenset({"Add", "Mul", "Sub"})

    def pattern(self, node: ir.Node) -> _Outer | None:
        result, values = shape_of(node.outputs[0]), [v for v in node.inputs if v is not None]
        shapes = [s for v in values if (s := shape_of(v)) is not None]
        if result is None or len(shapes) != 2 or not is_float(values[0]) or result in shapes:
            return None
        if any(constant_of(v) is not None or math.prod(s) == 1 for v, s in zip(values, shapes, strict=True)):
            return None
        times = [_copies(s, result) for s in shapes]
        if not any(times):
            return None
        repeated = min((i for i in (0, 1) if times[i]), key=lambda i: times[i])
        return _Outer(node.op_type, values, repeated, times[repeated], result)

    def check(self, found: _Outer, context: Context) -> str | None:
        if found.times > _MAX_COPIES:
            return f"it would take {found.times} copies, more than {_MAX_COPIES}"
        return None

    def replace(self, found: _Outer, build: Builder, context: Context) -> Sequence[ir.Value]:
        small = found.values[found.repeated]
        size = math.prod(shape_of(small) or ())
        copies = build.repeat(build.reshape(small, [1, 1, size]), found.times, axis=1)
        full, other = build.reshape(copies, found.result), found.values[1 - found.repeated]
        if found.op == "Sub" and found.repeated == 1:
            return [build.add(build.mul(full, -1.0), other)]
        return [build.binary(found.op, full, other)]


def _copies(small: Sequence[int], full: Sequence[int]) -> int:
    """How often a tensor stands one after the other in its repetition; 0 when it is repeated on inner axes."""
    padded = [*[1] * (len(full) - len(small)), *small]
    first = next(i for i, n in enumerate(padded) if n != 1)
    return math.prod(full[:first]) if list(padded[first:]) == list(full[first:]) else 0
