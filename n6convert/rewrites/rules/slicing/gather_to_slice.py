"""Gather of consecutive constant indices is a Slice: ``Gather(x, [i .. j], a) = Slice(x, i, j + 1, a)``.

Gather is CPU work in every version ([#onnx-operators]). A single index also drops its axis, which is a Reshape: the
class token of a vision transformer, q, k and v of one common projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["GatherToSlice"]


@dataclass
class _Range:
    x: ir.Value
    axis: int
    start: int
    stop: int
    result: tuple[int, ...]


class GatherToSlice(Rewrite[_Range]):
    """Write Gather of consecutive constant indices as a Slice."""

    name = "gather-to-slice"
    roots = frozenset({"Gather"})

    def pattern(self, node: ir.Node) -> _Range | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        indices = constant_of(node.inputs[1])
        if x is None or full is None or result is None or indices is None or not is_float(x) or indices.size == 0:
            return None
        axis = attribute(node, "axis", 0) % len(full)
        flat = np.asarray(indices).reshape(-1) % full[axis]
        if (np.diff(flat) != 1).any():
            return None
        return _Range(x, axis, int(flat[0]), int(flat[-1]) + 1, result)

    def replace(self, found: _Range, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [build.reshape(build.slice(found.x, found.axis, found.start, found.stop), found.result)]
