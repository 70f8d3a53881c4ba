"""How pixels become the input's codes: found by probing a plugin's ``encode`` with plain images.

Firmware has uint8 pixels and needs ``q = round(gain * pixel + offset)`` (not rounded for a float input); the plugin
knows only real values. Encoding plain red, green, blue, black, white and gray images shows the channel order, gain and
offset of every input channel and that the map is linear, without asking the plugin for anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.builtin.images import UnknownRange
from n6convert.package.ports import Port
from n6convert.plugin import ModelPlugin, Sample

__all__ = ["PixelMap", "probe_pixels"]

_GRAY = 128


@dataclass(frozen=True)
class PixelMap:
    """``q = round(gain[c] * pixel + offset[c])`` for channel c of the input, saturated to its type.

    Attributes:
        order: which of R, G, B feeds each input channel, e.g. ``RGB``.
        gain, offset: one number per channel, in steps of the input's codes.
    """

    order: str
    gain: tuple[float, ...]
    offset: tuple[float, ...]

    @property
    def is_copy(self) -> bool:
        """True when ``q = pixel`` is exact: the camera's bytes are the input as they are."""
        return self._is(0)

    @property
    def is_shift(self) -> bool:
        """True when ``q = pixel - 128`` is exact: firmware flips the top bit."""
        return self._is(-128)

    def _is(self, shift: int) -> bool:
        return all(abs(g - 1) < 1e-3 and abs(o - shift) < 0.25 for g, o in zip(self.gain, self.offset, strict=True))


def probe_pixels(plugin: ModelPlugin, port: Port) -> PixelMap | None:
    """The pixel map of an image input; None where it is not known or not a linear function of single pixels.

    Raises:
        PluginError: ``encode`` refuses a plain image (only what the plugin itself raises).
    """
    if plugin.sample_kind != "image" or len(port.graph_shape) != 4:
        return None
    try:
        levels = [_channels(plugin, port, (v, v, v)) for v in (0, 255, _GRAY)]
    except UnknownRange:
        return None
    black, white, gray = (level if level is not None else np.empty(0) for level in levels)
    if black.size == 0:
        return None
    slope = (white - black) / 255
    if not np.allclose(black + slope * _GRAY, gray, atol=1e-3 * max(1e-6, float(np.abs(white - black).max()))):
        return None
    order = _order(plugin, port, black)
    if order is None:
        return None
    gain, offset = slope / port.scale, black / port.scale + port.zero_point
    return PixelMap(order, tuple(gain.tolist()), tuple(offset.tolist()))


def _channels(plugin: ModelPlugin, port: Port, color: tuple[int, int, int]) -> NDArray[Any] | None:
    """The center value of every input channel for a plain image of one color."""
    n, a, b, c = port.graph_shape
    height, width = (b, c) if a <= 4 else (a, b)
    image = np.full((height, width, 3), color, np.uint8)
    values = np.asarray(plugin.encode(Sample("probe", image))[port.name], np.float64)
    if values.shape != port.graph_shape:
        return None
    if a <= 4:
        return np.asarray(values[0, :, height // 2, width // 2])
    return np.asarray(values[0, height // 2, width // 2, :]) if c <= 4 else None


def _order(plugin: ModelPlugin, port: Port, black: NDArray[Any]) -> str | None:
    found = ["?"] * black.size
    for letter, color in zip("RGB", ((255, 0, 0), (0, 255, 0), (0, 0, 255)), strict=True):
        plain = _channels(plugin, port, color)
        assert plain is not None
        for channel in np.flatnonzero(~np.isclose(plain, black)):
            if found[channel] != "?":
                return None
            found[channel] = letter
    return "".join(found) if "?" not in found else None
