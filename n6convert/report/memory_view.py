"""Memory on the page: pools in use, live activations over time, and what is alive at the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from n6convert.report.svg import Row, area, bars
from n6convert.report.words import kib, short
from n6convert.results.sections import Memory, MemoryBuffer, PoolUse

__all__ = ["MemoryView", "memory_section"]

_POOL_CLASSES = 7
_NAMED = 4


@dataclass(frozen=True, slots=True)
class MemoryView:
    """The section of the page: words, drawings of pools and of live activations with a legend, the peak in words."""

    summary: str
    pools: str
    timeline: str
    legend: Sequence[tuple[str, str]]
    peak: str


def memory_section(memory: Memory | None) -> MemoryView | None:
    """Values of the section; None for a report that does not know."""
    if memory is None:
        return None
    pools = [p for p in memory.pools if p.size]
    rows = [_row(p, memory.tables or 0) for p in pools]
    names = [p.name for p in pools if p.activations]
    series = [(n, f"p{i % _POOL_CLASSES}", _live(memory.buffers, n)) for i, n in enumerate(names)]
    return MemoryView(
        summary=f"Activations {kib(memory.activations)}, weights {kib(memory.weights)}{_tables(memory)}; "
        + ("the activations fit on the chip." if _on_chip(memory) else _overflow(memory)),
        pools=bars(rows, "Share of each memory pool in use, in percent"),
        timeline=area([(n, k, [v / 1024 for v in values]) for n, k, values in series], "Live activations", "KiB"),
        legend=[(n, k) for n, k, _ in series],
        peak=_peak(memory),
    )


def _row(pool: PoolUse, tables: int) -> Row:
    """A pool's bar; tables lie with the weights in flash, the pool that holds no activations."""
    used = pool.used + (tables if pool.weights and not pool.activations else 0)
    return Row(pool.name, 100 * used / pool.size, f"{kib(used)} of {kib(pool.size)}", "bar", 100.0)


def _tables(memory: Memory) -> str:
    return f" and {kib(memory.tables)} of tables beside them in flash" if memory.tables else ""


def _on_chip(memory: Memory) -> bool:
    return memory.fits and not memory.external


def _overflow(memory: Memory) -> str:
    if not memory.fits:
        return f"it does not fit: {kib(memory.missing)} find no place."
    leave = f"{kib(memory.external)} of activations leave the chip for external RAM: a multiple of the time."
    return f"{leave}{_reason(memory)}"


def _reason(memory: Memory) -> str:
    """Why activations leave the chip: too much is alive at once, or no pool holds a buffer in one piece."""
    inside = sum(p.size for p in memory.pools if not p.external)
    if not any(p.external for p in memory.pools):
        return ""
    if memory.peak > inside:
        return f" At the peak {kib(memory.peak)} are alive at once, {kib(memory.peak - inside)} more than the chip has."
    return " In sum it would fit, but every buffer must lie in one piece beside those that are alive with it."


def _live(buffers: Sequence[MemoryBuffer], pool: str) -> list[float]:
    """Bytes alive in a pool at every epoch."""
    last = max((b.last for b in buffers), default=-1)
    changes = [0] * (last + 2)
    for buffer in buffers:
        first = max(buffer.first, 0)
        if buffer.pool == pool and first <= buffer.last:
            changes[first] += buffer.bytes
            changes[buffer.last + 1] -= buffer.bytes
    return [float(total) for total in accumulate(changes[: last + 1])]


def _peak(memory: Memory) -> str:
    epoch = memory.peak_epoch
    alive = [b for b in memory.buffers if epoch is not None and b.first <= epoch <= b.last]
    largest = sorted(alive, key=lambda b: -b.bytes)[:_NAMED]
    names = ", ".join(f"{short(b.name)} ({kib(b.bytes)})" for b in largest)
    return f"The peak of {kib(memory.peak)} is at epoch {epoch}; alive there: {names}." if largest else ""
