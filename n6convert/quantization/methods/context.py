"""What methods work with: samples, choices, the evaluator, the time there is, and how INT8 models are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import islice
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.ceilings import with_exact_weights, with_rounded_weights
from n6convert.quantization.equalization.equalize import judged_axes
from n6convert.quantization.fidelity import Evaluator, Fidelity, closeness_of
from n6convert.quantization.grid.from_ranges import make_plan
from n6convert.quantization.grid.product_zero_points import WORSE_DB, ProductGroup, SummedProducts, affordable
from n6convert.quantization.grid.qdq import write_qdq
from n6convert.quantization.grid.zero_points import ZeroPointSavings, prefer_fast_zero_points
from n6convert.quantization.layerwise.analytic_bias_correction import correct_analytically
from n6convert.quantization.layerwise.bias_correction import Wanted, channel_means
from n6convert.quantization.layerwise.measured_bias_correction import correct_by_means, input_means
from n6convert.quantization.layerwise.refine import refine
from n6convert.quantization.methods.candidate import Candidate, closeness, enforced
from n6convert.quantization.methods.ranges import all_read, finds_ranges
from n6convert.quantization.ranges.calibrate import Feeds, FeedSource, Progress
from n6convert.quantization.ranges.carried import carried, completed
from n6convert.quantization.ranges.channel_extents import Extent, Extents
from n6convert.quantization.ranges.find import RangeResult, find_ranges
from n6convert.quantization.reparameterization.gate_input import gate_axes
from n6convert.quantization.reparameterization.merge_convolutions import Milliseconds
from n6convert.quantization.reparameterization.norm_rows import norm_axes
from n6convert.quantization.reparameterization.outlier_norm import FewRows
from n6convert.quantization.time_budget import TimeBudget
from n6convert.quantization.weights.layer_noise import last_layers
from n6convert.recipe.quantization import Bias, QuantizationConfig
from n6convert.runtime.halves import Half, in_halves

__all__ = ["CLIPPED", "SCREEN", "MethodContext"]

#: dB that clipping must bring for nothing else to be tried
CLIPPED = 1.0
#: samples on which refining is tried before it is done on all
SCREEN = 16


@dataclass(frozen=True)
class _Some:
    """Some samples of a source, one after the other."""

    source: FeedSource
    stop: int
    start: int = 0

    def __iter__(self) -> Iterator[Feeds]:
        return islice(self.source(), self.start, self.stop)


@dataclass
class MethodContext:
    """What the methods work with: the samples, the choices of the recipe, the evaluator, the time there is."""

    source: FeedSource
    probe_samples: Sequence[Feeds]
    config: QuantizationConfig
    evaluator: Evaluator
    cycles: ZeroPointSavings | None
    milliseconds: Milliseconds | None
    progress: Progress | None
    clipping_gain_db: float = field(default=0.0, init=False)
    """By how much the first ranges were closer to float than those that clip nothing."""
    most_db: float | None = field(default=None, init=False)
    """What :meth:`promises` found that a method can bring at most, where that was too little to try it."""
    few_rows: FewRows | None = field(default=None, init=False)
    """What a few samples show of the normalizations."""
    evened: tuple[ir.Model, Candidate] | None = field(default=None, init=False)
    """A float model, and what even channels made of it, kept or not."""
    _centered: dict[str, bool] | None = field(default=None, init=False)
    """Grids of summed products, and whether they get zero point 0; None before that is decided."""
    _looked: bool = field(default=False, init=False)
    _cycles: tuple[ir.Model, Mapping[str, float]] | None = field(default=None, init=False)
    _means: tuple[ir.Model, int, Mapping[str, Wanted]] | None = field(default=None, init=False)
    _input_means: tuple[ir.Model, Mapping[str, NDArray[np.float64]]] | None = field(default=None, init=False)

    @cached_property
    def budget(self) -> TimeBudget:
        """The time for the methods; it runs once it is started."""
        return TimeBudget(self.config.time_budget)

    def feeds(self) -> Iterator[Feeds]:
        """The calibration samples, as long as there is time. Raises BudgetExceeded."""
        return self.budget.watch(self.source())

    @property
    def samples(self) -> Iterable[Feeds]:
        """Calibration samples on which layers are looked at one by one; read anew each time, while there is time."""
        return self.first(self.config.refine_samples)

    def first(self, count: int) -> Iterable[Feeds]:
        """The first of the calibration samples."""
        return _Some(self.feeds, count)

    @property
    def clips_rightly(self) -> bool:
        """Whether ranges that clip are so much closer to float that others need no further trials."""
        return self.config.effort != "thorough" and self.clipping_gain_db > CLIPPED

    @property
    def enough(self) -> int:
        """Samples that show whether something is worth trying on all of them."""
        whole = self.config.refine_samples
        return whole if self.config.effort == "thorough" else min(SCREEN, whole)

    def found(self, prepared: ir.Model, *, screen: bool = False) -> RangeResult:
        """Ranges of a float model, found on the samples or on a share of them."""
        feeds = partial(self.first, self.enough) if screen else self.feeds
        channels = None if screen else self._unseen(prepared)
        return find_ranges(prepared, feeds, self.probe_samples, self.config, self.progress, channels)

    def quantized(self, prepared: ir.Model, found: RangeResult | None = None, *, screen: bool = False) -> Candidate:
        """The INT8 model by ranges and nearest rounding alone.

        Args:
            prepared: the float model.
            found: its ranges; default: they are found on the samples.
            screen: on a share of the samples, to see whether all are worth it.
        """
        found = found or self.found(prepared, screen=screen)
        policy = self.config.zero_points
        zero_points = prefer_fast_zero_points(
            prepared, found.ranges, found.statistics, found.effects, policy, self._saved(prepared)
        )
        if self._centered is not None:
            products = SummedProducts(prepared, found.ranges, found.statistics)
            ranges, records = products.centered([g for g in products.groups if all(map(self._centered.get, g.grids))])
            found, zero_points = replace(found, ranges=ranges), zero_points + records
        made = self._written(prepared, found, zero_points)
        return replace(made, provisional=screen and self.enough < self.config.refine_samples)

    def reshaped(
        self,
        prepared: ir.Model,
        before: RangeResult,
        factors: Mapping[str, NDArray[np.float64]],
        *,
        screen: bool,
        bounds: frozenset[str] | None = None,
    ) -> Candidate:
        """The INT8 model, by ranges and nearest rounding, of another form of the network.

        Args:
            prepared: the float model.
            before: what is known of its tensors by name, before their channels were divided.
            factors: what these were divided by.
            screen: tensors that nothing is known of are looked at on a share of the samples.
            bounds: no range clips, as long as no other operators than these have to enforce bounds; None: they may.
        """
        if self._finds_anew:
            made = self.quantized(prepared, screen=screen)
            return (self.unclipped(made) or made) if bounds is not None and not made.provisional else made
        feeds = partial(self.first, self.enough) if screen else self.feeds
        given = prepared, before, factors, feeds, self.probe_samples, self.config, self.progress
        found, looked = carried(*given, clip=bounds is None)
        made = self.quantized(prepared, found)
        if bounds is not None and not enforced(made) <= bounds:
            made = self.quantized(prepared, carried(*given)[0])
        return replace(made, provisional=looked and screen and self.enough < self.config.refine_samples)

    def unclipped(self, trial: Candidate) -> Candidate | None:
        """The same model without clipping, which even channels do not need."""
        whole = all_read(trial.prepared, trial.found)
        made = self.quantized(trial.prepared, whole) if whole is not None else None
        return made if made is not None and enforced(made) <= enforced(trial) else None

    def centered(self, best: Candidate) -> Candidate | None:
        """The same with zero point 0 for summed products, as far as the outputs hardly notice; None without any.

        This is decided once, for a model whose weights are rounded to the nearest: None afterwards. Models made then
        follow.
        """
        if self._centered is not None:
            return None
        products = SummedProducts(best.prepared, best.found.ranges, best.found.statistics)
        tried: dict[tuple[ProductGroup, ...], Candidate] = {}

        def lost_db(groups: Sequence[ProductGroup]) -> float:
            ranges, records = products.centered(groups)
            found = replace(best.found, ranges=ranges)
            made = self._written(best.prepared, found, best.zero_points + records)
            tried[tuple(groups)] = replace(
                best, found=found, plan=made.plan, model=made.model, measure=made.measure, zero_points=made.zero_points
            )
            return closeness(best) - closeness(made)

        taken = affordable(products.groups, lost_db, WORSE_DB[self.config.zero_points])
        self._centered = {name: group in taken for group in products.groups for name in group.grids}
        if not products.groups:
            return None
        nothing = replace(best, zero_points=best.zero_points + products.centered([])[1])
        return tried[tuple(taken)] if taken else nothing

    def _written(self, prepared: ir.Model, found: RangeResult, zero_points: list[dict[str, Any]]) -> Candidate:
        """The INT8 model by these ranges and nearest rounding."""
        plan = make_plan(prepared.graph, found.ranges)
        model = write_qdq(prepared, plan)
        return Candidate(prepared, found, plan, model, self.measure(model), zero_points)

    def measure(self, model: ir.Model) -> Callable[[], Fidelity]:
        """Runs a model on the held-back samples, once, when it is asked for the first time."""
        return cache(partial(self.evaluator.fidelity, model))

    def _saved(self, prepared: ir.Model) -> Mapping[str, float] | None:
        """Cycles that cheap zero points save in a float model; kept for the last one asked for."""
        if self.cycles is None:
            return None
        if self._cycles is None or self._cycles[0] is not prepared:
            self._cycles = prepared, dict(self.cycles(prepared))
        return self._cycles[1]

    def completed(self, prepared: ir.Model, found: RangeResult) -> RangeResult:
        """What is known of a float model's tensors and of the channels to even out, after one pass at most."""
        if self._finds_anew:
            return found
        empty = Extents((n, Extent.empty(alike, keeps=True)) for n, alike in judged_axes(prepared.graph).items())
        return completed(prepared, found, empty, self.feeds, self.config, self.progress)

    @property
    def _finds_anew(self) -> bool:
        """Whether ranges of another form of the network are found on the samples, whatever is known."""
        return self.config.effort == "thorough" or self.config.ranges in ("minmax", "moving-average")

    def _unseen(self, prepared: ir.Model) -> Extents | None:
        """Channels to look at while the first ranges are found, for what will even them out."""
        evens = self.config.equalization and finds_ranges(self.config)
        if self._looked or self.config.effort == "fast" or not evens:
            return None
        self._looked, judged = True, judged_axes(prepared.graph)
        evened = {**gate_axes(prepared.graph), **judged}  # gates once they have copies
        keeps = self.config.effort == "default"
        axes = {**norm_axes(prepared.graph), **evened}
        return Extents((n, Extent.empty(alike, keeps=keeps and n in evened)) for n, alike in axes.items())

    def means(self, prepared: ir.Model, count: int) -> Mapping[str, Wanted]:
        """What the layers of a float model should give on some samples; kept for the last that were asked for."""
        if self._means is None or self._means[0] is not prepared or self._means[1] != count:
            self._means = prepared, count, channel_means(prepared, self.first(count), self.config.threads)
        return self._means[2]

    def input_means(self, prepared: ir.Model) -> Mapping[str, NDArray[np.float64]]:
        """The means of what the layers of a float model read; kept for the last one asked for."""
        if self._input_means is None or self._input_means[0] is not prepared:
            self._input_means = prepared, input_means(prepared, self.first(self.enough), self.config.threads)
        return self._input_means[1]

    def promises(self, best: Candidate, exact: Callable[[], ir.Model], least_db: float) -> bool:
        """Whether what a method can bring is worth trying it.

        Finer parts that make the outputs worse show that errors cancel by chance on these samples: then they tell
        nothing of what the method brings.

        Args:
            best: the model so far.
            exact: makes a copy of it with those parts exact that the method makes finer.
            least_db: by how much that must move the outputs, to float or away from it.
        """
        if self.config.effort == "thorough":
            return True
        moved_db = self.evaluator.fidelity(exact()).closeness_db - closeness(best)
        promising = abs(moved_db) > least_db
        self.most_db = None if promising else moved_db
        return promising

    def rounding_promises(self, best: Candidate, least_db: float) -> bool:
        """Whether weights without rounding can bring most samples that much closer to float.

        What rounded weights alone do to the float model is a noise of its own: it and that of the tensors add up to the
        model's. Where it is much of that, errors of both may cancel by chance, or outputs can hardly be further from
        float: so a model with exact weights has to move them as well, by half as much.

        Args:
            best: the model so far.
            least_db: that exact weights must bring.
        """
        if self.config.effort == "thorough":
            return True
        alone = self.evaluator.fidelity(with_rounded_weights(best.prepared, best.model))
        gaps_db = closeness_of(best.fidelity.bounded) - closeness_of(alone.bounded)
        share = 10 ** (float(np.median(gaps_db)) / 10)
        brought_db = -10 * math.log10(1 - share) if share < 1 else math.inf
        if brought_db > least_db:
            return self.promises(best, lambda: with_exact_weights(best.prepared, best.model), least_db / 2)
        self.most_db = brought_db
        return False

    def refined(
        self,
        best: Candidate,
        *,
        rounding: bool,
        bias: Bias,
        screen: bool = False,
    ) -> Candidate:
        """The best model's layers made anew: weights rounded on the samples, biases corrected.

        Args:
            best: the model to start from.
            rounding: second-order.
            bias: kind of correction.
            screen: on a share of the samples, to see whether all are worth it.
        """
        count = self.enough if screen else self.config.refine_samples
        left: list[str] = []
        sequential = bias == "sequential"
        means = self.means(best.prepared, count) if sequential else {}
        shared = bool(means) and not rounding  # biases alone are corrected by two processes
        samples = len(next(iter(means.values())).tokens) if shared else count

        def made(half: Half) -> tuple[ir.Model, list[str]]:
            part = half.span(samples)
            return refine(
                best.prepared, write_qdq(best.prepared, best.plan), _Some(self.feeds, part.stop, part.start),
                rounding=rounding, bias=sequential, means=means if sequential else None,
                otherwise=best.model if sequential else None,  # or the analytic correction would come twice
                budget=self.budget, threads=self.config.threads, progress=self.progress if half.first else None,
                in_place=True, half=half,
            )  # fmt: skip

        if not (rounding or sequential):
            model = write_qdq(best.prepared, best.plan)
        elif shared and self.config.time_budget is None:
            model, left = in_halves(made, samples)
        else:
            model, left = made(Half())
        if bias == "analytic":
            model = correct_analytically(best.prepared, model)
        elif bias == "means":
            self._correct_by_means(best.prepared, model)
        notes = {"layers_left": left} if left else {}
        partly = count < self.config.refine_samples and (rounding or sequential)
        measure = self.measure(model)
        return replace(best, model=model, measure=measure, bias=bias, rounded=rounding, partly=partly, notes=notes)

    def _correct_by_means(self, prepared: ir.Model, model: ir.Model) -> None:
        """Take back what rounded weights shift, and then what is left of it in the last layers, on all samples."""
        correct_by_means(prepared, model, self.input_means(prepared))
        last = last_layers(prepared)
        means = channel_means(prepared, self.samples, self.config.threads, last)
        refine(
            prepared, model, self.samples, rounding=False, bias=True, only=last, means=means,
            otherwise=model, in_place=True, budget=self.budget, threads=self.config.threads,
        )  # fmt: skip
