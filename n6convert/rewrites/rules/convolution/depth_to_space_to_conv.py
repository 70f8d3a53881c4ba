"""DepthToSpace and SpaceToDepth without the CPU ([#resize]).

DepthToSpace of ``[1, (dy, dx, c), h, w]``: channels move behind rows and columns for each dy, which interleaves the
columns; the rows ``(dy, h)`` are then the channel axis, and a 1x1 Conv with a permutation for weights turns them into
``(h, dy)``. CRD order is brought into DCR order by such a Conv first. SpaceToDepth is a convolution of stride b whose
kernels have a single one. Ones are exact in 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, attribute, is_float, shape_of
from n6convert.rewrites.pointwise_forms import permutation
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["DepthToSpaceToConv"]

_MAX_WEIGHTS = 1 << 18


@dataclass
class _Shuffle:
    node: ir.Node
    x: ir.Value
    size: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def weights(self) -> int:
        """Elements of the largest convolution that is needed."""
        c, b = min(self.before[1], self.after[1]), self.size
        if self.node.op_type == "SpaceToDepth":
            return int(c * c * b**4)
        return int(max(self.after[2] ** 2, self.before[1] ** 2 if self.crd else 0))

    @property
    def crd(self) -> bool:
        return bool(attribute(self.node, "mode", "DCR") == "CRD")


class DepthToSpaceToConv(Rewrite[_Shuffle]):
    """Write DepthToSpace and SpaceToDepth as permutation convolutions and hardware transposes."""

    name = "depth-to-space-to-conv"
    roots = frozenset({"DepthToSpace", "SpaceToDepth"})

    def pattern(self, node: ir.Node) -> _Shuffle | None:
        x, before, after = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if x is None or before is None or after is None or not is_float(x):
            return None
        return _Shuffle(node, x, int(attribute(node, "blocksize")), before, after)

    def check(self, found: _Shuffle, context: Context) -> str | None:
        if found.weights > _MAX_WEIGHTS:
            return f"its convolution would have {found.weights:,} weights, more than {_MAX_WEIGHTS:,}"
        return None

    def replace(self, found: _Shuffle, build: Builder, context: Context) -> Sequence[ir.Value]:
        if found.node.op_type == "SpaceToDepth":
            return [build.conv(found.x, _corners(found.before[1], found.size), strides=[found.size] * 2)]
        b, (_, c, height, width) = found.size, found.after
        h, w = height // b, width // b
        x = build.pointwise(found.x, permutation(c, b * b)) if found.crd else found.x
        x = build.transpose(build.reshape(x, [1, b, b * c, h * w]), [0, 1, 3, 2])
        rows = build.pointwise(build.reshape(x, [1, height, width, c]), permutation(b, h))
        return [build.swap(rows, height * width, found.after)]


def _corners(channels: int, b: int) -> Array:
    """Kernels ``[b b C, C, b, b]`` that pick pixel (dy, dx) of channel c for output (dy, dx, c)."""
    weight = np.zeros((b, b, channels, channels, b, b), np.float32)
    each = np.arange(channels)
    for dy in range(b):
        for dx in range(b):
            weight[dy, dx, each, each, dy, dx] = 1
    return weight.reshape(b * b * channels, channels, b, b)
