"""A product with a column of one number is a mean: ``x @ [v, .., v] = mean(x) * n v``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import (
    constant_of,
    shape_of,
)
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ColumnToMean"]


@dataclass
class _Column:
    x: ir.Value
    value: float
    result: tuple[int, ...]


class ColumnToMean(Rewrite[_Column]):
    """Write a MatMul with a column of one number as a mean."""

    name = "column-to-mean"
    roots = frozenset({"MatMul"})

    def pattern(self, node: ir.Node) -> _Column | None:
        x, column, result = node.inputs[0], constant_of(node.inputs[1]), shape_of(node.outputs[0])
        full = shape_of(x)
        if x is None or column is None or result is None or full is None or column.ndim < 2 or column.shape[-1] != 1:
            return None
        alike = bool((column == column.flat[0]).all()) and math.prod(result) * full[-1] == math.prod(full)
        return _Column(x, float(column.flat[0]), result) if alike else None

    def replace(self, found: _Column, build: Builder, context: Context) -> Sequence[ir.Value]:
        size = (shape_of(found.x) or ())[-1]
        return [build.reshape(build.mul(build.mean_last(found.x), size * found.value), found.result)]
