"""Detectors of ST's model zoo, rebuilt from a published file of the family or from their papers."""

from __future__ import annotations

import onnx

from .builder import Net, T

__all__ = ["st_yolox", "tiny_yolo_v2"]


def st_yolox(depth: float, width: float, size: int, anchors: int = 1, resize: str = "nearest") -> onnx.ModelProto:
    """YOLOX with depthwise layers and ReLU, as the published 480-pixel file (r05) has it; one class.

    Its successor st_yoloxn enlarges maps bilinearly (``resize="linear"``), as ST's definition in
    stm32ai-modelzoo-services says.
    """
    net = Net("st_yolox", (1, 3, size, size), zero_point=-128)
    base, repeats = [int(64 * width) * 2**level for level in range(5)], max(1, round(3 * depth))

    def cba(x: T, channels: int, kernel: int = 1, stride: int = 1) -> T:
        return net.conv(x, channels, kernel, stride, "relu")

    def separable(x: T, channels: int, stride: int = 1) -> T:
        return cba(net.dw(x, stride), channels)

    def csp(x: T, channels: int, times: int, shortcut: bool) -> T:
        half = channels // 2
        y, kept = cba(x, half), cba(x, half)
        for _ in range(times):
            z = separable(cba(y, half), half)
            y = net.add(z, y, "relu") if shortcut else z
        return cba(net.concat([y, kept]), channels)

    x = cba(cba(net.x, 12, 3, 2), base[0], 3)
    x = csp(separable(x, base[1], 2), base[1], repeats, True)
    c3 = csp(separable(x, base[2], 2), base[2], 3 * repeats, True)
    c4 = csp(separable(c3, base[3], 2), base[3], 3 * repeats, True)
    x = cba(separable(c4, base[4], 2), base[4] // 2)
    x = cba(net.concat([x, *(net.max_pool(x, kernel, 1, kernel // 2) for kernel in (5, 9, 13))]), base[4])
    top = cba(csp(x, base[4], repeats, False), base[3])
    middle = cba(csp(net.concat([net.upsample(top, resize), c4]), base[3], repeats, False), base[2])
    n3 = csp(net.concat([net.upsample(middle, resize), c3]), base[2], repeats, False)
    n4 = csp(net.concat([separable(n3, base[2], 2), middle]), base[3], repeats, False)
    n5 = csp(net.concat([separable(n4, base[3], 2), top]), base[4], repeats, False)
    return net.proto(*(_head(net, cba(level, int(256 * width)), anchors) for level in (n3, n4, n5)))


def _head(net: Net, x: T, anchors: int) -> T:
    """Two separable layers for the class, two for box and objectness."""

    def branch() -> T:
        y = x
        for _ in range(2):
            y = net.conv(net.dw(y), x.channels, 1, 1, "relu")
        return y

    scores, boxes = branch(), branch()
    parts = [net.conv(boxes, 4 * anchors, 1, 1, None), net.conv(boxes, anchors, 1, 1, None)]
    return net.concat([*parts, net.conv(scores, anchors, 1, 1, None)])


def tiny_yolo_v2(size: int, classes: int = 1) -> onnx.ModelProto:
    """Tiny YOLOv2 with a last 3x3 layer of 512 channels (11.0 M weights, as published) and leaky ReLU."""
    net = Net("tiny_yolo_v2", (1, 3, size, size), zero_point=-128)
    x = net.x
    for channels in (16, 32, 64, 128, 256):
        x = net.max_pool(net.conv(x, channels, 3, 1, "leaky"), 2, 2, 0)
    x = net.conv(net.conv(net.conv(x, 512, 3, 1, "leaky"), 1024, 3, 1, "leaky"), 512, 3, 1, "leaky")
    return net.proto(net.conv(x, 5 * (5 + classes), 1, 1, None))
