"""OKS and OKS-AP against pycocotools and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.errors import SourceError
from n6convert.metrics.keypoints import (
    BODY_13,
    COCO_17,
    SIGMAS,
    KeypointMetric,
    average_precision,
    oks,
    select_keypoints,
)
from n6convert.samples.base import Sample

PERSONS = 40


def made_up(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """A label, a prediction near it, an area."""
    label = np.column_stack([rng.uniform(0, 200, (17, 2)), rng.integers(0, 3, 17)])
    label[0, 2] = 2
    pose = np.column_stack([label[:, :2] + rng.normal(0, rng.uniform(1, 20), (17, 2)), rng.uniform(0, 1, 17)])
    return label, pose, float(rng.uniform(2000, 30000))


def test_as_pycocotools(capsys: pytest.CaptureFixture[str]) -> None:
    coco_module, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(0)
    persons = [made_up(rng) for _ in range(PERSONS)]
    metric = KeypointMetric(COCO_17)
    annotations, found = [], []
    for number, (label, pose, area) in enumerate(persons, 1):
        metric.add(Sample(str(number), "", {"keypoints": label, "area": area}), pose)
        seen = int((label[:, 2] > 0).sum())
        box = [0.0, 0.0, 200.0, 200.0]
        annotations.append(
            {"id": number, "image_id": number, "category_id": 1, "keypoints": label.ravel().tolist(), "area": area,
             "num_keypoints": seen, "iscrowd": 0, "bbox": box}
        )  # fmt: skip
        answer = {"keypoints": pose.ravel().tolist(), "score": float(pose[:, 2].mean())}
        found.append({"image_id": number, "category_id": 1} | answer)
    truth = coco_module.COCO()
    images = [{"id": n} for n in range(1, PERSONS + 1)]
    truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    truth.createIndex()
    judge = evaluation.COCOeval(truth, truth.loadRes(found), "keypoints")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    details = metric.score().details
    assert np.allclose([details["OKS-AP"], details["OKS-AP50"], details["OKS-AP75"]], judge.stats[:3], atol=1e-9)
    assert 0.05 < judge.stats[0] < 0.95


def test_oks_by_hand() -> None:
    sigmas = np.array([SIGMAS["nose"], SIGMAS["left_hip"]])
    label = np.array([[10.0, 10, 2], [20, 20, 1]])
    assert oks(label, label, 100.0, sigmas) == pytest.approx(1)
    moved = label + [[3, 4, 0], [0, 0, 0]]
    assert oks(moved, label, 100.0, sigmas) == pytest.approx((np.exp(-25 / (2 * (2 * 0.026) ** 2 * 100)) + 1) / 2)
    hidden = label * [1, 1, 0]
    assert oks(label, hidden, 100.0, sigmas) == 0


def test_ranking_matters() -> None:
    similarity = np.array([0.9, 0.2])
    good_first = average_precision(similarity, np.array([0.8, 0.1]))
    good_last = average_precision(similarity, np.array([0.1, 0.8]))
    assert (good_first[0], good_last[0]) == (pytest.approx(51 / 101), pytest.approx(51 / 101 / 2))


def test_bootstrap_is_possible() -> None:
    metric = KeypointMetric(COCO_17)
    rng = np.random.default_rng(1)
    for number in range(3):
        label, pose, area = made_up(rng)
        metric.add(Sample(str(number), "", {"keypoints": label, "area": area}), pose)
    score = metric.score()
    assert score.statistic is not None
    assert score.statistic(np.ones((1, 3)))[0] == pytest.approx(score.value)


def test_thirteen_of_seventeen() -> None:
    rows = select_keypoints(np.arange(51), BODY_13)
    assert rows.shape == (13, 3) and rows[0, 0] == 0 and rows[1, 0] == 15


@pytest.mark.parametrize("label", [None, 3, {"keypoints": np.zeros((13, 3)), "area": 4.0}, {"area": 4.0}])
def test_wrong_labels(label: object) -> None:
    with pytest.raises(SourceError):
        KeypointMetric(COCO_17).add(Sample("x", "", label), np.zeros((17, 3)))


def test_nothing_judged() -> None:
    with pytest.raises(SourceError, match="no labeled samples"):
        KeypointMetric(COCO_17).score()
    with pytest.raises(SourceError, match="not COCO person keypoints"):
        select_keypoints([1, 2, 3], COCO_17)
