"""A large kernel with a stride on few channels as space-to-depth and a small kernel on many: the same products.

With blocks of b pixels, b a divisor of the stride s, ``x[c, b i + dy, b j + dx]`` is channel ``(dy, dx, c)`` of pixel
``(i, j)``; the kernel is cut along the same blocks and strides over ``s / b``. Space-to-depth is a convolution of
single ones, exact in 8 bits. The first layer of a ResNet (7x7, stride 2) and the patches of a vision transformer
(16x16, stride 16) use three of a unit's eight input channels, and kernels wider than six are split ([#geometry],
[#convolution-plan]).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.conv import conv_parameters
from n6convert.graph.query import Array, attribute, constant_of, shape_of
from n6convert.rewrites.isolated import isolated_latency
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["StridedConvByBlocks"]

_FEW_CHANNELS = 8
_BLOCKS = (2, 4, 8)


@dataclass
class _Strided:
    x: ir.Value
    weight: Array
    bias: Array
    stride: int
    pads: tuple[int, ...]
    """Rows and columns in front of and behind the map."""
    shape: tuple[int, ...]


class StridedConvByBlocks(Rewrite[_Strided]):
    """Write a strided Conv of few channels as space-to-depth and a smaller Conv."""

    name = "strided-conv-by-blocks"
    roots = frozenset({"Conv"})

    def __init__(self) -> None:
        self._times: dict[tuple[object, ...], dict[int, float]] = {}

    def pattern(self, node: ir.Node) -> _Strided | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        strides = attribute(node, "strides") or [1, 1]
        if x is None or full is None or len(full) != 4 or full[1] > _FEW_CHANNELS or strides[0] != strides[1]:
            return None
        if any(constant_of(v) is None for v in node.inputs[1:]) or attribute(node, "group", 1) != 1:
            return None
        if set(attribute(node, "dilations") or [1]) != {1} or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
            return None
        found = _Strided(x, *conv_parameters(node), strides[0], tuple(attribute(node, "pads") or [0] * 4), full)
        return found if min(found.weight.shape[2:]) > 3 and _blocks(found) else None

    def check(self, found: _Strided, context: Context) -> str | None:
        times = self._weighed(found, context)
        best = min(_blocks(found), key=lambda b: times.get(b, 0.0))
        if times.get(1, math.inf) < times.get(best, 0.0):
            return f"the Conv alone is predicted at {times[1]:.3f} ms, with blocks of {best} at {times[best]:.3f} ms"
        return None

    def because(self, found: _Strided, context: Context) -> str:
        times = self._weighed(found, context)
        best = min(_blocks(found), key=lambda b: times.get(b, 0.0))
        others = ", ".join(
            f"{'as it is' if b == 1 else f'blocks of {b}'} {t:.3f}" for b, t in times.items() if b != best
        )
        return f"blocks of {best} alone {times[best]:.3f} ms instead of {others} ms" if times else ""

    def replace(self, found: _Strided, build: Builder, context: Context) -> Sequence[ir.Value]:
        times = self._weighed(found, context)
        return [_write(build, found.x, found, min(_blocks(found), key=lambda b: times.get(b, 0.0)))]

    def _weighed(self, found: _Strided, context: Context) -> dict[int, float]:
        key = (found.shape, found.weight.shape, found.stride, found.pads)
        if context.timer is not None and key not in self._times:
            self._times[key] = {
                b: isolated_latency(context, [found.shape], lambda build, x, b=b: _write(build, x, found, b))
                for b in (1, *_blocks(found))
            }
        return self._times.get(key, {})


def _blocks(found: _Strided) -> list[int]:
    """Sizes of blocks that divide the stride and the map."""
    sides = (found.stride, *found.shape[2:])
    return [b for b in _BLOCKS if all(side % b == 0 for side in sides)]


def _write(build: Builder, x: ir.Value, found: _Strided, block: int) -> ir.Value:
    bias = found.bias if found.bias.any() else None
    if block == 1:
        return build.conv(x, found.weight, bias, strides=[found.stride] * 2, pads=list(found.pads))
    channels = found.shape[1]
    # pixels that the pads of whole blocks have in front of those of the kernel
    ahead = [-found.pads[i] % block for i in (0, 1)]
    pads = [(found.pads[i] + ahead[i]) // block for i in (0, 1)]
    behind = [-(found.weight.shape[2 + i] + ahead[i]) % block for i in (0, 1)]
    wide = np.pad(found.weight, ((0, 0), (0, 0), (ahead[0], behind[0]), (ahead[1], behind[1])))
    o, _, kh, kw = wide.shape
    cut = wide.reshape(o, channels, kh // block, block, kw // block, block).transpose(0, 3, 5, 1, 2, 4)
    small = cut.reshape(o, block * block * channels, kh // block, kw // block)
    blocks = build.conv(x, _corners(channels, block), strides=[block] * 2)
    ends = [_behind(found, i, block, pads[i], small.shape[2 + i]) for i in (0, 1)]
    return build.conv(blocks, small, bias, strides=[found.stride // block] * 2, pads=[*pads, *ends])


def _behind(found: _Strided, axis: int, block: int, pad: int, kernel: int) -> int:
    """Padding behind, in blocks, that gives the length the original has."""
    side, step = found.shape[2 + axis], found.stride
    length = (side + found.pads[axis] + found.pads[axis + 2] - found.weight.shape[2 + axis]) // step + 1
    return int(max((length - 1) * (step // block) + kernel - side // block - pad, 0))


def _corners(channels: int, block: int) -> Array:
    """Kernels ``[b b C, C, b, b]`` that pick pixel (dy, dx) of channel c for output (dy, dx, c)."""
    return np.eye(block * block * channels, dtype=np.float32).reshape(-1, block, block, channels).transpose(0, 3, 1, 2)
