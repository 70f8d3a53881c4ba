"""A per-channel constant behind a convolution belongs into it: ``s * (W x + b) + t = (s W) x + (s b + t)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, attribute, constant_of, operand, producer, shape_of, single_use
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["FoldIntoConv", "rebuild_conv"]


@dataclass
class _Affine:
    conv: ir.Node
    scale: Array
    shift: Array


class FoldIntoConv(Rewrite[_Affine]):
    """Fold Mul, Div, Add, Sub and BatchNormalization with per-channel constants into the Conv in front."""

    name = "fold-into-conv"
    roots = frozenset({"Mul", "Div", "Add", "Sub", "BatchNormalization"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Affine | None:
        affine = channel_affine(node)
        if affine is None:
            return None
        conv = producer(affine[0], "Conv")
        if conv is None or constant_of(conv.inputs[1]) is None or not single_use(affine[0]):
            return None
        if len(conv.inputs) > 2 and conv.inputs[2] is not None and constant_of(conv.inputs[2]) is None:
            return None
        return _Affine(conv, affine[1], affine[2])

    def replace(self, found: _Affine, build: Builder, context: Context) -> Sequence[ir.Value]:
        weight, bias = conv_parameters(found.conv)
        scaled = weight * found.scale.reshape(-1, *[1] * (weight.ndim - 1))
        return [rebuild_conv(build, found.conv, scaled, bias * found.scale + found.shift)]


def conv_parameters(conv: ir.Node) -> tuple[Array, Array]:
    """Weights and bias (zeros when absent) of a Conv whose parameters are constant."""
    weight = constant_of(conv.inputs[1])
    assert weight is not None
    bias = constant_of(conv.inputs[2]) if len(conv.inputs) > 2 else None
    return weight, np.zeros(weight.shape[0], weight.dtype) if bias is None else bias


def rebuild_conv(
    build: Builder, conv: ir.Node, weight: Array, bias: Array | None, x: ir.Value | None = None
) -> ir.Value:
    """The same convolution with other parameters (and another input of the same height and width)."""
    source = conv.inputs[0] if x is None else x
    assert source is not None
    inputs = [source, build.constant(weight)] + ([] if bias is None or not bias.any() else [build.constant(bias)])
    full = list(shape_of(conv.outputs[0]) or ())
    full[1] = weight.shape[0]
    return build.node("Conv", inputs, [full], **{k: attribute(conv, k) for k in conv.attributes})[0]


def channel_affine(node: ir.Node) -> tuple[ir.Value, Array, Array] | None:
    """(x, scale, shift), both [C], of a node that computes ``scale * x + shift`` per channel of [1, C, ...]."""
    full = shape_of(node.outputs[0])
    if full is None or len(full) < 2:
        return None
    channels = full[1]
    if node.op_type == "BatchNormalization":
        return _batchnorm(node)
    pair = operand(node, constant=True)
    if pair is None or shape_of(pair[0]) != full:
        return None
    x, other = pair
    values = _per_channel(constant_of(other), len(full), channels)
    if values is None:
        return None
    one, zero = np.ones_like(values), np.zeros_like(values)
    first = x is node.inputs[0]
    forms = {
        "Mul": (values, zero),
        "Add": (one, values),
        "Sub": (one, -values) if first else (-one, values),
        "Div": (1 / values, zero) if first and values.all() else None,
    }
    form = forms[node.op_type]
    return None if form is None else (x, *form)


def _per_channel(values: Array | None, rank: int, channels: int) -> Array | None:
    if values is None or values.dtype != np.float32 or values.ndim > rank:
        return None
    padded = values.reshape(*[1] * (rank - values.ndim), *values.shape)
    if values.size == 1:
        return np.full(channels, values.reshape(-1)[0], np.float32)
    return values.reshape(-1) if padded.shape[1] == values.size == channels else None


def _batchnorm(node: ir.Node) -> tuple[ir.Value, Array, Array] | None:
    parameters = [constant_of(v) for v in node.inputs[1:5]]
    x = node.inputs[0]
    if x is None or any(p is None for p in parameters) or any(v.uses() for v in node.outputs[1:]):
        return None
    gamma, beta, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return x, scale.astype(np.float32), (beta - mean * scale).astype(np.float32)
