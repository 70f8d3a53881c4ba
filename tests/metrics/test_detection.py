"""COCO AP against pycocotools' own accumulation, and the bootstrap on it."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import numpy as np
import pytest

from n6convert.errors import SourceError
from n6convert.metrics.base import bootstrap, bootstrap_drop
from n6convert.metrics.detection import CocoAP, category_numbers
from n6convert.samples import CocoLabel, Sample

pycocotools = pytest.importorskip("pycocotools")

CATEGORIES = {3: "cat", 7: "dog", 9: "cow"}
CLASSES = ("dog", "cat", "unknown", "cow")


@dataclass
class Found:
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    keypoints: np.ndarray | None = None


def scene(rng: np.random.Generator, image: int, noise: float) -> tuple[Sample, Found]:
    """Random objects with crowds, misses, false alarms and wrong classes."""
    count = int(rng.integers(0, 7))
    corner, extent = rng.uniform(0, 300, (count, 2)), rng.uniform(5, 150, (count, 2))
    kinds = rng.choice(list(CATEGORIES), count)
    points = corner[:, None] + rng.uniform(0, 1, (count, 17, 2)) * extent[:, None]
    seen = rng.integers(0, 3, (count, 17))
    annotations = []
    for i in range(count):
        triples = np.concatenate([points[i], seen[i][:, None]], 1)
        triples[seen[i] == 0] = 0
        annotations.append(
            {
                "id": image * 100 + i, "image_id": image, "category_id": int(kinds[i]),
                "bbox": [*corner[i].tolist(), *extent[i].tolist()], "area": float(extent[i].prod() * 0.6),
                "iscrowd": int(rng.random() < 0.1), "keypoints": triples.ravel().tolist(),
                "num_keypoints": int((seen[i] > 0).sum()),
            }
        )  # fmt: skip
    numbers = {3: 1, 7: 0, 9: 3}
    boxes = np.concatenate([corner, corner + extent], 1) + rng.normal(0, noise, (count, 4))
    extra = rng.uniform(0, 300, (3, 2))
    boxes = np.concatenate([boxes, np.concatenate([extra, extra + 40], 1), boxes[:1] + 1])
    classes = np.array([numbers[k] for k in kinds] + [0, 1, 2] + [0] * min(count, 1))
    moved = np.concatenate([points + rng.normal(0, noise, points.shape), rng.uniform(0, 300, (3, 17, 2)), points[:1]])
    scores = np.round(rng.uniform(0, 1, len(boxes)), 2)  # ties are part of life
    found = Found(boxes, scores, classes, np.concatenate([moved, np.ones((*moved.shape[:2], 1))], 2))
    return Sample(str(image), np.zeros((1, 1, 3), np.uint8), CocoLabel(image, tuple(annotations), CATEGORIES)), found


def scenes(count: int, noise: float, seed: int = 0) -> list[tuple[Sample, Found]]:
    rng = np.random.default_rng(seed)
    return [scene(rng, image, noise) for image in range(1, count + 1)]


def judged(kind: str, pairs: list[tuple[Sample, Found]]) -> CocoAP:
    metric = CocoAP(kind, CLASSES)  # type: ignore[arg-type]
    for sample, found in pairs:
        metric.add(sample, found)
    return metric


def official(kind: str, pairs: list[tuple[Sample, Found]]) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = {v: k for k, v in CATEGORIES.items()}
    results = []
    for sample, found in pairs:
        for i, (x1, y1, x2, y2) in enumerate(found.boxes.tolist()):
            if CLASSES[found.classes[i]] in names:
                result = {"image_id": sample.label.image_id, "category_id": names[CLASSES[found.classes[i]]]}
                result |= {"score": float(found.scores[i])}
                points = np.concatenate([found.keypoints[i, :, :2], np.ones((17, 1))], 1)
                result |= (
                    {"keypoints": points.ravel().tolist()}
                    if kind == "keypoints"
                    else {"bbox": [x1, y1, x2 - x1, y2 - y1]}
                )
                results.append(result)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": s.label.image_id} for s, _ in pairs],
            "annotations": [dict(a) for s, _ in pairs for a in s.label.annotations],
            "categories": [{"id": k, "name": v} for k, v in CATEGORIES.items()],
        }
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(results), "keypoints" if kind == "keypoints" else "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats


@pytest.mark.parametrize("kind", ["boxes", "keypoints"])
@pytest.mark.parametrize("noise", [0.0, 3.0, 12.0])
def test_equals_pycocotools(kind: str, noise: float) -> None:
    pairs = scenes(25, noise)
    score, stats = judged(kind, pairs).score(), official(kind, pairs)
    assert score.value == pytest.approx(stats[0], abs=1e-9)
    assert score.details["AP50"] == pytest.approx(stats[1], abs=1e-9)
    assert score.details["AP75"] == pytest.approx(stats[2], abs=1e-9)
    assert score.samples == 25


def test_a_weighted_image_counts_as_often_as_its_copies() -> None:
    """The bootstrap's statistic for integer weights is the AP of a set that holds each image so often."""
    pairs = scenes(8, 6.0)
    weights = np.array([2, 0, 1, 3, 1, 1, 0, 2])
    copies, number = [], 100
    for (sample, found), times in zip(pairs, weights, strict=True):
        for _ in range(times):
            number += 1
            label = CocoLabel(number, sample.label.annotations, CATEGORIES)
            copies.append((Sample(str(number), sample.data, label), found))
    statistic = judged("boxes", pairs).score().statistic
    assert statistic is not None
    assert statistic(weights[None].astype(float))[0] == pytest.approx(judged("boxes", copies).score().value, abs=1e-9)


