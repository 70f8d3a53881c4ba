"""The MoveNet single-pose network as an ONNX graph with seeded weights.

A MobileNetV2 trunk, a top-down pyramid with three bilinear doublings, and heads of one separable convolution each. The
layer structure is that of the published float graphs: Lightning has width 1.0, Thunder width 1.75. The pyramid keeps
64, 32 and 24 channels in both: with the widths scaled as well, Thunder's float16 file could not be 12,584,128 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.plugin.graphs import NetworkWriter

__all__ = ["FOUR_HEADS", "HEATMAP_HEAD", "INPUT", "build_network", "scaled"]

INPUT = "image"
#: head name -> (outputs per keypoint, outputs besides, ends in a Sigmoid)
Heads = Mapping[str, tuple[int, int, bool]]
HEATMAP_HEAD: Heads = {"heatmaps": (1, 0, True)}
FOUR_HEADS: Heads = {
    "center": (0, 1, True),
    "heatmaps": (1, 0, True),
    "regression": (2, 0, False),
    "offsets": (2, 0, False),
}
#: MobileNetV2 stages: expansion, channels at width 1, blocks, stride of the first block (arXiv 1801.04381, table 2)
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_TOP = 1280
_HEAD_WIDTH = 96


def scaled(channels: float) -> int:
    """MobileNetV2's rounding of channel numbers: to multiples of 8, never more than 10 % down."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


@dataclass(frozen=True)
class _Feature:
    value: ir.Value
    channels: int


class _Net:
    """Records layers with He-initialized weights from one random generator."""

    def __init__(self, seed: int) -> None:
        self.writer = NetworkWriter("movenet")
        self._rng = np.random.default_rng(seed)
        self._scalars = {x: self.writer.constant(f"bound_{x}", np.float32(x)) for x in (0, 6)}
        self._edge = self.writer.constant("edge", np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64))
        self._double = self.writer.constant("double", np.array([1, 1, 2, 2], np.float32))

    def stem(self, name: str, x: _Feature, out: int) -> _Feature:
        """A dense 3x3 convolution with stride 2, padded like TensorFlow's SAME on even sizes (below and right).

        Args:
            name: of the layer.
            x: the image.
            out: channels of the result.
        """
        return self._conv(name, x, (out, x.channels, 3, 3), 2, [0, 0, 1, 1], 2)

    def conv(self, name: str, x: _Feature, out: int, *, gain: float = 1, bias: float = 0.05) -> _Feature:
        """A 1x1 convolution.

        Args:
            name: of the layer.
            x: its input.
            out: channels of the result.
            gain: of the drawn weights.
            bias: spread of the drawn biases.
        """
        return self._conv(name, x, (out, x.channels, 1, 1), 1, [0, 0, 0, 0], gain, bias)

    def depthwise(self, name: str, x: _Feature, *, stride: int = 1, gain: float = 1) -> _Feature:
        """A depthwise 3x3 convolution; strided ones expect :meth:`pad` before them, as in Keras' MobileNetV2.

        Args:
            name: of the layer.
            x: its input.
            stride: of rows and columns.
            gain: of the drawn weights.
        """
        pads = [0, 0, 0, 0] if stride == 2 else [1, 1, 1, 1]
        return self._conv(name, x, (x.channels, 1, 3, 3), stride, pads, gain)

    def _conv(
        self,
        name: str,
        x: _Feature,
        shape: tuple[int, int, int, int],
        stride: int,
        pads: list[int],
        gain: float,
        spread: float = 0.05,
    ) -> _Feature:
        scale = np.sqrt(gain / np.prod(shape[1:]))
        weight = (self._rng.standard_normal(shape) * scale).astype(np.float32)
        bias = (self._rng.standard_normal(shape[0]) * spread).astype(np.float32)
        groups = x.channels // shape[1]
        value = self.writer.conv(name, x.value, weight, bias, stride=stride, groups=groups, pads=pads, named=False)
        return _Feature(value, shape[0])

    def relu6(self, x: _Feature) -> _Feature:
        return _Feature(self.writer.op("Clip", None, x.value, self._scalars[0], self._scalars[6]), x.channels)

    def relu(self, x: _Feature) -> _Feature:
        return _Feature(self.writer.op("Relu", None, x.value), x.channels)

    def add(self, a: _Feature, b: _Feature) -> _Feature:
        return _Feature(self.writer.op("Add", None, a.value, b.value), a.channels)

    def pad(self, x: _Feature) -> _Feature:
        return _Feature(self.writer.op("Pad", None, x.value, self._edge), x.channels)

    def double(self, x: _Feature) -> _Feature:
        inputs = (x.value, None, self._double)
        value = self.writer.op("Resize", None, *inputs, mode="linear", coordinate_transformation_mode="half_pixel")
        return _Feature(value, x.channels)


