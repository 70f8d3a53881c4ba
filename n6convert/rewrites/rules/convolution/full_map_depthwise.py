"""A depthwise Conv that covers its whole input map, in parts that the convolution units take.

Depthwise kernels wider than the unit's six columns leave float sub-kernels on the CPU ([#onnx-operators], 7x7 on 7x7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.conv import conv_parameters
from n6convert.graph.query import Array, attribute, constant_of, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["FullMapDepthwise"]

_NATIVE_WIDTH = 6


@dataclass
class _Covering:
    conv: ir.Node
    x: ir.Value
    shape: tuple[int, ...]


class FullMapDepthwise(Rewrite[_Covering]):
    """Write a wide depthwise Conv over the whole map as two narrow ones, or as a product and a global mean."""

    name = "full-map-depthwise"
    roots = frozenset({"Conv"})

    def pattern(self, node: ir.Node) -> _Covering | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if x is None or full is None or result is None or len(full) != 4 or result[2:] != (1, 1):
            return None
        weight = constant_of(node.inputs[1])
        covers = (
            weight is not None and weight.shape == (full[1], 1, *full[2:]) and attribute(node, "group", 1) == full[1]
        )
        if not covers or any(attribute(node, "pads") or []) or any(constant_of(v) is None for v in node.inputs[2:]):
            return None
        return _Covering(node, x, full)

    def check(self, found: _Covering, context: Context) -> str | None:
        if found.shape[3] <= _NATIVE_WIDTH:
            return f"a kernel {found.shape[3]} wide runs on the convolution units as it is"
        return None

    def replace(self, found: _Covering, build: Builder, context: Context) -> Sequence[ir.Value]:
        weight, bias = conv_parameters(found.conv)
        if found.shape[3] < 2 * _NATIVE_WIDTH:
            return [_two_halves(build, found.x, weight, bias)]
        return [_product(build, found.x, weight, bias)]


def _two_halves(build: Builder, x: ir.Value, weight: Array, bias: Array) -> ir.Value:
    """A Conv with the left columns, one with the right ones; of the places each comes to, one is picked and added."""
    channels, _, _, width = weight.shape
    half = -(-width // 2)
    places = width - half + 1
    right = weight[..., width - half :].copy()
    right[..., : 2 * half - width] = 0
    first, last = (np.broadcast_to(row, (channels, 1, 1, places)) for row in np.eye(places)[[0, -1]])
    a = build.conv(build.conv(x, weight[..., :half], group=channels), first, group=channels)
    b = build.conv(build.conv(x, right, group=channels), last, bias, group=channels)
    return build.add(a, b)


def _product(build: Builder, x: ir.Value, weight: Array, bias: Array) -> ir.Value:
    """``n s * mean(x * w/s) + b``; s is the largest weight of a channel: the product has one 8-bit grid for all."""
    channels, _, height, width = weight.shape
    largest = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    largest[largest == 0] = 1
    product = build.mul(x, (weight / largest).reshape(1, channels, height, width))
    mean = build.node("GlobalAveragePool", [product], [[1, channels, 1, 1]])[0]
    return build.conv(mean, largest * (height * width), bias, group=channels)
