"""Ranges for all tensors of a model: from a file, by one method, or chosen tensor by tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from n6convert.quantization.grid.from_ranges import exact_inputs, observed
from n6convert.quantization.grid.shared_grids import shared_groups
from n6convert.quantization.ranges.auto import choose_ranges
from n6convert.quantization.ranges.calibrate import Feeds, FeedSource, Progress, Statistics, calibrate
from n6convert.quantization.ranges.channel_extents import Extents
from n6convert.quantization.ranges.consumers import consumer_error_map, consumer_functions
from n6convert.quantization.ranges.estimators import Effect, Range, candidates, reaching_range, tensor_range
from n6convert.quantization.ranges.file import check_known, load_ranges
from n6convert.quantization.ranges.softmax_scores import without_hidden
from n6convert.quantization.ranges.told_apart import told_apart
from n6convert.quantization.topology.roles import activations
from n6convert.quantization.topology.sharing import clip_bounds, fixed_range
from n6convert.recipe.quantization import QuantizationConfig
from n6convert.requantization.grids import noted_grids
from n6convert.runtime.threads import mapped

__all__ = ["CLIPS_NOTHING", "RangeResult", "chosen_ranges", "find_ranges", "kept_ranges", "ranges_beyond"]

#: the method of ranges of all values that are read
CLIPS_NOTHING = "read"
#: samples on which candidates of one tensor are tried
_TRIALS = 2


@dataclass
class RangeResult:
    """Ranges by tensor name, what they were found from, and how often each method was chosen.

    Attributes:
        stray: tensors of a ranges file that need no range in this model.
        kept: ranges that the model brought with it from a quantized file, which no method changes.
        channels: what was seen of single channels.
    """

    ranges: dict[str, Range]
    statistics: dict[str, Statistics]
    effects: Mapping[str, Effect | None]
    chosen: dict[str, int]
    stray: list[str] = field(default_factory=list)
    kept: dict[str, Range] = field(default_factory=dict)
    channels: Extents = field(default_factory=Extents)


def find_ranges(
    model: ir.Model,
    feeds: FeedSource,
    few: Sequence[Feeds],
    config: QuantizationConfig,
    progress: Progress | None,
    channels: Extents | None = None,
) -> RangeResult:
    """Ranges of every tensor the grids need.

    Args:
        model: float, prepared.
        feeds: opens the samples anew at each call.
        few: samples that the automatic choice is judged on.
        config: of the recipe.
        progress: called as ``progress(what, done, total)``.
        channels: of some tensors; what the samples show is added.

    Raises:
        QuantizationError: no samples, or a tensor that is not finite.
        SourceError: the ranges file is damaged or of another model.
    """
    names = observed(model.graph)
    if config.ranges_file is not None:
        loaded = load_ranges(Path(config.ranges_file))
        stray = sorted(set(loaded) - set(names))
        return RangeResult(check_known(loaded, names), {}, {}, {"file": len(names)}, stray)
    kept = {} if config.equalization else kept_ranges(model, names)
    names = [name for name in names if name not in kept]
    found = _calibrated(model, names, feeds, few, config, progress, channels) if names else RangeResult({}, {}, {}, {})
    chosen = found.chosen | ({"given": len(kept)} if kept else {})
    return replace(found, ranges=found.ranges | kept, kept=kept, chosen=chosen)


def kept_ranges(model: ir.Model, names: Sequence[str]) -> dict[str, Range]:
    """Ranges that a quantized file gave: of tensors that need one, of bounded functions, and of what is only moved."""
    noted = noted_grids(model.metadata_props)
    groups = shared_groups(model.graph)
    by_group: dict[str, Range] = {}
    for name, span in noted.items():
        old = by_group.get(groups.get(name, name), span)
        by_group[groups.get(name, name)] = (min(old[0], span[0]), max(old[1], span[1]))
    known = {v.name or "": v for v in activations(model.graph)}
    own = {n: s for n, s in noted.items() if n in names or (n in known and fixed_range(known[n]) is not None)}
    return {n: by_group[groups[n]] for n in names if groups.get(n) in by_group} | own


def _calibrated(
    model: ir.Model,
    names: Sequence[str],
    feeds: FeedSource,
    few: Sequence[Feeds],
    config: QuantizationConfig,
    progress: Progress | None,
    channels: Extents | None,
) -> RangeResult:
    histograms = config.ranges not in ("minmax", "moving-average")
    statistics = calibrate(
        model, feeds, names, histograms=histograms, channels=channels, threads=config.threads, progress=progress
    )
    return replace(chosen_ranges(model, statistics, few, config, progress), channels=channels or Extents())


def chosen_ranges(
    model: ir.Model,
    statistics: dict[str, Statistics],
    few: Sequence[Feeds],
    config: QuantizationConfig,
    progress: Progress | None = None,
    *,
    clip: bool = True,
) -> RangeResult:
    """Ranges by the recipe's method from statistics of the tensors.

    Args:
        model: float, prepared.
        statistics: of every tensor that the grids need.
        few: samples that the automatic choice is judged on.
        config: of the recipe.
        progress: called as ``progress(what, done, total)``.
        clip: whether a range may leave out what is read; or that is the method.
    """
    histograms = config.ranges not in ("minmax", "moving-average")
    _bound(model.graph, statistics)
    read = [v for v in activations(model.graph) if histograms and v.name in statistics]
    effects = {v.name or "": consumer_error_map(model, v) for v in read}
    for value in read:
        if effects[value.name or ""] is not None:
            found = statistics[value.name or ""]
            found.told_apart = told_apart(found.low, found.high, consumer_functions(model, value))
    fixed = {n: s for n, s in exact_inputs(model.graph, few).items() if n in statistics}
    if config.ranges != "minmax":
        fixed |= _whole_outputs(model.graph, statistics)
    open_ = {n: s for n, s in statistics.items() if n not in fixed}
    if not clip:
        whole = without_hidden(model.graph, {n: s.read for n, s in open_.items()}, statistics)
        return RangeResult(whole | fixed, statistics, effects, {CLIPS_NOTHING: len(whole) + len(fixed)})
    if config.ranges != "auto":

        def of_tensor(name: str) -> Range:
            return tensor_range(statistics[name], config.ranges, config.percentile, effects.get(name))

        ranges = dict(zip(open_, mapped(of_tensor, open_, config.threads), strict=True))
        ranges = without_hidden(model.graph, ranges, statistics) if histograms else ranges
        return RangeResult(ranges | fixed, statistics, effects, {config.ranges: len(ranges), "fixed": len(fixed)})
    options = {n: _options(s, config, effects[n]) for n, s in open_.items()}
    choice = choose_ranges(model, few[:_TRIALS], options, threads=config.threads, progress=progress)
    ranges = without_hidden(model.graph, {name: options[name][method] for name, method in choice.items()}, statistics)
    return RangeResult(ranges | fixed, statistics, effects, dict(Counter(choice.values())) | {"fixed": len(fixed)})


def _bound(graph: ir.Graph, statistics: Mapping[str, Statistics]) -> None:
    """Tell the statistics what their tensors' producers keep them within."""
    for node in graph:
        found = statistics.get(node.outputs[0].name or "")
        bounds = clip_bounds(node)
        if found is not None and bounds is not None:
            found.bounds = bounds


