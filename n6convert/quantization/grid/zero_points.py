"""Fast zero points, -128 and 0, at the inputs of convolutions.

A convolution whose input has zero point -128 or 0 runs on 8-bit features; any other zero point is subtracted in the
unit and makes features 16 bit, which costs 15 to 25 % of its cycles ([#zero-points]). A grid with zero point 0 spends
up to one bit on the side that is not used; one with -128 clips what is negative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.grid.shared_grids import SharedGrid, shared_grids, shared_groups
from n6convert.quantization.ranges.calibrate import Statistics
from n6convert.quantization.ranges.estimators import Effect, Range, range_error

__all__ = ["FAST_ZERO_POINTS", "MAX_LOSS_DB", "ZeroPointSavings", "prefer_fast_zero_points", "give_ranges"]

#: zero points with which a convolution's input costs nothing extra
FAST_ZERO_POINTS = (-128, 0)
#: Cycles saved by tensor name when that tensor, which feeds convolutions, gets one of :data:`FAST_ZERO_POINTS`. It is
#: called with the float model that is being quantized, whose node names and shapes are those of the INT8 model.
ZeroPointSavings = Callable[[ir.Model], Mapping[str, float]]

#: dB of a tensor's own SQNR that may be given for the whole network's cycles, by policy
MAX_LOSS_DB = {"speed": np.inf, "balanced": 20.0, "accuracy": 0.0}
#: dB that nobody sees, and SQNR of a network's input that is no concern: tensors inside that fill their grids well have
#: 40 dB, three times the noise
_FREE, _NO_CONCERN = 0.05, 45.0
#: of figures in dB; further ones are noise
_DIGITS = 3


def prefer_fast_zero_points(
    model: ir.Model,
    ranges: dict[str, Range],
    statistics: Mapping[str, Statistics],
    effects: Mapping[str, Effect | None],
    policy: str,
    cycles: Mapping[str, float] | None,
) -> list[dict[str, Any]]:
    """Change ranges, in place, so that convolution inputs get cheap zero points where the policy finds it worth it.

    A grid serves all tensors that share it (``topology/sharing.py``), so what counts is the tensor that
    loses most; its error is the mean squared one on its histogram. ``speed`` takes every cheap zero point,
    ``accuracy`` only those that cost no tensor an error, ``balanced`` pays 1 dB of a tensor's SQNR for 5 % of what all
    cheap zero points together save. Normalized pixels fill a grid around zero so well that what they lose on it counts
    for nothing beside the errors of other tensors, whatever the policy.

    Args:
        model: prepared.
        ranges: by tensor name; changed.
        statistics: by tensor name.
        effects: what consumers make of a tensor, by name.
        policy: ``speed``, ``accuracy`` or ``balanced``.
        cycles: cycles that cheap zero points save, by tensor; None: no target was asked.

    Returns:
        One record per grid: name of the convolution input that saves most, saved (cycles, or multiplications when no
        target was asked), the SQNR before and after of the tensor that loses most, and whether it was taken.
    """
    saved = dict(cycles) if cycles is not None else _multiplications(model.graph)
    total = sum(saved.values()) or 1.0
    groups = shared_groups(model.graph, ranges)
    grids = shared_grids(model.graph, groups, ranges)
    readers: dict[str, list[str]] = {}
    for name in saved:
        readers.setdefault(groups.get(name, name), []).append(name)
    records: dict[str, dict[str, Any]] = {}
    found: dict[str, Range] = {}
    inputs = {v.name for v in model.graph.inputs}
    for root, names in readers.items():
        choice = _cheap(grids[root], statistics, effects) if root in grids else None
        if choice is None:
            continue
        gain = sum(saved[name] for name in names)
        fine = choice.cheap_sqnr_db >= _NO_CONCERN and not inputs.isdisjoint(grids[root].members)
        if fine or choice.lost_db <= max(MAX_LOSS_DB[policy] * gain / total, _FREE):
            found[root] = choice.span
        sqnr = {"sqnr_db": choice.sqnr_db, "cheap_sqnr_db": choice.cheap_sqnr_db}
        records[root] = {"name": max(names, key=lambda n: saved[n]), **sqnr, "saved": gain}
    give_ranges(model.graph, grids, ranges, found)
    return [{**record, "taken": root in found} for root, record in records.items()]


def give_ranges(
    graph: ir.Graph, grids: Mapping[str, SharedGrid], ranges: dict[str, Range], found: dict[str, Range]
) -> None:
    """Give grids their new ranges, in place; those that would change any other grid leave ``found`` instead.

    Args:
        graph: prepared.
        grids: by the name of their group.
        ranges: by tensor name; changed.
        found: new ranges by the name of the group; loses those that were not given.
    """
    groups = shared_groups(graph, ranges)
    while True:
        changed = ranges | {member: span for root, span in found.items() for member in grids[root].members}
        after = shared_groups(graph, changed)
        moved = {groups[n] for name, root in groups.items() if after[name] != root for n in (name, after[name])}
        for root, grid in shared_grids(graph, groups, changed).items():
            if grid.span != found.get(root, grids[root].span):
                moved |= {root, *(groups.get(guest, guest) for guest in grid.guests)}
        if not moved:
            ranges.update(changed)
            return
        for root in moved & set(found) or set(found):
            del found[root]


@dataclass(frozen=True)
class _Choice:
    """The best cheap range of a grid, with the SQNR before and after of the tensor that loses most."""

    span: Range
    sqnr_db: float
    cheap_sqnr_db: float

    @property
    def lost_db(self) -> float:
        return self.sqnr_db - self.cheap_sqnr_db


def _cheap(
    grid: SharedGrid, statistics: Mapping[str, Statistics], effects: Mapping[str, Effect | None]
) -> _Choice | None:
    """The cheap range that costs the tensors of a grid least; None when it is cheap already or nothing is known."""
    low, high = grid.span
    tensors = [*grid.members, *grid.guests]
    histograms = [statistics[name].histogram if name in statistics else None for name in tensors]
    if Grid.from_range(low, high).zero_point in FAST_ZERO_POINTS or not grid.members or None in histograms:
        return None
    options: list[Range] = [(low, high), (-max(-low, high), max(-low, high))]
    if grid.needed[0] == 0:
        options.append((0.0, high))
    known = [(h, effects.get(m)) for m, h in zip(tensors, histograms, strict=True) if h is not None]
    errors = [range_error(histogram, options, effect) for histogram, effect in known]
    if grid.needed != (0.0, 0.0):
        errors.append(_uniform_error(grid.needed, options))
    decibel = np.round(-10 * np.log10(np.maximum(errors, 1e-12)), _DIGITS)  # [tensor, option]
    lost = decibel[:, :1] - decibel[:, 1:]
    best = int(np.argmin(lost.max(axis=0)))
    worst = int(np.argmax(lost[:, best]))
    return _Choice(options[1 + best], float(decibel[worst, 0]), float(decibel[worst, 1 + best]))


def _uniform_error(span: Range, options: Sequence[Range]) -> NDArray[np.float64]:
    """Relative error, on grids that hold them all, of values of which the range alone is known."""
    energy = (span[0] ** 2 + span[0] * span[1] + span[1] ** 2) / 3
    return np.array([Grid.from_range(*option).scale ** 2 / 12 / energy for option in options])


def _multiplications(graph: ir.Graph) -> dict[str, float]:
    """Multiplications of the convolutions that read each tensor: what is at stake when no target tells cycles."""
    found: dict[str, float] = {}
    for node in graph:
        source, weight = node.inputs[0] if node.inputs else None, node.inputs[1] if len(node.inputs) > 1 else None
        if node.op_type not in ("Conv", "Gemm") or source is None or weight is None or weight.shape is None:
            continue
        shape = [d for d in node.outputs[0].shape or () if isinstance(d, int)]
        taps = np.prod([d for d in weight.shape if isinstance(d, int)], dtype=float)
        positions = np.prod(shape[2:] if node.op_type == "Conv" else shape[:1], dtype=float)
        found[source.name or ""] = found.get(source.name or "", 0.0) + float(taps * positions)
    return found
