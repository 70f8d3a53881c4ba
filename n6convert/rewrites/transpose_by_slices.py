"""A permutation that costs CPU time as swaps of two blocks, which do not (SPEC c.4).

``[s, u, v] -> [s, v, u]`` (``(0,1,3,2)``) is the swap of u and v in every one of the s slices on the outermost axis.
Every odd order of three blocks, such as ``(0,2,1,3)``, is that between two rotations, and a rotation is a swap of two
blocks. The block with the fewest slices is taken for s. Slices of a 1x1 Conv's output channels are convolutions with
slices of its weights: the head split of attention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.rewrites.base import Context, Rewrite
from n6convert.rewrites.build import Builder
from n6convert.rewrites.fold_into_conv import conv_parameters, rebuild_conv
from n6convert.rewrites.graph import attribute, constant_of, producer, shape_of, users
from n6convert.rewrites.layout import Layout, layout_chain, layout_of
from n6convert.rewrites.sink_layout import UNARY

__all__ = ["TransposeBySlices"]

_MAX_SLICES = 32
_ODD = {(0, 2, 1), (1, 0, 2), (2, 1, 0)}


@dataclass
class _Permuted:
    source: ir.Value
    layout: Layout

    @property
    def sliced(self) -> int:
        """The block whose slices are taken: the fewest, rotations (0.5 each) counted in."""
        blocks = self.layout.blocks
        return min(range(3), key=lambda s: blocks[s] + 0.5 * ((s != 0) + (self.layout.perm[0] != s)))


class TransposeBySlices(Rewrite[_Permuted]):
    """Take permutations of three blocks of axes apart into swaps of two."""

    name = "transpose-by-slices"
    roots = frozenset({"Reshape", "Transpose"})
    late = True

    def pattern(self, node: ir.Node) -> _Permuted | None:
        if any(user.op_type in ("Reshape", "Transpose") for user in users(node.outputs[0])):
            return None
        source, nodes = layout_chain(node.outputs[0])
        for start in range(len(nodes)):
            layout = layout_of(nodes[start:])
            if layout is not None and layout.perm in _ODD:
                return _Permuted(nodes[start].inputs[0] or source, layout)
        return None

    def check(self, found: _Permuted, context: Context) -> str | None:
        slices = found.layout.blocks[found.sliced]
        return f"it would take {slices} slices, more than {_MAX_SLICES}" if slices > _MAX_SLICES else None

    def replace(self, found: _Permuted, build: Builder, context: Context) -> Sequence[ir.Value]:
        blocks, perm, s = found.layout.blocks, found.layout.perm, found.sliced
        order = [s, (s + 1) % 3, (s + 2) % 3]
        x = _rotate(build, found.source, [0, 1, 2], s, blocks)
        x = _swap_each(build, x, *(blocks[i] for i in order))
        x = _rotate(build, x, [order[0], order[2], order[1]], perm[0], blocks)
        return [build.reshape(x, found.layout.target)]


def _rotate(build: Builder, x: ir.Value, order: list[int], first: int, blocks: Sequence[int]) -> ir.Value:
    """Bring the block ``first`` to the front, the others following in a circle."""
    at = order.index(first)
    sizes = [blocks[i] for i in (*order[at:], *order[:at])]
    return build.swap(x, math.prod(blocks[i] for i in order[:at]), [1, *sizes]) if at else x


def _swap_each(build: Builder, x: ir.Value, outer: int, rows: int, columns: int) -> ir.Value:
    """[outer, rows, columns] -> [1, outer, columns, rows]."""
    parts = [build.swap(part, rows, [1, 1, columns, rows]) for part in _slices(build, x, outer, rows * columns)]
    return build.concat(parts, axis=1)


def _slices(build: Builder, x: ir.Value, parts: int, size: int) -> Sequence[ir.Value]:
    return _conv_slices(build, x, parts) or build.split(build.reshape(x, [1, parts, size]), parts, axis=1)


def _conv_slices(build: Builder, x: ir.Value, parts: int) -> list[ir.Value]:
    """Channel groups of a Conv, with unary functions behind it applied to each; empty when x is no such thing."""
    node = producer(x)
    if node is not None and node.op_type in UNARY and len(node.inputs) == 1 and node.inputs[0] is not None:
        kept = {k: attribute(node, k) for k in node.attributes}
        return [build.unary(node.op_type, part, **kept) for part in _conv_slices(build, node.inputs[0], parts)]
    if node is None or node.op_type != "Conv" or not _sliceable(node, parts):
        return []
    weight, bias = conv_parameters(node)
    step = weight.shape[0] // parts
    cuts = [slice(i * step, (i + 1) * step) for i in range(parts)]
    return [rebuild_conv(build, node, weight[cut], bias[cut]) for cut in cuts]


def _sliceable(conv: ir.Node, parts: int) -> bool:
    full = shape_of(conv.outputs[0])
    constant = all(constant_of(v) is not None for v in conv.inputs[1:])
    return full is not None and full[1] % parts == 0 and constant and attribute(conv, "group", 1) == 1
