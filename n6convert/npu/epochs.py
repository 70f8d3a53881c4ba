"""Group lowered operators into epochs: in order, each into the first epoch whose units, chains and streams suffice.

An inferred model of the scheduler ([#epoch-rules], [#schedule-unknown]): software and hybrid operators stand alone; an
operator joins the epoch of its producer when it can stream behind it, else the first later HW epoch that is free, else
a new one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from n6convert.graph.operators import ARITHMETIC, GLOBAL_POOLS, RESHAPES, SUMS_AND_PRODUCTS, WINDOW_POOLS
from n6convert.npu.chaining import can_chain, pooled_first, split_scale
from n6convert.npu.ir import Epoch, Lowered, Op, Schedule, Units, Where
from n6convert.npu.rules.limits import EPOCH_CHAINS, EPOCH_STREAMS, EPOCH_UNITS
from n6convert.operators.versions import has

__all__ = ["schedule"]

_LOOK_BACK = 24
"""How many epochs back an independent operator may join; bounds the search."""
_DMA = {"Identity", "Concat", "Split", "Slice", "Cast"}
_STREAMING = ARITHMETIC | WINDOW_POOLS | GLOBAL_POOLS


@dataclass(slots=True)
class _Slot:
    """An epoch under construction."""

    kind: Where
    ops: list[Op] = field(default_factory=list)
    units: Units = Units()
    chains: int = 0
    streams: int = 0


class _Scheduler:
    def __init__(self, lowered: Lowered, version: tuple[int, int]) -> None:
        self.tensors = lowered.tensors
        self.version = version
        self.slots: list[_Slot] = []
        self.written: dict[str, int] = {}
        self.writer: dict[str, Op] = {}
        self.reserved: dict[int, Units] = {}
        """Units of the pool that closes an operator's chain in the same epoch."""

    def run(self, ops: list[Op]) -> list[_Slot]:
        self.reserved = {id(op): pool.units for op, pool in _closing_pools(ops)}
        for op in _pools_behind_sources(ops):
            for part in self._parts(op):
                index = self._place(part)
                for name in part.outputs:
                    self.written[name] = index
                    self.writer[name] = part
        return self.slots

    def _parts(self, op: Op) -> tuple[Op, ...]:
        """The operator, or the two parts of a convolution or global pool that joins an epoch without room for its whole
        scaling."""
        source = self._stream_source(op) if op.units.conv or op.kind in GLOBAL_POOLS else None
        if source is None or self._fits(self.slots[source], op, chained=True):
            return (op,)
        if op.kind in GLOBAL_POOLS:
            pool = replace(op, units=replace(op.units, arith=0))
            return pooled_first(op, self.tensors) if self._fits(self.slots[source], pool, chained=True) else (op,)
        free = EPOCH_UNITS.arith - self.slots[source].units.arith
        lean = replace(op, units=Units(conv=op.units.conv, arith=min(free, op.units.arith)))
        return split_scale(op, free, self.tensors) if self._fits(self.slots[source], lean, chained=True) else (op,)

    def _place(self, op: Op) -> int:
        if op.where is Where.NONE:
            return self._place_view(op)
        if op.where is not Where.HW:
            return self._open(op.where, op)
        streamed = self._stream_source(op)
        if streamed is not None and self._fits(self.slots[streamed], op, chained=True):
            return self._join(streamed, op, chained=True)
        first = 1 + max((self.written.get(name, -1) for name in self._needed(op)), default=-1)
        return self._join_from(first, op)

    def _needed(self, op: Op) -> tuple[str, ...]:
        """What must be in memory before an operator starts: its inputs, and a branch that it is held back for."""
        held = op.attributes.get("waits")
        return (*op.inputs, held) if held else op.inputs

    def _join_from(self, first: int, op: Op) -> int:
        for index in range(max(first, len(self.slots) - _LOOK_BACK), len(self.slots)):
            slot = self.slots[index]
            if slot.kind is Where.HW and self._fits(slot, op, chained=False):
                return self._join(index, op, chained=False)
        return self._open(Where.HW, op)

    def _place_view(self, op: Op) -> int:
        """A view of an NPU result costs nothing; one of a software result is an epoch without work (SEEN 30/30 r15)."""
        source = self.written.get(op.inputs[0], -1)
        behind_software = source >= 0 and self.slots[source].kind is not Where.HW
        if has(self.version, "skips_idle_epochs") or not (behind_software or (source < 0 and op.kind == "Transpose")):
            if source >= 0:
                self.slots[source].ops.append(op)
            return source
        return self._join_from(source + 1, op)

    def _open(self, kind: Where, op: Op) -> int:
        self.slots.append(_Slot(kind))
        return self._join(len(self.slots) - 1, op, chained=False)

    def _join(self, index: int, op: Op, chained: bool) -> int:
        slot = self.slots[index]
        slot.ops.append(op)
        slot.units += op.units
        slot.chains += self._chains(op, chained)
        slot.streams += self._streams(op, chained)
        return index

    def _chains(self, op: Op, chained: bool) -> int:
        return 0 if chained or op.where is Where.NONE else int(op.attributes.get("chains", 1))

    def _streams(self, op: Op, chained: bool) -> int:
        if op.where is Where.NONE:
            return 0
        outside = sum(1 for name in dict.fromkeys(op.inputs) if not self.tensors[name].constant)
        if op.kind in _DMA:
            return 2 * self._chains(op, chained)
        if chained:
            return outside - 1
        return max(op.units.conv, outside) + 1

    def _fits(self, slot: _Slot, op: Op, chained: bool) -> bool:
        units = slot.units + op.units + self.reserved.get(id(op), Units())
        return (
            units.within(EPOCH_UNITS)
            and slot.chains + self._chains(op, chained) <= EPOCH_CHAINS
            and slot.streams + self._streams(op, chained) <= EPOCH_STREAMS
        )

    def _stream_source(self, op: Op) -> int | None:
        """The HW epoch in which one input is just being produced, if the operator can follow it in the same chain."""
        if op.kind in _DMA or op.attributes.get("waits"):
            return None
        sources = [(self.written[name], name) for name in dict.fromkeys(op.inputs) if self.written.get(name, -1) >= 0]
        if not sources:
            return None
        last, name = max(sources)
        if op.attributes.get("joins") and self.slots[last].kind is Where.HW:
            return last
        if op.inputs.count(name) > 1:
            return None
        if sum(1 for index, _ in sources if index == last) > 1 or self.slots[last].kind is not Where.HW:
            return None
        operands = sum(not self.tensors[name].constant for name in dict.fromkeys(op.inputs))
        return last if self._can_follow(op, name, operands) else None

    def _can_follow(self, op: Op, name: str, operands: int) -> bool:
        before = self._seen_through(op, self.writer[name])
        if op.units.conv:
            return can_chain(op, before, self.tensors, self.version)
        if op.kind == "Transpose":
            return bool(op.attributes.get("fused") or op.attributes.get("stored_last")) and before.units.conv > 0
        if before.where is Where.NONE or before.kind in _DMA or before.kind == "Transpose":
            return False
        if op.attributes.get("apart") and self.slots[self.written[name]].units.conv:
            return False
        if op.units.activ:
            return before.units.activ == 0
        if op.kind not in _STREAMING:
            return False
        if op.units.pool and has(self.version, "pool_alone") and _is_pointwise(before):
            return False
        repeats = operands > 1 and self.tensors[name].elements < self.tensors[op.outputs[0]].elements
        return not repeats and not (before.units.activ and operands > 1)

    def _seen_through(self, op: Op, before: Op) -> Op:
        """A global pool streams behind arithmetic, and a function behind a global pool, through a Reshape (SEEN r15,
        12 of 12: Mul+Add+Reshape+GlobalAveragePool+Add+Reshape+Sqrt is one epoch); not behind a convolution
        ([#fusion-breaks]).
        """
        source = before
        while source.where is Where.NONE and source.kind in RESHAPES and source.inputs[0] in self.writer:
            source = self.writer[source.inputs[0]]
        pooled = op.kind in GLOBAL_POOLS and source.kind in SUMS_AND_PRODUCTS
        return source if pooled or (op.units.activ and source.kind in GLOBAL_POOLS) else before


