"""Published networks with untrained numbers, for what depends on operators and shapes alone."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from n6convert_yolov8.architecture import Architecture
from n6convert_yolov8.layers import Layers
from n6convert_yolov8.network import walk_network
from n6convert_yolov8.parameters import Conv, Parameters
from n6convert_yolov8.published import published_architecture, published_widths

__all__ = ["empty_parameters", "seeded_parameters"]

Array = NDArray[np.float32]
#: second moment of SiLU(x) for x ~ N(0, 1): what a convolution behind a SiLU sees as its input power
_SILU_POWER = 0.3556
#: share of a seeded layer's variance that comes from its input, the rest from its bias: below one, small
#: deviations from unit variance die out instead of growing from layer to layer
_SIGNAL_SHARE = 0.75
_BOXES, _SCORES = re.compile(r"\d+\.cv2\.\d\.2"), re.compile(r"\d+\.cv3\.(\d)\.2")


def seeded_parameters(
    name: str, seed: int, *, classes: int | None = None, keypoints: tuple[int, int] | None = None
) -> Parameters:
    """The exact network of a published name with untrained numbers.

    Weights are scaled so that activations keep about unit variance through SiLU; the last class layer has the bias that
    detectors are initialized with (few objects), so that scores are small. Numbers come from raw PCG64 integers
    through integer arithmetic alone and are equal on every platform and numpy version.

    Args:
        name: such as ``yolo11n-seg``.
        seed: other numbers for every one.
        classes: instead of what the published weights know.
        keypoints: ``(count, values)`` for pose instead of 17 points of three values.

    Raises:
        ValueError: no published name.
    """
    architecture = published_architecture(name, classes=classes, keypoints=keypoints)

    def make(layer: str, shape: tuple[int, int, int], power: Fraction) -> Conv:
        return _seeded_conv(layer, shape, power, architecture, seed)

    return _collected(name, architecture, make)


def empty_parameters(name: str, *, classes: int | None = None, keypoints: tuple[int, int] | None = None) -> Parameters:
    """A published network whose weights are all zero, for its structure alone.

    Args:
        name: of the network.
        classes: None: as published.
        keypoints: their number and values; None: as published.
    """

    def make(layer: str, shape: tuple[int, int, int], power: Fraction) -> Conv:
        out, into, kernel = shape
        return Conv(np.zeros((out, into, kernel, kernel), np.float32), np.zeros(out, np.float32))

    return _collected(name, published_architecture(name, classes=classes, keypoints=keypoints), make)


Make = Callable[[str, tuple[int, int, int], Fraction], Conv]


def _collected(name: str, architecture: Architecture, make: Make) -> Parameters:
    """Every convolution that writing the network asks for."""
    layers = _Made(published_widths(name, architecture), make)
    walk_network(architecture, layers)
    return Parameters(layers.convs, architecture)


class _Made(Layers):
    def __init__(self, widths: dict[str, int], make: Make) -> None:
        self.convs: dict[str, Conv] = {}
        self._widths, self._make = widths, make

    def conv(self, name: str, into: int, kernel: int, power: Fraction) -> Conv:
        if name not in self.convs:
            self.convs[name] = self._make(name, (self._widths[name], into, kernel), power)
        return self.convs[name]


def _seeded_conv(
    name: str, shape: tuple[int, int, int], power: Fraction, architecture: Architecture, seed: int
) -> Conv:
    out, into, kernel = shape
    second_moment = 1 / 3 if name == "0" else _SILU_POWER * power.numerator / power.denominator
    weight = _normal(f"{name}.weight", seed, out * into * kernel**2) * np.float32(
        np.sqrt(_SIGNAL_SHARE / (into * kernel**2 * second_moment))
    )
    bias = _normal(f"{name}.bias", seed, out) * np.float32(np.sqrt(1 - _SIGNAL_SHARE))
    if _BOXES.fullmatch(name):
        bias += np.float32(1 if architecture.reg_max > 1 else 2)
    if scores := _SCORES.fullmatch(name):
        stride = 8 << int(scores.group(1))
        bias += np.float32(np.log(5 / out / (640 / stride) ** 2))
    return Conv(weight.reshape(out, into, kernel, kernel).astype(np.float32), bias)


def _normal(name: str, seed: int, count: int) -> Array:
    """Nearly normal numbers: the sum of the four 16-bit lanes of each raw integer, centered and scaled."""
    raw = np.asarray(np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw(count))
    lanes = (raw[:, None] >> np.array([0, 16, 32, 48], np.uint64) & np.uint64(0xFFFF)).astype(np.int64)
    return np.asarray((lanes.sum(1) - 2 * 65535).astype(np.float64) / 37837.2, np.float32)
