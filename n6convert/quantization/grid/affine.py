"""The int8 grid of a tensor: ``value = scale * (code - zero_point)`` with codes -128..127."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CODE_MAX", "CODE_MIN", "NARROW", "Grid"]

CODE_MIN, CODE_MAX = -128, 127
#: least and largest code of a weight in four bits: of so few codes none is left out
NARROW = -8, 7
_SPAN = CODE_MAX - CODE_MIN
#: below this a float32 scale is useless: products of two such scales would leave the normal numbers
_SMALLEST_SCALE = 1e-15


@dataclass(frozen=True)
class Grid:
    """An asymmetric int8 grid on which zero is exact.

    Attributes:
        scale: distance of two neighboring values, a float32 number.
        zero_point: the code of the value 0.
    """

    scale: float
    zero_point: int

    @classmethod
    def from_range(cls, low: float, high: float) -> Grid:
        """The grid that spans [low, high], widened to contain 0.

        A range of no width gives scale 1 and zero point 0; one as wide on both sides gives zero point 0.
        """
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        scale = np.float32((high - low) / _SPAN)
        if not scale > _SMALLEST_SCALE:
            return cls(1.0, 0)
        if abs(low + high) < 1e-6 * high:
            return cls(float(scale), 0)
        zero_point = round(CODE_MIN - low / float(scale))
        return cls(float(scale), int(np.clip(zero_point, CODE_MIN, CODE_MAX)))

    @property
    def low(self) -> float:
        """Smallest value on the grid."""
        return self.scale * (CODE_MIN - self.zero_point)

    @property
    def high(self) -> float:
        """Largest value on the grid."""
        return self.scale * (CODE_MAX - self.zero_point)

    def codes(self, values: NDArray[Any]) -> NDArray[np.int8]:
        """Nearest codes, saturating; ties to even, as QuantizeLinear rounds."""
        codes = np.rint(values / np.float32(self.scale)) + self.zero_point
        clipped: NDArray[np.int8] = np.clip(codes, CODE_MIN, CODE_MAX).astype(np.int8)
        return clipped

    def values(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        """The values of codes, as DequantizeLinear gives them."""
        return (codes.astype(np.int32) - self.zero_point).astype(np.float32) * np.float32(self.scale)

    def round(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values moved to the grid."""
        return self.values(self.codes(values))
