"""Predictions of families of networks that had no say: leave one family out, newer from older, intervals.

Held out means: the factors of the time's parts are fitted on other families, constants that rest on the family alone
take the value they had without it, operators that only it has count as never measured, and the interval is calibrated
without it. What stays seen is the choice of terms: whoever made them knew all rows.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from npu_measurements import Measured, load
from numpy.typing import NDArray

from n6convert.npu import Estimate, estimate
from n6convert.npu.ends import Ends
from n6convert.npu.interval import FEATURES, Shares, frame_of, kinds_of, shares_of, sigma
from n6convert.npu.options import STOCK, CompilerOptions
from n6convert.npu.targets import Target, load_target, shared
from n6convert.operators.versions import Version, has, holds

__all__ = [
    "PARTS",
    "Forecast",
    "Held",
    "calibrate",
    "forecast",
    "groups",
    "held_out",
    "lean_constants",
    "newer_from_older",
]

PARTS = ("compute", "flash", "memory", "external", "software", "hybrid", "overhead")
_KERNELS = "software.kernels."
_LEAN_FEATURES = {
    "keras_exports": frozenset({"efficientnetv2", "EfficientNet LC"}),
    "keras_swish": frozenset({"efficientnetv2"}),
    "batch_normalization": frozenset({"ResNet50"}),
}
"""Features of compilers (operators/compiler.yaml) whose absence in older ones rests on families of networks alone."""
_COVERAGE = 0.94
"""At 0.9 the rows of 88 % of the families lie inside when they are left out, at this 94 %."""
_PULL = 0.3
_ROUNDS, _USUAL = 20, 0.05
"""Reweighting: rounds, and the relative error up to which a row counts in full."""
_LEAST_SHARE = 0.1
"""Share of the time in external RAM from which a network counts as one that uses it."""
_FLOORS, _CEILINGS = np.array([0.1, 0.3, 0.05, 0.05, 0.1]), np.array([0.4, 0.6, 0.6, 0.3, 0.3])
"""No slope below what is never taken for granted, none beyond what would be no statement any more. What moves more than
once in external RAM was measured in one family only: no hold-out can say how far it is off, so its floor is high."""
_SLOPES = np.array([0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0])
_BASES = np.array([0.1, 0.12, 0.15])
"""Never below: a narrow base would let a few odd families set the quantile that all networks get."""


@dataclass
class Forecast:
    """A measured row with its prediction: milliseconds by part, and what an interval needs to know."""

    case: Measured
    found: Estimate
    parts: NDArray[np.float64]
    kinds: frozenset[str]

    @property
    def predicted(self) -> float:
        return float(self.parts.sum())

    @property
    def error(self) -> float:
        return self.predicted / self.case.milliseconds - 1


@dataclass
class Held:
    """One row as others predict it: milliseconds, shares of the features, and the natural logarithm of its error."""

    row: Forecast
    predicted: float
    shares: Shares
    width: float = 0.0

    @property
    def error(self) -> float:
        return self.predicted / self.row.case.milliseconds - 1

    @property
    def residual(self) -> float:
        return math.log(self.row.case.milliseconds / self.predicted)

    @property
    def inside(self) -> bool:
        return abs(self.residual) <= self.width


def forecast(case: Measured, without: frozenset[str] = frozenset()) -> Forecast:
    """Predict a row; ``without`` names constants that take the value they had before their evidence."""
    target = _lean(load_target(case.target).with_epoch_controller(case.controller), without)
    with _unheard_of(without & _LEAN_FEATURES.keys()):
        options = (
            CompilerOptions(Ends(input_channels="chlast", output_channels="chlast")) if case.channels_last else STOCK
        )
        found = estimate(load(case.source), target, options=options)
    parts = dict.fromkeys(PARTS, 0.0)
    for cost in found.costs.epochs:
        name = "external" if cost.external and cost.bound == "memory" else cost.bound
        if name in parts:
            parts[name] += cost.microseconds / 1000
        parts["overhead"] += cost.overhead / 1000
    parts["overhead"] += found.costs.latency.milliseconds - sum(parts.values())
    frame = _frame(case, found)
    kinds = frozenset().union(*(kinds_of(epoch, found.lowered.tensors, frame) for epoch in found.schedule.epochs))
    return Forecast(case, found, np.array(list(parts.values())), kinds)


def _frame(case: Measured, found: Estimate) -> str:
    """Of the file that was measured, not of the graph that stands in for it."""
    frame = frame_of(found.lowered, found.target.version)
    return frame.replace("onnx", "tflite") if case.tflite else frame


def lean_constants() -> dict[str, tuple[frozenset[str], float]]:
    """Constants of thin evidence: name -> the families it rests on, and its value without them."""

    def walk(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, tuple[frozenset[str], float]]]:
        for key, value in node.items():
            if isinstance(value, dict) and "families" in value:
                yield prefix + key, (frozenset(value["families"]), float(value["without"]))
            elif isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")

    return dict(walk(shared(), "")) | {name: (owners, 0.0) for name, owners in _LEAN_FEATURES.items()}


def _lean(target: Target, without: frozenset[str]) -> Target:
    values = {name: value for name, (_, value) in lean_constants().items() if name in without - _LEAN_FEATURES.keys()}
    kernels = dict(target.kernels)
    for name in [name for name in values if name.startswith(_KERNELS)]:
        kernel = name.removeprefix(_KERNELS)
        kernels[kernel] = replace(kernels[kernel], cycles=values.pop(name))
    return replace(target, constants={**target.constants, **values}, kernels=kernels) if without else target


@contextlib.contextmanager
def _unheard_of(names: frozenset[str]) -> Iterator[None]:
    """As if nobody knew that compilers before the feature's own do otherwise."""
    from n6convert.npu import frontend
    from n6convert.npu.lowering import elementwise
    from n6convert.npu.rules import base

    def lean(version: Version, name: str) -> bool:
        return name in names or has(version, name)

    def lean_holds(version: Version, *, needs: str | None, without: str | None, since: Version | None) -> bool:
        kept = None if needs in names else needs
        return without not in names and holds(version, needs=kept, without=without, since=since)

    try:
        _let(frontend, elementwise, base, lean if names else has, lean_holds if names else holds)
        yield
    finally:
        _let(frontend, elementwise, base, has, holds)


