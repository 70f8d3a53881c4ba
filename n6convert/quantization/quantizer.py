"""The quantizer: a float model and samples in, an INT8 QDQ model and facts about it out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import onnx_ir as ir

from n6convert.errors import GraphError
from n6convert.quantization.calibrate import Feeds, FeedSource, Progress
from n6convert.quantization.config import QuantizationConfig
from n6convert.quantization.equalize import difference, equalize
from n6convert.quantization.find_ranges import Found, find_ranges
from n6convert.quantization.grids import make_plan
from n6convert.quantization.judge import Judge
from n6convert.quantization.masks import clamp_masks
from n6convert.quantization.plan import Plan
from n6convert.quantization.prepare import prepare
from n6convert.quantization.qdq import write_qdq
from n6convert.quantization.ranges import Range
from n6convert.quantization.refine import refine
from n6convert.quantization.sensitivity import tensor_sqnr, worst
from n6convert.quantization.zero_points import CheapZeroPoints, cheapen

__all__ = ["CheapZeroPoints", "QuantizationResult", "quantize"]

#: samples on which single decisions (range of one tensor, spread of scores) are tried
_FEW = 4
#: an equalized model must be the same function to this share of its output's range
_EXACT = 1e-3


@dataclass(frozen=True)
class QuantizationResult:
    """What :func:`quantize` made.

    Attributes:
        model: the INT8 QDQ model, opset 13 to 17, IR 8.
        facts: ready for JSON: ``tensors`` (name, scale, zero_point, sqnr_db), ``methods`` (what was tried, what it
            brought, whether it was kept), ``worst`` (ten tensors with cause and remedy), ``zero_points``.
        ranges: (low, high) by tensor name, as used; see :mod:`n6convert.quantization.ranges_io`.
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

    Methods are tried in order of cost; each is kept only if it brings the INT8 outputs closer to float on the
    held-back samples.

    Args:
        model: float model with static shapes; not changed.
        feeds: makes a fresh iterator over the calibration samples (arrays by input name) each time it is called.
        held_back: other samples, on which methods are judged; default: a few of the calibration samples.
        cheap_zero_points: tells the cycles that a zero point of -128 or 0 saves, by tensor; None: multiplications
            stand for cycles.
        seed: reserved for methods that draw random numbers; all present ones are deterministic.
        progress: called as ``progress(what, done, total)``.

    Raises:
        QuantizationError: the model has no INT8 form, is quantized already, or the samples do not allow it.
        GraphError: the model or a sample does not run.
    """
    return _Job(model, feeds, config or QuantizationConfig(), held_back, cheap_zero_points, progress).run()


@dataclass
class _Candidate:
    """One INT8 model on the way, with what it was made from."""

    prepared: ir.Model
    found: Found
    plan: Plan
    model: ir.Model
    score: float
    zero_points: list[dict[str, Any]]


def _check_inputs(model: ir.Model, samples: Sequence[Feeds]) -> None:
    names = [v.name or "" for v in model.graph.inputs]
    for index, sample in enumerate(samples):
        missing = [n for n in names if n not in sample]
        if missing:
            raise GraphError(
                "a sample lacks an input of the model",
                place=f"sample {index}, input {missing[0]}",
                limit=", ".join(names),
                found=", ".join(sample),
            )


class _Job:
    def __init__(
        self,
        model: ir.Model,
        feeds: FeedSource,
        config: QuantizationConfig,
        held_back: FeedSource | None,
        cycles: CheapZeroPoints | None,
        progress: Progress | None,
    ) -> None:
        self.feeds = feeds
        self.config = config
        self.cycles = cycles
        self.progress = progress
        self.prepared = prepare(model)
        self.few = list(islice(feeds(), _FEW))
        _check_inputs(self.prepared, self.few)
        self.masks = clamp_masks(self.prepared, self.few, config.threads)
        self.held_back = list(held_back()) if held_back is not None else self.few
        self.judge = Judge(self.prepared, self.held_back or self.few, config.threads)
        self.methods: list[dict[str, Any]] = []

    def run(self) -> QuantizationResult:
        best = self._candidate(self.prepared)
        self._record(f"ranges: {self.config.ranges}", best.score, True)
        if self.config.equalization and self.config.ranges_file is None:
            best = self._equalized(best)
        best = self._not_below_minmax(best)
        self._refine(best)
        return QuantizationResult(best.model, self._facts(best), best.found.ranges)

    def _candidate(self, prepared: ir.Model, found: Found | None = None) -> _Candidate:
        found = found or find_ranges(prepared, self.feeds, self.few, self.config, self.progress)
        zero_points = cheapen(
            prepared, found.ranges, found.statistics, found.effects, self.config.zero_points, self.cycles
        )
        plan = make_plan(prepared.graph, found.ranges)
        model = write_qdq(prepared, plan)
        return _Candidate(prepared, found, plan, model, self.judge.score(model), zero_points)

    def _equalized(self, best: _Candidate) -> _Candidate:
        """Try even channels; the equalized float model must compute the same."""
        samples = list(islice(self.feeds(), self.config.refine_samples))
        prepared, records = equalize(
            self.prepared, samples, strength=self.config.equalization_strength, threads=self.config.threads
        )
        if not records or difference(self.prepared, prepared, self.few[0], self.config.threads) > _EXACT:
            return best
        trial = self._candidate(prepared)
        self._record("equalization", trial.score, trial.score > best.score, groups=records)
        return trial if trial.score > best.score else best

    def _not_below_minmax(self, best: _Candidate) -> _Candidate:
        """Fall back to min-max ranges where they happen to be better."""
        whole = {name: (s.low, s.high) for name, s in best.found.statistics.items()}
        if not whole or whole == best.found.ranges:
            return best
        trial = self._candidate(best.prepared, Found(whole, best.found.statistics, best.found.effects, {}))
        self._record("ranges: minmax", trial.score, trial.score > best.score)
        return trial if trial.score > best.score else best

    def _refine(self, best: _Candidate) -> None:
        """Bias correction, then rounding on top of it where it helped."""
        budget = self.config.time_budget
        deadline = None if budget is None else time.monotonic() + budget
        samples = list(islice(self.feeds(), self.config.refine_samples))
        source, bias = best.model, False
        for name in ("bias correction", "second-order rounding"):
            rounding = name == "second-order rounding"
            if not (self.config.rounding == "second-order" if rounding else self.config.bias_correction):
                continue
            trial = refine(
                best.prepared,
                source,
                samples,
                rounding=rounding,
                bias=bias or not rounding,
                deadline=deadline,
                threads=self.config.threads,
                progress=self.progress,
            )
            score = self.judge.score(trial)
            kept = score > best.score
            self._record(name, score, kept)
            if kept:
                best.model, best.score, bias = trial, score, bias or not rounding

    def _record(self, method: str, score: float, kept: bool, **more: Any) -> None:
        self.methods.append({"method": method, "sqnr_db": round(score, 3), "kept": kept, **more})

    def _facts(self, best: _Candidate) -> dict[str, Any]:
        sqnr = tensor_sqnr(best.prepared, best.model, best.plan, (self.held_back or self.few)[:2])
        tensors = [
            {"name": n, "scale": g.scale, "zero_point": g.zero_point, "sqnr_db": sqnr[n]}
            for n, g in best.plan.grids.items()
            if n in sqnr
        ]
        return {
            "tensors": tensors,
            "methods": self.methods,
            "ranges": best.found.chosen,
            "worst": worst(sqnr, best.found.statistics, best.plan, best.prepared.graph),
            "outputs_sqnr_db": self.judge.by_output(best.model),
            "zero_points": {"policy": self.config.zero_points, "tensors": best.zero_points},
            "clamped_masks": self.masks,
            "held_back": len(self.held_back),
        }
