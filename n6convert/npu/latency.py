"""Board time of a schedule in milliseconds, with an interval and the assumptions it rests on (SPEC g).

A hardware epoch takes as long as its slowest resource: computing units, weights from flash at the board's measured
bandwidth, or activations in their pools; a fixed start is added, and the streamed vectors of wide layers. Software and
hybrid epochs cost CPU cycles per element, byte or MAC. The epoch controller joins consecutive hardware epochs, so that
the CPU pays once per run instead of once per epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from n6convert.npu.cycles import epoch_cycles, plan_of
from n6convert.npu.ir import Epoch, Lowered, Op, Schedule, Tensor, Where
from n6convert.npu.memory import MemoryPlan
from n6convert.npu.rules.limits import SOFTMAX_EPOCHS
from n6convert.npu.st.mpool import MemoryPool
from n6convert.npu.streams import PoolTraffic, epoch_traffic, is_idle, max_cycles, vector_bytes
from n6convert.npu.targets import Target

__all__ = ["EpochCost", "Latency", "epoch_costs", "latency"]


@dataclass(frozen=True, slots=True)
class EpochCost:
    """One epoch: the compiler's two cycle counts, and the time a board needs (microseconds), split by cause.

    ``bound`` names what decides the time: compute, flash, memory, software, hybrid or nothing.
    """

    id: int
    kind: Where
    compute_cycles: float
    max_cycles: float
    microseconds: float
    overhead: float
    bound: str


@dataclass(slots=True)
class Latency:
    """Predicted time of one inference; nine in ten measured networks lie between ``low`` and ``high``."""

    milliseconds: float
    low: float
    high: float
    parts: dict[str, float] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)


def epoch_costs(lowered: Lowered, schedule: Schedule, memory: MemoryPlan, target: Target) -> list[EpochCost]:
    """Cycles and time of every epoch of the schedule."""
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
        microseconds = sum(_software(op, tensors, target) for op in epoch.ops) / target.clocks.cpu
        microseconds += _transfers(epoch, tensors, pools, target) / target.clocks.npu
        switch = target.constants["overheads.switch_cpu_cycles"] / target.clocks.cpu if between else 0.0
        return EpochCost(epoch.id, epoch.kind, 0, estimate, microseconds, switch, _bound(epoch))
    resources = _resources(epoch, tensors, pools, traffic, target)
    bound = max(resources, key=lambda name: resources[name])
    cycles = resources[bound] + target.constants["hardware_epoch.start_cycles"]
    cycles += _fill(epoch, tensors, resources, target) + _vectors(epoch, tensors, target)
    overhead = _hardware_overhead(epoch, target, starts_blob)
    compute = epoch_cycles(epoch, tensors, target.version)
    return EpochCost(epoch.id, epoch.kind, compute, estimate, cycles / target.clocks.npu, overhead, bound)


def _transfers(
    epoch: Epoch, tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], target: Target
) -> float:
    """NPU cycles that a software epoch waits for the external RAM."""
    crossing = dict.fromkeys((*epoch.inputs, *epoch.outputs))
    outside = sum(tensors[name].nbytes for name in crossing if name in pools and pools[name].external)
    return outside * target.clocks.npu / target.hyperram_mb_s


def _bound(epoch: Epoch) -> str:
    return "hybrid" if epoch.kind is Where.HYBRID else "software"


def _resources(
    epoch: Epoch, tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], traffic: Mapping[str, PoolTraffic],
    target: Target,
) -> dict[str, float]:  # fmt: skip
    """NPU cycles that each resource needs for this epoch (SPEC g.1)."""
    needs = {"compute": epoch_cycles(epoch, tensors, target.version), "flash": 0.0, "memory": 0.0}
    for pool in (pool for pool in target.pools if pool.name in traffic):
        use = traffic[pool.name]
        if not pool.writable:
            needs["flash"] = (use.reads - _streamed(epoch, tensors, target)) * target.clocks.npu / target.flash_mb_s
            continue
        if pool.external:
            cycles = (use.reads + use.writes) * target.clocks.npu / _external_rate(epoch, pools, target)
        else:
            beats = use.beats * target.constants["hardware_epoch.beat_cycles"]
            cycles = max(max(use.reads, use.writes) * pool.cycles_per_byte, beats)
        needs["memory"] = max(needs["memory"], cycles)
    return needs


def _external_rate(epoch: Epoch, pools: Mapping[str, MemoryPool], target: Target) -> float:
    """MB/s of external RAM: three or more tensors at once in one direction keep it busier than one or two."""
    sides = (dict.fromkeys(epoch.inputs), dict.fromkeys(epoch.outputs))
    outside = max(sum(name in pools and pools[name].external for name in side) for side in sides)
    parallel = outside >= target.constants["external_ram.parallel_streams"]
    return target.hyperram_mb_s * (target.constants["external_ram.parallel_gain"] if parallel else 1.0)


def _streamed(epoch: Epoch, tensors: Mapping[str, Tensor], target: Target) -> int:
    """Bytes of scale and bias vectors that do not fit the units (SPEC e.5)."""
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
    """NPU cycles for the vectors of wide layers (SPEC e.5)."""
    total = 0.0
    for op in epoch.ops:
        plan = plan_of(op, tensors, target.version)
        if plan is not None:
            kind = "vector_cycles_per_byte_multipass" if plan.passes > 1 else "vector_cycles_per_byte"
            total += vector_bytes(op, tensors, target) * target.constants[f"hardware_epoch.{kind}"]
    return total


def _hardware_overhead(epoch: Epoch, target: Target, starts_blob: bool) -> float:
    """Microseconds the CPU spends around a hardware epoch (SPEC g.4)."""
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


def _software(op: Op, tensors: Mapping[str, Tensor], target: Target) -> float:
    """CPU cycles of one software or hybrid operator, all repeats (SPEC g.3)."""
    fixed = target.constants["software.fixed_cpu_cycles"]
    if op.kind in {"Reshape", "Identity", "Flatten", "Squeeze", "Unsqueeze"}:
        return fixed
    kernel = target.kernels.get(_kernel_name(op, tensors))
    written = [tensors[name] for name in op.outputs if name in tensors]
    read = [tensors[name] for name in op.inputs if name in tensors and not tensors[name].constant]
    if kernel is not None and kernel.unit == "mac":
        return fixed * op.repeat + kernel.cycles * op.macs
    if kernel is not None and kernel.unit == "byte":
        return (fixed + kernel.cycles * sum(tensor.nbytes for tensor in written)) * op.repeat
    elements = max((tensor.elements for tensor in (*read[:1], *written)), default=0)
    rate = kernel.cycles if kernel is not None else target.constants["software.default_per_element"]
    return (fixed + rate * elements) * op.repeat


def _kernel_name(op: Op, tensors: Mapping[str, Tensor]) -> str:
    """Key into the target's kernels: variants have their condition in parentheses."""
    if op.kind in {"Add", "Sub", "Mul", "Div"} and not op.float:
        return f"{op.kind}(int8)"
    return "Concat(innermost)" if _innermost(op, tensors) else op.kind


