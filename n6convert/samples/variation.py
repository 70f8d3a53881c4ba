"""Other samples like a given one: what a camera might have seen a little differently."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from n6convert.samples.base import Sample

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["varied"]

#: least share of each side that a crop keeps, and of the brightness
_CROP, _LIGHT = 0.75, 0.3


def varied(sample: Sample, draw: Generator) -> Sample:
    """An image mirrored, cropped, lighter or darker by chance, without its label; other samples as they are."""
    image = sample.data
    if not isinstance(image, np.ndarray) or image.ndim != 3 or min(image.shape[:2]) < 2:
        return sample
    sizes = [max(int(n * draw.uniform(_CROP, 1.0)), 1) for n in image.shape[:2]]
    top, left = (int(draw.integers(n - size + 1)) for n, size in zip(image.shape[:2], sizes, strict=True))
    part = image[top : top + sizes[0], left : left + sizes[1]]
    part = part[:, ::-1] if draw.random() < 0.5 else part
    light = draw.uniform(1 - _LIGHT, 1 + _LIGHT)
    changed = np.clip(np.rint(part.astype(np.float32) * light), 0, 255).astype(image.dtype)
    return replace(sample, data=np.ascontiguousarray(changed), label=None)
