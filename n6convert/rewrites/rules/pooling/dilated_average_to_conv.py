"""An average over places that lie apart, as a depthwise convolution with equal weights, which may be dilated::

    AveragePool<dilations=d>(x) = Conv<dilations=d>(x, 1/k)         k places a window

Where places beyond the edge do not count, the means of windows at the edge are put right by a factor a place. Dilated
AveragePool came with opset 19; neither the NPU nor the quantizer has it. Exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, attribute, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["DilatedAverageToConv"]


@dataclass
class _Average:
    x: ir.Value
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    counts_pads: bool
    shape: tuple[int, ...]
    result: tuple[int, ...]


class DilatedAverageToConv(Rewrite[_Average]):
    """Write AveragePool with dilations as a depthwise Conv with equal weights."""

    name = "dilated-average-to-conv"
    roots = frozenset({"AveragePool"})

    def pattern(self, node: ir.Node) -> _Average | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        dilations = list(attribute(node, "dilations") or [])
        if x is None or full is None or result is None or not is_float(x) or set(dilations) <= {1}:
            return None
        if attribute(node, "ceil_mode", 0) or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
            return None
        axes = len(full) - 2
        return _Average(
            x,
            list(attribute(node, "kernel_shape")),
            list(attribute(node, "strides") or [1] * axes),
            dilations,
            list(attribute(node, "pads") or [0] * 2 * axes),
            bool(attribute(node, "count_include_pad", 0)),
            full,
            result,
        )

    def replace(self, found: _Average, build: Builder, context: Context) -> Sequence[ir.Value]:
        channels, size = found.shape[1], math.prod(found.kernel)
        weight = build.constant(np.full((channels, 1, *found.kernel), 1 / size))
        geometry = {"strides": found.strides, "dilations": found.dilations, "pads": found.pads}
        y = build.node("Conv", [found.x, weight], [found.result], group=channels, **geometry)[0]
        if found.counts_pads or not any(found.pads):
            return [y]
        return [build.mul(y, size / _counts(found))]


def _counts(found: _Average) -> Array:
    """How many places of each window lie on the map, [1, 1, *map]; at least 1, since ONNX divides by no zero."""
    counts = np.ones((1, 1, *found.result[2:]))
    axes = len(found.kernel)
    for axis in range(axes):
        starts = np.arange(found.result[2 + axis]) * found.strides[axis] - found.pads[axis]
        places = starts[:, None] + np.arange(found.kernel[axis]) * found.dilations[axis]
        inside = ((places >= 0) & (places < found.shape[2 + axis])).sum(axis=1)
        counts = counts * inside.reshape([-1 if i == axis + 2 else 1 for i in range(axes + 2)])
    return np.maximum(counts, 1)
