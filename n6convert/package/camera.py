"""What the camera interface does for the model at hand, and what is left to the CPU ([#camera]).

Channel order and grid are known from plain images; crop, padding or stretching from a picture twice as wide as the
input, with black quarters at its sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from n6convert.linter.constants import CAMERA_ROW
from n6convert.linter.finding import Finding, Severity
from n6convert.linter.rules_camera import picture_size
from n6convert.package.normalization import PixelMap, probe_pixels
from n6convert.package.ports import Port
from n6convert.plugin import ModelPlugin, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Camera", "probe_camera"]

Framing = Literal["crop", "pad", "stretch"]
_EVIDENCE = "[#camera]"


@dataclass(frozen=True)
class Camera:
    """An input that a camera fills.

    Attributes:
        port: the input.
        pixels: how its channels come from pixels.
        framing: how the plugin brings a picture of another shape to the input's: by cutting its sides, by padding, or
            by stretching; None where that was not to be seen.
        padding: value of padded pixels, 0 to 255.
    """

    port: Port
    pixels: PixelMap
    framing: Framing | None
    padding: int = 0

    @property
    def size(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        found = picture_size(self.port.graph_shape)
        assert found is not None
        return found

    @property
    def interleaved(self) -> bool:
        """Whether the buffer holds pixel by pixel, as the camera interface writes."""
        return self.port.board_shape[1:] == self.size

    @property
    def aspect_ratio(self) -> str | None:
        """ASPECT_RATIO_MODE of ST's applications that frames as the model was calibrated."""
        return {"crop": "ASPECT_RATIO_CROP", "pad": "ASPECT_RATIO_CROP", "stretch": "ASPECT_RATIO_FIT"}.get(
            self.framing or ""
        )

    def notes(self) -> list[str]:
        """A sentence a thing that an application must know, what costs CPU time included."""
        return [*self._rows(), self._order(), self._grid(), *self._frame()]

    def findings(self) -> list[Finding]:
        """What the camera interface leaves to the CPU, as the lint stage reports it; rows have a limit of their own."""
        found = []
        if not (self.port.dtype == "uint8" and self.pixels.is_copy):
            limit = "The camera hands over bytes from 0 to 255; any other grid costs CPU time, a pixel at a time."
            found.append(self._finding("camera-pixels", limit, self._grid(), self._remedy()))
        if not self.interleaved:
            limit = "The camera interface writes pixel by pixel, all channels of each together."
            found.append(self._finding("camera-planes", limit, self._rows()[0], "compiler.input_channels: chlast"))
        if self.framing == "pad":
            limit = "The camera interface crops and shrinks; it does not pad."
            found.append(self._finding("camera-framing", limit, f"padding with {self.padding}", self._padding()))
        return found

    def _finding(self, rule: str, limit: str, found: str, remedy: str) -> Finding:
        return Finding(rule, Severity.INFO, None, self.port.name, limit, found, remedy, _EVIDENCE)

    def _rows(self) -> list[str]:
        _, width, channels = self.size
        row = width * channels
        if not self.interleaved:
            return ["one plane per channel in the buffer: the CPU takes every frame apart, pixel by pixel"]
        if row % CAMERA_ROW == 0:
            return [f"rows of {row} bytes are a multiple of {CAMERA_ROW}: the DCMIPP writes them where they belong"]
        whole = -(-row // CAMERA_ROW) * CAMERA_ROW
        return [f"rows of {row} bytes are no multiple of {CAMERA_ROW}: capture rows of {whole} and copy every frame"]

    def _order(self) -> str:
        return f"channels in the order {self.pixels.order}: the DCMIPP packs RGB888, and swaps red and blue for BGR"

    def _grid(self) -> str:
        if self.port.dtype == "uint8" and self.pixels.is_copy:
            return "the camera's bytes are the input as they are"
        if self.port.dtype == "int8" and self.pixels.is_shift:
            return "int8 input: the CPU subtracts 128 from every byte"
        return f"{self.port.dtype} input: the CPU applies gain and offset to every byte"

    def _remedy(self) -> str:
        exact = self.port.dtype == "int8" and self.pixels.is_shift
        if exact or self.port.dtype == "float32":
            return "--set package.input_type=uint8"
        return "a model with its normalization inside, which takes 0..255; or gain and offset of the package's header"

    def _frame(self) -> list[str]:
        height, width, _ = self.size
        if self.framing == "crop":
            return [f"pictures of another shape are cut to {width}:{height} and shrunk: both by the DCMIPP"]
        if self.framing == "stretch":
            return [f"pictures of another shape are stretched to {width} x {height}: by the DCMIPP"]
        if self.framing == "pad":
            return [f"pictures of another shape are padded with {self.padding}; the DCMIPP does not: {self._padding()}"]
        return []

    def _padding(self) -> str:
        return "before each frame write the padding, and let the DCMIPP write the rows between; or let it cut to shape"


def probe_camera(plugin: ModelPlugin, inputs: Sequence[Port]) -> Camera | None:
    """The input that a camera fills; None for models of anything but pictures.

    Raises:
        PluginError: ``encode`` refuses a plain image (only what the plugin itself raises).
    """
    for port in inputs:
        pixels = probe_pixels(plugin, port)
        if pixels is not None and picture_size(port.graph_shape) is not None:
            return Camera(port, pixels, *_framing(plugin, port))
    return None


def _framing(plugin: ModelPlugin, port: Port) -> tuple[Framing | None, int]:
    size = picture_size(port.graph_shape)
    assert size is not None
    height, width, _ = size
    wide = np.full((height, 2 * width, 3), 255, np.uint8)
    wide[:, : width // 2] = wide[:, -(width // 2) :] = 0
    seen, white, black = (_first_channel(plugin, port, image) for image in (wide, wide * 0 + 255, wide * 0))
    bright, dark = (float(np.median(image[height // 2])) for image in (white, black))
    levels = (seen - dark) / (bright - dark) * 255
    if levels[height // 2, width // 8] > 128:
        return "crop", 0
    plain = (white - dark) / (bright - dark) * 255
    ends = plain[0, width // 2], plain[-1, width // 2]
    padded = next((round(float(level)) for level in ends if abs(level - 255) > 1), None)
    if padded is not None:
        return "pad", int(np.clip(padded, 0, 255))
    return ("stretch", 0) if levels[height // 2, width // 2] > 128 else (None, 0)


def _first_channel(plugin: ModelPlugin, port: Port, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    values: Any = np.asarray(plugin.encode(Sample("probe", image))[port.name], np.float64)[0]
    return np.asarray(values[0] if port.graph_shape[1] <= 4 else values[..., 0])
