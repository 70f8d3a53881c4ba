"""A Concat over channels whose inputs differ in size."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.query import (
    attribute,
    shape_of,
)

__all__ = ["UnequalConcat", "unequal_concat"]


@dataclass
class UnequalConcat:
    """A Concat over channels whose inputs differ in size."""

    node: ir.Node
    parts: list[ir.Value]
    sizes: list[int]


def unequal_concat(node: ir.Node) -> UnequalConcat | None:
    """The inputs of a rank-4 channel Concat, when their sizes differ."""
    full = shape_of(node.outputs[0])
    if full is None or len(full) != 4 or attribute(node, "axis") not in (1, -3):
        return None
    parts = [v for v in node.inputs if v is not None]
    shapes = [shape_of(v) for v in parts]
    sizes = [s[1] for s in shapes if s is not None]
    if len(sizes) != len(node.inputs) or len(set(sizes)) == 1:
        return None
    return UnequalConcat(node, parts, sizes)
