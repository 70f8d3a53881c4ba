"""From head outputs to boxes, keypoints, masks and angles, for both forms of the head and in either channel order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.plugin import PluginError
from n6convert_yolov8.architecture import STRIDES
from n6convert_yolov8.full_head import ANGLE_SPAN, ANGLE_START, anchor_points
from n6convert_yolov8.head import PROTOTYPES
from n6convert_yolov8.oriented import turn

__all__ = ["Candidates", "HeadFacts", "decode_head"]

Array = NDArray[np.float32]
Size = tuple[int, int]


@dataclass(frozen=True)
class HeadFacts:
    """What the outputs alone do not tell.

    Attributes:
        keypoints: count and values per keypoint.
        oriented: boxes are turned.
        radians: the cut head gives angles themselves instead of logits.
    """

    keypoints: tuple[int, int] | None = None
    oriented: bool = False
    radians: bool = False


@dataclass(frozen=True)
class Candidates:
    """Every anchor's answer in input pixels.

    Attributes:
        boxes: ``[anchors, 4]`` x1, y1, x2, y2; of oriented boxes before they are turned about their center.
        scores: ``[anchors, classes]`` probabilities.
        keypoints: ``[anchors, count, 3]`` x, y, visibility probability; None without keypoints.
        coefficients: ``[anchors, 32]`` of the prototypes; None without masks.
        prototypes: ``[32, h, w]`` maps at a quarter of the input's size; None without masks.
        angles: ``[anchors]`` radians; None without.
    """

    boxes: Array
    scores: Array
    keypoints: Array | None = None
    coefficients: Array | None = None
    prototypes: Array | None = None
    angles: Array | None = None


def decode_head(outputs: Mapping[str, NDArray[Any]], size: Size, facts: HeadFacts | None = None) -> Candidates:
    """Decode whatever form the outputs have.

    Args:
        outputs: ``boxes_8`` ... of the cut head, or the output of the full head; float.
        size: input height and width in pixels.
        facts: of anything but detection.

    Raises:
        PluginError: the outputs have neither form.
    """
    facts = facts or HeadFacts()
    if f"boxes_{STRIDES[0]}" in outputs:
        return _decode_cut(outputs, size, facts)
    rows = [v for v in outputs.values() if v.ndim == 3]
    maps = [v for v in outputs.values() if v.ndim == 4]
    if len(rows) == 1 and len(rows) + len(maps) == len(outputs) and len(maps) < 2:
        return _decode_full(rows[0], _channels_first(maps[0], size) if maps else None, size, facts)
    raise PluginError("the outputs are neither a cut nor a full YOLO head", found=", ".join(outputs))


def _decode_cut(outputs: Mapping[str, NDArray[Any]], size: Size, facts: HeadFacts) -> Candidates:
    points, strides = (a.T for a in anchor_points(size))
    sides = _distances(_rows(outputs, "boxes", size))
    scores = _sigmoid(_rows(outputs, "scores", size))
    if facts.oriented:
        raw = _rows(outputs, "angles", size)[:, 0]
        angles = raw if facts.radians else (_sigmoid(raw) - np.float32(ANGLE_START)) * np.float32(ANGLE_SPAN)
        center = points + turn((sides[:, 2:] - sides[:, :2]) / 2, angles)
        half = (sides[:, :2] + sides[:, 2:]) / 2
        return Candidates(np.concatenate([center - half, center + half], 1) * strides, scores, angles=angles)
    boxes = np.concatenate([points - sides[:, :2], points + sides[:, 2:]], 1) * strides
    if f"masks_{STRIDES[0]}" in outputs:
        prototypes = _channels_first(outputs[PROTOTYPES], size)
        return Candidates(boxes, scores, coefficients=_rows(outputs, "masks", size), prototypes=prototypes)
    if facts.keypoints is None:
        return Candidates(boxes, scores)
    raw = _rows(outputs, "keypoints", size).reshape(len(boxes), facts.keypoints[0], 2)
    place = (raw * 2 + (points - 0.5)[:, None]) * strides[:, None]
    seen = np.ones_like(raw[..., :1])
    if facts.keypoints[1] == 3:
        seen = _sigmoid(_rows(outputs, "visibility", size))[..., None]
    return Candidates(boxes, scores, np.concatenate([place, seen], 2))


def _distances(boxes: Array) -> Array:
    """Left, top, right, bottom in cells ``[anchors, 4]``: given, or the means of distributions."""
    if boxes.shape[1] == 4:
        return boxes
    sides = _softmax(boxes.reshape(len(boxes), 4, -1))
    return np.asarray(sides @ np.arange(sides.shape[2], dtype=np.float32))


def _rows(outputs: Mapping[str, NDArray[Any]], kind: str, size: Size) -> Array:
    """One branch of all strides as ``[anchors, channels]``, from ``[1, c, h, w]`` or ``[1, h, w, c]``."""
    parts = []
    for stride in STRIDES:
        cells = (size[0] // stride, size[1] // stride)
        part = np.asarray(outputs[f"{kind}_{stride}"], np.float32)[0]
        part = part.transpose(1, 2, 0) if part.shape[1:] == cells else part
        parts.append(part.reshape(cells[0] * cells[1], -1))
    return np.concatenate(parts)


def _channels_first(prototypes: NDArray[Any], size: Size) -> Array:
    maps = np.asarray(prototypes, np.float32)[0]
    return maps if maps.shape[1:] == (size[0] // 4, size[1] // 4) else np.ascontiguousarray(maps.transpose(2, 0, 1))


def _decode_full(output: NDArray[Any], prototypes: Array | None, size: Size, facts: HeadFacts) -> Candidates:
    """From ``[1, values, anchors]`` or ``[1, anchors, values]``; coordinates normalized or in pixels."""
    rows: Array = np.asarray(output, np.float32)[0]
    anchors = sum((size[0] // s) * (size[1] // s) for s in STRIDES)
    rows = rows.T if rows.shape[1] == anchors else rows
    points = facts.keypoints
    width = points[0] * points[1] if points else len(prototypes) if prototypes is not None else int(facts.oriented)
    scale = np.array([size[1], size[0]], np.float32)
    if np.median(rows[:, :2]) > _PIXELS:
        scale = np.ones_like(scale)
    center, half = rows[:, :2] * scale, rows[:, 2:4] * scale / 2
    boxes, scores = np.concatenate([center - half, center + half], 1), rows[:, 4 : rows.shape[1] - width]
    rest = rows[:, rows.shape[1] - width :]
    if points is None:
        masks, angles = (rest, None) if prototypes is not None else (None, rest[:, 0] if facts.oriented else None)
        return Candidates(boxes, scores, None, masks, prototypes, angles)
    raw = rest.reshape(len(rows), *points)
    seen = raw[..., 2:] if points[1] == 3 else np.ones_like(raw[..., :1])
    return Candidates(boxes, scores, np.concatenate([raw[..., :2] * scale, seen], 2))


#: anchors cover the image evenly, so the median center is near 0.5 when normalized and at least 16 in pixels
_PIXELS = 4.0


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x.clip(-80, 80))))
