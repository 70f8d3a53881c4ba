"""Board time of a schedule in milliseconds, with an interval and the assumptions it rests on ([#board-time]).

A hardware epoch takes as long as its slowest resource: computing units, weights from flash at the board's measured
bandwidth, or activations in their pools; a fixed start is added, and the streamed vectors of wide layers. Software and
hybrid epochs cost CPU cycles per element, byte or MAC. The epoch controller joins consecutive hardware epochs, so that
the CPU pays once per run instead of once per epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from n6convert.npu.cycles import epoch_cycles, plan_of
from n6convert.npu.epoch_cost import EpochCost
from n6convert.npu.interval import Shares, limits_of, reasons_of
from n6convert.npu.ir import Epoch, Lowered, Schedule, Tensor, Where
from n6convert.npu.memory import MemoryPlan
from n6convert.npu.rules.limits import SOFTMAX_EPOCHS
from n6convert.npu.software_time import software_time, switch_time
from n6convert.npu.st.mpool import MemoryPool
from n6convert.npu.streams import PoolTraffic, epoch_traffic, is_idle, max_cycles, moved_again, vector_bytes
from n6convert.npu.targets import Target

__all__ = ["Latency", "epoch_costs", "latency"]


_TILE = (8, 32)
"""Kernels and input channels that four units take at once ([#convolution-plan])."""


@dataclass(slots=True)
class Latency:
    """Predicted time of one inference; nine in ten networks of held-out families lie between ``low`` and ``high``."""

    milliseconds: float
    low: float
    high: float
    parts: dict[str, float] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)


def epoch_costs(lowered: Lowered, schedule: Schedule, memory: MemoryPlan, target: Target) -> list[EpochCost]:
    """Cycles and time of every epoch of the schedule.

    Args:
        lowered: operators of the graph.
        schedule: their epochs.
        memory: where the tensors lie.
        target: board and compiler version.
    """
    pools = memory.locations()
    starts = {first for first, _ in schedule.blobs}
    hardware = [epoch.id for epoch in schedule.epochs if epoch.kind is Where.HW and not is_idle(epoch)]
    first, last = (hardware[0], hardware[-1]) if hardware else (0, 0)
    return [
        EpochCost(epoch.id, epoch.kind, 0, 0, 0, 0, "nothing")
        if is_idle(epoch)
        else _cost(epoch, lowered.tensors, pools, target, epoch.id in starts, first < epoch.id < last)
        for epoch in schedule.epochs
    ]


def _cost(
    epoch: Epoch, tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], target: Target,
    starts_blob: bool, between: bool,
) -> EpochCost:  # fmt: skip
    traffic = epoch_traffic(epoch, tensors, pools, target)
    estimate = max_cycles(epoch, tensors, traffic, target)
    if epoch.kind is not Where.HW:
        microseconds, switch = software_time(epoch, tensors, pools, target), switch_time(target) if between else 0.0
        outside = _outside(epoch, pools)
        return EpochCost(epoch.id, epoch.kind, 0, estimate, microseconds, switch, _bound(epoch), external=outside)
    resources = _resources(epoch, tensors, pools, traffic, target)
    bound = max(resources, key=lambda name: resources[name])
    cycles = resources[bound] + target.constants["hardware_epoch.start_cycles"]
    cycles += _fill(epoch, tensors, resources, target) + _vectors(epoch, tensors, target) + _tiles(epoch, target)
    overhead = _hardware_overhead(epoch, target, starts_blob)
    compute = epoch_cycles(epoch, tensors, target.version)
    needs = {name: value / target.clocks.npu for name, value in resources.items()}
    return EpochCost(
        epoch.id, epoch.kind, compute, estimate, cycles / target.clocks.npu, overhead, bound, needs,
        _outside(epoch, pools), moved_again(epoch, tensors, pools, traffic, target),
        _inferred(epoch, tensors, target),
    )  # fmt: skip


def _outside(epoch: Epoch, pools: Mapping[str, MemoryPool]) -> bool:
    return any(name in pools and pools[name].external for name in (*epoch.inputs, *epoch.outputs))