def _pools_behind_sources(ops: list[Op]) -> Iterator[Op]:
    """The operators in order, but global pools of sums and products right behind them, before other chains take the
    units: the chain is closed in the epoch that it starts in (SEEN 24 of 24 r15)."""
    readers = _readers(ops)
    early: set[int] = set()
    for op in ops:
        if id(op) in early:
            continue
        yield op
        followers = _chain_to_pool(op, readers)
        early.update(map(id, followers))
        yield from followers


def _closing_pools(ops: list[Op]) -> Iterator[tuple[Op, Op]]:
    """Sums and products with the pool that closes their chain."""
    readers = _readers(ops)
    for op in ops:
        chain = _chain_to_pool(op, readers)
        if chain:
            yield op, chain[-1]


def _readers(ops: list[Op]) -> Mapping[str, Sequence[Op]]:
    readers: dict[str, list[Op]] = defaultdict(list)
    for op in ops:
        for name in dict.fromkeys(op.inputs):
            readers[name].append(op)
    return readers


def _chain_to_pool(op: Op, readers: Mapping[str, Sequence[Op]]) -> list[Op]:
    """Views and the global pool that alone read a sum or product; empty where something else does."""
    found: list[Op] = []
    if op.kind not in SUMS_AND_PRODUCTS or op.where is not Where.HW:
        return found
    while len(op.outputs) == 1 and len(reading := readers.get(op.outputs[0], ())) == 1:
        op = reading[0]
        found.append(op)
        if op.kind in GLOBAL_POOLS and op.where is Where.HW:
            return found
        if op.where is not Where.NONE or op.kind not in RESHAPES:
            return []
    return []


