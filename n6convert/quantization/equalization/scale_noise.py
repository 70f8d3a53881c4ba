"""Noise that grids add at what reads channels, by what these are divided by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from n6convert.quantization.equalization.channel_map import Absorber
from n6convert.quantization.equalization.scale_variables import LabelArray, squeeze_constant_axes
from n6convert.quantization.grid.plan import quantize_weight
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.ranges.estimators import Range

__all__ = ["ChannelStatistics", "Group", "Noise", "Vector"]

Vector = NDArray[np.float64]
#: a channel may get that much larger on samples not seen before it reaches the end of the grid
_MARGIN = 2.0
#: elements of one weight on which noise is predicted; of larger ones an even share of the outputs is looked at
_LOOKED_AT = 1 << 16


@dataclass
class ChannelStatistics:
    """What the samples showed of one tensor, by label.

    Attributes:
        labels: the tensor's distinct labels.
        low, high: smallest (at most 0) and largest (at least 0) value of each label.
        square: mean square of each label.
        grid: representative of the tensors that share its grid.
    """

    labels: LabelArray
    low: Vector
    high: Vector
    square: Vector
    grid: str

    @classmethod
    def empty(cls, labels: LabelArray, grid: str) -> ChannelStatistics:
        """Before the first sample."""
        return cls(labels, *np.zeros((3, labels.size)), grid=grid)  # type: ignore[misc]


@dataclass
class Group:
    """Labels whose factors meet in some tensor or grid, with those tensors and the weights that read them.

    Attributes:
        fixed: by grid, the range of what shares it and takes no factor.
    """

    fixed: Mapping[str, Range]
    labels: LabelArray = field(default_factory=lambda: np.array([], np.int64))
    tensors: dict[str, ChannelStatistics] = field(default_factory=dict)
    readers: list[Absorber] = field(default_factory=list)


@dataclass(frozen=True)
class _Reader:
    """A weight that reads the group, outputs first; what is known by label broadcasts to it.

    Attributes:
        place: of each weight's label in the group.
        sign: of each weight's label.
        square: mean square of what each weight multiplies.
        energy: of the outputs.
    """

    weight: Vector
    place: NDArray[np.intp]
    sign: NDArray[np.int64]
    square: Vector
    energy: float


class Noise:
    """Predicted rounding noise behind the readers of a group, relative to what they compute."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.tensors = [(t, np.sign(t.labels), self._place(t.labels)) for t in group.tensors.values()]
        self.grids = {t.grid: [other for other in self.tensors if other[0].grid == t.grid] for t, _, _ in self.tensors}
        self.square = {side: self._mean_square(side) for side in (1, -1)}
        self.peaks = {side: self._peaks(side) for side in (1, -1)}
        self.readers = [self._reader(r) for r in group.readers]

    def _place(self, labels: LabelArray) -> NDArray[np.intp]:
        """Where each label stands in the group; label 0 gets the place behind the last."""
        places = np.searchsorted(self.group.labels, np.abs(labels))
        return np.where(labels == 0, self.group.labels.size, places)

    def _mean_square(self, side: int) -> Vector:
        total, count = np.zeros(self.group.labels.size + 1), np.zeros(self.group.labels.size + 1)
        for tensor, sign, place in self.tensors:
            np.add.at(total, place[sign == side], tensor.square[sign == side])
            np.add.at(count, place[sign == side], 1)
        return total / np.maximum(count, 1)

    def _peaks(self, side: int) -> Vector:
        peaks = np.zeros(self.group.labels.size + 1)
        for tensors in self.grids.values():
            largest = [np.maximum(t.high, -t.low)[sign == side] for t, sign, _ in tensors]
            seen = np.concatenate(largest)
            usual = np.median(seen[seen > 0]) if (seen > 0).any() else 1.0
            for (_, sign, place), values in zip(tensors, largest, strict=True):
                np.maximum.at(peaks, place[sign == side], values / usual)
        return peaks[:-1]

    def ratio(self) -> Vector:
        """How much larger each channel is than the usual one; for products: than it is in the other operand."""
        parts = []
        for side in (1, -1):
            peaks = self.peaks[side]
            peaks = np.minimum(peaks * _MARGIN, peaks.max())
            usual = np.median(peaks[peaks > 0]) if peaks.any() else 1.0
            parts.append(np.where(peaks > 0, peaks, usual) / usual)
        both = self.peaks[1].any() and self.peaks[-1].any()
        return np.sqrt(parts[0] / parts[1]) if both else parts[0] / parts[1]

    def _reader(self, reader: Absorber) -> _Reader:
        assert reader.rows is not None
        weight = np.moveaxis(constant(reader.value), reader.rows, 0)
        labels = np.moveaxis(np.broadcast_to(reader.labels, constant(reader.value).shape), reader.rows, 0)
        some = slice(None, None, max(weight.size // _LOOKED_AT, 1))
        numbers, labels = weight[some].astype(np.float64), squeeze_constant_axes(labels[some])
        place, sign = self._place(labels), np.sign(labels)
        square = np.where(sign < 0, self.square[-1][place], self.square[1][place])
        return _Reader(numbers, place, sign, square, max(float((numbers**2 * square).sum()), 1e-30))

    def at(self, factors: Vector) -> float:
        """The noise with these factors; at least some of it where nothing reads the group."""
        scale = np.append(factors, 1.0)
        steps = {1: 0.0, -1: 0.0}
        for grid, tensors in self.grids.items():
            low, high = self.group.fixed.get(grid, (0.0, 0.0))
            for tensor, sign, place in tensors:
                divisor = scale[place] ** sign
                low = min(low, float((tensor.low / divisor).min()))
                high = max(high, float((tensor.high / divisor).max()))
            for side in (1, -1):
                steps[side] += ((high - low) / 255) ** 2 / 12 if any((s == side).any() for _, s, _ in tensors) else 0.0
        total = sum(self._behind(reader, scale, steps) for reader in self.readers)
        return total + self._product(scale, steps)

    def _behind(self, reader: _Reader, scale: Vector, steps: dict[int, float]) -> float:
        """Noise of one weight's outputs: of the steps before it, and of its own rounding."""
        factor = scale[reader.place] ** reader.sign
        scaled = reader.weight * factor
        own = (quantize_weight(scaled.astype(np.float32), 0).values() - scaled) / factor
        step = np.where(reader.sign < 0, steps[-1], steps[1]) * (reader.sign != 0)
        return float((scaled**2 * step + own**2 * reader.square).sum()) / reader.energy

    def _product(self, scale: Vector, steps: dict[int, float]) -> float:
        """Noise of products of two activations in which a factor cancels."""
        a, b = self.square[1], self.square[-1]
        energy = float((a * b).sum())
        return float((steps[1] * scale**2 * b + steps[-1] * a / scale**2).sum()) / energy if energy else 0.0
