"""How to move operators to the NPU: those off it ranked by cost, with the gain of moving each.

A gain is the predicted time of an operator's epochs, with the conversions around it, less the time of the hardware
epochs that replace it (one element per cycle and a fixed start for each; [#convolution-plan], [#epoch-time],
[#transformers]). All gains are inferred.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from n6convert.graph.operators import CONVERSIONS
from n6convert.npu.costs import Costs
from n6convert.npu.cycles import conv_plan, is_fast
from n6convert.npu.ir import Epoch, Lowered, Op, Schedule, Tensor, Where
from n6convert.npu.placement import printed
from n6convert.npu.targets import Target

__all__ = ["Advice", "ZeroPointAdvice", "advise", "advise_zero_points"]

_START_CYCLES = 2000
"""Fixed cycles of a hardware epoch ([#epoch-time])."""
_REPLACEMENT: Mapping[str, tuple[float, int]] = {
    "softmax-decompose": (5.0, 8),
    "layernorm-decompose": (1.0, 2),
    "prelu-to-relu": (2.0, 1),
    "resize-to-conv": (2.0, 2),
    "matmul-to-mul-mean": (0.0, 2),
}
"""Rewrite -> passes over the tensor and epochs of its hardware form ([#transformers], [#combinations]); others: one
pass, one epoch."""
_PRODUCT_PASSES = 1.8
"""Elements per MAC of a product written as multiplication and mean, copies included ([#transformers]: 1.31 .. 2.25)."""
_VIEWS_BETWEEN = 3
"""Reshapes that may lie between a conversion and its operator, plus one."""
_CONVERSIONS = CONVERSIONS | {"Cast"}


@dataclass(frozen=True, slots=True)
class Advice:
    """One line: operators of one kind that share a reason, what they cost, and what would bring them back."""

    op: str
    epochs: int
    microseconds: float
    gain_microseconds: float
    reason: str
    evidence: str
    remedy: str | None
    rewrite: str | None
    operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ZeroPointAdvice:
    """Convolutions whose input has a zero point other than -128 and 0, and the cycles that another one would save."""

    convolutions: int
    gain_cycles: int
    gain_microseconds: float
    tensors: tuple[str, ...] = ()


def _elements(op: Op, tensors: Mapping[str, Tensor]) -> int:
    return max((tensors[name].elements for name in (*op.inputs, *op.outputs) if not tensors[name].constant), default=0)


def _hardware_microseconds(op: Op, tensors: Mapping[str, Tensor], target: Target) -> float:
    passes, epochs = _REPLACEMENT.get(op.rewrite or "", (1.0, 1))
    work = passes * _elements(op, tensors)
    if op.rewrite == "matmul-to-mul-mean":
        work = _PRODUCT_PASSES * op.macs
    return (work + epochs * _START_CYCLES) / target.clocks.npu


def advise(lowered: Lowered, plan: Schedule, costs: Costs, target: Target) -> list[Advice]:
    """Operators off the NPU, most expensive first; conversions are attributed to the operator that causes them.

    Args:
        lowered: operators of the graph.
        plan: their epochs.
        costs: cycles and time of each.
        target: board and compiler version.
    """
    times = {epoch.id: epoch.microseconds + epoch.overhead for epoch in costs.epochs}
    groups: dict[tuple[str, str], list[tuple[Epoch, Op, float]]] = defaultdict(list)
    writers, readers = _neighbors(plan)
    extra: dict[int, float] = defaultdict(float)
    for epoch in plan.epochs:
        if epoch.kind in (Where.SW, Where.HYBRID) and epoch.ops[0].kind in _CONVERSIONS:
            cause = _cause(epoch.ops[0], writers, readers)
            if cause is not None:
                extra[id(cause)] += times.get(epoch.id, 0.0)
                continue
        if epoch.kind in (Where.SW, Where.HYBRID):
            op = epoch.ops[0]
            groups[op.rule, str(op.attributes.get("operator", op.kind))].append((epoch, op, times.get(epoch.id, 0.0)))
    lines = [_line(name, found, extra, lowered.tensors, target) for (_, name), found in groups.items()]
    return sorted(lines, key=lambda line: -line.microseconds)


def _neighbors(plan: Schedule) -> tuple[dict[str, Op], dict[str, list[Op]]]:
    writers: dict[str, Op] = {}
    readers: dict[str, list[Op]] = defaultdict(list)
    for epoch in plan.epochs:
        for op in epoch.ops:
            writers.update(dict.fromkeys(op.outputs, op))
            for name in op.inputs:
                readers[name].append(op)
    return writers, readers


def _cause(conversion: Op, writers: Mapping[str, Op], readers: Mapping[str, list[Op]]) -> Op | None:
    """The software operator that a conversion serves: behind a Dequantize, in front of a Quantize or Cast."""
    forward = conversion.kind == "DequantizeLinear"
    near = [conversion]
    for _ in range(_VIEWS_BETWEEN):
        if forward:
            near = [op for one in near for name in one.outputs for op in readers.get(name, ())]
        else:
            near = [writers[name] for one in near for name in one.inputs if name in writers]
        found = next((op for op in near if op.where in (Where.SW, Where.HYBRID) and op.kind not in _CONVERSIONS), None)
        if found is not None:
            return found
        near = [op for op in near if op.where is Where.NONE]
    return None


def _line(
    operator: str,
    found: list[tuple[Epoch, Op, float]],
    extra: Mapping[int, float],
    tensors: Mapping[str, Tensor],
    target: Target,
) -> Advice:
    total = sum(time + extra.get(id(op), 0.0) for _, op, time in found)
    hardware = sum(_hardware_microseconds(op, tensors, target) for _, op, _ in found)
    first = found[0][1]
    kinds = {printed(op, target.version) for _, op, _ in found}
    return Advice(
        op=kinds.pop() if len(kinds) == 1 else operator,
        epochs=len(found),
        microseconds=round(total, 1),
        gain_microseconds=round(max(0.0, total - hardware), 1) if first.remedy else 0.0,
        reason=first.reason,
        evidence=first.evidence,
        remedy=first.remedy,
        rewrite=first.rewrite,
        operators=tuple(dict.fromkeys(op.name for _, op, _ in found)),
    )


def advise_zero_points(lowered: Lowered, plan: Schedule, costs: Costs, target: Target) -> ZeroPointAdvice | None:
    """What zero points of -128 or 0 at convolution inputs would save ([#zero-points]); None when all are fast
    already.

    Args:
        lowered: operators of the graph.
        plan: their epochs.
        costs: cycles and time of each.
        target: board and compiler version.
    """
    bounds = {epoch.id: epoch.bound for epoch in costs.epochs}
    slow: dict[str, None] = {}
    count, cycles = 0, 0.0
    for epoch in plan.epochs:
        for op in epoch.ops:
            if op.conv is None or not op.units.conv or epoch.kind is not Where.HW:
                continue
            source = lowered.tensors[op.inputs[0]]
            if is_fast(source.zero_point, source.dtype):
                continue
            count += 1
            slow[source.name] = None
            if bounds.get(epoch.id) == "compute":
                now, then = (conv_plan(op.conv, fast, target.version).cycles for fast in (False, True))
                cycles += max(0.0, now - then)
    if not count:
        return None
    return ZeroPointAdvice(count, round(cycles), round(cycles / target.clocks.npu, 1), tuple(slow))
