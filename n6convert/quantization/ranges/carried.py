"""Ranges of a network in another form, from what the samples showed of the first one.

Forms that compute the same hold the same tensors, or the same ones with their channels divided by factors. Only what is
new in them has to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.grid.from_ranges import observed
from n6convert.quantization.ranges.calibrate import FeedSource, Progress, Statistics, calibrate
from n6convert.quantization.ranges.channel_extents import Extents
from n6convert.quantization.ranges.find import RangeResult, chosen_ranges
from n6convert.recipe.quantization import QuantizationConfig
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["carried", "completed", "still_true"]

#: largest difference of a tensor that is the same, as a share of its largest value
_SAME = 1e-3
Factors = Mapping[str, NDArray[np.float64]]


def still_true(found: RangeResult, before: ir.Model, after: ir.Model, sample: Feeds) -> RangeResult:
    """What was found of the tensors that another float model computes under the same names.

    Args:
        found: of the model before.
        before: float, prepared.
        after: float, prepared; of the same network.
        sample: on which both are run.
    """
    made = [{v.name for n in m.graph for v in n.outputs} for m in (before, after)]
    names = [n for n in (*found.statistics, *found.channels) if n in made[0] and n in made[1]]
    names = list(dict.fromkeys(names))
    inputs = {v.name for v in after.graph.inputs}
    sessions = [Session(m, names, threads=1, optimize=False) for m in (before, after)] if names else []
    values = [s.run_on(sample) for s in sessions]
    same = inputs | {n for n in names if max_relative_difference(values[0][n], values[1][n]) <= _SAME}
    statistics = {n: s for n, s in found.statistics.items() if n in same}
    channels = Extents((n, e) for n, e in found.channels.items() if n in same)
    ranges = {n: span for n, span in found.ranges.items() if n in same}
    return replace(found, ranges=ranges, statistics=statistics, channels=channels)


def completed(
    model: ir.Model,
    found: RangeResult,
    judged: Extents,
    feeds: FeedSource,
    config: QuantizationConfig,
    progress: Progress | None = None,
) -> RangeResult:
    """What is known of a float model's tensors, with what nothing was known of added in one pass over the samples.

    Args:
        model: float, prepared.
        found: under the same names; tensors of which it has channels alone are known by these.
        judged: empty extents of the tensors whose channels are to be known.
        feeds: opens the samples anew at each call.
        config: of the recipe.
        progress: called as ``progress(what, done, total)``.
    """
    channels = Extents((n, e) for n, e in judged.items() if not found.channels.covers(n, e.alike))
    known = {*found.statistics, *found.channels, *channels}
    new = [n for n in observed(model.graph) if n not in known]
    if not new and not channels:
        return found
    statistics = calibrate(
        model, feeds, new, histograms=True, channels=channels, threads=config.threads, progress=progress
    )
    return replace(found, statistics=found.statistics | statistics, channels=Extents(found.channels | channels))


def carried(
    model: ir.Model,
    before: RangeResult,
    factors: Factors,
    feeds: FeedSource,
    few: Sequence[Feeds],
    config: QuantizationConfig,
    progress: Progress | None = None,
    *,
    clip: bool = True,
) -> tuple[RangeResult, bool]:
    """Ranges of a float model, and whether samples had to be looked at for them.

    Args:
        model: float, prepared.
        before: what is known of tensors under the same names, before their channels were divided.
        factors: by which these were divided, by name; of the others nothing.
        feeds: samples for the tensors that nothing is known of.
        few: samples that an automatic choice is judged on.
        config: of the recipe.
        progress: called as ``progress(what, done, total)``.
        clip: whether ranges may leave out what is read.
    """
    channels = Extents(before.channels)
    for name, factor in factors.items():
        known = channels.pop(name, None)
        if known is not None and known.takes(factor):
            channels[name] = known.divided(factor)
    statistics = {n: _statistics(n, before, factors, channels) for n in observed(model.graph)}
    told = {n: s for n, s in statistics.items() if s is not None}
    new = [n for n in statistics if n not in told]
    if new:
        told |= calibrate(model, feeds, new, histograms=True, threads=config.threads, progress=progress)
    found = chosen_ranges(model, {n: told[n] for n in statistics}, few, config, progress, clip=clip)
    return replace(found, channels=channels), bool(new)


def _statistics(name: str, before: RangeResult, factors: Factors, channels: Extents) -> Statistics | None:
    if name not in factors and name in before.statistics:
        return replace(before.statistics[name])
    known = channels.get(name)
    return Statistics.of(known) if known is not None and known.takes(np.ones([1] * known.low.ndim)) else None
