"""A permutation that costs CPU time as swaps of two blocks, which do not (SPEC c.4).

``[a, b, c] -> [a, c, b]`` (``(0,1,3,2)``) is the swap of every one of the a slices on the outermost axis.
``[a, b, c] -> [b, a, c]`` (``(0,2,1,3)``) is the swap of a with (b, c), giving [b, c, a], and then the former.
``[a, b, c] -> [c, b, a]`` is the former, giving [a, c, b], and then the swap of a with the rest.
Slices of a 1x1 Conv's output channels are convolutions with slices of its weights: the head split of attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.rewrites.base import Context, Rewrite
from n6convert.rewrites.build import Builder
from n6convert.rewrites.fold_into_conv import conv_parameters, rebuild_conv
from n6convert.rewrites.graph import attribute, constant_of, producer, shape_of, users
from n6convert.rewrites.layout import Layout, layout_chain, layout_of

__all__ = ["TransposeBySlices"]

_MAX_SLICES = 32
_FORMS = {(0, 2, 1): 0, (1, 0, 2): 1, (2, 1, 0): 0}


@dataclass
class _Permuted:
    source: ir.Value
    layout: Layout

    @property
    def slices(self) -> int:
        return self.layout.blocks[_FORMS[self.layout.perm]]


class TransposeBySlices(Rewrite[_Permuted]):
    """Take permutations of three blocks of axes apart into swaps of two."""

    name = "transpose-by-slices"
    roots = frozenset({"Reshape", "Transpose"})

    def pattern(self, node: ir.Node) -> _Permuted | None:
        if any(user.op_type in ("Reshape", "Transpose") for user in users(node.outputs[0])):
            return None
        source, nodes = layout_chain(node.outputs[0])
        for start in range(len(nodes)):
            layout = layout_of(nodes[start:])
            if layout is not None and layout.perm in _FORMS:
                return _Permuted(nodes[start].inputs[0] or source, layout)
        return None

    def check(self, found: _Permuted, context: Context) -> str | None:
        if found.slices > _MAX_SLICES:
            return f"it would take {found.slices} slices, more than {_MAX_SLICES}"
        return None

    def replace(self, found: _Permuted, build: Builder, context: Context) -> Sequence[ir.Value]:
        a, b, c = found.layout.blocks
        if found.layout.perm == (1, 0, 2):
            result = _swap_each(build, build.swap(found.source, a, [1, b, c, a]), b, c, a)
        else:
            result = _swap_each(build, found.source, a, b, c)
        if found.layout.perm == (2, 1, 0):
            result = build.swap(result, a, [1, c, b, a])
        return [build.reshape(result, found.layout.target)]


def _swap_each(build: Builder, x: ir.Value, outer: int, rows: int, columns: int) -> ir.Value:
    """[outer, rows, columns] -> [1, outer, columns, rows]."""
    parts = [build.swap(part, rows, [1, 1, columns, rows]) for part in _slices(build, x, outer, rows * columns)]
    return build.concat(parts, axis=1)


def _slices(build: Builder, x: ir.Value, parts: int, size: int) -> Sequence[ir.Value]:
    conv = producer(x, "Conv")
    if conv is not None and _sliceable(conv, parts):
        weight, bias = conv_parameters(conv)
        step = weight.shape[0] // parts
        cuts = [slice(i * step, (i + 1) * step) for i in range(parts)]
        return [rebuild_conv(build, conv, weight[cut], bias[cut]) for cut in cuts]
    return build.split(build.reshape(x, [1, parts, size]), parts, axis=1)


def _sliceable(conv: ir.Node, parts: int) -> bool:
    full = shape_of(conv.outputs[0])
    constant = all(constant_of(v) is not None for v in conv.inputs[1:])
    return full is not None and full[1] % parts == 0 and constant and attribute(conv, "group", 1) == 1
