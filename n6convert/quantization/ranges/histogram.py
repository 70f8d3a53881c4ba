"""A histogram that grows with its data: constant memory, one pass, no range known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.quantization.stable import rounded

__all__ = ["Histogram"]

#: least span: that of the smallest values would overflow when it divides
_LEAST = 2.0**-100


class Histogram:
    """Counts on ``2 * half`` equal bins over [-span, span); the span doubles when a value falls outside.

    Bin edges are always ``span * k / half``; doubling merges neighboring pairs of bins, so the counts equal those of
    a histogram made at once over the final span.

    Args:
        half: bins on each side of zero, an even number.
    """

    def __init__(self, half: int = 2048) -> None:
        self.half = half
        self.span = 0.0
        self.counts: NDArray[np.int64] = np.zeros(2 * half, np.int64)

    @property
    def width(self) -> float:
        """Width of one bin."""
        return self.span / self.half

    @property
    def edges(self) -> NDArray[np.float64]:
        """The ``2 * half + 1`` edges."""
        return np.arange(-self.half, self.half + 1, dtype=np.float64) * self.width

    @property
    def centers(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return (np.arange(-self.half, self.half, dtype=np.float64) + 0.5) * self.width

    def add(self, values: NDArray[Any], largest: float) -> None:
        """Count values whose absolute values are at most ``largest``."""
        self._cover(largest)
        if self.span == 0:
            self.counts[self.half] += values.size
            return
        places = values.reshape(-1) * np.float32(self.half / self.span)  # exact: a power of two
        np.floor(places, out=places)
        places += np.float32(self.half)
        if largest > self.span:  # by less than the rounding in `_cover`
            np.maximum(places, 0, out=places)
        counts = np.bincount(places.astype(np.intp), minlength=2 * self.half)
        if counts.size > 2 * self.half:  # values of `span`, or hardly beyond
            counts[2 * self.half - 1] += counts[2 * self.half :].sum()
            counts = counts[: 2 * self.half]
        self.counts += counts

    def summary(self, bins: int = 48) -> dict[str, Any]:
        """The occupied part in few bins, for a picture: ``low``, ``high`` and ``counts``, JSON-ready."""
        occupied = np.flatnonzero(self.counts)
        if not occupied.size:
            return {"low": 0.0, "high": 0.0, "counts": []}
        first, last = int(occupied[0]), int(occupied[-1]) + 1
        parts = np.array_split(self.counts[first:last], min(bins, last - first))
        edges = self.edges
        return {"low": float(edges[first]), "high": float(edges[last]), "counts": [int(p.sum()) for p in parts]}

    def _cover(self, largest: float) -> None:
        if largest <= self.span:
            return
        largest = float(rounded(largest))  # or noise around a power of two would double the span
        if largest == 0:
            return
        if self.span == 0:
            self.span = max(float(2.0 ** np.ceil(np.log2(largest))), _LEAST)
        while largest > self.span:
            self._double()

    def _double(self) -> None:
        quarter = self.half // 2
        merged = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.zeros_like(self.counts)
        self.counts[quarter : quarter + self.half] = merged
        self.span *= 2
