"""Options of the models of the family."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from n6convert.plugin import PluginOptions
from n6convert_yolov8.head import HeadForm

__all__ = ["ClassifyOptions", "SizedOptions", "YoloOptions"]

_LARGEST_SIDE = 4096


class SizedOptions(PluginOptions):
    """What every model of the family may be asked for."""

    imgsz: int | tuple[int, int] = Field(640, description="input size in pixels, or [height, width]; multiples of 32")
    head: HeadForm = Field(
        "cut", description="`cut`: raw outputs per stride and branch; `full`: one output with normalized boxes"
    )
    layout: Literal["nchw", "nhwc"] = Field("nchw", description="channel order of the input")

    dequantize: bool = Field(False, description="take the weights of an .onnx file that is quantized already")

    @field_validator("imgsz")
    @classmethod
    def _check_size(cls, value: int | tuple[int, int]) -> int | tuple[int, int]:
        for side in value if isinstance(value, tuple) else (value,):
            if side < 32 or side % 32:
                above = 32 * max(-(-side // 32), 1)
                raise ValueError(f"{side} is not a positive multiple of 32; the next one is {above}")
            if side > _LARGEST_SIDE:
                raise ValueError(f"{side} is more than {_LARGEST_SIDE}: such an image fits no board's memory")
        return value

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.imgsz if isinstance(self.imgsz, tuple) else (self.imgsz, self.imgsz)


class YoloOptions(SizedOptions):
    """Options of detectors and of what is built on them."""

    confidence: float = Field(0.25, gt=0, lt=1, description="least score of what `decode` and pictures show")
    iou: float = Field(0.7, gt=0, le=1, description="overlap above which the weaker of two boxes of a class goes")
    max_detections: int = Field(300, ge=1, description="detections per image at most")
    end2end: bool = Field(True, description="YOLO26 checkpoints hold two heads: take the one that needs no suppression")


class ClassifyOptions(SizedOptions):
    """Options of classifiers."""

    imgsz: int | tuple[int, int] = Field(224, description="input size in pixels, or [height, width]; multiples of 32")
    head: HeadForm = Field("cut", description="`cut`: logits; `full`: probabilities, through a Softmax")
