"""Zero point 0 for products that are summed, and for their factors.

A product on the NPU needs one ARITH unit, and one more for each factor whose zero point is not 0, or for its own; with
the mean behind it, two such products fit into one epoch instead of one ([#product-units]), so attention takes half the
time. Rounding the products themselves to 8 bits costs most of their accuracy ([#matmul-forms]), so a coarser factor
shows little behind their sums: the outputs on held-back samples decide, for groups of products that share grids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.graph.operators import MEANS, RESHAPES
from n6convert.graph.query import constant_of, elements, shape_of
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.grid.shared_grids import SharedGrid, shared_grids, shared_groups
from n6convert.quantization.grid.zero_points import give_ranges
from n6convert.quantization.ranges.calibrate import Statistics
from n6convert.quantization.ranges.estimators import Range, range_error
from n6convert.quantization.ranges.histogram import Histogram

__all__ = ["WORSE_DB", "ProductGroup", "SummedProducts", "affordable"]

#: dB by which all of them together may put the outputs further from float, by policy for zero points; some of them
#: may by their share of the cycles that all save
WORSE_DB = {"speed": np.inf, "balanced": 1.0, "accuracy": 0.5}
#: how far a grid around zero may reach, of what it covered
_REACHES = (1.0, 0.93, 0.86, 0.8, 0.74, 0.68, 0.6, 0.5)
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
class _Loss(_Product):
    """With its SQNR before and after in dB."""

    before_db: float
    after_db: float

    @property
    def lost_db(self) -> float:
        return self.before_db - self.after_db


@dataclass(frozen=True)
class ProductGroup:
    """Products that share grids, so that all of them get zero point 0 or none.

    Attributes:
        grids: that do not have it, by the name of their group of tensors.
        saved: cycles; half of what the products take.
        lost_db: what the product that loses most loses itself.
    """

    grids: tuple[str, ...]
    saved: float
    lost_db: float = 0.0


class SummedProducts:
    """The summed products of a model, in groups, and what ranges around zero do to them.

    Args:
        model: prepared.
        ranges: by tensor name; not changed.
        statistics: by tensor name.

    Attributes:
        groups: that do not have zero point 0 already, in graph order.
    """

    def __init__(self, model: ir.Model, ranges: Mapping[str, Range], statistics: Mapping[str, Statistics]) -> None:
        self._graph, self._ranges = model.graph, dict(ranges)
        products = list(_summed(model.graph))
        self._groups = shared_groups(model.graph, ranges) if products else {}
        self._grids = shared_grids(model.graph, self._groups, self._ranges) if products else {}
        self._known = _Known(self._groups, self._grids, statistics)
        self._losses: dict[str, list[_Loss]] = {}
        joined: dict[str, list[str]] = {}
        for loss in filter(None, map(self._known.loss, products)):
            roots = list(dict.fromkeys(self._groups[tensor] for tensor in loss.tensors))
            whole = list(dict.fromkeys(r for root in roots for r in (root, *joined.get(root, ()))))
            joined.update(dict.fromkeys(whole, whole))
            for root in roots:
                self._losses.setdefault(root, []).append(loss)
        distinct = {id(roots): roots for roots in joined.values()}
        self.groups = [group for roots in distinct.values() if (group := self._group(roots)) is not None]

    def _group(self, roots: Collection[str]) -> ProductGroup | None:
        wanted = tuple(r for r in self._losses if r in roots and Grid.from_range(*self._grids[r].span).zero_point != 0)
        losses = {loss.name: loss for root in wanted for loss in self._losses[root]}.values()
        if not wanted:
            return None
        return ProductGroup(wanted, sum(loss.size for loss in losses) / 2, max(loss.lost_db for loss in losses))

    def centered(self, chosen: Sequence[ProductGroup]) -> tuple[dict[str, Range], list[dict[str, Any]]]:
        """Ranges around zero for some groups, and a record of each grid of all.

        Args:
            chosen: of :attr:`groups`.

        Returns:
            Ranges by tensor name, and for each grid its first tensor, saved cycles, the SQNR of the product that loses
            most before and after, and whether it was taken.
        """
        ranges = dict(self._ranges)
        changed = {root: self._known.around_zero(root) for group in chosen for root in group.grids}
        if changed:
            give_ranges(self._graph, self._grids, ranges, changed)
        wanted = [root for group in self.groups for root in group.grids]
        return ranges, [_record(self._losses[root], self._grids[root], root in changed) for root in wanted]


def affordable(
    groups: Sequence[ProductGroup], lost_db: Callable[[Sequence[ProductGroup]], float], allowed_db: float
) -> list[ProductGroup]:
    """Groups that together lose at most their share of what all of them may, by the cycles that they save.

    All are tried at once; where they lose too much, those that lose least themselves for what they save, as many as
    bisection finds. Each trial is an INT8 model that is run on all held-back samples.

    Args:
        groups: to choose from.
        lost_db: dB by which outputs come further from float where some groups are taken.
        allowed_db: that all may lose.
    """
    whole = sum(group.saved for group in groups)

    def fits(trial: Sequence[ProductGroup]) -> bool:
        return lost_db(trial) <= allowed_db * sum(group.saved for group in trial) / whole

    if not groups or fits(groups):
        return list(groups)
    ranked = sorted(groups, key=lambda group: group.lost_db / group.saved)
    fitting, too_many = 0, len(ranked)
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        fitting, too_many = (middle, too_many) if fits(ranked[:middle]) else (fitting, middle)
    return ranked[:fitting]


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
        if node.op_type in MEANS:
            return True
        if node.op_type not in RESHAPES:
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
        return _Loss(product.name, product.factors, product.size, before, after)

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
