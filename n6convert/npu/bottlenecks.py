"""Why a network takes as long as it does: what every epoch waits for, the longest epochs, and what would change them.

A lever is priced by pricing the same schedule again with one thing changed: weights of 4 bits, zero points that
multiply 8x8 bits, activations on the chip, the epoch controller. Gains of several levers do not add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from n6convert.npu.advice import Advice
from n6convert.npu.costs import Costs
from n6convert.npu.cycles import is_fast
from n6convert.npu.epoch_cost import EpochCost
from n6convert.npu.ir import Epoch, Lowered, Schedule, Tensor, Where
from n6convert.npu.latency import epoch_costs
from n6convert.npu.memory import MemoryPlan
from n6convert.npu.placement import printed
from n6convert.npu.targets import Target

__all__ = ["BOUNDS", "Bottlenecks", "Lever", "LongEpoch", "find_bottlenecks"]

BOUNDS = ("compute", "flash", "memory", "external", "software", "hybrid", "overhead")
"""What time is spent on: computing units, weights from flash, activations on chip and outside, the CPU, starts."""
_SHOWN = 10
_LEAST_GAIN = 0.005
"""Of the whole time; smaller gains are not worth a line."""
_HALF = 0.5
_PICTURE = 4
"""Dimensions of a batch of pictures."""


@dataclass(frozen=True, slots=True)
class LongEpoch:
    """One of the longest epochs: what it waits for, what each resource alone needs, and what would help most."""

    epoch: int
    operators: str
    names: tuple[str, ...]
    bound: str
    milliseconds: float
    share: float
    needs: Mapping[str, float]
    """Milliseconds that computing, flash and memory would take each; they overlap."""
    lever: str | None = None
    gain: float = 0.0
    """Milliseconds that the lever saves here."""


@dataclass(frozen=True, slots=True)
class Lever:
    """One change to the whole network and the milliseconds that it would save."""

    name: str
    gain: float
    how: str


@dataclass(frozen=True, slots=True)
class Bottlenecks:
    """Milliseconds by bound, the longest epochs, and levers by gain."""

    milliseconds: Mapping[str, float]
    longest: tuple[LongEpoch, ...]
    levers: tuple[Lever, ...]


def find_bottlenecks(
    lowered: Lowered, plan: Schedule, costs: Costs, target: Target, advice: Sequence[Advice] = ()
) -> Bottlenecks:
    """What a priced schedule waits for, and what pricing it with one change would save.

    Args:
        lowered: operators of the graph.
        plan: their epochs.
        costs: cycles and time of each.
        target: board and compiler version.
        advice: what would bring operators back to the NPU.
    """
    total = costs.latency.milliseconds
    gains = {name: (how, _gains(costs, changed)) for name, how, changed in _changes(lowered, plan, costs, target)}
    levers = [Lever(name, sum(saved.values()), how) for name, (how, saved) in gains.items()]
    levers += _rewrites(advice)
    if total > 0:
        levers.append(_smaller_input(lowered, costs))
    levers = sorted((one for one in levers if one.gain > _LEAST_GAIN * total), key=lambda one: -one.gain)
    saved = {name: epochs for name, (_, epochs) in gains.items()} | {
        f"rewrite {line.rewrite}": dict.fromkeys(_of(line, plan), line.gain_microseconds / 1000 / max(1, line.epochs))
        for line in advice
        if line.rewrite
    }
    return Bottlenecks(_by_bound(costs), _longest(plan, costs, target, saved), tuple(levers))


def _changes(
    lowered: Lowered, plan: Schedule, costs: Costs, target: Target
) -> Iterable[tuple[str, str, Sequence[EpochCost]]]:
    """Levers that re-price the schedule: name, how to pull them, costs of the epochs then."""

    def priced(tensors: Mapping[str, Tensor], memory: MemoryPlan, board: Target) -> list[EpochCost]:
        return epoch_costs(replace(lowered, tensors=dict(tensors)), plan, memory, board)

    memory = costs.memory
    if target.has("int4_weights"):
        yield "weights of 4 bits", "core 3.0 and later; measure the accuracy", priced(_packed(lowered), memory, target)
    how = "convert with --set quantization.zero_points=speed; measure the accuracy"
    yield "zero points of -128 or 0", how, priced(_shifted(lowered, plan), memory, target)
    if memory.external:
        yield (
            "activations on the chip",
            "a smaller input (--largest finds it)",
            priced(lowered.tensors, _inside(memory, target), target),
        )
    if not target.epoch_controller:
        yield (
            "epoch controller",
            "--enable-epoch-controller",
            priced(lowered.tensors, memory, target.with_epoch_controller(True)),
        )


def _packed(lowered: Lowered) -> dict[str, Tensor]:
    weights = {op.inputs[1] for op in lowered.ops if op.conv is not None and len(op.inputs) > 1}
    return {
        name: replace(tensor, dtype="int4")
        if name in weights and tensor.constant and tensor.dtype == "int8"
        else tensor
        for name, tensor in lowered.tensors.items()
    }


def _shifted(lowered: Lowered, plan: Schedule) -> dict[str, Tensor]:
    read = {op.inputs[0] for epoch in plan.epochs for op in epoch.ops if op.conv is not None}
    return {
        name: replace(tensor, zero_point=-128)
        if name in read and tensor.quantized and not is_fast(tensor.zero_point, tensor.dtype)
        else tensor
        for name, tensor in lowered.tensors.items()
    }


def _inside(memory: MemoryPlan, target: Target) -> MemoryPlan:
    """The plan as if every buffer outside had a place in the slowest memory on chip."""
    onchip = [pool for pool in target.pools if pool.writable and not pool.external]
    if not onchip:
        return memory
    home = max(onchip, key=lambda pool: pool.cycles_per_byte)
    buffers = [replace(b, pool=home) if b.pool is not None and b.pool.external else b for b in memory.buffers]
    return replace(memory, buffers=buffers, external=0)


def _gains(costs: Costs, changed: Sequence[EpochCost]) -> dict[int, float]:
    """Milliseconds saved by epoch id."""
    then = {cost.id: cost.microseconds + cost.overhead for cost in changed}
    return {cost.id: (cost.microseconds + cost.overhead - then[cost.id]) / 1000 for cost in costs.epochs}


def _rewrites(advice: Sequence[Advice]) -> list[Lever]:
    gains: dict[str, float] = {}
    for line in advice:
        if line.rewrite:
            gains[line.rewrite] = gains.get(line.rewrite, 0.0) + line.gain_microseconds / 1000
    return [Lever(f"rewrite {name}", gain, "n6convert convert or rewrite") for name, gain in gains.items()]


def _smaller_input(lowered: Lowered, costs: Costs) -> Lever:
    """Half the pixels, or half the length: weights stay, everything that runs over maps halves."""
    stays = sum(cost.microseconds for cost in costs.epochs if cost.bound == "flash") / 1000
    starts = sum(cost.overhead for cost in costs.epochs) / 1000
    gain = _HALF * max(0.0, costs.latency.milliseconds - stays - starts)
    shapes = [lowered.tensors[name].shape for name in lowered.inputs if name in lowered.tensors]
    largest = max(shapes, key=math.prod, default=())
    height, width = _sides(largest)
    if min(height, width) > 1:
        smaller = f"{round(height * _HALF**0.5)}x{round(width * _HALF**0.5)}"
        return Lever(
            "an input of half the pixels", gain, f"about {smaller} instead of {height}x{width}; a rough figure"
        )
    return Lever("an input of half the length", gain, "where the task allows it; a rough figure")


def _sides(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of a batch of pictures, channels first or last; ones for any other shape."""
    if len(shape) != _PICTURE:
        return 1, 1
    return (shape[1], shape[2]) if shape[3] < min(shape[1:3]) else (shape[2], shape[3])