def _inferred(epoch: Epoch, tensors: Mapping[str, Tensor], target: Target) -> tuple[str, ...]:
    """Constants that rest on two families of networks at most and decide this epoch."""
    tall = _compute(epoch, tensors, target) > epoch_cycles(epoch, tensors, target.version)
    found = {"large_kernels.depthwise_since": tall, "large_kernels.cycles_per_tile": _tiles(epoch, target) > 0}
    return tuple(name for name, applies in found.items() if applies)


def _bound(epoch: Epoch) -> str:
    return "hybrid" if epoch.kind is Where.HYBRID else "software"


def _resources(
    epoch: Epoch, tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], traffic: Mapping[str, PoolTraffic],
    target: Target,
) -> dict[str, float]:  # fmt: skip
    """NPU cycles that each resource needs for this epoch ([#epoch-time])."""
    needs = {"compute": _compute(epoch, tensors, target), "flash": 0.0, "memory": 0.0}
    for pool in (pool for pool in target.pools if pool.name in traffic):
        use = traffic[pool.name]
        if not pool.writable:
            needs["flash"] = (use.reads - _streamed(epoch, tensors, target)) * target.clocks.npu / target.flash_mb_s
            continue
        if pool.external:
            cycles = _external_cycles(epoch, use, tensors, pools, target)
        else:
            beats = use.beats * target.constants["hardware_epoch.beat_cycles"]
            cycles = max(max(use.reads, use.writes) * pool.cycles_per_byte, beats)
        needs["memory"] = max(needs["memory"], cycles)
    return needs


def _compute(epoch: Epoch, tensors: Mapping[str, Tensor], target: Target) -> float:
    """NPU cycles of the computing units on a board: the compiler's, and more for tall depthwise kernels.

    From core 3.0 on these take one pass over the map for every row of the kernel: 5x5 layers of FastDepth and 5x5 and
    7x7 layers of ProxylessNAS need 3.8 and 4.2 cycles per element more than one pass.
    """
    cycles = epoch_cycles(epoch, tensors, target.version)
    if target.version < _version(target.constants["large_kernels.depthwise_since"]):
        return cycles
    for geometry in (op.conv for op in epoch.ops if op.conv is not None and op.conv.depthwise):
        if geometry.kernel[0] > target.constants["large_kernels.depthwise_rows"]:
            elements = geometry.out_channels * max(math.prod(geometry.in_hw), math.prod(geometry.out_hw))
            cycles = max(cycles, geometry.kernel[0] * elements)
    return cycles


def _version(number: float) -> tuple[int, int]:
    major, minor = divmod(round(10 * number), 10)
    return major, minor


def _tiles(epoch: Epoch, target: Target) -> float:
    """NPU cycles that dense kernels with many input channels wait between tiles of weights: 8 kernels, 32 channels."""
    dense = (op.conv for op in epoch.ops if op.conv is not None and op.kind == "Conv" and op.conv.groups == 1)
    large = [
        geometry.out_channels / _TILE[0] * geometry.in_channels / _TILE[1]
        for geometry in dense
        if math.prod(geometry.kernel) > 1 and geometry.in_channels >= target.constants["large_kernels.in_channels"]
    ]
    return sum(large) * target.constants["large_kernels.cycles_per_tile"]


def _external_cycles(
    epoch: Epoch, use: PoolTraffic, tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], target: Target
) -> float:
    """NPU cycles of an epoch's traffic with external RAM.

    Partial sums that a convolution of several passes exchanges keep it busier than plain streams. Spare maps of a split
    kernel have their place, but seven networks show the traffic of the others only.
    """
    outside = [name for name in (*epoch.inputs, *epoch.outputs) if name in pools and pools[name].external]
    spare = {name for op in epoch.ops for name in op.attributes.get("spare", ())}
    moved = use.reads + use.writes - sum(tensors[name].nbytes for name in outside if name in spare)
    plans = [plan_of(op, tensors, target.version) for op in epoch.ops]
    summing = any(plan is not None and plan.passes > 1 for plan in plans) and set(outside) & set(epoch.outputs)
    gain = target.constants["external_ram.summing_gain"] if summing else 1.0
    return moved * target.clocks.npu / (target.hyperram_mb_s * gain)


def _streamed(epoch: Epoch, tensors: Mapping[str, Tensor], target: Target) -> int:
    """Bytes of scale and bias vectors that do not fit the units ([#wide-layers])."""
    return sum(vector_bytes(op, tensors, target) for op in epoch.ops)


