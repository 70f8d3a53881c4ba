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
from n6convert.graph.query import Array, attribute, constant_of, is_float, operand, scalar_of, shape_of, single_use
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CentreKeys"]

#: means below this share of the largest key are left
_WORTH = 0.02


@dataclass
class _Keys:
    layer: ir.Node
    bias: Array
    """[N], or [1] for none"""
    channels: int
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
        axis = 1 if node.op_type == "Conv" else len(full) - 1
        bias = _bias(node, full[axis])
        return None if bias is None else _Keys(node, bias, full[axis], axis)

    def check(self, found: _Keys, context: Context) -> str | None:
        return None if context.values(found.layer.outputs[0]) else "the mean of its keys is not known without samples"

    def replace(self, found: _Keys, build: Builder, context: Context) -> Sequence[ir.Value]:
        arrays = [
            np.moveaxis(a, found.axis, -1).reshape(-1, found.channels) for a in context.values(found.layer.outputs[0])
        ]
        keys = np.concatenate(arrays)
        mean = keys.mean(axis=0, dtype=np.float64)
        if np.abs(mean).max() <= _WORTH * np.abs(keys).max():
            return found.layer.outputs
        bias = build.constant(found.bias - mean)
        inputs = list(found.layer.inputs)
        if found.layer.op_type == "Add":
            inputs = [next(v for v in inputs if constant_of(v) is None), bias]
        else:
            inputs = [*inputs[:2], bias]
        attributes = {k: attribute(found.layer, k) for k in found.layer.attributes}
        return build.node(found.layer.op_type, inputs, [shape_of(found.layer.outputs[0]) or ()], **attributes)


def _bias(node: ir.Node, channels: int) -> Array | None:
    """The constant that the layer adds, one number per channel; None for nodes that are no layer."""
    if node.op_type == "Add":
        pair = operand(node, constant=True)
        value = constant_of(pair[1]) if pair is not None else None
        fits = value is not None and value.size in (1, channels) and (value.ndim == 0 or value.shape[-1] == value.size)
        return np.broadcast_to(value.reshape(-1), (channels,)) if fits and value is not None else None
    if constant_of(node.inputs[1]) is None or (node.op_type == "Gemm" and attribute(node, "beta", 1.0) != 1.0):
        return None
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(channels, np.float32)
    value = constant_of(node.inputs[2])
    return (
        np.broadcast_to(value.reshape(-1), (channels,)) if value is not None and value.size in (1, channels) else None
    )


def _is_key(value: ir.Value) -> bool:
    """Whether everything read from the value are scores that go into Softmax over the keys."""
    for _ in range(12):
        reader = next(iter(value.consumers()), None)
        if reader is None or not single_use(value):
            return False
        if reader.op_type == "MatMul":
            return reader.inputs[1] is value and _only_softmax(reader.outputs[0])
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
