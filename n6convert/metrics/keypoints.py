"""Object keypoint similarity (OKS) of single-person pose models.

OKS of one person is the mean over the labeled keypoints of ``exp(-d^2 / (2 k^2 A))`` with d the distance in pixels, A
the person's labeled area and k twice the keypoint's standard deviation among annotators (COCO's own numbers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError
from n6convert.metrics.base import Metric, Score, mean_score
from n6convert.samples.base import Sample

__all__ = ["BODY_13", "COCO_17", "SIGMAS", "KeypointMetric", "average_precision", "oks", "select_keypoints"]

#: COCO's 17 keypoints
COCO_17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
#: the 13 without eyes and ears
BODY_13 = tuple(name for name in COCO_17 if "eye" not in name and "ear" not in name)
_COCO_SIGMAS = (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)
#: annotators' standard deviation by keypoint, relative to the square root of the person's area
SIGMAS = {name: sigma / 1000 for name, sigma in zip(COCO_17, _COCO_SIGMAS, strict=True)}
_THRESHOLDS = np.arange(0.5, 0.96, 0.05)
_RECALLS = np.linspace(0, 1, 101)

Floats = NDArray[np.floating[Any]]


def select_keypoints(keypoints: Any, names: Sequence[str]) -> Floats:
    """The rows of COCO keypoints (51 numbers, or [17,3]) with the given names, as [K,3] (x, y, visibility).

    Raises:
        SourceError: the annotation has another number of keypoints.
    """
    rows = np.asarray(keypoints, np.float64).reshape(-1)
    if rows.size != 3 * len(COCO_17):
        raise SourceError("these are not COCO person keypoints", limit="17 x (x, y, visibility)", found=rows.size)
    return np.asarray(rows.reshape(-1, 3)[[COCO_17.index(name) for name in names]])


def oks(predicted: Floats, label: Floats, area: float, sigmas: Floats) -> float:
    """Similarity of one person, 0 to 1; keypoints with visibility 0 do not count.

    Args:
        predicted: [K,2 or more], x and y in pixels.
        label: [K,3], x, y and visibility.
        area: labeled area in square pixels.
        sigmas: [K].
    """
    seen = label[:, 2] > 0
    distance = ((predicted[seen, :2] - label[seen, :2]) ** 2).sum(1)
    spread = 2 * (2 * sigmas[seen]) ** 2 * (area + np.spacing(1))
    return float(np.exp(-distance / spread).mean()) if seen.any() else 0.0


def average_precision(similarities: Floats, scores: Floats, thresholds: Floats = _THRESHOLDS) -> Floats:
    """COCO's interpolated AP at each threshold when every person has exactly one prediction.

    Args:
        similarities: OKS of each prediction with its person.
        scores: confidence of each prediction; ranks them.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.asarray(similarities)[order][None, :] >= thresholds[:, None]
    found = np.cumsum(hits, 1)
    precision = found / np.arange(1, len(order) + 1)
    best_later = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    recall = found / len(order)
    return np.array([_interpolated(r, p) for r, p in zip(recall, best_later, strict=True)])


def _interpolated(recall: Floats, precision: Floats) -> float:
    places = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[np.minimum(places, len(precision))].mean())


class KeypointMetric(Metric):
    """Mean OKS over persons, with OKS-AP in the details.

    Samples carry the label ``{"keypoints": [K,3] in the sample's pixels, "area": square pixels}``; predictions are
    [K,3] arrays (x, y, score) in the same pixels.

    Args:
        names: the model's keypoints.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._sigmas = np.array([SIGMAS[name] for name in names])
        self._oks: list[float] = []
        self._scores: list[float] = []

    def add(self, sample: Sample, prediction: Any) -> None:
        label = sample.label
        if not isinstance(label, Mapping) or "keypoints" not in label or "area" not in label:
            raise SourceError(
                "the sample has no person keypoints to compare with",
                place=sample.id,
                limit="a COCO json with person keypoints",
                found=type(label).__name__,
            )
        keypoints, pose = np.asarray(label["keypoints"], np.float64), np.asarray(prediction, np.float64)
        if keypoints.shape != (len(self._sigmas), 3):
            raise SourceError(
                "the label has another number of keypoints than the model",
                place=sample.id,
                limit=f"{len(self._sigmas)} x (x, y, visibility)",
                found=keypoints.shape,
            )
        self._oks.append(oks(pose, keypoints, float(label["area"]), self._sigmas))
        self._scores.append(float(pose[:, 2].mean()))

    def score(self) -> Score:
        details = {}
        if self._oks:
            precision = average_precision(np.array(self._oks), np.array(self._scores))
            details = {
                "OKS-AP": float(precision.mean()),
                "OKS-AP50": float(precision[0]),
                "OKS-AP75": float(precision[5]),
            }
        return mean_score("mean OKS", self._oks, "OKS", **details)
