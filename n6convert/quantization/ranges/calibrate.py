"""Streaming calibration: one pass over the samples, memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite, prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import QuantizationError
from n6convert.quantization.ranges.channel_extents import Extent, Extents
from n6convert.quantization.ranges.histogram import Histogram
from n6convert.quantization.ranges.unseen import Extremes, Tail
from n6convert.quantization.stable import rounded
from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped
from n6convert.types import Feeds, Progress

__all__ = ["Feeds", "FeedSource", "Progress", "Statistics", "calibrate"]

FeedSource = Callable[[], Iterable[Feeds]]

#: values of one tensor in one sample that enter its histogram; larger tensors are sampled
HISTOGRAM_VALUES = 1 << 13
#: neighbors that are sampled together: more are quicker to fetch and say less, since neighbors are alike
_RUN = 4
_GOLDEN = (5**0.5 - 1) / 2
_MOVING = 0.01


@dataclass
class Statistics:
    """What is known of one tensor's values.

    Attributes:
        low, high: smallest and largest value; of tensors that the model computes rounded (see
            :mod:`~n6convert.quantization.stable`).
        moving_low, moving_high: exponential moving average of each sample's smallest and largest value.
        histogram: of all values, or of an even share of them; None when it was not asked for.
        samples: how many samples were seen.
        quietest: largest absolute value of the sample in which that is least, all-zero samples apart.
        bounds: what the tensor's producer keeps it within.
        told_apart: the range beyond whose ends all that reads the tensor makes one result.
    """

    low: float = np.inf
    high: float = -np.inf
    moving_low: float = 0.0
    moving_high: float = 0.0
    histogram: Histogram | None = None
    samples: int = 0
    quietest: float = np.inf
    bounds: tuple[float, float] = (-np.inf, np.inf)
    told_apart: tuple[float, float] = (-np.inf, np.inf)
    _lowest: Extremes = field(default_factory=Extremes)
    _highest: Extremes = field(default_factory=Extremes)
    _values: int = 0

    def add(self, values: NDArray[np.float32], ends: tuple[float, float] | None = None) -> bool:
        """Take one sample's values; False when they are not all finite.

        Args:
            values: any shape.
            ends: smallest and largest of them, where that is known.
        """
        if values.size == 0:
            return True
        low, high = ends or (float(values.min()), float(values.max()))
        if not (isfinite(low) and isfinite(high)):
            return False
        self._reach(low, high, values.size)
        if self.histogram is not None:
            self.histogram.add(_some(values.reshape(-1), self.samples), max(-low, high, 0.0))
        return True

    def _reach(self, low: float, high: float, size: int) -> None:
        """Take how far one sample reaches."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.quietest = min(self.quietest, max(-low, high) or np.inf)
        weight = _MOVING if self.samples else 1.0
        self.moving_low += weight * (low - self.moving_low)
        self.moving_high += weight * (high - self.moving_high)
        self._lowest.add(-low)
        self._highest.add(high)
        self._values += size
        self.samples += 1

    @classmethod
    def of(cls, extent: Extent) -> Statistics:
        """What is known of a tensor all of whose samples were kept; histograms hold the values that were."""
        found = cls(histogram=Histogram())
        some = []
        for sample in extent.kept():
            found._reach(float(sample.low.min()), float(sample.high.max()), prod(extent.shape))
            some.append(sample.some)
        if found.histogram is not None:
            found.histogram.add(np.concatenate(some), max(-found.low, found.high, 0.0))
        found.settle()
        return found

    @property
    def read(self) -> tuple[float, float]:
        """Smallest and largest value as far as what reads the tensor tells them apart."""
        return max(self.low, self.told_apart[0]), min(self.high, self.told_apart[1])

    @property
    def values_per_sample(self) -> float:
        """Size of the tensor."""
        return self._values / max(self.samples, 1)

    def tail(self) -> Tail:
        """Values to be expected beyond the seen ones, one a side in as many samples as there were and one."""
        counted = int(self.histogram.counts.sum()) if self.histogram is not None else self._values
        share = counted / max(self._values, 1) * self.samples / (self.samples + 1)
        scales = self._lowest.scale(), self._highest.scale()
        return Tail.beyond((self.low, self.high), scales, self.bounds, share)

    def settle(self) -> None:
        """Round what float noise moves."""
        for name in ("low", "high", "moving_low", "moving_high", "quietest"):
            setattr(self, name, float(rounded(getattr(self, name))))


def _some(values: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """All values, or as many as a histogram takes, from other places every turn."""
    if values.size <= HISTOGRAM_VALUES:
        return values
    runs = values.size // _RUN
    places = (_shares(turn) * runs).astype(np.intp)
    return values[: runs * _RUN].reshape(runs, _RUN).take(places, axis=0)


@lru_cache(maxsize=4)
def _shares(turn: int) -> NDArray[np.float64]:
    """Places between 0 and 1: multiples of the golden ratio, which fall into step with no width or channel count."""
    count = HISTOGRAM_VALUES // _RUN
    return np.asarray(np.arange(turn * count, (turn + 1) * count) * _GOLDEN % 1.0, np.float64)


def calibrate(
    model: ir.Model,
    feeds: FeedSource,
    names: Sequence[str],
    *,
    histograms: bool = False,
    channels: Extents | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Statistics]:
    """Statistics of the named tensors (graph inputs included) over the samples.

    Args:
        model: float, prepared.
        feeds: opens the samples anew at each call.
        names: of tensors.
        histograms: take them as well as extremes, in the same pass.
        channels: of some tensors; what the samples show is added, in the same pass.
        threads: None: as many as there are cores.
        progress: called as ``progress(what, done, total)``.

    Raises:
        QuantizationError: no samples, or a tensor that is not finite, named with its sample.
        GraphError: a sample does not fit the model's inputs.
    """
    state = {name: Statistics(histogram=Histogram() if histograms else None) for name in names}
    known = channels if channels is not None else Extents()
    names = list(dict.fromkeys((*names, *known)))
    inputs = {v.name for v in model.graph.inputs}
    inner = [n for n in names if n not in inputs]
    session = Session(model, inner, threads=1) if inner else None

    def values_of(sample: Feeds) -> dict[str, NDArray[Any]]:
        if session is None:
            return dict(sample)
        return {**sample, **session.run({name: sample[name] for name in session.inputs if name in sample})}

    count = 0
    for values in mapped(values_of, feeds(), threads):
        _refuse_infinite(_observe(state, known, values, names), count)
        values.clear()  # so that the next sample finds this memory free
        count += 1
        if progress is not None:
            progress("calibration", count, None)
    if count == 0:
        raise QuantizationError(
            "there are no calibration samples", limit="at least 1", found=0, remedy="check the calibration source"
        )
    for name in inner:
        if name in state:
            state[name].settle()
    return state


def _observe(
    state: Mapping[str, Statistics], channels: Extents, values: Mapping[str, NDArray[Any]], names: Sequence[str]
) -> list[str]:
    """Take one sample's values of some tensors; the names of those that are not finite."""
    unfit = []
    for name in names:
        ends = channels[name].add(values[name]) if name in channels else None
        finite = state[name].add(values[name], ends) if name in state else channels[name].is_finite
        unfit += [] if finite else [name]
    return unfit


def _refuse_infinite(names: Sequence[str], index: int) -> None:
    if names:
        raise QuantizationError(
            "a tensor is not finite during calibration",
            place=f"tensor {names[0]}, sample {index}",
            limit="finite numbers",
            found="NaN or infinity",
            remedy="check the encoding of the samples and the float model on this sample",
        )
