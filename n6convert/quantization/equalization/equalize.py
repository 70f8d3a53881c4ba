"""Equalization: even out the channels of a tensor, so that one int8 scale serves them all.

Channel c of a tensor is divided by ``s_c`` and the constants around it absorb that, exactly in float (see
:mod:`~.channels`): cross-layer equalization of convolutions (Nagel et al. 2019), SmoothQuant
from a normalization's affine part into the layers behind it (Xiao et al. 2022), value to output and query to key
projections of attention, bridges between convolutions and transformers. How far each set of channels is evened out is
decided by the noise predicted behind its readers, from the step of every tensor and of every weight row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.equalization.channel_map import Absorber, ChannelMap, map_channels
from n6convert.quantization.equalization.scale_variables import LabelArray, ScaleVariables, squeeze_constant_axes
from n6convert.quantization.grid.from_ranges import observed
from n6convert.quantization.grid.plan import quantize_weight
from n6convert.quantization.grid.shared_grids import shared_grids, shared_groups
from n6convert.quantization.prepare.batch_norm import rescale
from n6convert.quantization.prepare.operator_forms import constant, new_constant, set_constant, take_over
from n6convert.quantization.ranges.channel_extents import Extent, Extents, extents
from n6convert.quantization.ranges.estimators import Range
from n6convert.quantization.stable import SHARE, rounded_factors
from n6convert.runtime.comparison import least_sizes, relative_differences
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["Evened", "difference", "equalize", "judged_axes"]

Vector = NDArray[np.float64]
#: beyond this the smaller weights of a row are left without codes
_LARGEST = 256.0
#: a channel may get that much larger on samples not seen before it reaches the end of the grid
_MARGIN = 2.0
_STRENGTHS = (0.25, 0.5, 0.75, 1.0)
#: predicted noise must fall to this share before a group is scaled
_WORTHWHILE = 0.9
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


class Evened(NamedTuple):
    """What :func:`equalize` made.

    Attributes:
        records: of every group of tensors that was scaled.
        factors: what the channels of tensors were divided by, by name; tensors that stay are left out.
    """

    model: ir.Model
    records: list[dict[str, Any]]
    factors: dict[str, Vector]


def equalize(
    model: ir.Model,
    samples: Iterable[Feeds],
    *,
    strength: float | None = None,
    threads: int | None = None,
    fixed: Collection[str] = (),
    known: Extents | None = None,
) -> Evened:
    """A copy of the model with even channels.

    Args:
        samples: gone through once for the tensors that are not known yet.
        strength: 0 leaves activations alone, 1 gives every channel the same largest value; None: for each group what
            promises the least noise.
        fixed: outputs of Clips whose bound must not move.
        known: what was seen before of the model's tensors; what is seen here is added.
    """
    model = model.clone()
    channels = map_channels(model.graph, fixed)
    factors = np.ones(channels.labels.size)
    records = []
    seen = _observe(model, channels, samples, threads, known if known is not None else Extents())
    for group in _groups(channels, *seen):
        chosen, found = _choose(group, strength)
        if found.max() > 1.05 * found.min():
            factors[group.labels] = found
            name = next(iter(group.tensors))
            record = {"tensor": name, "tensors": len(group.tensors), "channels": len(group.labels)}
            records.append(record | {"strength": chosen, "largest_factor": float(max(found.max(), 1 / found.min()))})
    return Evened(model, records, _absorb(model.graph, channels, factors))


def difference(model: ir.Model, other: ir.Model, sample: Feeds, threads: int | None = None) -> float:
    """Largest output difference of two float models on a sample, relative to the output's range.

    Args:
        model: float.
        other: float, with the same inputs and outputs.
        sample: arrays by input name.
        threads: None: as many as there are cores.
    """
    a, b = (Session(m, threads=threads) for m in (model, other))
    x, y = (s.run_on(sample) for s in (a, b))
    return max(relative_differences(x, y, least_sizes(model)).values(), default=0.0)


def _observe(
    model: ir.Model, channels: ChannelMap, samples: Iterable[Feeds], threads: int | None, known: Extents
) -> tuple[dict[str, ChannelStatistics], dict[str, Range]]:
    """Statistics by label of every tensor that has labels that are free, and the ranges of what shares their grids."""
    groups = shared_groups(model.graph)
    labels = _judged(model.graph, channels, groups)
    known |= extents(
        model, {n: _alike(a) for n, a in labels.items() if not known.covers(n, _alike(a))}, samples, threads
    )
    seen = {n: _by_label(known[n], a, groups[n]) for n, a in labels.items() if known[n].count}
    still = {n: (float(s.low.min()), float(s.high.max())) for n, s in seen.items() if not s.labels.any()}
    grids = shared_grids(model.graph, groups, still)
    return {n: s for n, s in seen.items() if n not in still}, {root: grid.span for root, grid in grids.items()}


def judged_axes(graph: ir.Graph) -> dict[str, tuple[int, ...]]:
    """The tensors whose channels :func:`equalize` looks at, with the axes along which a factor cannot vary."""
    labels = _judged(graph, map_channels(graph), shared_groups(graph))
    return {name: _alike(array) for name, array in labels.items()}


def _judged(graph: ir.Graph, channels: ChannelMap, groups: Mapping[str, str]) -> dict[str, LabelArray]:
    """Labels of the tensors on whose grid any is free."""
    by_name = {v.name or "": v for v in channels.tensors}
    labels = {n: channels.of(by_name[n]) for n in observed(graph) if by_name[n].producer() is not None}
    free = {groups[n] for n, a in labels.items() if a.any()}
    return {n: a for n, a in labels.items() if groups[n] in free}


def _alike(labels: LabelArray) -> tuple[int, ...]:
    """Axes along which labels do not vary."""
    return tuple(i for i, stride in enumerate(labels.strides) if stride == 0)


def _by_label(extent: Extent, labels: LabelArray, grid: str) -> ChannelStatistics:
    """What is known of a tensor's channels, by their labels."""
    own, places = np.unique(squeeze_constant_axes(labels), return_inverse=True)
    places = places.ravel()
    if own.size == places.size:
        order = np.argsort(places)
        low, high, square = (a.ravel()[order] for a in (extent.low, extent.high, extent.square))
        return ChannelStatistics(own, low, high, square, grid)
    seen = ChannelStatistics.empty(own, grid)
    np.minimum.at(seen.low, places, extent.low.ravel())
    np.maximum.at(seen.high, places, extent.high.ravel())
    seen.square = np.bincount(places, extent.square.ravel(), own.size) / np.bincount(places)
    return seen


