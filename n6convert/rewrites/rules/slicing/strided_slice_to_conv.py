"""Every s-th row or column is a convolution of stride s with a single one as its kernel, exact in 8 bits.

A Slice of an inner axis is CPU work, whatever its step ([#joins]). The Focus layer of some detectors, a Concat of all
``x[:, :, i::s, j::s]``, is one convolution with kernels ``[s, s]``; a single Slice is a depthwise one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, attribute, is_float, producer, shape_of, users
from n6convert.rewrites.rule import Context, Rewrite
from n6convert.rewrites.rules.layout.sink_moves import axis_of, slice_bounds

__all__ = ["FocusToConv", "StridedSliceToConv"]

_MAX_WEIGHTS = 1 << 18


@dataclass(frozen=True)
class _Picked:
    """``x[:, :, first[0]::step[0], first[1]::step[1]]``."""

    x: ir.Value
    first: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.x) or ()

    def kernel(self) -> Array:
        """``[1, 1, *step]`` with a one where the pixel is."""
        one = np.zeros((1, 1, *self.step), np.float32)
        one[0, 0, self.first[0], self.first[1]] = 1
        return one


class FocusToConv(Rewrite[list[_Picked]]):
    """Write a Concat of strided Slices of one map as one Conv."""

    name = "focus-to-conv"
    roots = frozenset({"Concat"})

    def pattern(self, node: ir.Node) -> list[_Picked] | None:
        picked = [_picked(v) for v in node.inputs]
        parts = [p for p in picked if p is not None]
        if len(parts) < len(picked) or attribute(node, "axis") not in (1, -3):
            return None
        alike = len({p.x for p in parts}) == len({p.step for p in parts}) == 1
        return parts if alike else None

    def check(self, found: list[_Picked], context: Context) -> str | None:
        channels, step = found[0].shape[1], found[0].step
        weights = len(found) * channels * channels * step[0] * step[1]
        limit = f"its Conv would have {weights:,} weights, more than {_MAX_WEIGHTS:,}"
        return limit if weights > _MAX_WEIGHTS else None

    def replace(self, found: list[_Picked], build: Builder, context: Context) -> Sequence[ir.Value]:
        each = np.eye(found[0].shape[1], dtype=np.float32)[:, :, None, None]
        weight = np.concatenate([each * part.kernel() for part in found])
        return [build.conv(found[0].x, weight, strides=list(found[0].step))]


class StridedSliceToConv(Rewrite[_Picked]):
    """Write a Slice of every s-th row or column as a depthwise Conv."""

    name = "strided-slice-to-conv"
    roots = frozenset({"Slice"})
    late = True

    def pattern(self, node: ir.Node) -> _Picked | None:
        readers = users(node.outputs[0])
        inside = bool(readers) and all(_picked(v) is not None for n in readers for v in n.outputs)
        return None if inside else _picked(node.outputs[0])

    def replace(self, found: _Picked, build: Builder, context: Context) -> Sequence[ir.Value]:
        channels = found.shape[1]
        weight = np.repeat(found.kernel(), channels, axis=0)
        return [build.conv(found.x, weight, strides=list(found.step), group=channels)]


def _picked(value: ir.Value | None) -> _Picked | None:
    """What a chain of strided Slices of rows and columns picks; None for other values."""
    node = producer(value, "Slice")
    axis = None if node is None else axis_of(node)
    if node is None or axis not in (2, 3):
        return None
    start, stop, _, step = (int(part[0]) for part in slice_bounds(node))
    if step < 2 or start >= step:
        return None
    found = _picked(node.inputs[0]) or _plain(node.inputs[0])
    if found is None or found.step[axis - 2] != 1:
        return None
    side = found.shape[axis]
    if side % step or stop <= side - step + start:
        return None
    first, steps = list(found.first), list(found.step)
    first[axis - 2], steps[axis - 2] = start, step
    return _Picked(found.x, (first[0], first[1]), (steps[0], steps[1]))


def _plain(value: ir.Value | None) -> _Picked | None:
    full = shape_of(value)
    return _Picked(value) if value is not None and full is not None and len(full) == 4 and is_float(value) else None
