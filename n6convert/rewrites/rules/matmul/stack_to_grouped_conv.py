"""A product of a stack of matrices with a constant stack as one 1x1 Conv with a group a matrix.

``[G, M, K] @ [G, K, N]``: the K columns of matrix g are the channels of group g of a map of M pixels. The NPU has a
product with a constant for one matrix only ([#op-matmul]); distances with a matrix a position, layers of their own for
every head and locally connected layers are such stacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import AXIS_LIMIT, Builder
from n6convert.graph.query import Array, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["StackToGroupedConv"]


@dataclass
class _Stack:
    x: ir.Value
    full: tuple[int, ...]
    matrices: Array
    """[G, K, N]"""


class StackToGroupedConv(Rewrite[_Stack]):
    """Write a stack of products with constants as a Conv with groups."""

    name = "stack-to-grouped-conv"
    roots = frozenset({"MatMul"})

    def pattern(self, node: ir.Node) -> _Stack | None:
        x, full, weight = node.inputs[0], shape_of(node.inputs[0]), constant_of(node.inputs[1])
        if x is None or full is None or weight is None or not is_float(x) or weight.ndim < 3 or len(full) < 3:
            return None
        stack = math.prod(weight.shape[:-2])
        if stack < 2 or math.prod(full[:-2]) != stack or shape_of(node.outputs[0]) is None:
            return None
        return _Stack(x, full, weight.reshape(stack, *weight.shape[-2:]))

    def check(self, found: _Stack, context: Context) -> str | None:
        stack, inner, outer = found.matrices.shape
        wide = stack * max(inner, outer)
        return f"{wide} channels are more than the compiler's limit of 65,535" if wide >= AXIS_LIMIT else None

    def replace(self, found: _Stack, build: Builder, context: Context) -> Sequence[ir.Value]:
        stack, inner, outer = found.matrices.shape
        rows = found.full[-2]
        x = build.transpose(build.reshape(found.x, [1, stack, rows, inner]), [0, 1, 3, 2])
        kernel = build.constant(found.matrices.transpose(0, 2, 1).reshape(stack * outer, inner, 1, 1))
        channels = build.reshape(x, [1, stack * inner, rows, 1])
        shape = [1, stack * outer, rows, 1]
        y = build.node("Conv", [channels, kernel], [shape], kernel_shape=[1, 1], group=stack)[0]
        turned = build.transpose(build.reshape(y, [1, stack, outer, rows]), [0, 1, 3, 2])
        return [build.reshape(turned, [*found.full[:-1], outer])]