def build_network(*, width: float, heads: Heads, keypoints: int, imgsz: int, seed: int) -> ir.Model:
    """The float graph, input ``image`` [1,3,imgsz,imgsz], outputs named like the heads [1,c,imgsz/4,imgsz/4].

    Args:
        width: channel multiplier of the trunk.
        heads: which heads, see :data:`FOUR_HEADS`.
        keypoints: 13 or 17.
        imgsz: multiple of 32.
        seed: same seed, same numbers.
    """
    net = _Net(seed)
    image = net.writer.input(INPUT, (1, 3, imgsz, imgsz))
    laterals, top = _trunk(net, _Feature(image, 3), width)
    feature = _pyramid(net, laterals, top)
    outputs = [_head(net, feature, name, keypoints * per + extra, end) for name, (per, extra, end) in heads.items()]
    return net.writer.finish([image], outputs)


def _trunk(net: _Net, image: _Feature, width: float) -> tuple[list[_Feature], _Feature]:
    """Ends of the stages with strides 4, 8 and 16 (the first at 16), and the widened end of the trunk."""
    x = net.relu6(net.stem("Conv1", image, scaled(32 * width)))
    ends, index = [], 0
    for expansion, channels, blocks, first in _STAGES:
        for block in range(blocks):
            stride = first if block == 0 else 1
            x = _inverted_residual(net, f"block_{index}", x, expansion, scaled(channels * width), stride)
            index += 1
        ends.append(x)
    return ends[1:4], net.relu6(net.conv("Conv_1", x, _TOP, gain=2))


def _inverted_residual(net: _Net, name: str, x: _Feature, expansion: int, out: int, stride: int) -> _Feature:
    y = net.relu6(net.conv(f"{name}_expand", x, x.channels * expansion, gain=2)) if expansion > 1 else x
    y = net.relu6(net.depthwise(f"{name}_depthwise", net.pad(y) if stride == 2 else y, stride=stride, gain=2))
    y = net.conv(f"{name}_project", y, out)
    return net.add(x, y) if stride == 1 and x.channels == out else y


def _pyramid(net: _Net, laterals: list[_Feature], top: _Feature) -> _Feature:
    x = net.conv("fpn_top", top, 64)
    for lateral, width, after in zip(reversed(laterals), (64, 32, 24), (32, 24, 24), strict=True):
        x = net.add(net.double(x), net.conv(f"fpn_lateral_{width}", lateral, width))
        x = net.relu(net.conv(f"fpn_pointwise_{width}", net.depthwise(f"fpn_depthwise_{width}", x), after, gain=2))
    return x


def _head(net: _Net, x: _Feature, name: str, channels: int, sigmoid: bool) -> ir.Value:
    y = net.relu(net.conv(f"{name}_pointwise", net.depthwise(f"{name}_depthwise", x), _HEAD_WIDTH, gain=2))
    value = net.conv(f"{name}_out", y, channels, bias=1.0).value
    if sigmoid:
        value = net.writer.op("Sigmoid", None, value)
    value.name = name
    return value
