"""Which layers get four-bit weights: predicted time (or flash) saved against closeness lost, on held-back samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.layerwise.refine import refine
from n6convert.quantization.stable import exceeds
from n6convert.quantization.weights.four_bits import (
    Narrow,
    in_their_opset,
    narrow_layers,
    replaced,
    saved_bytes,
    written_with,
)
from n6convert.quantization.weights.layer_noise import layer_noise, quieter
from n6convert.quantization.weights.narrow_selection import Choice, candidates, exchanged

if TYPE_CHECKING:
    from n6convert.quantization.fidelity import Fidelity
    from n6convert.quantization.methods import Candidate, MethodContext

__all__ = ["Costs", "Goals", "facts_of", "narrowed"]

#: models of so many different numbers of layers are judged; between two of them the choice is halved
_POINTS = 5
#: how often more is asked for where the predicted savings fall short, and at least by which share of all
_TRIALS, _LEAST_SHORT = 5, 1e-3
#: samples on which codes are first chosen, to see what each layer loses
_FIRST = 16
#: coarse codes are fitted to more samples than fine ones
_SAMPLES = 3


class Costs(Protocol):
    """What a model costs on the target."""

    @property
    def milliseconds(self) -> float:
        """Of one inference."""

    @property
    def flash_bytes(self) -> int:
        """Of its parameters."""

    @property
    def layers(self) -> Mapping[str, float]:
        """Milliseconds that each layer takes, by name."""


@dataclass(frozen=True)
class Goals:
    """What decides how many layers get four bits; None: no such goal.

    Attributes:
        milliseconds, flash_bytes: to be reached, whatever is lost.
        predicts: what a model costs on the target; None: bytes of constants are counted and decide the order.
        keeps: called as ``keeps(model, sqnr_db_by_output)``: whether the recipe's limits on accuracy still hold.
    """

    milliseconds: float | None = None
    flash_bytes: int | None = None
    predicts: Callable[[ir.Model], Costs] | None = None
    keeps: Callable[[ir.Model, Mapping[str, float]], bool] | None = None


@dataclass(frozen=True)
class Point:
    """One number of layers in four bits, in the order of their price."""

    layers: int
    weight_bytes: int
    milliseconds: float | None
    closeness_db: float
    sqnr_db: float
    refined: bool = False


class _Curve:
    """Models by number of layers, each made and judged once: as rounded layer by layer, and a few of them refined."""

    def __init__(self, context: MethodContext, best: Candidate, order: Sequence[Narrow], goals: Goals) -> None:
        self._context, self._best, self.order, self._goals = context, best, order, goals
        self.points: dict[int, Point] = {}
        self._refined: dict[int, Candidate] = {}
        self._predicted: dict[int, tuple[int, float | None]] = {}
        self._costs: dict[int, Costs] = {}

    @cached_property
    def base(self) -> ir.Model:
        """The model without four bits, in the opset of their files."""
        return in_their_opset(self._best.model)

    def reordered(self, order: Sequence[Narrow]) -> _Curve:
        """Of the same layers in another order."""
        other = _Curve(self._context, self._best, order, self._goals)
        ends = 0, len(order)
        other._predicted = {n: p for n, p in self._predicted.items() if n in ends}
        other._costs = {n: c for n, c in self._costs.items() if n in ends}
        other.base = self.base
        return other

    def refined(self, count: int) -> Candidate:
        """The model with so many layers, rounded and corrected for them."""
        if count not in self._refined:
            self._refined[count] = _refined(self._context, self._best, self.order[:count])
        return self._refined[count]

    def facts(self) -> list[dict[str, Any]]:
        """All points, refined ones as they then are."""
        counts = sorted({0, *self.points, *self._refined, len(self.order)})
        return [asdict(self._final(count)) for count in counts]

    def _final(self, count: int) -> Point:
        made = self._refined.get(count)
        return self.at(count) if made is None else self._point(count, made.fidelity, refined=True)

    def at(self, count: int) -> Point:
        if count not in self.points:
            fidelity = self._context.evaluator.fidelity(self.plain(count)) if count else self._best.fidelity
            self.points[count] = self._point(count, fidelity)
        return self.points[count]

    def _point(self, count: int, fidelity: Fidelity, *, refined: bool = False) -> Point:
        closeness, sqnr = round(fidelity.closeness_db, 3), round(fidelity.sqnr_db, 3)
        return Point(count, *self.predicted(count), closeness, sqnr, refined)

    def predicted(self, count: int) -> tuple[int, float | None]:
        """Bytes of flash and milliseconds, which no sample is run for."""
        if count not in self._predicted:
            self._predicted[count] = self._flash_and_time(count)
        return self._predicted[count]

    def _flash_and_time(self, count: int) -> tuple[int, float | None]:
        if self._goals.predicts is not None:
            return self.costs(count).flash_bytes, round(self.costs(count).milliseconds, 4)
        predict = self._context.milliseconds
        time = None if predict is None else round(predict(self._file(count)), 4)
        return stored_bytes(self._best.model) - saved_bytes(self.order[:count]), time

    def costs(self, count: int) -> Costs:
        """What the model with so many layers costs, where that is predicted."""
        assert self._goals.predicts is not None
        if count not in self._costs:
            self._costs[count] = self._goals.predicts(self._file(count))
        return self._costs[count]

    def _file(self, count: int) -> ir.Model:
        return written_with(self.base, self.order[:count])

    def plain(self, count: int) -> ir.Model:
        """The model with so many layers, each rounded by itself."""
        return replaced(self._best.model, self.order[:count])

    def last(self, holds: Callable[[int], bool]) -> int:
        """The largest number of layers for which something holds that more layers only spoil."""
        whole = len(self.order)
        marks = sorted({round(whole * i / _POINTS) for i in range(_POINTS + 1)})
        good = max((m for m in marks if holds(m)), default=0)
        bad = next((m for m in marks if m > good), good)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if holds(middle) else (good, middle)
        return good

    def first(self, holds: Callable[[int], bool]) -> int:
        """The smallest number of layers for which something holds; all of them when none does."""
        short = self.last(lambda count: not holds(count))
        return min(short + (not holds(short)), len(self.order))


def narrowed(context: MethodContext, best: Candidate, goals: Goals) -> Candidate:
    """The best model with some or all of its weights in four bits, rounded and corrected for them.

    Args:
        goals: with ``mixed``, the fewest layers that reach them; without any, the most that cost no more closeness
            than ``weights_loss_db`` and keep the recipe's limits.

    Raises:
        BudgetExceeded: the time budget ended.
    """
    config = context.config
    few = context.first(min(_FIRST, config.refine_samples))
    found = narrow_layers(best.prepared, best.model, few, config.threads, context.budget, context.progress)
    curve, count = _Curve(context, best, found, goals), len(found)
    if config.weights == "mixed":
        curve, count = _chosen(context, best, found, goals)
    order = curve.order
    chosen, trial = order[:count], curve.refined(count)
    curve.at(len(order) // 2)  # the report draws more than the ends and the choice
    facts = {
        "layers": [n.layer for n in chosen],
        "of": len(order),
        "bytes_saved": saved_bytes(chosen),
        "weight_bytes": curve.predicted(count)[0],
        "curve": curve.facts(),
    }
    return replace(trial, notes={"four_bits": facts})


def _chosen(context: MethodContext, best: Candidate, found: Sequence[Narrow], goals: Goals) -> tuple[_Curve, int]:
    """Layers in the order in which they are taken, and how many are."""
    samples, threads = context.evaluator.samples, context.config.threads

    def noise_of(layers: Sequence[Narrow]) -> Mapping[str, float]:
        return layer_noise(best.prepared, best.model, layers, samples, threads, context.budget)

    asks = {"asks_time": goals.milliseconds is not None, "asks_flash": goals.flash_bytes is not None}
    curve = _Curve(context, best, found, goals)
    times = None if goals.predicts is None else [curve.costs(n).layers for n in (0, len(found))]
    choices = candidates(best.model, found, noise_of, times, **asks)
    curve = curve.reordered(_layers(choices))
    if not any(asks.values()):
        return curve, _most(curve, len(found), best, context, goals)
    return _reaching(curve, choices, goals)


def _reaching(curve: _Curve, choices: Sequence[Choice], goals: Goals) -> tuple[_Curve, int]:
    """The layers that reach the goals with the least noise.

    What layers save together is predicted, and hardly differs from what they save alone; where it falls short, more is
    asked for.
    """
    needed, trial = _needed(curve, goals, 0), curve
    for _ in range(_TRIALS):
        chosen = _layers(exchanged(choices, needed))
        names = {n.layer for n in chosen}
        trial, count = curve.reordered([*chosen, *(n for n in curve.order if n.layer not in names)]), len(chosen)
        if _reaches(*trial.predicted(count), goals):
            return trial, count
        short = _needed(trial, goals, count)
        needed = np.minimum(needed + np.where(short > 0, short.clip(_LEAST_SHORT), 0.0), 1.0)
    return trial, trial.first(lambda n: _reaches(*trial.predicted(n), goals))


def _needed(curve: _Curve, goals: Goals, count: int) -> NDArray[np.float64]:
    """Time and flash that so many layers do not save yet, as shares of what all save."""
    (flash, time), now, (least_flash, least_time) = (curve.predicted(n) for n in (0, count, len(curve.order)))
    needed = np.zeros(2)
    if goals.milliseconds is not None and time is not None and time > (least_time or 0.0):
        needed[0] = ((now[1] or 0.0) - goals.milliseconds) / (time - (least_time or 0.0))
    if goals.flash_bytes is not None and flash > least_flash:
        needed[1] = (now[0] - goals.flash_bytes) / (flash - least_flash)
    return needed.clip(0.0, 1.0)


def _layers(choices: Iterable[Choice]) -> list[Narrow]:
    return [narrow for choice in choices for narrow in choice.layers]


def _most(curve: _Curve, whole: int, best: Candidate, context: MethodContext, goals: Goals) -> int:
    """As many layers as the loss allows. Refining takes a part of it back, so more may do than the curve says: all of
    them, or as many as that part of their noise leaves, are tried."""
    least, labels = best.fidelity.closeness_db - context.config.weights_loss_db, goals.keeps is not None

    def near(closeness_db: float) -> bool:
        return labels or not exceeds(least, closeness_db)

    def good(count: int) -> bool:
        made = curve.refined(count)
        return near(made.fidelity.closeness_db) and _keeps(goals, context, made.model)

    certain = curve.last(
        lambda count: near(curve.at(count).closeness_db) and _keeps(goals, context, curve.plain(count))
    )  # fmt: skip
    if certain == whole or good(whole):
        return whole
    base, all_plain = (_noise(curve.at(n).closeness_db) for n in (0, whole))
    left = (_noise(curve.refined(whole).fidelity.closeness_db) - base) / max(all_plain - base, 1e-12)
    expected = curve.last(lambda count: base + left * (_noise(curve.at(count).closeness_db) - base) <= _noise(least))
    further = (certain + whole) // 2 if labels else min(expected, whole - 1)
    return further if further > certain and good(further) else certain


def _noise(closeness_db: float) -> float:
    return float(10 ** (-closeness_db / 10))


def _keeps(goals: Goals, context: MethodContext, model: ir.Model) -> bool:
    return goals.keeps is None or goals.keeps(model, context.evaluator.fidelity(model).outputs_sqnr_db)


def _reaches(flash: int, milliseconds: float | None, goals: Goals) -> bool:
    fast = goals.milliseconds is None or milliseconds is None or milliseconds <= goals.milliseconds
    return fast and (goals.flash_bytes is None or flash <= goals.flash_bytes)


def _refined(context: MethodContext, best: Candidate, chosen: Sequence[Narrow]) -> Candidate:
    """Chosen layers rounded on what reaches them now, so that they take back what their inputs lost; kept where that is
    closer."""
    names, count = frozenset(n.layer for n in chosen), _SAMPLES * context.config.refine_samples
    plain = replace(best, model=replaced(best.model, chosen), narrow=names)
    plain = replace(plain, measure=context.measure(plain.model))
    if not names:
        return plain
    made, _ = refine(
        best.prepared, plain.model, context.first(count), rounding=True, bias=False, narrow=names, compensating=names,
        budget=context.budget, threads=context.config.threads, progress=context.progress,
    )  # fmt: skip
    better = quieter(best.prepared, [made, plain.model], context.evaluator.samples) == 0
    return replace(plain, model=made, measure=context.measure(made)) if better else plain


def stored_bytes(model: ir.Model) -> int:
    """Bytes of the constants that an INT8 model multiplies with and adds: weights, biases and their scales."""
    kinds = {ir.DataType.INT8: 1, ir.DataType.INT32: 4, ir.DataType.FLOAT: 4}
    sizes = (v.const_value for v in model.graph.initializers.values())
    return sum(kinds.get(t.dtype, 0) * t.size for t in sizes if t is not None and t.size > 1)


def facts_of(candidate: Candidate) -> dict[str, Any]:
    """The section of the report; empty when all weights have eight bits."""
    return dict(candidate.notes.get("four_bits", {}))
