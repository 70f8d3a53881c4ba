"""Squares of channels beyond a limit as sums of hinges: ``c*c - T*T = sum(slope * Relu(+-c - t))``, t geometric.

A hinge reads one channel. A few of them are picked by the rows of one pointwise convolution, whose weights are a number
for each hinge and channel. Where many channels have hinges, the first of each are one depthwise convolution of all
channels, the second another, and so on: a number for each channel, which stream from flash in a fraction of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.quantization.prepare.operator_forms import static_dims

__all__ = ["SquareHinges", "square_hinges"]

Array = NDArray[np.float64]
#: a knot is so many times the one before
_RATIO = 1.5
#: predicted time of a depthwise convolution's result on its way to where it is summed up, for each channel and for each
#: value, in weights that stream from flash meanwhile
_A_CHANNEL, _A_VALUE = 15.0, 1.2


@dataclass(frozen=True)
class SquareHinges:
    """Hinges [H]: the channel that each reads, its sign, its knot, its slope, and which of its channel's it is."""

    channel: NDArray[np.intp]
    sign: Array
    start: Array
    slope: Array
    turn: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.channel)

    def map(self, build: Builder, c: ir.Value, readers: int) -> tuple[ir.Value, Array]:
        """The hinges of ``c`` [1, C, h, w] as a map [1, N, h, w], and their slopes [N].

        Args:
            build: gets the nodes.
            c: values by channel.
            readers: rows of the pointwise convolution that sums them up.
        """
        dims = static_dims(c.shape or ir.Shape([]))
        parts, slopes, few = [], [], np.ones(len(self), bool)
        for turn in range(int(self.turn.max()) + 1):
            some = self.turn == turn
            if some.sum() > _worth_all(dims[1], readers, math.prod(dims[2:])):
                few &= ~some
                weight, bias, slope = (self._spread(v, some, dims[1]) for v in (self.sign, -self.start, self.slope))
                parts.append(build.unary("Relu", build.conv(c, weight.reshape(-1, 1, 1, 1), bias, group=dims[1])))
                slopes.append(slope)
        if few.any():
            picks = (self.channel[few, None] == np.arange(dims[1])) * self.sign[few, None]
            parts.append(build.unary("Relu", build.pointwise(c, picks, -self.start[few])))
            slopes.append(self.slope[few])
        return build.concat(parts, axis=1), np.concatenate(slopes)

    def _spread(self, values: Array, some: NDArray[np.bool_], channels: int) -> Array:
        """A number for each channel, 0 for those without."""
        found = np.zeros(channels)
        found[self.channel[some]] = values[some]
        return found


def _worth_all(channels: int, readers: int, rows: int) -> float:
    """Hinges from which a depthwise convolution of all channels is faster than a row for each of them."""
    return channels * (1 + readers + _A_CHANNEL + _A_VALUE * rows) / (channels + readers)


def square_hinges(peaks: Array, limit: float) -> SquareHinges:
    """Hinges whose sum is ``c*c - limit*limit`` beyond the limit.

    Args:
        peaks: how far each channel reaches above and below zero [2, C].
        limit: up to which squares are taken as they are.
    """
    found = list(_hinges(peaks, limit))
    channel, sign, start, slope = (np.array(v) for v in zip(*found, strict=True)) if found else (np.zeros(0),) * 4
    turn = np.array([int(np.sum(channel[:i] == channel[i])) for i in range(len(channel))], np.intp)
    return SquareHinges(channel.astype(np.intp), sign, start, slope, turn)


def _hinges(peaks: Array, limit: float) -> Iterator[tuple[int, float, float, float]]:
    """Channel, sign, knot and slope of each."""
    for side, sign in enumerate((1.0, -1.0)):
        for channel in np.flatnonzero(peaks[side] > limit).tolist():
            count = math.ceil(math.log(peaks[side, channel] / limit) / math.log(_RATIO))
            knots = limit * (peaks[side, channel] / limit) ** (np.arange(count + 1) / count)
            slopes = np.diff(knots[:-1] + knots[1:], prepend=0.0)
            yield from ((channel, sign, float(t), float(s)) for t, s in zip(knots[:-1], slopes, strict=True))
