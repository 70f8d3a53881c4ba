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
from n6convert.quantization.weights.layer_noise import layer_noise

if TYPE_CHECKING:
    from n6convert.quantization.methods import Candidate, MethodContext

__all__ = ["Goals", "facts_of", "narrowed"]

#: models of so many different numbers of layers are judged; between two of them the choice is halved
_POINTS = 5
#: least noise that counts, relative to what all layers add on average: less is an accident of few samples
_LEAST_NOISE = 0.01
#: coarse codes are fitted to more samples than fine ones
_SAMPLES = 3


@dataclass(frozen=True)
class Goals:
    """What decides how many layers get four bits; None: no such goal.

    Attributes:
        milliseconds, flash_bytes: to be reached, whatever is lost.
        times: predicts how much of the time each layer of a model takes, by name; None: bytes decide the order.
        flash: predicts the bytes of flash that a model takes; None: those of its constants are counted.
        keeps: called as ``keeps(model, sqnr_db_by_output)``: whether the recipe's limits on accuracy still hold.
    """

    milliseconds: float | None = None
    flash_bytes: int | None = None
    times: Callable[[ir.Model], Mapping[str, float]] | None = None
    flash: Callable[[ir.Model], int] | None = None
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
        self._context, self._best, self._order, self._goals = context, best, order, goals
        self.points: dict[int, Point] = {}
        self._refined: dict[int, Candidate] = {}
        self._predicted: dict[int, tuple[int, float | None]] = {}

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
            fidelity = self._context.evaluator.fidelity(self.plain(count)) if count else self._best.fidelity
            closeness, sqnr = round(fidelity.closeness_db, 3), round(fidelity.sqnr_db, 3)
            self.points[count] = Point(count, *self.predicted(count), closeness, sqnr)
        return self.points[count]

    def predicted(self, count: int) -> tuple[int, float | None]:
        """Bytes of flash and milliseconds, which no sample is run for."""
        if count not in self._predicted:
            file = written(self.plain(count), {n.layer for n in self._order[:count]})
            self._predicted[count] = self._flash(file, count), self._time(file)
        return self._predicted[count]

    def plain(self, count: int) -> ir.Model:
        """The model with so many layers, each rounded by itself."""
        return replaced(self._best.model, self._order[:count])

    def _time(self, file: ir.Model) -> float | None:
        predict = self._context.milliseconds
        return None if predict is None else round(predict(file), 4)

    def _flash(self, file: ir.Model, count: int) -> int:
        if self._goals.flash is not None:
            return self._goals.flash(file)
        return stored_bytes(self._best.model) - saved_bytes(self._order[:count])

    def last(self, holds: Callable[[int], bool]) -> int:
        """The largest number of layers for which something holds that more layers only spoil."""
        whole = len(self._order)
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
        return min(short + (not holds(short)), len(self._order))


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
    order = _by_price(context, best, found, goals) if config.weights == "mixed" else found
    curve = _Curve(context, best, order, goals)
    count = _count(curve, len(order), best, context, goals)
    chosen, trial = order[:count], curve.refined(count)
    facts = {
        "layers": [n.layer for n in chosen],
        "of": len(order),
        "bytes_saved": saved_bytes(chosen),
        "weight_bytes": curve.at(count).weight_bytes,
        "curve": curve.facts(),
    }
    return replace(trial, notes={"four_bits": facts})


def _count(curve: _Curve, whole: int, best: Candidate, context: MethodContext, goals: Goals) -> int:
    if context.config.weights == "int4":
        return whole
    if goals.milliseconds is not None or goals.flash_bytes is not None:
        count = curve.first(lambda count: _reaches(*curve.predicted(count), goals))
        curve.at(whole // 2)  # the report draws more than the ends and the choice
        return count
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


def _by_price(context: MethodContext, best: Candidate, found: Sequence[Narrow], goals: Goals) -> list[Narrow]:
    """Most time and flash saved for the noise first, each as a share of what all layers save.

    Layers that read the same tensor share an epoch, so only together do they save its time: they are one candidate.
    """
    samples, threads = context.evaluator.samples, context.config.threads
    noise = layer_noise(best.prepared, best.model, found, samples, threads, context.budget)
    least = _LEAST_NOISE * sum(max(n, 0.0) for n in noise.values()) / max(len(noise), 1)
    worth = _worth(best, found, goals)
    together: dict[str, list[Narrow]] = {}
    sources = {layer.name: layer.initializer(0).name or "" for layer in layers_of(best.model)}
    for narrow in found:
        together.setdefault(sources[narrow.layer], []).append(narrow)

    def price(group: Sequence[Narrow]) -> float:
        lost = sum(max(noise[n.layer], least) for n in group)
        return -float(rounded(sum(worth[n.layer] for n in group) / max(lost, 1e-12)))

    return [narrow for group in sorted(together.values(), key=price) for narrow in group]


def _worth(best: Candidate, found: Sequence[Narrow], goals: Goals) -> dict[str, float]:
    """What each layer saves of what is asked for: flash, time, or both where no goal or both are set."""
    bytes_saved = _shares({n.layer: float(n.saved) for n in found})
    if goals.times is None or (goals.milliseconds is None and goals.flash_bytes is not None):
        return bytes_saved
    before, after = goals.times(best.model), goals.times(written(replaced(best.model, found), {n.layer for n in found}))
    time = _shares({n.layer: max(before.get(n.layer, 0.0) - after.get(n.layer, 0.0), 0.0) for n in found})
    # a layer that saves no time of its own may still save flash; it comes after all that do
    flash = 1e-6 if goals.milliseconds is not None and goals.flash_bytes is None else 1.0
    return {name: time[name] + flash * bytes_saved[name] for name in time}


def _shares(saved: Mapping[str, float]) -> dict[str, float]:
    whole = sum(saved.values())
    return {name: value / whole if whole > 0 else 0.0 for name, value in saved.items()}


def _refined(context: MethodContext, best: Candidate, chosen: Sequence[Narrow]) -> Candidate:
    """Every layer rounded and corrected on what reaches it now; kept where that is closer.

    Layers first take back what four bits in front of them did to their inputs, and where that brings nothing they do
    not.
    """
    names, count = frozenset(n.layer for n in chosen), _SAMPLES * context.config.refine_samples
    plain = replace(best, model=replaced(best.model, chosen), narrow=names)
    plain = replace(plain, measure=context.measure(plain.model))
    corrects = best.bias != "off"
    means = context.means(best.prepared, count) if corrects else None
    for compensating in [[layer.name for layer in layers_of(plain.model)], []] if names else [[]]:
        made, _ = refine(
            best.prepared, plain.model, context.first(count), rounding=True, bias=corrects, means=means, narrow=names,
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
