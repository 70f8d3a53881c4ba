"""The plugin behind ``yolov8n-cls``, ``yolo11n-cls``, ``yolo26n-cls`` and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from n6convert.plugin import BuildRequest, Firmware, FloatModel, PluginOptions, Weights
from n6convert.plugin.images import ImageClassifier, ImageFormat
from n6convert_yolov8.building import build_model
from n6convert_yolov8.firmware import classifier
from n6convert_yolov8.options import ClassifyOptions
from n6convert_yolov8.pretrained import LICENSE, fetch_pretrained

if TYPE_CHECKING:
    from n6convert.plugin.firmware import Port

__all__ = ["YoloClassify"]


class YoloClassify(ImageClassifier):
    """Image classification: the short side scaled to the input, cropped in the middle, pixels in 0..1."""

    Options: ClassVar[type[PluginOptions]] = ClassifyOptions
    takes_folders: ClassVar[bool] = False
    summary: ClassVar[str] = "YOLO image classification (Ultralytics checkpoints, .safetensors, .onnx)"
    published_license: ClassVar[str] = LICENSE

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        """``pretrained``: the published weights of this network."""
        return fetch_pretrained(self.name, cache) if weights == "pretrained" else None

    def build(self, request: BuildRequest) -> FloatModel:
        """The float graph, from a checkpoint, an ONNX file, or seeded numbers."""
        options = cast(ClassifyOptions, self.options)
        built = build_model(self.name, request, options)
        return FloatModel(built.model, {**built.metadata, "image": _form(options).to_json()})

    def firmware(self, stem: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> Firmware:
        """C that ranks the classes and gives their probabilities."""
        logits = self.info.metadata["head"] == "cut"
        return classifier(stem, outputs[0], names=self.class_names(), logits=logits)


def _form(options: ClassifyOptions) -> ImageFormat:
    height, width = options.size
    return ImageFormat(options.layout, height, width, 3, (0.0,), (255.0,), fit="crop", crop=1.0)
