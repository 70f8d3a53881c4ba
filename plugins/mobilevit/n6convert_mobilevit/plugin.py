"""The plugins behind ``mobilevit`` (XXS), ``mobilevit-xs`` and ``mobilevit-s``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import Field, field_validator

from n6convert.plugin import BuildRequest, FloatModel, PluginOptions, SourceError, Weights
from n6convert.plugin.images import ImageClassifier, ImageFormat
from n6convert_mobilevit.architecture import STRIDE, class_names, config_of, read_config
from n6convert_mobilevit.export import export_graph, seeded_folder, staged_folder
from n6convert_mobilevit.patches import write_patches

__all__ = ["MobileVit", "MobileVitOptions"]


class MobileVitOptions(PluginOptions):
    """Options of the MobileViT models."""

    imgsz: int | tuple[int, int] = Field(256, description="input size in pixels, or [height, width]; multiples of 64")
    crop: float = Field(256 / 288, gt=0, le=1, description="share of the image's short side that the network looks at")
    color: str = Field("bgr", pattern="^(bgr|rgb)$", description="channel order; the published checkpoints want bgr")

    @field_validator("imgsz")
    @classmethod
    def _check_size(cls, value: int | tuple[int, int]) -> int | tuple[int, int]:
        for side in value if isinstance(value, tuple) else (value,):
            if side < STRIDE or side % STRIDE:
                above = STRIDE * max(-(-side // STRIDE), 1)
                raise ValueError(f"{side} is not a positive multiple of {STRIDE}; the next one is {above}")
        return value

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.imgsz if isinstance(self.imgsz, tuple) else (self.imgsz, self.imgsz)


class MobileVit(ImageClassifier):
    """MobileViT image classification, from Hugging Face folders.

    Input ``pixel_values``: 0..1, BGR as Apple's checkpoints were trained, short side scaled and the center cut out.
    """

    Options: ClassVar[type[PluginOptions]] = MobileVitOptions
    summary: ClassVar[str] = "MobileViT image classification (Hugging Face folders)"

    def check_folder(self, path: Path) -> None:
        """The folder's configuration is that of a MobileViT classifier."""
        read_config(path)

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        """``pretrained``: Apple's checkpoint of this size, as the hub declares it."""
        from n6convert.plugin.weights import fetch_hub
        from n6convert_mobilevit.pretrained import PUBLISHED

        return fetch_hub(PUBLISHED[self.name], cache) if weights == "pretrained" else None

    def build(self, request: BuildRequest) -> FloatModel:
        """The float graph: exported by optimum, its patches rewritten into forms without permuting tensors."""
        options = cast(MobileVitOptions, self.options)
        source = request.weights.path
        config = config_of(self.name) if source is None else read_config(source)
        _check_stride(config, source)
        config["image_size"] = list(options.size)
        if source is None:
            folder = seeded_folder(config, request.seed, request.scratch)
        else:
            folder = staged_folder(source, config, request.scratch)
        request.progress("exporting", 0, None)
        model = write_patches(export_graph(folder, request.scratch))
        form = ImageFormat("nchw", *options.size, 3, (0.0,), (255.0,), options.color, fit="crop", crop=options.crop)
        return FloatModel(model, self.facts(form, class_names(config)))


def _check_stride(config: dict[str, Any], place: object) -> None:
    """Patches must be 2 x 2 on maps of strides 8, 16 and 32, as in every published classifier."""
    found = {key: config.get(key, wanted) for key, wanted in (("patch_size", 2), ("output_stride", 32))}
    if found != {"patch_size": 2, "output_stride": 32}:
        raise SourceError("this MobileViT has other patches or strides", place=place, found=found,
                          limit="patch_size 2, output_stride 32")  # fmt: skip
