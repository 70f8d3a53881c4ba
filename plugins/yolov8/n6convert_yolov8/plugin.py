"""The plugins behind ``yolov8n``, ``yolov8s``, ``yolov8m`` and their ``-pose`` variants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
from pydantic import Field, field_validator

from n6convert.plugin import (
    BuildRequest,
    Feeds,
    Firmware,
    FloatModel,
    ModelPlugin,
    Outputs,
    PluginOptions,
    Sample,
    SourceError,
    Weights,
)
from n6convert.plugin.images import Letterbox, draw_boxes, draw_points, letterbox, side_by_side
from n6convert_yolov8.architecture import Architecture
from n6convert_yolov8.decode import Detections, decode_head, suppress
from n6convert_yolov8.firmware import cut_head, full_head
from n6convert_yolov8.head import HeadForm
from n6convert_yolov8.names import COCO_CLASSES, SKELETON
from n6convert_yolov8.network import build_network
from n6convert_yolov8.onnx_source import ForeignNetwork
from n6convert_yolov8.parameters import load_parameters, seeded_parameters
from n6convert_yolov8.pretrained import LICENSE, fetch_pretrained

if TYPE_CHECKING:
    from PIL.Image import Image

    from n6convert.plugin.firmware import Port
    from n6convert.plugin.metrics import Metric

__all__ = ["YoloV8", "YoloV8Options", "YoloV8Pose"]


_LARGEST_SIDE = 4096


class YoloV8Options(PluginOptions):
    """Options of the YOLOv8 models."""

    imgsz: int | tuple[int, int] = Field(640, description="input size in pixels, or [height, width]; multiples of 32")
    head: HeadForm = Field(
        "cut", description="`cut`: raw outputs per stride and branch; `full`: one output with normalised boxes"
    )
    layout: Literal["nchw", "nhwc"] = Field("nchw", description="channel order of the input")
    confidence: float = Field(0.25, gt=0, lt=1, description="least score of what `decode` and pictures show")
    iou: float = Field(0.7, gt=0, le=1, description="overlap above which the weaker of two boxes of a class goes")
    max_detections: int = Field(300, ge=1, description="detections per image at most")

    @field_validator("imgsz")
    @classmethod
    def _check_size(cls, value: int | tuple[int, int]) -> int | tuple[int, int]:
        for side in value if isinstance(value, tuple) else (value,):
            if side < 32 or side % 32:
                raise ValueError(f"{side} is not a positive multiple of 32")
            if side > _LARGEST_SIDE:
                raise ValueError(f"{side} is more than {_LARGEST_SIDE}: such an image fits no board's memory")
        return value

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.imgsz if isinstance(self.imgsz, tuple) else (self.imgsz, self.imgsz)


class YoloV8(ModelPlugin):
    """YOLOv8 detection.

    ``encode`` letterboxes an image to the input size and scales it to 0..1, so that the INT8 input grid is 1/255 with
    zero point -128: the board writes camera bytes minus 128. ``decode`` gives :class:`Detections` down to the score
    that the metric needs; pictures show those above ``confidence``.
    """

    Options: ClassVar[type[PluginOptions]] = YoloV8Options
    sample_kind: ClassVar[str] = "image"
    takes_folders: ClassVar[bool] = False
    summary: ClassVar[str] = "YOLOv8 object detection (Ultralytics checkpoints, .safetensors, .onnx)"
    published_license: ClassVar[str] = LICENSE
    seeded_keypoints: ClassVar[tuple[int, int] | None] = None

    @property
    def choices(self) -> YoloV8Options:
        """The options under their own type."""
        return cast(YoloV8Options, self.options)

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        """``pretrained``: the published COCO weights of this size."""
        return fetch_pretrained(self.name, cache) if weights == "pretrained" else None

    def build(self, request: BuildRequest) -> FloatModel:
        """The float graph, from a checkpoint, an ONNX file, or seeded numbers."""
        path, options = request.weights.path, self.choices
        if path is None:
            parameters = seeded_parameters(self.name[len("yolov8")], request.seed, self.seeded_keypoints)
        elif path.suffix.lower() == ".onnx":
            request.progress("recognising the network in the .onnx file", 0, None)
            foreign = ForeignNetwork(path, pose=self.seeded_keypoints is not None)
            if foreign.parameters is None:
                return _as_it_is(foreign, options, path)
            parameters = foreign.parameters
        else:
            parameters = load_parameters(path)
        architecture, channels_last = parameters.architecture, options.layout == "nhwc"
        self._check_task(architecture, path)
        model = build_network(parameters, options.size, head=options.head, channels_last=channels_last, name=self.name)
        facts = {"head": options.head, "reg_max": str(architecture.reg_max)}
        return FloatModel(model, facts | _labels(parameters.classes, architecture.classes, architecture.keypoints))

    def encode(self, sample: Sample) -> Feeds:
        """``images``: float32 RGB in 0..1, letterboxed on grey, ``[1, 3, h, w]`` or ``[1, h, w, 3]``."""
        tensor = self.info.inputs[0]
        canvas, _ = letterbox(cast("np.ndarray", sample.data), self._input_size())
        image = canvas.astype(np.float32) / np.float32(255)
        if tensor.shape[1] == 3:
            image = image.transpose(2, 0, 1)
        return {tensor.name: np.ascontiguousarray(image[None])}

    def decode(self, outputs: Outputs, sample: Sample | None = None) -> Detections:
        """Detections, best first; in pixels of the sample when it is given, otherwise of the input."""
        options, size = self.choices, self._input_size()
        found = suppress(
            decode_head(outputs, size, self._keypoints()),
            confidence=_METRIC_CONFIDENCE,
            iou=options.iou,
            limit=options.max_detections,
            multi_label=True,
        )
        return found if sample is None else _in_sample(found, sample, size)

    def metric(self) -> Metric:
        """COCO AP of boxes, or of keypoints (OKS) for pose."""
        from n6convert.plugin.metrics import CocoAP

        kind: Literal["boxes", "keypoints"] = "keypoints" if self._keypoints() else "boxes"
        return CocoAP(kind, self._class_names())

    def firmware(self, stem: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> Firmware:
        """C that decodes the cut head, or ST's post-processing configuration for the full one."""
        options = self.choices
        facts: dict[str, Any] = {"classes": self._class_names(), "keypoints": self._keypoints()}
        facts |= {"confidence": options.confidence, "iou": options.iou}
        if len(outputs) == 1:
            return full_head(outputs[0], limit=options.max_detections, **facts)
        reg_max = int(self.info.metadata["reg_max"])
        return cut_head(stem, outputs, self._input_size(), reg_max=reg_max, **facts)

    def draw(self, sample: Sample, *predictions: Detections) -> Image:
        """The sample once for each prediction, side by side: float first, then INT8."""
        titles = ("float", "INT8", *(f"prediction {i}" for i in range(3, len(predictions) + 1)))
        pictures = [self._picture(sample, p.above(self.choices.confidence)) for p in predictions]
        return side_by_side(pictures, titles[: len(pictures)])

    def _picture(self, sample: Sample, found: Detections) -> Image:
        from PIL import Image as Pil

        names = self._class_names()
        picture = Pil.fromarray(cast("np.ndarray", sample.data)).convert("RGB")
        labels = [
            f"{names[c] if c < len(names) else c} {s:.2f}" for c, s in zip(found.classes, found.scores, strict=True)
        ]
        draw_boxes(picture, found.boxes, labels, [int(c) for c in found.classes])
        for points in found.keypoints if found.keypoints is not None else ():
            edges = SKELETON if len(points) == 17 else ()
            draw_points(picture, points, edges, points[:, 2] > 0.5)
        return picture

    def _check_task(self, architecture: Architecture, path: Path | None) -> None:
        wanted = "pose" if self.seeded_keypoints else "detection"
        found = "pose" if architecture.keypoints else "detection"
        if wanted != found:
            other = self.name.removesuffix("-pose") if found == "detection" else f"{self.name}-pose"
            raise SourceError(
                f"the weights are those of a {found} network", place=path, limit=f"{wanted} weights for {self.name}",
                remedy=f"n6convert {other} --weights {path}",
            )  # fmt: skip

    def _input_size(self) -> tuple[int, int]:
        shape = self.info.inputs[0].shape
        return (shape[2], shape[3]) if shape[1] == 3 else (shape[1], shape[2])

    def _keypoints(self) -> tuple[int, int] | None:
        text = self.info.metadata.get("keypoints")
        return cast("tuple[int, int]", tuple(json.loads(text))) if text else None

    def _class_names(self) -> tuple[str, ...]:
        return tuple(json.loads(self.info.metadata["classes"]))


