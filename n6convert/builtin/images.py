"""How an image becomes a network's input: what the graph itself tells, and what only its owner knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import RecipeError, SourceError
from n6convert.imaging import as_rgb, letterbox, resize

__all__ = ["RANGES", "ImageFormat", "Layout", "guess_layout", "guess_range"]

Layout = Literal["nchw", "nhwc"]
_CHANNELS = {1, 3, 4}
#: (mean, std) in pixel units, by the name of a range
RANGES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0..255": ((0.0,), (1.0,)),
    "0..1": ((0.0,), (255.0,)),
    "-1..1": ((127.5,), (127.5,)),
    "-128..127": ((128.0,), (1.0,)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}

#: share of its width by which the range of a quantized input may differ from a usual one
_NEAR = 0.01


class UnknownRange(RecipeError):
    """Nobody said how pixels become an input's values; where ready inputs calibrate, nobody has to."""


@dataclass(frozen=True)
class ImageFormat:
    """value = (pixel - mean) / std, pixels 0..255, in the layout and channel order of the input.

    Attributes:
        layout: ``nchw`` or ``nhwc``.
        height, width, channels: of the input.
        mean, std: in pixel units, one number or one per channel; None when nobody said so far.
        color: ``rgb`` or ``bgr``; one channel is luminance.
        fit: ``stretch``, ``crop`` (short side scaled to size / crop, center cut out) or ``letterbox``.
        crop: share of the short side that is kept by ``crop``.
        smooth: bicubic instead of bilinear scaling.
    """

    layout: Layout
    height: int
    width: int
    channels: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    color: str = "rgb"
    fit: str = "stretch"
    crop: float = 0.875
    smooth: bool = False

    def to_json(self) -> str:
        """The format as it is kept beside a model."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ImageFormat:
        """The format that :meth:`to_json` wrote."""
        parts = json.loads(text)
        for name in ("mean", "std"):
            parts[name] = None if parts[name] is None else tuple(parts[name])
        return cls(**parts)

    def encode(self, image: NDArray[Any], place: str) -> NDArray[np.float32]:
        """uint8 RGB ``[h, w, 3]`` to float32 ``[1, c, height, width]`` or ``[1, height, width, c]``.

        Raises:
            UnknownRange: the range of the input's values is not known.
        """
        if self.mean is None or self.std is None:
            raise UnknownRange(
                "the range of the input's values cannot be inferred from the graph",
                place=f"input of {place}",
                limit=", ".join(RANGES),
                remedy="say how training scaled its pixels: `--set options.range=0..1` (or mean and std)",
            )
        pixels = self._channels(self._fitted(as_rgb(image))).astype(np.float32)
        values = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        if self.layout == "nchw":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None], np.float32)

    def _fitted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = (self.height, self.width)
        if self.fit == "letterbox":
            return letterbox(image, size)[0]
        if self.fit == "stretch":
            return self._scaled(image, size)
        height, width = image.shape[:2]
        scale = max(self.height / height, self.width / width) / self.crop
        inner = (max(round(height * scale), self.height), max(round(width * scale), self.width))
        scaled = self._scaled(image, inner)
        top, left = (inner[0] - self.height) // 2, (inner[1] - self.width) // 2
        return scaled[top : top + self.height, left : left + self.width]

    def _scaled(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        if not self.smooth or image.shape[:2] == size:
            return resize(image, size)
        from PIL import Image

        return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))

    def _channels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.channels == 1:
            weights = np.array([0.299, 0.587, 0.114], np.float32)
            return np.asarray(np.rint(image @ weights)[..., None], np.uint8)
        if self.channels != 3:
            raise SourceError("images have 1 or 3 channels", found=f"an input with {self.channels}")
        return image[..., ::-1] if self.color == "bgr" else image


def guess_layout(value: ir.Value) -> Layout | None:
    """Layout of an image input from its shape, and where that is ambiguous from what reads it; None for no image.

    Raises:
        RecipeError: it is an image, but in which layout cannot be told.
    """
    shape = [int(d) for d in value.shape or () if isinstance(d, int)]
    if len(shape) != 4:
        return None
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first != last:
        return "nchw" if first else "nhwc"
    if not first:
        return None
    readers = {use.node.op_type for use in value.uses()}
    if "Conv" in readers:
        return "nchw"
    if "Transpose" in readers:
        return "nhwc"
    raise RecipeError(
        "the layout of an input cannot be inferred", place=value.name, found=shape, remedy="set options.layout"
    )


def guess_range(value: ir.Value, metadata: Mapping[str, str]) -> str | None:
    """Name of the range when the graph normalizes its input itself or its exporter is known; else None."""
    if {"stride", "task", "names"} <= set(metadata):
        return "0..1"
    node = _first_arithmetic(value)
    if node is None:
        return None
    numbers = _operand(node, value)
    if numbers is None or not len(numbers):
        return None
    low, high = float(numbers.min()), float(numbers.max())
    if node.op_type == "Div" and low > 50 or node.op_type == "Mul" and 0 < high < 0.02:
        return "0..255"
    if node.op_type in {"Sub", "Add"} and 80 < abs(low) < 160:
        return "0..255"
    if node.op_type == "Sub" and 0.3 < low <= high < 0.6 or node.op_type == "Mul" and low == high == 2:
        return "0..1"
    return None


def range_of(low: float, high: float) -> tuple[float, float] | None:
    """(mean, std) in pixel units of the usual range that a quantized input covers; None for an unusual one."""
    for mean, std in (r for r in RANGES.values() if len(r[0]) == 1):
        ends = np.array([-mean[0] / std[0], (255 - mean[0]) / std[0]])
        if np.abs(ends - (low, high)).max() < _NEAR * (ends[1] - ends[0]):
            return mean[0], std[0]
    return None


def _first_arithmetic(value: ir.Value) -> ir.Node | None:
    """The sole Mul, Div, Add or Sub that reads the input, with layout changes in between seen through."""
    while True:
        readers = [use.node for use in value.uses()]
        if len(readers) != 1:
            return None
        if readers[0].op_type in {"Mul", "Div", "Add", "Sub"}:
            return readers[0]
        if readers[0].op_type not in {"Transpose", "Cast", "Identity"}:
            return None
        value = readers[0].outputs[0]


def _operand(node: ir.Node, value: ir.Value) -> NDArray[Any] | None:
    for operand in node.inputs[::-1]:
        tensor = ir.convenience.get_const_tensor(operand) if operand is not None else None
        if tensor is not None:
            return np.ravel(tensor.numpy())
    return None
