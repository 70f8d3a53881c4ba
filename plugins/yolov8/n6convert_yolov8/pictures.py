"""Drawings of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from n6convert.plugin.images import draw_boxes, draw_points, draw_polygons, side_by_side, tint_masks
from n6convert_yolov8.detections import Detections
from n6convert_yolov8.names import SKELETON

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_detections"]


def draw_detections(image: NDArray[Any], predictions: Sequence[Detections], names: Sequence[str]) -> Image:
    """The image ``[h, w, 3]`` once for each prediction, side by side: float first, then INT8.

    Args:
        image: uint8 ``[h, w, 3]``.
        predictions: float first, then INT8.
        names: of the classes.
    """
    titles = ("float", "INT8", *(f"prediction {i}" for i in range(3, len(predictions) + 1)))
    return side_by_side([_picture(image, found, names) for found in predictions], titles[: len(predictions)])


def _picture(image: NDArray[Any], found: Detections, names: Sequence[str]) -> Image:
    from PIL import Image as Pil

    colors = [int(c) for c in found.classes]
    pixels = image if found.masks is None else tint_masks(image, found.masks, colors)
    picture = Pil.fromarray(pixels).convert("RGB")
    labels = [f"{names[c] if c < len(names) else c} {s:.2f}" for c, s in zip(colors, found.scores, strict=True)]
    if found.corners is None:
        draw_boxes(picture, found.boxes, labels, colors)
    else:
        draw_polygons(picture, found.corners, labels, colors)
    for points in found.keypoints if found.keypoints is not None else ():
        edges = SKELETON if len(points) == 17 else ()
        draw_points(picture, points, edges, points[:, 2] > 0.5)
    return picture
