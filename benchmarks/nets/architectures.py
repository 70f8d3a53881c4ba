"""Standard architectures from their papers, quantized with seeded weights; widths follow the published definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx

from .builder import Net, T

__all__ = ["divisible", "efficientnet_v2_b0", "fast_depth", "mobilenet_v1", "mobilenet_v2", "yamnet", "yolov8n"]


def divisible(value: float, divisor: int = 8) -> int:
    """The multiple nearest to a width, not more than a tenth below it."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _classifier(net: Net, x: T, classes: int) -> onnx.ModelProto:
    return net.proto(net.softmax(net.dense(net.global_pool(x), classes)))


_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Output channels and stride of the separable layers (Howard et al. 2017, table 1)."""


def mobilenet_v1(alpha: float, size: int, classes: int, pad: str = "same") -> onnx.ModelProto:
    """MobileNetV1 with ReLU6."""
    net = Net("mobilenet_v1", (1, 3, size, size))
    x = net.conv(net.x, int(32 * alpha), 3, 2, "relu6", pad=pad)
    for channels, stride in _V1:
        x = net.conv(net.dw(x, stride, "relu6", pad=pad), int(channels * alpha), 1, 1, "relu6")
    return _classifier(net, x, classes)


def yamnet(last_width: int, classes: int) -> onnx.ModelProto:
    """YAMNet: MobileNetV1 on a 96x64 log-mel patch, cut after the layers of ``last_width`` channels."""
    net = Net("yamnet", (1, 1, 64, 96))
    x = net.conv(net.x, 32, 3, 2, "relu")
    for channels, stride in _V1:
        if channels > last_width:
            break
        x = net.conv(net.dw(x, stride, "relu"), channels, 1, 1, "relu")
    return _classifier(net, x, classes)


_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats, stride (Sandler et al. 2018, table 2)."""


def mobilenet_v2(alpha: float, size: int, classes: int, pad: str = "same") -> onnx.ModelProto:
    """MobileNetV2 with ReLU6 and linear bottlenecks."""
    net = Net("mobilenet_v2", (1, 3, size, size))
    x = net.conv(net.x, divisible(32 * alpha), 3, 2, "relu6", pad=pad)
    for expansion, channels, repeats, first in _V2:
        for index in range(repeats):
            x = _bottleneck(net, x, expansion, divisible(channels * alpha), first if index == 0 else 1, pad)
    last = divisible(1280 * alpha) if alpha > 1 else 1280
    return _classifier(net, net.conv(x, last, 1, 1, "relu6"), classes)


def _bottleneck(net: Net, x: T, expansion: int, channels: int, stride: int, pad: str) -> T:
    y = net.conv(x, x.channels * expansion, 1, 1, "relu6") if expansion > 1 else x
    y = net.conv(net.dw(y, stride, "relu6", pad=pad), channels, 1, 1, None)
    return net.add(y, x) if stride == 1 and x.channels == channels else y


_E2 = (
    ("fused", 1, 16, 1, 1), ("fused", 4, 32, 2, 2), ("fused", 4, 48, 2, 2),
    ("se", 4, 96, 3, 2), ("se", 6, 112, 5, 1), ("se", 6, 192, 8, 2),
)  # fmt: skip
"""Kind, expansion, channels, repeats, stride of EfficientNetV2-B0 (Tan and Le 2021)."""


def efficientnet_v2_b0(size: int, classes: int) -> onnx.ModelProto:
    """EfficientNetV2-B0 of Keras: normalization inside, Swish, squeeze-excitation with means that stay in float."""
    net = Net("efficientnet_v2_b0", (1, 3, size, size), zero_point=-128)
    x = net.conv(net.float_normalization(), 32, 3, 2, "swish")
    for kind, expansion, channels, repeats, first in _E2:
        block: Callable[..., T] = _fused if kind == "fused" else _squeezed
        for index in range(repeats):
            x = block(net, x, expansion, channels, first if index == 0 else 1)
    return _classifier(net, net.conv(x, 1280, 1, 1, "swish"), classes)


def _fused(net: Net, x: T, expansion: int, channels: int, stride: int) -> T:
    if expansion == 1:
        y = net.conv(x, channels, 3, stride, "swish")
    else:
        y = net.conv(net.conv(x, x.channels * expansion, 3, stride, "swish"), channels, 1, 1, None)
    return net.add(y, x) if stride == 1 and x.channels == channels else y


