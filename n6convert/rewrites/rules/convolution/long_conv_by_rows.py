"""A strided Conv over a waveform of 65,536 samples and more as one over rows of as many samples as its stride.

``[1, C, N]`` and ``[1, C, N / s, s]`` are the same bytes. Sample ``j s + t - p`` lies in row ``j + (t + q) // s`` and
column ``(t + q) % s``, ``q`` the part of a row that the padding leaves: the kernel is wrapped to rows of ``s``, and the
stride is gone. ST's import takes no axis of 65,536 ([#import-limits]).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import AXIS_LIMIT, Builder
from n6convert.graph.query import Array, attribute, constant_of, is_float, producer, scalar_of, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["LongConvByRows"]


@dataclass
class _Long:
    node: ir.Node
    x: ir.Value
    channels: int
    size: int
    weight: Array
    """[O, I, k]"""
    stride: int
    dilation: int
    front: int
    """Zeros in front of the samples."""
    result: tuple[int, ...]

    @property
    def steps(self) -> int:
        return math.prod(self.result[2:])

    @property
    def taps(self) -> Array:
        """Where the taps of output 0 lie, counted from the first row that is read."""
        skipped = -self.front % self.stride
        found: Array = np.arange(self.weight.shape[2]) * self.dilation + skipped
        return found


class LongConvByRows(Rewrite[_Long]):
    """Write a strided Conv over a very long axis as one over rows."""

    name = "long-conv-by-rows"
    roots = frozenset({"Conv"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Long | None:
        x, weight, result = node.inputs[0], constant_of(node.inputs[1]), shape_of(node.outputs[0])
        full = shape_of(x)
        if x is None or full is None or result is None or weight is None or full[0] != 1 or not is_float(x):
            return None
        long = [i for i, n in enumerate(full) if i > 1 and n > 1]
        if len(long) != 1 or full[long[0]] < AXIS_LIMIT or math.prod(weight.shape[2:]) != weight.shape[long[0]]:
            return None
        axis = long[0] - 2
        stride, dilation = ((attribute(node, key) or [1] * len(full))[axis] for key in ("strides", "dilations"))
        front = _front(node, axis, full[long[0]], result[long[0]], weight.shape[long[0]], stride, dilation)
        return _behind_pad(_Long(
            node, x, full[1], full[long[0]], weight.reshape(*weight.shape[:2], -1), stride, dilation, front, result
        ))  # fmt: skip

    def check(self, found: _Long, context: Context) -> str | None:
        if found.steps >= AXIS_LIMIT:
            return f"its result still has an axis of {found.steps}: give the network shorter windows of the signal"
        if found.size % found.stride:
            more = found.size + -found.size % found.stride
            return f"{found.size} samples are no multiple of its stride {found.stride}: give the network {more} samples"
        if found.size // found.stride >= AXIS_LIMIT:
            return f"rows of {found.stride} samples would still be {found.size // found.stride}"
        return None

    def replace(self, found: _Long, build: Builder, context: Context) -> Sequence[ir.Value]:
        stride, rows = found.stride, found.size // found.stride
        outputs, inputs, _ = found.weight.shape
        height = int(found.taps[-1]) // stride + 1
        kernel = np.zeros((outputs, inputs, height, stride), np.float32)
        kernel[:, :, found.taps // stride, found.taps % stride] = found.weight
        above = -(-found.front // stride)
        below = found.steps - 1 + height - above - rows
        seen = build.reshape(found.x, [1, found.channels, rows, stride])
        if below < 0:  # the last rows are read by no output
            seen, below = build.slice(seen, 2, 0, rows + below), 0
        bias = [v for v in found.node.inputs[2:] if v is not None]
        group = attribute(found.node, "group", 1)
        y = build.conv(
            seen, kernel, bias[0] if bias else None, pads=[above, 0, below, 0], group=group if group > 1 else None
        )
        return [build.reshape(y, found.result)]


def _front(node: ir.Node, axis: int, size: int, result: int, kernel: int, stride: int, dilation: int) -> int:
    """Zeros in front of an axis."""
    mode = attribute(node, "auto_pad", "NOTSET")
    if mode == "NOTSET":
        return int((attribute(node, "pads") or [0] * 2 * (axis + 1))[axis])
    total = 0 if mode == "VALID" else max((result - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2 if mode == "SAME_UPPER" else total - total // 2


def _behind_pad(found: _Long) -> _Long:
    """The same Conv without the zeros that a Pad puts around its samples."""
    pad = producer(found.x, "Pad")
    full = None if pad is None else shape_of(pad.inputs[0])
    if pad is None or full is None or attribute(pad, "mode", "constant") != "constant":
        return found
    pads = constant_of(pad.inputs[1]) if len(pad.inputs) > 1 else None
    value = scalar_of(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] is not None else 0.0
    long = [i for i, n in enumerate(full) if n == max(full)][-1]
    others = pads is None or any(p for i, p in enumerate(pads) if i % len(full) != long)
    if pads is None or others or value != 0.0 or pads.min() < 0 or pad.inputs[0] is None or len(pad.inputs) > 3:
        return found
    found.x, found.size, found.front = pad.inputs[0], full[long], found.front + int(pads[long])
    return found
