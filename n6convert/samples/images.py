"""Image files: a folder of them, and a table that labels them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError
from n6convert.samples.base import Sample
from n6convert.samples.listed import ListedSource, Unreadable

__all__ = ["IMAGE_SUFFIXES", "ImageFolder", "LabelTable", "find_beside", "list_images", "read_image"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
_FILE_COLUMNS = ("file", "file_name", "filename", "image", "path")
_LABEL_COLUMNS = ("class_index", "label", "class", "target", "index")


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 RGB ``[h, w, 3]``, turned as its EXIF orientation says; 16-bit gray is scaled to 8 bits.

    Raises:
        Unreadable: not an image, damaged, or absurdly large.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            wide = np.asarray(upright, np.int64)
            upright = Image.fromarray((wide >> 8 if wide.max() > 255 else wide).clip(0, 255).astype(np.uint8))
        return np.asarray(upright.convert("RGB"))
    except Exception as error:  # PIL plugins raise whatever they like on damaged files
        raise Unreadable(f"{type(error).__name__}: {str(error)[:160]}") from error


def list_images(folder: Path) -> list[Path]:
    """Image files in a folder and below, by their relative path; hidden ones are left out."""
    found = [p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    relative = ((p.relative_to(folder), p) for p in found)
    return [
        p for r, p in sorted(relative, key=lambda x: x[0].as_posix()) if not any(s.startswith(".") for s in r.parts)
    ]


def find_beside(file: Path, names: list[str]) -> Path:
    """The folder that holds the images a label file names: its own, one below it, or one beside it.

    Raises:
        SourceError: none of them holds any of the first names.
    """
    parent = file.resolve().parent
    below = sorted(p for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    beside = sorted(p for p in parent.parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    close = [p for p in below if file.stem.startswith(p.name)]
    nested = [q for p in beside if p.name == "images" for q in sorted(p.iterdir()) if q.is_dir()]
    for folder in [parent, *close, *below, *beside, *nested]:
        if any((folder / name).is_file() for name in names[:50]):
            return folder
    raise SourceError(
        "the images that the label file names were not found",
        place=file,
        limit="beside the file, or in a folder below or beside it",
        found=f"no {names[0]}" if names else "no image names in it",
        remedy="put the images into a folder next to the label file",
    )


class ImageFolder(ListedSource[Path]):
    """All images in a folder and below; or the images of a list."""

    def __init__(self, name: str, root: Path, paths: list[Path], **options: Any) -> None:
        super().__init__(name, paths, **options)
        self._root = root

    def read(self, item: Path) -> Sample:
        return Sample(item.relative_to(self._root).as_posix(), read_image(item))


class LabelTable(ListedSource[tuple[str, int]]):
    """A csv file with a column of image files and a column of class numbers; the label is the class number."""

    def __init__(self, table: Path, **options: Any) -> None:
        rows = _read_table(table)
        self._folder = find_beside(table, [name for name, _ in rows])
        super().__init__(str(table), rows, **options)

    def paths(self) -> list[Path]:
        """The image files, whether they exist or not."""
        return [self._folder / name for name, _ in self.items]

    def read(self, item: tuple[str, int]) -> Sample:
        return Sample(item[0], read_image(self._folder / item[0]), item[1])


def _read_table(table: Path) -> list[tuple[str, int]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
        columns = {str(c).strip().lower(): c for c in (rows[0] if rows else {})}
        file = next(columns[c] for c in _FILE_COLUMNS if c in columns)
        label = next(columns[c] for c in _LABEL_COLUMNS if c in columns)
        return [(row[file], int(row[label])) for row in rows]
    except StopIteration:
        problem = f"columns {', '.join(columns) or 'none'}"
    except (ValueError, TypeError, csv.Error, UnicodeDecodeError) as error:
        problem = str(error)
    raise SourceError(
        "the label table cannot be read",
        place=table,
        limit=f"a header with one of {', '.join(_FILE_COLUMNS)} and one of {', '.join(_LABEL_COLUMNS)}, then numbers",
        found=problem,
    )
