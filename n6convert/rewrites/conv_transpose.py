"""ConvTranspose without zero-stuffing on the CPU: ``Conv(stuff_h . x . stuff_w^T, flipped kernel)``.

Zeros between pixels are put in like :mod:`n6convert.rewrites.resize_to_conv` interpolates: by 1x1 Convs over the
turned axes, with rows of zeros. The convolution that follows has the kernel turned round, inputs and outputs swapped,
and pads ``k - 1 - p`` (SPEC c.7: two CPU epochs each on 2.x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.rewrites.base import Context, Rewrite
from n6convert.rewrites.build import Builder
from n6convert.rewrites.graph import Array, attribute, constant_of, is_float, shape_of
from n6convert.rewrites.resize_to_conv import along_axes

__all__ = ["ConvTransposeToConv"]

_MAX_SIDE = 512


@dataclass
class _Transposed:
    node: ir.Node
    x: ir.Value
    weight: Array
    """[I, O/groups, kh, kw]"""
    before: tuple[int, ...]
    after: tuple[int, ...]


class ConvTransposeToConv(Rewrite[_Transposed]):
    """Write ConvTranspose as stuffing convolutions over the turned axes and one Conv."""

    name = "conv-transpose-to-conv"
    roots = frozenset({"ConvTranspose"})

    def pattern(self, node: ir.Node) -> _Transposed | None:
        x, before, after = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        weight = constant_of(node.inputs[1])
        if x is None or before is None or after is None or weight is None or weight.ndim != 4 or not is_float(x):
            return None
        return _Transposed(node, x, weight, before, after)

    def check(self, found: _Transposed, context: Context) -> str | None:
        if attribute(found.node, "auto_pad", "NOTSET") != "NOTSET" or attribute(found.node, "output_shape"):
            return "its padding is given by a rule instead of numbers"
        if any(constant_of(v) is None for v in found.node.inputs[2:]):
            return "its bias is no constant"
        if max(found.after[2:]) > _MAX_SIDE:
            return f"a side above {_MAX_SIDE} makes weights of more bytes than the image"
        return None

    def replace(self, found: _Transposed, build: Builder, context: Context) -> Sequence[ir.Value]:
        node, groups = found.node, int(attribute(found.node, "group", 1))
        strides, pads = attribute(node, "strides") or [1, 1], attribute(node, "pads") or [0, 0, 0, 0]
        extra, dilations = attribute(node, "output_padding") or [0, 0], attribute(node, "dilations") or [1, 1]
        stuffed = along_axes(build, found.x, *(_stuffing(n, s) for n, s in zip(found.before[2:], strides, strict=True)))
        reach = [d * (k - 1) for d, k in zip(dilations, found.weight.shape[2:], strict=True)]
        around = [reach[i % 2] - pads[i] + (extra[i - 2] if i > 1 else 0) for i in range(4)]
        cropped = [max(-p, 0) for p in around]
        stuffed = _crop(build, stuffed, cropped)
        bias = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
        attributes = {"pads": [max(p, 0) for p in around], "dilations": dilations, "group": groups}
        return [build.conv(stuffed, _turned(found.weight, groups), bias, **attributes)]


def _stuffing(size: int, stride: int) -> Array:
    """[(size - 1) * stride + 1, size]: a one in every stride-th row."""
    matrix = np.zeros(((size - 1) * stride + 1, size), np.float32)
    matrix[np.arange(size) * stride, np.arange(size)] = 1
    return matrix


def _turned(weight: Array, groups: int) -> Array:
    """[I, O/g, kh, kw] -> [O, I/g, kh, kw], the kernel turned round."""
    i, o, kh, kw = weight.shape
    parts = weight.reshape(groups, i // groups, o, kh, kw).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(parts.reshape(groups * o, i // groups, kh, kw)[:, :, ::-1, ::-1])


def _crop(build: Builder, x: ir.Value, sides: list[int]) -> ir.Value:
    """Cut rows and columns off: top, left, bottom, right."""
    for axis in (2, 3):
        size = (shape_of(x) or ())[axis]
        if sides[axis - 2] or sides[axis]:
            x = build.slice(x, axis, sides[axis - 2], size - sides[axis])
    return x
