"""Suppression against a plain reading of its rule, and decoding against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from n6convert_yolov8.decode import Candidates, HeadFacts, decode_head
from n6convert_yolov8.detections import Detections, placed, suppress
from n6convert_yolov8.full_head import anchor_points

from n6convert.errors import PluginError


def random_candidates(count: int, classes: int, seed: int = 0) -> Candidates:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], 1).astype(np.float32)
    return Candidates(boxes, rng.uniform(0, 1, (count, classes)).astype(np.float32), None)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    inner = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(inner / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner))


def plainly(found: Candidates, confidence: float, iou: float, limit: int, multi: bool) -> list[tuple[int, int]]:
    """Anchor and class of the survivors, one comparison at a time."""
    every = [(a, c) for a in range(len(found.boxes)) for c in range(found.scores.shape[1])]
    if not multi:
        every = [(a, int(found.scores[a].argmax())) for a in range(len(found.boxes))]
    ranked = sorted((p for p in every if found.scores[p] >= confidence), key=lambda p: -found.scores[p])
    kept: list[tuple[int, int]] = []
    for a, c in ranked:
        if all(c != d or overlap(found.boxes[a], found.boxes[b]) <= iou for b, d in kept):
            kept.append((a, c))
    return kept[:limit]


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize(
    ("confidence", "iou", "limit"), [(0.1, 0.5, 300), (0.6, 0.2, 300), (0.0, 0.7, 10), (0.9999, 0.5, 5)]
)
def test_suppression(multi: bool, confidence: float, iou: float, limit: int) -> None:
    for seed in range(3):
        found = random_candidates(60, 3, seed)
        kept = plainly(found, confidence, iou, limit, multi)
        result = suppress(found, confidence=confidence, iou=iou, limit=limit, multi_label=multi)
        assert result.rows.tolist() == [a for a, _ in kept]
        assert result.classes.tolist() == [c for _, c in kept]
        assert result.scores.tolist() == [found.scores[p] for p in kept]


def test_nothing_found_has_the_right_shapes() -> None:
    found = random_candidates(4, 2)
    points = np.zeros((4, 17, 3), np.float32)
    candidates = Candidates(found.boxes, found.scores, points)
    nothing = placed(candidates, suppress(candidates, confidence=2, iou=0.5, limit=9), (64, 64))
    assert len(nothing) == 0 and nothing.boxes.shape == (0, 4) and nothing.keypoints.shape == (0, 17, 3)
    assert len(nothing.above(0.5)) == 0


def cut_outputs(size: tuple[int, int], classes: int, keypoints: tuple[int, int] | None) -> dict[str, np.ndarray]:
    outputs = {}
    for stride in (8, 16, 32):
        cells = (size[0] // stride, size[1] // stride)
        outputs[f"boxes_{stride}"] = np.zeros((1, 64, *cells), np.float32)
        outputs[f"scores_{stride}"] = np.full((1, classes, *cells), -7, np.float32)
        if keypoints:
            outputs[f"keypoints_{stride}"] = np.zeros((1, keypoints[0] * 2, *cells), np.float32)
            outputs[f"visibility_{stride}"] = np.zeros((1, keypoints[0], *cells), np.float32)
    return outputs


def test_one_object_by_hand() -> None:
    """Row 1, column 2 of the stride-16 map: center (40, 24); sides 1, 2, 3, 4 cells of 16 pixels."""
    outputs = cut_outputs((64, 96), 2, (2, 3))
    sides = outputs["boxes_16"].reshape(4, 16, 4, 6)
    for side, bin_number in enumerate((1, 2, 3, 4)):
        sides[side, bin_number, 1, 2] = 100
    outputs["scores_16"][0, 1, 1, 2] = 2
    outputs["keypoints_16"][0, :, 1, 2] = [1, -0.5, 0, 0]
    outputs["visibility_16"][0, :, 1, 2] = [3, -3]
    candidates = decode_head(outputs, (64, 96), HeadFacts((2, 3)))
    found = placed(candidates, suppress(candidates, confidence=0.5, iou=0.5, limit=9), (64, 96))
    assert found.boxes.tolist() == [[40 - 16, 24 - 32, 40 + 48, 24 + 64]]
    assert found.classes.tolist() == [1] and found.scores[0] == pytest.approx(1 / (1 + np.exp(-2)))
    # x = (2 raw + column) * stride, y likewise
    assert found.keypoints[0, :, :2].tolist() == [[(2 + 2) * 16, (-1 + 1) * 16], [2 * 16, 16]]
    assert found.keypoints[0, :, 2] == pytest.approx([0.9526, 0.0474], abs=1e-3)


def test_channel_last_outputs_and_transposed_full_output() -> None:
    outputs = {k: np.random.default_rng(0).normal(size=v.shape) for k, v in cut_outputs((64, 96), 3, None).items()}
    turned = {k: v.transpose(0, 2, 3, 1) for k, v in outputs.items()}
    a, b = decode_head(outputs, (64, 96)), decode_head(turned, (64, 96))
    assert np.array_equal(a.boxes, b.boxes) and np.array_equal(a.scores, b.scores)
    anchors = anchor_points((64, 96))[0].shape[1]
    full = np.random.default_rng(0).uniform(0, 1, (1, 7, anchors)).astype(np.float32)
    c, d = decode_head({"o": full}, (64, 96)), decode_head({"o": full.transpose(0, 2, 1)}, (64, 96))
    assert np.array_equal(c.boxes, d.boxes) and c.scores.shape == (anchors, 3)
    pixels = full * np.array([96, 64, 96, 64, 1, 1, 1], np.float32)[None, :, None]
    assert np.allclose(decode_head({"o": pixels}, (64, 96)).boxes, c.boxes, atol=1e-3)


def test_unknown_outputs() -> None:
    with pytest.raises(PluginError, match="neither a cut nor a full"):
        decode_head({"a": np.zeros(1), "b": np.zeros(1)}, (64, 64))


def test_threshold() -> None:
    found = Detections(np.zeros((2, 4)), np.array([0.9, 0.2]), np.array([0, 1]), np.zeros((2, 5, 3)))
    assert len(found.above(0.5)) == 1 and found.above(0.5).keypoints.shape == (1, 5, 3)
