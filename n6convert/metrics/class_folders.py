"""Labels from folders: one folder of images per class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from n6convert.samples.base import Sample, SampleSource
from n6convert.samples.images import ImageFolder

__all__ = ["LabeledByFolder", "by_folder", "folder_classes"]


def by_folder(source: SampleSource, names: Sequence[str], total: int) -> SampleSource:
    """The source with a class number on each sample, where its images lie in one folder per class; else as it is.

    Args:
        source: any source; only folders of images are looked at.
        names: class names by number, empty when unknown.
        total: how many classes the network knows.
    """
    if not isinstance(source, ImageFolder):
        return source
    root = Path(source.name)
    folders = {p.relative_to(root).parts[0] for p in source.items if p.is_relative_to(root) and p.parent != root}
    classes = folder_classes(sorted(folders), names, total)
    return LabeledByFolder(source, classes) if classes else source


def folder_classes(folders: Sequence[str], names: Sequence[str], total: int) -> dict[str, int]:
    """Class number by folder: folders named after classes or their numbers, or as many as classes, in sorted order.

    Empty when none of the three fits: then nothing can be said.

    Args:
        folders: names of folders with samples.
        names: of the classes, by number; may be empty.
        total: number of classes.
    """
    if not folders:
        return {}
    if all(folder in names for folder in folders):
        return {folder: list(names).index(folder) for folder in folders}
    if all(folder.isdecimal() and int(folder) < total for folder in folders):
        return {folder: int(folder) for folder in folders}
    return {folder: number for number, folder in enumerate(folders)} if len(folders) == total else {}


class LabeledByFolder(SampleSource):
    """Another source's samples, those without a label labeled by the first folder of their name."""

    def __init__(self, source: SampleSource, classes: Mapping[str, int]) -> None:
        self._source, self._classes = source, classes
        self.name, self.synthetic = source.name, source.synthetic

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._source:
            known = self._classes.get(PurePosixPath(sample.id).parts[0]) if sample.label is None else None
            yield sample if known is None else replace(sample, label=known)

    def warnings(self) -> list[str]:
        return self._source.warnings()
