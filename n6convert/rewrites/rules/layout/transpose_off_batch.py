"""A Transpose that moves the batch of 1, or a first axis that is none, as one behind a batch of 1.

ST's import takes no Transpose of the first axis ([#import-limits]). Axes of length 1 may stand anywhere, so the others
are turned behind a first axis of 1, and the result is seen in the shape that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["TransposeOffBatch"]

_MOST = 3


@dataclass
class _Moved:
    x: ir.Value
    full: tuple[int, ...]
    perm: list[int]

    @property
    def long(self) -> list[int]:
        """Axes that are longer than 1."""
        return [axis for axis, size in enumerate(self.full) if size > 1]


class TransposeOffBatch(Rewrite[_Moved]):
    """Write a Transpose of the first axis as one of the others."""

    name = "transpose-off-batch"
    roots = frozenset({"Transpose"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Moved | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        if x is None or full is None or not is_float(x):
            return None
        perm = attribute(node, "perm") or list(range(len(full)))[::-1]
        return _Moved(x, full, [int(p) for p in perm]) if perm[0] != 0 else None

    def check(self, found: _Moved, context: Context) -> str | None:
        if len(found.long) <= _MOST:
            return None
        return f"it turns {len(found.long)} axes, and {_MOST} have room behind the batch"

    def replace(self, found: _Moved, build: Builder, context: Context) -> Sequence[ir.Value]:
        long = found.long
        x = build.reshape(found.x, [1, *(found.full[axis] for axis in long)])
        turned = build.transpose(x, [0, *(1 + long.index(p) for p in found.perm if p in long)])
        return [build.reshape(turned, [found.full[p] for p in found.perm])]