def _squeezed(net: Net, x: T, expansion: int, channels: int, stride: int) -> T:
    y = net.dw(net.conv(x, x.channels * expansion, 1, 1, "swish"), stride, "swish")
    gate = net.conv(net.float_mean(y), max(1, x.channels // 4), 1, 1, "swish")
    y = net.binary("Mul", y, net.conv(gate, y.channels, 1, 1, "sigmoid"))
    y = net.conv(y, channels, 1, 1, None)
    return net.add(y, x) if stride == 1 and x.channels == channels else y


_FAST_ENCODER = (
    (56, 1), (88, 2), (120, 1), (144, 2), (256, 1), (408, 2), (376, 1), (272, 1), (288, 1), (296, 1), (328, 1),
    (480, 2), (512, 1),
)  # fmt: skip
_FAST_DECODER = (200, 256, 120, 56, 16)
"""Channels (and strides) of FastDepth after pruning (Wofk et al. 2019): 1.34 M parameters."""


def fast_depth(size: int) -> onnx.ModelProto:
    """FastDepth: pruned MobileNet encoder, 5x5 depthwise decoder with nearest upsampling and three skip additions."""
    net = Net("fast_depth", (1, 3, size, size))
    x = net.conv(net.x, 16, 3, 2, "relu6")
    skips: dict[int, T] = {}
    for index, (channels, stride) in enumerate(_FAST_ENCODER, start=1):
        x = net.conv(net.dw(x, stride, "relu6"), channels, 1, 1, "relu6")
        skips[index] = x
    for channels, skip in zip(_FAST_DECODER, (None, 5, 3, 1, None), strict=True):
        x = net.upsample(net.conv(net.dw(x, 1, "relu", kernel=5), channels, 1, 1, "relu"))
        x = net.add(x, skips[skip]) if skip else x
    return net.proto(net.conv(x, 1, 1, 1, "relu"))


def yolov8n(size: int, classes: int = 1) -> onnx.ModelProto:
    """YOLOv8n with its decoded detection head, [1, 4 + classes, anchors]."""
    net = Net("yolov8n", (1, 3, size, size), zero_point=-128)

    def cbs(x: T, channels: int, kernel: int = 3, stride: int = 1) -> T:
        return net.conv(x, channels, kernel, stride, "swish", pad="torch")

    def c2f(x: T, channels: int, repeats: int, shortcut: bool) -> T:
        parts = net.split(cbs(x, channels, 1))
        for _ in range(repeats):
            y = cbs(cbs(parts[-1], channels // 2), channels // 2)
            parts.append(net.add(parts[-1], y) if shortcut else y)
        return cbs(net.concat(parts), channels, 1)

    def sppf(x: T) -> T:
        parts = [cbs(x, x.channels // 2, 1)]
        for _ in range(3):
            parts.append(net.max_pool(parts[-1], 5, 1, 2))
        return cbs(net.concat(parts), x.channels, 1)

    x = c2f(cbs(cbs(net.x, 16, 3, 2), 32, 3, 2), 32, 1, True)
    p3 = c2f(cbs(x, 64, 3, 2), 64, 2, True)
    p4 = c2f(cbs(p3, 128, 3, 2), 128, 2, True)
    p5 = sppf(c2f(cbs(p4, 256, 3, 2), 256, 1, True))
    n4 = c2f(net.concat([net.upsample(p5), p4]), 128, 1, False)
    n3 = c2f(net.concat([net.upsample(n4), p3]), 64, 1, False)
    n4 = c2f(net.concat([cbs(n3, 64, 3, 2), n4]), 128, 1, False)
    n5 = c2f(net.concat([cbs(n4, 128, 3, 2), p5]), 256, 1, False)
    return _decoded(net, [n3, n4, n5], classes, cbs)


def _decoded(net: Net, maps: list[T], classes: int, cbs: Callable[..., T]) -> onnx.ModelProto:
    """Box distribution by Softmax and a 1x1 convolution (DFL), class scores by Sigmoid."""
    box_width, class_width = 64, max(64, min(classes, 100))
    heads = []
    for x in maps:
        box = net.conv(cbs(cbs(x, box_width), box_width), 64, 1, 1, None)
        score = net.conv(cbs(cbs(x, class_width), class_width), classes, 1, 1, None)
        both = net.concat([box, score])
        heads.append(net.reshape(both, (1, 64 + classes, math.prod(both.shape[2:]))))
    joined = net.concat(heads, axis=2)
    anchors = joined.shape[2]
    box = net.reshape(net.slice(joined, 0, 64), (1, 4, 16, anchors))
    box = net.softmax(net.transpose(box, (0, 2, 1, 3)), axis=1)
    box = net.reshape(net.conv(box, 1, 1, 1, None), (1, 4, anchors))
    scores = net.unary("Sigmoid", net.slice(joined, 64, 64 + classes), "sigmoid")
    return net.proto(net.concat([box, scores]))
