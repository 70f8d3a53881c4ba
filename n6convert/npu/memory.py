"""Where tensors live: lifetimes over the schedule, their places, peaks, spills, weights."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from n6convert.npu.allocation import Buffer, place
from n6convert.npu.cycles import plan_of
from n6convert.npu.ir import Lowered, Op, Schedule, Where
from n6convert.npu.st.mpool import MemoryPool
from n6convert.npu.streams import constant_pools
from n6convert.npu.targets import Target
from n6convert.npu.weights import weight_bytes

__all__ = [
    "MemoryPlan",
    "PoolUse",
    "lifetimes",
    "plan_memory",
    "side_by_side",
    "views",
]

_IN_PLACE = frozenset({"Tanh"})


@dataclass(slots=True)
class PoolUse:
    """Bytes used of one pool: the high-water mark, as reports print it."""

    name: str
    size: int
    used: int = 0
    weights: int = 0
    activations: int = 0
    external: bool = False


@dataclass(slots=True)
class MemoryPlan:
    """The placement of a model; ``missing`` bytes fit nowhere, ``external`` bytes of activations left the chip."""

    pools: list[PoolUse]
    activations: int
    weights: int
    fits: bool
    external: int = 0
    missing: int = 0
    peak: int = 0
    """Most bytes alive at once: no placement can need less."""
    peak_epoch: int = 0
    buffers: list[Buffer] = field(default_factory=list)
    views: dict[str, str] = field(default_factory=dict)
    """Tensors that share the buffer of another one."""

    def locations(self) -> dict[str, MemoryPool]:
        """Pool of every tensor that crosses an epoch border."""
        found = {buffer.name: buffer.pool for buffer in self.buffers if buffer.pool is not None}
        return found | {name: found[root] for name, root in self.views.items() if root in found}


def views(schedule: Schedule) -> dict[str, str]:
    """Tensors in the buffer of another one, handed on without work (a reshape) or in place: name -> that other one."""
    ops = [op for epoch in schedule.epochs for op in epoch.ops]
    readers = Counter(name for op in ops for name in op.inputs)
    source = {name: op.inputs[0] for op in ops if _hands_on(op, readers) for name in op.outputs}
    roots: dict[str, str] = {}
    for name in source:
        root = source[name]
        while root in source:
            root = roots.get(root, source[root])
        roots[name] = root
    return roots


def _hands_on(op: Op, readers: Counter[str]) -> bool:
    """A view, or a Tanh in float that alone reads its input (SEEN r58 only, 4 of 4; r07's PRelu and r15's Reciprocal
    are not in place)."""
    if op.where is Where.NONE:
        return bool(op.inputs)
    return op.kind in _IN_PLACE and op.float and op.where is Where.SW and readers[op.inputs[0]] == 1


def lifetimes(lowered: Lowered, schedule: Schedule, *, allocate: tuple[bool, bool] = (True, True)) -> list[Buffer]:
    """Buffers of all tensors that cross an epoch border; views share the buffer of their source.

    Args:
        lowered: operators of the graph.
        schedule: their epochs.
        allocate: whether inputs and outputs lie among the activations.
    """
    roots = views(schedule)
    first: dict[str, int] = dict.fromkeys(lowered.inputs, 0)
    last: dict[str, int] = {}
    for position, epoch in enumerate(schedule.epochs, start=1):
        for name in epoch.inputs:
            last[roots.get(name, name)] = position
        for name in epoch.outputs:
            first.setdefault(roots.get(name, name), position)
    end = len(schedule.epochs) + 1
    last |= {roots.get(name, name): end for name in lowered.outputs}
    ends = zip(allocate, (lowered.inputs, lowered.outputs), strict=True)
    outside = [name for inside, names in ends if not inside for name in names]
    skipped = {roots.get(name, name) for name in outside}
    found = [
        Buffer(name, lowered.tensors[name].nbytes, start, last.get(name, start))
        for name, start in first.items()
        if name in lowered.tensors and not lowered.tensors[name].constant and name not in skipped
    ]
    return [buffer for buffer in found if buffer.size]


def accumulators(lowered: Lowered, schedule: Schedule, version: tuple[int, int]) -> list[Buffer]:
    """16-bit sums of one block of kernels, which passes over the input channels exchange with memory (SEEN r01, r02,
    r27, r32: kernels x map x 2 bytes, in use until the next epoch).

    Args:
        lowered: operators of the graph.
        schedule: their epochs.
        version: of the compiler.
    """
    found: list[Buffer] = []
    for position, epoch in enumerate(schedule.epochs, start=1):
        for op in epoch.ops:
            plan = plan_of(op, lowered.tensors, version)
            if plan is not None and op.conv is not None and plan.passes > 1:
                size = 2 * plan.kernels * math.prod(op.conv.out_hw)
                found.append(Buffer(f"{op.outputs[0]}/sums", size, position, position + 1))
    return found


def side_by_side(buffers: Sequence[Buffer], schedule: Schedule) -> list[Buffer]:
    """Join the inputs of every hardware Concat into one block that is reserved while any of them lives.

    The compiler puts them next to each other (SEEN r02: every C2f block; it explains r11 to the byte).
    """
    by_name = {buffer.name: buffer for buffer in buffers}
    blocks: list[Buffer] = []
    for op in (op for epoch in schedule.epochs if epoch.kind is Where.HW for op in epoch.ops if op.kind == "Concat"):
        names = [name for name in op.inputs if name in by_name]
        if len(names) < 2 or len(set(names)) < len(op.inputs):
            continue
        parts = tuple(by_name.pop(name) for name in names)
        first, last = min(part.first for part in parts), max(part.last for part in parts)
        blocks.append(Buffer(op.name, sum(part.size for part in parts), first, last, parts=parts))
    return [*by_name.values(), *blocks]


def plan_memory(
    lowered: Lowered, schedule: Schedule, target: Target, *, allocate: tuple[bool, bool] = (True, True)
) -> MemoryPlan:
    """Place activations and weights of a schedule.

    Args:
        allocate: count the buffers of inputs and of outputs as activations (``--no-inputs-allocation`` and
            ``--no-outputs-allocation`` turn that off).
    """
    buffers = lifetimes(lowered, schedule, allocate=allocate)
    buffers += accumulators(lowered, schedule, target.version)
    unplaced = place(side_by_side(buffers, schedule), target.pools)
    uses = {pool.name: PoolUse(pool.name, pool.size, external=pool.external) for pool in target.pools}
    for pool in target.pools:
        uses[pool.name].activations = _high_water(pool, buffers)
    weights = weight_bytes(lowered.ops, lowered, target)
    unplaced_weights = _place_weights(weights, target, uses)
    for use in uses.values():
        use.used = use.weights + use.activations
    missing = sum(buffer.size for buffer in unplaced) + unplaced_weights
    peak, epoch = _peak(buffers)
    return MemoryPlan(
        pools=list(uses.values()),
        activations=sum(use.activations for use in uses.values()),
        weights=weights,
        fits=missing == 0,
        external=sum(use.activations for use in uses.values() if use.external),
        missing=missing,
        peak=peak,
        peak_epoch=epoch,
        buffers=buffers,
        views=views(schedule),
    )


def _high_water(pool: MemoryPool, buffers: Iterable[Buffer]) -> int:
    """Bytes from the pool's start to the last one that is ever used; buffers may straddle pools."""
    tops = [min(buffer.end, pool.end) for buffer in buffers if buffer.address < pool.end and buffer.end > pool.start]
    return max(tops, default=pool.start) - pool.start


def _place_weights(weights: int, target: Target, uses: Mapping[str, PoolUse]) -> int:
    """Fill the pools for constants with weights; returns the bytes that do not fit."""
    for pool in constant_pools(target):
        room = min(weights, pool.size - uses[pool.name].activations)
        uses[pool.name].weights = room
        weights -= room
    return weights


def _peak(buffers: Iterable[Buffer]) -> tuple[int, int]:
    """Largest sum of live bytes and the position of its epoch."""
    change: dict[int, int] = defaultdict(int)
    for buffer in buffers:
        change[buffer.first] += buffer.size
        change[buffer.last + 1] -= buffer.size
    level, best = 0, (0, 0)
    for position in sorted(change):
        level += change[position]
        best = max(best, (level, position), key=lambda pair: pair[0])
    return best