def _whole_outputs(graph: ir.Graph, statistics: dict[str, Statistics]) -> dict[str, Range]:
    """Graph outputs are never clipped: their rare extremes (a confident detection) are the answers."""
    groups = shared_groups(graph)
    outputs = {groups.get(v.name or "", v.name or "") for v in graph.outputs}
    return {name: (s.low, s.high) for name, s in statistics.items() if groups.get(name, name) in outputs}


def ranges_beyond(
    model: ir.Model,
    found: RangeResult,
    few: Sequence[Feeds],
    *,
    clip: bool,
    most: float = np.inf,
    threads: int | None = None,
) -> RangeResult | None:
    """The same statistics with ranges that mind values to be expected of other samples; None where none are.

    Args:
        clip: whether a range may leave rare values out, seen or not.
        most: values a sample has of a tensor, at most, for its range to change.
        threads: tensors at a time; None: as many as there are cores.
    """
    fixed = {*exact_inputs(model.graph, few), *found.kept}
    tails = {n: s.tail() for n, s in found.statistics.items() if n not in fixed and s.values_per_sample <= most}
    names = [n for n, tail in tails.items() if tail.values.size]

    def of_tensor(name: str) -> Range:
        return reaching_range(found.statistics[name], tails[name], found.effects.get(name), clip=clip)

    wider = dict(zip(names, mapped(of_tensor, names, threads), strict=True))
    ranges = without_hidden(model.graph, found.ranges | wider, found.statistics)
    return replace(found, ranges=ranges) if ranges != found.ranges else None


def _options(statistics: Statistics, config: QuantizationConfig, effect: Effect | None) -> dict[str, Range]:
    """Candidate ranges; where the consumers are functions of each value, the best one is known without trials."""
    if effect is not None:
        return {"mse": tensor_range(statistics, "mse", config.percentile, effect)}
    return candidates(statistics, config.percentile)
