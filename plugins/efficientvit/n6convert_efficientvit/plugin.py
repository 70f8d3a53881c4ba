"""The plugins behind ``efficientvit`` (B0) and ``efficientvit-b1``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, cast

from pydantic import Field, field_validator

from n6convert.plugin import BuildRequest, FloatModel, PluginOptions, Weights
from n6convert.plugin.images import ImageClassifier, ImageFormat
from n6convert_efficientvit.architecture import ARCHITECTURES
from n6convert_efficientvit.network import build_network
from n6convert_efficientvit.parameters import Parameters, load_parameters, seeded_parameters

__all__ = ["EfficientVit", "EfficientVitOptions"]

_STRIDE = 32
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_CROP = 0.95
#: repository on the Hugging Face hub and its commit; where no public source names one, the first that is served is kept
_HUB = {
    "efficientvit": ("timm/efficientvit_b0.r224_in1k", "4844777adc2285905eeb022672ba81620b52bd0c"),
    "efficientvit-b1": ("timm/efficientvit_b1.r224_in1k", None),
}


class EfficientVitOptions(PluginOptions):
    """Options of the EfficientViT models."""

    imgsz: int | tuple[int, int] = Field(224, description="input size in pixels, or [height, width]; multiples of 32")
    crop: float = Field(_CROP, gt=0, le=1, description="share of the image's short side that the network looks at")

    @field_validator("imgsz")
    @classmethod
    def _check_size(cls, value: int | tuple[int, int]) -> int | tuple[int, int]:
        for side in value if isinstance(value, tuple) else (value,):
            if side < _STRIDE or side % _STRIDE:
                above = _STRIDE * max(-(-side // _STRIDE), 1)
                raise ValueError(f"{side} is not a positive multiple of {_STRIDE}; the next one is {above}")
        return value

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.imgsz if isinstance(self.imgsz, tuple) else (self.imgsz, self.imgsz)


class EfficientVit(ImageClassifier):
    """EfficientViT image classification (MIT Han lab), from checkpoints with timm's parameter names.

    Input: RGB, ImageNet mean and deviation, short side scaled and the center cut out.
    """

    Options: ClassVar[type[PluginOptions]] = EfficientVitOptions
    takes_folders: ClassVar[bool] = False
    summary: ClassVar[str] = "EfficientViT image classification (timm's .safetensors or torch checkpoints)"

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        """``pretrained``: timm's ImageNet weights of this size, as the hub declares them."""
        from n6convert.plugin.weights import HubModel, fetch_hub

        if weights != "pretrained":
            return None
        repository, commit = _HUB[self.name]
        return fetch_hub(HubModel(repository, ("model.safetensors",), commit, "Apache-2.0 (MIT Han lab, timm)"), cache)

    def build(self, request: BuildRequest) -> FloatModel:
        """The float graph, from a checkpoint or seeded numbers; sizes are read off the checkpoint."""
        options = cast(EfficientVitOptions, self.options)
        parameters = self._parameters(request)
        model = build_network(parameters, options.size, self.name)
        form = ImageFormat("nchw", *options.size, 3, _MEAN, _STD, fit="crop", crop=options.crop, smooth=True)
        return FloatModel(model, self.facts(form))

    def _parameters(self, request: BuildRequest) -> Parameters:
        if request.weights.path is None:
            return seeded_parameters(ARCHITECTURES[self.name], request.seed)
        request.progress("reading weights", 0, None)
        return load_parameters(request.weights.path)
