"""Blocks of the family: C2f and C3k2, fast spatial pyramid pooling, attention over positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from n6convert_yolov8.architecture import Block
from n6convert_yolov8.layers import LINEAR, Feature, LayerWriter
from n6convert_yolov8.parameters import Conv

__all__ = ["BlockWriter"]

#: channels of a value head at most
_HEAD_CHANNELS = 64


class BlockWriter(LayerWriter):
    """Writes the numbered layers."""

    def block(self, layer: int, x: Feature, block: Block, shortcut: bool) -> Feature:
        """C2f or C3k2: split in halves, a chain of units on the second one, all joined again.

        Args:
            layer: its number.
            x: map of features.
            block: its units.
            shortcut: whether units add their input.
        """
        parts = self.halves(f"{layer}.split", self.conv(f"{layer}.cv1", x))
        for r in range(block.repeats):
            parts.append(self._unit(f"{layer}.m.{r}", parts[-1], block, shortcut))
        return self.conv(f"{layer}.cv2", self.concat(layer, *parts))

    def pooled(self, layer: int, x: Feature, *, plain: bool) -> Feature:
        """Three chained 5x5 MaxPools, joined with their input; ``plain``: no SiLU in front of them, and a shortcut.

        Args:
            layer: its number.
            x: map of features.
            plain: no SiLU in front of the pools, and a shortcut.
        """
        parts = [self.linear(f"{layer}.cv1", x) if plain else self.conv(f"{layer}.cv1", x)]
        for i in range(3):
            window: dict[str, Any] = {"kernel_shape": [5, 5], "strides": [1, 1], "pads": [2, 2, 2, 2]}
            pool = self.graph.op("MaxPool", f"{layer}.pool.{i}", parts[-1].value, **window)
            parts.append(Feature(pool, parts[0].channels, x.size, parts[0].power))
        y = self.conv(f"{layer}.cv2", self.concat(layer, *parts))
        return self.add(f"{layer}.add", y, x) if plain and y.channels == x.channels else y

    def attention_layer(self, layer: int, x: Feature, repeats: int) -> Feature:
        """C2PSA: attention units on the second half of the channels.

        Args:
            layer: its number.
            x: map of features.
            repeats: attention units.
        """
        first, second = self.halves(f"{layer}.split", self.conv(f"{layer}.cv1", x))
        for r in range(repeats):
            second = self._attention_unit(f"{layer}.m.{r}", second)
        return self.conv(f"{layer}.cv2", self.concat(layer, first, second))

    def _unit(self, name: str, x: Feature, block: Block, shortcut: bool) -> Feature:
        if block.kind == "bottleneck":
            return self._bottleneck(name, x, shortcut)
        if block.kind == "attention":
            return self._attention_unit(f"{name}.1", self._bottleneck(f"{name}.0", x, shortcut))
        y, past = self._pair(name, x)
        for i in range(2):
            y = self._bottleneck(f"{name}.m.{i}", y, shortcut)
        return self.conv(f"{name}.cv3", self.concat(name, y, past))

    def _pair(self, name: str, x: Feature) -> list[Feature]:
        """Two 1x1 convolutions of one map, which the NPU runs as one ([#joins]: a Split that two read is no Split)."""
        names = [f"{name}.cv1", f"{name}.cv2"]
        if self.as_published:
            return [self.conv(n, x) for n in names]
        both = [self.layers.conv(n, x.channels, 1, x.power) for n in names]
        one = Conv(np.concatenate([c.weight for c in both]), np.concatenate([c.bias for c in both]))
        value = self.graph.silu(self.graph.layer(f"{name}.cv1_cv2", x.value, one))
        return self.halves(f"{name}.pair", Feature(value, len(one.bias), x.size))

    def _bottleneck(self, name: str, x: Feature, shortcut: bool) -> Feature:
        y = self.conv(f"{name}.cv2", self.conv(f"{name}.cv1", x, 3), 3)
        return self.add(f"{name}.add", x, y) if shortcut else y

    def _attention_unit(self, name: str, x: Feature) -> Feature:
        """Attention and two 1x1 convolutions, each with a shortcut."""
        x = self.add(f"{name}.add", x, self._attention(f"{name}.attn", x))
        y = self.linear(f"{name}.ffn.1", self.conv(f"{name}.ffn.0", x))
        return self.add(f"{name}.ffn.add", x, y)

    def _attention(self, name: str, x: Feature) -> Feature:
        """``softmax(q^T k / sqrt(d)) v`` over all positions, in heads, and a depthwise convolution of the values."""
        graph = self.graph
        heads = max(x.channels // _HEAD_CHANNELS, 1)
        wide = x.channels // heads
        narrow = wide // 2
        positions = x.size[0] * x.size[1]
        qkv = graph.reshape(
            f"{name}.heads", self.linear(f"{name}.qkv", x).value, (1, heads, 2 * narrow + wide, positions)
        )
        q, k, v = graph.split(f"{name}.split", qkv, [narrow, narrow, wide], axis=2)
        scale = graph.constant(f"{name}.scale", np.array(narrow**-0.5, np.float32))
        turned = graph.op("Transpose", f"{name}.turned", graph.op("Mul", f"{name}.scaled", q, scale), perm=[0, 1, 3, 2])
        weights = graph.op("Softmax", f"{name}.softmax", graph.op("MatMul", f"{name}.logits", turned, k), axis=-1)
        back = graph.op("Transpose", f"{name}.back", weights, perm=[0, 1, 3, 2])
        shape = (1, x.channels, *x.size)
        mixed = graph.reshape(f"{name}.mixed", graph.op("MatMul", f"{name}.values", v, back), shape)
        values = Feature(graph.reshape(f"{name}.v", v, shape), x.channels, x.size, LINEAR)
        places = self.depthwise(f"{name}.pe", values, activated=False)
        return self.linear(f"{name}.proj", self.add(f"{name}.sum", Feature(mixed, x.channels, x.size), places))
