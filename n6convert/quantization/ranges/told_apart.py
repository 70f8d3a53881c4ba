"""Which part of a tensor's values its consumers tell apart.

A HardSwish gives 0 for everything below -3, a Tanh nearly 1 for everything above 4. Where values reach far beyond such
points, as in front of hard gates, a grid for all of them spends most of its codes on one result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from n6convert.quantization.grid.affine import CODE_MAX, CODE_MIN
from n6convert.quantization.ranges.consumers import Functions

__all__ = ["told_apart"]

_EVERYTHING = (-np.inf, np.inf)
#: places of a range at which the consumers' results are looked at
_PLACES = 1025
#: places at an end that are worth leaving out: a 32nd of the range
_FEWEST = _PLACES // 32
#: steps of an INT8 grid over a function's results within which two of them are the same
_SAME = 1 / 8


def told_apart(low: float, high: float, functions: Functions) -> tuple[float, float]:
    """The range beyond whose ends every consumer makes one and the same result; infinite ends where there are none.

    Args:
        low: smallest value of the tensor.
        high: largest one.
        functions: what its consumers make of each value.
    """
    places = np.linspace(low, high, _PLACES, dtype=np.float32)
    results = functions(places)
    if not low < high or not results or not all(np.isfinite(r).all() for r in results):
        return _EVERYTHING
    first, last = (min(_alike(r[::way]) for r in results) for way in (1, -1))
    if first + last >= _PLACES:
        return _EVERYTHING
    return float(places[first]) if first else -np.inf, float(places[-1 - last]) if last else np.inf


def _alike(results: NDArray[np.float32]) -> int:
    """The last place up to which the results are the same as the first one; 0 where that is hardly any."""
    step = float(np.ptp(results)) / (CODE_MAX - CODE_MIN)
    differs = np.abs(results - results[0]) > _SAME * step
    last = int(np.argmax(differs)) - 1
    return last if last >= _FEWEST else 0
