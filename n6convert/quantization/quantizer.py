"""The quantizer: a float model and samples in, an INT8 QDQ model and facts about it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.errors import GraphError
from n6convert.operators.versions import Version
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.grid.zero_points import ZeroPointSavings
from n6convert.quantization.joined_outputs import warn_mixed_outputs
from n6convert.quantization.methods import METHODS, Candidate, Method, MethodContext
from n6convert.quantization.methods.outlier_channels import METHOD as OUTLIERS
from n6convert.quantization.methods.outlier_channels import spoiled_by_few, without_outliers
from n6convert.quantization.padding import tokens_alone
from n6convert.quantization.prepare.attention_masks import clamp_masks
from n6convert.quantization.prepare.attention_sums import normalize_sums
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.calibrate import Feeds, FeedSource, Progress
from n6convert.quantization.ranges.estimators import Range
from n6convert.quantization.reparameterization.merge_convolutions import Milliseconds
from n6convert.quantization.sensitivity import measured, tensor_errors, tensor_facts, worst
from n6convert.quantization.stable import exceeds
from n6convert.quantization.time_budget import BudgetExceeded
from n6convert.quantization.warnings import given_grids, unfinished, warn_sample_scale, warn_unused_ranges
from n6convert.quantization.weights.four_bits import written
from n6convert.quantization.weights.mixed_precision import Goals, facts_of, narrowed
from n6convert.quantization.weights.shared_weights import store_once, together
from n6convert.recipe.quantization import QuantizationConfig
from n6convert.runtime.garbage import rare_collections

__all__ = ["Accepted", "ZeroPointSavings", "QuantizationResult", "quantize"]

#: samples on which single decisions (range of one tensor, spread of scores) are tried
_FEW = 4
#: cost of a method at most that `effort: fast` tries
_FAST = 0
#: the yardstick: no result may have this much less SQNR in dB than min-max ranges without any method
_UNCLIPPED, _TOLERANCE = "ranges: minmax", 0.1
_FOUR_BITS = "four-bit weights"
#: SQNR in dB of an output below which answers are in doubt
_IN_DOUBT = 15.0
#: closeness and SQNR in dB of outputs that eight bits reach at best
_FINE = 40.0
#: whether an INT8 model, with the SQNR in dB of each of its outputs on held-back samples, is good enough
Accepted = Callable[[ir.Model, Mapping[str, float]], bool]


@dataclass(frozen=True)
class QuantizationResult:
    """What :func:`quantize` made.

    Attributes:
        model: the INT8 QDQ model, opset 13 to 17, IR 8; with four-bit weights opset 21, IR 10.
        facts: ready for JSON: ``tensors`` (name, scale, zero_point, sqnr_db if measured), ``methods`` (what was tried,
            what it brought, whether it was kept), ``methods_not_needed`` (left out, the recipe's acceptance was met
            before, or what eight bits reach at best), ``methods_out_of_time`` (left out or given up, the time budget
            was spent), ``methods_not_promising`` (left out, with the dB that they could bring at most), ``worst`` (ten
            tensors with cause and remedy), ``zero_points``, ``warnings`` (sentences for the user).
        ranges: (low, high) by tensor name, as used; see :mod:`n6convert.quantization.ranges.file`.
        prepared: the float model that the INT8 one stands for, tensor by tensor.
    """

    model: ir.Model
    facts: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)
    prepared: ir.Model | None = None


def quantize(
    model: ir.Model,
    feeds: FeedSource,
    config: QuantizationConfig | None = None,
    *,
    held_back: FeedSource | None = None,
    cheap_zero_points: ZeroPointSavings | None = None,
    milliseconds: Milliseconds | None = None,
    accepted: Accepted | None = None,
    goals: Goals | None = None,
    version: Version | None = None,
    explain: bool | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> QuantizationResult:
    """Quantize every operator to INT8.

    Methods are tried in the order of :data:`~n6convert.quantization.methods.METHODS`; each is kept only if it brings
    the INT8 outputs closer to float on the held-back samples.

    Args:
        model: float model with static shapes; not changed.
        feeds: makes a fresh iterator over the calibration samples (arrays by input name) each time it is called.
        held_back: other samples, on which methods are judged; default: a few of the calibration samples.
        cheap_zero_points: tells the cycles that a zero point of -128 or 0 saves, by tensor; None: multiplications
            stand for cycles.
        milliseconds: predicted time of an INT8 model, and of a float one as if it were; None: no convolutions are
            merged.
        accepted: called as ``accepted(model, sqnr_db_by_output)`` before each method; once it holds, no further one is
            tried. None: all are tried.
        goals: what four-bit weights must reach; default: as many as cost little.
        version: of the compiler, whose operators decide what has an INT8 form; None: any version's do.
        explain: measure the error of each tensor; None: unless `effort: fast` comes so close that nobody asks.
        seed: reserved for methods that draw random numbers; all present ones are deterministic.
        progress: called as ``progress(what, done, total)``.

    Raises:
        QuantizationError: the model has no INT8 form, is quantized already, or the samples do not allow it.
        GraphError: the model or a sample does not run.
    """
    config = config or QuantizationConfig()
    with rare_collections():
        prepared = prepare(model, version)
        return _Job(
            prepared, feeds, config, held_back, cheap_zero_points, milliseconds, accepted, goals, explain, progress
        ).run()


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
        prepared: ir.Model,
        feeds: FeedSource,
        config: QuantizationConfig,
        held_back: FeedSource | None,
        cycles: ZeroPointSavings | None,
        milliseconds: Milliseconds | None,
        accepted: Accepted | None,
        goals: Goals | None,
        explain: bool | None,
        progress: Progress | None,
    ) -> None:
        self.config = config
        self.accepted = accepted
        self.goals = goals or Goals()
        self.explain = explain
        few = list(islice(feeds(), _FEW))
        _check_inputs(prepared, few)
        self.prepared = prepared
        self.sums: list[str] = []
        if config.normalize_attention:
            self.prepared, self.sums = normalize_sums(prepared, few, config.threads)
        self.masks = clamp_masks(self.prepared, few, config.threads)
        self.held_back = list(held_back()) if held_back is not None else []
        self.evaluator = Evaluator(self.prepared, self.held_back or few, config.threads, held_back=bool(self.held_back))
        few = list(tokens_alone(prepared.graph, few))
        self.context = MethodContext(
            lambda: tokens_alone(prepared.graph, feeds()), few, config, self.evaluator, cycles, milliseconds, progress
        )
        self.methods: list[dict[str, Any]] = []
        self.not_needed: list[str] = []
        self.not_promising: list[dict[str, Any]] = []
        self.out_of_time: list[str] = []
        self.least = -np.inf

    def run(self) -> QuantizationResult:
        best = self._first()
        wanted = [m for m in METHODS if self._wants(m)]
        for index, method in enumerate(wanted):
            if self._accepts(best):
                self.not_needed += [m.name for m in wanted[index:]]
                break
            if method.cost and not method.unseen and self._is_fine(best):
                self.not_needed.append(method.name)
                continue
            if self.context.progress is not None:
                self.context.progress(f"method {method.name}", index, len(wanted))
            if method.cost:
                self.context.budget.start()
            if method.refines:
                best = self._centered(best)
            best = self._better(method, best)
        best = self._centered(best)
        if self.config.weights != "int8":
            best = self._narrowed(best)
        model = written(store_once(best.model, together(best.prepared)), best.narrow)
        return QuantizationResult(model, self._facts(best), best.found.ranges, best.prepared)

    def _first(self) -> Candidate:
        """By ranges and nearest rounding alone; where that would be useless, with norms that int8 can hold."""
        found, plain = without_outliers(self.context, self.prepared), f"ranges: {self.config.ranges}"
        if found is None:
            ranges = self.context.found(self.prepared)
            found = spoiled_by_few(self.context, self.prepared, ranges)
        best = found or self.context.quantized(self.prepared, ranges)
        self._note_floor(plain if found is None else _UNCLIPPED, best)
        self._record(plain if found is None else OUTLIERS.name, best, True)
        return best

    def _wants(self, method: Method) -> bool:
        possible = self.context.milliseconds is not None or not method.predicts
        cheap = method.cost <= _FAST or self.config.effort != "fast"
        return possible and cheap and method.wanted(self.config)

    def _centered(self, best: Candidate) -> Candidate:
        """With zero point 0 for summed products, unless the model is good enough only without."""
        trial = self.context.centered(best)
        if trial is None or self._accepts(best) and not self._accepts(trial):
            return best
        self.least = min(self.least, trial.fidelity.sqnr_db - _TOLERANCE)
        return trial

    def _narrowed(self, best: Candidate) -> Candidate:
        """Weights in four bits, since the recipe asks for them: kept although they are further from float."""
        try:
            trial = narrowed(self.context, best, self.goals)
        except BudgetExceeded:
            self.out_of_time.append(_FOUR_BITS)
            return best
        self._record(_FOUR_BITS, replace(trial, notes={}), bool(trial.narrow))
        return trial

    def _accepts(self, best: Candidate) -> bool:
        return self.accepted is not None and self.accepted(best.model, best.fidelity.outputs_sqnr_db)

    def _explains(self, best: Candidate) -> bool:
        """Whether the error of each tensor is measured, to tell where those of the outputs come from."""
        if self.explain is not None:
            return self.explain
        return self.config.effort != "fast" or min(best.fidelity.outputs_sqnr_db.values(), default=0.0) < _IN_DOUBT

    def _is_fine(self, best: Candidate) -> bool:
        """Whether outputs are as close to float as eight bits get, so that no method brings what anybody would see."""
        found = best.fidelity
        return self.config.effort == "default" and min(found.closeness_db, found.sqnr_db) > _FINE

    def _better(self, method: Method, best: Candidate) -> Candidate:
        try:
            self.context.budget.check()
            self.context.most_db = None
            trial = method.attempt(self.context, best)
        except BudgetExceeded:
            self.out_of_time.append(method.name)
            return best
        if trial is None:
            if self.context.most_db is not None:
                self.not_promising.append({"method": method.name, "most_db": round(self.context.most_db, 3)})
            return best
        self._note_floor(method.name, trial)
        if method.name == _UNCLIPPED:
            self.context.clipping_gain_db = best.fidelity.closeness_db - trial.fidelity.closeness_db
        kept = self._is_better(trial, best, method.tolerance_db - trial.required_gain_db)
        if kept and trial.required_gain_db < 0:  # what it is built on may look worse and be right
            self.least = min(self.least, trial.fidelity.sqnr_db - _TOLERANCE)
        self._record(method.name, trial, kept)
        return replace(trial, required_gain_db=0.0) if kept else best

    def _note_floor(self, method: str, candidate: Candidate) -> None:
        if method == _UNCLIPPED:
            self.least = candidate.fidelity.sqnr_db - _TOLERANCE

    def _is_better(self, trial: Candidate, best: Candidate, tolerance_db: float) -> bool:
        """Closer to float is better, but nothing that min-max ranges beat in plain SQNR."""
        if trial.provisional:
            return False
        allowed, before = (c.fidelity.sqnr_db >= self.least + min(c.required_gain_db, 0.0) for c in (trial, best))
        closer = exceeds(trial.fidelity.closeness_db + tolerance_db, best.fidelity.closeness_db)
        return closer if allowed == before else allowed

    def _record(self, method: str, trial: Candidate, kept: bool) -> None:
        found = {"sqnr_db": round(trial.fidelity.sqnr_db, 3), "closeness_db": round(trial.fidelity.closeness_db, 3)}
        self.methods.append({"method": method, **found, "kept": kept, **trial.notes})

    def _facts(self, best: Candidate) -> dict[str, Any]:
        samples = list(tokens_alone(best.prepared.graph, (self.held_back or self.context.probe_samples)[:2]))
        errors, unmeasured = (
            measured(lambda: tensor_errors(best.prepared, best.model, best.plan, samples))
            if self._explains(best)
            else (None, [])
        )
        given, remarks = given_grids(best.plan, self.prepared.metadata_props)
        return {
            "tensors": tensor_facts(best.plan, errors),
            "methods": self.methods,
            "methods_not_needed": self.not_needed,
            "methods_out_of_time": self.out_of_time,
            "methods_not_promising": self.not_promising,
            "ranges": best.found.chosen,
            "worst": worst(errors or {}, best.found.statistics, best.plan, best.prepared.graph),
            "outputs_sqnr_db": best.fidelity.outputs_sqnr_db,
            "zero_points": {"policy": self.config.zero_points, "tensors": best.zero_points},
            "clamped_masks": self.masks,
            "normalized_sums": self.sums,
            "four_bits": facts_of(best),
            "given_grids": given,
            "held_back": len(self.held_back),
            "warnings": [
                *warn_mixed_outputs(best.prepared.graph, best.found.ranges),
                *warn_sample_scale(best.prepared.graph, best.found.statistics),
                *warn_unused_ranges(best.found.stray),
                *remarks,
                *unmeasured,
                *unfinished(self.config.time_budget, self.methods, self.out_of_time),
            ],
        }
