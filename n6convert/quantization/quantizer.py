"""The quantizer: a float model and samples in, an INT8 QDQ model and facts about it out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import onnx_ir as ir

from n6convert.quantization.calibrate import Feeds, FeedSource, Progress, Statistics, calibrate
from n6convert.quantization.choose import choose_ranges
from n6convert.quantization.config import QuantizationConfig
from n6convert.quantization.effect import effect_of
from n6convert.quantization.grids import exact_inputs, make_plan, observed
from n6convert.quantization.judge import Judge
from n6convert.quantization.masks import clamp_masks
from n6convert.quantization.plan import Plan
from n6convert.quantization.prepare import prepare
from n6convert.quantization.qdq import write_qdq
from n6convert.quantization.ranges import Effect, Range, candidates, tensor_range
from n6convert.quantization.refine import refine
from n6convert.quantization.roles import activations

__all__ = ["CheapZeroPoints", "QuantizationResult", "quantize"]

CheapZeroPoints = Any

#: samples on which single decisions (range of one tensor, spread of scores) are tried
_FEW = 4


@dataclass(frozen=True)
class QuantizationResult:
    """What :func:`quantize` made.

    Attributes:
        model: the INT8 QDQ model, opset 13 to 17, IR 8.
        facts: ready for JSON: ``tensors`` (name, scale, zero_point, sqnr_db), ``methods``, ``worst``.
        ranges: (low, high) by tensor name, as calibration found them.
    """

    model: ir.Model
    facts: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)


def quantize(
    model: ir.Model,
    feeds: FeedSource,
    config: QuantizationConfig | None = None,
    *,
    held_back: FeedSource | None = None,
    cheap_zero_points: CheapZeroPoints | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> QuantizationResult:
    """Quantize every operator to INT8.

    Args:
        model: float model with static shapes; not changed.
        feeds: makes a fresh iterator over the calibration samples (arrays by input name) each time it is called.
        held_back: other samples, on which methods are judged; default: the calibration samples.
        cheap_zero_points: see :mod:`n6convert.quantization.zero_points`.
        seed: for methods that draw random numbers.
        progress: called as ``progress(what, done, total)``.

    Raises:
        QuantizationError: the model has no INT8 form, is quantized already, or the samples do not allow it.
        GraphError: the model or a sample does not run.
    """
    config = config or QuantizationConfig()
    prepared = prepare(model)
    few = list(islice(feeds(), _FEW))
    masks = clamp_masks(prepared, few, config.threads)
    judge = Judge(prepared, list((held_back or (lambda: few))()), config.threads)
    ranges, chosen = _find_ranges(prepared, feeds, few, config, progress)
    plan = make_plan(prepared.graph, ranges)
    samples = list(islice(feeds(), config.refine_samples))
    result, methods = _refined(prepared, write_qdq(prepared, plan), samples, judge, config, progress)
    facts = _facts(plan, config) | {"clamped_masks": masks, "chosen_ranges": chosen, "methods": methods}
    return QuantizationResult(result, facts | {"outputs_sqnr_db": judge.by_output(result)}, ranges)


def _refined(
    prepared: ir.Model,
    model: ir.Model,
    samples: Sequence[Feeds],
    judge: Judge,
    config: QuantizationConfig,
    progress: Progress | None,
) -> tuple[ir.Model, list[dict[str, Any]]]:
    """Try rounding and bias correction in order of cost; keep what helps on the held-back samples."""
    deadline = None if config.time_budget is None else time.monotonic() + config.time_budget
    score = judge.score(model)
    methods: list[dict[str, Any]] = [{"method": "ranges", "kept": True, "sqnr_db": score}]
    source, bias = model, False
    for name in ("bias correction", "second-order rounding"):
        rounding = name == "second-order rounding"
        if not (config.rounding == "second-order" if rounding else config.bias_correction):
            continue
        trial = refine(
            prepared,
            source,
            samples,
            rounding=rounding,
            bias=bias or not rounding,
            deadline=deadline,
            threads=config.threads,
            progress=progress,
        )
        found = judge.score(trial)
        methods.append({"method": name, "kept": found > score, "sqnr_db": found})
        if found > score:
            model, score, bias = trial, found, bias or not rounding
    return model, methods


def _find_ranges(
    model: ir.Model, feeds: FeedSource, few: Sequence[Feeds], config: QuantizationConfig, progress: Progress | None
) -> tuple[dict[str, Range], dict[str, int]]:
    """Ranges by tensor, and how often each method was chosen."""
    histograms = config.ranges not in ("minmax", "moving-average")
    names = observed(model.graph)
    statistics = calibrate(model, feeds, names, histograms=histograms, threads=config.threads, progress=progress)
    fixed = exact_inputs(model.graph, few) | _whole_outputs(model.graph, statistics)
    effects = {v.name: effect_of(model, v) for v in activations(model.graph) if histograms and v.name in statistics}
    if config.ranges != "auto":
        ranges = {
            name: tensor_range(s, config.ranges, config.percentile, effects.get(name)) for name, s in statistics.items()
        }
        return ranges | fixed, {config.ranges: len(ranges)}
    options = {n: _options(s, config, effects[n]) for n, s in statistics.items() if n not in fixed}
    choice = choose_ranges(model, few, options, threads=config.threads, progress=progress)
    return {name: options[name][method] for name, method in choice.items()} | fixed, dict(Counter(choice.values()))


def _whole_outputs(graph: ir.Graph, statistics: dict[str, Statistics]) -> dict[str, Range]:
    """Graph outputs are never clipped: their rare extremes (a confident detection) are the answers."""
    found = {v.name or "": statistics.get(v.name or "") for v in graph.outputs}
    return {name: (s.low, s.high) for name, s in found.items() if s is not None}


def _options(statistics: Statistics, config: QuantizationConfig, effect: Effect | None) -> dict[str, Range]:
    """Candidate ranges; where the consumers are functions of each value, the best one is known without trials."""
    if effect is not None:
        return {"mse": tensor_range(statistics, "mse", config.percentile, effect)}
    return candidates(statistics, config.percentile)


def _facts(plan: Plan, config: QuantizationConfig) -> dict[str, Any]:
    tensors = [{"name": n, "scale": g.scale, "zero_point": g.zero_point} for n, g in plan.grids.items()]
    return {"ranges": config.ranges, "tensors": tensors}
