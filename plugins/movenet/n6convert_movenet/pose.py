"""From heat maps to keypoints.

Int8 heat maps tie: in about one map in eight several cells share the highest value, and the first of them lies up and
left of the true place. So plain heat maps are read finer than ST's post-processing does, which takes the middle of the
highest cell: the center of mass around it. The four heads are read as Google's CropAndDecode reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_four_heads", "decode_heatmaps"]

Array = NDArray[Any]
#: cells on each side of the highest that take part in the center of mass
_REACH = 2
#: added to distances before dividing by them, in cells (the constant of Google's CropAndDecode)
_SOFTENING = 1.8


def decode_heatmaps(heatmaps: Array) -> Array:
    """Keypoints at the center of mass of the 5 x 5 cells around the highest cell of every map.

    Args:
        heatmaps: [1,K,H,W]; negative values weigh nothing.

    Returns:
        [K,3]: x and y as shares of the input's width and height, score.
    """
    _, keypoints, height, width = heatmaps.shape
    flat = heatmaps.reshape(keypoints, -1)
    rows, columns = np.divmod(flat.argmax(1), width)
    weights = np.pad(np.maximum(heatmaps[0], 0).astype(np.float64), ((0, 0), (_REACH, _REACH), (_REACH, _REACH)))
    steps = np.arange(2 * _REACH + 1)
    down, right = rows[:, None, None] + steps[:, None], columns[:, None, None] + steps
    window = weights[np.arange(keypoints)[:, None, None], down, right]
    mass = np.maximum(window.sum((1, 2)), 1e-12)
    shift = [(window.sum(axis) * (steps - _REACH)).sum(1) / mass for axis in (1, 2)]
    return np.stack([(columns + shift[0] + 0.5) / width, (rows + shift[1] + 0.5) / height, flat.max(1)], 1)


def decode_four_heads(outputs: Mapping[str, Array]) -> Array:
    """Keypoints of the most central person (Google's CropAndDecode).

    The center with the highest score, divided by its distance from the middle of the image, names the person; the
    regression there says where each keypoint should be; the heat map's best cell near that place (again divided by
    the distance) is it, moved by the offset read there.

    Args:
        outputs: ``center`` [1,1,H,W], ``heatmaps`` [1,K,H,W], ``regression`` and ``offsets`` [1,2K,H,W] with y and x
            of each keypoint in turn, in cells.

    Returns:
        [K,3]: x and y as shares of the input's width and height, score.
    """
    center, heatmaps = outputs["center"][0, 0], outputs["heatmaps"][0]
    keypoints, height, width = heatmaps.shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float64)
    middle = center / (np.hypot(ys - height / 2, xs - width / 2) + _SOFTENING)
    row, column = np.unravel_index(int(middle.argmax()), middle.shape)
    coarse = outputs["regression"][0, :, row, column].reshape(keypoints, 2) + (row, column)
    distance = np.hypot(ys[None] - coarse[:, 0, None, None], xs[None] - coarse[:, 1, None, None])
    best = (heatmaps / (distance + _SOFTENING)).reshape(keypoints, -1).argmax(1)
    rows, columns = best // width, best % width
    index = np.arange(keypoints)
    offsets = outputs["offsets"][0].reshape(keypoints, 2, height, width)[index, :, rows, columns]
    score = heatmaps[index, rows, columns]
    return np.stack([(columns + offsets[:, 1]) / width, (rows + offsets[:, 0]) / height, score], 1)