def _let(frontend: Any, elementwise: Any, base: Any, asked: Any, held: Any) -> None:
    frontend.has = elementwise.has = asked
    base.holds = held


def _unsupported(families: set[str]) -> frozenset[str]:
    """Constants that none of these families supports."""
    return frozenset(name for name, (owners, _) in lean_constants().items() if not owners & families)


def _fit(rows: Sequence[Forecast]) -> NDArray[np.float64]:
    """Factors of the parts: least absolute relative errors by reweighting, every family weighted alike, pulled to 1.

    Absolute, so that a row that nobody explains does not shift the constants of all others.
    """
    sizes = Counter(row.case.family for row in rows)
    shares = np.array([row.parts / row.case.milliseconds for row in rows])
    weights = np.array([1 / sizes[row.case.family] for row in rows])
    factors, goal = np.ones(len(PARTS)), np.ones(len(rows))
    for _ in range(_ROUNDS):
        scale = np.sqrt(weights * _USUAL / np.maximum(np.abs(shares @ factors - goal), _USUAL))
        system = np.vstack([shares * scale[:, None], _PULL * np.eye(len(PARTS))])
        wanted = np.concatenate([goal * scale, np.full(len(PARTS), _PULL)])
        factors = np.linalg.lstsq(system, wanted, rcond=None)[0]
    return np.asarray(factors)


def _hold(chosen: Sequence[Forecast], others: Sequence[Forecast]) -> list[Held]:
    """Predict some rows with what the others know."""
    families = {row.case.family for row in others}
    without, factors = _unsupported(families), _fit(others)
    known = frozenset().union(*(row.kinds for row in others))
    held = []
    for row in chosen:
        own = {name for name, (owners, _) in lean_constants().items() if row.case.family in owners}
        seen = forecast(row.case, without) if without & own else row
        found = seen.found
        shares = shares_of(found.lowered, found.schedule, found.costs.epochs, _frame(row.case, found), known)
        held.append(Held(row, float(seen.parts @ factors), shares))
    return held


def held_out(rows: Sequence[Forecast]) -> tuple[list[Held], dict[str, Any]]:
    """Every family predicted by all others with an interval calibrated on the others; and the calibration on all."""
    families = list(dict.fromkeys(row.case.family for row in rows))
    held = [one for family in families for one in _hold(*_parted(rows, lambda row, f=family: row.case.family == f))]
    for family in families:
        own, others = _parted(held, lambda one, f=family: one.row.case.family == f)
        table = calibrate(others)
        for one in own:
            one.width = table["quantile"] * sigma(one.shares, table)
    return held, calibrate(held)