def _fill(epoch: Epoch, tensors: Mapping[str, Tensor], resources: Mapping[str, float], target: Target) -> float:
    """Weights and computation overlap group by group of kernels: the first group waits for its weights, or the last
    weights for their computation (SEEN r10 2.2.0: with it 40 of 52 epochs are within 3 %)."""
    plans = [(plan_of(op, tensors, target.version), op.conv) for op in epoch.ops]
    groups = [conv.out_channels / plan.kernels for plan, conv in plans if plan is not None and conv is not None]
    if not groups or plans[0][1] is not None and plans[0][1].depthwise:
        return 0.0
    return min(resources["compute"], resources["flash"]) / max(1.0, max(groups))


def _vectors(epoch: Epoch, tensors: Mapping[str, Tensor], target: Target) -> float:
    """NPU cycles for the vectors of wide layers ([#wide-layers])."""
    total = 0.0
    for op in epoch.ops:
        plan = plan_of(op, tensors, target.version)
        if plan is not None:
            kind = "vector_cycles_per_byte_multipass" if plan.passes > 1 else "vector_cycles_per_byte"
            total += vector_bytes(op, tensors, target) * target.constants[f"hardware_epoch.{kind}"]
    return total


def _hardware_overhead(epoch: Epoch, target: Target, starts_blob: bool) -> float:
    """Microseconds the CPU spends around a hardware epoch ([#overheads])."""
    constants = target.constants
    if target.epoch_controller:
        return constants["overheads.with_controller.blob_cpu_cycles"] / target.clocks.cpu if starts_blob else 0.0
    widths = [op.conv.out_channels for op in epoch.ops if op.conv is not None and op.kind == "Conv"]
    limit = constants["hardware_epoch.streamed_above_channels"]
    channels = sum(width for width in widths if width <= limit)
    per_channel = constants["overheads.without_controller.per_channel_cpu_cycles"]
    kind = "conv_epoch_cpu_cycles" if widths else "plain_epoch_cpu_cycles"
    fixed = constants[f"overheads.without_controller.{kind}"]
    return (fixed + channels * per_channel) / target.clocks.cpu


def latency(costs: Sequence[EpochCost], memory: MemoryPlan, target: Target, shares: Shares) -> Latency:
    """Sum of all epochs, with the interval of a network of these shares and what was assumed.

    Args:
        costs: of every epoch.
        memory: where the tensors lie.
        target: board and compiler version.
        shares: of what the network contains.
    """
    parts: dict[str, float] = {}
    for cost in costs:
        parts[cost.bound] = parts.get(cost.bound, 0.0) + cost.microseconds / 1000
        parts["overhead"] = parts.get("overhead", 0.0) + cost.overhead / 1000
    parts.pop("nothing", None)
    if not target.epoch_controller:
        parts["overhead"] = parts.get("overhead", 0.0) + target.start_cpu_cycles / target.clocks.cpu / 1000
    total = sum(parts.values())
    low, high = limits_of(total, shares, target)
    return Latency(total, low, high, parts, _assumptions(memory, target, shares))


def _assumptions(memory: MemoryPlan, target: Target, shares: Shares) -> list[str]:
    clocks = target.clocks
    controller = "with" if target.epoch_controller else "without"
    found = [
        f"{target.description}: CPU {clocks.cpu} MHz, NPU {clocks.npu} MHz",
        f"weights stream from flash at {target.flash_mb_s:g} MB/s; the board's own code is not executed from there",
        f"compiled {controller} the epoch controller",
        "the interval held nine in ten of the measured networks whose family was left out of the fit"
        + "".join(f"; {reason} widens it" for reason in reasons_of(shares)),
    ]
    if memory.external:
        found.append(
            f"{memory.external:,} B of activations lie in external RAM; weighed at {target.hyperram_mb_s:g} MB/s, "
            "the rate that seven measured networks agree on; which tensors the compiler spills is less sure"
        )
    found += target.unknown
    if "expand-softmax" in target.switches:
        found.append(
            f"compiled with --expand-softmax: each Softmax is {SOFTMAX_EPOCHS} epochs of one element a cycle, INFERRED "
            "from one public 4.0.1 build"
        )
    if memory.missing:
        found.append(f"the model does not fit: {memory.missing:,} B have no place; the time assumes that they had one")
    return found
