"""Signal to noise over samples, one at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Noise"]


@dataclass
class Noise:
    """Energy of a signal and of what was added to it, summed over samples."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: NDArray[Any], other: NDArray[Any]) -> None:
        a, b = np.asarray(reference, np.float64), np.asarray(other, np.float64)
        self.signal += float(np.sum(a**2))
        self.noise += float(np.sum((a - b) ** 2))

    @property
    def sqnr_db(self) -> float | None:
        """In dB; None when both were equal."""
        return 10 * math.log10(max(self.signal, 1e-300) / self.noise) if self.noise else None
