"""Suppression and masks beside the slow way, and what likeness of turned boxes stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from n6convert_yolov8.decode import Candidates
from n6convert_yolov8.detections import placed, suppress
from n6convert_yolov8.oriented import corners, likeness, turn
from numpy.typing import NDArray

from n6convert.plugin.images import Letterbox

Array = NDArray[Any]


def _candidates(seed: int, count: int = 60, classes: int = 3, **more: Any) -> Candidates:
    random = np.random.default_rng(seed)
    low = random.uniform(0, 40, (count, 2))
    boxes = np.concatenate([low, low + random.uniform(1, 25, (count, 2))], 1).astype(np.float32)
    return Candidates(boxes, random.uniform(0, 1, (count, classes)).astype(np.float32), **more)


def _iou(a: Array, b: Array) -> float:
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    common = max(width, 0) * max(height, 0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return float(common / (sum(areas) - common))


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize(
    ("seed", "confidence", "iou", "limit"), [(0, 0.3, 0.3, 99), (1, 0.5, 0.05, 99), (2, 0.0, 0.6, 7), (3, 0.9, 0.0, 1)]
)
def test_suppression_is_the_one_of_the_textbook(
    seed: int, confidence: float, iou: float, limit: int, multi: bool
) -> None:
    found = _candidates(seed)
    pairs = [(r, c) for r in range(60) for c in range(3) if multi or c == found.scores[r].argmax()]
    pairs = sorted((p for p in pairs if found.scores[p] >= confidence), key=lambda p: -found.scores[p])
    expected: list[tuple[int, int]] = []
    for row, kind in pairs:
        rivals = [r for r, c in expected if c == kind]
        if len(expected) < limit and all(_iou(found.boxes[r], found.boxes[row]) <= iou for r in rivals):
            expected.append((row, kind))
    kept = suppress(found, confidence=confidence, iou=iou, limit=limit, multi_label=multi)
    assert list(zip(kept.rows.tolist(), kept.classes.tolist(), strict=True)) == expected
    np.testing.assert_array_equal(kept.scores, [found.scores[p] for p in expected])


def test_without_an_overlap_the_best_stay_and_boxes_without_area_suppress_nobody() -> None:
    found = _candidates(4)
    kept = suppress(found, confidence=0, iou=None, limit=5)
    assert kept.scores.tolist() == sorted(found.scores.max(1).tolist(), reverse=True)[:5]
    flat = Candidates(np.zeros((3, 4), np.float32), np.full((3, 1), 0.9, np.float32))
    assert len(suppress(flat, confidence=0.5, iou=0.5, limit=9).rows) == 3
    assert len(suppress(_candidates(4, count=0), confidence=0, iou=0.5, limit=9).rows) == 0


def test_turned_boxes_that_cross_are_two_things_and_parallel_ones_one() -> None:
    boxes = np.array([[0, 8, 40, 12], [0, 8, 40, 12], [1, 8, 41, 12]], np.float32)
    scores = np.array([[0.9], [0.8], [0.7]], np.float32)
    crossed = Candidates(boxes, scores, angles=np.array([0.1, 0.1 + np.pi / 2, 0.1], np.float32))
    assert suppress(crossed, confidence=0.5, iou=0.5, limit=9).rows.tolist() == [0, 1]
    upright = Candidates(boxes, scores)
    assert suppress(upright, confidence=0.5, iou=0.5, limit=9).rows.tolist() == [0]


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
@pytest.mark.parametrize("image", [None, (50, 120), (200, 90)])
def test_masks_are_bilinear_between_prototypes_inside_the_box(
    size: tuple[int, int], image: tuple[int, int] | None
) -> None:
    random = np.random.default_rng(6)
    more: dict[str, Any] = {
        "coefficients": random.standard_normal((4, 8)).astype(np.float32),
        "prototypes": random.standard_normal((8, size[0] // 4, size[1] // 4)).astype(np.float32),
    }
    found = _candidates(7, count=4, **more)
    kept = suppress(found, confidence=0, iou=None, limit=4)
    result = placed(found, kept, size, image)
    assert result.masks is not None and result.masks.shape == (4, *(image or size))
    place, tall, wide = Letterbox.fit(image or size, size), size[0] // 4, size[1] // 4
    for mask, row, box in zip(result.masks, kept.rows, result.boxes, strict=True):
        logits = np.tensordot(more["coefficients"][row], more["prototypes"], 1).astype(np.float64)
        for y, x in np.ndindex(mask.shape):
            inside = np.floor(box[0]) <= x < np.ceil(box[2]) and np.floor(box[1]) <= y < np.ceil(box[3])
            if not inside:
                assert not mask[y, x]
                continue
            v = min(max(((y + 0.5) * place.scale + place.top) / 4 - 0.5, 0), tall - 1)
            u = min(max(((x + 0.5) * place.scale + place.left) / 4 - 0.5, 0), wide - 1)
            i, j = int(v), int(u)
            below, right = min(i + 1, tall - 1), min(j + 1, wide - 1)
            upper = logits[i, j] * (1 - u + j) + logits[i, right] * (u - j)
            lower = logits[below, j] * (1 - u + j) + logits[below, right] * (u - j)
            value = upper * (1 - v + i) + lower * (v - i)
            assert mask[y, x] == (value > 0) or abs(value) < 1e-4
    assert result.masks.any() and not result.masks.all()


def test_places_in_a_letterboxed_image_are_cut_at_its_edges() -> None:
    boxes = np.array([[-5, 10, 70, 60], [8, 20, 16, 24]], np.float32)
    found = Candidates(
        boxes, np.array([[0.9], [0.8]], np.float32), keypoints=np.array([[[0, 16, 0.5]], [[64, 48, 0.25]]], np.float32)
    )
    kept = suppress(found, confidence=0, iou=None, limit=9)
    # 100x200 into 64x64: scale 0.32, 16 rows of bars above and below
    result = placed(found, kept, (64, 64), (100, 200))
    np.testing.assert_allclose(result.boxes, np.array([[0, 0, 200, 100], [25, 12.5, 50, 25]]), atol=1e-3)
    assert result.keypoints is not None
    np.testing.assert_allclose(result.keypoints, [[[0, 0, 0.5]], [[200, 100, 0.25]]], atol=1e-3)
    best = result.above(0.9)
    assert len(best) == 1 and best.keypoints is not None and best.keypoints.shape == (1, 1, 3) and best.masks is None


def test_boxes_around_turned_ones_hold_their_corners() -> None:
    found = _candidates(8, count=20, angles=np.random.default_rng(9).uniform(-2, 2, 20).astype(np.float32))
    result = placed(found, suppress(found, confidence=0, iou=None, limit=20), (64, 64))
    assert result.corners is not None
    np.testing.assert_array_equal(result.boxes[:, :2], result.corners.min(1))
    np.testing.assert_array_equal(result.boxes[:, 2:], result.corners.max(1))
    sides = np.linalg.norm(np.diff(result.corners, axis=1, append=result.corners[:, :1]), axis=2)
    order = suppress(found, confidence=0, iou=None, limit=20).rows
    expected = np.tile(found.boxes[order, 2:] - found.boxes[order, :2], 2)
    np.testing.assert_allclose(sides, expected, rtol=1e-4)


def test_a_turn_goes_from_x_towards_y() -> None:
    quarter = turn(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([np.pi / 2, np.pi / 2]))
    np.testing.assert_allclose(quarter, [[0, 1], [-1, 0]], atol=1e-12)
    box = np.array([[0.0, 0.0, 4.0, 2.0]])
    np.testing.assert_allclose(corners(box, np.zeros(1)), [[[4, 2], [0, 2], [0, 0], [4, 0]]])
    np.testing.assert_allclose(corners(box, np.array([np.pi / 2])), [[[1, 3], [1, -1], [3, -1], [3, 3]]], atol=1e-12)


BOXES = np.array([[2, 3, 14, 9], [4, 4, 10, 16], [0, 0, 12, 12], [3, 3, 15, 9]], np.float64)
ANGLES = np.array([0.0, 0.4, 1.2, -0.3])


def _by_integral(a: int, b: int) -> float:
    """1 minus Hellinger's distance of the two normal distributions, summed over a fine grid."""
    step = 0.1
    y, x = np.mgrid[-20:40:step, -20:40:step]
    roots = []
    for i in (a, b):
        center, (w, h) = (BOXES[i, :2] + BOXES[i, 2:]) / 2, BOXES[i, 2:] - BOXES[i, :2]
        cos, sin = np.cos(ANGLES[i]), np.sin(ANGLES[i])
        along, across = (x - center[0]) * cos + (y - center[1]) * sin, (y - center[1]) * cos - (x - center[0]) * sin
        density = np.exp(-6 * (along / w) ** 2 - 6 * (across / h) ** 2) * 12 / (2 * np.pi * w * h)
        assert density.sum() * step**2 == pytest.approx(1, abs=1e-3)
        roots.append(np.sqrt(density))
    return 1 - float(np.sqrt(max(1 - (roots[0] * roots[1]).sum() * step**2, 0)))


@pytest.mark.parametrize("a", range(4))
def test_likeness_is_the_integral_that_it_stands_for(a: int) -> None:
    found = likeness(BOXES[a], ANGLES[a], BOXES, ANGLES)
    np.testing.assert_allclose(found, [_by_integral(a, b) for b in range(4)], atol=2e-3)


def test_likeness_does_not_depend_on_where_or_in_which_order() -> None:
    table = np.array([likeness(BOXES[i], ANGLES[i], BOXES, ANGLES) for i in range(4)])
    np.testing.assert_allclose(table, table.T, atol=1e-9)
    np.testing.assert_allclose(np.diag(table), 1, atol=1e-3)
    moved = np.array([likeness(BOXES[i] + 100, ANGLES[i] + np.pi, BOXES + 100, ANGLES) for i in range(4)])
    np.testing.assert_allclose(moved, table, atol=1e-6)
    far = likeness(BOXES[0], ANGLES[0], BOXES + 1000, ANGLES)
    assert (far < 1e-3).all() and np.isfinite(far).all()
