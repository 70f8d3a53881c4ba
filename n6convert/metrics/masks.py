"""Masks in the run-length form that COCO evaluation compares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError, ToolError
from n6convert.samples.base import Sample

__all__ = ["with_masks"]

Records = list[dict[str, Any]]


def with_masks(truth: Records, found: Records, sample: Sample, prediction: Any) -> tuple[Records, Records]:
    """One image's labels and detections with their masks as ``segmentation``.

    Args:
        truth: annotations; those without a ``segmentation`` are an error.
        found: detections, each with the ``row`` of the prediction it is.
        sample: the image.
        prediction: with ``masks``, bool ``[n, h, w]``, or ``corners``, polygons ``[n, k, 2]`` in pixels.

    Raises:
        SourceError: the labels or the predictions have no masks.
        ToolError: pycocotools is missing.
    """
    coco = _coco_masks()
    height, width = np.asarray(sample.data).shape[:2]
    masks, polygons = getattr(prediction, "masks", None), getattr(prediction, "corners", None)
    if masks is None and polygons is None:
        raise SourceError("the predictions have no masks to be judged by", place=sample.id)
    for detection in found:
        row = detection["row"]
        if masks is not None:
            detection["segmentation"] = coco.encode(np.asfortranarray(masks[row], np.uint8))
        elif polygons is not None:
            detection["segmentation"] = _filled(coco, polygons[row], height, width)
        detection["area"] = float(coco.area(detection["segmentation"]))
    return [_labeled(coco, annotation, sample.id, height, width) for annotation in truth], found


def _labeled(coco: Any, annotation: dict[str, Any], place: str, height: int, width: int) -> dict[str, Any]:
    shape = annotation.get("segmentation")
    if not shape:
        raise SourceError(
            "the labels have no masks", place=place, limit="`segmentation` in every annotation of the COCO json",
            found=sorted(annotation),
        )  # fmt: skip
    if isinstance(shape, list):
        shape = coco.merge(coco.frPyObjects(shape, height, width))
    elif isinstance(shape.get("counts"), list):
        shape = coco.frPyObjects(shape, height, width)
    return annotation | {"segmentation": shape}


def _filled(coco: Any, polygon: NDArray[Any], height: int, width: int) -> Any:
    return coco.frPyObjects([np.asarray(polygon, np.float64).ravel().tolist()], height, width)[0]


def _coco_masks() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ToolError("COCO AP needs pycocotools", remedy="pip install 'n6convert[coco]'") from error
    return mask
