"""Images: fitting them into a network's input, and drawing answers on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = [
    "Letterbox",
    "as_rgb",
    "color",
    "draw_boxes",
    "draw_points",
    "draw_polygons",
    "letterbox",
    "resize",
    "side_by_side",
    "tint_masks",
]

Image = NDArray[np.uint8]
#: gray that YOLO networks are trained to see around an image
_FILL = 114
#: how much of a mask's color covers the picture
_TINT = 0.45
#: pixels of the smallest letters, and how many of them side by side a picture would hold
_SMALLEST_FONT, _LETTERS = 11, 28


@dataclass(frozen=True)
class Letterbox:
    """How an image was fitted into a canvas: ``canvas = image * scale + (left, top)``, in pixels.

    Attributes:
        scale: canvas pixels per image pixel.
        left, top: where the image starts on the canvas.
        inner: height and width of the image on the canvas.
    """

    scale: float
    left: int
    top: int
    inner: tuple[int, int]

    @classmethod
    def fit(cls, image: tuple[int, int], canvas: tuple[int, int]) -> Letterbox:
        """Largest centered placement that keeps the aspect ratio; both sizes are height and width."""
        scale = min(canvas[0] / image[0], canvas[1] / image[1])
        inner = (max(round(image[0] * scale), 1), max(round(image[1] * scale), 1))
        top, left = (round((c - i) / 2 - 0.1) for c, i in zip(canvas, inner, strict=True))
        return cls(scale, left, top, inner)

    def to_image(self, points: NDArray[Any]) -> NDArray[Any]:
        """Canvas coordinates ``[..., 2 k]`` as x, y pairs to image coordinates."""
        pairs = points.reshape(*points.shape[:-1], points.shape[-1] // 2, 2)
        moved = (pairs - np.array([self.left, self.top], points.dtype)) / points.dtype.type(self.scale)
        return np.asarray(moved.reshape(points.shape))


def as_rgb(image: NDArray[Any]) -> Image:
    """Any ``[h, w]``, ``[h, w, 1|3|4]`` uint8 image as RGB ``[h, w, 3]``."""
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image[..., :3], dtype=np.uint8)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Bilinear, with averaging when shrinking; ``size`` is height and width."""
    from PIL import Image as Pil

    if image.shape[:2] == size:
        return image
    return np.asarray(Pil.fromarray(image).resize((size[1], size[0]), Pil.Resampling.BILINEAR))


def letterbox(image: Image, size: tuple[int, int], fill: int = _FILL) -> tuple[Image, Letterbox]:
    """The image scaled into a canvas of ``size`` (height, width) with its aspect ratio kept, centered on gray.

    Args:
        image: uint8 ``[h, w, 3]``.
        size: height and width of the canvas.
        fill: gray level of the margins, 0 to 255.

    Returns:
        the canvas, uint8 ``[h, w, 3]``, and how the image lies in it.
    """
    image = as_rgb(image)
    height, width = image.shape[:2]
    place = Letterbox.fit((height, width), size)
    canvas = np.full((*size, 3), fill, np.uint8)
    canvas[place.top : place.top + place.inner[0], place.left : place.left + place.inner[1]] = resize(
        image, place.inner
    )
    return canvas, place


def color(index: int) -> tuple[int, int, int]:
    """A readable color for a class or a keypoint; equal numbers give equal colors."""
    hue = (index * 0.61803398875) % 1.0
    channels = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    red, green, blue = (int(c) for c in 55 + 200 * channels)
    return red, green, blue


