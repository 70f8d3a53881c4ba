"""Keys of attention around zero: ``Softmax_j(q_i k_j) = Softmax_j(q_i (k_j - k_0))`` for any constant vector k_0.

What all keys have in common adds the same number to all scores of a row, which Softmax takes out again. In 8 bits it
only widens the range of keys and scores. So the bias of the layer that makes the keys is moved by their mean. Exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.layers import bias_of, with_bias
from n6convert.graph.query import Array, attribute, is_float, scalar_of, shape_of, single_use
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CentreKeys"]

#: means below this share of the largest key are left
_WORTH = 0.02


@dataclass
class _Keys:
    layer: ir.Node
    bias: Array
    axis: int


class CentreKeys(Rewrite[_Keys]):
    """Take out of attention keys what all of them have in common, which Softmax does not see."""

    name = "centre-keys"
    roots = frozenset({"Add", "Gemm", "Conv"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Keys | None:
        value, full = node.outputs[0], shape_of(node.outputs[0])
        if full is None or not is_float(value) or not _is_key(value):
            return None
        added = bias_of(node, full)
        if added is None:
            return None
        axis, bias = added
        return _Keys(node, bias, axis)

    def check(self, found: _Keys, context: Context) -> str | None:
        return None if context.values(found.layer.outputs[0]) else "the mean of its keys is not known without samples"

    def replace(self, found: _Keys, build: Builder, context: Context) -> Sequence[ir.Value]:
        arrays = [
            np.moveaxis(a, found.axis, -1).reshape(-1, len(found.bias)) for a in context.values(found.layer.outputs[0])
        ]
        keys = np.concatenate(arrays)
        mean = keys.mean(axis=0, dtype=np.float64)
        if np.abs(mean).max() <= _WORTH * np.abs(keys).max():
            return found.layer.outputs
        return with_bias(build, found.layer, found.bias - mean)


def _is_key(value: ir.Value) -> bool:
    """Whether everything read from the value are scores that go into Softmax over the keys."""
    for _ in range(12):
        reader = next(iter(value.consumers()), None)
        if reader is None or not single_use(value):
            return False
        if reader.op_type == "MatMul":
            return reader.inputs[1] is value and _only_softmax(reader.outputs[0])
        if reader.op_type == "Split":
            return all(map(_is_key, reader.outputs))
        if reader.op_type not in ("Reshape", "Transpose") and not _by_scalar(reader, value):
            return False
        value = reader.outputs[0]
    return False


def _only_softmax(scores: ir.Value) -> bool:
    for _ in range(6):
        reader = next(iter(scores.consumers()), None)
        if reader is None or not single_use(scores):
            return False
        if reader.op_type == "Softmax":
            full = shape_of(scores)
            return full is not None and attribute(reader, "axis", -1) in (-1, len(full) - 1)
        mask = reader.op_type == "Add" and shape_of(reader.outputs[0]) == shape_of(scores)
        if not mask and not _by_scalar(reader, scores):
            return False
        scores = reader.outputs[0]
    return False


def _by_scalar(node: ir.Node, value: ir.Value) -> bool:
    return node.op_type in ("Mul", "Div") and node.inputs[0] is value and scalar_of(node.inputs[1]) is not None
