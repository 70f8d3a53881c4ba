"""``Pad`` that mirrors, repeats or wraps the border, as the lines of the border joined with the map.

Along each axis of n elements, p of them before: ``reflect`` takes elements p to 1, ``edge`` p times element 0, ``wrap``
elements n - p to n - 1; behind it likewise. The NPU pads with constants only ([#op-pad]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["BorderPadToConcat"]

#: parts of one axis beside the map itself
_MOST = 16


@dataclass
class _Pad:
    x: ir.Value
    mode: str
    sides: dict[int, tuple[int, int]]
    """Elements before and behind, by axis."""


class BorderPadToConcat(Rewrite[_Pad]):
    """Write Pad of mode reflect, edge or wrap as Slice and Concat."""

    name = "border-pad-to-concat"
    roots = frozenset({"Pad"})

    def pattern(self, node: ir.Node) -> _Pad | None:
        x, full, mode = node.inputs[0], shape_of(node.inputs[0]), attribute(node, "mode", "constant")
        given = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
        axes = constant_of(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] is not None else None
        if x is None or full is None or given is None or mode not in ("reflect", "edge", "wrap") or not is_float(x):
            return None
        along = range(len(full)) if axes is None else [int(a) % len(full) for a in axes.reshape(-1)]
        before, behind = np.asarray(given).reshape(2, -1).tolist()
        sides = {a: (b, e) for a, b, e in zip(along, before, behind, strict=True) if b or e}
        return _Pad(x, mode, sides) if sides else None

    def check(self, found: _Pad, context: Context) -> str | None:
        if any(min(side) < 0 for side in found.sides.values()):
            return "it cuts as well"
        if found.mode != "wrap" and any(sum(side) > _MOST for side in found.sides.values()):
            return f"more than {_MOST} lines of an axis lie around the map"
        return "the batch is padded" if 0 in found.sides else None

    def replace(self, found: _Pad, build: Builder, context: Context) -> Sequence[ir.Value]:
        x = found.x
        for axis, (before, behind) in found.sides.items():
            x = _bordered(build, x, axis, found.mode, before, behind)
        return [x]


def _bordered(build: Builder, x: ir.Value, axis: int, mode: str, before: int, behind: int) -> ir.Value:
    size = (shape_of(x) or ())[axis]
    if mode == "wrap":
        first = [build.slice(x, axis, size - before, size)] if before else []
        last = [build.slice(x, axis, 0, behind)] if behind else []
    elif mode == "edge":
        first = [build.slice(x, axis, 0, 1)] * before
        last = [build.slice(x, axis, size - 1, size)] * behind
    else:
        first = [build.slice(x, axis, i, i + 1) for i in range(before, 0, -1)]
        last = [build.slice(x, axis, i, i + 1) for i in range(size - 2, size - 2 - behind, -1)]
    return build.concat([*first, x, *last], axis)