def _font(width: int) -> tuple[FreeTypeFont | ImageFont, int]:
    """A font that stays readable when a picture of this width is shown a third as large, and its size in pixels."""
    from PIL import ImageFont as Fonts

    font = Fonts.load_default(size := max(_SMALLEST_FONT, width // _LETTERS))
    return font, size


def _label(
    pen: ImageDraw, corner: tuple[float, float], text: str, ground: tuple[int, int, int], font: FreeTypeFont | ImageFont
) -> None:
    """Text on a ground of its own."""
    left, top, right, bottom = pen.textbbox(corner, text, font=font)
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=ground)
    pen.text(corner, text, fill=(0, 0, 0), font=font)


def draw_boxes(image: PilImage, boxes: NDArray[Any], labels: Sequence[str], colors: Sequence[int]) -> None:
    """Draw boxes (x1, y1, x2, y2 in pixels) with a label each onto the picture.

    Args:
        image: drawn on in place.
        boxes: ``[n, 4]``, corners in pixels.
        labels: one a box.
        colors: index into the palette, one a box.
    """
    from PIL import ImageDraw

    pen, font = ImageDraw.Draw(image), _font(image.width)[0]
    width = max(2, min(image.size) // 200)
    for box, label, index in zip(boxes, labels, colors, strict=True):
        x1, y1, x2, y2 = (float(v) for v in box)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color(index), width=width)
        _label(pen, (x1 + width, y1), label, color(index), font)


def draw_polygons(image: PilImage, polygons: NDArray[Any], labels: Sequence[str], colors: Sequence[int]) -> None:
    """Draw outlines ``[n, k, 2]`` (x, y in pixels) with a label each, at the first corner, onto the picture.

    Args:
        image: drawn on in place.
        polygons: ``[n, k, 2]`` in pixels.
        labels: one a polygon.
        colors: index into the palette, one a polygon.
    """
    from PIL import ImageDraw

    pen, font = ImageDraw.Draw(image), _font(image.width)[0]
    width = max(2, min(image.size) // 200)
    for polygon, label, index in zip(polygons, labels, colors, strict=True):
        corners = [(float(x), float(y)) for x, y in polygon]
        pen.line([*corners, corners[0]], fill=color(index), width=width)
        _label(pen, corners[0], label, color(index), font)


def tint_masks(image: Image, masks: NDArray[np.bool_], colors: Sequence[int]) -> Image:
    """A copy of the image ``[h, w, 3]`` with each mask ``[n, h, w]`` tinted in its color.

    Args:
        image: uint8 ``[h, w, 3]``.
        masks: bool ``[n, h, w]``.
        colors: index into the palette, one a mask.
    """
    tinted = as_rgb(image).astype(np.float32)
    for mask, index in zip(masks, colors, strict=True):
        tinted[mask] += _TINT * (np.array(color(index), np.float32) - tinted[mask])
    return np.asarray(tinted, np.uint8)


def draw_points(image: PilImage, points: NDArray[Any], edges: Sequence[tuple[int, int]], shown: NDArray[Any]) -> None:
    """Draw keypoints ``[k, 2]`` in pixels and the edges between them, those alone that are ``shown`` (bool ``[k]``).

    Args:
        image: drawn on in place.
        points: ``[k, 2]`` in pixels.
        edges: pairs of point numbers.
        shown: bool ``[k]``.
    """
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    radius = max(2, min(image.size) // 150)
    for a, b in edges:
        if shown[a] and shown[b]:
            pen.line([(float(p[0]), float(p[1])) for p in points[[a, b]]], fill=color(a), width=max(1, radius // 2))
    for index in np.flatnonzero(shown):
        x, y = (float(v) for v in points[index][:2])
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color(int(index)))


def side_by_side(pictures: Sequence[PilImage], titles: Sequence[str]) -> PilImage:
    """Pictures of equal height in one row, each with its title above."""
    from PIL import Image as Pil
    from PIL import ImageDraw

    font, size = _font(max((p.width for p in pictures), default=0))
    gap, head = 8, round(1.5 * size)
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    sheet = Pil.new("RGB", (width, max(p.height for p in pictures) + head), (255, 255, 255))
    pen, x = ImageDraw.Draw(sheet), 0
    for picture, title in zip(pictures, titles, strict=True):
        sheet.paste(picture, (x, head))
        pen.text((x + 2, 3), title, fill=(0, 0, 0), font=font)
        x += picture.width + gap
    return sheet
