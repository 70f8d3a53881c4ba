"""Rows and columns that are repeated by ``Expand`` between two Reshapes are a nearest-neighbor ``Resize``::

    [1, C, H, W] -> [1, C, H, 1, W, 1] -> [1, C, H, k, W, m] -> [1, C, k H, m W]

So repeat_interleave and upsampling without Resize are exported; six axes are too many for the NPU ([#import-19]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import is_float, producer, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ExpandToResize"]


@dataclass
class _Repeated:
    x: ir.Value
    result: tuple[int, ...]
    times: list[int]
    """How often the elements of each axis are repeated."""


class ExpandToResize(Rewrite[_Repeated]):
    """Write repeated rows and columns as a nearest-neighbor Resize."""

    name = "expand-to-resize"
    roots = frozenset({"Reshape"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Repeated | None:
        expand = producer(node.inputs[0], "Expand", "Tile")
        view = None if expand is None else producer(expand.inputs[0], "Reshape")
        if expand is None or view is None:
            return None
        x, result = view.inputs[0], shape_of(node.outputs[0])
        full, before, after = (shape_of(v) for v in (x, view.outputs[0], expand.outputs[0]))
        if x is None or full is None or result is None or before is None or after is None or len(full) != 4:
            return None
        times = _times(full, before, after)
        if times is None or not is_float(x) or times[:2] != [1, 1]:
            return None
        return _Repeated(x, result, times) if result == tuple(np.multiply(full, times)) else None

    def replace(self, found: _Repeated, build: Builder, context: Context) -> Sequence[ir.Value]:
        return build.node(
            "Resize", [found.x, None, build.constant(found.times)], [found.result], mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip


def _times(full: Sequence[int], before: Sequence[int], after: Sequence[int]) -> list[int] | None:
    """How often each axis of ``full`` is repeated right behind itself; None for other repetitions."""
    times: list[int] = []
    kept: list[int] = []
    if len(before) != len(after):
        return None
    for small, large in zip(before, after, strict=True):
        if small == large != 1 or (small == large and len(kept) < len(full) and full[len(kept)] == 1):
            kept.append(small)
            times.append(1)
        elif small == 1 and times:
            times[-1] *= large
        else:
            return None
    return times if kept == list(full) else None
