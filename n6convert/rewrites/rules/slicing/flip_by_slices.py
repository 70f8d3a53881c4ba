"""``ReverseSequence``, and ``Slice`` backwards, as the elements of the axis joined in the other order.

The NPU reads forwards only. What is joined is taken apart again where single steps are read, as by a recurrent cell
that runs backwards: then nothing is left of it (:mod:`n6convert.rewrites.rules.slicing.cut_before_join`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.slices import axis_of, slice_bounds
from n6convert.graph.query import attribute, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["FlipBySlices"]

_LONGEST = 128


@dataclass
class _Flip:
    x: ir.Value
    axis: int
    positions: Sequence[int]
    """Of the elements that are taken, in their new order."""
    whole: bool = True


class FlipBySlices(Rewrite[_Flip]):
    """Write an axis that is read backwards as its elements joined in the other order."""

    name = "flip-by-slices"
    roots = frozenset({"ReverseSequence", "Slice"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Flip | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        if x is None or full is None or not is_float(x) or shape_of(node.outputs[0]) is None:
            return None
        if node.op_type == "ReverseSequence":
            axis, lengths = attribute(node, "time_axis", 0), constant_of(node.inputs[1])
            turned = range(full[axis])[::-1]
            return None if lengths is None else _Flip(x, axis, turned, bool((lengths == full[axis]).all()))
        cut = axis_of(node)
        if cut is None:
            return None
        start, stop, _, step = (int(given[0]) for given in slice_bounds(node))
        if step >= 0:
            return None
        return _Flip(x, cut, range(full[cut])[start : None if stop < -full[cut] else stop : step])

    def check(self, found: _Flip, context: Context) -> str | None:
        if not found.whole:
            return "some sequences are shorter than the axis"
        taken = len(found.positions)
        return None if taken <= _LONGEST else f"an axis of {taken} elements is reversed, more than {_LONGEST}"

    def replace(self, found: _Flip, build: Builder, context: Context) -> Sequence[ir.Value]:
        full = shape_of(found.x) or ()
        x, axis, step = found.x, found.axis, 1
        if axis == 0:  # the batch is never cut: [A, n, ..] is [1, A n, ..]
            step = full[1] if len(full) > 1 else 1
            x, axis = build.reshape(x, [1, full[0] * step, *full[2:]]), 1
        parts = [build.slice(x, axis, i * step, (i + 1) * step) for i in found.positions]
        to = [len(found.positions) if i == found.axis else n for i, n in enumerate(full)]
        return [build.reshape(build.concat(parts, axis), to)]