def _groups(channels: ChannelMap, seen: Mapping[str, ChannelStatistics], fixed: Mapping[str, Range]) -> list[Group]:
    """Sets of labels that may be judged apart: those that meet in a tensor, a grid or a reader belong together."""
    readers = [replace(a, labels=channels.labels.find(a.labels)) for a in channels.absorbers if a.rows is not None]
    sets = ScaleVariables()
    sets.new(channels.labels.size)
    parts: list[ChannelStatistics | Absorber] = [*seen.values(), *readers]
    for part in parts:
        sets.unify(_free(part), _free(part)[:1])
    first: dict[str, ChannelStatistics] = {}
    for tensor in seen.values():
        sets.unify(_free(tensor)[:1], _free(first.setdefault(tensor.grid, tensor))[:1])
    groups: dict[int, Group] = {}
    for name, tensor in seen.items():
        group = groups.setdefault(int(sets.find(_free(tensor)[:1])[0]), Group(fixed))
        group.labels = np.union1d(group.labels, _free(tensor))
        group.tensors[name] = tensor
    for reader in readers:
        found = groups.get(int(sets.find(_free(reader)[:1])[0])) if _free(reader).size else None
        if found is not None:
            found.labels = np.union1d(found.labels, _free(reader))
            found.readers.append(reader)
    return list(groups.values())


def _free(part: ChannelStatistics | Absorber) -> LabelArray:
    """The labels that may get a factor, without their sign."""
    labels = squeeze_constant_axes(part.labels).ravel()
    free: LabelArray = np.abs(labels[labels != 0])
    return free


def _choose(group: Group, strength: float | None) -> tuple[float, Vector]:
    """The strength that promises the least noise, and the factor of each label of the group."""
    noise = _Noise(group)
    ratio = noise.ratio()
    if strength is not None:
        return strength, _powered(ratio, strength)
    best, least, factors = 0.0, _WORTHWHILE * noise.at(np.ones(ratio.size)), np.ones(ratio.size)
    for trial in _STRENGTHS:
        found = _powered(ratio, trial)
        level = noise.at(found)
        if level < least * (1 - SHARE):
            best, least, factors = trial, level, found
    return best, factors


def _powered(ratio: Vector, strength: float) -> Vector:
    return np.clip(rounded_factors(ratio**strength), 1 / _LARGEST, _LARGEST)


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


class _Noise:
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


def _absorb(graph: ir.Graph, channels: ChannelMap, factors: Vector) -> dict[str, Vector]:
    """Divide tensors by their factors, by scaling the constants around them; the factors by tensor."""

    def scale(labels: LabelArray) -> Vector:
        root = squeeze_constant_axes(channels.labels.find(labels))
        result: Vector = factors[np.abs(root)] ** np.sign(root)
        return result

    for absorber in channels.absorbers:
        factor = scale(absorber.labels)
        if (factor != 1).any():
            scaled = constant(absorber.value) * factor**absorber.power
            set_constant(absorber.value, scaled.astype(np.float32))
    by_name = {v.name: labels for v, labels in channels.tensors.items()}
    rescale(graph, lambda name: scale(by_name[name]).reshape(-1))
    found = {name or "": scale(labels) for name, labels in by_name.items()}  # before outputs of clips change theirs
    for node in channels.clips:
        factor = scale(channels.tensors[node.outputs[0]])
        if (factor != 1).any():
            _move_bound(graph, node, constant(node.inputs[2]) / factor)
    return {name: factor for name, factor in found.items() if (factor != 1).any()}


def _move_bound(graph: ir.Graph, node: ir.Node, bounds: Vector) -> None:
    """``Clip(x, 0, b)`` with one bound per channel: ``Min(Relu(x), bounds)``, which saturation of a grid replaces."""
    name, shape = node.name or node.outputs[0].name, node.outputs[0].shape
    relu = ir.node("Relu", [node.inputs[0]], name=f"{name}_relu")
    positive = relu.outputs[0]
    positive.name, positive.type, positive.shape = f"{name}_relu_output", node.outputs[0].type, shape
    limit = new_constant(graph, f"{name}_bounds", bounds.astype(np.float32))
    take_over(graph, node, [relu, ir.node("Min", [positive, limit], name=name)])
