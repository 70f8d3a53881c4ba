"""Numbers and choices that do not hang on the last bits of float32.

A float model gives other last bits on another CPU: instruction sets add in different orders, which moves a value by
about a millionth of its tensor's largest one. Whatever is decided from such values goes through here: ranges and
factors are rounded before anything is computed from them, and of candidates that are equally good the first one wins.
That leaves a choice open to chance only where a value lies within that millionth of a rounding's middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DECIBEL", "SHARE", "best_of", "exceeds", "first_least", "rounded", "rounded_factors"]

#: significant bits of a measured range: its end moves by half a step of the INT8 grid at most
_BITS = 9
#: factors of channels are powers of 2 to this share
_FACTOR = 1 / 16
#: errors that differ by less than this share are equal
SHARE = 1e-4
#: decibels that differ by less are equal
DECIBEL = 1e-3
_T = TypeVar("_T")


def rounded(values: ArrayLike, bits: int = _BITS) -> NDArray[np.float64]:
    """The nearest numbers with so many significant bits; what is not finite stays."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    return np.asarray(np.ldexp(np.rint(mantissa * 2**bits), exponent - bits), np.float64)


def rounded_factors(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest powers of 2 to a sixteenth, of positive numbers."""
    powers: NDArray[np.float64] = np.exp2(np.rint(np.log2(factors) / _FACTOR) * _FACTOR)
    return powers


def first_least(errors: Sequence[float] | NDArray[np.float64]) -> int:
    """The first of the errors that is no larger than the least, but for :data:`SHARE`; NaN counts as the largest."""
    known = np.nan_to_num(np.asarray(errors, np.float64), nan=np.inf)
    return int(np.argmax(known <= known.min() * (1 + SHARE)))


def exceeds(decibel: float, other: float) -> bool:
    """Whether a figure in dB is larger than another by more than noise."""
    return decibel > other + DECIBEL


def best_of(candidates: Iterable[_T], decibel: Callable[[_T], float]) -> _T:
    """The first candidate that none exceeds."""
    found = list(candidates)
    top = max(decibel(c) for c in found)
    return next(c for c in found if not exceeds(top, decibel(c)))
