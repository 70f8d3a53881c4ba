"""The plugin class behind ``movenet``, ``movenet-lightning`` and ``movenet-thunder``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import Field, field_validator

from n6convert.errors import SourceError
from n6convert.plugin import (
    BuildRequest,
    Feeds,
    Firmware,
    FloatModel,
    ModelPlugin,
    Outputs,
    PluginOptions,
    Sample,
    SampleSource,
    Weights,
)
from n6convert.plugin.metrics import BODY_13, COCO_17, KeypointMetric, Metric
from n6convert_movenet.architecture import FOUR_HEADS, HEATMAP_HEAD, INPUT
from n6convert_movenet.firmware import pose_firmware
from n6convert_movenet.framing import PersonCrops, Square, crop_square
from n6convert_movenet.pose import decode_four_heads, decode_heatmaps

if TYPE_CHECKING:
    from n6convert.plugin.firmware import Port

__all__ = ["MoveNet", "MoveNetOptions"]

_SIDES = {"movenet-thunder": 256}
_DEFAULT_SIDE = 192
#: what ST's and Google's files take: pixels from -1 to 1
_SCALE, _SHIFT = 1 / 127.5, -1.0
_EDGES = (
    ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"), ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
    ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"),
)  # fmt: skip
_HUB = "https://tfhub.dev/google/lite-model/movenet/singlepose/{}/tflite/float16/4?lite-format=tflite"
#: published files with their sha256 and bytes, each confirmed by several independent public sources
_PRETRAINED = {
    "lightning": ("0fac2226112d0371903ca86e3853cec24ef603a0b2f96f589b180f0ebdd135ab", 4_758_512),
    "thunder": ("41641538679ec79b07d4101e591dda47d098c09af29607674b2a40b8a3798dd3", 12_584_128),
}


class MoveNetOptions(PluginOptions):
    """Options of the MoveNet models."""

    imgsz: int | None = Field(
        None, ge=64, le=512, description="side of the square input; null: the file's, or 192 (256 for Thunder)"
    )
    keypoints: Literal[13, 17] | None = Field(
        None, description="keypoints of seeded weights; null: 13 for movenet, 17 for the four-headed ones"
    )

    @field_validator("imgsz")
    @classmethod
    def _whole_cells(cls, value: int | None) -> int | None:
        if value is not None and value % 32:
            raise ValueError("must be a multiple of 32, such as 192, 224 or 256")
        return value


class MoveNet(ModelPlugin):
    """Single-person pose: heat maps (``movenet``) or the original model's four heads."""

    Options: ClassVar[type[PluginOptions]] = MoveNetOptions
    sample_kind: ClassVar[str] = "image"
    summary: ClassVar[str] = "MoveNet single-person pose estimation"
    published_license: ClassVar[str] = "Apache-2.0 (Google)"

    options: MoveNetOptions

    @property
    def _four_heads(self) -> bool:
        return self.name != "movenet"

    @property
    def _names(self) -> tuple[str, ...]:
        return BODY_13 if self.info.metadata["keypoints"] == "13" else COCO_17

    @property
    def _side(self) -> int:
        return self.info.inputs[0].shape[2]

    def check_folder(self, path: Path) -> None:
        """The folder is a SavedModel."""
        from n6convert_movenet.files import check_folder

        check_folder(path)

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        if weights != "pretrained":
            return None
        from n6convert.plugin.weights import fetch

        variant = "thunder" if self.name == "movenet-thunder" else "lightning"
        sha256, size = _PRETRAINED[variant]
        url = _HUB.format(variant)
        path = fetch(url, sha256, cache, name=f"movenet_{variant}_float16_4.tflite", size=size)
        return Weights("pretrained", path, sha256, url, "Apache-2.0", "sha256 pinned in n6convert-movenet")

    def build(self, request: BuildRequest) -> FloatModel:
        return self._seeded(request.seed) if request.weights.kind == "seeded" else self._imported(request)

    def _seeded(self, seed: int) -> FloatModel:
        from n6convert_movenet.architecture import build_network

        keypoints = self.options.keypoints or (17 if self._four_heads else 13)
        model = build_network(
            width=1.75 if self.name == "movenet-thunder" else 1.0,
            heads=FOUR_HEADS if self._four_heads else HEATMAP_HEAD,
            keypoints=keypoints,
            imgsz=self.options.imgsz or _SIDES.get(self.name, _DEFAULT_SIDE),
            seed=seed,
        )
        return FloatModel(model, _metadata(keypoints, (_SCALE,) * 3, (_SHIFT,) * 3))

    def _imported(self, request: BuildRequest) -> FloatModel:
        from n6convert_movenet.cut import cut_network
        from n6convert_movenet.files import read_graph

        path = request.weights.path
        assert path is not None
        graph = read_graph(path, request.scratch, request.progress)
        model, front, keypoints = cut_network(graph, four_heads=self._four_heads, imgsz=self.options.imgsz)
        if self.options.keypoints not in (None, keypoints):
            raise SourceError(
                "the file has another number of keypoints than the recipe asks for",
                place=path,
                limit=self.options.keypoints,
                found=keypoints,
                remedy="leave options.keypoints out; it is meant for seeded weights",
            )
        scale, shift = (front.scale, front.shift) if front else ((_SCALE,) * 3, (_SHIFT,) * 3)
        return FloatModel(model, _metadata(keypoints, scale, shift))

    def prepare(self, source: SampleSource) -> SampleSource:
        return PersonCrops(source, self._names)

    def encode(self, sample: Sample) -> Feeds:
        pixels = _pixels(sample)
        square = crop_square(pixels, _whole(pixels), self._side).astype(np.float32)
        scale, shift = (np.array(self.info.metadata[k].split(), np.float32) for k in ("input_scale", "input_shift"))
        return {INPUT: np.ascontiguousarray((square * scale + shift).transpose(2, 0, 1)[None])}

    def decode(self, outputs: Outputs, sample: Sample | None = None) -> NDArray[Any]:
        """Keypoints [K,3]: x, y, score; in the sample's pixels, or as shares of the input without a sample."""
        shares = decode_four_heads(outputs) if self._four_heads else decode_heatmaps(outputs["heatmaps"])
        return shares if sample is None else _whole(_pixels(sample)).to_image(shares)

    def metric(self) -> Metric | None:
        return KeypointMetric(self._names)

    def firmware(self, stem: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> Firmware:
        """C that finds the keypoints in the INT8 outputs, and ST's configuration for plain heat maps."""
        return pose_firmware(stem, outputs)

    def draw(self, sample: Sample, *predictions: NDArray[Any]) -> Image.Image:
        """The sample once for every pose, side by side, each with its skeleton."""
        image = Image.fromarray(_pixels(sample))
        sheet = Image.new("RGB", (image.width * max(1, len(predictions)), image.height))
        for place, pose in enumerate(predictions or (np.zeros((len(self._names), 3)),)):
            panel = image.copy()
            _draw_skeleton(panel, dict(zip(self._names, pose, strict=True)))
            sheet.paste(panel, (place * image.width, 0))
        return sheet


def _metadata(keypoints: int, scale: tuple[float, ...], shift: tuple[float, ...]) -> dict[str, str]:
    return {
        "keypoints": str(keypoints),
        "input_scale": " ".join(map(repr, scale)),
        "input_shift": " ".join(map(repr, shift)),
    }


def _pixels(sample: Sample) -> NDArray[Any]:
    if not isinstance(sample.data, np.ndarray) or sample.data.ndim != 3:
        raise SourceError("MoveNet takes images", place=sample.id, found=type(sample.data).__name__)
    return sample.data


def _whole(pixels: NDArray[Any]) -> Square:
    """The square that holds the whole image."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    return Square((width - side) // 2, (height - side) // 2, side)


def _draw_skeleton(image: Image.Image, pose: dict[str, NDArray[Any]], least: float = 0.2) -> None:
    pen = ImageDraw.Draw(image)
    thick = max(2, image.height // 120)
    points = {name: (float(p[0]), float(p[1])) for name, p in pose.items() if p[2] >= least}
    for a, b in _EDGES:
        if a in points and b in points:
            pen.line([points[a], points[b]], fill=(60, 220, 90), width=thick)
    for x, y in points.values():
        pen.ellipse([x - thick, y - thick, x + thick, y + thick], fill=(255, 80, 60))
