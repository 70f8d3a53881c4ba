"""What was found in an image: suppression of what repeats, places in the sample's own pixels, masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.plugin.images import Letterbox
from n6convert_yolov8.decode import Candidates
from n6convert_yolov8.oriented import corners, likeness

__all__ = ["Detections", "placed", "suppress"]

Array = NDArray[np.float32]
#: candidates that are looked at at most, best first, as COCO evaluation of YOLO networks does
_MAX_CANDIDATES = 30_000
#: pixels of the input beside each other for one of a prototype
_PROTOTYPE_STRIDE = 4


@dataclass(frozen=True)
class Detections:
    """What was found, best first.

    Attributes:
        boxes: ``[n, 4]`` x1, y1, x2, y2 in pixels of the sample (of the input when no sample was given); of oriented
            boxes the upright ones around them.
        scores: ``[n]`` probabilities.
        classes: ``[n]`` class numbers.
        keypoints: ``[n, count, 3]`` x, y, visibility probability; None without keypoints.
        masks: ``[n, h, w]`` bool, over the whole image; None without masks.
        corners: ``[n, 4, 2]`` corners of oriented boxes; None for upright ones.
    """

    boxes: Array
    scores: Array
    classes: NDArray[np.int64]
    keypoints: Array | None = None
    masks: NDArray[np.bool_] | None = None
    corners: Array | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        return self._of(self.scores >= score)

    def _of(self, keep: NDArray[Any]) -> Detections:
        points, masks, around = (None if a is None else a[keep] for a in (self.keypoints, self.masks, self.corners))
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep], points, masks, around)


@dataclass(frozen=True)
class Survivors:
    """What suppression leaves, in input pixels: rows of the candidates, their classes and scores, best first."""

    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    scores: Array


def suppress(
    found: Candidates, *, confidence: float, iou: float | None, limit: int, multi_label: bool = False
) -> Survivors:
    """Non-maximum suppression within each class.

    Args:
        found: all anchors.
        confidence: least score.
        iou: overlap (of oriented boxes: likeness) above which the weaker box of a class goes; None keeps all, for heads
            that find each object once.
        limit: detections at most.
        multi_label: let one box stand for several classes, as COCO evaluation does; otherwise for its best one.
    """
    if multi_label:
        rows, classes = np.nonzero(found.scores >= confidence)
    else:
        classes = found.scores.argmax(1)
        rows = np.flatnonzero(found.scores[np.arange(len(classes)), classes] >= confidence)
        classes = classes[rows]
    scores = found.scores[rows, classes]
    order = np.argsort(-scores, kind="stable")[: limit if iou is None else _MAX_CANDIDATES]
    rows, classes, scores = rows[order], classes[order], scores[order]
    if iou is not None:
        angles = None if found.angles is None else found.angles[rows]
        keep = _greedy(found.boxes[rows], angles, classes, iou, limit)
        rows, classes, scores = rows[keep], classes[keep], scores[keep]
    return Survivors(rows, classes.astype(np.int64), scores)


def placed(
    found: Candidates, kept: Survivors, size: tuple[int, int], image: tuple[int, int] | None = None
) -> Detections:
    """Detections in pixels of an image that was letterboxed into the input, or of the input itself.

    Args:
        found: all anchors.
        kept: which of them remain.
        size: the input's height and width.
        image: the image's height and width; None for places in the input.
    """
    place = Letterbox.fit(image or size, size)
    rows = kept.rows
    result = Detections(place.to_image(found.boxes[rows]), kept.scores, kept.classes)
    if found.angles is not None:
        around = corners(result.boxes, found.angles[rows])
        result = replace(result, corners=around, boxes=np.concatenate([around.min(1), around.max(1)], 1))
    if image is not None:
        result.boxes[:, 0::2], result.boxes[:, 1::2] = (result.boxes[:, i::2].clip(0, image[1 - i]) for i in range(2))
    if found.keypoints is not None:
        points = found.keypoints[rows]
        result = replace(result, keypoints=np.concatenate([place.to_image(points[..., :2]), points[..., 2:]], 2))
    if found.coefficients is not None and found.prototypes is not None:
        masks = _masks(found.coefficients[rows], found.prototypes, result.boxes, place, image or size)
        result = replace(result, masks=masks)
    return result


def _masks(
    coefficients: Array, prototypes: Array, boxes: Array, place: Letterbox, image: tuple[int, int]
) -> NDArray[np.bool_]:
    """Where each detection's weighted sum of prototypes is above zero, inside its box, ``[n, h, w]``."""
    masks = np.zeros((len(boxes), *image), bool)
    for mask, weights, box in zip(masks, coefficients, boxes, strict=True):
        x1, y1 = np.floor(box[:2]).astype(int).clip(0)
        x2, y2 = (np.ceil(box[2:]).astype(int)).clip(None, [image[1], image[0]])
        if x2 <= x1 or y2 <= y1:
            continue
        across = _Samples.of(np.arange(x1, x2), place.scale, place.left, prototypes.shape[2])
        down = _Samples.of(np.arange(y1, y2), place.scale, place.top, prototypes.shape[1])
        logits = np.tensordot(weights, prototypes[:, down.first : down.last, across.first : across.last], 1)
        rows = logits[down.low] * (1 - down.part)[:, None] + logits[down.high] * down.part[:, None]
        values = rows[:, across.low] * (1 - across.part) + rows[:, across.high] * across.part
        mask[y1:y2, x1:x2] = values > 0
    return masks


@dataclass(frozen=True)
class _Samples:
    """Where pixels lie between the prototypes' along one axis: two neighbors and the share of the second one."""

    first: int
    last: int
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    part: Array

    @classmethod
    def of(cls, pixels: NDArray[Any], scale: float, start: int, count: int) -> _Samples:
        at = (((pixels + 0.5) * scale + start) / _PROTOTYPE_STRIDE - 0.5).clip(0, count - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, count - 1)
        first = int(low.min())
        return cls(first, int(high.max()) + 1, low - first, high - first, (at - low).astype(np.float32))


def _greedy(boxes: Array, angles: Array | None, classes: NDArray[Any], iou: float, limit: int) -> NDArray[np.int64]:
    """Indices that survive; boxes come best first. Classes are kept apart by moving them to places of their own."""
    span = float(np.abs(boxes).max(initial=0)) * 2 + 1
    apart = boxes.astype(np.float64) + classes[:, None] * span
    areas = (apart[:, 2:] - apart[:, :2]).clip(0).prod(1)
    left = np.arange(len(apart))
    keep: list[int] = []
    while len(left) and len(keep) < limit:
        best, left = int(left[0]), left[1:]
        keep.append(best)
        if angles is not None:
            same = classes[left] == classes[best]
            alike = likeness(apart[best], angles[best], apart[left], angles[left])
            left = left[~same | (alike <= iou)]
            continue
        overlap = _overlap(apart[best], apart[left])
        left = left[overlap <= iou * (areas[best] + areas[left] - overlap)]
    return np.array(keep, np.int64)


def _overlap(box: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return np.asarray((high - low).clip(0).prod(1))
