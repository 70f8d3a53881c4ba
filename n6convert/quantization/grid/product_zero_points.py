"""Zero point 0 for products that are summed, and for their factors.

A product on the NPU needs one ARITH unit, and one more for each factor whose zero point is not 0, or for its own; with
the mean behind it, two such products fit into one epoch instead of one ([#product-units]), so attention takes half the
time. Rounding the products themselves to 8 bits costs most of their accuracy ([#matmul-forms]), so a coarser factor
shows little behind their sums: the outputs on held-back samples decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.graph.query import constant_of, elements, shape_of
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.grid.shared_grids import SharedGrid, shared_grids, shared_groups
from n6convert.quantization.grid.zero_points import give_ranges
from n6convert.quantization.ranges.calibrate import Statistics
from n6convert.quantization.ranges.estimators import Range, range_error
from n6convert.quantization.ranges.histogram import Histogram

__all__ = ["WORSE_DB", "center_products"]

#: dB by which all of them together may put the outputs further from float, by policy for zero points
WORSE_DB = {"speed": np.inf, "balanced": 2.0, "accuracy": 1.0}
#: how far a grid around zero may reach, of what it covered
_REACHES = (1.0, 0.93, 0.86, 0.8, 0.74, 0.68, 0.6, 0.5)
_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})
_MEANS = frozenset({"GlobalAveragePool", "ReduceMean"})
_DIGITS = 3


@dataclass(frozen=True)
class _Product:
    """Names of the result and of both factors, and how many products there are."""

    name: str
    factors: tuple[str, str]
    size: int

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.name, *self.factors)


@dataclass(frozen=True)
class _Loss:
    """SQNR of a product before and after in dB, and how many products there are."""

    name: str
    size: int
    before_db: float
    after_db: float

    @property
    def lost_db(self) -> float:
        return self.before_db - self.after_db


def center_products(
    model: ir.Model, ranges: dict[str, Range], statistics: Mapping[str, Statistics]
) -> list[dict[str, Any]]:
    """Give summed products and their factors ranges around zero, in place.

    Each loses a bit at most; what that does to the outputs is for the caller to evaluate.

    Args:
        model: prepared.
        ranges: by tensor name; changed.
        statistics: by tensor name.

    Returns:
        One record a grid: its first tensor, saved cycles, the products' SQNR before and after, and whether it was
        taken.
    """
    products = list(_summed(model.graph))
    if not products:
        return []
    groups = shared_groups(model.graph, ranges)
    grids = shared_grids(model.graph, groups, ranges)
    known = _Known(groups, grids, statistics)
    losses: dict[str, list[_Loss]] = {}
    for product in products:
        loss = known.loss(product)
        if loss is not None:
            for root in dict.fromkeys(groups[tensor] for tensor in product.tensors):
                losses.setdefault(root, []).append(loss)
    wanted = [root for root in losses if Grid.from_range(*grids[root].span).zero_point != 0]
    changed = {root: known.around_zero(root) for root in wanted}
    give_ranges(model.graph, grids, ranges, changed)
    return [_record(losses[root], grids[root], root in changed) for root in wanted]


def _record(losses: Sequence[_Loss], grid: SharedGrid, taken: bool) -> dict[str, Any]:
    """What is reported of a grid: the product that loses most counts."""
    most = max(losses, key=lambda loss: loss.lost_db)
    return {
        "name": next(iter(grid.members), most.name),
        "sqnr_db": most.before_db,
        "cheap_sqnr_db": most.after_db,
        "saved": sum(loss.size for loss in losses) / 6,
        "taken": taken,
    }


def _summed(graph: ir.Graph) -> Iterator[_Product]:
    """Products of two activations that nothing but a mean reads."""
    for node in graph:
        if node.op_type != "Mul" or not _only_mean(node.outputs[0]):
            continue
        names = [str(v.name) for v in node.inputs if v is not None and constant_of(v) is None]
        if len(set(names)) == 2:
            result = node.outputs[0]
            yield _Product(str(result.name), (names[0], names[1]), elements(shape_of(result) or ()))


def _only_mean(value: ir.Value) -> bool:
    while len(value.uses()) == 1:
        node = next(iter(value.uses())).node
        if node.op_type in _MEANS:
            return True
        if node.op_type not in _VIEWS:
            return False
        value = node.outputs[0]
    return False


@dataclass
class _Known:
    """What tensors lose on grids around zero, by their histograms."""

    groups: Mapping[str, str]
    grids: Mapping[str, SharedGrid]
    statistics: Mapping[str, Statistics]
    _spans: dict[str, Range] = field(default_factory=dict)
    _errors: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def loss(self, product: _Product) -> _Loss | None:
        """What grids around zero cost a product; None where a tensor is not known."""
        known = [e for e in map(self._error, product.tensors) if e is not None]
        if len(known) < len(product.tensors):
            return None
        sums = (sum(e[i] for e in known) for i in (0, 1))
        before, after = (round(float(-10 * np.log10(max(error, 1e-12))), _DIGITS) for error in sums)
        return _Loss(product.name, product.size, before, after)

    def around_zero(self, root: str) -> Range:
        """The range around zero with the least error for the tensors of a grid; rare values may saturate, as on any."""
        if root not in self._spans:
            low, high = self.grids[root].span
            spans = [(-reach, reach) for reach in max(-low, high) * np.array(_REACHES)]
            histograms = [h for n in self.grids[root].members if (h := self._histogram(n)) is not None]
            errors = sum(range_error(histogram, spans) for histogram in histograms)
            self._spans[root] = spans[int(np.argmin(errors))] if histograms else spans[0]
        return self._spans[root]

    def _histogram(self, name: str) -> Histogram | None:
        return self.statistics[name].histogram if name in self.statistics else None

    def _error(self, name: str) -> tuple[float, float] | None:
        """Relative error of a tensor, or of what it is a part of, on its grid and on one around zero."""
        root = self.groups.get(name, "")
        members = (name, *self.grids[root].members) if root in self.grids else ()
        known = next((n for n in members if self._histogram(n) is not None), None)
        histogram = self._histogram(known) if known is not None else None
        if known is None or histogram is None:
            return None
        if (root, known) not in self._errors:
            before, after = range_error(histogram, [self.grids[root].span, self.around_zero(root)])
            self._errors[root, known] = float(before), float(after)
        return self._errors[root, known]
