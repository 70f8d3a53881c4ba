"""Keeping samples apart by their content, so that no image is on both sides under two names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from n6convert.samples.base import Sample, SampleSource

__all__ = ["split_by_hash", "without"]


class _Kept(SampleSource):
    """The samples of another source that a rule keeps."""

    def __init__(self, source: SampleSource, keep: Callable[[Sample], bool], name: str) -> None:
        self.name, self.synthetic = name, source.synthetic
        self._source, self._keep = source, keep
        self._count: int | None = None

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self)
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        return (sample for sample in self._source if self._keep(sample))

    def warnings(self) -> list[str]:
        return self._source.warnings()


def split_by_hash(source: SampleSource, held_back: float) -> tuple[SampleSource, SampleSource]:
    """Two disjoint sources: for calibration, and about the share ``held_back`` of the samples for judging.

    The side depends on the content alone, not on names or order.
    """
    border = int(held_back * (1 << 32))

    def is_held_back(sample: Sample) -> bool:
        return int(sample.sha256[:8], 16) < border

    rest = _Kept(source, lambda sample: not is_held_back(sample), f"{source.name} (calibration part)")
    return rest, _Kept(source, is_held_back, f"{source.name} (held-back part)")


def without(source: SampleSource, hashes: Collection[str]) -> SampleSource:
    """The samples whose content is not among these sha256: labeled samples that calibration did not see."""
    seen = frozenset(hashes)
    return _Kept(source, lambda sample: sample.sha256 not in seen, source.name)
