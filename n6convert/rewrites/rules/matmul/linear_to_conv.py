"""``x[.., C] @ W[C, N] (+ b)`` is a 1x1 convolution of ``[1, C, h, w]`` with ``W^T`` as ``[N, C, 1, 1]``, h w the rows.

The transposes around it cancel with those of the next Linear once elementwise operators have moved in front of them,
so a whole block stays channel-first and the compiler's two layout epochs a Gemm ([#gemm]) disappear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, attribute, constant_of, grid, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["LinearToConv"]


@dataclass
class _Linear:
    x: ir.Value
    weight: Array
    """[N, C]"""
    bias: Array | None
    rows: int
    result: tuple[int, ...]


class LinearToConv(Rewrite[_Linear]):
    """Turn Gemm and MatMul with constant weights into a 1x1 Conv, channel-first."""

    name = "linear-to-conv"
    roots = frozenset({"Gemm", "MatMul"})

    def pattern(self, node: ir.Node) -> _Linear | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        weight = constant_of(node.inputs[1])
        if x is None or full is None or result is None or weight is None or weight.ndim != 2 or not is_float(x):
            return None
        if constant_of(x) is not None or (node.op_type == "Gemm" and attribute(node, "transA", 0)):
            return None
        bias: Array | None = None
        if node.op_type == "Gemm":
            weight = weight * attribute(node, "alpha", 1.0)
            weight = weight if attribute(node, "transB", 0) else weight.T
            if len(node.inputs) > 2 and node.inputs[2] is not None:
                bias = constant_of(node.inputs[2])
                if bias is None or bias.size not in (1, weight.shape[0]):
                    return None
                bias = np.broadcast_to(bias.reshape(-1) * attribute(node, "beta", 1.0), weight.shape[:1])
        else:
            weight = weight.T
        return _Linear(x, weight, bias, math.prod(full[:-1]), result)

    def check(self, found: _Linear, context: Context) -> str | None:
        if found.rows == 1 and len(found.result) == 2:
            return "one row is lowered to a 1x1 Conv by the compiler without extra epochs"
        if max(found.rows, *found.weight.shape) >= 1 << 16:
            return f"an axis of {max(found.rows, *found.weight.shape)} exceeds the compiler's limit of 65,535"
        return None

    def replace(self, found: _Linear, build: Builder, context: Context) -> Sequence[ir.Value]:
        outputs, channels = found.weight.shape
        x = build.swap(found.x, found.rows, [1, channels, *grid(found.rows)])
        y = build.pointwise(x, found.weight, found.bias)
        return [build.swap(y, outputs, found.result)]
