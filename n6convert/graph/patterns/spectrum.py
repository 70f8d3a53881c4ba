"""Fourier transforms as matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fourier_matrix"]


def fourier_matrix(size: int, parts: int, bins: int, *, inverse: bool = False) -> NDArray[Any]:
    """What each sample of a signal adds to each bin of its discrete Fourier transform.

    Args:
        size: samples.
        parts: of a sample: 1 for real ones, 2 for real and imaginary part.
        bins: that are wanted, from the lowest on.
        inverse: of the inverse transform, which divides by the size.

    Returns:
        ``[size, parts, bins, 2]``, double precision.
    """
    turns = np.outer(np.arange(size), np.arange(bins)) % size / size
    angle = (2 if inverse else -2) * np.pi * turns
    of_real = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    of_imaginary = np.stack([-np.sin(angle), np.cos(angle)], axis=-1)
    matrix: NDArray[Any] = np.stack([of_real, of_imaginary][:parts], axis=1)
    return matrix / size if inverse else matrix
