"""A depthwise Conv that covers its whole input map is a product and a mean: ``n * mean(x * w) + b``, n = h * w.

Depthwise kernels wider than the unit's six columns leave float sub-kernels on the CPU (SPEC b.1, 7x7 on 7x7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.rewrites.base import Context, Rewrite
from n6convert.rewrites.build import Builder
from n6convert.rewrites.fold_into_conv import conv_parameters
from n6convert.rewrites.graph import attribute, constant_of, shape_of

__all__ = ["FullMapDepthwise"]

_NATIVE_WIDTH = 6


@dataclass
class _Covering:
    conv: ir.Node
    x: ir.Value
    shape: tuple[int, ...]


class FullMapDepthwise(Rewrite[_Covering]):
    """Write a depthwise Conv over the whole map as a product and a global mean."""

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
        _, c, h, w = found.shape
        product = build.mul(found.x, weight.reshape(1, c, h, w) * (h * w))
        mean = build.node("GlobalAveragePool", [product], [[1, c, 1, 1]])[0]
        return [build.add(mean, bias.reshape(1, c, 1, 1)) if bias.any() else mean]
