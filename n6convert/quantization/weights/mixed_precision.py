"""Which layers get four-bit weights: predicted time (or flash) saved against closeness lost, on held-back samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from n6convert.quantization.layerwise.refine import refine
from n6convert.quantization.layerwise.walk import layers_of
from n6convert.quantization.stable import exceeds, rounded
from n6convert.quantization.weights.four_bits import Narrow, narrow_layers, replaced, saved_bytes, written

if TYPE_CHECKING:
    from n6convert.quantization.methods import Candidate, MethodContext

__all__ = ["Goals", "facts_of", "narrowed"]

#: models of so many different numbers of layers are judged; between two of them the choice is halved
_POINTS = 8
#: above this number of layers, bytes stand for time
_TIMED = 96


@dataclass(frozen=True)
class Goals:
    """What decides how many layers get four bits; None: no such goal.

    Attributes:
        milliseconds, flash_bytes: to be reached, whatever is lost.
        keeps: called as ``keeps(model, sqnr_db_by_output)``: whether the recipe's limits on accuracy still hold.
    """

    milliseconds: float | None = None
    flash_bytes: int | None = None
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

    def __init__(self, context: MethodContext, best: Candidate, order: Sequence[Narrow]) -> None:
        self._context, self._best, self._order = context, best, order
        self.points: dict[int, Point] = {}
        self._refined: dict[int, Candidate] = {}

    def refined(self, count: int) -> Candidate:
        """The model with so many layers, rounded and corrected for them."""
        if count not in self._refined:
            self._refined[count] = _refined(self._context, self._best, self._order[:count])
        return self._refined[count]

    def facts(self) -> list[dict[str, Any]]:
        """All points, refined ones as they then are."""
        counts = sorted({0, *self.points, *self._refined, len(self._order)})
        return [asdict(self._final(count)) for count in counts]

    def _final(self, count: int) -> Point:
        point, made = self.at(count), self._refined.get(count)
        if made is None:
            return point
        closeness, sqnr = round(made.fidelity.closeness_db, 3), round(made.fidelity.sqnr_db, 3)
        return replace(point, closeness_db=closeness, sqnr_db=sqnr, refined=True)

    def at(self, count: int) -> Point:
        if count not in self.points:
            chosen = self._order[:count]
            model = self.plain(count)
            fidelity = self._context.evaluator.fidelity(model) if count else self._best.fidelity
            self.points[count] = Point(
                count, stored_bytes(self._best.model) - saved_bytes(chosen), self._time(model, chosen),
                round(fidelity.closeness_db, 3), round(fidelity.sqnr_db, 3),
            )  # fmt: skip
        return self.points[count]

    def plain(self, count: int) -> ir.Model:
        """The model with so many layers, each rounded by itself."""
        return replaced(self._best.model, self._order[:count])

    def _time(self, model: ir.Model, chosen: Sequence[Narrow]) -> float | None:
        predict = self._context.milliseconds
        return None if predict is None else round(predict(written(model, {n.layer for n in chosen})), 4)

    def last(self, holds: Callable[[Point], bool]) -> int:
        """The largest number of layers for which something holds that more layers only spoil."""
        whole = len(self._order)
        marks = sorted({round(whole * i / _POINTS) for i in range(_POINTS + 1)})
        good = max((m for m in marks if holds(self.at(m))), default=0)
        bad = next((m for m in marks if m > good), good)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if holds(self.at(middle)) else (good, middle)
        return good

    def first(self, holds: Callable[[Point], bool]) -> int:
        """The smallest number of layers for which something holds; all of them when none does."""
        short = self.last(lambda point: not holds(point))
        return min(short + (not holds(self.at(short))), len(self._order))


def narrowed(context: MethodContext, best: Candidate, goals: Goals) -> Candidate:
    """The best model with some or all of its weights in four bits, rounded and corrected for them.

    Args:
        goals: with ``mixed``, the fewest layers that reach them; without any, the most that cost no more closeness
            than ``weights_loss_db`` and keep the recipe's limits.

    Raises:
        BudgetExceeded: the time budget ended.
    """
    config = context.config
    found = narrow_layers(best.prepared, best.model, context.samples, config.threads, context.budget, context.progress)
    order = _by_price(context, best, found)
    curve = _Curve(context, best, order)
    count = _count(curve, len(order), best, context, goals)
    chosen, trial = order[:count], curve.refined(count)
    facts = {
        "layers": [n.layer for n in chosen],
        "of": len(order),
        "bytes_saved": saved_bytes(chosen),
        "weight_bytes": stored_bytes(best.model) - saved_bytes(chosen),
        "curve": curve.facts(),
    }
    return replace(trial, notes={"four_bits": facts})


def _count(curve: _Curve, whole: int, best: Candidate, context: MethodContext, goals: Goals) -> int:
    if context.config.weights == "int4":
        return whole
    if goals.milliseconds is not None or goals.flash_bytes is not None:
        return curve.first(lambda point: _reaches(point, goals))
    return _most(curve, whole, best, context, goals)


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
        lambda point: near(point.closeness_db) and _keeps(goals, context, curve.plain(point.layers))
    )  # fmt: skip
    if certain == whole or good(whole):
        return whole
    base, all_plain = (_noise(curve.at(n).closeness_db) for n in (0, whole))
    left = (_noise(curve.refined(whole).fidelity.closeness_db) - base) / max(all_plain - base, 1e-12)
    expected = curve.last(lambda point: base + left * (_noise(point.closeness_db) - base) <= _noise(least))
    further = (certain + whole) // 2 if labels else min(expected, whole - 1)
    return further if further > certain and good(further) else certain


def _noise(closeness_db: float) -> float:
    return float(10 ** (-closeness_db / 10))


def _keeps(goals: Goals, context: MethodContext, model: ir.Model) -> bool:
    return goals.keeps is None or goals.keeps(model, context.evaluator.fidelity(model).outputs_sqnr_db)


def _reaches(point: Point, goals: Goals) -> bool:
    fast = goals.milliseconds is None or point.milliseconds is None or point.milliseconds <= goals.milliseconds
    return fast and (goals.flash_bytes is None or point.weight_bytes <= goals.flash_bytes)


def _by_price(context: MethodContext, best: Candidate, found: Sequence[Narrow]) -> list[Narrow]:
    """Most saved per noise first; layers of equal price in the graph's order."""
    predict = context.milliseconds
    if predict is None or len(found) > _TIMED:
        return sorted(found, key=lambda n: -float(rounded(n.saved / max(n.noise, 1e-12))))
    whole = predict(best.model)
    saved = {n.layer: whole - predict(written(replaced(best.model, [n]), {n.layer})) for n in found}
    # a layer that saves no time of its own may still save flash; it comes after all that do
    worth = {n.layer: max(saved[n.layer], 0.0) + 1e-9 * n.saved for n in found}
    return sorted(found, key=lambda n: -float(rounded(worth[n.layer] / max(n.noise, 1e-12))))


