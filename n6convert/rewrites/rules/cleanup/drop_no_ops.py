"""Nodes that give back their input: ``f(x) = x``.

Identity, Dropout (at inference), Cast and CastLike to the type x has, Reshape/Expand/Tile/Slice/Pad that change
nothing, Transpose in order, Concat and Sum of one tensor, ``x * 1``, ``x / 1``, ``x + 0``, ``x - 0``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, operand, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["DropNoOps"]

_NEUTRAL = {"Mul": 1.0, "Div": 1.0, "Add": 0.0, "Sub": 0.0}
_SAME_SHAPE = {"Reshape", "Expand", "Tile", "Slice", "Flatten", "Squeeze", "Unsqueeze"}


class DropNoOps(Rewrite[ir.Value]):
    """Remove nodes that give back their input."""

    name = "drop-no-ops"
    roots = frozenset(
        {"Identity", "Dropout", "Cast", "CastLike", "Transpose", "Concat", "Sum", "Pad", *_SAME_SHAPE, *_NEUTRAL}
    )
    housekeeping = True

    def pattern(self, node: ir.Node) -> ir.Value | None:
        kept = _kept(node)
        output = node.outputs[0]
        if kept is None or any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
            return None
        renames = output.is_graph_output() and (kept.producer() is None or kept.is_graph_output())
        return None if renames else kept

    def replace(self, found: ir.Value, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [found]


def _kept(node: ir.Node) -> ir.Value | None:
    x = node.inputs[0]
    if node.op_type in _NEUTRAL:
        return _neutral(node)
    if node.op_type in ("Concat", "Sum"):
        return x if len(node.inputs) == 1 else None
    if node.op_type in ("Identity", "Dropout"):
        return x
    if node.op_type in ("Cast", "CastLike"):
        return x if x is not None and x.dtype == node.outputs[0].dtype else None
    if node.op_type == "Transpose":
        perm = attribute(node, "perm")
        return x if perm is not None and perm == sorted(perm) else None
    if node.op_type == "Pad":
        pads = attribute(node, "pads") if len(node.inputs) < 2 else constant_of(node.inputs[1])
        return x if pads is not None and not np.any(pads) else None
    return _same_shape(node)


def _same_shape(node: ir.Node) -> ir.Value | None:
    before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if before is None or before != after:
        return None
    given = node.inputs[4] if node.op_type == "Slice" and len(node.inputs) > 4 else None
    steps = np.ones(()) if given is None else constant_of(given)
    return node.inputs[0] if steps is not None and np.all(steps == 1) else None


def _neutral(node: ir.Node) -> ir.Value | None:
    pair = operand(node, constant=True)
    if pair is None or (node.op_type in ("Div", "Sub") and pair[0] is not node.inputs[0]):
        return None
    x, other = pair
    values = constant_of(other)
    same = shape_of(x) == shape_of(node.outputs[0]) is not None
    return x if values is not None and same and np.all(values == _NEUTRAL[node.op_type]) else None
