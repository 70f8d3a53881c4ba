"""The quantizer: a float model and samples in, an INT8 QDQ model and facts about it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from n6convert.quantization.calibrate import FeedSource, Progress, calibrate
from n6convert.quantization.config import QuantizationConfig
from n6convert.quantization.grids import make_plan, observed
from n6convert.quantization.plan import Plan
from n6convert.quantization.prepare import prepare
from n6convert.quantization.qdq import write_qdq
from n6convert.quantization.ranges import Range, tensor_range

__all__ = ["CheapZeroPoints", "QuantizationResult", "quantize"]

CheapZeroPoints = Any


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
    names = observed(prepared.graph)
    histograms = config.ranges not in ("minmax", "moving-average")
    statistics = calibrate(prepared, feeds, names, histograms=histograms, threads=config.threads, progress=progress)
    ranges = {name: tensor_range(s, config.ranges, config.percentile) for name, s in statistics.items()}
    plan = make_plan(prepared.graph, ranges)
    return QuantizationResult(write_qdq(prepared, plan), _facts(plan, config), ranges)


def _facts(plan: Plan, config: QuantizationConfig) -> dict[str, Any]:
    tensors = [{"name": n, "scale": g.scale, "zero_point": g.zero_point} for n, g in plan.grids.items()]
    return {"ranges": config.ranges, "tensors": tensors, "methods": []}
