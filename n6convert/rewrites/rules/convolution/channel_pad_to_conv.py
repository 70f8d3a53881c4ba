"""Padding of the channel axis is a 1x1 Conv whose added rows are zero, with the pad value as bias.

The compiler's own form is a padding convolution between two (0,2,1,3) transposes on the CPU ([#pad]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, is_float, scalar_of, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ChannelPadToConv"]

_MAX_WEIGHTS = 1 << 18


@dataclass
class _Pad:
    x: ir.Value
    channels: int
    front: int
    back: int
    value: float


class ChannelPadToConv(Rewrite[_Pad]):
    """Write a Pad of channels as a 1x1 Conv with rows of zeros."""

    name = "channel-pad-to-conv"
    roots = frozenset({"Pad"})

    def pattern(self, node: ir.Node) -> _Pad | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        pads = constant_of(node.inputs[1]) if len(node.inputs) > 1 else attribute(node, "pads")
        plain = attribute(node, "mode", "constant") == "constant" and len(node.inputs) < 4
        if x is None or full is None or len(full) != 4 or pads is None or not plain or not is_float(x):
            return None
        front, back = int(pads[1]), int(pads[5])
        others = [int(p) for i, p in enumerate(pads) if i not in (1, 5)]
        if any(others) or min(front, back) < 0 or not front + back:
            return None
        given = len(node.inputs) > 2 and node.inputs[2] is not None
        value = scalar_of(node.inputs[2]) if given else attribute(node, "value", 0.0)
        return None if value is None else _Pad(x, full[1], front, back, float(value))

    def check(self, found: _Pad, context: Context) -> str | None:
        weights = found.channels * (found.channels + found.front + found.back)
        return (
            f"its Conv would have {weights:,} weights, more than {_MAX_WEIGHTS:,}" if weights > _MAX_WEIGHTS else None
        )

    def replace(self, found: _Pad, build: Builder, context: Context) -> Sequence[ir.Value]:
        c = found.channels
        weight = np.pad(np.eye(c, dtype=np.float32), ((found.front, found.back), (0, 0)))
        bias = np.pad(np.zeros(c, np.float32), (found.front, found.back), constant_values=found.value)
        return [build.pointwise(found.x, weight, bias if found.value else None)]
