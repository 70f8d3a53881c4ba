"""The accuracy methods, in the order in which they are tried: :data:`METHODS` is the whole list.

A method looks at the best INT8 model so far and makes another one. The quantizer keeps it when the outputs on held-back
samples are closer to float, and goes on with the next until the recipe's acceptance is met or the list ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.quantization.config import Bias, QuantizationConfig
from n6convert.quantization.equalization.equalize import difference, equalize
from n6convert.quantization.grid.from_ranges import make_plan, observed
from n6convert.quantization.grid.plan import Plan
from n6convert.quantization.grid.qdq import write_qdq
from n6convert.quantization.grid.zero_points import PRICE, CheapZeroPoints, cheapen
from n6convert.quantization.judge import Judge, Verdict
from n6convert.quantization.layerwise.analytic_bias_correction import correct_analytically
from n6convert.quantization.layerwise.bias_correction import Wanted, channel_means
from n6convert.quantization.layerwise.refine import refine
from n6convert.quantization.layerwise.rounding import anything_to_round
from n6convert.quantization.ranges.calibrate import Feeds, FeedSource, Progress
from n6convert.quantization.ranges.estimators import Range
from n6convert.quantization.ranges.find import Found, find_ranges, ranges_beyond
from n6convert.quantization.ranges.softmax_scores import without_hidden
from n6convert.quantization.reparameterization.gate_input import loosen_gates
from n6convert.quantization.reparameterization.merge_convolutions import Milliseconds, merge_pairs
from n6convert.quantization.reparameterization.outlier_norm import widen_norms
from n6convert.quantization.reparameterization.split_products import split_products
from n6convert.quantization.reparameterization.wide_range_functions import split_functions
from n6convert.quantization.stable import best_of, exceeds
from n6convert.quantization.time_budget import Clock

__all__ = ["METHODS", "SCREEN", "Candidate", "Method", "Workshop"]

#: less than few held-back samples can tell; means that are right are right for other samples too
_TIE = 0.1
#: split products take noise away that long sequences have; held-back ones may be short and show next to nothing
_UNSEEN = 0.2
#: what is computed twice on the NPU must bring that much
_TWICE = 1.0
#: values of a tensor of which a single one that saturates is a large share
_SMALL = 1024
#: samples on which refining is tried before it is done on all
SCREEN = 16
#: dB that a trial refined on some samples may lie behind and be worth all of them
_BEHIND = 0.5
#: parts of a function that are tried besides those that its own rounding asks for
_PARTS = (2, 3, 4)
#: dB behind that corrected biases do not make up for
_HOPELESS = 1.0
#: an equalized model must be the same function to this share of its output's range
_EXACT = 1e-3


@dataclass(frozen=True)
class Candidate:
    """One INT8 model, with what it was made from.

    Attributes:
        prepared: the float model it stands for.
        verdict: how close it is to float on the held-back samples.
        bias: how its biases were corrected.
        partly: its layers were refined on fewer samples than there are.
        provisional: its ranges are of fewer samples than there are, so it is never kept.
        narrow: layers whose weights have four bits.
        owed_db: by how much it must be closer than the one that it replaces, for the NPU time that it costs more.
        notes: what the method that made it adds to its record.
    """

    prepared: ir.Model
    found: Found
    plan: Plan
    model: ir.Model
    verdict: Verdict
    zero_points: list[dict[str, Any]]
    bias: Bias = "off"
    partly: bool = False
    provisional: bool = False
    owed_db: float = 0.0
    narrow: frozenset[str] = frozenset()
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _First:
    """The first few samples of a source."""

    source: FeedSource
    count: int

    def __iter__(self) -> Iterator[Feeds]:
        return islice(self.source(), self.count)


@dataclass
class Workshop:
    """What the methods work with: the samples, the choices of the recipe, the judge, the time there is."""

    source: FeedSource
    few: Sequence[Feeds]
    config: QuantizationConfig
    judge: Judge
    cycles: CheapZeroPoints | None
    milliseconds: Milliseconds | None
    progress: Progress | None
    _means: tuple[ir.Model, int, Mapping[str, Wanted]] | None = field(default=None, init=False)

    @cached_property
    def clock(self) -> Clock:
        """The time for the methods; it runs once it is started."""
        return Clock(self.config.time_budget)

    def feeds(self) -> Iterator[Feeds]:
        """The calibration samples, as long as there is time. Raises OutOfTime."""
        return self.clock.watch(self.source())

    @property
    def samples(self) -> Iterable[Feeds]:
        """Calibration samples on which layers are looked at one by one; read anew each time, while there is time."""
        return self.first(self.config.refine_samples)

    def first(self, count: int) -> Iterable[Feeds]:
        """The first of the calibration samples."""
        return _First(self.feeds, count)

    @property
    def enough(self) -> int:
        """Samples that show whether something is worth trying on all of them."""
        whole = self.config.refine_samples
        return whole if self.config.effort == "thorough" else min(SCREEN, whole)

    def quantized(self, prepared: ir.Model, found: Found | None = None, *, screen: bool = False) -> Candidate:
        """The INT8 model by ranges and nearest rounding alone.

        Args:
            prepared: the float model.
            found: its ranges; default: they are found on the samples.
            screen: on a share of the samples, to see whether all are worth it.
        """
        feeds = partial(self.first, self.enough) if screen else self.feeds
        found = found or find_ranges(prepared, feeds, self.few, self.config, self.progress)
        policy = self.config.zero_points
        zero_points = cheapen(prepared, found.ranges, found.statistics, found.effects, policy, self.cycles)
        plan = make_plan(prepared.graph, found.ranges)
        model = write_qdq(prepared, plan)
        provisional = screen and self.enough < self.config.refine_samples
        return Candidate(prepared, found, plan, model, self.judge.verdict(model), zero_points, provisional=provisional)

    def means(self, prepared: ir.Model, count: int) -> Mapping[str, Wanted]:
        """What the layers of a float model should give on some samples; kept for the last that were asked for."""
        if self._means is None or self._means[0] is not prepared or self._means[1] != count:
            self._means = prepared, count, channel_means(prepared, self.first(count), self.config.threads)
        return self._means[2]

    def refined(self, best: Candidate, *, rounding: bool, bias: Bias, screen: bool = False) -> Candidate:
        """The best model's layers made anew: weights rounded on the samples, biases corrected.

        Args:
            best: the model to start from.
            rounding: second-order.
            bias: kind of correction.
            screen: on a share of the samples, to see whether all are worth it.
        """
        count = self.enough if screen else self.config.refine_samples
        model = write_qdq(best.prepared, best.plan)
        left: list[str] = []
        sequential = bias == "sequential"
        if rounding or sequential:
            model, left = refine(
                best.prepared, model, self.first(count), rounding=rounding, bias=sequential,
                means=self.means(best.prepared, count) if sequential else None,
                otherwise=best.model if sequential else None,  # or the analytic correction would come twice
                clock=self.clock, threads=self.config.threads, progress=self.progress,
            )  # fmt: skip
        if bias == "analytic":
            model = correct_analytically(best.prepared, model)
        notes = {"layers_left": left} if left else {}
        partly = count < self.config.refine_samples and (rounding or sequential)
        verdict = self.judge.verdict(model)
        return replace(best, model=model, verdict=verdict, bias=bias, partly=partly, notes=notes)


@dataclass(frozen=True)
class Method:
    """One way of making the INT8 model better.

    Attributes:
        cost: about how many times it runs the model over the samples; the list is sorted by it.
        wanted: whether the recipe asks for it.
        attempt: makes a candidate from the best one so far; None when there is nothing to do.
        slack_db: by how much held-back samples may say that it is worse and it is kept all the same.
    """

    name: str
    cost: float
    wanted: Callable[[QuantizationConfig], bool]
    attempt: Callable[[Workshop, Candidate], Candidate | None]
    slack_db: float = 0.0


def _minmax(shop: Workshop, best: Candidate) -> Candidate | None:
    """Ranges without clipping, where those happen to be better."""
    found = _whole(best.found)
    return shop.quantized(best.prepared, found) if found is not None else None


def _whole(found: Found, within: Mapping[str, Range] | None = None) -> Found | None:
    """The same statistics with min-max ranges, that hold others where given; None when they are those already."""
    ranges = {name: (s.low, s.high) for name, s in found.statistics.items()}
    for name, span in (within or {}).items():
        low, high = ranges.get(name, span)
        ranges[name] = min(low, span[0]), max(high, span[1])
    if not ranges or ranges | found.kept == found.ranges:
        return None
    return Found(ranges | found.kept, found.statistics, found.effects, {}, kept=found.kept)


def _unseen(shop: Workshop, best: Candidate) -> Candidate | None:
    """Ranges that hold what other samples will reach: of all tensors, or of small ones, where that clips a large share.

    With and without clipping of what was seen.
    """
    whole = _whole(best.found)
    starts = [(best.found, whole is not None), *([(whole, False)] if whole is not None else [])]
    wider = (
        ranges_beyond(best.prepared, found, shop.few, clip=clip, most=most)
        for found, clip in starts for most in (np.inf, _SMALL)
    )  # fmt: skip
    trials = [shop.quantized(best.prepared, f) for f in wider if f is not None]
    trials = [replace(t, provisional=best.provisional) for t in trials if _enforced(t) <= _enforced(best)]
    return replace(best_of(trials, _closeness), owed_db=-shop.judge.blind_db) if trials else None


def _even(shop: Workshop, trial: Candidate) -> Candidate | None:
    """The same model without clipping, which even channels do not need."""
    whole = _whole(trial.found)
    if whole is None:
        return None
    ranges = without_hidden(trial.prepared.graph, whole.ranges, trial.found.statistics)
    made = shop.quantized(trial.prepared, replace(whole, ranges=ranges))
    return made if _enforced(made) <= _enforced(trial) else None


def _equalization(shop: Workshop, best: Candidate, *, screen: bool = True) -> Candidate | None:
    """Even channels; bounds of clips that no grid replaces afterwards, which the CPU would enforce, stay in place.

    Args:
        shop: samples and choices.
        best: the model to start from.
        screen: first on a share of the samples; where that falls behind, the result is provisional.
    """
    fixed = _enforced(best)
    while (even := _even_channels(shop, best, fixed)) is not None:
        trial = _evened(shop, best, *even, screen)
        if screen and trial.provisional and _closeness(trial) > _closeness(best) - _BEHIND:
            screen = bool(_enforced(trial) - fixed)
            trial = trial if screen else _evened(shop, best, *even, False)
        if _enforced(trial) <= fixed:
            return trial
        fixed |= _enforced(trial)
    return None


def _enforced(candidate: Candidate) -> frozenset[str]:
    """Outputs of the operators that enforce one bound a channel because no grid does."""
    names = (node.outputs[0].name or "" for node in candidate.prepared.graph if node.op_type == "Min")
    return frozenset(names) - candidate.plan.absorbed


def _even_channels(
    shop: Workshop, best: Candidate, fixed: frozenset[str]
) -> tuple[ir.Model, list[dict[str, Any]]] | None:
    """The float model with even channels, which must compute the same, and what was scaled; None where nothing is."""
    config = shop.config
    prepared, groups = equalize(
        best.prepared, shop.samples, strength=config.equalization_strength, threads=config.threads, fixed=fixed
    )
    if not groups or difference(best.prepared, prepared, shop.few[0], config.threads) > _EXACT:
        return None
    return prepared, groups


def _evened(
    shop: Workshop, best: Candidate, prepared: ir.Model, groups: list[dict[str, Any]], screen: bool
) -> Candidate:
    """The INT8 model of a float model with even channels."""
    trial = shop.quantized(prepared, screen=screen)
    unclipped = _even(shop, trial) if _whole(best.found) is None else None
    return replace(unclipped or trial, provisional=trial.provisional, notes={"groups": groups})


def _outliers(shop: Workshop, best: Candidate) -> Candidate | None:
    """Norms and gates that one huge channel spoils get other forms, whose channels are then evened out."""
    threads = shop.config.threads
    prepared, norms = widen_norms(best.prepared, shop.samples, threads)
    prepared, gates = loosen_gates(prepared, shop.samples, threads)
    if not norms and not gates:
        return None
    trial = _equalization(shop, replace(best, prepared=prepared), screen=False)
    if trial is None:
        return None
    whole = _even(shop, trial) or trial
    return replace(whole, notes={"norms": norms, "gates": gates, **trial.notes})


def _wide_functions(shop: Workshop, best: Candidate) -> Candidate | None:
    """Logarithms, roots and power laws as sums of parts, each with a grid of its own; as many as pay their time."""
    kept: Candidate | None = None
    for parts in (None, *_PARTS):
        prepared, functions = split_functions(best.prepared, shop.samples, shop.config.threads, parts)
        if not functions or (kept is not None and functions == kept.notes["functions"]):
            continue
        trial = shop.quantized(prepared)
        trials = [t for t in (trial, _even(shop, trial)) if t is not None]
        closest = best_of(trials, _closeness)
        if kept is None or exceeds(_closeness(closest), _closeness(kept) + _TWICE):
            notes = {"functions": functions, **_times(shop, best, closest)}
            kept = replace(closest, owed_db=_TWICE, notes=notes)
    return kept


def _times(shop: Workshop, before: Candidate, after: Candidate) -> dict[str, float]:
    """Predicted milliseconds of two candidates, where there is a predictor."""
    if shop.milliseconds is None:
        return {}
    return {"ms_before": round(shop.milliseconds(before.model), 4), "ms": round(shop.milliseconds(after.model), 4)}


def _split_products(shop: Workshop, best: Candidate) -> Candidate | None:
    """Attention sums in two parts, which cost the NPU time."""
    prepared, products = split_products(best.prepared, shop.samples, shop.config.threads)
    if not products:
        return None
    trial = shop.quantized(prepared)
    trials = [t for t in (trial, _even(shop, trial)) if t is not None]
    return replace(best_of(trials, _closeness), notes={"products": products})


def _bias_correction(shop: Workshop, best: Candidate) -> Candidate | None:
    """Channel means brought back to float: on the samples, or by what BatchNormalization knows of them.

    Without clipping as well: what clipping saves is often a shift of means, which this takes away at no cost.
    """
    kind = shop.config.bias_correction
    whole = _whole(best.found, best.found.ranges)
    other = shop.quantized(best.prepared, whole) if whole is not None else None
    starts = [s for s in (best, other) if s is not None and _enforced(s) <= _enforced(best)]
    if shop.config.effort != "thorough":
        starts = [s for s in starts if _closeness(s) > _closeness(best) - _HOPELESS]
    trials = [shop.refined(s, rounding=False, bias=kind, screen=True) for s in starts]
    trial = best_of(trials, _closeness)
    ranges = {"ranges": "minmax"} if trial is not trials[0] else {}
    return replace(trial, notes={"kind": kind, **ranges, **trial.notes})


def _rounding(shop: Workshop, best: Candidate) -> Candidate | None:
    """Weights rounded so that their errors cancel on the samples, with bias correction where that helps both."""
    if not anything_to_round(best.prepared, best.plan):
        return None
    trial = shop.refined(best, rounding=True, bias=best.bias)
    if best.bias == "off" or exceeds(_closeness(trial), _closeness(best)):
        return trial
    alone = shop.refined(best, rounding=True, bias="off", screen=True)
    if alone.partly and exceeds(_closeness(alone), _closeness(best)):
        alone = shop.refined(best, rounding=True, bias="off")
    return best_of((trial, alone), _closeness)


def _merged(shop: Workshop, best: Candidate) -> Candidate | None:
    """Two convolutions with nothing between them as one, where that is faster or hardly slower.

    Ranges, even channels, biases and rounding are made anew for such weights. A slower result must be closer by as
    much as the balanced policy for zero points would ask for the time.
    """
    assert shop.milliseconds is not None

    def int8(prepared: ir.Model) -> ir.Model:
        return write_qdq(prepared, make_plan(prepared.graph, best.found.ranges))

    prepared, pairs = merge_pairs(best.prepared, shop.milliseconds, int8)
    if not pairs or difference(best.prepared, prepared, shop.few[0], shop.config.threads) > _EXACT:
        return None
    trial = shop.quantized(prepared, _of_what_is_left(prepared, best.found))
    for better in (_equalization if _evens(shop.config) else None, _unseen if _foresees(shop.config) else None):
        other = better(shop, trial) if better is not None else None
        if other is not None and exceeds(_closeness(other), _closeness(trial)):
            trial = other
    rounding, bias = _rounds(shop.config), best.bias
    tried = shop.refined(trial, rounding=rounding, bias=bias, screen=True)
    if tried.partly and _closeness(tried) > _closeness(best) - _BEHIND:
        tried = shop.refined(trial, rounding=rounding, bias=bias)
    times = _times(shop, best, tried)
    slower = max(times["ms"] / times["ms_before"] - 1, 0.0)
    return replace(tried, owed_db=PRICE["balanced"] * slower, notes={"pairs": pairs, **times})


def _of_what_is_left(prepared: ir.Model, found: Found) -> Found:
    """What was found of the tensors that a model with the same values still has."""
    names = set(observed(prepared.graph))
    return replace(found, ranges={name: span for name, span in found.ranges.items() if name in names})


def _closeness(candidate: Candidate) -> float:
    return candidate.verdict.closeness_db


def _evens(config: QuantizationConfig) -> bool:
    return config.equalization and config.ranges_file is None


def _foresees(config: QuantizationConfig) -> bool:
    return config.ranges in ("mse", "auto") and config.ranges_file is None


def _rounds(config: QuantizationConfig) -> bool:
    return config.rounding == "second-order"


METHODS = (
    Method("ranges: minmax", 0, lambda c: True, _minmax),
    Method("wide functions", 2, _evens, _wide_functions),
    Method("outlier channels", 2, _evens, _outliers),
    Method("equalization", 2, _evens, _equalization),
    Method("split products", 2, lambda c: c.split_products and c.ranges_file is None, _split_products, _UNSEEN),
    Method("unseen values", 2, _foresees, _unseen),
    Method("bias correction", 3, lambda c: c.bias_correction != "off", _bias_correction, _TIE),
    Method("second-order rounding", 5, _rounds, _rounding),
    Method("merged convolutions", 8, lambda c: c.merge_convolutions, _merged, _TIE),
)
