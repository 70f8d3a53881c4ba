"""Ranges of tensors from their statistics, one function a method."""

from __future__ import annotations

import numpy as np

from n6convert.quantization.calibrate import Statistics
from n6convert.quantization.histogram import Histogram

__all__ = ["Range", "percentile_range", "tensor_range"]

Range = tuple[float, float]


def tensor_range(statistics: Statistics, method: str, percentile: float) -> Range:
    """The range of one tensor by the named method (see :class:`QuantizationConfig`)."""
    if method == "moving-average":
        return statistics.moving_low, statistics.moving_high
    if method == "percentile" and statistics.histogram is not None:
        return _inside(percentile_range(statistics.histogram, percentile), statistics)
    return statistics.low, statistics.high


def percentile_range(histogram: Histogram, percentile: float) -> Range:
    """The range that leaves ``(100 - percentile) / 2`` percent of the values outside on each side."""
    share = (100.0 - percentile) / 200.0
    cumulative = np.cumsum(histogram.counts) / max(int(histogram.counts.sum()), 1)
    first = int(np.searchsorted(cumulative, share, side="right"))
    last = int(np.searchsorted(cumulative, 1.0 - share, side="left"))
    return float(histogram.edges[first]), float(histogram.edges[last + 1])


def _inside(found: Range, statistics: Statistics) -> Range:
    """Bin edges reach beyond the values they hold: never leave the range that was seen."""
    return max(found[0], statistics.low), min(found[1], statistics.high)
