"""Placing activation buffers in memory pools, as the compiler does ([#allocation]).

Given the published lifetimes it fills the pools of r01, r03, r07 and r15 to the byte: pools are filled from the fastest
to the slowest; within a pool the largest buffers come first, among equals those that live longest (r31 2.0;
EfficientNetV2-B2 and DLA on 3.0 to the KiB), then the earliest, and take the lowest address that is free during their
life. Adjacent on-chip pools also form one virtual pool, which is as slow as its slowest member, so it is used after the
fast ones, for what fits into none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from n6convert.npu.st.mpool import MemoryPool
from n6convert.npu.weights import aligned

__all__ = ["Buffer", "place"]


_RESERVED = 8
"""Bytes at the end of a region that no buffer gets ([#allocation]; SEEN r39: 393,216 + 65,536 do not fill a pool)."""


@dataclass(slots=True)
class Buffer:
    """A tensor in memory: alive from the epoch that writes it to the last one that reads it, both included."""

    name: str
    size: int
    first: int
    last: int
    pool: MemoryPool | None = None
    address: int = 0
    parts: tuple[Buffer, ...] = ()
    """Buffers that lie side by side inside this one."""

    @property
    def end(self) -> int:
        """Address behind its last byte."""
        return self.address + self.size


def place(buffers: Sequence[Buffer], pools: Iterable[MemoryPool]) -> list[Buffer]:
    """Give every buffer a pool and an address; returns those that fit nowhere.

    Within a pool the largest buffers come first, at the lowest address that is free while they live; of equal pools the
    one at the highest address (SEEN r39, r42, whose files list it last; r25, r56 agree).
    """
    writable = [pool for pool in pools if pool.writable and pool.size]
    regions = sorted(
        [*writable, *_virtual(writable)],
        key=lambda region: (region.cycles_per_byte, -region.size, region.power, -region.start),
    )
    waiting = sorted(buffers, key=lambda buffer: (-buffer.size, buffer.first - buffer.last, buffer.first))
    placed = _Occupancy()
    for region in regions:
        waiting = [buffer for buffer in waiting if not _try(buffer, region, writable, placed)]
    return waiting


def _virtual(pools: Sequence[MemoryPool]) -> list[MemoryPool]:
    """Runs of adjacent on-chip pools as one pool with the worst properties ([#allocation])."""
    runs: list[list[MemoryPool]] = []
    for pool in sorted((p for p in pools if not p.external), key=lambda p: p.start):
        if runs and runs[-1][-1].end == pool.start:
            runs[-1].append(pool)
        else:
            runs.append([pool])
    return [_join(run) for run in runs if len(run) > 1]


def _join(run: Sequence[MemoryPool]) -> MemoryPool:
    slowest = max(run, key=lambda pool: pool.cycles_per_byte)
    name = "_".join(pool.name for pool in run)
    size, power = sum(pool.size for pool in run), max(pool.power for pool in run)
    return MemoryPool(name, run[0].start, size, slowest.byte_width, slowest.freq_ratio, True, False, power)


class _Occupancy:
    """What has been placed so far, in order of address: as arrays, since graphs of thousands of buffers exist."""

    def __init__(self) -> None:
        self._rows = np.zeros((4, 0), np.int64)
        """Address, aligned end, first and last epoch of each buffer."""

    def lowest(self, buffer: Buffer, region: MemoryPool) -> int | None:
        """The lowest address of the region that is free during the buffer's life; None when there is none."""
        if buffer.size > region.size:
            return None
        address, end, first, last = self._rows
        address, end = self._rows[:2, (first <= buffer.last) & (last >= buffer.first) & (end > region.start)]
        free = np.maximum.accumulate(np.concatenate(([region.start], end)))
        fits = np.flatnonzero(address >= free[:-1] + buffer.size)
        found = int(free[fits[0]] if len(fits) else free[-1])
        return found if found + buffer.size <= region.end - _RESERVED else None

    def add(self, buffer: Buffer) -> None:
        row = np.array([[buffer.address], [aligned(buffer.end)], [buffer.first], [buffer.last]])
        at = int(np.searchsorted(self._rows[0], buffer.address))
        self._rows = np.concatenate((self._rows[:, :at], row, self._rows[:, at:]), axis=1)


def _try(buffer: Buffer, region: MemoryPool, pools: Sequence[MemoryPool], placed: _Occupancy) -> bool:
    """Place at the lowest free address of the region."""
    address = placed.lowest(buffer, region)
    if address is None:
        return False
    _settle(buffer, address, pools)
    placed.add(buffer)
    return True


def _settle(buffer: Buffer, address: int, pools: Sequence[MemoryPool]) -> None:
    buffer.address = address
    buffer.pool = next(pool for pool in pools if pool.start <= address < pool.end)
    for part in buffer.parts:
        _settle(part, address, pools)
        address += part.size
