"""A source over a list of items: lazy reading, skipping, counting, warnings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from n6convert.errors import SourceError
from n6convert.samples.base import Sample, SampleSource

__all__ = ["FEW", "ListedSource", "Unreadable", "spread"]

Item = TypeVar("Item")
#: fewer samples than this rarely show the range of activations
FEW = 16


class Unreadable(Exception):
    """One item cannot be read; the message says why."""


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most ``limit`` items, evenly spread over all, in order: sorted files are often grouped by class."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


class ListedSource(SampleSource, Generic[Item]):
    """Base of all sources that know their items before reading them.

    Args:
        name: what reports call the source.
        items: what :meth:`read` turns into samples, in order.
        limit: use at most so many, evenly spread.
        max_unreadable: share of the items that may be unreadable.
    """

    def __init__(
        self, name: str, items: Sequence[Item], *, limit: int | None = None, max_unreadable: float = 0.1
    ) -> None:
        self.name = name
        self.items = spread(items, limit)
        self.unreadable: dict[str, str] = {}
        self._max_unreadable = max_unreadable
        self._seen = _SampleAudit()

    @abstractmethod
    def read(self, item: Item) -> Sample:
        """One sample.

        Raises:
            Unreadable: this item cannot be read; it is skipped and counted.
        """

    def __len__(self) -> int:
        return len(self.items) - len(self.unreadable)

    def __iter__(self) -> Iterator[Sample]:
        for item in self.items:
            if str(item) in self.unreadable:
                continue
            try:
                sample = self.read(item)
            except Unreadable as problem:
                self._skip(str(item), str(problem))
                continue
            self._seen.look(sample)
            yield sample

    def paths(self) -> list[Path]:
        """The file behind each item, in order; empty for sources that have not one each."""
        return [item for item in self.items if isinstance(item, Path)]

    def keep(self, positions: Sequence[int], limit: int | None) -> None:
        """Use the items at these positions only, and at most ``limit`` of them, evenly spread."""
        self.items = spread([self.items[i] for i in positions], limit)

    def warnings(self) -> list[str]:
        """What looks wrong about the samples that were read so far."""
        found = []
        if self.unreadable:
            first = next(iter(self.unreadable.items()))
            found.append(
                f"{len(self.unreadable)} of {len(self.items)} samples could not be read, e.g. {first[0]}: {first[1]}"
            )
        if len(self) < FEW:
            found.append(f"only {len(self)} samples; ranges need at least {FEW}, better 64")
        return found + self._seen.warnings()

    def _skip(self, item: str, problem: str) -> None:
        self.unreadable[item] = problem
        if len(self.unreadable) > self._max_unreadable * len(self.items):
            raise SourceError(
                "too many samples cannot be read",
                place=self.name,
                limit=f"{self._max_unreadable:.0%} of {len(self.items)} samples",
                found=f"{len(self.unreadable)} so far; the last one: {item}: {problem}",
                remedy="remove or repair these files, or raise calibration.max_unreadable",
            )


class _SampleAudit:
    """What repeated walks over a source show about its samples; each is looked at once."""

    def __init__(self) -> None:
        self._by_id: dict[str, tuple[str, str | None]] = {}

    def look(self, sample: Sample) -> None:
        if sample.id not in self._by_id:
            self._by_id[sample.id] = (sample.sha256, _oddity(sample.data))

    def warnings(self) -> list[str]:
        found = []
        distinct = len({content for content, _ in self._by_id.values()})
        if distinct < len(self._by_id):
            found.append(f"only {distinct} of {len(self._by_id)} samples differ from each other")
        odd = [oddity for _, oddity in self._by_id.values() if oddity]
        for kind in sorted(set(odd)):
            if odd.count(kind) > len(self._by_id) / 2:
                found.append(f"{odd.count(kind)} of {len(self._by_id)} samples are {kind}")
        return found


def _oddity(data: Any) -> str | None:
    """What is measurably unusual about an image; None for everything else."""
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 3:
        return None
    low, high = int(data.min()), int(data.max())
    if (data == data[:1, :1]).all():
        return "of a single color"
    if high <= 1:
        return "nearly black: values reach 1 of 255, as if a 0..1 image had been stored as bytes"
    if high - low < 32:
        return f"of very low contrast (values {low} to {high} of 255)"
    if data.shape[2] == 3 and np.array_equal(data[..., 0], data[..., 1]) and np.array_equal(data[..., 1], data[..., 2]):
        return "gray: the three channels are equal, a color network will see a narrower range than in use"
    return None
