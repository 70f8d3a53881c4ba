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

from n6convert.graph.operators import ARITHMETIC, VIEWS
from n6convert.npu.epoch_cost import EpochCost
from n6convert.npu.evidence import is_thin
from n6convert.npu.ir import Epoch, Lowered, Op, Schedule, Tensor, Where

if TYPE_CHECKING:
    from n6convert.npu.targets import Target

__all__ = ["FEATURES", "Shares", "frame_of", "kinds_of", "limits_of", "reasons_of", "shares_of", "sigma", "widths"]

FEATURES = ("external", "repeated", "software", "thin", "new")
"""Shares of the time: external RAM, maps there that move more than once, the CPU, rules of thin evidence, operators
that no measured network has."""
_WORDS = {
    "external": "in external RAM",
    "repeated": "in maps of external RAM that are moved more than once",
    "software": "on the CPU",
    "thin": "decided by rules seen in one report only",
    "new": "in operators that no measured network has with this compiler",
}


@dataclass(frozen=True, slots=True)
class Shares:
    """What a network has, as shares of its predicted time (0..1); they may overlap."""

    external: float = 0.0
    repeated: float = 0.0
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


def frame_of(lowered: Lowered, version: tuple[int, int]) -> str:
    """What an operator was measured in: the front end that reads the file, and the compiler's generation."""
    return f"{'tflite' if lowered.style == 'tflite' else 'onnx'} {version[0]}.x"


def kinds_of(epoch: Epoch, tensors: Mapping[str, Tensor], frame: str) -> frozenset[str]:
    """Operators of an epoch with the place where they run and what they are read and compiled by; copies are none.

    Args:
        epoch: any.
        tensors: by name.
        frame: front end and generation of the compiler.
    """
    return frozenset(f"{_form(op, tensors)} {op.where.value} {frame}" for op in epoch.ops if op.kind not in VIEWS)


def _form(op: Op, tensors: Mapping[str, Tensor]) -> str:
    """Operators that cost alike: convolutions by size and groups, arithmetic apart where an activation repeats or where
    a constant has more than one value (a BatchNormalization that could not be folded)."""
    if op.kind == "Conv" and op.conv is not None:
        height, width = op.conv.kernel
        size = "1x1" if height == width == 1 else "row" if 1 in (height, width) else "3x3" if height <= 3 else "large"
        groups = "depthwise " if op.conv.depthwise else "grouped " if op.conv.groups > 1 else ""
        return f"{groups}Conv {size}"
    if op.kind in ARITHMETIC and op.outputs:
        read = [tensors[name].elements for name in op.inputs if name in tensors and not tensors[name].constant]
        if len(read) > 1 and min(read) < tensors[op.outputs[0]].elements:
            return f"{op.kind} repeated"
        constants = (tensors[name] for name in op.inputs if name in tensors and tensors[name].constant)
        return f"{op.kind} vector" if any(tensor.elements > 1 for tensor in constants) else op.kind
    return op.kind


def shares_of(
    lowered: Lowered, schedule: Schedule, costs: Sequence[EpochCost], frame: str, known: Iterable[str] | None = None
) -> Shares:
    """Shares of the features.

    Args:
        lowered: the operators, for their tensors.
        schedule: predicted epochs.
        costs: their times.
        frame: of :func:`frame_of`.
        known: kinds of operators that count as measured; default: those in use. New ones weigh by their time or by
            their number, whichever is more: how long they take is what nobody knows.
    """
    measured = frozenset(widths()["kinds"] if known is None else known)
    times = {cost.id: cost.microseconds + cost.overhead for cost in costs}
    total = sum(times.values()) or 1.0
    by_id = {epoch.id: epoch for epoch in schedule.epochs}
    starts = sum(cost.overhead for cost in costs if cost.kind is Where.HW) / total
    new = [cost.id for cost in costs if kinds_of(by_id[cost.id], lowered.tensors, frame) - measured]

    def share(ids: Iterable[int]) -> float:
        return sum(times[number] for number in ids) / total

    return Shares(
        external=share(cost.id for cost in costs if cost.external),
        repeated=share(cost.id for cost in costs if cost.repeated),
        software=share(cost.id for cost in costs if cost.kind is not Where.HW) + starts,
        thin=share(cost.id for cost in costs if cost.inferred or _thin(by_id[cost.id])),
        new=max(share(new), len(new) / max(1, len(costs))),
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
