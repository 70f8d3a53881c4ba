"""ConvTranspose without zero-stuffing on the CPU: ``Conv(stuff_h . x . stuff_w^T, flipped kernel)``.

Zeros between pixels are put in like ``resize_to_conv.py`` interpolates: by 1x1 Convs over the
turned axes, with rows of zeros. The convolution that follows has the kernel turned round, inputs and outputs swapped,
and pads ``k - 1 - p`` ([#pad]: two CPU epochs each on 2.x).

Where the kernel is as large as the stride its products do not overlap: a 1x1 Conv on the small map computes each
pixel's block, another one with a permutation for weights puts rows in place. Predicted time decides on the form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, attribute, constant_of, is_float, shape_of
from n6convert.rewrites.pointwise_forms import along_axes, permutation
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ConvTransposeToConv"]

_MAX_SIDE = 512
_BLOCKS, _STUFFED = "blocks", "stuffed"


@dataclass
class _Transposed:
    node: ir.Node
    x: ir.Value
    weight: Array
    """[I, O/groups, kh, kw]"""
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def kind(self) -> str:
        i, o, *kernel = self.weight.shape
        return f"{i} to {o} channels, kernel {kernel[0]}x{kernel[1]}, map {self.before[2]}x{self.before[3]}"

    @property
    def forms(self) -> tuple[str, ...]:
        """What it can be written as."""
        k = self.weight.shape[2]
        square = self.weight.shape[3] == k and attribute(self.node, "strides") == [k, k]
        whole = self.after[2:] == tuple(k * n for n in self.before[2:]) and not any(attribute(self.node, "pads") or [])
        return (_BLOCKS, _STUFFED) if square and whole and self.groups == 1 else (_STUFFED,)

    @property
    def groups(self) -> int:
        return int(attribute(self.node, "group", 1))


class ConvTransposeToConv(Rewrite[_Transposed]):
    """Write ConvTranspose as stuffing convolutions over the turned axes and one Conv, or as 1x1 Conv and blocks."""

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

    def options(self, found: _Transposed, context: Context) -> Mapping[str, Sequence[str]]:
        return {found.kind: found.forms} if len(found.forms) > 1 else {}

    def replace(self, found: _Transposed, build: Builder, context: Context) -> Sequence[ir.Value]:
        node, groups, bias = found.node, found.groups, constant_of((*found.node.inputs, None, None)[2])
        if context.chosen(self.name, found.kind, found.forms) == _BLOCKS:
            return [_blocks(found, build, bias)]
        strides, pads = attribute(node, "strides") or [1, 1], attribute(node, "pads") or [0, 0, 0, 0]
        extra, dilations = attribute(node, "output_padding") or [0, 0], attribute(node, "dilations") or [1, 1]
        stuffed = along_axes(build, found.x, *(_stuffing(n, s) for n, s in zip(found.before[2:], strides, strict=True)))
        reach = [d * (k - 1) for d, k in zip(dilations, found.weight.shape[2:], strict=True)]
        around = [reach[i % 2] - pads[i] + (extra[i - 2] if i > 1 else 0) for i in range(4)]
        cropped = [max(-p, 0) for p in around]
        stuffed = _crop(build, stuffed, cropped)
        attributes = {"pads": [max(p, 0) for p in around], "dilations": dilations, "group": groups}
        return [build.conv(stuffed, _turned(found.weight, groups), bias, **attributes)]


def _blocks(found: _Transposed, build: Builder, bias: Array | None) -> ir.Value:
    """``(dx, o, dy, h, w)`` -> ``(dy, h, w, dx, o)`` -> ``(h, dy, w, dx, o)`` -> ``(o, h, dy, w, dx)``."""
    i, o, k, _ = found.weight.shape
    _, _, height, width = found.after
    weight = found.weight.transpose(3, 1, 2, 0).reshape(k * o * k, i)
    tiled = None if bias is None else np.broadcast_to(bias[:, None], (k, o, k)).ravel()
    blocks = build.swap(build.pointwise(found.x, weight, tiled), k * o, [1, height, width // k, k * o])
    rows = build.pointwise(blocks, permutation(k, height // k))
    return build.swap(rows, height * width, found.after)


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
