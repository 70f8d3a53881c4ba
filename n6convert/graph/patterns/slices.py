"""Slices: the axis that they cut, their bounds, and what a chain of strided ones picks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.query import (
    Array,
    attribute,
    constant_of,
    is_float,
    producer,
    shape_of,
)

__all__ = ["PickedPixels", "axis_of", "picked_pixels", "slice_bounds"]


def axis_of(node: ir.Node) -> int | None:
    """The one axis that a Split, Slice or Concat works on; None for several or unknown ones."""
    full = shape_of(node.outputs[0])
    if full is None:
        return None
    if node.op_type != "Slice":
        return int(attribute(node, "axis", 0)) % len(full)
    if len(node.inputs) < 3 or any(constant_of(v) is None for v in node.inputs[1:]):
        return None
    axes = slice_bounds(node)[2]
    return int(axes[0]) % len(full) if len(axes) == 1 else None


def slice_bounds(node: ir.Node) -> list[Array]:
    """starts, ends, axes and steps of a Slice; of forward cuts the first two are positions on the axis."""
    given = [constant_of(v) for v in node.inputs[1:]]
    size = 0 if given[0] is None else len(given[0])
    defaults = [np.arange(size), np.ones(size, np.int64)]
    held = [g for g in given if g is not None]
    bounds = held + defaults[len(held) - 2 :] if len(held) < 4 else held
    full = shape_of(node.inputs[0])
    return bounds if full is None else _positions(bounds, full)


def _positions(bounds: Sequence[Array], full: Sequence[int]) -> list[Array]:
    """Bounds counted from the end, or beyond it, as the positions that they stand for."""
    starts, ends, axes, steps = (np.array(given, np.int64) for given in bounds)
    for i, (start, end, axis, step) in enumerate(zip(starts, ends, axes, steps, strict=True)):
        if step > 0:
            starts[i], ends[i], _ = slice(int(start), int(end), int(step)).indices(full[int(axis)])
    return [starts, ends, axes, steps]


@dataclass(frozen=True)
class PickedPixels:
    """``x[:, :, first[0]::step[0], first[1]::step[1]]``."""

    x: ir.Value
    first: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the map that is picked from."""
        return shape_of(self.x) or ()

    def kernel(self) -> Array:
        """``[1, 1, *step]`` with a one where the pixel is."""
        one = np.zeros((1, 1, *self.step), np.float32)
        one[0, 0, self.first[0], self.first[1]] = 1
        return one


def picked_pixels(value: ir.Value | None) -> PickedPixels | None:
    """What a chain of strided Slices of rows and columns picks; None for other values."""
    node = producer(value, "Slice")
    axis = None if node is None else axis_of(node)
    if node is None or axis not in (2, 3):
        return None
    start, stop, _, step = (int(part[0]) for part in slice_bounds(node))
    if step < 2 or start >= step:
        return None
    found = picked_pixels(node.inputs[0]) or _plain(node.inputs[0])
    if found is None or found.step[axis - 2] != 1:
        return None
    side = found.shape[axis]
    if side % step or stop <= side - step + start:
        return None
    first, steps = list(found.first), list(found.step)
    first[axis - 2], steps[axis - 2] = start, step
    return PickedPixels(found.x, (first[0], first[1]), (steps[0], steps[1]))


def _plain(value: ir.Value | None) -> PickedPixels | None:
    full = shape_of(value)
    return (
        PickedPixels(value) if value is not None and full is not None and len(full) == 4 and is_float(value) else None
    )
