"""Traffic of an epoch on every memory pool, and the compiler's max_cycles that follows from it ([#max-cycles]).

What a convolution reads depends on its plan: the input is read once when the tile of one unit fits the line buffers,
else once for every group of kernels; with several accumulation passes the 16-bit partial sums travel as well. Weights
are read once. Depthwise layers from 3.0 on read and write byte by byte.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from n6convert.npu.cycles import (
    INFLATED_GROUP,
    ConvPlan,
    depthwise_group,
    epoch_cycles,
    is_fast,
    plan_of,
)
from n6convert.npu.ir import FOUR_BIT, ConvGeometry, Epoch, Op, Tensor, Where
from n6convert.npu.rules.limits import INPUT_TILE
from n6convert.npu.st.mpool import MemoryPool
from n6convert.npu.targets import Target
from n6convert.operators.versions import has

__all__ = [
    "PoolTraffic",
    "constant_pools",
    "epoch_traffic",
    "is_idle",
    "max_cycles",
    "moved_again",
    "stored_weights",
    "vector_bytes",
]

PACKED_CHANNELS = 8
"""From this batch depth on a stream fills its beats ([#streams])."""


@dataclass(slots=True)
class PoolTraffic:
    """Bytes that one epoch reads and writes in one pool, and NPU cycles of its slowest stream."""

    reads: float = 0.0
    writes: float = 0.0
    slowest: float = 0.0
    beats: float = 0.0
    """Memory beats of the slowest byte-granular stream."""

    def add(
        self, reads: float, writes: float, pool: MemoryPool, bytes_per_beat: float | None = None, booked: bool = True
    ) -> None:
        """Add one stream; packed, unless only some bytes of every beat are used ([#streams]).

        ``booked``: the compiler knows, and books the beats in its own estimate.

        Args:
            reads: bytes.
            writes: bytes.
            pool: where they lie.
            bytes_per_beat: bytes of a beat that are used; None: all.
            booked: the compiler knows, and books the beats in its own estimate.
        """
        self.reads += reads
        self.writes += writes
        rate = pool.freq_ratio / (bytes_per_beat if bytes_per_beat and booked else pool.byte_width)
        self.slowest = max(self.slowest, (reads + writes) * rate)
        if bytes_per_beat:
            self.beats = max(self.beats, (reads + writes) / bytes_per_beat)


def is_idle(epoch: Epoch) -> bool:
    """True for an epoch that is numbered but does nothing: only reshapes ([#epoch-rules] rule 4)."""
    return epoch.kind is Where.NONE or all(op.where is Where.NONE for op in epoch.ops)


def stored_weights(op: Op, tensors: Mapping[str, Tensor], target: Target) -> int:
    """Bytes of a convolution's weights in flash ([#depthwise-weights], [#depthwise-weights]): depthwise blocks
    inflated, 4-bit weights packed.

    Args:
        op: a convolution.
        tensors: by name.
        target: board and compiler version.
    """
    assert op.conv is not None
    weights = tensors.get(op.inputs[1]) if len(op.inputs) > 1 else None
    elements = math.prod(op.conv.weight_shape) * _inflation(op, tensors, target.version)
    return -(-elements // 2) if weights is not None and weights.dtype in FOUR_BIT else elements


def _inflation(op: Op, tensors: Mapping[str, Tensor], version: tuple[int, int]) -> int:
    geometry = op.conv
    source = tensors.get(op.inputs[0])
    fast = source is not None and is_fast(source.zero_point, source.dtype)
    assert geometry is not None
    if not has(version, "true_depthwise"):
        return depthwise_group(geometry, fast, version)
    if not geometry.depthwise or geometry.out_channels < INFLATED_GROUP or geometry.out_hw == (1, 1):
        return 1
    return 2 if max(geometry.strides) > 1 or (has(version, "doubled_depthwise") and not fast) else 1


def vector_bytes(op: Op, tensors: Mapping[str, Tensor], target: Target) -> int:
    """Bytes of the vectors that a convolution streams because it has too many channels for the units, else 0.

    [#wide-layers] counts 4 * C * oW: 2 for the bias and 2 for scales per channel (r10, per tensor, stores half; r15,
    without bias, none).

    Args:
        op: a convolution.
        tensors: by name.
        target: board and compiler version.
    """
    if op.conv is None or op.kind != "Conv" or op.where is not Where.HW:
        return 0
    if op.conv.out_channels <= target.constants["hardware_epoch.streamed_above_channels"]:
        return 0
    weights = tensors.get(op.inputs[1]) if len(op.inputs) > 1 else None
    per_channel = weights is not None and weights.per_channel
    return (2 * (len(op.inputs) > 2) + 2 * per_channel) * op.conv.out_channels * op.conv.out_hw[1]


def constant_pools(target: Target) -> list[MemoryPool]:
    """Where weights go, in order: read-only pools, pools for constants, else every pool (weights on chip)."""
    fitting = [pool for pool in target.pools if pool.constants or not pool.writable]
    preferred = sorted(fitting, key=lambda pool: pool.writable)
    return preferred or sorted(target.pools, key=lambda pool: pool.cycles_per_byte)


def epoch_traffic(
    epoch: Epoch, tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], target: Target
) -> dict[str, PoolTraffic]:
    """Traffic by pool name of an epoch.

    Args:
        pools: where each tensor that crosses an epoch border lies.
    """
    traffic: dict[str, PoolTraffic] = defaultdict(PoolTraffic)
    constants = constant_pools(target)[0]
    readers = {op.inputs[0]: op for op in reversed(epoch.ops) if op.inputs}
    for name in epoch.inputs:
        _read(traffic, name, readers.get(name), tensors, pools.get(name), target)
    for name in epoch.outputs:
        if name in pools:
            beat = _scattered(epoch, name, tensors, target)
            traffic[pools[name].name].add(0, tensors[name].nbytes, pools[name], beat, target.has("byte_streams"))
    for op in epoch.ops:
        parameters = _parameters(op, tensors, target)
        if parameters:
            traffic[constants.name].add(parameters, 0, constants)
        _partial_sums(traffic, op, epoch, tensors, pools, target)
    return dict(traffic)


def _read(
    traffic: dict[str, PoolTraffic], name: str, reader: Op | None,
    tensors: Mapping[str, Tensor], pool: MemoryPool | None, target: Target,
) -> None:  # fmt: skip
    tensor = tensors.get(name)
    if pool is None or tensor is None or tensor.constant:
        return
    plan = plan_of(reader, tensors, target.version) if reader is not None else None
    if reader is None or plan is None or reader.conv is None:
        traffic[pool.name].add(tensor.nbytes, 0, pool)
        return
    times = _rereads(plan, reader.conv, is_fast(tensor.zero_point, tensor.dtype))
    if _byte_granular(reader.conv, target):
        traffic[pool.name].add(tensor.nbytes, 0, pool, bytes_per_beat=1)
    else:
        for _ in range(plan.units):
            traffic[pool.name].add(tensor.nbytes * times / plan.units, 0, pool)


def _rereads(plan: ConvPlan, geometry: ConvGeometry, fast: bool) -> float:
    """How often the whole input is read: once per group of kernels unless one unit's tile stays in its buffer."""
    if plan.mode == "depthwise":
        return plan.batch / plan.kernels if plan.batch > 1 else 1
    tile = plan.batch * math.prod(geometry.in_hw) * (1 if fast else 2)
    if plan.mode != "deep" and tile <= INPUT_TILE:
        return 1
    return geometry.out_channels / plan.kernels


def _byte_granular(geometry: ConvGeometry, target: Target) -> bool:
    """Depthwise layers without inflation read one byte per beat ([#streams])."""
    return geometry.depthwise and target.has("true_depthwise")


def _scattered(epoch: Epoch, name: str, tensors: Mapping[str, Tensor], target: Target) -> float | None:
    """Bytes per beat of an output that is not packed: layout changes and depthwise layers from 3.0 on (r01 3.0.0)."""
    writer = next((op for op in reversed(epoch.ops) if name in op.outputs), None)
    conv = next((op.conv for op in epoch.ops if op.conv is not None and op.kind == "Conv"), None)
    if writer is None:
        return None
    if conv is not None and conv.depthwise:
        return None if not target.has("true_depthwise") else 2 if max(conv.strides) > 1 else 1
    working = [op for op in epoch.ops if op.where is not Where.NONE]
    return tensors[name].nbytes / tensors[name].elements if len(working) == 1 and _turns(writer, tensors) else None


def _turns(op: Op, tensors: Mapping[str, Tensor]) -> bool:
    """A transpose, or the copy that packs planes with few channels (an input image, SEEN r01, r10)."""
    shape = tensors[op.outputs[0]].shape
    return op.kind == "Transpose" or (op.kind == "Identity" and len(shape) == 4 and shape[1] < PACKED_CHANNELS)


def _parameters(op: Op, tensors: Mapping[str, Tensor], target: Target) -> int:
    """Bytes of constants that stream from flash: weights, vectors of wide layers, operands of elementwise nodes."""
    if op.where is not Where.HW:
        return 0
    if op.conv is not None and op.kind == "Conv":
        return (stored_weights(op, tensors, target) + vector_bytes(op, tensors, target)) * op.repeat
    constants = (tensors[name] for name in op.inputs if name in tensors and tensors[name].constant)
    return sum(tensor.nbytes for tensor in constants if len(tensor.shape) > 1 and tensor.elements > 1)


def _partial_sums(
    traffic: dict[str, PoolTraffic], op: Op, epoch: Epoch,
    tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], target: Target,
) -> None:  # fmt: skip
    """Passes over the input channels exchange 16-bit sums with memory: p reads and p + 1/2 writes (seen r02, r15)."""
    plan = plan_of(op, tensors, target.version)
    pool = next((pools[name] for name in (*epoch.outputs, *epoch.inputs) if name in pools), None)
    if plan is None or op.conv is None or pool is None or plan.passes <= 1:
        return
    sums = 2 * op.conv.out_channels * math.prod(op.conv.out_hw)
    for _ in range(plan.passes):
        traffic[pool.name].add(sums, 0, pool)
        traffic[pool.name].add(0, sums * (1 + 0.5 / plan.passes), pool)


def moved_again(
    epoch: Epoch, tensors: Mapping[str, Tensor], pools: Mapping[str, MemoryPool], traffic: Mapping[str, PoolTraffic],
    target: Target,
) -> bool:  # fmt: skip
    """True when a map in external RAM is read more than once, or exchanges partial sums.

    One measured family has such traffic (EfficientNetV2), and its times are predicted the worst of all.

    Args:
        epoch: any.
        tensors: by name.
        pools: where each tensor that crosses an epoch border lies.
        traffic: of the epoch, by pool name.
        target: board and compiler version.
    """
    once = Counter({constant_pools(target)[0].name: sum(_parameters(op, tensors, target) for op in epoch.ops)})
    crossing = dict.fromkeys((*epoch.inputs, *epoch.outputs))
    outside = {name: pools[name].name for name in crossing if name in pools and pools[name].external}
    for name, pool in outside.items():
        once[pool] += tensors[name].nbytes
    return any(traffic[pool].reads + traffic[pool].writes > once[pool] for pool in set(outside.values()))


def max_cycles(
    epoch: Epoch, tensors: Mapping[str, Tensor], traffic: Mapping[str, PoolTraffic], target: Target
) -> float:
    """The compiler's estimate of one epoch in NPU cycles ([#max-cycles]); SW epochs by its [#placeholders].

    Args:
        epoch: any.
        tensors: by name.
        traffic: of the epoch, by pool.
        target: board and compiler version.
    """
    if is_idle(epoch):
        return 0.0
    rates = {pool.name: pool.cycles_per_byte for pool in target.pools}
    totals = [max((t.reads + t.writes) * rates[name], t.slowest) for name, t in traffic.items()]
    if epoch.kind is not Where.HW:
        return max([sum(_placeholder(op, tensors, target) for op in epoch.ops), *totals])
    return max([epoch_cycles(epoch, tensors, target.version), *totals])


def _placeholder(op: Op, tensors: Mapping[str, Tensor], target: Target) -> float:
    book = target.data["software"]["placeholder_cycles"]
    if op.kind == "Conv":
        return op.macs / float(book["macs_per_cycle"])
    written = [tensors[name] for name in op.outputs if name in tensors]
    read = [tensors[name] for name in op.inputs[:1] if name in tensors]
    elements = max((tensor.elements for tensor in (*written, *read)), default=0)
    if op.kind in book["per_byte"]:
        return float(book["per_byte"][op.kind]) * sum(tensor.nbytes for tensor in written) * op.repeat
    return float(book["per_element"].get(op.kind, 2)) * elements * op.repeat
