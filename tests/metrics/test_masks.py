"""Mask AP: instance masks and polygons against labels in every form that COCO files have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from n6convert.errors import SourceError
from n6convert.metrics.detection import CocoAP
from n6convert.samples import CocoLabel, Sample

pytest.importorskip("pycocotools")
SIZE = (60, 80)


@dataclass
class Found:
    boxes: np.ndarray
    masks: np.ndarray | None = None
    corners: np.ndarray | None = None
    keypoints: None = None
    scores: np.ndarray = field(default_factory=lambda: np.array([0.9]))
    classes: np.ndarray = field(default_factory=lambda: np.array([0]))


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < radius**2


def box_of(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    return np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], float)


def score(shape: Any, found: Found) -> float:
    annotation = {"bbox": [0, 0, 80, 60], "category_id": 1, "segmentation": shape}
    metric = CocoAP("masks", ["thing"])
    metric.add(Sample("x", np.zeros((*SIZE, 3), np.uint8), CocoLabel(1, (annotation,), {1: "thing"})), found)
    result = metric.score()
    assert result.name == "mask AP 50:95"
    return result.value


def counts(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths, column by column, zeros first."""
    flat = mask.T.ravel().astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends, flat.size]).tolist()
    return {"size": list(SIZE), "counts": runs if not flat[0] else [0, *runs]}


def test_overlap_of_masks_counts_and_not_that_of_boxes() -> None:
    """Two discs of one box each: IoU of the masks, worked out here, decides how many thresholds are passed."""
    truth, other = disc(40, 30, 20), disc(44, 30, 20)
    overlap = np.count_nonzero(truth & other) / np.count_nonzero(truth | other)
    passed = np.count_nonzero(overlap > np.arange(0.5, 1, 0.05))
    assert 0 < passed < 10
    assert score(counts(truth), Found(box_of(truth), other[None])) == pytest.approx(passed / 10)
    assert score(counts(truth), Found(np.array([[0, 0, 1, 1.0]]), truth[None])) == pytest.approx(1)


def test_polygons_of_labels_and_of_oriented_boxes() -> None:
    diamond = [40, 5, 70, 30, 40, 55, 10, 30]
    same = np.array(diamond, float).reshape(1, 4, 2)
    upright = np.array([[[10, 5], [70, 5], [70, 55], [10, 55]]], float)  # the box around it, twice as large
    box = np.array([[10, 5, 70, 55]], float)
    assert score([diamond], Found(box, corners=same)) == pytest.approx(1)
    assert score([diamond], Found(box, corners=upright)) <= 0.1
    halves = [[40, 5, 70, 30, 40, 55], [40, 5, 40, 55, 10, 30]]
    assert score(halves, Found(box, corners=same)) > 0.85


def test_missing_masks_are_named() -> None:
    mask = disc(40, 30, 20)
    with pytest.raises(SourceError, match="labels have no masks"):
        score(None, Found(box_of(mask), mask[None]))
    with pytest.raises(SourceError, match="predictions have no masks"):
        score(counts(mask), Found(box_of(mask)))