def _refined(context: MethodContext, best: Candidate, chosen: Sequence[Narrow]) -> Candidate:
    """Every layer rounded and corrected on what reaches it now; kept where that is closer.

    Layers first take back what four bits in front of them did to their inputs, and where that brings nothing they do
    not.
    """
    names = frozenset(n.layer for n in chosen)
    plain = replace(best, model=replaced(best.model, chosen), narrow=names)
    plain = replace(plain, measure=context.measure(plain.model))
    corrects = best.bias != "off"
    means = context.means(best.prepared, context.config.refine_samples) if corrects else None
    for compensating in [[layer.name for layer in layers_of(plain.model)], []] if names else [[]]:
        made, _ = refine(
            best.prepared, plain.model, context.samples, rounding=True, bias=corrects, means=means, narrow=names,
            compensating=compensating, budget=context.budget, threads=context.config.threads, progress=context.progress,
        )  # fmt: skip
        after = replace(plain, model=made, measure=context.measure(made))
        if exceeds(after.fidelity.closeness_db, plain.fidelity.closeness_db):
            return after
    return plain


def stored_bytes(model: ir.Model) -> int:
    """Bytes of the constants that an INT8 model multiplies with and adds: weights, biases and their scales."""
    kinds = {ir.DataType.INT8: 1, ir.DataType.INT32: 4, ir.DataType.FLOAT: 4}
    sizes = (v.const_value for v in model.graph.initializers.values())
    return sum(kinds.get(t.dtype, 0) * t.size for t in sizes if t is not None and t.size > 1)


def facts_of(candidate: Candidate) -> dict[str, Any]:
    """The section of the report; empty when all weights have eight bits."""
    return dict(candidate.notes.get("four_bits", {}))
