"""How right a model is on labeled samples."""

from n6convert.metrics.base import Interval, Metric, Score, mean_score
from n6convert.metrics.classification import Classes, Classification, class_loss, rank
from n6convert.metrics.detection import CocoAP
from n6convert.metrics.keypoints import BODY_13, COCO_17, KeypointMetric, select_keypoints
from n6convert.metrics.text import EmbeddingAgreement

__all__ = [
    "BODY_13",
    "COCO_17",
    "Classes",
    "Classification",
    "CocoAP",
    "EmbeddingAgreement",
    "Interval",
    "KeypointMetric",
    "Metric",
    "Score",
    "class_loss",
    "mean_score",
    "rank",
    "select_keypoints",
]
