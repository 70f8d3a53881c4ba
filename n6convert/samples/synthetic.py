"""Samples made up from a seed, for runs without real ones. They exercise a network; they cannot judge it.

Images are "dead leaves": shapes with power-law sizes that cover each other, each with its own color and texture, under
a light that changes over the picture. Such images share the statistics of photographs that matter for activation
ranges: power spectrum near 1/f^2, sharp occlusion edges, smooth surfaces, textures on all scales (Lee, Mumford and
Huang, "Occlusion models for natural images", 2001).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError
from n6convert.samples.base import Sample, SampleSource
from n6convert.samples.listed import ListedSource
from n6convert.samples.sentences import sentence

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from n6convert.types import ModelInfo

__all__ = ["dead_leaves", "synthetic_samples"]

_COUNT = 72
_DEFAULT_SIDE = 640
_CORNERS = (4, 6, 24)
_ASPECTS = ((1.0, 1.0), (0.75, 1.0), (1.0, 0.75), (0.66, 1.0), (1.0, 0.66), (0.5625, 1.0))


def synthetic_samples(kind: str, info: ModelInfo | None = None, *, count: int = _COUNT, seed: int = 0) -> SampleSource:
    """Made-up samples of a kind: dead leaves, sentences, or normally distributed arrays.

    Args:
        kind: ``image``, ``text`` or ``arrays``.
        info: the built model: images get about its input's size, arrays exactly its inputs' shapes.
        count: how many.
        seed: same seed, same samples.

    Raises:
        SourceError: arrays for an input that is not float, whose meaning cannot be guessed.
    """
    if kind == "image":
        side = _side(info)
        return _Made("synthetic dead leaves", count, lambda i: dead_leaves(_shape(side, i), (seed, i)))
    if kind == "text":
        return _Made("synthetic sentences", count, lambda i: sentence(_generator((seed, i))))
    inputs = info.inputs if info else ()
    odd = next((t for t in inputs if not t.dtype.startswith("float")), None)
    if odd or not inputs:
        raise SourceError(
            "samples cannot be made up for this model", place=odd.name if odd else None, limit="float inputs",
            found=odd.dtype if odd else f"samples of kind {kind}", remedy="give --calibration a .npz file",
        )  # fmt: skip
    return _Made("synthetic normal arrays", count, lambda i: _normal_arrays(info, (seed, i)))


def dead_leaves(size: tuple[int, int], seed: tuple[int, int]) -> NDArray[np.uint8]:
    """One image, uint8 RGB ``[h, w, 3]``."""
    from PIL import Image, ImageDraw, ImageFilter

    rng = _generator(seed)
    height, width = size
    flat = Image.new("RGB", (width, height), _color(rng))
    strength = Image.new("L", (width, height), int(rng.integers(0, 60)))
    pens = ImageDraw.Draw(flat), ImageDraw.Draw(strength)
    for radius in _radii(rng, size):
        _leaf(rng, pens, radius, size)
    blur = ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.0)))
    colors = np.asarray(flat.filter(blur), np.float32)
    texture = np.asarray(strength, np.float32)[..., None] / 255 * _pink_noise(rng, size)[..., None]
    light = 1 + 0.25 * _pink_noise(rng, size, exponent=2.0)[..., None]
    image = colors * light * (1 + texture) + rng.normal(0, rng.uniform(0.5, 3), (height, width, 1))
    return np.asarray(image.clip(0, 255).astype(np.uint8))


class _Made(ListedSource[int]):
    synthetic = True

    def __init__(self, name: str, count: int, make: Callable[[int], Any]) -> None:
        super().__init__(name, range(count))
        self._make = make

    def read(self, item: int) -> Sample:
        return Sample(f"{self.name} {item}", self._make(item))


def _generator(seed: tuple[int, int]) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _side(info: ModelInfo | None) -> int:
    shapes = [t.shape for t in info.inputs if len(t.shape) == 4] if info else []
    return max(32, *shapes[0][1:]) if shapes else _DEFAULT_SIDE


def _shape(side: int, index: int) -> tuple[int, int]:
    height, width = _ASPECTS[index % len(_ASPECTS)]
    return int(side * height), int(side * width)


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    """Mostly muted, of any brightness, warm and cool: brightness varies far more than hue, as in photographs."""
    brightness = 255 * rng.beta(0.9, 1.1)
    warm, green = rng.normal(0, 0.16), rng.normal(0, 0.06)
    red, grn, blue = (brightness * (1 + t) for t in (warm, green - 0.3 * warm, -warm))
    return _byte(red), _byte(grn), _byte(blue)


def _byte(value: float) -> int:
    return int(min(max(value, 0.0), 255.0))


def _radii(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """Radii with density r^-3, between a few pixels and a third of the picture, in pixels."""
    low, high = max(size) / 60, max(size) / 2.5
    u = rng.random(700)
    return np.asarray((low**-2 - u * (low**-2 - high**-2)) ** -0.5)


def _leaf(rng: np.random.Generator, pens: tuple[ImageDraw, ImageDraw], radius: float, size: tuple[int, int]) -> None:
    """One ellipse, rotated box or irregular polygon, into the colors and into the texture strength."""
    corners = _CORNERS[rng.integers(len(_CORNERS))]
    angles = np.arange(corners) * (2 * np.pi / corners) + rng.uniform(0, 2 * np.pi)
    reach = radius * (rng.uniform(0.6, 1.3, corners) if corners == 6 else np.ones(corners))
    stretch, turn = rng.uniform(0.4, 1), rng.uniform(0, np.pi)
    x, y = reach * np.cos(angles), reach * np.sin(angles) * stretch
    px = rng.uniform(0, size[1]) + x * np.cos(turn) - y * np.sin(turn)
    py = rng.uniform(0, size[0]) + x * np.sin(turn) + y * np.cos(turn)
    outline = [(float(a), float(b)) for a, b in zip(px, py, strict=True)]
    pens[0].polygon(outline, fill=_color(rng))
    pens[1].polygon(outline, fill=int(rng.integers(0, 120)))


def _pink_noise(rng: np.random.Generator, size: tuple[int, int], exponent: float = 1.0) -> NDArray[np.float32]:
    """Noise of unit variance with amplitude spectrum ``1 / f ** exponent``."""
    fy, fx = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal(size, np.float32)) / frequency**exponent
    noise = np.fft.irfft2(spectrum, size)
    return np.asarray(noise / noise.std(), np.float32)


def _normal_arrays(info: ModelInfo | None, seed: tuple[int, int]) -> dict[str, NDArray[Any]]:
    rng = _generator(seed)
    return {t.name: rng.standard_normal(t.shape).astype(t.dtype) for t in (info.inputs if info else ())}
