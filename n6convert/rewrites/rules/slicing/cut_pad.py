"""A cut of a padded tensor is one of the tensor itself, or a constant where only padding is left.

Behind ``cut_product.py`` it frees the column of ones of linear attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.slices import axis_of, slice_bounds
from n6convert.graph.query import (
    attribute,
    constant_of,
    is_float,
    producer,
    scalar_of,
    shape_of,
)
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CutPad"]


@dataclass
class _Padded:
    x: ir.Value
    axis: int
    start: int
    stop: int
    value: float | None
    """The number that pads where the cut holds nothing else."""
    result: tuple[int, ...]


class CutPad(Rewrite[_Padded]):
    """Cut a padded tensor before it is padded, or write a cut of the padding as a constant."""

    name = "cut-pad"
    roots = frozenset({"Slice"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Padded | None:
        pad, axis, result = producer(node.inputs[0], "Pad"), axis_of(node), shape_of(node.outputs[0])
        x = None if pad is None else pad.inputs[0]
        full, pads = shape_of(x), None if pad is None or len(pad.inputs) < 2 else constant_of(pad.inputs[1])
        if pad is None or x is None or axis is None or full is None or result is None or pads is None:
            return None
        if len(pads) != 2 * len(full) or (pads < 0).any() or attribute(pad, "mode", "constant") != "constant":
            return None
        if any(p for i, p in enumerate(pads) if i % len(full) != axis) or not is_float(x):
            return None
        start, stop, _, step = (int(part[0]) for part in slice_bounds(node))
        start, stop = start - int(pads[axis]), stop - int(pads[axis])
        if step != 1 or (start < full[axis] < stop) or (start < 0 < stop):
            return None
        outside = start >= full[axis] or stop <= 0
        given = pad.inputs[2] if len(pad.inputs) > 2 else None
        value = 0.0 if given is None else scalar_of(given)
        return None if outside and value is None else _Padded(x, axis, start, stop, value if outside else None, result)

    def replace(self, found: _Padded, build: Builder, context: Context) -> Sequence[ir.Value]:
        if found.value is not None:
            return [build.constant(np.full(found.result, found.value))]
        return [build.slice(found.x, found.axis, found.start, found.stop)]
