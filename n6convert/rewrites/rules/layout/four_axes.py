"""Operators on more than four axes on at most four: neighboring axes that are treated alike are one, ``1`` is none.

Tensors on the NPU have four axes, and five crash ST's import of core 4 ([#import-19]). Elementwise operators treat axes
alike along which the same operands are repeated, Concat all axes in front of and behind its own, Softmax likewise,
MatMul the axes of its batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.operators import ARITHMETIC, UNARY
from n6convert.graph.query import attribute, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["FourAxes"]

_MOST = 4
_REPEATING = ARITHMETIC | {"Expand", "Max", "Min", "PRelu", "Pow", "Sum"}
_ALONG = frozenset({"Concat", "Softmax"})


@dataclass
class _Wide:
    node: ir.Node
    inputs: list[ir.Value]
    result: tuple[int, ...]
    runs: list[list[int]]
    """Axes of the result that become one, in order."""


class FourAxes(Rewrite[_Wide]):
    """Write operators on more than four axes as the same on four."""

    name = "four-axes"
    roots = UNARY | _REPEATING | _ALONG | {"MatMul"}
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Wide | None:
        result = shape_of(node.outputs[0])
        inputs = [v for v in (node.inputs[:1] if node.op_type in (*UNARY, "Expand") else node.inputs) if v is not None]
        if result is None or len(result) <= _MOST or not all(is_float(v) and shape_of(v) is not None for v in inputs):
            return None
        if node.op_type == "MatMul" and any(shape_of(v)[:-2] != result[:-2] for v in inputs):  # type: ignore[index]
            return None
        return _Wide(node, inputs, result, _runs(node, inputs, result))

    def check(self, found: _Wide, context: Context) -> str | None:
        if len(found.runs) < _MOST:
            return None
        return f"{len(found.runs)} groups of axes are treated differently; the NPU has {_MOST - 1} besides the batch"

    def replace(self, found: _Wide, build: Builder, context: Context) -> Sequence[ir.Value]:
        node, runs = found.node, _refined(found)
        if node.op_type == "MatMul":
            left, right = (build.reshape(v, _as_matrices(shape_of(v) or ())) for v in found.inputs)
            product = build.node("MatMul", [left, right], [_as_matrices(found.result)])[0]
            return [build.reshape(product, found.result)]
        given: list[ir.Value | None] = [
            build.reshape(v, _merged(_padded(v, len(found.result)), runs)) for v in found.inputs
        ]
        to = _merged(found.result, runs)
        if node.op_type == "Expand":
            given.append(build.constant(to, np.int64))
        elif node.op_type == "Clip":
            given += node.inputs[1:]
        kept = {k: attribute(node, k) for k in node.attributes if k != "axis"}
        if node.op_type in _ALONG:
            kept["axis"] = 1 + next(i for i, run in enumerate(runs) if _axis(node, found.result) in run)
        return [build.reshape(build.node(node.op_type, given, [to], **kept)[0], found.result)]


def _axis(node: ir.Node, result: Sequence[int]) -> int:
    return int(attribute(node, "axis", -1)) % len(result)


def _padded(value: ir.Value, rank: int) -> tuple[int, ...]:
    full = shape_of(value) or ()
    return (*[1] * (rank - len(full)), *full)


def _runs(node: ir.Node, inputs: Sequence[ir.Value], result: Sequence[int]) -> list[list[int]]:
    """Neighboring axes that every operand has or repeats together; axes of 1 belong to none."""
    full = [_padded(v, len(result)) for v in inputs]
    own = _axis(node, result) if node.op_type in _ALONG else -1
    axes = [i for i, n in enumerate(result) if n > 1 or i == own]

    def treated(axis: int) -> tuple[object, ...]:
        if node.op_type in _ALONG:
            return (axis > own, axis == own)
        return tuple(shape[axis] == result[axis] for shape in full)

    if node.op_type == "MatMul":
        return []
    return [list(run) for _, run in groupby(axes, key=treated)]


def _refined(found: _Wide) -> list[list[int]]:
    """Runs with the last axes apart while there is room, as maps have them."""
    runs = [list(run) for run in found.runs]
    while runs and len(runs) < _MOST - 1 and (long := [i for i, run in enumerate(runs) if len(run) > 1]):
        last = long[-1]
        runs[last : last + 1] = [runs[last][:-1], runs[last][-1:]]
    return runs


def _merged(shape: Sequence[int], runs: Sequence[Sequence[int]]) -> list[int]:
    return [1, *(math.prod(shape[i] for i in run) for run in runs)]


def _as_matrices(full: Sequence[int]) -> list[int]:
    return [math.prod(full[:-2]), *full[-2:]]
