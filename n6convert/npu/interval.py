"""How far a predicted time may be off: quantiles of the errors on held-out families, by what a network has.

``targets/interval.yaml`` holds the widths. ``make bench-npu-interval`` writes it from every measured network, predicted
without its family, so that nine in ten of them lie inside (split conformal over families).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from n6convert.npu.evidence import is_thin
from n6convert.npu.ir import Epoch, Schedule, Where

if TYPE_CHECKING:
    from n6convert.npu.latency import EpochCost
    from n6convert.npu.targets import Target

__all__ = ["FEATURES", "Shares", "kinds_of", "limits_of", "reasons_of", "shares_of", "sigma", "widths"]

FEATURES = ("external", "software", "thin", "new")
"""Shares of the time: external RAM, the CPU, rules of thin evidence, operators that no measured network has."""
_COPIES = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout"})
_WORDS = {
    "external": "in external RAM",
    "software": "on the CPU",
    "thin": "decided by rules seen in one report only",
    "new": "in operators that no measured network has",
}


@dataclass(frozen=True, slots=True)
class Shares:
    """What a network has, as shares of its predicted time (0..1); they may overlap."""

    external: float = 0.0
    software: float = 0.0
    thin: float = 0.0
    new: float = 0.0

    def named(self) -> dict[str, float]:
        """By feature."""
        return {name: float(getattr(self, name)) for name in FEATURES}


@lru_cache(maxsize=1)
def widths() -> Mapping[str, Any]:
    """The calibrated widths: ``base``, one slope a feature, ``quantile``, the kinds of operators that were measured."""
    import yaml

    text = resources.files("n6convert.npu.targets").joinpath("interval.yaml").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = yaml.safe_load(text)
    return loaded


def kinds_of(epoch: Epoch) -> frozenset[str]:
    """Operators of an epoch with the place where they run; copies and views are none."""
    return frozenset(f"{op.kind} {op.where.value}" for op in epoch.ops if op.kind not in _COPIES)


def shares_of(schedule: Schedule, costs: Sequence[EpochCost], known: Iterable[str] | None = None) -> Shares:
    """Shares of the features; ``known`` are the kinds of operators that count as measured (default: those in use).

    Args:
        schedule: predicted epochs.
        costs: their times.
        known: kinds of operators that count as measured; None: those in use.
    """
    measured = frozenset(widths()["kinds"] if known is None else known)
    times = {cost.id: cost.microseconds + cost.overhead for cost in costs}
    total = sum(times.values()) or 1.0
    by_id = {epoch.id: epoch for epoch in schedule.epochs}

    starts = sum(cost.overhead for cost in costs if cost.kind is Where.HW) / total

    def share(ids: Iterable[int]) -> float:
        return sum(times[number] for number in ids) / total

    return Shares(
        external=share(cost.id for cost in costs if cost.external),
        software=share(cost.id for cost in costs if cost.kind is not Where.HW) + starts,
        thin=share(cost.id for cost in costs if cost.inferred or _thin(by_id[cost.id])),
        new=share(cost.id for cost in costs if kinds_of(by_id[cost.id]) - measured),
    )


def _thin(epoch: Epoch) -> bool:
    return any(is_thin(op.evidence) for op in epoch.ops if op.where is not Where.NONE)


def sigma(shares: Shares, table: Mapping[str, Any]) -> float:
    """Typical error of a prediction as a natural logarithm, before the quantile."""
    spread = [float(table["slopes"][name]) * value for name, value in shares.named().items()]
    return math.hypot(float(table["base"]), *spread)


def limits_of(milliseconds: float, shares: Shares, target: Target) -> tuple[float, float]:
    """Least and largest time; a board that nobody measured has an error of its own on top.

    Args:
        milliseconds: the prediction.
        shares: of what the network contains.
        target: board and compiler version.
    """
    table = widths()
    width = math.hypot(float(table["quantile"]) * sigma(shares, table), target.unmeasured)
    return milliseconds * math.exp(-width), milliseconds * math.exp(width)


def reasons_of(shares: Shares) -> list[str]:
    """What widens the interval, the largest first: ``41 % of the time in external RAM``."""
    table = widths()
    weighed = {name: float(table["slopes"][name]) * value for name, value in shares.named().items()}
    found = sorted((name for name in FEATURES if weighed[name] > float(table["base"]) / 2), key=lambda n: -weighed[n])
    return [f"{shares.named()[name]:.0%} of the time {_WORDS[name]}" for name in found]
