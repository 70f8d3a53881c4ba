"""From head outputs to boxes and keypoints, for both forms of the head and in either channel order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.plugin import PluginError
from n6convert_yolov8.architecture import STRIDES
from n6convert_yolov8.head import anchor_points

__all__ = ["Candidates", "Detections", "decode_head", "suppress"]

Array = NDArray[np.float32]
#: candidates that are looked at at most, best first, as COCO evaluation of YOLO networks does
_MAX_CANDIDATES = 30_000


@dataclass(frozen=True)
class Candidates:
    """Every anchor's answer in input pixels.

    Attributes:
        boxes: ``[anchors, 4]`` x1, y1, x2, y2.
        scores: ``[anchors, classes]`` probabilities.
        keypoints: ``[anchors, count, 3]`` x, y, visibility probability; None for detection.
    """

    boxes: Array
    scores: Array
    keypoints: Array | None


@dataclass(frozen=True)
class Detections:
    """What was found, best first.

    Attributes:
        boxes: ``[n, 4]`` x1, y1, x2, y2 in pixels of the sample (of the input when no sample was given).
        scores: ``[n]`` probabilities.
        classes: ``[n]`` class numbers.
        keypoints: ``[n, count, 3]`` x, y, visibility probability; None for detection.
    """

    boxes: Array
    scores: Array
    classes: NDArray[np.int64]
    keypoints: Array | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        keep = self.scores >= score
        points = None if self.keypoints is None else self.keypoints[keep]
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep], points)


def decode_head(
    outputs: Mapping[str, NDArray[Any]], size: tuple[int, int], keypoints: tuple[int, int] | None
) -> Candidates:
    """Decode whatever form the outputs have.

    Args:
        outputs: ``boxes_8`` ... of the cut head, or one tensor of the full head; float.
        size: input height and width in pixels.
        keypoints: count and values per keypoint; None for detection.

    Raises:
        PluginError: the outputs have neither form.
    """
    if f"boxes_{STRIDES[0]}" in outputs:
        return _decode_cut(outputs, size, keypoints)
    if len(outputs) == 1:
        return _decode_full(next(iter(outputs.values())), size, keypoints)
    raise PluginError("the outputs are neither a cut nor a full YOLOv8 head", found=", ".join(outputs))


def suppress(found: Candidates, *, confidence: float, iou: float, limit: int, multi_label: bool = False) -> Detections:
    """Non-maximum suppression within each class.

    Args:
        found: all anchors.
        confidence: least score.
        iou: overlap above which the weaker box of a class goes.
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
    order = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    rows, classes, scores = rows[order], classes[order], scores[order]
    keep = _greedy(found.boxes[rows], classes, iou, limit)
    points = None if found.keypoints is None else found.keypoints[rows[keep]]
    return Detections(found.boxes[rows[keep]], scores[keep], classes[keep].astype(np.int64), points)


def _greedy(boxes: Array, classes: NDArray[Any], iou: float, limit: int) -> NDArray[np.int64]:
    """Indices that survive; boxes come best first. Classes are kept apart by moving them to places of their own."""
    span = float(np.abs(boxes).max(initial=0)) * 2 + 1
    apart = boxes.astype(np.float64) + classes[:, None] * span
    areas = (apart[:, 2:] - apart[:, :2]).clip(0).prod(1)
    left = np.arange(len(apart))
    keep: list[int] = []
    while len(left) and len(keep) < limit:
        best, left = int(left[0]), left[1:]
        keep.append(best)
        overlap = _overlap(apart[best], apart[left])
        left = left[overlap <= iou * (areas[best] + areas[left] - overlap)]
    return np.array(keep, np.int64)


def _overlap(box: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return np.asarray((high - low).clip(0).prod(1))


def _decode_cut(
    outputs: Mapping[str, NDArray[Any]], size: tuple[int, int], keypoints: tuple[int, int] | None
) -> Candidates:
    points, strides = (a.T for a in anchor_points(size))
    sides = _rows(outputs, "boxes", size)
    sides = _softmax(sides.reshape(len(sides), 4, -1))
    distances = sides @ np.arange(sides.shape[2], dtype=np.float32)
    boxes = np.concatenate([points - distances[:, :2], points + distances[:, 2:]], 1) * strides
    scores = _sigmoid(_rows(outputs, "scores", size))
    if keypoints is None:
        return Candidates(boxes, scores, None)
    raw = _rows(outputs, "keypoints", size).reshape(len(boxes), keypoints[0], 2)
    place = (raw * 2 + (points - 0.5)[:, None]) * strides[:, None]
    seen = _sigmoid(_rows(outputs, "visibility", size))[..., None] if keypoints[1] == 3 else np.ones_like(raw[..., :1])
    return Candidates(boxes, scores, np.concatenate([place, seen], 2))


def _rows(outputs: Mapping[str, NDArray[Any]], kind: str, size: tuple[int, int]) -> Array:
    """One branch of all strides as ``[anchors, channels]``, from ``[1, c, h, w]`` or ``[1, h, w, c]``."""
    parts = []
    for stride in STRIDES:
        cells = (size[0] // stride, size[1] // stride)
        part = np.asarray(outputs[f"{kind}_{stride}"], np.float32)[0]
        part = part.transpose(1, 2, 0) if part.shape[1:] == cells else part
        parts.append(part.reshape(cells[0] * cells[1], -1))
    return np.concatenate(parts)


def _decode_full(output: NDArray[Any], size: tuple[int, int], keypoints: tuple[int, int] | None) -> Candidates:
    """From ``[1, values, anchors]`` or ``[1, anchors, values]``; coordinates normalised or in pixels."""
    rows: Array = np.asarray(output, np.float32)[0]
    anchors = sum((size[0] // s) * (size[1] // s) for s in STRIDES)
    rows = rows if rows.shape[0] == anchors else rows.T
    width = keypoints[0] * keypoints[1] if keypoints else 0
    scale = np.array([size[1], size[0]], np.float32)
    if np.median(rows[:, :2]) > _PIXELS:
        scale = np.ones_like(scale)
    centre, half = rows[:, :2] * scale, rows[:, 2:4] * scale / 2
    boxes, scores = np.concatenate([centre - half, centre + half], 1), rows[:, 4 : rows.shape[1] - width]
    if not keypoints:
        return Candidates(boxes, scores, None)
    raw = rows[:, rows.shape[1] - width :].reshape(len(rows), *keypoints)
    seen = raw[..., 2:] if keypoints[1] == 3 else np.ones_like(raw[..., :1])
    return Candidates(boxes, scores, np.concatenate([raw[..., :2] * scale, seen], 2))


#: anchors cover the image evenly, so the median centre is near 0.5 when normalised and at least 16 in pixels
_PIXELS = 4.0


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x.clip(-80, 80))))
