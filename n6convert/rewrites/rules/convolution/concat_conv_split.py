"""``Conv(Concat(a, b)) = Conv_a(a) + Conv_b(b)`` with the weights cut along their input channels.

Removes an unequal channel Concat (CPU on 2.x, hybrid on 4.x, [#joins]) when every reader is a convolution. The sum is
rounded once more than the single convolution in 8 bits, so :mod:`concat_equal_chunks` is tried first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.concat import UnequalConcat, unequal_concat
from n6convert.graph.patterns.conv import conv_parameters, rebuild_conv
from n6convert.graph.query import attribute, constant_of, producer, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ConcatConvSplit"]


@dataclass
class _Split:
    conv: ir.Node
    concat: UnequalConcat


class ConcatConvSplit(Rewrite[_Split]):
    """Turn a Conv of an unequal Concat into a sum of Convs."""

    name = "concat-conv-split"
    roots = frozenset({"Conv"})

    def pattern(self, node: ir.Node) -> _Split | None:
        concat = producer(node.inputs[0], "Concat")
        found = None if concat is None else unequal_concat(concat)
        if found is None or attribute(node, "group", 1) != 1 or any(constant_of(v) is None for v in node.inputs[1:]):
            return None
        return _Split(node, found)

    def check(self, found: _Split, context: Context) -> str | None:
        value = found.concat.node.outputs[0]
        others = {n.op_type for n in users(value) if n.op_type != "Conv"}
        if others or value.is_graph_output():
            return f"the joined tensor is also needed by {', '.join(sorted(others)) or 'the outside'}"
        return None

    def replace(self, found: _Split, build: Builder, context: Context) -> Sequence[ir.Value]:
        weight, bias = conv_parameters(found.conv)
        cuts = np.cumsum(found.concat.sizes)[:-1]
        total: ir.Value | None = None
        for x, part in zip(found.concat.parts, np.split(weight, cuts, axis=1), strict=True):
            y = rebuild_conv(build, found.conv, part, bias if total is None else None, x)
            total = y if total is None else build.add(total, y)
        assert total is not None
        return [total]