def _is_pointwise(op: Op) -> bool:
    return op.conv is not None and op.conv.kernel == (1, 1) and not op.conv.depthwise


def _tensors_across(ops: list[Op]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    inside = {name for op in ops for name in op.outputs}
    inputs = dict.fromkeys(name for op in ops for name in op.inputs if name not in inside)
    return tuple(inputs), tuple(dict.fromkeys(name for op in ops for name in op.outputs))


def _epochs(slots: list[_Slot], read_later: Mapping[str, int], kept: set[str]) -> Iterator[Epoch]:
    for index, slot in enumerate(slots):
        inputs, written = _tensors_across(slot.ops)
        outputs = tuple(name for name in written if name in kept or read_later.get(name, -1) > index)
        yield Epoch(index + 1, slot.kind, tuple(slot.ops), inputs, outputs)


def schedule(lowered: Lowered, version: tuple[int, int]) -> Schedule:
    """Epochs of a lowered graph in execution order, numbered from 1, and the epoch controller's blobs."""
    slots = _Scheduler(lowered, version).run(lowered.ops)
    last_read: dict[str, int] = {}
    for index, slot in enumerate(slots):
        for op in slot.ops:
            for name in op.inputs:
                last_read[name] = index
    epochs = list(_epochs(slots, last_read, set(lowered.outputs)))
    return Schedule(epochs, _blobs(epochs))


def _blobs(epochs: list[Epoch]) -> tuple[tuple[int, int], ...]:
    """Runs of HW epochs between software and hybrid ones ([#files])."""
    runs: list[tuple[int, int]] = []
    for epoch in epochs:
        if epoch.kind is not Where.HW:
            continue
        if runs and runs[-1][1] == epoch.id - 1:
            runs[-1] = (runs[-1][0], epoch.id)
        else:
            runs.append((epoch.id, epoch.id))
    return tuple(runs)
