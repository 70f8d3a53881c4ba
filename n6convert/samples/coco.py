"""Labeled images in COCO json: detection and keypoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n6convert.errors import SourceError
from n6convert.samples.base import Sample
from n6convert.samples.images import find_beside, read_image
from n6convert.samples.listed import ListedSource
from n6convert.store.inputs import read_json

__all__ = ["CocoImages", "CocoLabel"]

#: bytes of the largest label file that is read: that of COCO's 118,000 training images has 450 MB
_LARGEST = 2 << 30


@dataclass(frozen=True)
class CocoLabel:
    """What a COCO file says about one image.

    Attributes:
        image_id: its number.
        annotations: its annotations as they stand in the file (``bbox`` as x, y, width, height in pixels;
            ``category_id``, ``iscrowd``, ``area``; ``keypoints`` as x, y, v triples and
            ``num_keypoints`` where there are any).
        categories: names by category number, for the whole file.
    """

    image_id: int
    annotations: tuple[Mapping[str, Any], ...]
    categories: Mapping[int, str]


class CocoImages(ListedSource[str]):
    """The images of a COCO json with a :class:`CocoLabel` each; images are looked for beside the file.

    Raises:
        SourceError: not a COCO json, or its images are not there.
    """

    def __init__(self, file: Path, **options: Any) -> None:
        content = _read(file)
        self._annotations: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        try:
            self._ids = {str(image["file_name"]): int(image["id"]) for image in content["images"]}
            self._categories = {int(c["id"]): str(c["name"]) for c in content["categories"]}
            for annotation in content["annotations"]:
                self._annotations[int(annotation["image_id"])].append(annotation)
        except (KeyError, TypeError, ValueError) as error:
            found = f"{type(error).__name__}: {error}"
            raise SourceError("the json file is not in COCO form", place=file, found=found) from error
        self._folder = find_beside(file, list(self._ids))
        super().__init__(str(file), sorted(self._ids), **options)

    def paths(self) -> list[Path]:
        """The image files, whether they exist or not."""
        return [self._folder / name for name in self.items]

    def read(self, item: str) -> Sample:
        number = self._ids[item]
        label = CocoLabel(number, tuple(self._annotations.get(number, ())), self._categories)
        return Sample(item, read_image(self._folder / item), label)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file, largest=_LARGEST)
    except SourceError as error:
        found = error.found or error.problem
        raise SourceError("the label file is not valid json", place=file, found=found, limit=error.limit) from error
    parts = ("images", "annotations", "categories")
    missing = [p for p in parts if not isinstance(content, dict) or not isinstance(content.get(p), list)]
    if missing or not content["images"]:
        raise SourceError(
            "the json file is not in COCO form", place=file, limit=f"lists named {', '.join(parts)}",
            found=f"no {', '.join(missing) or 'images in it'}",
        )  # fmt: skip
    return dict(content)