def _of(line: Advice, plan: Schedule) -> list[int]:
    names = set(line.operators)
    return [epoch.id for epoch in plan.epochs if epoch.ops and epoch.ops[0].name in names]


def _by_bound(costs: Costs) -> dict[str, float]:
    found = dict.fromkeys(BOUNDS, 0.0)
    for cost in costs.epochs:
        if cost.waits_for in found:
            found[cost.waits_for] += cost.microseconds / 1000
    found["overhead"] = max(0.0, costs.latency.milliseconds - sum(found.values()))
    return {name: value for name, value in found.items() if value > 0}


def _longest(
    plan: Schedule, costs: Costs, target: Target, saved: Mapping[str, Mapping[int, float]]
) -> tuple[LongEpoch, ...]:
    epochs = {epoch.id: epoch for epoch in plan.epochs}
    ranked = sorted(costs.epochs, key=lambda cost: -(cost.microseconds + cost.overhead))[:_SHOWN]
    return tuple(
        _long(epochs[cost.id], cost, costs.latency.milliseconds, target, saved)
        for cost in ranked
        if cost.microseconds + cost.overhead > 0
    )


def _long(
    epoch: Epoch, cost: EpochCost, total: float, target: Target, saved: Mapping[str, Mapping[int, float]]
) -> LongEpoch:
    milliseconds = (cost.microseconds + cost.overhead) / 1000
    best = max(saved, key=lambda name: saved[name].get(epoch.id, 0.0), default=None)
    gain = saved[best].get(epoch.id, 0.0) if best is not None else 0.0
    helps = gain > _LEAST_GAIN * milliseconds
    working = [op for op in epoch.ops if op.where is not Where.NONE]
    return LongEpoch(
        epoch=epoch.id,
        operators="+".join(printed(op, target.version) for op in working),
        names=tuple(dict.fromkeys(name for op in working for name in (op.sources or (op.name,)))),
        bound=cost.waits_for,
        milliseconds=milliseconds,
        share=milliseconds / total if total else 0.0,
        needs={name: value / 1000 for name, value in cost.needs.items()},
        lever=best if helps else None,
        gain=gain if helps else 0.0,
    )
