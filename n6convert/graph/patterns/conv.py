"""Convolutions and per-channel constants: reading their parameters, and writing them anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.graph.query import (
    Array,
    attribute,
    constant_of,
    inverse_of,
    operand,
    shape_of,
)

__all__ = [
    "PlainConv",
    "batch_norm_affine",
    "channel_affine",
    "conv_parameters",
    "read_conv",
    "rebuild_conv",
    "scaled_outputs",
]


def conv_parameters(conv: ir.Node) -> tuple[Array, Array]:
    """Weights and bias (zeros when absent) of a Conv whose parameters are constant."""
    weight = constant_of(conv.inputs[1])
    assert weight is not None
    bias = constant_of(conv.inputs[2]) if len(conv.inputs) > 2 else None
    return weight, np.zeros(weight.shape[0], weight.dtype) if bias is None else bias


def rebuild_conv(
    build: Builder, conv: ir.Node, weight: Array, bias: Array | None, x: ir.Value | None = None, **changed: Any
) -> ir.Value:
    """The same convolution with other parameters (and another input of the same height and width).

    Args:
        build: makes the nodes.
        conv: gives the attributes.
        weight: [O, I/groups, kh, kw].
        bias: [O]; None: no bias.
        x: another input of the same height and width; None: the same one.
        changed: attributes that are others.
    """
    source = conv.inputs[0] if x is None else x
    assert source is not None
    inputs = [source, build.constant(weight)] + ([] if bias is None or not bias.any() else [build.constant(bias)])
    full = list(shape_of(conv.outputs[0]) or ())
    full[1] = weight.shape[0]
    return build.node("Conv", inputs, [full], **{k: attribute(conv, k) for k in conv.attributes} | changed)[0]


def channel_affine(node: ir.Node) -> tuple[ir.Value, Array, Array] | None:
    """(x, scale, shift), both [C], of a node that computes ``scale * x + shift`` per channel of [1, C, ...]."""
    full = shape_of(node.outputs[0])
    if full is None or len(full) < 2:
        return None
    channels = full[1]
    if node.op_type == "BatchNormalization":
        return None if attribute(node, "training_mode", 0) else _batchnorm(node)
    pair = operand(node, constant=True)
    if pair is None or shape_of(pair[0]) != full:
        return None
    x, other = pair
    values = _per_channel(constant_of(other), len(full), channels)
    if values is None:
        return None
    one, zero = np.ones_like(values), np.zeros_like(values)
    first = x is node.inputs[0]
    inverse = inverse_of(values) if first else None
    forms = {
        "Mul": (values, zero),
        "Add": (one, values),
        "Sub": (one, -values) if first else (-one, values),
        "Div": None if inverse is None else (inverse, zero),
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
    x, affine = node.inputs[0], batch_norm_affine(node)
    if x is None or affine is None or any(v.uses() for v in node.outputs[1:]):
        return None
    return x, affine[0].astype(np.float32), affine[1].astype(np.float32)


def batch_norm_affine(node: ir.Node) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Scale and shift, both [C], of a BatchNormalization as ``scale * x + shift``; None unless they are constant."""
    parameters = [constant_of(v) for v in node.inputs[1:5]]
    if any(p is None for p in parameters):
        return None
    gamma, beta, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return scale, beta - mean * scale


def scaled_outputs(conv: ir.Node, weight: Array, factor: Array) -> Array:
    """Weights of a Conv or ConvTranspose that gives each output channel times a factor.

    Args:
        conv: says how the weights lie.
        weight: [O, I/groups, ...] of a Conv, [I, O/groups, ...] of a ConvTranspose.
        factor: [O].
    """
    tail = [1] * (weight.ndim - 2)
    if conv.op_type == "Conv":
        scaled: Array = weight * factor.reshape(-1, 1, *tail)
        return scaled
    groups = attribute(conv, "group", 1)
    by_group = np.repeat(factor.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    turned: Array = weight * by_group.reshape(*by_group.shape, *tail)
    return turned


@dataclass
class PlainConv:
    """The parameters of a dense convolution of rows and columns, not dilated."""

    weight: Array
    bias: Array
    strides: list[int]
    pads: list[int]

    def write(self, build: Builder, x: ir.Value) -> ir.Value:
        """The convolution of x."""
        bias = self.bias if self.bias.any() else None
        return build.conv(x, self.weight, bias, strides=self.strides, pads=self.pads)


def read_conv(conv: ir.Node) -> PlainConv | None:
    """The parameters of a plain convolution; None for grouped, dilated and other ones."""
    weight = constant_of(conv.inputs[1])
    if weight is None or weight.ndim != 4 or any(v is not None and constant_of(v) is None for v in conv.inputs[2:]):
        return None
    plain = attribute(conv, "group", 1) == 1 and set(attribute(conv, "dilations") or [1]) == {1}
    if not plain or attribute(conv, "auto_pad", "NOTSET") != "NOTSET":
        return None
    strides, pads = list(attribute(conv, "strides") or [1, 1]), list(attribute(conv, "pads") or [0] * 4)
    return PlainConv(*conv_parameters(conv), strides, pads)
