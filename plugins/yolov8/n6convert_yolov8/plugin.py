"""The plugins behind ``yolov8n``, ``yolo11n``, ``yolo26n`` and their sizes and tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np

from n6convert.plugin import (
    BuildRequest,
    Feeds,
    Firmware,
    FloatModel,
    ModelPlugin,
    Outputs,
    PluginOptions,
    Sample,
    Weights,
)
from n6convert.plugin.images import letterbox
from n6convert_yolov8.building import build_model
from n6convert_yolov8.decode import HeadFacts, decode_head
from n6convert_yolov8.detections import Detections, placed, suppress
from n6convert_yolov8.firmware import cut_head, full_head
from n6convert_yolov8.options import YoloOptions
from n6convert_yolov8.pictures import draw_detections
from n6convert_yolov8.pretrained import LICENSE, fetch_pretrained

if TYPE_CHECKING:
    from PIL.Image import Image

    from n6convert.plugin.firmware import Port
    from n6convert.plugin.metrics import Metric

__all__ = ["YoloDetect", "YoloOriented", "YoloPose", "YoloSegment"]

#: COCO evaluation of YOLO networks looks at detections down to this score
_METRIC_CONFIDENCE = 0.001


class YoloDetect(ModelPlugin):
    """YOLOv8, YOLO11 and YOLO26 detection.

    ``encode`` letterboxes an image to the input size and scales it to 0..1, so that the INT8 input grid is 1/255 with
    zero point -128: the board writes camera bytes minus 128. ``decode`` gives :class:`Detections` down to the score
    that the metric needs; pictures show those above ``confidence``.
    """

    Options: ClassVar[type[PluginOptions]] = YoloOptions
    sample_kind: ClassVar[str] = "image"
    takes_folders: ClassVar[bool] = False
    summary: ClassVar[str] = "YOLO object detection (Ultralytics checkpoints, .safetensors, .onnx)"
    published_license: ClassVar[str] = LICENSE
    judged: ClassVar[Literal["boxes", "keypoints", "masks"]] = "boxes"

    @property
    def choices(self) -> YoloOptions:
        """The options under their own type."""
        return cast(YoloOptions, self.options)

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        """``pretrained``: the published weights of this network."""
        return fetch_pretrained(self.name, cache) if weights == "pretrained" else None

    def build(self, request: BuildRequest) -> FloatModel:
        """The float graph, from a checkpoint, an ONNX file, or seeded numbers."""
        return build_model(self.name, request, self.choices)

    def encode(self, sample: Sample) -> Feeds:
        """``images``: float32 RGB in 0..1, letterboxed on gray, ``[1, 3, h, w]`` or ``[1, h, w, 3]``."""
        tensor = self.info.inputs[0]
        canvas, _ = letterbox(cast("np.ndarray", sample.data), self._input_size())
        image = canvas.astype(np.float32) / np.float32(255)
        if tensor.shape[1] == 3:
            image = image.transpose(2, 0, 1)
        return {tensor.name: np.ascontiguousarray(image[None])}

    def decode(self, outputs: Outputs, sample: Sample | None = None) -> Detections:
        """Detections, best first; in pixels of the sample when it is given, otherwise of the input."""
        options, size = self.choices, self._input_size()
        found = decode_head(outputs, size, self._facts())
        iou = None if self._end2end() else options.iou
        kept = suppress(found, confidence=_METRIC_CONFIDENCE, iou=iou, limit=options.max_detections, multi_label=True)
        shape = None if sample is None else cast("np.ndarray", sample.data).shape
        return placed(found, kept, size, None if shape is None else (shape[0], shape[1]))

    def metric(self) -> Metric:
        """COCO AP of boxes, of keypoints (OKS) for pose, of masks for segments and oriented boxes."""
        from n6convert.plugin.metrics import CocoAP

        return CocoAP(self.judged, self._class_names())

    def firmware(self, stem: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> Firmware:
        """C that decodes the cut head, or ST's post-processing configuration for the full one of boxes or keypoints."""
        options = self.choices
        facts: dict[str, Any] = {"classes": self._class_names(), "keypoints": self._keypoints()}
        facts |= {"confidence": options.confidence, "iou": options.iou, "limit": options.max_detections}
        if self.info.metadata["head"] == "full":
            if self.info.metadata["task"] not in ("detect", "pose"):
                return Firmware()
            return full_head(outputs[0], **facts)
        facts |= {"reg_max": int(self.info.metadata["reg_max"]), "end2end": self._end2end()}
        return cut_head(stem, outputs, self._input_size(), angles=self.info.metadata.get("angles", ""), **facts)

    def draw(self, sample: Sample, *predictions: Detections) -> Image:
        """The sample once for each prediction, side by side: float first, then INT8."""
        shown = [p.above(self.choices.confidence) for p in predictions]
        return draw_detections(cast("np.ndarray", sample.data), shown, self._class_names())

    def _input_size(self) -> tuple[int, int]:
        shape = self.info.inputs[0].shape
        return (shape[2], shape[3]) if shape[1] == 3 else (shape[1], shape[2])

    def _facts(self) -> HeadFacts:
        metadata = self.info.metadata
        return HeadFacts(self._keypoints(), "angles" in metadata, metadata.get("angles") == "radians")

    def _end2end(self) -> bool:
        return self.info.metadata.get("end2end") == "true"

    def _keypoints(self) -> tuple[int, int] | None:
        text = self.info.metadata.get("keypoints")
        return cast("tuple[int, int]", tuple(json.loads(text))) if text else None

    def _class_names(self) -> tuple[str, ...]:
        return tuple(json.loads(self.info.metadata["classes"]))


class YoloPose(YoloDetect):
    """Boxes with keypoints."""

    summary: ClassVar[str] = "YOLO pose: people with 17 keypoints (Ultralytics checkpoints, .safetensors, .onnx)"
    judged: ClassVar[Literal["boxes", "keypoints", "masks"]] = "keypoints"


class YoloSegment(YoloDetect):
    """Boxes with masks."""

    summary: ClassVar[str] = "YOLO instance segmentation (Ultralytics checkpoints, .safetensors, .onnx)"
    judged: ClassVar[Literal["boxes", "keypoints", "masks"]] = "masks"


class YoloOriented(YoloDetect):
    """Boxes turned to fit, judged as the polygons they are."""

    summary: ClassVar[str] = "YOLO oriented boxes (Ultralytics checkpoints, .safetensors, .onnx)"
    judged: ClassVar[Literal["boxes", "keypoints", "masks"]] = "masks"
