"""Convolutions and pools over depth as those of maps: ``[1, C, D, H, W]`` and ``[1, C D, H, W]`` are the same bytes.

A 3-D Conv is a 2-D one whose channels are pairs of channel and depth: the weight from (c, d) to (o, d') is that of the
kernel's depth ``d - s d' + p``, zero outside. Nothing is wasted where the depth is 1, or where the kernel covers it. A
pool is one over depth on ``[1, C, D, H W]`` and one over the map on ``[1, C D, H, W]``. ST's import knows 1-D and 2-D
([#import-limits]).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import AXIS_LIMIT, Builder
from n6convert.graph.operators import GLOBAL_POOLS, WINDOW_POOLS
from n6convert.graph.query import Array, attribute, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["DepthToChannels"]

_LARGEST = 1 << 24  # weights; more than a board's flash has room for beside another network


@dataclass
class _Window:
    """A 3-D operator, every list for depth, height and width; ``pads`` in front and behind."""

    node: ir.Node
    x: ir.Value
    full: tuple[int, ...]
    result: tuple[int, ...]
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[tuple[int, int]]
    weight: Array | None = None
    bias: Array | None = None


class DepthToChannels(Rewrite[_Window]):
    """Write convolutions and pools over depth, height and width as those over height and width."""

    name = "depth-to-channels"
    roots = frozenset({"Conv", *WINDOW_POOLS, *GLOBAL_POOLS})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Window | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if x is None or full is None or result is None or len(full) != 5 or full[0] != 1 or not is_float(x):
            return None
        if node.op_type in GLOBAL_POOLS:
            return _Window(node, x, full, result, list(full[2:]), [1] * 3, [1] * 3, [(0, 0)] * 3)
        weight = constant_of(node.inputs[1]) if node.op_type == "Conv" else None
        bias = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
        left_out = node.op_type == "Conv" and (weight is None or (bias is None and len(node.inputs) > 2))
        if left_out or any(v.uses() for v in node.outputs[1:]):
            return None
        kernel = attribute(node, "kernel_shape") or list(weight.shape[2:] if weight is not None else ())
        strides, dilations = (attribute(node, key) or [1] * 3 for key in ("strides", "dilations"))
        sizes = zip(full[2:], result[2:], kernel, strides, dilations, strict=True)
        pads = [_pads(node, axis, *size) for axis, size in enumerate(sizes)]
        return _Window(node, x, full, result, kernel, strides, dilations, pads, weight, bias)

    def check(self, found: _Window, context: Context) -> str | None:
        channels, depth, *_ = found.full[1:]
        count = found.result[1] * found.result[2] * channels * depth // attribute(found.node, "group", 1)
        if found.weight is not None and count * math.prod(found.kernel[1:]) > _LARGEST:
            return (
                f"with depth {depth} among its channels its {found.weight.size:,} weights would become "
                f"{count * math.prod(found.kernel[1:]):,}: fewer frames at once, or a (2+1)-D form, would fit"
            )
        if found.node.op_type in WINDOW_POOLS and math.prod(found.full[3:]) >= AXIS_LIMIT and _acts(found, 0):
            return f"an axis of {math.prod(found.full[3:])} exceeds the compiler's limit of 65,535"
        return None

    def replace(self, found: _Window, build: Builder, context: Context) -> Sequence[ir.Value]:
        channels, depth, height, width = found.full[1:]
        if found.node.op_type in GLOBAL_POOLS:
            flat = build.reshape(found.x, [1, channels, depth * height, width])
            return [build.reshape(build.node(found.node.op_type, [flat], [[1, channels, 1, 1]])[0], found.result)]
        if found.weight is None:
            return [_pooled(build, found)]
        flat = build.reshape(found.x, [1, channels * depth, height, width])
        group, bias = attribute(found.node, "group", 1), found.bias
        y = build.conv(
            flat, _spread(found), None if bias is None else np.repeat(bias, found.result[2]), strides=found.strides[1:],
            pads=_both(found, 1), dilations=found.dilations[1:], group=group if group > 1 else None,
        )  # fmt: skip
        return [build.reshape(y, found.result)]


def _pads(node: ir.Node, axis: int, size: int, result: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros in front of and behind an axis."""
    mode = attribute(node, "auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        given = attribute(node, "pads") or [0] * 6
        return (given[axis], given[axis + 3]) if mode == "NOTSET" else (0, 0)
    total = max((result - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return (total // 2, total - total // 2) if mode == "SAME_UPPER" else (total - total // 2, total // 2)


def _spread(found: _Window) -> Array:
    """The weights from pairs of channel and depth to pairs of output and depth."""
    assert found.weight is not None
    outputs, inputs = found.weight.shape[:2]
    depth, steps = found.full[2], found.result[2]
    spread = np.zeros((outputs, steps, inputs, depth, *found.weight.shape[3:]), np.float32)
    for step in range(steps):
        for tap in range(found.kernel[0]):
            place = step * found.strides[0] - found.pads[0][0] + tap * found.dilations[0]
            if 0 <= place < depth:
                spread[:, step, :, place] = found.weight[:, :, tap]
    return spread.reshape(outputs * steps, inputs * depth, *found.weight.shape[3:])


def _both(found: _Window, first: int, last: int = 3) -> list[int]:
    """Pads of some axes, all in front first."""
    return [found.pads[i][side] for side in (0, 1) for i in range(first, last)]


def _acts(found: _Window, axis: int) -> bool:
    return found.kernel[axis] > 1 or found.strides[axis] > 1


def _pooled(build: Builder, found: _Window) -> ir.Value:
    channels, depth, height, width = found.full[1:]
    steps, *size = found.result[2:]
    kept = {key: attribute(found.node, key) for key in ("ceil_mode", "count_include_pad")}
    kept = {key: value for key, value in kept.items() if value}
    y = found.x
    if _acts(found, 0):
        y = build.reshape(y, [1, channels, depth, height * width])
        front, back = found.pads[0]
        y = build.node(
            found.node.op_type, [y], [[1, channels, steps, height * width]], kernel_shape=[found.kernel[0], 1],
            strides=[found.strides[0], 1], pads=[front, 0, back, 0], dilations=_dilated(found, 0), **kept,
        )[0]  # fmt: skip
    if _acts(found, 1) or _acts(found, 2):
        y = build.reshape(y, [1, channels * steps, height, width])
        y = build.node(
            found.node.op_type, [y], [[1, channels * steps, *size]], kernel_shape=found.kernel[1:],
            strides=found.strides[1:], pads=_both(found, 1), dilations=_dilated(found, 1), **kept,
        )[0]  # fmt: skip
    return build.reshape(y, found.result)


def _dilated(found: _Window, axis: int) -> list[int] | None:
    dilations = [found.dilations[0], 1] if axis == 0 else found.dilations[1:]
    return dilations if max(dilations) > 1 else None
