"""Models by how many of their layers have four-bit weights: what each saves, and how close to float it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import dropwhile
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.layerwise.refine import refine
from n6convert.quantization.layerwise.walk import layers_of
from n6convert.quantization.weights.four_bits import Narrow, in_their_opset, replaced, saved_bytes, written_with
from n6convert.quantization.weights.layer_noise import quieter

if TYPE_CHECKING:
    from n6convert.quantization.fidelity import Fidelity
    from n6convert.quantization.methods import Candidate, MethodContext

__all__ = ["Costs", "Curve", "Goals", "Judged", "noise_in"]

#: models of so many different numbers of layers are judged; between two of them the choice is halved
POINTS = 5
#: points of the report's curve, at least
_DRAWN = 4
#: models that are run to find how many layers have so much noise
_PROBES = 3
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


class Judged(NamedTuple):
    """What labels say of a model.

    Attributes:
        drop: points of the metric that it loses.
        samples: labeled ones that it was judged on.
    """

    drop: float
    samples: int


@dataclass(frozen=True)
class Goals:
    """What decides how many layers get four bits; None: no such goal.

    Attributes:
        milliseconds, flash_bytes: to be reached, whatever is lost.
        predicts: what a model costs on the target; None: bytes of constants are counted and decide the order.
        keeps: whether the SQNR in dB of the outputs, by name, is still within the recipe's limit.
        judged: what labeled samples say of an INT8 model.
        max_drop: points that may be lost, where there is ``judged``.
    """

    milliseconds: float | None = None
    flash_bytes: int | None = None
    predicts: Callable[[ir.Model], Costs] | None = None
    keeps: Callable[[Mapping[str, float]], bool] | None = None
    judged: Callable[[ir.Model], Judged] | None = None
    max_drop: float = 0.0


@dataclass(frozen=True)
class Point:
    """One number of layers in four bits, in the order of their price; ``drop``, by so many ``labels``, where asked."""

    layers: int
    weight_bytes: int
    milliseconds: float | None
    closeness_db: float
    sqnr_db: float
    refined: bool = False
    drop: float | None = None
    labels: int | None = None


class Curve:
    """Models by number of layers, each made and judged once: as rounded layer by layer, and a few of them refined.

    Args:
        context, best: what the models are made from.
        order: the layers, in the order in which they get four bits.
        goals: what is asked of them.
        expected: the noise that each layer is expected to add, in any unit; None: alike.
    """

    def __init__(
        self,
        context: MethodContext,
        best: Candidate,
        order: Sequence[Narrow],
        goals: Goals,
        expected: Sequence[float] | None = None,
    ) -> None:
        self._context, self._best, self.order, self._goals = context, best, order, goals
        self._expected: NDArray[np.float64] = np.cumsum([0.0, *(expected or [1.0] * len(order))])
        self._plain: dict[int, Fidelity] = {0: best.fidelity}
        self._judged: dict[int, Judged] = {}
        self._refined: dict[int, Candidate] = {}
        self._predicted: dict[int, tuple[int, float | None]] = {}
        self._costs: dict[int, Costs] = {}

    @cached_property
    def base(self) -> ir.Model:
        """The model without four bits, in the opset of their files."""
        return in_their_opset(self._best.model)

    def reordered(self, order: Sequence[Narrow], expected: Sequence[float] | None = None) -> Curve:
        """Of the same layers in another order."""
        other = Curve(self._context, self._best, order, self._goals, expected)
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
        """All points; refined ones as they then are, and also as they were before where labels judged that."""
        counts = {*self._plain, *self._refined, len(self.order)}
        if len(counts) < _DRAWN:
            counts.add(len(self.order) // 2)
        plain = [n for n in counts if n not in self._refined or n in self._judged]
        points = [*map(self._plain_point, plain), *map(self._refined_point, self._refined)]
        return [asdict(point) for point in sorted(points, key=lambda p: (p.layers, p.refined))]

    def _plain_point(self, count: int) -> Point:
        return self._point(count, self.fidelity(count), self._judged.get(count))

    def _refined_point(self, count: int) -> Point:
        return replace(self._point(count, self._refined[count].fidelity), refined=True)

    def _point(self, count: int, found: Fidelity, judged: Judged | None = None) -> Point:
        closeness, sqnr = round(found.closeness_db, 3), round(found.sqnr_db, 3)
        lost = (None, None) if judged is None else (round(judged.drop, 3), judged.samples)
        return Point(count, *self.predicted(count), closeness, sqnr, False, *lost)

    def fidelity(self, count: int) -> Fidelity:
        """Of the model with so many layers, each rounded by itself."""
        if count not in self._plain:
            self._plain[count] = self._context.evaluator.fidelity(self.plain(count))
        return self._plain[count]

    def noise(self, count: int) -> float:
        """Its errors, over the signal."""
        return noise_in(self.fidelity(count))

    def drop(self, count: int) -> float:
        """Points that labels say it loses."""
        assert self._goals.judged is not None
        if count not in self._judged:
            self._judged[count] = self._goals.judged(self.plain(count))
        return self._judged[count].drop

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
        return replaced(self._best.model, self.order[:count]) if count else self._best.model

    def within(self, most: float) -> int:
        """The largest number of layers that have no more noise, found by a few models."""
        if self.noise(len(self.order)) <= most:
            return len(self.order)
        for _ in range(_PROBES):
            self.noise(self.near(most))
        return self._around(most)[0]

    def near(self, noise: float) -> int:
        """The number of layers that should have so much noise, by what those of known noise have around it."""
        low, high = self._around(noise)
        if high - low <= 1:
            return low
        less, more = self.noise(low), self.noise(high)
        share = (noise - less) / (more - less) if more > less else 0.5
        start, end = self._expected[low], self._expected[high]
        found = int(np.searchsorted(self._expected, start + share * (end - start), side="right")) - 1
        return min(max(found, low + 1), high - 1)

    def _around(self, noise: float) -> tuple[int, int]:
        """The largest known number of layers that have no more noise, and the next known one."""
        low = max((n for n in self._plain if self.noise(n) <= noise), default=0)
        return low, min((n for n in self._plain if n > low), default=len(self.order))

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


def noise_in(found: Fidelity) -> float:
    """Errors of a model's outputs, over the signal."""
    return float(10 ** (-found.closeness_db / 10))


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