def _parted(rows: Sequence[Any], chosen: Callable[[Any], bool]) -> tuple[list[Any], list[Any]]:
    return [row for row in rows if chosen(row)], [row for row in rows if not chosen(row)]


def newer_from_older(rows: Sequence[Forecast]) -> list[Held]:
    """The newer evidence (reports above r17, the last rows of the table) predicted with what the older knows."""
    newer, older = _parted(rows, lambda row: row.case.newer)
    _, table = held_out(older)
    held = _hold(newer, older)
    for one in held:
        one.width = table["quantile"] * sigma(one.shares, table)
    return held


def calibrate(held: Sequence[Held]) -> dict[str, Any]:
    """Widths by what a network has: slopes by likelihood, then quantiles over families.

    The quantile is that of split conformal prediction with families as the exchangeable units; first of the networks
    on chip, then the slope of external RAM is the least that holds as many of the others.
    """
    outside, onchip = _parted(held, lambda one: one.shares.external > _LEAST_SHARE)
    base, slopes = _widths(onchip)
    table = {"base": base, "slopes": dict(zip(FEATURES, map(float, slopes), strict=True)), "quantile": 1.0}
    table["quantile"] = _quantile(onchip, lambda one: abs(one.residual) / sigma(one.shares, table))
    missing = _quantile(outside, lambda one: _slope_to_hold(one, table)) if outside else 0.0
    table["slopes"]["external"] = float(min(_CEILINGS[0], max(table["slopes"]["external"], missing)))
    return table


def _quantile(held: Sequence[Held], score: Callable[[Held], float]) -> float:
    """The score that nine in ten families keep, each row weighing by its family."""
    sizes = Counter(one.row.case.family for one in held)
    weights = np.array([1 / sizes[one.row.case.family] for one in held])
    scores = np.array([score(one) for one in held])
    level = min(1.0, _COVERAGE * (len(sizes) + 1) / len(sizes))
    order = np.argsort(scores)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(scores[order][min(len(held) - 1, int(np.searchsorted(reached, level - 1e-9)))])


def _slope_to_hold(one: Held, table: dict[str, Any]) -> float:
    """Slope of external RAM that makes the interval just hold a row."""
    plain = sigma(replace(one.shares, external=0.0), table)
    needed = (one.residual / table["quantile"]) ** 2 - plain**2
    return math.sqrt(max(0.0, needed)) / one.shares.external


def _widths(held: Sequence[Held]) -> tuple[float, NDArray[np.float64]]:
    """Base and slopes: Laplace likelihood by coordinate search on a grid, families weighing alike.

    A slope that no row asks for keeps its floor: what is thin or new is never taken for granted.
    """
    sizes = Counter(one.row.case.family for one in held)
    weights = np.array([1 / sizes[one.row.case.family] for one in held])
    errors = np.array([abs(one.residual) for one in held])
    shares = np.array([[one.shares.named()[name] for name in FEATURES] for one in held])

    def loss(base: float, slopes: NDArray[np.float64]) -> float:
        widths = np.sqrt(base**2 + (shares**2) @ (slopes**2))
        return float(np.sum(weights * (np.log(widths) + errors / widths)))

    base, slopes = 0.05, _FLOORS.copy()
    for _ in range(6):
        base = float(min(_BASES, key=lambda value: loss(float(value), slopes)))
        for index, (floor, ceiling) in enumerate(zip(_FLOORS, _CEILINGS, strict=True)):
            grid = _SLOPES[(floor <= _SLOPES) & (ceiling >= _SLOPES)]
            trials = [np.where(np.arange(len(FEATURES)) == index, value, slopes) for value in grid]
            slopes = min(trials, key=lambda trial: loss(base, trial))
    return base, slopes


def groups(held: Sequence[Held]) -> dict[str, list[Held]]:
    """All rows, networks on chip and with external RAM in use, single layers."""
    layers, networks = _parted(held, lambda one: one.row.case.family == "single layers")
    outside, inside = _parted(networks, lambda one: one.row.found.costs.memory.external > 0 or one.row.case.external)
    return {"networks": networks, "on chip": inside, "external RAM in use": outside, "single layers": layers}
