"""Equalization: even out the channels of a tensor, so that one int8 scale serves them all.

Channel c of a tensor is divided by ``s_c`` and the constants around it absorb that, exactly in float (see
:mod:`~.channels`): cross-layer equalization of convolutions (Nagel et al. 2019), SmoothQuant
from a normalization's affine part into the layers behind it (Xiao et al. 2022), value to output and query to key
projections of attention, bridges between convolutions and transformers. How far each set of channels is evened out is
decided by the noise predicted behind its readers, from the step of every tensor and of every weight row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from n6convert.quantization.equalization.channel_map import Absorber, ChannelMap, map_channels
from n6convert.quantization.equalization.scale_noise import ChannelStatistics, Group, Noise, Vector
from n6convert.quantization.equalization.scale_variables import LabelArray, ScaleVariables, squeeze_constant_axes
from n6convert.quantization.grid.from_ranges import observed
from n6convert.quantization.grid.shared_grids import shared_grids, shared_groups
from n6convert.quantization.prepare.batch_norm import rescale
from n6convert.quantization.prepare.operator_forms import constant, new_constant, set_constant, take_over
from n6convert.quantization.ranges.channel_extents import Extent, Extents, extents
from n6convert.quantization.ranges.estimators import Range
from n6convert.quantization.stable import SHARE, rounded_factors
from n6convert.runtime.comparison import least_sizes, relative_differences
from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped
from n6convert.types import Feeds

__all__ = ["Evened", "difference", "equalize", "judged_axes"]

#: beyond this the smaller weights of a row are left without codes
_LARGEST = 256.0
_STRENGTHS = (0.25, 0.5, 0.75, 1.0)
#: predicted noise must fall to this share before a group is scaled
_WORTHWHILE = 0.9


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
    groups = _groups(channels, *seen)
    for group, (chosen, found) in zip(
        groups, mapped(partial(_choose, strength=strength), groups, threads), strict=True
    ):
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
    a, b = (Session(m, threads=threads, optimize=False) for m in (model, other))  # for one run each
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
        group.tensors[name] = tensor
    for reader in readers:
        found = groups.get(int(sets.find(_free(reader)[:1])[0])) if _free(reader).size else None
        if found is not None:
            found.readers.append(reader)
    for group in groups.values():
        labels = [*map(_free, group.tensors.values()), *map(_free, group.readers)]
        group.labels = np.unique(np.concatenate(labels))
    return list(groups.values())


def _free(part: ChannelStatistics | Absorber) -> LabelArray:
    """The labels that may get a factor, without their sign."""
    labels = squeeze_constant_axes(part.labels).ravel()
    free: LabelArray = np.abs(labels[labels != 0])
    return free


def _choose(group: Group, strength: float | None) -> tuple[float, Vector]:
    """The strength that promises the least noise, and the factor of each label of the group."""
    noise = Noise(group)
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
