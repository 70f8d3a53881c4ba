"""Images on their way into a model, and drawings of what comes out."""

from n6convert.builtin.classifier import ImageClassifier
from n6convert.builtin.images import ImageFormat
from n6convert.imaging import (
    Letterbox,
    draw_boxes,
    draw_points,
    draw_polygons,
    letterbox,
    resize,
    side_by_side,
    tint_masks,
)

__all__ = [
    "ImageClassifier",
    "ImageFormat",
    "Letterbox",
    "draw_boxes",
    "draw_points",
    "draw_polygons",
    "letterbox",
    "resize",
    "side_by_side",
    "tint_masks",
]
