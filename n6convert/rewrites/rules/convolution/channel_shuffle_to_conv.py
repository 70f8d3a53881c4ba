"""A permutation of channels is a 1x1 Conv with ones: the channel shuffle of grouped networks, exact in 8 bits.

``[1, g n, h, w] -> [g, n, h, w] -> [n, g, h, w] -> [1, n g, h, w]`` is a (0,2,1,3) transpose, CPU work ([#layout]). The
Conv merges with a convolution next to it (:mod:`n6convert.rewrites.rules.convolution.merge_convs`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.layout import ends_chain, layout_chain, layout_of
from n6convert.graph.query import Array, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ChannelShuffleToConv"]

_MAX_CHANNELS = 512


@dataclass
class _Shuffle:
    x: ir.Value
    order: Array
    """The channel of x that every channel of the result is."""


class ChannelShuffleToConv(Rewrite[_Shuffle]):
    """Write a permutation of channels as a 1x1 Conv."""

    name = "channel-shuffle-to-conv"
    roots = frozenset({"Reshape"})
    late = True

    def pattern(self, node: ir.Node) -> _Shuffle | None:
        result = shape_of(node.outputs[0])
        if result is None or len(result) != 4 or not ends_chain(node.outputs[0]):
            return None
        x, nodes = layout_chain(node.outputs[0])
        layout = layout_of(nodes)
        if layout is None or shape_of(x) != result or result[0] != 1 or not is_float(x) or len(layout.blocks) < 3:
            return None
        order = _channels(layout.blocks, layout.perm, math.prod(result[2:]))
        return None if order is None else _Shuffle(x, order)

    def check(self, found: _Shuffle, context: Context) -> str | None:
        count = len(found.order)
        return f"its Conv would have {count} channels, more than {_MAX_CHANNELS}" if count > _MAX_CHANNELS else None

    def replace(self, found: _Shuffle, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [build.pointwise(found.x, np.eye(len(found.order), dtype=np.float32)[found.order])]


def _channels(blocks: Sequence[int], perm: Sequence[int], pixels: int) -> Array | None:
    """The permutation of channels that a permutation of blocks is, when pixels stay together in the last one."""
    inside, rest = divmod(blocks[-1], pixels)
    if perm[-1] != len(blocks) - 1 or rest:
        return None
    sizes = [*blocks[:-1], inside]
    return np.arange(math.prod(sizes)).reshape(sizes).transpose(perm).reshape(-1)
