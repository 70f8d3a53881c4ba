"""Parts of a Split that nothing reads, which ST Edge AI refuses ([#import]): the others are cut one by one. Exact.

A part that is the whole tensor (RotaryEmbedding over all channels leaves the other part empty) is the tensor itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["DropUnreadParts"]


@dataclass
class _Parts:
    x: ir.Value
    axis: int
    sizes: list[int]
    read: list[bool]
    outputs: Sequence[ir.Value]


class DropUnreadParts(Rewrite[_Parts]):
    """Cut only those parts of a Split that are read."""

    name = "drop-unread-parts"
    roots = frozenset({"Split"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Parts | None:
        x, full, shapes = node.inputs[0], shape_of(node.inputs[0]), [shape_of(v) for v in node.outputs]
        read = [bool(v.uses()) or v.is_graph_output() for v in node.outputs]
        if x is None or full is None or all(read) or any(s is None for s in shapes):
            return None
        axis = attribute(node, "axis", 0) % len(full)
        sizes = [s[axis] for s in shapes if s is not None]
        whole = any(r and size == full[axis] for r, size in zip(read, sizes, strict=True))
        renames = any(v.is_graph_output() for v in node.outputs)
        return None if whole and renames else _Parts(x, axis, sizes, read, node.outputs)

    def replace(self, found: _Parts, build: Builder, context: Context) -> Sequence[ir.Value]:
        starts = [sum(found.sizes[:i]) for i in range(len(found.sizes))]
        whole = sum(found.sizes)
        return [
            value if not read else found.x if size == whole else build.slice(found.x, found.axis, start, start + size)
            for value, read, start, size in zip(found.outputs, found.read, starts, found.sizes, strict=True)
        ]
