"""Squares out of images: whole images padded, and persons cut out of labeled ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from n6convert.plugin import Sample, SampleSource, SourceError
from n6convert.plugin.metrics import select_keypoints
from n6convert.plugin.samples import CocoLabel

__all__ = ["PersonCrops", "Square", "crop_square"]

_MARGIN = 1.1
_LEAST_LABELED = 5
#: a box that reaches further than so many sides of its image is no box of it
_FARTHEST = 8


@dataclass(frozen=True)
class Square:
    """A square in an image's pixels; it may reach over the edges, where it is black."""

    left: float
    top: float
    side: float

    @classmethod
    def around(cls, box: Sequence[float], margin: float = 1.0) -> Square:
        """The square around the middle of a box (x, y, width, height) that holds it ``margin`` times."""
        x, y, width, height = box
        side = max(width, height, 1.0) * margin
        return cls(x + width / 2 - side / 2, y + height / 2 - side / 2, side)

    def to_image(self, shares: NDArray[Any]) -> NDArray[Any]:
        """Points [K,2 or more] from shares of the square to pixels of the image; further columns stay."""
        points = np.array(shares, np.float64)
        points[:, :2] = points[:, :2] * self.side + (self.left, self.top)
        return points


def crop_square(pixels: NDArray[Any], square: Square, size: int) -> NDArray[Any]:
    """The square as uint8 [size,size,3], bilinear with anti-aliasing, black outside the image.

    Args:
        pixels: uint8 ``[h, w, 3]``.
        square: in pixels.
        size: height and width of the result.
    """
    left, top, side = round(square.left), round(square.top), max(1, round(square.side))
    image = Image.fromarray(pixels).crop((left, top, left + side, top + side))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


class PersonCrops(SampleSource):
    """One sample for every labeled person of a source; samples without COCO labels pass unchanged.

    A person counts with at least 5 labeled keypoints of the model's, and if not part of a crowd. The sample is the
    square around the person's box, 10 % larger; its label holds ``keypoints`` [K,3] and ``area`` in its own pixels.

    Args:
        source: images, labeled from a COCO json or not at all.
        names: the model's keypoints.
    """

    def __init__(self, source: SampleSource, names: Sequence[str]) -> None:
        self._source = source
        self._names = names
        self.name = f"persons of {source.name}"
        self.synthetic = source.synthetic
        self._count: int | None = None

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self)
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._source:
            if isinstance(sample.label, CocoLabel):
                persons = _persons(sample.label, self._names)
                yield from (_crop(sample, i, person, self._names) for i, person in enumerate(persons))
            else:
                yield sample

    def warnings(self) -> list[str]:
        return self._source.warnings()


def _persons(label: CocoLabel, names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Annotations of persons with enough labeled keypoints."""
    found = [a for a in label.annotations if a.get("keypoints") and not a.get("iscrowd")]
    return [a for a in found if (select_keypoints(a["keypoints"], names)[:, 2] > 0).sum() >= _LEAST_LABELED]


def _extent(name: str, pixels: NDArray[Any], person: Mapping[str, Any]) -> tuple[list[float], float]:
    """A person's box and area; the box's where the file gives none."""
    far = _FARTHEST * max(pixels.shape[:2])
    try:
        x, y, width, height = (float(v) for v in person["bbox"])
        area = float(person.get("area", width * height))
    except (KeyError, TypeError, ValueError) as error:
        raise _incomplete(name, person) from error
    if not all(abs(v) <= far for v in (x, y, width, height)) or not np.isfinite(area):
        raise _incomplete(name, person)
    return [x, y, width, height], area


def _incomplete(name: str, person: Mapping[str, Any]) -> SourceError:
    return SourceError(
        "an annotation is incomplete",
        place=f"image {name}",
        limit="bbox [x, y, width, height] in the image's pixels",
        found={k: person[k] for k in ("bbox", "area") if k in person},
    )


def _crop(sample: Sample, index: int, person: Mapping[str, Any], names: Sequence[str]) -> Sample:
    assert isinstance(sample.data, np.ndarray)
    box, area = _extent(sample.id, sample.data, person)
    exact = Square.around(box, _MARGIN)
    square = Square(round(exact.left), round(exact.top), max(1, round(exact.side)))
    pixels = crop_square(sample.data, square, int(square.side))
    keypoints = select_keypoints(person["keypoints"], names)
    keypoints[:, :2] -= (square.left, square.top)
    label = {"keypoints": keypoints, "area": area}
    return Sample(f"{sample.id}#{index}", pixels, label, {"image": sample.id, "origin": (square.left, square.top)})
