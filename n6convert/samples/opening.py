"""Kinds of sample sources, by path."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.errors import SourceError
from n6convert.samples.arrays import ArrayFile, ArrayFolder, ImageArray, ReadyInputs, are_ready_inputs
from n6convert.samples.base import SampleSource
from n6convert.samples.coco import CocoImages
from n6convert.samples.images import IMAGE_SUFFIXES, ImageFolder, LabelTable, list_images
from n6convert.samples.listed import spread
from n6convert.samples.text import TextFile
from n6convert.store.inputs import exists, user_path

if TYPE_CHECKING:
    from n6convert.types import ModelInfo

__all__ = ["fingerprint_samples", "open_samples"]

_ARRAY_SUFFIXES = (".npy", ".npz")
#: what may be given for each kind of sample
_ALLOWED = {
    "image": "a folder of images, a COCO .json, a labels .csv, .npy or .npz with images, or one image file",
    "text": "a .txt file with a sentence a line, or a .tsv/.csv with a header",
    "arrays": "an .npy or .npz file, or a folder of them",
}


def open_samples(
    source: str | Path,
    kind: str,
    info: ModelInfo | None = None,
    *,
    limit: int | None = None,
    max_unreadable: float = 0.1,
    ready: bool = False,
) -> SampleSource:
    """Open samples of a kind (``image``, ``text`` or ``arrays``) without reading them yet.

    Args:
        source: a file or folder, see the limits in the error message.
        kind: what the plugin reads.
        info: the built model, whose input names and shapes ``arrays`` must fit.
        limit: use at most so many samples, evenly spread over the source.
        max_unreadable: share of unreadable samples that is tolerated while walking.
        ready: for ``image``: the plugin also takes arrays that are no images as the graph's inputs.

    Raises:
        SourceError: missing, empty, or of a kind that does not fit.
    """
    path = user_path(source)
    if not exists(path):
        raise SourceError("the samples do not exist", place=path, limit=_ALLOWED.get(kind), remedy="check the path")
    options = {"limit": limit, "max_unreadable": max_unreadable}
    if kind == "image":
        return _open_ready(path, info, options) if ready and _is_ready(path, info) else _open_images(path, options)
    if kind == "arrays":
        return _open_arrays(path, info, options)
    if kind == "text" and path.is_file() and path.suffix.lower() in (".txt", ".tsv", ".csv"):
        return TextFile(path, **options)
    raise _unfit(path, kind)


def fingerprint_samples(source: str | Path, limit: int | None = None) -> str:
    """A hash that changes when the samples do: names and sizes of all files, contents of those that would be used.

    Raises:
        SourceError: the source is missing or cannot be read.
    """
    path = user_path(source)
    digest = hashlib.sha256()
    try:
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            line = f"{file.relative_to(path).as_posix()}|{file.stat().st_size}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        images = list_images(path) if path.is_dir() else _labeled_images(path)
        for file in [*spread(images or files, limit), *([path] if path.is_file() else [])]:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    except OSError as error:
        raise SourceError("the samples cannot be read", place=error.filename or path, found=error.strerror) from error
    return digest.hexdigest()


def _labeled_images(file: Path) -> list[Path]:
    """Images that a label file names, so that a changed image changes the fingerprint."""
    openers: dict[str, Callable[[Path], Any]] = {".json": CocoImages, ".csv": LabelTable}
    if file.suffix.lower() not in openers:
        return []
    try:
        source = openers[file.suffix.lower()](file)
    except SourceError:
        return []
    return [p for p in source.paths() if p.is_file()]


def _open_images(path: Path, options: dict[str, Any]) -> SampleSource:
    suffix = path.suffix.lower()
    if path.is_dir():
        images = list_images(path)
        if not images:
            found = _listing(path)
            raise SourceError(
                "the folder holds no images", place=path, limit=", ".join(sorted(IMAGE_SUFFIXES)), found=found
            )
        return ImageFolder(str(path), path, images, **options)
    if suffix in IMAGE_SUFFIXES:
        return ImageFolder(str(path), path.parent, [path], **options)
    openers: dict[str, Callable[..., SampleSource]] = {".json": CocoImages, ".csv": LabelTable}
    openers |= dict.fromkeys(_ARRAY_SUFFIXES, ImageArray)
    if suffix in openers:
        return openers[suffix](path, **options)
    raise _unfit(path, "image")


def _open_arrays(path: Path, info: ModelInfo | None, options: dict[str, Any]) -> SampleSource:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in _ARRAY_SUFFIXES)
        if files:
            return ArrayFolder(path, files, info, **options)
        raise SourceError("the folder holds no .npy or .npz files", place=path, found=_listing(path))
    if path.suffix.lower() in _ARRAY_SUFFIXES:
        return ArrayFile(path, info, **options)
    raise _unfit(path, "arrays")


def _is_ready(path: Path, info: ModelInfo | None) -> bool:
    """Whether the path holds arrays that the graph can be fed as they are, and no images."""
    if path.is_dir():
        return not list_images(path) and any(p.suffix.lower() in _ARRAY_SUFFIXES for p in path.iterdir())
    return path.suffix.lower() in _ARRAY_SUFFIXES and are_ready_inputs(path, info)


def _open_ready(path: Path, info: ModelInfo | None, options: dict[str, Any]) -> SampleSource:
    return _open_arrays(path, info, options) if path.is_dir() else ReadyInputs(path, info, **options)


def _listing(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    return ", ".join(names[:4]) + (" ..." if len(names) > 4 else "") if names else "an empty folder"


def _unfit(path: Path, kind: str) -> SourceError:
    what = "a folder" if path.is_dir() else f"a {path.suffix or 'suffixless'} file"
    return SourceError(
        f"samples of kind {kind} cannot be read from this", place=path, limit=_ALLOWED.get(kind), found=what
    )
