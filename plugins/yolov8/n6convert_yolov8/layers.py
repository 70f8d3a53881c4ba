"""What a graph of the family is written with: maps that know their channels, and layers that ask for their weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert_yolov8.graph import GraphBuilder
from n6convert_yolov8.parameters import Conv

__all__ = ["LINEAR", "Feature", "LayerWriter", "Layers"]

#: power of a map of unit variance, in units of that behind a SiLU
LINEAR = Fraction(45, 16)


@dataclass(frozen=True)
class Feature:
    """A map ``[1, channels, h, w]``.

    Attributes:
        value: in the graph.
        channels: how many.
        size: height and width.
        power: mean square with seeded weights, in units of that of SiLU outputs.
    """

    value: ir.Value
    channels: int
    size: tuple[int, int]
    power: Fraction = Fraction(1)


class Layers(ABC):
    """Where the weights of each layer come from."""

    @abstractmethod
    def conv(self, name: str, into: int, kernel: int, power: Fraction) -> Conv:
        """A layer's convolution.

        Args:
            name: of the layer.
            into: input channels of one group.
            kernel: its side.
            power: mean square of what it reads, see :class:`Feature`.
        """


class LayerWriter:
    """Writes single layers.

    Attributes:
        graph: what was written so far.
        layers: the weights.
        as_published: keep every convolution of the checkpoint by itself, for comparing with other people's graphs.
    """

    def __init__(self, name: str, layers: Layers, *, as_published: bool = False) -> None:
        self.graph = GraphBuilder(name)
        self.layers = layers
        self.as_published = as_published

    def conv(self, name: str, x: Feature, kernel: int = 1, stride: int = 1) -> Feature:
        """Convolution and SiLU.

        Args:
            name: of the layer in the checkpoint.
            x: map of features.
            kernel: height and width.
            stride: of rows and columns.
        """
        linear = self.linear(name, x, kernel, stride)
        return Feature(self.graph.silu(linear.value), linear.channels, linear.size)

    def linear(self, name: str, x: Feature, kernel: int = 1, stride: int = 1) -> Feature:
        """A convolution alone.

        Args:
            name: of the layer in the checkpoint.
            x: map of features.
            kernel: height and width.
            stride: of rows and columns.
        """
        conv = self.layers.conv(name, x.channels, kernel, x.power)
        size = (-(-x.size[0] // stride), -(-x.size[1] // stride))
        return Feature(self.graph.layer(name, x.value, conv, stride), len(conv.bias), size, LINEAR)

    def depthwise(self, name: str, x: Feature, *, activated: bool = True) -> Feature:
        """A 3x3 convolution of each channel by itself.

        Args:
            name: of the layer in the checkpoint.
            x: map of features.
            activated: with a SiLU behind it.
        """
        conv = self.layers.conv(name, 1, 3, x.power)
        value = self.graph.layer(name, x.value, conv, groups=x.channels)
        if activated:
            return Feature(self.graph.silu(value), x.channels, x.size)
        return Feature(value, x.channels, x.size, LINEAR)

    def twice(self, name: str, x: Feature) -> Feature:
        """A transposed 2x2 convolution of stride 2: twice the size, without overlap."""
        conv = self.layers.conv(name, x.channels, 2, x.power)
        weight, bias = (self.graph.constant(f"{name}.{part}", getattr(conv, part)) for part in ("weight", "bias"))
        value = self.graph.op("ConvTranspose", name, x.value, weight, bias, kernel_shape=[2, 2], strides=[2, 2])
        return Feature(value, len(conv.bias), (2 * x.size[0], 2 * x.size[1]), LINEAR)

    def add(self, name: str, x: Feature, y: Feature) -> Feature:
        """The sum of two maps.

        Args:
            name: of the node.
            x: a map.
            y: one of the same size.
        """
        return Feature(self.graph.op("Add", name, x.value, y.value), x.channels, x.size, x.power + y.power)

    def concat(self, layer: int | str, *parts: Feature) -> Feature:
        """The channels of maps of one size, one map after the other."""
        channels = sum(p.channels for p in parts)
        value = self.graph.op("Concat", f"{layer}.concat", *(p.value for p in parts), axis=1)
        return Feature(
            value, channels, parts[0].size, sum((p.power * p.channels for p in parts), Fraction(0)) / channels
        )

    def halves(self, name: str, x: Feature) -> list[Feature]:
        """The first and the second half of a map's channels."""
        half = x.channels // 2
        return [Feature(part, half, x.size, x.power) for part in self.graph.split(name, x.value, [half, half])]

    def upsample(self, layer: str, x: Feature, factor: int = 2) -> Feature:
        """Every pixel ``factor`` times in both directions.

        Args:
            layer: its name.
            x: map of features.
            factor: of rows and columns.
        """
        name = "upsample_scales" if factor == 2 else f"upsample_scales_{factor}"
        scales = self.graph.constant(name, np.array([1, 1, factor, factor], np.float32))
        mode: dict[str, Any] = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        value = self.graph.op("Resize", f"{layer}.upsample", x.value, None, scales, **mode)
        return Feature(value, x.channels, (factor * x.size[0], factor * x.size[1]), x.power)