def test_interval_and_paired_drop() -> None:
    good, bad = judged("boxes", scenes(40, 1.0)).score(), judged("boxes", scenes(40, 9.0)).score()
    alone, drop = bootstrap(good, resamples=300), bootstrap_drop(good, bad, resamples=300)
    assert alone is not None and drop is not None
    assert alone.low < good.value < alone.high and alone == bootstrap(good, resamples=300)
    assert 0 < drop.low < drop.value < drop.high and drop.value == pytest.approx(good.value - bad.value)
    same = bootstrap_drop(good, good, resamples=50)
    assert same is not None and (same.low, same.value, same.high) == (0, 0, 0)


def test_perfect_and_nothing_found() -> None:
    pairs = scenes(10, 0.0)
    nothing = Found(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros((0, 17, 3)))
    assert judged("boxes", [(s, nothing) for s, _ in pairs]).score().value == 0
    truth = []
    for sample, _ in pairs:
        boxes = np.array([a["bbox"] for a in sample.label.annotations]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        classes = np.array([{3: 1, 7: 0, 9: 3}[a["category_id"]] for a in sample.label.annotations], int)
        truth.append((sample, Found(boxes, np.ones(len(boxes)), classes)))
    assert judged("boxes", truth).score().value == pytest.approx(1)


def test_categories_by_name_by_order_or_not_at_all() -> None:
    assert list(category_numbers(["Dog", "bird"], {5: "dog ", 6: "cat"})) == [5, None]
    assert list(category_numbers(["dog", "cat"], {9: "9", 4: "4"})) == [4, 9]
    with pytest.raises(SourceError, match="do not fit"):
        category_numbers(["dog", "cat"], {1: "a", 2: "b", 3: "c"})


def relabeled(sample: Sample, **changes: object) -> Sample:
    annotations = tuple({k: v for k, v in {**a, **changes}.items() if v is not None} for a in sample.label.annotations)
    return Sample(sample.id, sample.data, CocoLabel(sample.label.image_id, annotations, CATEGORIES))


def test_labels_of_another_form() -> None:
    sample, found = next(p for p in scenes(9, 0.0) if p[0].label.annotations)
    with pytest.raises(SourceError, match="incomplete"):
        CocoAP("boxes", CLASSES).add(relabeled(sample, bbox=None), found)
    with pytest.raises(SourceError, match="another number of keypoints"):
        CocoAP("keypoints", CLASSES).add(relabeled(sample, keypoints=[1, 2, 2]), found)
    metric = CocoAP("keypoints", CLASSES)
    metric.add(relabeled(sample, keypoints=None, num_keypoints=None), found)
    with pytest.raises(SourceError, match="no annotations that count"):
        metric.score()


def test_unlabeled_and_repeated_samples() -> None:
    metric = CocoAP("boxes", CLASSES)
    with pytest.raises(SourceError, match="no labeled samples"):
        metric.score()
    sample, found = scenes(1, 0.0)[0]
    with pytest.raises(SourceError, match="no COCO label"):
        metric.add(Sample("x", sample.data), found)
    metric.add(sample, found)
    with pytest.raises(SourceError, match="same COCO image number"):
        metric.add(sample, found)
