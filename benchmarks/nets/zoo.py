"""Classifiers of ST's model zoo, rebuilt from their published definitions."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from .architectures import divisible
from .builder import Net, T

__all__ = ["efficientnet_lc", "st_resnet"]

_NARROW = (3, 8, 32)
"""Channels of the three convolutions of the stem: 1x1, 7x7 with stride 2, 1x1."""
_Block = tuple[int, int, int, int | None]
"""Widths inside the two convolutions (0: a plain 3x3, else 1x1 - 3x3 - 1x1), stride, width inside the shortcut (0: a
plain 1x1; None: no convolution)."""
_STAGES: dict[str, tuple[Sequence[int], Sequence[Sequence[_Block]]]] = {
    "pico": (_NARROW, (
        ((24, 16, 1, None), (24, 8, 1, None)), ((24, 8, 2, 8), (8, 8, 1, None)),
        ((8, 8, 2, 8), (8, 8, 1, None)), ((8, 8, 2, 8), (8, 8, 1, None)),
    )),
    "nano": (_NARROW, (
        ((0, 32, 1, None), (0, 40, 1, None)), ((0, 32, 2, 0), (64, 16, 1, None)),
        ((48, 16, 2, 8), (48, 8, 1, None)), ((32, 8, 2, 8), (48, 8, 1, None)),
    )),
    "micro": ((3, 8, 64), (
        ((0, 0, 1, None), (0, 0, 1, None)), ((0, 40, 2, 0), (88, 32, 1, None)),
        ((88, 72, 2, 16), (80, 32, 1, None)), ((80, 8, 2, 24), (72, 64, 1, None)),
    )),
}  # fmt: skip
_CHANNELS = (64, 128, 256, 512)


def st_resnet(name: str, size: int, classes: int) -> onnx.ModelProto:
    """ST's ResNet ``pico``, ``nano`` or ``micro``: ResNet18 with factorized convolutions and ReLU."""
    stem, stages = _STAGES[name]
    net = Net(f"st_resnet_{name}", (1, 3, size, size))
    x = net.conv(net.x, stem[0], 1, 1, None)
    x = net.conv(x, stem[1], 7, 2, None, pad="torch")
    x = net.max_pool(net.conv(x, stem[2], 1, 1, "relu"), 3, 2, 1)
    x = net.conv(x, _CHANNELS[0], 1, 1, None) if stem[2] != _CHANNELS[0] else x
    for channels, blocks in zip(_CHANNELS, stages, strict=True):
        for block in blocks:
            x = _residual(net, x, channels, block)
    return net.proto(net.dense(net.global_pool(x), classes))


def _residual(net: Net, x: T, channels: int, block: _Block) -> T:
    first, second, stride, shortcut = block
    y = _factorized(net, x, first, channels, 3, stride, "relu")
    y = _factorized(net, y, second, channels, 3, 1, None)
    return net.add(y, x if shortcut is None else _factorized(net, x, shortcut, channels, 1, stride, None), "relu")


def _factorized(net: Net, x: T, width: int, channels: int, kernel: int, stride: int, act: str | None) -> T:
    if not width:
        return net.conv(x, channels, kernel, stride, act, pad="torch")
    x = net.conv(net.conv(x, width, 1, 1, None), width, kernel, stride, None, pad="torch")
    return net.conv(x, channels, 1, 1, act)


_LC = ((16, 1, 1, 3), (24, 2, 2, 3), (40, 2, 2, 5), (80, 3, 2, 3), (112, 3, 1, 5), (192, 4, 2, 5), (320, 1, 1, 3))
"""Channels, repeats, stride, kernel (EfficientNet-B0)."""
_WIDTH, _EXPANSION = 0.45, 3


def efficientnet_lc(size: int, classes: int) -> onnx.ModelProto:
    """ST's EfficientNet LC v1: B0 with 0.45 of the width, half the expansion, ReLU6 and clipped gates, as Keras
    exports it."""
    net = Net("efficientnet_lc", (1, 3, size, size))
    x = net.conv(net.x, divisible(32 * _WIDTH), 3, 2, "relu6")
    for stage, (channels, repeats, first, kernel) in enumerate(_LC):
        for index in range(repeats):
            stride = first if index == 0 else 1
            x = _bottleneck(net, x, _EXPANSION if stage else 1, divisible(channels * _WIDTH), stride, kernel)
    x = net.conv(x, divisible(1280 * _WIDTH), 1, 1, "relu6")
    return net.proto(net.softmax(net.dense(net.global_pool(x), classes)))


def _bottleneck(net: Net, x: T, expansion: int, channels: int, stride: int, kernel: int) -> T:
    y = net.conv(x, x.channels * expansion, 1, 1, "relu6") if expansion > 1 else x
    y = net.dw(y, stride, "relu6", kernel)
    gate = net.conv(net.dropped_mean(y), max(1, x.channels // 4), 1, 1, "relu6")
    gate = net.unary("Sigmoid", net.clip(net.conv(gate, y.channels, 1, 1, None), -4, 4), "sigmoid")
    y = net.conv(net.binary("Mul", y, gate), channels, 1, 1, None)
    return net.add(y, x) if stride == 1 and channels == x.channels else y
