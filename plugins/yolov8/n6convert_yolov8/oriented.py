"""Boxes that are turned about their center: corners, and how alike two of them are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["corners", "likeness", "turn"]

Floats = NDArray[Any]
_EPSILON = 1e-7


def turn(offsets: Floats, angles: Floats) -> Floats:
    """``[n, 2]`` offsets x, y turned by ``[n]`` radians (from x towards y)."""
    cos, sin = np.cos(angles), np.sin(angles)
    x, y = offsets[:, 0], offsets[:, 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], 1)


def corners(boxes: Floats, angles: Floats) -> Floats:
    """``[n, 4, 2]`` corners in order around each box, from ``[n, 4]`` x1, y1, x2, y2 before the turn."""
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    return np.stack([center + turn(half * np.array(s, boxes.dtype), angles) for s in signs], 1)


def likeness(box: Floats, angle: Floats, others: Floats, angles: Floats) -> Floats:
    """ProbIoU of one oriented box with others ``[n]``: 1 for equal ones, near 0 for those apart.

    Boxes are taken as the normal distributions with their center and moments; of two, ``1 - sqrt(1 - exp(-d))`` with
    Bhattacharyya's distance d (Murrugarra-Llerena et al., 2021). It is what oriented detectors of this family suppress
    by, and needs no clipping of polygons.

    Args:
        box: center, width and height.
        angle: in radians.
        others: ``[n, 4]``.
        angles: ``[n]``.
    """
    a, b, c = (p[0] + q for p, q in zip(_moments(box[None], angle[None]), _moments(others, angles), strict=True))
    x, y = ((others[:, :2] + others[:, 2:] - box[:2] - box[2:]) / 2).T
    determinant = np.maximum(a * b - c * c, 0)
    shift = (a * y * y + b * x * x - 2 * c * x * y) / (4 * (determinant + _EPSILON))
    own, their = _area_moment(box[None]), _area_moment(others)
    shape = np.log(determinant / (4 * np.sqrt(own * their) + _EPSILON) + _EPSILON) / 2
    distance = (shift + shape).clip(_EPSILON, 100)
    return np.asarray(1 - np.sqrt(1 - np.exp(-distance) + _EPSILON))


def _moments(boxes: Floats, angles: Floats) -> tuple[Floats, Floats, Floats]:
    """Variances along x and y and their covariance."""
    wide, high = ((boxes[:, 2:] - boxes[:, :2]) ** 2 / 12).T
    cos, sin = np.cos(angles), np.sin(angles)
    return wide * cos**2 + high * sin**2, wide * sin**2 + high * cos**2, (wide - high) * cos * sin


def _area_moment(boxes: Floats) -> Floats:
    """Determinant of the covariance, which turning leaves as it is."""
    sides = (boxes[:, 2:] - boxes[:, :2]) ** 2 / 12
    return np.asarray(sides.prod(1))