class YoloV8Pose(YoloV8):
    """YOLOv8 pose: boxes with keypoints."""

    summary: ClassVar[str] = "YOLOv8 pose: people with 17 keypoints (Ultralytics checkpoints, .safetensors, .onnx)"
    seeded_keypoints: ClassVar[tuple[int, int] | None] = (17, 3)


#: COCO evaluation of YOLO networks looks at detections down to this score
_METRIC_CONFIDENCE = 0.001


def _as_it_is(foreign: ForeignNetwork, options: YoloV8Options, path: Path) -> FloatModel:
    """A file whose layers were not recognised: its own graph, cut where that is possible."""
    if foreign.size != options.size:
        raise SourceError(
            "the .onnx file has another input size, and its layers were not recognised, so it cannot be rebuilt",
            place=path, limit=f"{foreign.size[0]} x {foreign.size[1]}", found=f"{options.size[0]} x {options.size[1]}",
            remedy=f"set options.imgsz to the file's own size; not recognised because: {foreign.reason}",
        )  # fmt: skip
    cut = foreign.cut() if options.head == "cut" else None
    facts = {"head": "full" if cut is None else "cut", "note": f"the file's own graph was used: {foreign.reason}"}
    if cut is None and options.head == "cut":
        facts["note"] += "; the head could not be cut, so boxes and scores share the full output's INT8 grid"
    return FloatModel(cut or foreign.model, facts | _labels(foreign.names, foreign.classes, foreign.keypoints))


def _labels(names: Sequence[str] | None, count: int, keypoints: tuple[int, int] | None) -> dict[str, str]:
    """What decoding needs to know, as metadata."""
    if names is None or len(names) != count:
        names = _default_names(count, keypoints is not None)
    facts = {"classes": json.dumps(list(names))}
    return facts | ({"keypoints": json.dumps(keypoints)} if keypoints else {})


def _default_names(count: int, pose: bool) -> Sequence[str]:
    if count == len(COCO_CLASSES):
        return COCO_CLASSES
    return ("person",) if pose and count == 1 else [f"class {i}" for i in range(count)]


def _in_sample(found: Detections, sample: Sample, size: tuple[int, int]) -> Detections:
    height, width = cast("np.ndarray", sample.data).shape[:2]
    place = Letterbox.fit((height, width), size)
    boxes = place.to_image(found.boxes)
    boxes[:, 0::2], boxes[:, 1::2] = boxes[:, 0::2].clip(0, width), boxes[:, 1::2].clip(0, height)
    points = found.keypoints
    if points is not None:
        points = np.concatenate([place.to_image(points[..., :2]), points[..., 2:]], 2)
    return Detections(boxes, found.scores, found.classes, points)
