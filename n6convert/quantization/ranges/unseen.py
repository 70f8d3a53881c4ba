"""Values beyond those that calibration saw: how far, and how many, from the extremes of single samples.

The largest value of n samples is exceeded by the next one with a chance of ``1 / (n + 1)``. In a map of 100,000 values
that is nothing; in a pooled vector of 16 it is a share of 0.2 % that saturates, which weighs more than all rounding.
How far such values reach is told by how far the largest samples lie apart: excesses over a high threshold have an
exponential distribution, whose scale is their mean (Pickands 1975; shape 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappush, heappushpop

import numpy as np
from numpy.typing import NDArray

from n6convert.quantization.stable import rounded

__all__ = ["Extremes", "Tail"]

#: the largest samples that tell the scale: this share of all of them, and so many at most
_SHARE, _MOST = 0.25, 8
#: significant bits in which the extremes of two samples agree where something bounds them
_SAME = 16
#: means of the quarters of an exponential distribution of scale 1
_QUARTERS = np.array([0.13695, 0.47664, 1.0, 2.38629])
#: scales beyond the seen values that a range may reach
_REACH = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0])


@dataclass
class Extremes:
    """The largest of each sample's extremes, as many as tell how the next ones are spread."""

    kept: list[float] = field(default_factory=list)
    count: int = 0

    def add(self, extreme: float) -> None:
        """Take the extreme of one sample."""
        self.count += 1
        if len(self.kept) <= _MOST:
            heappush(self.kept, extreme)
        else:
            heappushpop(self.kept, extreme)

    def scale(self) -> float:
        """Mean distance of values beyond the largest from it; 0 where too few samples tell, or two reach one bound."""
        used = min(int(self.count * _SHARE), _MOST)
        ordered = sorted(self.kept, reverse=True)
        if not used or np.ptp(rounded(ordered[:2], _SAME)) == 0:
            return 0.0
        return float(np.mean(rounded(ordered[:used]) - rounded(ordered[used])))


@dataclass(frozen=True)
class Tail:
    """Values of one tensor that are to be expected beyond the seen ones.

    Attributes:
        values: their places.
        counts: how many there are of each, in units of the tensor's histogram.
        spans: ranges that hold what was seen and more and more of them, what was seen first.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.float64]
    spans: list[tuple[float, float]]

    @classmethod
    def beyond(
        cls, seen: tuple[float, float], scales: tuple[float, float], bounds: tuple[float, float], count: float
    ) -> Tail:
        """The tail of a tensor whose extremes are spread by ``scales``; a side of one sign keeps it.

        Args:
            seen: least and largest value of the samples.
            scales: spread of the samples' own extremes, below and above.
            bounds: that no value passes.
            count: of values in the tail, in units of the histogram.
        """
        low, high = seen
        down, up = scales[0] * (low < 0), scales[1] * (high > 0)
        sides = [low - down * _QUARTERS[: 4 * (down > 0)], high + up * _QUARTERS[: 4 * (up > 0)]]
        values = np.clip(np.concatenate(sides), min(low, bounds[0]), max(high, bounds[1]))
        lows, highs = np.meshgrid(np.unique(low - down * _REACH)[::-1], np.unique(high + up * _REACH), indexing="ij")
        lows, highs = np.clip(lows, min(low, bounds[0]), low), np.clip(highs, high, max(high, bounds[1]))
        spans = list(dict.fromkeys(zip(lows.ravel().tolist(), highs.ravel().tolist(), strict=True)))
        return cls(values, np.full(values.size, count / _QUARTERS.size), spans)
