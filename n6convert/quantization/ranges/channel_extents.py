"""How far the channels of tensors reach over the samples, how much energy they have, and some of their values.

What is kept of a tensor tells its statistics for any factors by which its channels are divided later: a network with
even channels needs no further pass over the samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped
from n6convert.types import Feeds

__all__ = ["Extent", "Extents", "Sample", "extents"]

Array = NDArray[np.float64]
#: values of one tensor that are kept of one sample, and samples of which they are
_KEPT, _SAMPLES = 1024, 64
#: values of a row that are few beside what it takes to look at a row
_SHORT = 128
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Sample:
    """One sample of a tensor.

    Attributes:
        low, high: smallest and largest value of each channel; one array where a channel has one value.
        some: an even share of the values.
        places: where in the flat tensor these are.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    some: NDArray[np.float32]
    places: NDArray[np.intp]

    def divided(self, factors: Array, at_places: Array) -> Sample:
        """The sample of the tensor whose channels are divided by factors."""
        low = (self.low / factors).astype(np.float32)
        high = low if self.high is self.low else (self.high / factors).astype(np.float32)
        return Sample(low, high, (self.some / at_places).astype(np.float32), self.places)


@dataclass
class Extent:
    """One tensor's channels over the samples; the axes that are alike within a channel have size 1.

    Attributes:
        alike: those axes.
        low, high: smallest (at most 0) and largest (at least 0) value.
        square: mean square.
        count: samples that were seen.
        keeps: whether samples are kept.
        samples: those that were kept, the first ones, as they were before they were divided.
        shape: of the tensor.
        factors: by which the tensor's channels are divided; they broadcast to it.
    """

    alike: tuple[int, ...]
    low: Array
    high: Array
    square: Array
    count: int = 0
    keeps: bool = False
    samples: list[Sample] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    factors: Array | None = None

    @classmethod
    def empty(cls, alike: tuple[int, ...], *, keeps: bool = False) -> Extent:
        """Before the first sample."""
        low, high, square = np.zeros((3, 1))
        return cls(alike, low, high, square, keeps=keeps)

    def add(self, values: NDArray[np.float32]) -> tuple[float, float]:
        """Take one sample's values; the smallest and the largest of them."""
        if not values.size:
            return 0.0, 0.0
        low, high, square = _by_channel(values, self.alike)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.count += 1
        self.square = self.square + (square - self.square) / self.count
        self.shape = values.shape
        if self.keeps and self.count <= _SAMPLES:
            places = _places(values.size, self.count)
            self.samples.append(Sample(low, high, values.reshape(-1).take(places), places))
        return float(low.min()), float(high.max())

    @property
    def is_finite(self) -> bool:
        """Whether all values were finite numbers so far."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())

    def takes(self, factors: Array) -> bool:
        """Whether its samples tell what the tensor is behind these factors: all were kept, by channels as fine."""
        fits = factors.ndim == self.low.ndim
        finer = fits and all(f in (1, d) for f, d in zip(factors.shape, self.low.shape, strict=True))
        return 0 < self.count == len(self.samples) and finer

    def divided(self, factors: Array) -> Extent:
        """The extent of the tensor whose channels are divided by factors, which broadcast to it."""
        low, high, square = self.low / factors, self.high / factors, self.square / factors**2
        whole = factors if self.factors is None else self.factors * factors
        return replace(self, low=low, high=high, square=square, factors=whole)

    def kept(self) -> Iterator[Sample]:
        """The samples that were kept, with their channels divided as the tensor's are."""
        for sample in self.samples:
            yield sample if self.factors is None else sample.divided(self.factors, self._at(self.factors, sample))

    def _at(self, factors: Array, sample: Sample) -> Array:
        """The factors of the values that were kept."""
        index, inner, step = np.zeros_like(sample.places), 1, 1
        for size, own in zip(self.shape[::-1], factors.shape[::-1], strict=True):
            if own > 1:
                index += sample.places // inner % size * step
            inner, step = inner * size, step * own
        return factors.ravel()[index]


@lru_cache(maxsize=64)
def _places(size: int, turn: int) -> NDArray[np.intp]:
    """All places of a flat tensor, or as many as are kept: others every turn, by multiples of the golden ratio."""
    if size <= _KEPT:
        return np.arange(size)
    shares = np.arange(turn * _KEPT, (turn + 1) * _KEPT) * _GOLDEN % 1.0
    return np.asarray(shares * size, np.intp)


def _by_channel(
    values: NDArray[np.float32], alike: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32], Array]:
    """The smallest and the largest values and the mean of squares along some axes, which stay with size 1.

    Where every value is a channel, smallest and largest are one array.
    Short rows are turned first: a reduction along them takes them one by one, several times as long.
    """
    shape = tuple(1 if i in alike else d for i, d in enumerate(values.shape))
    if shape == values.shape:
        own = values.copy()
        return own, own, np.asarray(np.square(own), np.float64)
    last = max((i + 1 for i in range(values.ndim) if i not in alike), default=0)
    size = prod(values.shape[last:])
    if last and 1 < size <= _SHORT:
        rows = np.ascontiguousarray(values.reshape(-1, size).T)
        values, alike = rows.reshape(size, *values.shape[:last]), (0, *(a + 1 for a in alike if a < last))
    low, high = (ufunc.reduce(values, axis=alike).reshape(shape) for ufunc in (np.minimum, np.maximum))
    letters = "abcdefghijkl"[: values.ndim]
    sums = np.einsum(
        f"{letters},{letters}->{''.join(a for i, a in enumerate(letters) if i not in alike)}", values, values
    )
    return low, high, np.asarray(np.reshape(sums, shape) / (values.size // max(sums.size, 1)), np.float64)


class Extents(dict[str, Extent]):
    """Extents of tensors by name; values are those of one float model, or of another that computes the same ones."""

    def covers(self, name: str, alike: tuple[int, ...]) -> bool:
        """Whether a tensor is known with these axes."""
        return name in self and self[name].count > 0 and self[name].alike == alike


def extents(
    model: ir.Model, axes: Mapping[str, tuple[int, ...]], samples: Iterable[Feeds], threads: int | None = None
) -> Extents:
    """Extents of the named tensors, with the axes that are alike within a channel, over the samples.

    Args:
        model: gives the tensors.
        axes: alike within a channel, by name of the tensor.
        samples: what it is run on.
        threads: samples at a time; None: as many as there are cores.
    """
    found = Extents((name, Extent.empty(alike)) for name, alike in axes.items())
    if not found:
        return found
    session = Session(model, list(found), threads=1)
    for outputs in mapped(session.run_on, samples, threads):
        for name, values in outputs.items():
            found[name].add(values)
    return found
