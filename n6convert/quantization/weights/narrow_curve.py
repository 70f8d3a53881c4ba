"""Models by how many of their layers have four-bit weights: what each saves, and how close to float it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import dropwhile
from typing import TYPE_CHECKING, Any, Protocol

import onnx_ir as ir

from n6convert.quantization.layerwise.refine import refine
from n6convert.quantization.layerwise.walk import layers_of
from n6convert.quantization.weights.four_bits import Narrow, in_their_opset, replaced, saved_bytes, written_with
from n6convert.quantization.weights.layer_noise import quieter

if TYPE_CHECKING:
    from n6convert.quantization.fidelity import Fidelity
    from n6convert.quantization.methods import Candidate, MethodContext

__all__ = ["Costs", "Curve", "Goals"]

#: models of so many different numbers of layers are judged; between two of them the choice is halved
POINTS = 5
#: coarse codes are fitted to more samples than fine ones
_SAMPLES = 2


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
        keeps: whether the SQNR in dB of the outputs, by name, is still within the recipe's limit.
        drop: the points of the metric that an INT8 model loses on labeled samples.
        max_drop: points that may be lost, where there is ``drop``.
    """

    milliseconds: float | None = None
    flash_bytes: int | None = None
    predicts: Callable[[ir.Model], Costs] | None = None
    keeps: Callable[[Mapping[str, float]], bool] | None = None
    drop: Callable[[ir.Model], float] | None = None
    max_drop: float = 0.0


@dataclass(frozen=True)
class Point:
    """One number of layers in four bits, in the order of their price."""

    layers: int
    weight_bytes: int
    milliseconds: float | None
    closeness_db: float
    sqnr_db: float
    refined: bool = False


class Curve:
    """Models by number of layers, each made and judged once: as rounded layer by layer, and a few of them refined."""

    def __init__(self, context: MethodContext, best: Candidate, order: Sequence[Narrow], goals: Goals) -> None:
        self._context, self._best, self.order, self._goals = context, best, order, goals
        self._plain: dict[int, Fidelity] = {0: best.fidelity}
        self._refined: dict[int, Candidate] = {}
        self._predicted: dict[int, tuple[int, float | None]] = {}
        self._costs: dict[int, Costs] = {}

    @cached_property
    def base(self) -> ir.Model:
        """The model without four bits, in the opset of their files."""
        return in_their_opset(self._best.model)

    def reordered(self, order: Sequence[Narrow]) -> Curve:
        """Of the same layers in another order."""
        other = Curve(self._context, self._best, order, self._goals)
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
        counts = sorted({*self._plain, *self._refined, len(self.order)})
        return [asdict(self._point(count)) for count in counts]

    def _point(self, count: int) -> Point:
        made = self._refined.get(count)
        found = self.fidelity(count) if made is None else made.fidelity
        closeness, sqnr = round(found.closeness_db, 3), round(found.sqnr_db, 3)
        return Point(count, *self.predicted(count), closeness, sqnr, made is not None)

    def fidelity(self, count: int) -> Fidelity:
        """Of the model with so many layers, each rounded by itself."""
        if count not in self._plain:
            self._plain[count] = self._context.evaluator.fidelity(self.plain(count))
        return self._plain[count]

    def closeness(self, count: int) -> float:
        """The same in dB."""
        return self.fidelity(count).closeness_db

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
        marks = sorted({round(whole * i / POINTS) for i in range(POINTS + 1)})
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


def _refined(context: MethodContext, best: Candidate, chosen: Sequence[Narrow]) -> Candidate:
    """Chosen layers rounded on what reaches them now. They and all behind the first of them, also those of eight bits,
    take back what their inputs lost; kept where that is closer."""
    names, count = frozenset(n.layer for n in chosen), _SAMPLES * context.config.refine_samples
    plain = replace(best, model=replaced(best.model, chosen), narrow=names)
    plain = replace(plain, measure=context.measure(plain.model))
    if not names:
        return plain
    made, _ = refine(
        best.prepared, plain.model, context.first(count), rounding=True, bias=False, narrow=names,
        compensating=_behind(plain.model, names), budget=context.budget, threads=context.config.threads,
        progress=context.progress,
    )  # fmt: skip
    better = quieter(best.prepared, [made, plain.model], context.evaluator.samples) == 0
    return replace(plain, model=made, measure=context.measure(made)) if better else plain


def _behind(model: ir.Model, names: Collection[str]) -> frozenset[str]:
    """The layers from the first of these on."""
    return frozenset(layer.name for layer in dropwhile(lambda layer: layer.name not in names, layers_of(model)))


def stored_bytes(model: ir.Model) -> int:
    """Bytes of the constants that an INT8 model multiplies with and adds: weights, biases and their scales."""
    kinds = {ir.DataType.INT8: 1, ir.DataType.INT32: 4, ir.DataType.FLOAT: 4}
    sizes = (v.const_value for v in model.graph.initializers.values())
    return sum(kinds.get(t.dtype, 0) * t.size for t in sizes if t is not None and t.size > 1)