def _innermost(op: Op, tensors: Mapping[str, Tensor]) -> bool:
    """A Concat on the last axis is a byte-wise CPU copy (SPEC c.5)."""
    if op.kind != "Concat" or not op.outputs or op.outputs[0] not in tensors:
        return False
    rank = len(tensors[op.outputs[0]].shape)
    return int(op.attributes.get("axis", 1)) % max(rank, 1) == rank - 1


def latency(costs: Sequence[EpochCost], memory: MemoryPlan, target: Target) -> Latency:
    """Sum of all epochs, with the interval of the target and what was assumed."""
    parts: dict[str, float] = {}
    for cost in costs:
        parts[cost.bound] = parts.get(cost.bound, 0.0) + cost.microseconds / 1000
        parts["overhead"] = parts.get("overhead", 0.0) + cost.overhead / 1000
    parts.pop("nothing", None)
    if not target.epoch_controller:
        parts["overhead"] = parts.get("overhead", 0.0) + target.start_cpu_cycles / target.clocks.cpu / 1000
    total = sum(parts.values())
    low, high = (sum(value * _spread(part, memory, target)[side] for part, value in parts.items()) for side in (0, 1))
    return Latency(total, low, high, parts, _assumptions(memory, target))


def _spread(part: str, memory: MemoryPlan, target: Target) -> tuple[float, float]:
    """How far the measured share of a part lay from its prediction."""
    if part in {"software", "hybrid", "overhead"}:
        return target.spread["software" if part != "overhead" else "overhead"]
    if part == "flash":
        return target.spread["flash"]
    return target.spread["external" if part == "memory" and memory.external else "hardware"]


def _assumptions(memory: MemoryPlan, target: Target) -> list[str]:
    clocks = target.clocks
    controller = "with" if target.epoch_controller else "without"
    found = [
        f"{target.description}: CPU {clocks.cpu} MHz, NPU {clocks.npu} MHz",
        f"weights stream from flash at {target.flash_mb_s:g} MB/s; the board's own code is not executed from there",
        f"compiled {controller} the epoch controller",
        "the interval allows for "
        + ", ".join(f"{name} x {low:g} to x {high:g}" for name, (low, high) in target.spread.items()),
    ]
    if memory.external:
        found.append(
            f"{memory.external:,} B of activations lie in external RAM; weighed at {target.hyperram_mb_s:g} MB/s "
            "(more where three tensors stream at once), as seen in four families of networks; which tensors the "
            "compiler spills is less sure"
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
