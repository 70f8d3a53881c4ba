"""COCO average precision of boxes, keypoints and masks.

Matching is pycocotools' own; the accumulation is written anew for weighted images, so that the bootstrap costs a few
array operations instead of thousands of runs. With all weights one it equals ``COCOeval`` (a test says so).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError, ToolError
from n6convert.metrics.base import Metric, Score
from n6convert.metrics.masks import with_masks
from n6convert.samples.base import Sample
from n6convert.samples.coco import CocoLabel

__all__ = ["CocoAP", "DetectionsLike", "category_numbers"]

Floats = NDArray[np.float64]
_MAX_DETECTIONS = {"boxes": 100, "keypoints": 20, "masks": 100}
_IOU_TYPES = {"boxes": "bbox", "keypoints": "keypoints", "masks": "segm"}
_SINGULAR = {"boxes": "box", "keypoints": "keypoint", "masks": "mask"}
_RECALLS = np.linspace(0, 1, 101)


class DetectionsLike(Protocol):
    """What is judged: boxes x1, y1, x2, y2 and keypoints ``[n, k, >= 2]`` in pixels of the sample.

    For masks it also has ``masks``, bool ``[n, h, w]`` over the whole image, or ``corners``, polygons ``[n, k, 2]``.
    """

    @property
    def boxes(self) -> NDArray[Any]:
        """``[n, 4]``, corners in pixels of the sample."""

    @property
    def scores(self) -> NDArray[Any]:
        """``[n]``, 0 to 1."""

    @property
    def classes(self) -> NDArray[Any]:
        """``[n]``, class numbers."""

    @property
    def keypoints(self) -> NDArray[Any] | None:
        """``[n, k, >= 2]`` in pixels; None where only boxes are judged."""


class CocoAP(Metric):
    """AP averaged over IoU (or OKS) 0.50 to 0.95 and over classes, as COCO defines it.

    Samples carry a :class:`~n6convert.samples.coco.CocoLabel`.

    Args:
        kind: ``boxes``, ``keypoints``, or ``masks``: instance masks, or polygons such as oriented boxes, both compared
            pixel by pixel with the labels' ``segmentation``.
        classes: the model's class names in order; matched with the label file's categories, see
            :func:`category_numbers`.
    """

    def __init__(self, kind: Literal["boxes", "keypoints", "masks"], classes: Sequence[str]) -> None:
        self._kind = kind
        self._classes = classes
        self._categories: Mapping[int, str] = {}
        self._numbers: Sequence[int | None] = []
        self._images: list[int] = []
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []

    def add(self, sample: Sample, prediction: DetectionsLike) -> None:
        label = sample.label
        if not isinstance(label, CocoLabel):
            raise SourceError("the sample has no COCO label", place=sample.id, remedy="evaluate on a COCO json")
        if not self._images:
            self._categories = label.categories
            self._numbers = category_numbers(self._classes, label.categories)
        if label.image_id in self._images:
            raise SourceError("two samples carry the same COCO image number", place=sample.id, found=label.image_id)
        truth = [_truth(a, label.image_id, self._point_count(sample, prediction)) for a in label.annotations]
        found = self._results(label.image_id, prediction)
        if self._kind == "masks":
            truth, found = with_masks(truth, found, sample, prediction)
        self._truth += truth
        self._images.append(label.image_id)
        self._found += found

    def score(self) -> Score:
        if not self._images:
            raise SourceError("no labeled samples to judge the model on", place=f"COCO {self._kind}")
        curves = self._curves()
        value, *each = _average_precisions(curves, np.ones((1, len(self._images))))[:, 0]
        details = {"AP50": float(each[0]), "AP75": float(each[5])}
        what = f"{_SINGULAR[self._kind]} AP 50:95"
        return Score(what, float(value), "AP", len(self._images), details, lambda w: _average_precisions(curves, w)[0])

    def _point_count(self, sample: Sample, prediction: DetectionsLike) -> int:
        """Keypoints of a prediction, 0 when boxes are judged; labels must have as many."""
        if self._kind != "keypoints" or prediction.keypoints is None:
            return 0
        count = int(prediction.keypoints.shape[1])
        labeled = {len(a["keypoints"]) // 3 for a in sample.label.annotations if a.get("keypoints")}
        if labeled - {count}:
            raise SourceError(
                "the labels have another number of keypoints", place=sample.id, limit=count, found=labeled
            )
        return count

    def _results(self, image: int, prediction: DetectionsLike) -> list[dict[str, Any]]:
        results = []
        points = prediction.keypoints if self._kind == "keypoints" else None
        for i, (box, score) in enumerate(zip(prediction.boxes.tolist(), prediction.scores.tolist(), strict=True)):
            number = self._numbers[int(prediction.classes[i])]
            if number is None:
                continue
            x1, y1, x2, y2 = box
            result = {"image_id": image, "category_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            result["row"] = i
            result |= {"area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            if points is not None:
                result |= {"keypoints": _triples(points[i]), "area": float(np.ptp(points[i, :, :2], axis=0).prod())}
            results.append(result)
        return results

    def _curves(self) -> list[_Curve]:
        evaluator = _evaluator(self._kind, self._images, self._categories, self._truth, self._found)
        position = {image: i for i, image in enumerate(self._images)}
        span = [0, 1e10]
        curves = []
        labeled = {annotation["category_id"] for annotation in self._truth}
        for category in [c for c in self._categories if c in labeled]:
            limit = _MAX_DETECTIONS[self._kind]
            images = [evaluator.evaluateImg(image, category, span, limit) for image in self._images]
            curve = _curve([e for e in images if e is not None], position, len(self._images))
            if curve is not None:
                curves.append(curve)
        if not curves:
            raise SourceError("the labeled images hold no annotations that count", place=f"COCO {self._kind}")
        return curves


def category_numbers(classes: Sequence[str], categories: Mapping[int, str]) -> Sequence[int | None]:
    """The label file's category number for each class of the model, None for classes the file does not know.

    By name where any name is known on both sides; otherwise, with as many categories as classes, in order of their
    numbers (files that only carry numbers).

    Raises:
        SourceError: neither works.
    """
    by_name = {name.strip().lower(): number for number, name in categories.items()}
    numbers = [by_name.get(name.strip().lower()) for name in classes]
    if any(n is not None for n in numbers):
        return numbers
    if len(classes) == len(categories):
        return sorted(categories)
    raise SourceError(
        "the label file's categories do not fit the model's classes",
        limit=f"{len(classes)} classes: {', '.join(classes[:4])} ...",
        found=f"{len(categories)} categories: {', '.join(list(categories.values())[:4])} ...",
    )


@dataclass(frozen=True)
class _Curve:
    """One class over all images, detections by falling score.

    Attributes:
        image: position of each detection's image ``[n]``.
        hit: whether it found an object, for each overlap threshold ``[10, n]``.
        miss: whether it counts as a false alarm ``[10, n]``.
        objects: objects that count in each image ``[images]``.
    """

    image: NDArray[np.int64]
    hit: NDArray[np.bool_]
    miss: NDArray[np.bool_]
    objects: Floats


def _curve(images: list[dict[str, Any]], position: Mapping[int, int], count: int) -> _Curve | None:
    objects = np.zeros(count)
    for e in images:
        objects[position[e["image_id"]]] = np.count_nonzero(np.asarray(e["gtIgnore"]) == 0)
    if not objects.any():
        return None
    scores = np.concatenate([e["dtScores"] for e in images])
    order = np.argsort(-scores, kind="mergesort")
    where = np.concatenate([np.full(len(e["dtScores"]), position[e["image_id"]]) for e in images])[order]
    matched = np.concatenate([e["dtMatches"] for e in images], axis=1)[:, order] != 0
    ignored = np.concatenate([e["dtIgnore"] for e in images], axis=1)[:, order] != 0
    return _Curve(where.astype(np.int64), matched & ~ignored, ~matched & ~ignored, objects)


def _average_precisions(curves: list[_Curve], weights: Floats) -> Floats:
    """Mean AP and the AP at each of the ten thresholds ``[11, resamples]`` for image weights ``[resamples, images]``.

    Classes without objects in a resample do not count there.
    """
    sums, seen = np.zeros((10, len(weights))), np.zeros(len(weights))
    for curve in curves:
        objects = weights @ curve.objects
        there = objects > 0
        found: dict[bytes, Floats] = {}  # neighboring thresholds often agree on what was found
        for t, (hit, miss) in enumerate(zip(curve.hit, curve.miss, strict=True)):
            key = np.packbits([hit, miss]).tobytes()
            if key not in found:
                found[key] = np.where(there, _interpolated(weights, curve.image, hit, miss, objects), 0)
            sums[t] += found[key]
        seen += there
    with np.errstate(invalid="ignore"):
        each_threshold = sums / seen
    return np.concatenate([each_threshold.mean(0, keepdims=True), each_threshold])


def _interpolated(
    weights: Floats, image: NDArray[np.int64], hit: NDArray[np.bool_], miss: NDArray[np.bool_], objects: Floats
) -> Floats:
    """101-point AP of one class and threshold: precision changes its envelope at hits alone."""
    counted = np.flatnonzero(hit | miss)
    at = np.flatnonzero(hit[counted])
    if not len(at):
        return np.zeros(len(weights))
    each = np.arange(weights.shape[1])[:, None] == image[counted[: at[-1] + 1]]
    hits, all_so_far = (weights @ np.cumsum(part, axis=1)[:, take] for part, take in ((each[:, at], ...), (each, at)))
    precision = hits / np.maximum(all_so_far, 1e-12)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / np.maximum(objects, 1e-12)[:, None]
    reached = np.searchsorted(_RECALLS, recall, side="right") * (hits > 0)
    return np.asarray((envelope * np.diff(reached, axis=1, prepend=0)).sum(1) / 101)


def _evaluator(
    kind: str,
    images: Sequence[int],
    categories: Mapping[int, str],
    truth: list[dict[str, Any]],
    found: list[dict[str, Any]],
) -> Any:
    """A prepared ``COCOeval`` with overlaps computed, made without its printing."""
    try:
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ToolError("COCO AP needs pycocotools", remedy="pip install 'n6convert[coco]'") from error
    evaluator = COCOeval(_index(images, categories, truth), _index(images, categories, found), _IOU_TYPES[kind])
    evaluator.params.imgIds, evaluator.params.catIds = list(images), list(categories)
    evaluator.params.maxDets = [_MAX_DETECTIONS[kind]]
    if kind == "keypoints":
        count = next((len(a["keypoints"]) // 3 for a in truth if a.get("keypoints")), 17)
        if count != len(evaluator.params.kpt_oks_sigmas):
            evaluator.params.kpt_oks_sigmas = np.full(count, 1 / count)
    evaluator._prepare()
    overlap = evaluator.computeOks if kind == "keypoints" else evaluator.computeIoU
    there = evaluator._gts.keys() | evaluator._dts.keys()
    evaluator.ious = {(image, category): overlap(image, category) for image, category in there}
    return evaluator


def _index(images: Sequence[int], categories: Mapping[int, str], annotations: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    numbered = [annotation | {"id": i} for i, annotation in enumerate(annotations, 1)]
    coco.anns = {a["id"]: a for a in numbered}
    coco.imgs = {i: {"id": i, "height": 0, "width": 0} for i in images}  # masks bring their own size
    coco.cats = {number: {"id": number, "name": name} for number, name in categories.items()}
    for annotation in numbered:
        coco.imgToAnns[annotation["image_id"]].append(annotation)
        coco.catToImgs[annotation["category_id"]].append(annotation["image_id"])
    coco.dataset = {"images": list(coco.imgs.values()), "annotations": numbered, "categories": list(coco.cats.values())}
    return coco


def _truth(annotation: Mapping[str, Any], image: int, points: int) -> dict[str, Any]:
    """An annotation with all that pycocotools asks for; without keypoints it does not count for keypoint AP."""
    try:
        x, y, w, h = (float(v) for v in annotation["bbox"])
        category = int(annotation["category_id"])
    except (KeyError, TypeError, ValueError) as error:
        limit = "bbox [x, y, width, height] and category_id"
        raise SourceError(
            "an annotation is incomplete", place=f"image {image}", limit=limit, found=annotation
        ) from error
    truth = {"iscrowd": 0, "area": w * h, "ignore": 0} | dict(annotation)
    truth |= {"image_id": image, "bbox": [x, y, w, h], "category_id": category}
    if points:
        truth["keypoints"] = annotation.get("keypoints") or [0] * (3 * points)
        truth.setdefault("num_keypoints", int(np.count_nonzero(np.asarray(truth["keypoints"][2::3]))))
    return truth


def _triples(points: NDArray[Any]) -> list[float]:
    """x, y and a constant visibility, as a flat list."""
    full = np.ones((len(points), 3))
    full[:, :2] = points[:, :2]
    return [float(v) for v in full.ravel()]
